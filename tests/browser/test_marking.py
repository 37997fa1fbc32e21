"""Marking moments of a mixture on the page of `sepdict serve`, with a mouse and by keys, up to the stems."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, mixture, sound, write_bad
from web_page import SIZES, Server, opened, unfold

from sepdict import read_labels, write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser

DURATION_S = 6


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of hiss, two of hum, then both."""
    parts = [sound("hiss", n_samples=2 * SAMPLE_RATE, seed=5), sound("hum", n_samples=2 * SAMPLE_RATE, seed=6)]
    both = mixture(n_samples=2 * SAMPLE_RATE)
    whole = replace(both, samples=torch.cat([each.samples for each in (*parts, both)], dim=1))
    return write_audio(tmp_path_factory.mktemp("sounds") / "take.wav", whole)


def until(page: Any, is_so: str) -> None:
    """Wait until JavaScript says so; the page's policy does not let playwright do it."""
    for _ in range(1200):
        if page.evaluate(is_so):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not in a minute: {is_so}")


def open_marking(page: Any, recording: Path) -> Any:
    page.set_input_files("#mixture > .drop input[type=file]", recording)
    page.get_by_role("button", name=f"Mark {recording.name}").click()
    expect(page.get_by_role("img", name=f"Spectrogram of {recording.name}")).to_be_visible()
    until(page, "document.querySelector('.sheet img').naturalWidth > 0")
    return page.locator("#marking")


