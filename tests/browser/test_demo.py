"""The first screen of the page, and the demo that it offers."""

from typing import Any

import pytest
from web_page import SIZES, Server, opened

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", list(SIZES))
def test_the_first_screen_shows_what_the_page_does(size: str, browser: Any, server: Server) -> None:
    with opened(browser, server, size) as page:
        steps = page.locator("#welcome li")
        expect(steps).to_have_count(3)
        for step in steps.all():
            expect(step).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name="Try the demo")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_demo_is_one_click_and_one_more_from_stems(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("button", name="Try the demo").click()
        expect(page.locator("#mixture > .files")).to_contain_text("reading.flac23.3 s, 16 kHz, mono, 2 marks")
        expect(page.locator("#separate")).to_be_focused()
        expect(page.locator("#welcome")).to_be_hidden()
        expect(page.locator("#sources")).to_contain_text("Marked: piano, speech. What is marked is learned")
        page.keyboard.press("Enter")
        expect(page.locator(".player-name")).to_have_text(["reading.flac", "piano", "speech"], timeout=120_000)
        page.reload()
        expect(page.locator(".player-name")).to_have_count(3)
        expect(page.locator("#mixture > .files")).to_contain_text("2 marks")
        expect(page.locator("#welcome")).to_be_hidden()


def test_a_demo_that_is_refused_says_why_and_can_be_tried_again(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        page.route("**/api/demo?*", lambda route: route.fulfill(status=413, json={"error": "there is no room"}))
        page.get_by_role("button", name="Try the demo").click()
        expect(page.locator("#welcome .notice")).to_contain_text("There is no room")
        page.unroute("**/api/demo?*")
        page.get_by_role("button", name="Try the demo").click()
        expect(page.locator("#mixture > .files")).to_contain_text("2 marks")
