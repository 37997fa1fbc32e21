"""What the page of `sepdict serve` shows while it works and of many files, and what can be taken home."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, mixture
from web_page import Server, ask_for_draft, held, make_endless, opened, separate_draft

from sepdict import Audio, write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser


def test_the_title_of_the_tab_says_how_far_work_is(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate", exact=True).click()
        expect(page).to_have_title(re.compile(r"^\d+ % - sepdict$"), timeout=60_000)
        page.get_by_role("button", name="Cancel").click()
        expect(page).to_have_title("sepdict")


def test_the_steps_of_a_separation_are_listed_with_the_one_that_goes_on(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch, [False, True])  # the first is a draft
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate", exact=True).click()
        steps = page.get_by_role("list", name="Steps").get_by_role("listitem")
        expect(page.locator("[aria-current=step]")).to_have_text("Take the mixture apart", timeout=120_000)
        expect(steps).to_have_text(
            [
                "Get ready, done",
                "Learn to tell the sources apart, done",  # which was in the cache, or is none of a job without end
                "Take the mixture apart",
                "Write the stems",
            ]
        )
        page.get_by_role("button", name="Cancel").click()
        expect(steps).to_have_count(0)


def test_a_button_in_a_list_that_is_pressed_for_long_does_what_it_says_while_work_goes_on(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    with opened(browser, server) as page:
        ask_for_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        progress = page.locator("#listen > .progress")
        expect(progress).to_contain_text("Taking the mixture apart", timeout=60_000)
        page.get_by_role("button", name="Mark mix.wav").hover(force=True)  # which the page makes anew all the time
        page.mouse.down()
        page.wait_for_timeout(1200)  # the page asks how far the work is two or three times
        page.mouse.up()
        expect(page.locator("#marking")).to_be_visible()
        progress.get_by_role("button", name="Cancel").click()
        expect(progress).to_be_hidden()


def job(state: str, fraction: float, elapsed_s: float, *, costs: dict[str, float], dictionaries: str = "ab") -> Any:
    request = {"mixture": state, "dictionaries": [*dictionaries], "labels": [], "quality": "standard"}
    facts = {"stages": [*costs], "stage": "fit", "left_s": None, "kind": "separation"}
    return facts | {"state": state, "fraction": fraction, "elapsed_s": elapsed_s, "costs": costs, "request": request}


@pytest.mark.parametrize(
    ("jobs", "share", "left_s"),
    [
        ([job("running", 0.0, 5.0, costs={"fit": 10}), job("waiting", 0.0, 0.0, costs={"fit": 10})], 0, None),
        ([job("running", 0.5, 20.0, costs={"fit": 10}), job("waiting", 0.0, 0.0, costs={"fit": 10})], 0.25, 60),
        ([job("done", 1.0, 30.0, costs={"fit": 10}), job("running", 0.0, 0.0, costs={"fit": 10})], 0.5, 30),
        ([job("failed", 0.5, 99.0, costs={"fit": 10}), job("running", 0.5, 20.0, costs={"fit": 10})], 0.75, 20),
        (  # what tells the sources apart is learned once
            [job("running", 0.5, 10.0, costs={"estimate": 10, "fit": 10})]
            + [job("waiting", 0.0, 0.0, costs={"estimate": 10, "fit": 10}, dictionaries=each) for each in ("ba", "ac")],
            0.2,
            40,
        ),
    ],
    ids=["nothing is known", "one is half done", "one is done", "one has failed", "something is learned once"],
)
def test_how_long_all_jobs_take_is_reckoned_by_their_costs_at_the_pace_so_far(
    browser: Any, server: Server, jobs: list[Any], share: float, left_s: float | None
) -> None:
    with opened(browser, server) as page:
        whole = page.evaluate("async (jobs) => (await import('/progress.js')).wholeOf(jobs)", jobs)
        assert whole["share"] == pytest.approx(share)
        assert whole["left_s"] == (left_s and pytest.approx(left_s))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "under 0.1 s"), (5, "5 s"), (59.96, "1 min"), (61, "1 min 1 s"), (1200, "20 min")]
)
def test_times_are_said_as_people_say_them(browser: Any, server: Server, seconds: float, words: str) -> None:
    with opened(browser, server) as page:
        said = page.evaluate("async (seconds) => (await import('/elements.js')).asDuration(seconds)", seconds)
        assert said.replace("\u00a0", " ") == words


def test_of_several_recordings_the_time_until_all_are_done_is_said(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    files = [write_audio(tmp_path / f"{seed}.wav", mixture(seed=seed)) for seed in range(2)]
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", files)
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("button", name="Separate all 2").click()
        bar = page.locator("#listen > .progress")
        expect(bar).to_contain_text(re.compile(r"left; about .* until all is done"), timeout=60_000)
        page.get_by_role("button", name="Cancel").click()
        expect(bar).to_be_hidden()


def test_a_draft_is_heard_while_more_is_learned_and_the_better_stems_take_its_place(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        asked: list[Any] = []
        page.on("request", lambda each: asked.append(each.post_data_json) if each.url.count("/separations") else None)
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("checkbox", name="hum").check()
        separate, outcome = page.get_by_role("button", name="Separate", exact=True), page.locator("#outcome")
        with monkeypatch.context() as patch:
            make_endless(server.app.state.service.queue, patch, [False, True])
            separate.click()
            expect(outcome).to_contain_text("This is a draft", timeout=60_000)
            expect(page.locator("#listen > .progress")).to_contain_text(re.compile("^mix.wav: "))
            page.get_by_role("button", name="Cancel").click()
        expect(outcome).to_contain_text("This is a draft: press Separate for better stems")
        page.get_by_role("button", name="Mute hum").click()
        page.locator("#player").press("ArrowRight")
        page.get_by_text("Mask", exact=True).click()
        page.get_by_role("button", name="Mixture", exact=True).click()
        separate.click()
        expect(outcome).to_contain_text("explained", timeout=60_000)
        expect(outcome).not_to_contain_text("This is a draft", timeout=60_000)
        expect(page.locator("#earlier")).to_be_hidden()
        expect(page.get_by_role("button", name="Mute hum")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuenow", "0.8")
        expect(page.get_by_role("img", name="Mask of hum")).to_be_visible()
        expect(page.get_by_role("button", name="Mixture", exact=True)).to_have_attribute("aria-pressed", "true")
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "b.wav", mixture(seed=1)))
        page.get_by_role("button", name="Separate all 2").click()
        expect(page.get_by_role("radio", name="b.wav")).to_be_visible(timeout=60_000)
        assert [each["quality"] for each in asked] == ["draft", "standard", "standard", "standard"]


def test_who_cancels_before_anything_is_there_is_told_that_nothing_was_separated(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    with opened(browser, server) as page:
        ask_for_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#listen > .notice")).to_contain_text("Canceled: nothing was separated.")
        expect(page.locator("#listen > .notice")).to_have_attribute("role", "status")


def test_a_draft_whose_better_stems_were_canceled_becomes_the_result_where_no_better_ones_are_asked_for(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch, [False, True])
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate", exact=True).click()
        outcome = page.locator("#outcome")
        expect(outcome).to_contain_text("This is a draft", timeout=60_000)
        page.get_by_role("button", name="Cancel").click()
        expect(outcome).to_contain_text("press Separate for better stems")
        page.get_by_label("Better quality").uncheck()
        expect(outcome).not_to_contain_text("draft")
        page.get_by_role("button", name="Separate", exact=True).click()
        notice = page.locator("#listen > .notice")
        expect(notice).to_contain_text("There is nothing to do: the stems below were separated in just this way.")
        page.get_by_label("Better quality").check()
        expect(outcome).to_contain_text("press Separate for better stems")


def test_what_is_silent_is_said_to_be_and_the_others_go_on_without_it(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    silence = write_audio(tmp_path / "silence.wav", Audio(torch.zeros(SAMPLE_RATE), SAMPLE_RATE))
    with opened(browser, server) as page:
        asked: list[Any] = []
        page.on("request", lambda each: asked.append(each.post_data_json) if each.url.count("/separations") else None)
        page.get_by_role("checkbox", name="hum").check()
        page.set_input_files("#mixture > .drop input[type=file]", silence)
        expect(page.locator("#mixture .files li")).to_contain_text("silent: there is nothing in it")
        expect(page.locator("#missing")).to_have_text("Needs a mixture that is not silent.")
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("button", name="Separate", exact=True).click()
        expect(page.locator("#outcome")).to_contain_text("explained", timeout=60_000)
        page.locator("#listen > .progress").wait_for(state="hidden", timeout=60_000)
        assert [each["quality"] for each in asked] == ["draft", "standard"]
        assert len({each["mixture"] for each in asked}) == 1


def test_a_late_answer_of_the_server_does_not_take_a_result_away(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, late = held(server, monkeypatch), []

    def keep_first(route: Any) -> None:
        if route.request.method == "GET" and not late:
            late.extend([route, route.fetch()])
        else:
            route.continue_()

    with opened(browser, server) as page:
        ask_for_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        expect(page.locator("#listen > .progress")).to_contain_text("Cancel")
        page.route("**/api/sessions/*", keep_first)
        while not late:
            page.wait_for_timeout(50)
        gate.set()
        expect(page.locator("#outcome")).to_contain_text("explained", timeout=60_000)
        page.locator("#player").press("ArrowRight")
        with page.expect_request("**/api/sessions/*"):
            late[0].fulfill(response=late[1])
        expect(page.get_by_role("slider", name="Position")).to_have_attribute("aria-valuenow", "0.8")


def test_a_draft_is_called_one_and_does_not_count_among_the_recordings(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch, [False, True, True])
    paths = [write_audio(tmp_path / f"{seed}.wav", mixture(seed=seed)) for seed in range(2)]
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", paths)
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate all 2").click()
        row, bar = page.locator("#results li").first, page.locator("#listen > .progress")
        expect(row).to_contain_text(re.compile(r"a draft, \d+\u00a0% explained; "), timeout=60_000)
        expect(row).not_to_contain_text("as it was before")
        expect(page.locator("#outcome")).to_contain_text("until the better stems are there")
        expect(bar).to_contain_text("1 of 2, 0.wav: ")
        page.reload()
        expect(bar).to_contain_text("1 of 2, 0.wav: ")
        bar.get_by_role("button", name="Cancel").click()
        expect(page.locator("#outcome")).not_to_contain_text("until")


def test_many_recordings_scroll_in_their_list(browser: Any, server: Server, tmp_path: Path) -> None:
    paths = [write_audio(tmp_path / f"{n}.wav", mixture(n_samples=SAMPLE_RATE, seed=n)) for n in range(12)]
    with opened(browser, server) as page:
        page.set_input_files("#mixture > .drop input[type=file]", paths)
        expect(page.get_by_text("12 recordings")).to_be_visible(timeout=60_000)
        files = page.locator("#mixture > .files")
        assert files.evaluate("list => list.scrollHeight > list.clientHeight")
        assert files.bounding_box()["height"] < 400
        last = page.get_by_role("button", name="Remove 11.wav")
        last.focus()
        expect(last).to_be_in_viewport()


def test_stems_are_downloaded_in_the_format_that_is_chosen(browser: Any, server: Server, tmp_path: Path) -> None:
    with opened(browser, server) as page:
        separate_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_label("Format of downloads").select_option("mp3")
        for name, file in {"hum": "hum.mp3", "All as zip": "mix.zip"}.items():
            with page.expect_download() as download:
                page.locator("#downloads").get_by_role("link", name=name).click()
            assert download.value.suggested_filename == file
            assert download.value.path().stat().st_size > 0


def test_the_report_of_a_result_is_downloaded_and_is_a_page_of_its_own(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    with opened(browser, server) as page:
        separate_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        with page.expect_download() as download:
            page.get_by_role("link", name="Report").click()
        assert download.value.suggested_filename == "mix report.html"
        download.value.save_as(tmp_path / "report.html")
    report = browser.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    expect(report.locator(".player-name")).to_have_text(["mix.wav", "hum", "residual"])
    report.get_by_role("button", name="Play").click()
    expect(report.locator("#player")).to_have_attribute("data-state", re.compile("playing|paused"))
    report.close()


def test_masks_can_be_seen_in_place_of_spectrograms(browser: Any, server: Server, tmp_path: Path) -> None:
    with opened(browser, server) as page:
        separate_draft(page, write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_text("Mask", exact=True).click()
        mask = page.get_by_role("img", name="Mask of hum")
        expect(mask).to_be_visible()
        loaded = "(pictures) => Promise.all(pictures.map((each) => each.decode())).then(() => pictures.length)"
        assert page.locator(".player-lane img").evaluate_all(loaded) > 0


BROWSER = """
window.told = [];
window.nAsked = 0;
window.Notification = class {
  static async requestPermission() { window.nAsked += 1; return ANSWER; }
  constructor(title, { body }) { window.told.push(`${title}: ${body}`); }
};
Object.defineProperty(document, "hidden", { get: () => Boolean(window.isAway) });
"""


def separate_when(page: Any, server: Server, mix: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Begin a separation that goes on when what is returned is set."""
    gate = held(server, monkeypatch)
    page.set_input_files("#mixture > .drop input[type=file]", mix)
    page.get_by_role("checkbox", name="hum").check()
    page.get_by_label("Better quality").uncheck()
    page.get_by_role("button", name="Separate", exact=True).click()
    page.get_by_role("button", name="Cancel").wait_for()
    return gate


