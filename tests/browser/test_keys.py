"""Keys on the page of `sepdict serve`: what they do, and what fields and boxes keep for themselves."""

from pathlib import Path
from typing import Any

import pytest
from front_end import SAMPLE_RATE, mixture
from web_page import Server, opened, separate_draft, unfold

from sepdict import write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audio(tmp_path_factory.mktemp("sounds") / "mix.wav", mixture(n_samples=4 * SAMPLE_RATE))


def test_space_plays_on_the_whole_page_but_in_fields_and_boxes(browser: Any, server: Server, mix: Path) -> None:
    with opened(browser, server) as page:
        separate_draft(page, mix)
        unfold(page, "sources")
        player = page.locator("#player")
        for control in ("Train one from solos", "Separate", "Solo hum"):
            page.get_by_role("button", name=control, exact=True).press("Space")
            expect(player).to_have_attribute("data-state", "playing")
            page.keyboard.press("Space")
            expect(player).to_have_attribute("data-state", "paused")
        expect(page.locator("#training")).to_be_hidden()
        page.get_by_role("button", name="Train one from solos").press("Enter")
        name = page.get_by_label("Name of the source")
        name.press_sequentially("a 1 ?")
        expect(name).to_have_value("a 1 ?")
        page.get_by_role("checkbox", name="hum").press("Space")
        expect(page.get_by_role("checkbox", name="hum")).not_to_be_checked()
        page.get_by_role("radio", name="Quick").press("Space")
        expect(page.get_by_role("radio", name="Quick")).to_be_checked()
        expect(player).to_have_attribute("data-state", "paused")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Mixture", exact=True)).to_have_attribute("aria-pressed", "false")


def test_in_the_panel_of_marks_space_plays_its_recording_and_the_sheet_has_its_keys(
    browser: Any, server: Server, mix: Path
) -> None:
    with opened(browser, server) as page:
        separate_draft(page, mix)
        unfold(page, "mixture")
        page.get_by_role("button", name="Mark mix.wav").click()
        page.get_by_role("button", name="Magnify time").press("Space")
        expect(page.locator("#marking .play")).to_have_text("Pause")
        page.keyboard.press("Space")
        expect(page.locator("#marking .play")).to_have_text("Play")
        expect(page.locator("#player")).to_have_attribute("data-state", "idle")
        page.keyboard.press("?")
        sheet = page.get_by_role("dialog", name="Keys")
        expect(sheet.get_by_role("heading", level=3)).to_have_text(
            ["Marking, with the focus in its panel", "Listening"]
        )
        page.keyboard.press("m")
        page.keyboard.press("Escape")
        expect(page.get_by_role("list", name="Marks").get_by_role("listitem")).to_have_count(0)
