"""The player and the report in a real Chromium, clicked, pressed and dragged, as wide as a phone and as a laptop."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import mixture, trained
from player_page import COMMAND, DURATION_S, SIZES, audible, play, pressed, state, time_s

from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.run import separate_files
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.reports.html import HERE, join_modules
from sepdict.reports.media import look_at
from sepdict.separation.config import FitConfig, SeparationConfig

pytestmark = pytest.mark.browser


def test_the_clock_runs_while_it_plays_and_stands_while_it_does_not(page: Any) -> None:
    assert (state(page), time_s(page)) == ("idle", 0)
    play(page)
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Pause").click()
    reached = time_s(page)
    assert 0.7 < reached < 4
    page.wait_for_timeout(300)
    assert (state(page), time_s(page)) == ("paused", reached)
    play(page)
    assert reached <= time_s(page) < reached + 3


def test_it_stops_at_the_end_and_begins_again(page: Any) -> None:
    page.get_by_role("slider", name="Position").press("End")
    page.keyboard.press("ArrowLeft")
    play(page)
    page.locator("#player[data-state=paused]").wait_for(timeout=10_000)
    assert time_s(page) == DURATION_S
    play(page)
    assert time_s(page) < 2


def test_keys_still_play_after_a_click(page: Any) -> None:
    page.get_by_role("button", name="Solo hum").click()
    page.keyboard.press("Space")
    page.locator("#player[data-state=playing]").wait_for()
    assert pressed(page, "Solo hum")


def test_keys_play_move_and_solo(page: Any) -> None:
    page.keyboard.press("Space")
    page.locator("#player[data-state=playing]").wait_for()
    page.keyboard.press("Space")
    assert state(page) == "paused"
    ruler = page.get_by_role("slider", name="Position")
    ruler.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert time_s(page) == 2
    page.keyboard.press("ArrowLeft")
    assert time_s(page) == 1
    page.keyboard.press("Shift+ArrowRight")
    assert time_s(page) == DURATION_S
    page.keyboard.press("2")
    assert audible(page) == ["hiss"]
    page.keyboard.press("Shift+3")
    assert audible(page) == ["hiss", "hum"]
    page.keyboard.press("Shift+3")
    page.keyboard.press("2")
    assert audible(page) == ["hiss", "hum", "residual"]


def test_keys_of_a_control_stay_its_own(page: Any) -> None:
    volume = page.get_by_role("slider", name="Volume of hum")
    volume.press("ArrowLeft")
    assert (time_s(page), float(volume.input_value())) == (0, -0.5)
    page.get_by_role("radio", name="Spectrogram").press("ArrowRight")
    assert (time_s(page), page.get_by_role("radio", name="Mask").is_checked()) == (0, True)
    page.get_by_role("radio", name="Mask").press("Space")
    assert state(page) == "idle"


def test_space_plays_also_with_a_button_in_focus_which_enter_presses(page: Any) -> None:
    for button in ("Mute hum", "Copy the command"):
        page.get_by_role("button", name=button).press("Space")
        page.locator("#player[data-state=playing]").wait_for()
        page.keyboard.press("Space")
        assert state(page) == "paused"
    assert not pressed(page, "Mute hum")
    page.get_by_role("button", name="Mute hum").press("Enter")
    assert (pressed(page, "Mute hum"), state(page)) == (True, "paused")


def test_a_sheet_shows_all_keys(page: Any) -> None:
    sheet, opener = page.get_by_role("dialog", name="Keys"), page.get_by_role("button", name="Keys", exact=True)
    opener.focus()
    page.keyboard.press("?")
    assert "Play or pause" in sheet.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    page.keyboard.press("Space")  # presses its button
    sheet.wait_for(state="detached")
    assert (time_s(page), len(audible(page)), state(page)) == (0, 3, "idle")
    assert opener.evaluate("button => button === document.activeElement")
    for close in ("Escape", "?"):
        opener.click()
        sheet.wait_for()
        page.keyboard.press(close)
        sheet.wait_for(state="detached")
    opener.press("Enter")
    page.mouse.click(2, 2)
    sheet.wait_for(state="detached")


def test_pictures_can_be_clicked_and_dragged_along(page: Any) -> None:
    lane = page.locator(".player-lane").nth(1)
    lane.scroll_into_view_if_needed()
    box = lane.bounding_box()

    def at(share: float) -> tuple[float, float]:
        return box["x"] + share * box["width"], box["y"] + 20

    page.mouse.click(*at(0.5))
    assert time_s(page) == pytest.approx(DURATION_S / 2, abs=0.1)
    page.mouse.move(*at(0.5))
    page.mouse.down()
    page.mouse.move(*at(0.25))
    page.mouse.move(*at(0.75))
    assert time_s(page) == pytest.approx(0.75 * DURATION_S, abs=0.1)
    page.mouse.up()
    cursor = lane.locator(".player-cursor").bounding_box()
    assert cursor["x"] + cursor["width"] / 2 == pytest.approx(at(0.75)[0], abs=2)


def test_every_view_shows_its_pictures(page: Any) -> None:
    sources = set()
    for view in ("Mask", "Excitation", "Spectrogram"):
        page.get_by_text(view, exact=True).click()
        assert page.get_by_role("radio", name=view).is_checked()
        picture = page.locator(".player-track", has_text="hum").get_by_role("img")
        assert picture.get_attribute("alt") == f"{view} of hum"
        sources.add(picture.get_attribute("src"))
    assert len(sources) == 3


def test_moments_can_be_jumped_to(page: Any, report_without_rest: Path) -> None:
    page.goto(report_without_rest.as_uri())
    moment = page.locator("button[data-seek]").first  # the last may be just before the end
    moment.click()
    page.locator("#player[data-state=playing]").wait_for()
    start_s = float(moment.get_attribute("data-seek"))
    assert start_s - 0.1 <= time_s(page) < start_s + 2
    assert 0 <= page.locator(".player-play").bounding_box()["y"] < page.viewport_size["height"]
    page.keyboard.press("Space")
    assert state(page) == "paused"


def test_the_mute_mixtures_picture_is_as_bright_as_that_of_a_stem_that_sounds(page: Any) -> None:
    page.get_by_role("button", name="Mute hum").click()
    page.wait_for_timeout(300)
    opacities = page.locator(".player-lane img").evaluate_all(
        "images => images.map((image) => Number(getComputedStyle(image).opacity))"
    )
    assert opacities == [1, 1, 0.35, 1]


def test_frequencies_can_be_read_and_volumes_be_hit(page: Any) -> None:
    sizes = page.locator(".player-axis").evaluate_all("axes => axes.map((axis) => getComputedStyle(axis).fontSize)")
    assert set(sizes) == {"12px"}
    if page.viewport_size == SIZES["phone"]:
        assert page.get_by_role("slider", name="Volume").count() == 5
        for volume in page.get_by_role("slider", name="Volume").all():
            assert volume.bounding_box()["height"] >= 24


def test_what_is_of_no_source_has_no_sources_color(page: Any) -> None:
    color = "(element, name) => getComputedStyle(element)[name]"
    sources = page.locator("path.area").evaluate_all("paths => paths.map((path) => getComputedStyle(path).fill)")
    bars = [page.locator(f".chart-box path.{kind}").evaluate(color, "fill") for kind in ("good", "poor", "faint")]
    line = page.locator("path.line").evaluate(color, "stroke")
    assert len({*sources, *bars}) == len(sources) + len(bars) == 5
    assert line not in sources


@pytest.mark.parametrize("touch", [False, True])
def test_keys_are_named_only_where_there_are_any(browser: Any, report: Path, touch: bool) -> None:
    page = browser.new_page(has_touch=touch, is_mobile=touch)
    page.goto(report.as_uri())
    assert page.get_by_text("You hear the stems").is_visible()
    assert page.get_by_text("Space plays").is_visible() != touch
    assert page.get_by_role("button", name="Keys").is_visible() != touch
    page.close()


def test_without_scripts_the_page_speaks_of_no_player(browser: Any, report_without_rest: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report_without_rest.as_uri())
    assert page.locator("noscript p").is_visible()
    assert not page.get_by_text("You hear the stems").is_visible()
    assert not page.get_by_text("Spectrograms reach").is_visible()
    assert page.locator("button[data-seek]").first.is_disabled()
    page.close()


def test_nothing_sticks_out_and_what_is_pressed_is_large_enough_for_a_finger(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 24


def test_the_facts_of_every_source_are_on_the_screen(page: Any) -> None:
    sources = page.get_by_role("table").last
    assert sources.get_by_role("rowheader").all_inner_texts() == ["hiss", "hum"]
    for cell in sources.get_by_role("cell").all():
        box = cell.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= page.viewport_size["width"]
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


def test_words_of_the_command_are_not_broken_and_all_can_be_copied(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    heights = page.locator("#command span").evaluate_all(
        "words => words.map((word) => word.getBoundingClientRect().height)"
    )
    assert len(heights) == len(COMMAND)
    assert len(set(heights)) == 1
    page.get_by_role("button", name="Copy the command").press("Enter")
    page.get_by_text("Copied", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == shlex.join(COMMAND)


def test_a_page_that_may_not_copy_selects_the_command(page: Any) -> None:
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('no'); }; }")
    page.get_by_role("button", name="Copy the command").click()
    page.get_by_text("Selected; copy it from there").wait_for()
    assert page.evaluate("String(getSelection())") == shlex.join(COMMAND)


def test_frequencies_are_marked_beside_spectrograms_and_masks_only(page: Any) -> None:
    axis = page.locator(".player-axis").nth(1)
    for view, visible in {"Mask": True, "Excitation": False, "Spectrogram": True}.items():
        page.get_by_text(view, exact=True).click()
        assert axis.is_visible() == visible


PLACES = """lane => [...lane.previousElementSibling.children].map((label) => {
  const { top, height } = lane.getBoundingClientRect();
  const box = label.getBoundingClientRect();
  return [label.textContent, 1 - ((box.top + box.bottom) / 2 - top) / height];
})"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sample_rate", [8000, 22050, 96000])
def test_a_marked_frequency_is_where_a_sound_of_that_frequency_is_drawn(
    browser: Any, tmp_path: Path, sample_rate: int, size: str
) -> None:
    page = browser.new_page(viewport=SIZES[size])
    script, style = join_modules(["player.js"]), (HERE / "static" / "player.css").read_text("utf-8")
    tracks = [{"name": "tone", "role": "stem", "url": "", "spectrogram": "data:,"}]
    options = json.dumps({"duration": 1, "sampleRate": sample_rate, "tracks": tracks})
    start = f"createPlayer(document.body.firstChild, {options});"
    page.set_content(f'<style>{style}</style><body><div></div><script type="module">{script}\n{start}</script>')
    places = page.locator(".player-lane").evaluate(PLACES)
    page.close()
    labels = [label for label, _ in places]
    assert labels == ["100 Hz", "300 Hz", "1 kHz", "3 kHz", "10 kHz"][: 5 if sample_rate > 22050 else 4]
    for label, place in places:
        number, unit = label.split()
        frequency_hz = float(number) * {"Hz": 1, "kHz": 1000}[unit]
        time_s = torch.arange(sample_rate) / sample_rate
        tone = Audio(0.5 * torch.sin(2 * torch.pi * frequency_hz * time_s)[None], sample_rate)
        energy = look_at(write_audio(tmp_path / f"{label}.wav", tone)).energy.mean(dim=1)
        center = float((energy * (torch.arange(len(energy)) + 0.5)).sum() / energy.sum() / len(energy))
        assert place == pytest.approx(center, abs=0.02)  # bins are as wide at 100 Hz; marks are 0.19 apart


def test_a_long_name_stays_in_the_page(browser: Any, tmp_path: Path) -> None:
    path = write_audio(tmp_path / f"{'Sunday morning, ' * 8}take-{'7' * 50}.wav", mixture(n_samples=4000))
    hum = trained("hum")
    long = Dictionary(replace(hum.card, source="an-uncommonly-long-name-of-a-source-without-any-space"), hum.network)
    config = BatchConfig(SeparationConfig(FitConfig(n_iterations=1), mask_estimator=None), report=True)
    (result,) = separate_files([path], [trained("hiss"), long], tmp_path / "out", config)
    for size in SIZES.values():
        page = browser.new_page(viewport=size)
        page.goto(result.report.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for head in page.locator(".player-head").all():
            assert head.evaluate("head => head.scrollWidth <= head.clientWidth")
        page.close()
