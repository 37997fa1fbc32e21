"""The sounds that the player loads, in a real browser."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from front_end import mixture

from sepdict import write_audio
from sepdict.reports.html import join_modules

pytestmark = pytest.mark.browser


def test_what_cannot_be_loaded_is_said(browser: Any) -> None:
    page = browser.new_page()
    script = join_modules(["player.js"])
    tracks = [{"name": "<i>hum", "role": "stem", "url": "data:audio/flac;base64,AAAA"}]
    start = f"createPlayer(document.body, {{ duration: 1, tracks: {tracks} }});"
    page.set_content(f'<!doctype html><body></body><script type="module">{script}\n{start}</script>')
    page.get_by_role("button", name="Play").click()
    page.locator("[data-state=error]").wait_for()
    assert page.get_by_role("status").first.inner_text().startswith("<i>hum cannot be loaded (")
    page.close()


MEASURE = """async ([urls, rate]) => {
  const [one, other] = await Promise.all(urls.map(async (url) => {
    const bytes = Uint8Array.from(atob(url.slice(url.indexOf(",") + 1)), (character) => character.charCodeAt(0));
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.buffer);
    return Array.from(sound.getChannelData(0));
  }));
  return [one, other];
}"""


def test_compressed_copies_begin_where_the_files_do(browser: Any, tmp_path: Path) -> None:
    from sepdict.reports.media import sound_url

    path = write_audio(tmp_path / "song.wav", mixture(n_samples=24000))
    page = browser.new_page()
    urls = [sound_url(path, gain=1, lossless=lossless) for lossless in (True, False)]
    whole, compressed = (torch.tensor(samples) for samples in page.evaluate(MEASURE, [urls, 8000]))
    page.close()
    content = base64.b64decode(urls[0].partition(",")[2])
    assert len(whole) == soundfile.info(io.BytesIO(content)).frames == len(compressed)
    lags = torch.nn.functional.conv1d(compressed[None, None], whole[None, None, 2000:-2000])[0, 0]
    assert int(lags.argmax()) == 2000
