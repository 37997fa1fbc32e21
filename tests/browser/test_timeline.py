"""Time in the player, in a real Chromium: loops that are dragged or set by keys, and magnified time."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from player_page import DURATION_S, audible, play, time_s

pytestmark = pytest.mark.browser


def drag_on_ruler(page: Any, start: float, end: float) -> None:
    """Drag from one share of the ruler's width to another."""
    page.locator(".player-ruler").scroll_into_view_if_needed()
    box = page.locator(".player-ruler").bounding_box()
    at = [box["x"] + share * box["width"] for share in (start, end)]
    page.mouse.move(at[0], box["y"] + 10)
    page.mouse.down()
    page.mouse.move(at[1], box["y"] + 14, steps=3)
    page.mouse.up()


def times_s(page: Any) -> Iterator[float]:
    """Look at the position for a second and a half."""
    for _ in range(30):
        page.wait_for_timeout(50)
        yield time_s(page)


def looping(page: Any) -> bool:
    return str(page.get_by_role("button", name="Loop").get_attribute("aria-pressed")) == "true"


NOTE_STARTS = """() => {
  const start = AudioBufferSourceNode.prototype.start;
  window.started = [];
  AudioBufferSourceNode.prototype.start = function (...at) {
    started.push([this.loop, this.loopStart, this.loopEnd]);
    return start.apply(this, at);
  };
}"""


def test_what_is_dragged_on_the_ruler_is_played_again_and_again(page: Any) -> None:
    drag_on_ruler(page, 0.6, 0.5)  # backward will do
    assert looping(page)
    assert time_s(page) == pytest.approx(0.5 * DURATION_S, abs=0.1)
    page.evaluate(NOTE_STARTS)
    play(page)
    started = page.evaluate("started")
    assert started == [started[0]] * 4
    assert started[0] == [True, pytest.approx(0.5 * DURATION_S, abs=0.1), pytest.approx(0.6 * DURATION_S, abs=0.1)]
    seen = list(times_s(page))
    assert 0.5 * DURATION_S - 0.1 <= min(seen) < max(seen) <= 0.6 * DURATION_S + 0.1
    assert sum(later < earlier for earlier, later in itertools.pairwise(seen)) >= 1
    band = page.locator(".player-lane").nth(1).locator(".player-loop").bounding_box()
    lane = page.locator(".player-lane").nth(1).bounding_box()
    assert band["width"] == pytest.approx(0.1 * lane["width"], abs=4)
    page.keyboard.press("l")
    assert not looping(page)
    seen = list(times_s(page))
    assert max(seen) > 0.6 * DURATION_S + 0.2


def test_a_click_on_the_ruler_moves_there_and_sets_no_loop(page: Any) -> None:
    drag_on_ruler(page, 0.25, 0.25)
    assert time_s(page) == pytest.approx(0.25 * DURATION_S, abs=0.1)
    assert not looping(page)


def test_a_loop_is_set_and_ended_by_keys(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    page.keyboard.press("i")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    assert looping(page)
    assert time_s(page) == 1
    page.keyboard.press("Shift+ArrowRight")  # what is behind the loop is played without it
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    play(page)
    page.locator("#player[data-state=paused]").wait_for()
    page.keyboard.press("l")
    page.keyboard.press("l")
    assert (looping(page), time_s(page)) == (True, 1)  # the same one


def test_magnified_time_shows_and_marks_what_is_there(page: Any) -> None:
    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("+")
    lane = page.locator(".player-lane").nth(1)
    lane.scroll_into_view_if_needed()
    picture, box = lane.get_by_role("img").bounding_box(), lane.bounding_box()
    assert picture["width"] == pytest.approx(4 * box["width"], rel=0.01)
    assert picture["x"] == pytest.approx(box["x"], abs=2)
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 20)
    assert time_s(page) == pytest.approx(DURATION_S / 8, abs=0.1)
    cursor = lane.locator(".player-cursor").bounding_box()
    assert cursor["x"] == pytest.approx(box["x"] + 0.5 * box["width"], abs=3)
    page.keyboard.press("Shift+ArrowRight")  # what is played is in view
    assert time_s(page) == DURATION_S
    right = lane.locator(".player-cursor").bounding_box()["x"]
    assert box["x"] < right <= box["x"] + box["width"]
    drag_on_ruler(page, 0.5, 1)
    assert time_s(page) == pytest.approx(DURATION_S * 7 / 8, abs=0.15)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("Scroll through time").fill("0")
    assert lane.get_by_role("img").bounding_box()["x"] == pytest.approx(box["x"], abs=2)
    lane.hover()
    page.mouse.wheel(box["width"], 0)
    page.wait_for_timeout(300)
    assert lane.get_by_role("img").bounding_box()["x"] == pytest.approx(box["x"] - box["width"], abs=3)
    for _ in range(2):
        page.keyboard.press("-")
    assert page.get_by_role("button", name="Zoom out").is_disabled()
    assert lane.get_by_role("img").bounding_box()["width"] == pytest.approx(box["width"], rel=0.01)
    assert audible(page) == ["hiss", "hum", "residual"]


def test_the_view_follows_what_is_played(page: Any) -> None:
    for _ in range(3):
        page.keyboard.press("+")
    play(page)
    page.wait_for_timeout(1500)
    start = float(page.locator("#player").evaluate("player => player.style.getPropertyValue('--player-start')"))
    assert start * DURATION_S <= time_s(page) + 0.1
    assert start > 0.05
