"""The documentation: what stands in it is there, and the site that is built of it needs nobody else."""

import ast
import os
import re
import shlex
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer.main

import sepdict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ELSEWHERE = re.compile(r"^\s*(\w+:)?//")


def commands() -> dict[str, Any]:
    (script,) = entry_points(group="console_scripts", name="sepdict")
    return typer.main.get_command(script.load()).commands


def blocks(page: Path, *languages: str) -> list[str]:
    pattern = rf"^```(?:{'|'.join(languages)})\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_every_public_name_is_in_the_reference() -> None:
    named = re.findall(r"^::: sepdict\.(\w+)$", (DOCS / "python.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(named) == sorted(sepdict.__all__)


def test_every_command_has_its_options_on_the_page_of_the_command_line() -> None:
    page = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^<!-- options: ([\w-]+) -->$", page, flags=re.MULTILINE)) == sorted(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_are_shown_exist(page: Path) -> None:
    known = commands()
    for line in "".join(blocks(page, "sh", "console")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "sepdict" in words and (words := words[words.index("sepdict") + 1 :]):
            options = {option for parameter in known[words[0]].params for option in parameter.opts}
            assert {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} - options == set(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_python_imports_from_the_library_is_there(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "sepdict":
                assert {name.name for name in node.names} - set(sepdict.__all__) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_project(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        assert (page.parent / target).is_file(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: uv run --group docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    return folder


class Loaded(HTMLParser):
    """Collects the addresses that a page loads, not those that it links to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value for name, value in attrs if value and name in ("src", "href", "srcset", "data")]


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages, styles = sorted(site.rglob("*.html")), sorted(site.rglob("*.css"))
    assert len(pages) > 10
    assert styles
    loaded = {address for page in pages for address in Loaded(page).addresses}
    for style in styles:
        text = style.read_text(encoding="utf-8")
        loaded |= set(re.findall(r"""(?:url\(|@import)\s*["']?([^"')]+)""", text))
    assert {address for address in loaded if ELSEWHERE.match(address)} == set()


def test_the_tutorials_on_the_site_are_the_scripts_that_run(site: Path) -> None:
    for script in DOCS.glob("tutorials/*.py"):
        page = (site / "tutorials" / f"{script.stem}.html").read_text(encoding="utf-8")
        titles = re.findall(r"^# %% (.+)$", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert titles
        assert [title for title in titles if f">{escape(title, quote=False)}<" not in page] == []
