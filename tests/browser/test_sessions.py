"""What the page of `sepdict serve` does not lose: by a reload, to a second tab, and while its server is away."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, TINY, mixture, sound
from web_page import SLOW, Server, make_endless, opened, train, unfold

from sepdict import TrainingConfig, write_audio
from sepdict.web.jobs import ABANDONED

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser
MOST_MS = 60_000  # of what the server works for
MARKS = "0\t2\thiss\n2\t4\thum\n"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sounds")
    parts = [sound(name, n_samples=2 * SAMPLE_RATE, seed=seed) for name, seed in (("hiss", 5), ("hum", 6))]
    both = mixture(n_samples=2 * SAMPLE_RATE)
    made = {
        "take": replace(both, samples=torch.cat([each.samples for each in (*parts, both)], dim=1)),
        "mix 2": mixture(n_samples=2 * SAMPLE_RATE, seed=1),
        "solo 1": sound("hiss", n_samples=2 * SAMPLE_RATE, seed=4),
        "solo 2": sound("hiss", n_samples=2 * SAMPLE_RATE, seed=5),
    }
    paths = {name: write_audio(folder / f"{name}.wav", audio) for name, audio in made.items()}
    paths["marks"] = folder / "marks.txt"
    paths["marks"].write_text(MARKS)
    return paths


def saved(page: Any, has: str) -> None:
    """Wait until the session's document holds a text."""
    address = page.url.replace("#s=", "api/sessions/")
    for _ in range(600):
        if has in page.request.get(address).text():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"is not saved: {has}")


def set_in(style: str) -> dict[str, str]:
    """Read from a player's style what its loop and what is in view."""
    return {
        name: re.findall(rf"--player-{name}: ([^;]+)", style)[0] for name in ("loop-start", "loop-end", "zoom", "start")
    }


def add_and_mark(page: Any, sounds: dict[str, Path]) -> None:
    page.set_input_files("#mixture > .drop input[type=file]", sounds["take"])
    page.get_by_role("button", name="Mark take.wav").click()
    page.set_input_files("#marking input[type=file]", sounds["marks"])
    expect(page.locator("#mixture > .files")).to_contain_text("2 marks")


def test_a_reload_shows_everything_again(browser: Any, server: Server, sounds: dict[str, Path]) -> None:
    with opened(browser, server) as page:
        add_and_mark(page, sounds)
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("checkbox", name="hum").check()
        page.locator("#separate").click()
        expect(page.locator("#outcome")).to_be_visible(timeout=MOST_MS)
        page.get_by_role("button", name="Mute hiss").click()
        page.get_by_label("Volume of hum").fill("-12.5")
        page.get_by_label("Volume of the master").fill("3")
        ruler = page.locator(".player-ruler")
        box = ruler.bounding_box()
        ruler.drag_to(ruler, source_position={"x": 20, "y": 8}, target_position={"x": box["width"] / 2, "y": 8})
        page.locator("#player").get_by_role("button", name="Zoom in").click()
        timing = page.locator("#player").get_attribute("style")
        unfold(page, "mixture", "sources")
        page.get_by_role("button", name="Train one from solos").click()
        page.get_by_label("Name of the source").fill("rain")
        page.set_input_files("#training input[type=file]", sounds["solo 1"])
        page.get_by_role("radio", name="Quick").check()
        expect(page.get_by_role("list", name="Solos")).to_contain_text("solo 1.wav")
        page.reload()  # at once

        expect(page.locator("#outcome")).to_be_visible()
        expect(page.locator("#mixture > .files")).to_contain_text("take.wav6 s, 8 kHz, mono, 2 marks")
        expect(page.get_by_role("checkbox", name="hum")).to_be_checked()
        expect(page.get_by_role("checkbox", name="hiss learned from 2 s")).not_to_be_checked()  # learned from marks
        expect(page.get_by_label("Better quality")).not_to_be_checked()
        expect(page.get_by_role("button", name="Mute hiss")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_label("Volume of hum")).to_have_value("-12.5")
        expect(page.get_by_label("Volume of the master")).to_have_value("3")
        expect(page.get_by_role("button", name="Loop", exact=True)).to_have_attribute("aria-pressed", "true")
        assert set_in(page.locator("#player").get_attribute("style")) == set_in(timing)
        expect(page.get_by_label("Name of the source")).to_have_value("rain")
        expect(page.get_by_role("list", name="Solos")).to_contain_text("solo 1.wav")
        expect(page.get_by_role("radio", name="Quick")).to_be_checked()
        page.get_by_role("button", name="Mark take.wav").click()
        expect(page.get_by_label("Source of mark 2")).to_have_value("hum")
        page.get_by_role("button", name="Play", exact=True).last.click()
        expect(page.locator("#player")).to_have_attribute("data-state", "playing")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
        page.locator("#separate").click()
        expect(page.locator("#separate")).to_be_enabled()
        assert asked == []  # it was separated in the same way before the reload


