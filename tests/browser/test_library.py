"""The user's library on the page: its dictionaries are renamed, removed and put back where they are listed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_end import mixture, trained
from web_page import Server, held, opened

from sepdict import Dictionary, write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def whole(library: Path) -> Iterator[None]:
    """Have two dictionaries in the library before each test."""
    for path in library.iterdir():
        path.unlink()
    for source in ("hiss", "hum"):
        trained(source).save(library / f"{source}.safetensors")
    yield
    trained("hum").save(library / "hum.safetensors")


def test_a_dictionary_is_renamed_by_the_keyboard_and_stays_chosen(browser: Any, server: Server, library: Path) -> None:
    with opened(browser, server) as page:
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Rename hum").focus()
        page.keyboard.press("Enter")
        field = page.get_by_label("New name of hum")
        expect(field).to_be_focused()
        page.keyboard.type("hiss")
        page.keyboard.press("Enter")
        notice = page.locator("#sources > .notice")
        expect(notice).to_contain_text("'hiss' is the name of another dictionary in the library; choose another")
        expect(field).to_be_focused()
        expect(field).to_have_value("hiss")
        field.fill("x" * 81)
        page.keyboard.press("Enter")
        expect(notice).to_contain_text("The name has 81 letters; expected 80 at most")
        expect(field).to_have_value("x" * 81)  # nothing of it was cut
        field.fill("bell")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Rename bell")).to_be_focused()
        expect(page.get_by_role("checkbox", name="bell")).to_be_checked()
        expect(notice).to_be_hidden()
        assert Dictionary.load(library / "bell.safetensors").source == "bell"
        page.keyboard.press("Enter")
        page.keyboard.type("other")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Rename bell")).to_be_focused()
        page.wait_for_timeout(2500)  # the server was asked again meanwhile
        expect(page.get_by_role("checkbox", name="bell")).to_be_checked()
        page.reload()
        expect(page.get_by_role("checkbox", name="bell")).to_be_checked()
        expect(page.get_by_role("checkbox", name="hum")).to_have_count(0)


def test_a_dictionary_is_removed_and_put_back_where_it_was(browser: Any, server: Server, library: Path) -> None:
    before = (library / "hiss.safetensors").read_bytes()
    with opened(browser, server) as page:
        page.get_by_role("checkbox", name="hiss").check()
        page.get_by_role("button", name="Remove hiss").focus()
        page.keyboard.press("Enter")
        undo = page.get_by_role("button", name="Undo removing hiss")
        expect(undo).to_be_focused()
        assert not (library / "hiss.safetensors").exists()
        expect(page.locator(".dictionaries li").first).to_contain_text("removed from the library")
        expect(page.locator("#missing")).to_contain_text("a mark or a dictionary")
        page.keyboard.press("Enter")
        expect(page.get_by_role("checkbox", name="hiss")).to_be_focused()
        expect(page.get_by_role("checkbox", name="hiss")).to_be_checked()
        assert (library / "hiss.safetensors").read_bytes() == before
        page.get_by_role("button", name="Remove hiss").click()
        page.reload()
        expect(page.get_by_role("checkbox", name="hum")).to_be_visible()
        expect(page.locator(".dictionaries li")).to_have_count(1)


def add_and_keep(page: Any, folder: Path) -> None:
    """Add a dictionary of rain to the page, and keep it in the library."""
    page.set_input_files("#sources .actions input[type=file]", trained("rain").save(folder / "rain.safetensors"))
    page.get_by_role("button", name="Keep rain").click()
    expect(page.locator(".dictionaries")).to_contain_text("kept")  # before, Remove is for the page's copy alone


def test_what_was_learned_here_and_kept_is_renamed_and_removed_at_once(
    browser: Any, server: Server, library: Path, tmp_path: Path
) -> None:
    with opened(browser, server) as page:
        add_and_keep(page, tmp_path)
        page.get_by_role("button", name="Rename rain").focus()
        page.keyboard.press("Enter")
        page.keyboard.type("shower")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Rename shower")).to_be_focused()
        expect(page.get_by_role("checkbox", name="shower")).to_be_checked()
        expect(page.locator(".dictionaries li")).to_have_count(3)  # with those that were there
        assert Dictionary.load(library / "shower.safetensors").source == "shower"
        page.wait_for_timeout(2500)  # the server was asked again meanwhile
        expect(page.locator(".dictionaries li")).to_have_count(3)
        expect(page.locator("#sources > .notice")).to_be_hidden()


def test_what_was_learned_here_and_kept_is_removed_from_the_page_and_the_library_and_put_back(
    browser: Any, server: Server, library: Path, tmp_path: Path
) -> None:
    with opened(browser, server) as page:
        add_and_keep(page, tmp_path)
        page.get_by_role("button", name="Remove rain").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Undo removing rain")).to_be_focused()
        expect(page.get_by_role("checkbox", name="rain")).to_have_count(0)
        assert not (library / "rain.safetensors").exists()
        page.wait_for_timeout(2500)  # the server was asked again meanwhile
        expect(page.get_by_role("checkbox", name="rain")).to_have_count(0)
        page.get_by_role("button", name="Undo removing rain").press("Enter")
        expect(page.get_by_role("checkbox", name="rain")).to_be_checked()
        expect(page.get_by_role("button", name="Rename rain")).to_be_visible()
        assert (library / "rain.safetensors").exists()


def test_another_page_that_had_chosen_what_is_removed_says_so_and_its_work_goes_on(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = held(server, monkeypatch)
    with opened(browser, server) as page, opened(browser, server) as other:
        other.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        for name in ("hiss", "hum"):
            other.get_by_role("checkbox", name=name).check()
        other.get_by_label("Better quality").uncheck()
        other.locator("#separate").click()
        expect(other.locator("#listen > .progress")).to_be_visible()
        page.get_by_role("button", name="Remove hum").click()
        said = "Removed from the library, or renamed, on another page: hum. Work that goes on uses what it began with."
        expect(other.locator("#sources > .notice")).to_contain_text(said)
        expect(other.get_by_role("checkbox", name="hum")).to_have_count(0)
        expect(other.get_by_role("checkbox", name="hiss")).to_be_checked()
        gate.set()
        expect(other.locator("#outcome")).to_be_visible(timeout=60_000)
        expect(other.locator("#downloads")).to_contain_text("hum")
        expect(page.locator("#sources > .notice")).to_be_hidden()
        page.get_by_role("button", name="Undo removing hum").click()
        expect(other.locator(".dictionaries")).to_contain_text("hum")