@pytest.mark.parametrize(("answer", "is_away"), [("granted", True), ("granted", False), ("denied", True)])
def test_who_has_asked_and_looks_elsewhere_is_told_of_the_end(
    answer: str, is_away: bool, browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        page.add_init_script(BROWSER.replace("ANSWER", f"'{answer}'"))
        page.reload()
        mix = write_audio(tmp_path / "mix.wav", mixture(n_samples=2 * SAMPLE_RATE))
        gate = separate_when(page, server, mix, monkeypatch)
        box = page.locator(".telling input")
        assert page.evaluate("nAsked") == 0  # nobody is asked unless it is wanted
        box.click()
        expect(box).to_be_checked(checked=answer == "granted")
        page.evaluate(f"window.isAway = {str(is_away).lower()}")
        gate.set()
        page.locator("#listen > .progress").wait_for(state="hidden", timeout=120_000)
        assert page.evaluate("told") == (["Done - sepdict: mix.wav"] if (answer, is_away) == ("granted", True) else [])
        assert page.evaluate("nAsked") == 1


def test_a_browser_that_has_no_notifications_is_offered_none(
    browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        page.add_init_script("delete window.Notification")
        page.reload()
        gate = separate_when(page, server, write_audio(tmp_path / "mix.wav", mixture()), monkeypatch)
        expect(page.locator(".telling")).to_have_count(0)
        gate.set()
        page.locator("#outcome").wait_for(timeout=120_000)
