"""The steps of the page of `sepdict serve` that fold to a line each when there is a result."""

from pathlib import Path
from typing import Any

import pytest
from front_end import SAMPLE_RATE, mixture
from web_page import SIZES, Server, held, opened, separate_draft, unfold

from sepdict import write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audio(tmp_path_factory.mktemp("sounds") / "mix.wav", mixture(n_samples=2 * SAMPLE_RATE))


@pytest.mark.parametrize("size", list(SIZES))
def test_when_there_is_a_result_the_steps_before_it_are_a_line_each(
    size: str, browser: Any, server: Server, mix: Path
) -> None:
    with opened(browser, server, size) as page:
        mixtures, sources = page.locator("#mixture"), page.locator("#sources")
        expect(page.get_by_role("button", name="Change")).to_have_count(0)
        separate_draft(page, mix)
        for step, line in ((mixtures, "mix.wav"), (sources, "hum")):
            expect(step.locator(".summary")).to_have_text(line)
            assert step.bounding_box()["height"] < 80
        expect(page.get_by_role("checkbox", name="hum")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        page.keyboard.press("Tab")
        page.get_by_role("button", name="Change mixture").press("Enter")
        hide = page.get_by_role("button", name="Hide mixture")
        expect(hide).to_be_focused()
        expect(mixtures.locator(".summary")).to_be_empty()
        expect(page.get_by_role("button", name="Mark mix.wav")).to_be_visible()
        hide.press("Enter")
        expect(page.get_by_role("button", name="Change mixture")).to_be_focused()
        expect(page.get_by_role("button", name="Mark mix.wav")).to_be_hidden()


def test_what_was_opened_stays_open_with_the_next_result_and_after_a_reload(
    browser: Any, server: Server, mix: Path
) -> None:
    with opened(browser, server) as page:
        separate_draft(page, mix)
        unfold(page, "sources")
        page.get_by_label("Better quality").check()
        page.locator("#separate").click()
        expect(page.locator("#earlier")).to_be_visible(timeout=120_000)
        expect(page.get_by_role("checkbox", name="hum")).to_be_visible()
        page.reload()
        expect(page.get_by_role("checkbox", name="hum")).to_be_visible()
        expect(page.locator("#mixture .summary")).to_have_text("mix.wav")


def test_a_step_that_somebody_is_working_in_does_not_fold(
    browser: Any, server: Server, mix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = held(server, monkeypatch)
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", mix)
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_label("Better quality").uncheck()
        page.locator("#separate").click()
        page.get_by_role("button", name="Mark mix.wav").click()
        page.get_by_role("button", name="Mark from here").click()
        page.keyboard.type("hi")
        gate.set()
        expect(page.locator("#player")).to_be_visible(timeout=120_000)
        page.keyboard.type("ss")
        expect(page.get_by_label("Source of mark 1")).to_have_value("hiss")
        expect(page.locator("#sources .summary")).to_have_text("hum, hiss")