def drag(page: Any, start_s: float, end_s: float) -> None:
    page.locator("#marking .lane").scroll_into_view_if_needed()
    box = page.locator("#marking .sheet").bounding_box()
    at = [box["x"] + box["width"] * time_s / DURATION_S for time_s in (start_s, end_s)]
    page.mouse.move(at[0], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(at[1], box["y"] + 60, steps=4)
    page.mouse.up()


@pytest.mark.parametrize("size", list(SIZES))
def test_from_marks_to_stems(size: str, browser: Any, server: Server, recording: Path, tmp_path: Path) -> None:
    with opened(browser, server, size) as page:
        panel, separate = open_marking(page, recording), page.locator("#separate")
        drag(page, 1.8, 0.2)  # backward will do
        expect(page.get_by_label("Source of mark 1")).to_be_focused()
        expect(page.locator("#missing")).to_contain_text("a name for each mark in take.wav")
        page.keyboard.type("hiss")
        expect(separate).to_be_enabled()
        expect(page.get_by_text("With a single source")).to_be_visible()
        drag(page, 1.5, 3.8)
        page.keyboard.type("hum")
        expect(page.locator("#missing")).to_contain_text("hiss and hum in take.wav that do not overlap")
        start = page.get_by_label("Start of mark 2 in seconds")
        start.fill("2.2")
        start.press("Tab")
        expect(separate).to_be_enabled()
        expect(panel.get_by_text("Marked: hiss 1.6")).to_be_visible()
        expect(page.locator("#mixture > .files")).to_contain_text("2 marks")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        with page.expect_download() as download:
            page.get_by_role("button", name="Save for Audacity").click()
        assert download.value.suggested_filename == "take.txt"
        labels = read_labels(download.value.path())
        assert [label.name for label in labels] == ["hiss", "hum"]
        times = torch.tensor([[label.start_s, label.end_s] for label in labels])
        torch.testing.assert_close(times, torch.tensor([[0.2, 1.8], [2.2, 3.8]]), rtol=0, atol=0.05)

        separate.click()
        expect(page.get_by_text("of the mixture's energy is explained")).to_be_visible(timeout=120_000)
        assert page.locator(".player-name").all_inner_texts() == ["take.wav", "hiss", "hum"]

        unfold(page, "mixture", "sources")
        expect(page.get_by_role("button", name="Keep hiss")).to_be_visible()
        expect(page.get_by_role("checkbox", name="hiss learned from 1.6")).not_to_be_checked()

        page.get_by_role("button", name="Remove mark 1").click()
        expect(page.get_by_label("Source of mark 1")).to_have_value("hum")
        page.get_by_role("button", name="Remove take.wav").click()
        expect(panel).to_be_hidden()


def test_marks_are_made_heard_and_looped_by_keys(browser: Any, server: Server, recording: Path) -> None:
    with opened(browser, server) as page:
        panel = open_marking(page, recording)
        sounding = "document.querySelector('#marking audio')"
        lane = page.get_by_role("group", name="Spectrogram, to mark moments on")
        lane.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("m")
        page.keyboard.type("hum")
        expect(page.get_by_label("Start of mark 1 in seconds")).to_have_value("3")
        expect(page.get_by_label("End of mark 1 in seconds")).to_have_value("5")
        end = page.get_by_label("End of mark 1 in seconds")
        end.fill("1")  # before the start
        end.press("Tab")
        expect(end).to_have_value("5")
        end.fill("3.3")
        end.press("Tab")

        lane.focus()
        page.keyboard.press(" ")
        until(page, f"!{sounding}.paused && {sounding}.currentTime > 3.05")
        page.keyboard.press(" ")
        until(page, f"{sounding}.paused")
        page.get_by_role("button", name="Play mark 1").click()
        until(page, f"!{sounding}.paused")
        until(page, f"{sounding}.paused && {sounding}.currentTime < 3.05")  # at its end, back at its start
        page.get_by_label("Loop marks").check()
        page.evaluate(f"window.turns = 0; {sounding}.addEventListener('seeked', () => window.turns++)")
        page.get_by_role("button", name="Play mark 1").click()
        until(page, f"window.turns > 2 && !{sounding}.paused")
        page.get_by_role("button", name="Close").click()
        assert page.evaluate(f"{sounding}.paused")
        expect(panel).to_be_hidden()
        expect(page.locator("#mixture > .files")).to_contain_text("1 mark")


def test_magnified_times_are_marked_where_they_are_seen(browser: Any, server: Server, recording: Path) -> None:
    with opened(browser, server) as page:
        open_marking(page, recording)
        for _ in range(2):
            page.get_by_role("button", name="Magnify time").click()
        widths = (
            "(() => { const lane = document.querySelector('.lane'); return lane.scrollWidth / lane.clientWidth })()"
        )
        assert page.evaluate(widths) == pytest.approx(4, abs=0.05)
        page.evaluate("document.querySelector('.lane').scrollLeft = 0")
        drag(page, 0.25, 0.75)
        expect(page.get_by_label("Start of mark 1 in seconds")).to_have_value(re.compile(r"0\.2\d*"))
        expect(page.get_by_label("End of mark 1 in seconds")).to_have_value(re.compile(r"0\.7\d*"))


def test_label_files_are_read_and_what_is_none_is_said(
    browser: Any, server: Server, recording: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "take.txt", tmp_path / "words.txt"
    good.write_text("0\t2\thiss\n2\t4\thum\n")
    bad.write_text("these are words")
    with opened(browser, server) as page:
        panel = open_marking(page, recording)
        page.set_input_files("#marking input[type=file]", bad)
        expect(panel.locator(".notice")).to_contain_text("words.txt: ")
        page.set_input_files("#marking input[type=file]", good)
        expect(page.get_by_role("list", name="Marks").get_by_role("listitem")).to_have_count(2)
        expect(panel.locator(".notice")).to_be_hidden()
        expect(page.locator("#separate")).to_be_enabled()


def test_times_of_label_files_are_shown_in_milliseconds_and_saved_as_they_were(
    browser: Any, server: Server, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("0.123456\t1.699501\thiss\n")
    with opened(browser, server) as page:
        open_marking(page, recording)
        page.set_input_files("#marking input[type=file]", tmp_path / "labels.txt")
        expect(page.get_by_label("Start of mark 1 in seconds")).to_have_value("0.123")
        expect(page.get_by_label("End of mark 1 in seconds")).to_have_value("1.7")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save for Audacity").click()
        (label,) = read_labels(download.value.path())
        assert (label.start_s, label.end_s) == (0.123456, 1.699501)


def test_a_mixture_that_cannot_be_shown_says_why(browser: Any, server: Server, tmp_path: Path) -> None:
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", write_bad(tmp_path / "bad.wav", "damaged FLAC"))
        page.get_by_role("button", name="Mark bad.wav").click()
        expect(page.locator("#marking .notice")).to_contain_text("bad.wav: damaged or cut short")
