"""What is heard from the lists of the page, solos and dictionaries, beside the player and the marking of moments."""

from pathlib import Path
from typing import Any

import pytest
from front_end import SAMPLE_RATE, mixture, sound
from web_page import Server, opened, separate_draft, unfold

from sepdict import write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser

COUNTING = """() => {
  const sounding = new Set();
  const tell = () => (document.documentElement.dataset.sounding = sounding.size);
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    this.addEventListener("pause", () => tell(sounding.delete(this)));
    tell(sounding.add(this));
    return play.call(this);
  };
}"""


def expect_sounding(page: Any, n: int) -> None:
    """See how many sounds there are, beside the player's."""
    expect(page.locator("html")).to_have_attribute("data-sounding", str(n))


def add_solos(page: Any, *solos: Path) -> None:
    page.get_by_role("button", name="Train one from solos").click()
    page.set_input_files("#training input[type=file]", solos)
    expect(page.get_by_role("list", name="Solos").get_by_role("listitem")).to_have_count(len(solos), timeout=30_000)


def test_a_solo_is_heard_by_the_keyboard_before_it_is_learned(browser: Any, server: Server, tmp_path: Path) -> None:
    solo = write_audio(tmp_path / "solo.wav", sound(n_samples=2 * SAMPLE_RATE))
    with opened(browser, server) as page:
        add_solos(page, solo)
        page.get_by_role("button", name="Hear solo.wav").focus()
        page.keyboard.press("Enter")
        stop = page.get_by_role("button", name="Stop solo.wav")
        expect(stop).to_be_focused()
        expect(page.get_by_role("button", name="Hear solo.wav")).to_be_focused(timeout=10_000)  # it has ended
        expect(page.locator("#training > .notice")).to_be_hidden()


def test_a_long_solo_says_how_much_of_it_is_heard(browser: Any, server: Server, tmp_path: Path) -> None:
    solo = write_audio(tmp_path / "solo.wav", sound(n_samples=61 * SAMPLE_RATE), encoding="PCM_U8")
    with opened(browser, server) as page:
        add_solos(page, solo)
        expect(page.get_by_text("1 min 1 s, 8 kHz, mono")).to_be_visible()
        with page.expect_response("**/sound.wav") as response:
            page.get_by_role("button", name="Hear the first 60 s of solo.wav").click()
        assert response.value.ok
        page.get_by_role("button", name="Stop solo.wav").click()
        expect(page.get_by_role("button", name="Hear the first 60 s of solo.wav")).to_be_visible()


def test_one_thing_sounds_at_a_time(browser: Any, server: Server, tmp_path: Path) -> None:
    solo = write_audio(tmp_path / "solo.wav", sound(n_samples=20 * SAMPLE_RATE), encoding="PCM_16")
    mix = write_audio(tmp_path / "mix.wav", mixture(n_samples=10 * SAMPLE_RATE), encoding="PCM_16")
    with opened(browser, server) as page:
        page.evaluate(COUNTING)
        separate_draft(page, mix)
        unfold(page, "mixture", "sources")
        add_solos(page, solo)
        page.get_by_role("button", name="Mark mix.wav").click()
        player, marking = page.locator("#player"), page.locator("#marking")
        player.get_by_role("button", name="Play", exact=True).click()
        expect(player).to_have_attribute("data-state", "playing")
        for begin in (
            page.get_by_role("button", name="Hear solo.wav"),
            page.get_by_role("button", name="Hear hum"),
            marking.get_by_role("button", name="Play", exact=True),
        ):
            begin.click()
            expect(player).to_have_attribute("data-state", "paused")
            expect_sounding(page, 1)
        player.get_by_role("button", name="Play", exact=True).click()
        expect(player).to_have_attribute("data-state", "playing")
        expect_sounding(page, 0)


def test_a_solo_that_is_taken_away_is_not_heard_any_more(browser: Any, server: Server, tmp_path: Path) -> None:
    solo = write_audio(tmp_path / "solo.wav", sound(n_samples=20 * SAMPLE_RATE), encoding="PCM_16")
    with opened(browser, server) as page:
        page.evaluate(COUNTING)
        add_solos(page, solo)
        page.get_by_role("button", name="Hear solo.wav").click()
        expect_sounding(page, 1)
        page.get_by_role("button", name="Remove solo.wav").click()
        expect_sounding(page, 0)
        expect(page.locator("#training > .notice")).to_be_hidden()


def test_why_a_solo_cannot_be_heard_is_said(browser: Any, server: Server, tmp_path: Path) -> None:
    with opened(browser, server) as page:
        add_solos(page, write_audio(tmp_path / "solo.wav", sound()))
        page.route("**/sound.wav", lambda route: route.fulfill(status=413, json={"error": "there is no room"}))
        page.get_by_role("button", name="Hear solo.wav").click()
        expect(page.locator("#training > .notice")).to_contain_text("There is no room")
        expect(page.get_by_role("button", name="Hear solo.wav")).to_be_visible()
