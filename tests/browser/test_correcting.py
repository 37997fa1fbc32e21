"""Correcting stems on the page of `sepdict serve`: boxes on their spectrograms, by mouse and by keys."""

from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, mixture
from web_page import SIZES, Server, make_endless, opened, separate_draft, unfold

from sepdict import read_audio, write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser

DURATION_S = 4


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = mixture(n_samples=DURATION_S * SAMPLE_RATE)
    return write_audio(tmp_path_factory.mktemp("sounds") / "take.wav", whole)


def separated(page: Any, recording: Path) -> Any:
    """Separate hum from the rest, and open the panel."""
    separate_draft(page, recording)
    page.get_by_role("button", name="Correct the stems").click()
    return page.locator("#correcting")


def drag(page: Any, times_s: tuple[float, float], shares: tuple[float, float]) -> None:
    """Draw a box on the picture, given shares of its height from above."""
    page.locator("#correcting .lane").scroll_into_view_if_needed()
    box = page.locator("#correcting .sheet").bounding_box()
    corners = [
        (box["x"] + box["width"] * time_s / DURATION_S, box["y"] + box["height"] * share)
        for time_s, share in zip(times_s, shares, strict=True)
    ]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=4)
    page.mouse.up()


def high_energy(job: Any, start_s: float, end_s: float) -> float:
    """Return the energy of the first stem above 1 kHz between two times."""
    samples = read_audio(job.output / "0.wav").samples[0, round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    spectrum = torch.fft.rfft(samples * torch.hann_window(len(samples)))
    return float(spectrum[torch.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE) > 1000].abs().square().sum())


@pytest.mark.parametrize("size", list(SIZES))
def test_from_a_box_to_stems(size: str, browser: Any, server: Server, recording: Path) -> None:
    with opened(browser, server, size) as page:
        panel = separated(page, recording)
        expect(panel.get_by_role("img", name="Spectrogram of hum")).to_be_visible()
        again = panel.get_by_role("button", name="Separate again")
        expect(again).to_be_disabled()
        drag(page, (1, 3), (0.0, 0.5))
        expect(panel.get_by_role("listitem")).to_have_count(1)
        expect(panel.get_by_label("Stem of correction 1")).to_have_value("residual")
        expect(panel.get_by_label("Highest frequency in Hz of correction 1")).to_have_value("")
        expect(panel.get_by_label("Lowest frequency in Hz of correction 1")).to_have_value("447")  # of 50 to 4000
        again.click()
        expect(page.get_by_role("heading", name="Earlier results")).to_be_visible(timeout=120_000)
        before, after = server.jobs[-2:]
        (correction,) = after.request["corrections"]
        assert (correction["name"], correction["high_hz"]) == ("residual", None)
        assert abs(correction["start_s"] - 1) + abs(correction["end_s"] - 3) < 0.1
        assert high_energy(after, 1.3, 2.7) < 1e-3 * high_energy(before, 1.3, 2.7)
        assert high_energy(after, 0, 0.8) > 0.9 * high_energy(before, 0, 0.8)
        expect(again).to_be_disabled()

        page.wait_for_timeout(500)  # until it is saved
        page.reload()
        page.get_by_role("button", name="Correct the stems").click()
        expect(panel.get_by_role("listitem")).to_have_count(1)
        expect(again).to_be_disabled()
        panel.get_by_role("button", name="Remove correction 1").click()
        expect(again).to_be_enabled()


def test_boxes_are_made_changed_and_undone_by_keys(browser: Any, server: Server, recording: Path) -> None:
    with opened(browser, server) as page:
        panel = separated(page, recording)
        panel.get_by_label("Seen here").select_option("residual")
        expect(panel.get_by_role("img", name="Spectrogram of residual")).to_be_visible()
        panel.get_by_role("button", name="Add a box").press("Enter")
        owner, low = panel.get_by_label("Stem of correction 1"), panel.get_by_label("Lowest frequency in Hz")
        expect(owner).to_be_focused()
        expect(owner).to_have_value("hum")
        low.fill("300")
        low.press("Tab")
        high = panel.get_by_label("Highest frequency in Hz")
        expect(high).to_be_focused()
        high.fill("200")  # which is below the lowest, and is not taken
        high.press("Tab")
        expect(high).to_have_value("")
        end = panel.get_by_label("End in seconds")
        end.fill("99")
        end.press("Tab")
        expect(end).to_have_value("1")
        undo = panel.get_by_role("button", name="Undo")
        undo.press("Enter")
        expect(low).to_have_value("")
        undo.press("Enter")
        expect(panel.get_by_role("listitem")).to_have_count(0)
        expect(undo).to_be_disabled()
        panel.get_by_role("button", name="Close").click()
        expect(page.get_by_role("button", name="Correct the stems")).to_have_attribute("aria-expanded", "false")


def test_why_nothing_can_be_separated_again_is_said(
    browser: Any, server: Server, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        panel = separated(page, recording)
        again, why = panel.get_by_role("button", name="Separate again"), panel.locator(".why")
        panel.get_by_role("button", name="Add a box").click()
        expect(again).to_be_enabled()
        expect(why).to_be_empty()
        make_endless(server.app.state.service.queue, monkeypatch)
        again.click()
        expect(again).to_be_disabled()
        panel.get_by_role("button", name="Add a box").click()
        expect(why).to_have_text("Other work goes on: wait for its end, or cancel it.")
        page.get_by_role("button", name="Cancel").click()
        expect(again).to_be_enabled()
        expect(why).to_be_empty()
        unfold(page, "mixture", "sources")
        page.get_by_role("checkbox", name="hum").uncheck()
        expect(why).to_have_text("Needs a mark or a dictionary.")


def test_a_correction_can_be_of_a_source_that_has_come_since(browser: Any, server: Server, recording: Path) -> None:
    with opened(browser, server) as page:
        panel = separated(page, recording)
        panel.get_by_role("button", name="Add a box").click()
        owner = panel.get_by_label("Stem of correction 1")
        expect(owner.locator("option")).to_have_text(["hum", "residual"])
        unfold(page, "mixture")
        page.get_by_role("button", name="Mark take.wav").click()
        page.get_by_role("button", name="Mark from here").click()
        page.keyboard.type("rain")
        expect(owner.locator("option")).to_have_text(["hum", "residual", "rain"])
        owner.select_option("rain")
        page.get_by_role("button", name="Separate again").click()
        expect(page.locator("#earlier")).to_be_visible(timeout=120_000)
        assert page.locator(".player-name").all_inner_texts() == ["take.wav", "hum", "rain"]
