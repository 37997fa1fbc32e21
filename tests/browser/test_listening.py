"""Listening in a real Chromium: solo, mute, comparing at equal loudness, levels and meters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import mixture
from player_page import audible, play, pressed
from web_page import Server, opened, separate_draft

from sepdict import Audio, read_audio, write_audio

pytestmark = pytest.mark.browser


def test_solo_and_mute_say_and_do_what_they_are(page: Any) -> None:
    assert audible(page) == ["hiss", "hum", "residual"]  # which are the mixture
    page.get_by_role("button", name="Mute hum").click()
    assert (audible(page), pressed(page, "Mute hum")) == (["hiss", "residual"], True)
    page.get_by_role("button", name="Solo hum").click()
    assert (audible(page), pressed(page, "Solo hum")) == (["hum"], True)
    page.get_by_role("button", name="Solo hiss").click()  # which ends the other
    assert (audible(page), pressed(page, "Solo hum")) == (["hiss"], False)
    page.get_by_role("button", name="Solo hum").click(modifiers=["Shift"])
    assert audible(page) == ["hiss", "hum"]
    page.get_by_role("button", name="Solo hum").click()
    assert audible(page) == ["hum"]
    page.get_by_role("button", name="Solo hum").click()
    page.get_by_role("button", name="Mute hum").click()
    assert (audible(page), pressed(page, "Solo hum")) == (["hiss", "hum", "residual"], False)


def test_the_mixture_never_sounds_beside_the_stems_that_add_up_to_it(page: Any) -> None:
    page.get_by_role("button", name="Mute song.wav").click()
    assert audible(page) == ["song.wav"]
    page.get_by_role("button", name="Solo hum").click()
    assert audible(page) == ["hum"]
    page.get_by_role("button", name="Solo song.wav").click(modifiers=["Shift"])
    assert audible(page) == ["song.wav"]


LISTEN = """() => {
  const sounding = [];
  const connect = AudioBufferSourceNode.prototype.connect;
  AudioBufferSourceNode.prototype.connect = function (gain) {
    sounding.push({ buffer: this.buffer, gain });
    return connect.call(this, gain);
  };
  window.gains = () => sounding.map(({ gain }) => gain.gain.value);
  window.loudness = () => sounding.map(({ buffer, gain }) => {
    const samples = [0, 1].flatMap((channel) => Array.from(buffer.getChannelData(channel)));
    return gain.gain.value * Math.sqrt(samples.reduce((sum, each) => sum + each ** 2, 0) / samples.length);
  });
}"""


@pytest.mark.parametrize("gain_db", [-6, 12])
def test_the_mixture_is_compared_with_what_is_heard_at_equal_loudness(page: Any, gain_db: int) -> None:
    page.evaluate(LISTEN)
    compare = page.get_by_role("button", name="Mixture", exact=True)
    page.get_by_role("button", name="Solo hum").click()
    page.get_by_label("Volume of hum").fill(str(gain_db))
    page.locator("h1").click()
    play(page)
    names = page.locator(".player-name").all_inner_texts()
    heard = {}
    for name in ("hum", "song.wav"):
        assert (audible(page), compare.get_attribute("aria-pressed")) == ([name], str(name != "hum").lower())
        page.wait_for_timeout(300)  # it is faded
        loudness = dict(zip(names, page.evaluate("loudness()"), strict=True))
        heard[name] = loudness.pop(name)
        assert max(loudness.values()) < 1e-3 * heard[name]
        page.keyboard.press("a")
    assert heard["song.wav"] == pytest.approx(heard["hum"], rel=0.01)
    page.keyboard.press("a")
    page.get_by_role("button", name="Solo hiss").click()  # ends it
    assert (audible(page), compare.get_attribute("aria-pressed")) == (["hiss"], "false")


@pytest.mark.parametrize("gain_db", [0, 12])
def test_in_place_of_all_stems_the_mixture_is_as_loud_as_their_sum(page: Any, gain_db: int) -> None:
    page.evaluate(LISTEN)
    for name in ("hiss", "hum", "residual"):
        page.get_by_label(f"Volume of {name}").fill(str(gain_db))
    page.locator("h1").click()
    play(page)
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    assert page.evaluate("gains()") == pytest.approx([10 ** (gain_db / 20), 0, 0, 0], rel=2e-3, abs=1e-3)


def test_faders_are_wide_enough_show_their_value_and_go_back_to_0_db(page: Any) -> None:
    for name in ("hum", "the master"):
        fader = page.get_by_label(f"Volume of {name}")
        assert fader.bounding_box()["width"] >= 120
        value = fader.locator("xpath=following-sibling::*")
        for gain, shown in (("12", "+12.0 dB"), ("-20.5", "\N{MINUS SIGN}20.5 dB"), ("-60", "\N{MINUS SIGN}∞ dB")):
            fader.fill(gain)
            assert value.inner_text() == fader.get_attribute("aria-valuetext") == shown
        fader.press("0")
        assert (fader.input_value(), value.inner_text()) == ("0", "0.0 dB")
        fader.fill("6")
        fader.dblclick(position={"x": 10, "y": 10})
        assert fader.input_value() == "0"
    assert audible(page) == ["hiss", "hum", "residual"]


def test_the_meters_show_what_is_heard_and_a_lamp_that_it_clips(page: Any) -> None:
    meters = page.locator(".player-meter i")
    clip = page.get_by_role("button", name="Clipped; clear")
    page.get_by_role("button", name="Solo hum").click()
    play(page)
    page.wait_for_timeout(500)

    def shown() -> list[float]:
        widths = meters.evaluate_all("bars => bars.map((bar) => bar.offsetWidth / bar.parentElement.offsetWidth)")
        return [round(width, 2) for width in widths]

    mixture_share, hiss, hum, residual, master = shown()
    assert (mixture_share, hiss, residual) == (0, 0, 0)
    assert 0.3 < master < 0.95
    assert hum > 0.3
    assert clip.count() == 0
    page.get_by_label("Volume of the master").fill("12")
    page.get_by_label("Volume of hum").fill("12")
    clip.wait_for()
    assert shown()[-1] > master + 0.1
    page.get_by_label("Volume of the master").fill("-60")
    page.wait_for_timeout(1000)
    assert clip.is_visible()  # until it is cleared
    clip.click()
    page.wait_for_timeout(200)
    assert clip.count() == 0
    page.keyboard.press("Space")
    assert shown() == [0, 0, 0, 0, 0]


def saved_mix(page: Any, name: str = "song mix.wav") -> Audio:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download this mix").click()
    assert download.value.suggested_filename == name
    return read_audio(download.value.path())


def test_the_mix_as_it_is_heard_is_downloaded(page: Any, report: Path) -> None:
    stems = {name: read_audio(report.parent / f"{name}.wav").samples for name in ("hiss", "hum")}
    page.get_by_role("button", name="Mute residual").click()
    page.get_by_label("Volume of hum").fill("6")
    page.get_by_label("Volume of the master").fill("-3")
    mix = saved_mix(page)  # before anything was played
    expected = 10 ** (-3 / 20) * (stems["hiss"] + 10 ** (6 / 20) * stems["hum"])
    assert mix.sample_rate == 8000
    torch.testing.assert_close(mix.samples, expected, rtol=0, atol=2e-4)  # the page has copies of 16 bits
    page.get_by_text("Saved.").wait_for()
    page.get_by_role("button", name="Solo hiss").click()
    torch.testing.assert_close(saved_mix(page).samples, 10 ** (-3 / 20) * stems["hiss"], rtol=0, atol=2e-4)
    play(page)


def test_a_mix_that_would_clip_is_made_softer_and_one_of_nothing_is_refused(page: Any) -> None:
    for name in ("hiss", "hum", "residual", "the master"):
        page.get_by_label(f"Volume of {name}").fill("12")
    mix = saved_mix(page)
    assert float(mix.samples.abs().max()) == pytest.approx(1, abs=1e-6)
    said = page.get_by_role("group", name="Master").get_by_text("dB softer, so that it does not clip")
    said.wait_for()
    page.get_by_label("Volume of the master").fill("-60")
    page.get_by_role("button", name="Download this mix").click()
    page.get_by_text("There is no mix: nothing is heard").wait_for()


def test_the_mix_is_downloaded_from_the_page_of_the_server_too(browser: Any, server: Server, tmp_path: Path) -> None:
    whole = mixture(n_samples=16_000, n_channels=2)
    with opened(browser, server) as page:
        separate_draft(page, write_audio(tmp_path / "take.wav", whole))
        mix = saved_mix(page, "take mix.wav")
        torch.testing.assert_close(mix.samples, whole.samples, rtol=0, atol=1e-5)
