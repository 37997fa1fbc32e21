"""The documentation's pages, opened from the disk."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


def test_the_site_is_searched_from_the_disk_and_asks_nobody(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: uv run --group docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "index.html").as_uri())
    page.locator("input.md-search__input").first.fill("dictionary")
    page.locator(".md-search-result__item").first.wait_for(timeout=120_000)
    own = (tmp_path.as_uri(), "data:", "blob:", "about:")
    assert [url for url in asked if not url.startswith(own)] == []
