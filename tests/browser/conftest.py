"""The browser that pages are tried in, one that is installed or playwright's own, and a server of pages."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_end import trained
from player_page import SIZES, report_in
from web_page import Server

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
    installed = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"there is no Chromium: {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Open pages; those that a failed test leaves open do not slow down the next one."""
    yield chromium
    for context in list(chromium.contexts):
        context.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a single dictionary, of hum."""
    folder = tmp_path_factory.mktemp("library")
    trained("hum").save(folder / "hum.safetensors")
    return folder


@pytest.fixture(scope="module")
def server_of_file(library: Path) -> Iterator[Server]:
    """Serve the page to all tests of a file."""
    server = Server(library)
    yield server
    server.end()


@pytest.fixture
def server(server_of_file: Server) -> Iterator[Server]:
    """Serve the page; what a test leaves running does not hold up the next one."""
    yield server_of_file
    server_of_file.cancel_jobs()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_in(tmp_path_factory.mktemp("report"), residual=True)


@pytest.fixture(scope="module")
def report_without_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_in(tmp_path_factory.mktemp("report"), residual=False)


@pytest.fixture(params=[(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Any, report: Path, report_without_rest: Path) -> Iterator[Any]:
    """The report, opened; it must ask for nothing and complain of nothing."""
    size, scheme = request.param
    opened = browser.new_page(viewport=SIZES[size], color_scheme=scheme)
    asked, complaints = [], []
    opened.on("request", lambda asking: asked.append(asking.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(report.as_uri())
    yield opened
    reports = {report.as_uri(), report_without_rest.as_uri()}
    assert {url for url in asked if not url.startswith("data:")} <= reports
    assert complaints == []
    opened.close()
