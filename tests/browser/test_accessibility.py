"""What axe, the accessibility engine, finds in every view, in a light and in a dark scheme: nothing."""

from pathlib import Path
from typing import Any

import pytest
from front_end import SAMPLE_RATE, mixture, trained
from web_page import Server, make_endless, opened, separate_draft, tell, unfold

from sepdict import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.run import separate_files
from sepdict.separation.config import FitConfig, SeparationConfig

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there: uv run --group browser")

pytestmark = pytest.mark.browser


def assert_clean(page: Any) -> None:
    """Fail with what axe finds, but for what a still picture cannot tell."""
    page.emulate_media(reduced_motion="reduce")  # what fades has half a color
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_of_the_page_is_clean(scheme: str, browser: Any, server: Server, tmp_path: Path) -> None:
    mix = write_audio(tmp_path / "mix.wav", mixture(n_samples=4 * SAMPLE_RATE))
    with opened(browser, server, scheme=scheme) as page:
        assert_clean(page)
        page.get_by_role("button", name="Train one from solos").click()
        separate_draft(page, mix)
        assert_clean(page)
        unfold(page, "mixture")
        page.get_by_role("button", name="Mark mix.wav").click()
        page.get_by_role("button", name="Mark from here").click()
        page.get_by_role("button", name="Correct the stems").click()
        page.get_by_role("button", name="Add a box").click()
        assert_clean(page)
        page.get_by_role("button", name="Mute hum").click()
        page.get_by_role("button", name="Keys").last.click()
        assert_clean(page)
        page.goto(f"{server.address}#s=0123456789abcdef")
        page.get_by_role("button", name="Start anew").wait_for()
        assert_clean(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_progress_is_clean(
    scheme: str, browser: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(server.app.state.service.queue, monkeypatch)
    with opened(browser, server, scheme=scheme) as page:
        page.set_input_files("#mixture > .drop input[type=file]", write_audio(tmp_path / "mix.wav", mixture()))
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate", exact=True).click()
        page.locator("[aria-current=step]").filter(has_text="Take the mixture apart").wait_for(timeout=120_000)
        assert_clean(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_clean(scheme: str, browser: Any, tmp_path: Path) -> None:
    path = write_audio(tmp_path / "song.wav", mixture(n_samples=2 * SAMPLE_RATE))
    config = BatchConfig(SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None), report=True)
    (result,) = separate_files([path], [trained("hiss"), trained("hum")], tmp_path / "out", config)
    page = browser.new_page(color_scheme=scheme)
    page.goto(result.report.as_uri())
    assert_clean(page)
    page.get_by_role("button", name="Mute hum").click()
    page.get_by_label("Volume of the master").fill("12")
    page.get_by_label("Volume of hiss").fill("12")
    page.keyboard.press("+")
    page.keyboard.press("l")  # magnified, in a loop, clipping and saved
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Clipped; clear").wait_for()
    page.get_by_role("button", name="Download this mix").click()
    page.get_by_text("softer, so that it does not clip").wait_for()
    assert_clean(page)
    page.keyboard.press("?")
    assert_clean(page)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_of_dictionaries_is_clean_whatever_is_done_in_it(
    scheme: str, browser: Any, server: Server, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hiss", "rain", "wind"):
        trained("hiss").renamed(name).save(library / f"{name}.safetensors")
    tell(monkeypatch)
    with opened(browser, server, scheme=scheme) as page:
        for name in ("hiss", "hum"):
            page.get_by_role("checkbox", name=name).check()
        page.get_by_role("button", name="Can they be told apart?").click()
        page.get_by_role("table").wait_for(timeout=120_000)
        page.get_by_role("button", name="Remove rain").click()
        page.get_by_role("button", name="Undo removing rain").wait_for()
        page.get_by_role("button", name="Rename wind").click()
        assert_clean(page)
    for name in ("hiss", "wind"):
        (library / f"{name}.safetensors").unlink()