def test_a_job_goes_on_through_a_reload_and_can_be_canceled_after_it(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    with opened(browser, server) as page:
        page.set_input_files("#mixture input[type=file]", [sounds["take"], sounds["mix 2"]])
        expect(page.get_by_role("button", name="Separate all 2")).to_be_visible()
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("button", name="Separate all 2").click()
        bar = page.locator("#listen > .progress")
        expect(bar).to_contain_text("1 of 2, take.wav: Taking the mixture apart", timeout=MOST_MS)
        page.reload()
        expect(bar).to_contain_text("1 of 2, take.wav: Taking the mixture apart")
        expect(page.locator("#separate")).to_be_disabled()
        page.goto("about:blank")
        page.go_back()
        expect(bar).to_contain_text("1 of 2, take.wav")
        bar.get_by_role("button", name="Cancel").click()
        expect(page.locator("#results li")).to_have_text([re.compile("canceled")] * 2)
        expect(page.locator("#separate")).to_be_enabled()


def test_a_training_that_ended_while_no_page_was_open_is_taken_over(
    browser: Any, server: Server, sounds: dict[str, Path]
) -> None:
    with opened(browser, server) as page:
        train(page, sounds, kind="Quick")
        expect(page.locator("#learning .progress")).to_be_visible()
        address = page.url
        page.goto("about:blank")
        saved_job = address.replace("#s=", "api/sessions/")
        while page.request.get(saved_job).json()["jobs"][0]["state"] in ("waiting", "running"):
            page.wait_for_timeout(50)
        page.goto(address)
        expect(page.get_by_role("checkbox", name="hiss learned from 4 s at 8 kHz, quick")).to_be_checked()
        expect(page.locator("#training")).to_be_hidden()
        page.reload()
        expect(page.get_by_role("checkbox", name="hiss learned from 4 s at 8 kHz, quick")).to_be_checked()


def test_two_tabs_of_a_session_show_the_same_and_overwrite_nothing(
    browser: Any, server: Server, sounds: dict[str, Path]
) -> None:
    with opened(browser, server) as page:
        add_and_mark(page, sounds)
        saved(page, '"marks":{"')
        other = page.context.new_page()
        other.goto(page.url)
        expect(other.locator("#mixture > .files")).to_contain_text("2 marks")
        other.get_by_role("button", name="Mark take.wav").click()

        page.get_by_label("Source of mark 1").fill("rain")  # both at the same time
        other.get_by_role("checkbox", name="hum").check()
        other.get_by_role("button", name="Remove mark 2").click()
        expect(other.get_by_label("Source of mark 1")).to_have_value("rain")
        expect(page.get_by_role("checkbox", name="hum")).to_be_checked()
        expect(page.get_by_role("list", name="Marks").get_by_role("listitem")).to_have_count(1)

        other.set_input_files("#mixture > .drop input[type=file]", sounds["mix 2"])
        expect(page.get_by_text("2 recordings, 8 s together")).to_be_visible()
        page.get_by_role("button", name="Remove take.wav").click()
        expect(other.locator("#mixture > .files li")).to_have_count(1)
        expect(other.locator("#marking")).to_be_hidden()
        other.get_by_label("Better quality").uncheck()
        other.locator("#separate").click()
        for each in (page, other):
            expect(each.locator("#outcome")).to_be_visible(timeout=MOST_MS)
        other.close()


def test_the_front_page_begins_anew_and_shows_nothing_of_others(
    browser: Any, server: Server, sounds: dict[str, Path]
) -> None:
    with opened(browser, server) as page:
        page.set_input_files("#mixture input[type=file]", sounds["mix 2"])
        expect(page.locator("#mixture > .files li")).to_have_count(1)
        with opened(browser, server) as another:
            expect(another).to_have_url(re.compile(r"/#s=[0-9a-f]{32}$"))
            assert another.url != page.url
            expect(another.locator("#mixture > .files li")).to_have_count(0)


def test_an_address_whose_session_is_gone_says_so_with_one_way_out(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        expect(page).to_have_url(re.compile("#s="))
        page.goto(f"{server.address}#s=0123456789abcdef")  # entered in the address bar
        expect(page.get_by_role("alert").filter(has_text="is no longer here")).to_be_visible()
        assert page.get_by_role("button").all_inner_texts() == ["Start anew"]
        page.get_by_role("button", name="Start anew").click()
        expect(page.get_by_role("checkbox", name="hum")).to_be_visible()
        expect(page).to_have_url(re.compile(r"/#s=[0-9a-f]{32}$"))
        expect(page.locator("#gone")).to_be_hidden()


def test_a_page_that_the_server_does_not_answer_asks_again(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        page.route("**/api/limits", lambda route: route.abort())
        page.reload()
        expect(page.locator("#silence")).to_be_visible(timeout=20_000)
        expect(page.get_by_text("There are no dictionaries yet")).to_be_hidden()
        page.unroute("**/api/limits")
        expect(page.get_by_role("checkbox", name="hum")).to_be_visible(timeout=20_000)
        expect(page.locator("#silence")).to_be_hidden()


def test_while_the_server_is_away_that_is_said_and_the_page_goes_on_with_the_marks(
    browser: Any, library: Path, sounds: dict[str, Path]
) -> None:
    server = Server(library)
    try:
        with opened(browser, server) as page:
            add_and_mark(page, sounds)
            server.end()
            silence = page.locator("#silence")
            expect(silence).to_be_visible(timeout=20_000)
            expect(silence).to_contain_text("every 4 seconds", timeout=20_000)  # the pauses grow
            page.get_by_label("Source of mark 1").fill("rain")
            page.get_by_role("button", name="Ask now").click()
            expect(silence).to_be_visible()
            server.begin()
            expect(silence).to_be_hidden(timeout=20_000)
            expect(page.locator("#session > .notice")).to_contain_text("no longer has take.wav: it ended meanwhile")
            expect(page.locator("#session > .notice")).to_contain_text("Marks are there again when")
            page.set_input_files("#mixture > .drop input[type=file]", sounds["take"])
            expect(page.locator("#mixture > .files")).to_contain_text("2 marks")
            page.reload()
            page.get_by_role("button", name="Mark take.wav").click()
            expect(page.get_by_label("Source of mark 1")).to_have_value("rain")
    finally:
        server.end()


def test_what_ended_while_no_page_was_open_says_why(browser: Any, library: Path, sounds: dict[str, Path]) -> None:
    server = Server(library, TrainingConfig(network=TINY.network, exemplars_s=0, **SLOW))
    try:
        with opened(browser, server) as page:
            train(page, sounds, kind="Quick")
            expect(page.locator("#learning .progress")).to_contain_text("Learning the sound", timeout=MOST_MS)
            address = page.url
            page.goto("about:blank")
            queue = server.app.state.service.queue
            queue.limits = replace(queue.limits, abandoned_s=-1)
            queue.sweep()
            page.goto(address)
            expect(page.locator("#learning .notice")).to_contain_text(ABANDONED)
            expect(page.get_by_role("list", name="Solos").get_by_role("listitem")).to_have_count(2)
            expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    finally:
        server.end()
