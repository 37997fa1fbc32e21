"""What the page says of dictionaries before they are used together: whether their sources can be told apart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_end import trained
from web_page import Server, held, opened, tell

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect
expect.set_options(timeout=120_000)

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def another(library: Path) -> Iterator[None]:
    """Have two dictionaries in the library."""
    path = trained("hiss").save(library / "hiss.safetensors")
    yield
    path.unlink()


def test_whether_the_chosen_can_be_told_apart_is_said_until_others_are_chosen(
    browser: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch)
    with opened(browser, server) as page:
        compare, told = page.get_by_role("button", name="Can they be told apart?"), page.locator("#told-apart")
        page.get_by_role("checkbox", name="hum").check()
        expect(compare).to_be_hidden()  # one alone
        page.get_by_role("checkbox", name="hiss").check()
        compare.focus()
        page.keyboard.press("Enter")
        expect(told.get_by_role("row").last).to_have_text("hiss and humeasily told apartabout 9\u00a0dB")
        expect(told).to_be_focused()
        expect(compare).to_be_hidden()
        page.get_by_role("checkbox", name="hum").uncheck()
        expect(told).to_be_hidden()
        page.get_by_role("checkbox", name="hum").check()
        expect(told).to_be_visible()
        page.reload()
        expect(told).to_contain_text("easily told apart")


def test_a_comparison_can_be_canceled_and_what_cannot_be_compared_is_said(
    browser: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        compare, bar = (
            page.get_by_role("button", name="Can they be told apart?"),
            page.locator("#comparing > .progress"),
        )
        for name in ("hiss", "hum"):
            page.get_by_role("checkbox", name=name).check()
        compare.click()
        notice = page.locator("#comparing > .notice")
        expect(notice).to_contain_text("Dictionary 'hiss' has no exemplars; train it again")
        gate = held(server, monkeypatch)
        tell(monkeypatch)
        compare.click()
        bar.get_by_role("button", name="Cancel").click()
        expect(bar).to_be_hidden()
        expect(notice).to_be_hidden()
        expect(compare).to_be_enabled()
        gate.set()
