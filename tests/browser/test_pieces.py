"""Long sounds on the page of `sepdict serve`, which the player loads in pieces: what is heard, sample by sample."""

import base64
import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from front_end import mixture
from player_page import play, time_s
from starlette.responses import Response
from starlette.routing import Route
from web_page import Long, Server, make, opened, separate_draft

from sepdict import read_audio, write_audio
from sepdict.web.tasks import MIXTURE

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect

pytestmark = pytest.mark.browser

RATE = Long.sample_rate
ROW = 4 * RATE  # samples that the player loads at once
MOST_BYTES_BEFORE_SOUND = 2_000_000
Samples = np.ndarray[Any, np.dtype[np.float32]]

RECORDER = """
registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([[samples]]) {
    this.port.postMessage(samples?.slice() ?? new Float32Array(128));
    return true;
  }
});
"""
RECORD = """() => {
  window.recorded = [];
  const Context = AudioContext;
  window.AudioContext = class extends Context {
    async resume() {
      await super.resume();
      this.prepared ??= this.audioWorklet.addModule("/recorder.js");
      await this.prepared;
      this.recorder ??= new AudioWorkletNode(this, "recorder");
      this.recorder.connect(this.destination);
      this.recorder.port.onmessage = ({ data }) => recorded.push(data);
    }
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...more) {
    const isEnd = target instanceof AudioDestinationNode && !(this instanceof AudioWorkletNode);
    if (isEnd) connect.call(this, target.context.recorder);
    return connect.call(this, target, ...more);
  };
}"""
TAKE = """() => {
  const bytes = new Uint8Array(recorded.length * 512);
  recorded.forEach((samples, index) => bytes.set(new Uint8Array(samples.buffer), 512 * index));
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}"""


@pytest.fixture(scope="module")
def session(chromium: Any, server_of_file: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a session with long sounds in its player."""
    recorder = Route("/recorder.js", lambda _: Response(RECORDER, media_type="text/javascript"))
    server_of_file.app.router.routes.insert(0, recorder)
    mix = write_audio(tmp_path_factory.mktemp("sounds") / "mix.wav", mixture())
    with pytest.MonkeyPatch.context() as patch, opened(chromium, server_of_file) as page:
        make(Long, server_of_file.app.state.service.queue, patch)
        separate_draft(page, mix)
        page.wait_for_timeout(1500)  # until the session is saved
        return str(page.url)


@pytest.fixture
def whole(server: Server, session: str) -> Samples:
    """All of what is heard, the sum of both stems."""
    (job,) = server.app.state.service.queue._jobs.values()
    return read_audio(job.output / MIXTURE).samples[0].numpy()


@pytest.fixture
def page(browser: Any, server: Server, session: str) -> Iterator[Any]:
    """The page with long sounds in its player, as it was first set, of which all that is heard is recorded."""
    kept = server.app.state.service.sessions.find(session.partition("#s=")[2])
    document = kept.document
    with opened(browser, server) as opened_page:
        opened_page.add_init_script(f"({RECORD})()")
        opened_page.goto(session)
        opened_page.locator("#outcome").wait_for()
        yield opened_page
    kept.document = document


def recorded(page: Any) -> list[Samples]:
    """Stop, and return what was heard, without the silence around and between."""
    if page.locator("#player").get_attribute("data-state") == "playing":
        page.locator(".player-play").click()
    page.wait_for_timeout(200)
    heard = np.frombuffer(base64.b64decode(page.evaluate(TAKE)), dtype=np.float32)
    sounding = np.flatnonzero(heard)
    return [heard[some[0] : some[-1] + 1] for some in np.split(sounding, np.flatnonzero(np.diff(sounding) > 64) + 1)]


def begins(heard: Samples, whole: Samples) -> int:
    """Find where in the whole sound something begins."""
    n = 2 ** int(np.ceil(np.log2(len(whole) + 2000)))
    spectrum = np.fft.rfft(whole, n) * np.conj(np.fft.rfft(heard[:2000], n))
    return int(np.fft.irfft(spectrum, n).argmax())


def expect_heard(heard: Samples, expected: Samples) -> None:
    np.testing.assert_allclose(heard, expected[: len(heard)], rtol=0, atol=1e-6)


def wait_for(page: Any, state: str, timeout: float = 20_000) -> None:
    page.locator(f"#player[data-state={state}]").wait_for(timeout=timeout)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@contextlib.contextmanager
def late(page: Any, piece: str) -> Iterator[None]:
    """Keep a piece back until the end of the `with` block."""
    kept: list[Any] = []
    page.route(f"**/{piece}", lambda route: kept.append(route))
    yield
    for route in kept:
        route.continue_()
    page.unroute(f"**/{piece}")


def test_across_seams_what_is_heard_is_the_sound(page: Any, whole: Samples) -> None:
    press(page, *["ArrowRight"] * 3)
    play(page)
    page.wait_for_timeout(6500)
    (heard,) = recorded(page)
    assert len(heard) > 6 * RATE  # across two seams
    expect_heard(heard, whole[3 * RATE :])


def test_all_tracks_are_in_step_after_every_jump(page: Any, whole: Samples) -> None:
    play(page)
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "ArrowLeft", "ArrowRight"):
        page.wait_for_timeout(600)
        press(page, key)
        wait_for(page, "playing")
    page.wait_for_timeout(1000)
    parts = [part for part in recorded(page) if len(part) > 2000]
    assert len(parts) == 5
    for part in parts:
        expect_heard(part, whole[begins(part, whole) :])
    assert begins(parts[0], whole) == 0


def test_a_late_piece_of_one_track_is_waited_for_by_all(page: Any, whole: Samples) -> None:
    with late(page, f"1.wav?start={ROW}&*"):
        press(page, *["ArrowRight"] * 3)
        play(page)
        wait_for(page, "loading")
        expect(page.locator(".player-message")).to_have_text("Loading …")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.wait_for_timeout(500)
        assert time_s(page) == 4
    wait_for(page, "playing")
    expect(page.locator(".player-message")).to_be_empty()
    page.wait_for_timeout(1000)
    before, after = recorded(page)
    expect_heard(before, whole[3 * RATE :])
    assert len(before) == RATE
    expect_heard(after, whole[4 * RATE :])


@pytest.mark.parametrize("keys", [["Shift+ArrowRight"], ["Space", "Shift+ArrowRight", "Space"]], ids=["jump", "pause"])
def test_what_is_awaited_can_be_left(page: Any, whole: Samples, keys: list[str]) -> None:
    with late(page, "1.wav?start=0&*"):
        page.get_by_role("button", name="Play").click()
        wait_for(page, "loading")
        press(page, *keys)
        wait_for(page, "playing")
        page.wait_for_timeout(1000)
    (heard,) = recorded(page)
    expect_heard(heard, whole[10 * RATE :])


@pytest.mark.parametrize(("from_s", "to_s"), [(1, 2), (3, 5), (3, 9)], ids=["in a row", "across a seam", "of rows"])
def test_loops_are_played_again_sample_by_sample(page: Any, whole: Samples, from_s: int, to_s: int) -> None:
    press(page, *["ArrowRight"] * to_s, "o", *["ArrowRight"] * from_s, "i")
    play(page)
    page.wait_for_timeout(1000 * (to_s - from_s) + 1500)
    (heard,) = recorded(page)
    loop = whole[from_s * RATE : to_s * RATE]
    assert len(heard) > len(loop) + RATE / 2
    expect_heard(heard, np.tile(loop, 5))


def test_it_plays_into_a_loop_that_begins_later(page: Any, whole: Samples) -> None:
    press(page, *["ArrowRight"] * 6, "o", *["ArrowRight"] * 5, "i", "ArrowLeft", "ArrowLeft")
    play(page)
    page.wait_for_timeout(4500)
    (heard,) = recorded(page)
    loop = whole[5 * RATE : 6 * RATE]
    assert len(heard) > 3.5 * RATE
    expect_heard(heard, np.concatenate([whole[3 * RATE : 5 * RATE], np.tile(loop, 5)]))


def test_it_stops_at_the_end(page: Any, whole: Samples) -> None:
    page.get_by_role("slider", name="Position").press("End")
    press(page, "ArrowLeft")
    play(page)
    wait_for(page, "paused")
    assert time_s(page) == len(whole) / RATE
    (heard,) = recorded(page)
    np.testing.assert_allclose(heard, whole[-RATE:], rtol=0, atol=1e-6)


def test_little_travels_before_it_sounds(page: Any, whole: Samples) -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.update({answer.url: int(answer.headers["content-length"])}))
    play(page)
    n_bytes = sum(n_bytes for url, n_bytes in sizes.items() if ".wav" in url)
    assert 3 * ROW * 4 < n_bytes < MOST_BYTES_BEFORE_SOUND < 3 * whole.nbytes / 8
    page.wait_for_timeout(1000)
    assert all("?start=" in url for url in sizes if ".wav" in url)


def test_a_piece_that_fails_while_others_sound_is_asked_for_again(page: Any, whole: Samples) -> None:
    page.route(f"**/0.wav?start={ROW}&*", lambda route: route.abort(), times=1)
    play(page)
    page.wait_for_timeout(5000)
    (heard,) = recorded(page)
    assert len(heard) > ROW
    expect_heard(heard, whole)


def test_pieces_that_cannot_be_had_are_said_and_can_be_asked_for_again(page: Any, whole: Samples) -> None:
    page.route("**/*.wav?start=0&*", lambda route: route.fulfill(status=404, json={"error": "gone"}))
    page.get_by_role("button", name="Play").click()
    wait_for(page, "error")
    expect(page.locator(".player-message")).to_contain_text("cannot be loaded (404 Not Found)")
    page.unroute("**/*.wav?start=0&*")
    play(page)
    expect(page.locator(".player-message")).to_be_empty()
    page.wait_for_timeout(500)
    (heard,) = recorded(page)
    expect_heard(heard, whole)


def test_the_mixture_is_as_loud_as_what_it_is_compared_with(page: Any, server: Server, whole: Samples) -> None:
    press(page, "2")  # hum alone
    page.get_by_label("Volume of hum").fill("6")
    page.locator(".player-name").first.click()
    press(page, "a")
    play(page)
    page.wait_for_timeout(1000)
    (heard,) = recorded(page)
    (job,) = server.app.state.service.queue._jobs.values()
    hum = 10 ** (6 / 20) * read_audio(job.output / "0.wav").samples[0].numpy()
    expect_heard(heard, np.sqrt(np.mean(hum**2) / np.mean(whole**2)) * whole)


@pytest.mark.parametrize("gain_db", [0, 12])
def test_the_mix_of_a_long_sound_is_saved_piece_by_piece(page: Any, whole: Samples, gain_db: int) -> None:
    page.get_by_label("Volume of the master").fill(str(gain_db))
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Download this mix").click()
    mix = read_audio(download.value.path()).samples[0].numpy()
    softer = 1 if gain_db == 0 else 1 / np.abs(whole).max()
    np.testing.assert_allclose(mix, softer * whole, rtol=0, atol=1e-6)


ROWS = """async (rate) => {
  const { Rows } = await import("/player-pieces.js");
  const asked = [];
  let nDecoded = 0;
  window.fetch = async (url) => {
    const [start, stop] = /start=(\\d+)&stop=(\\d+)/.exec(url).slice(1).map(Number);
    asked.push([start, stop]);
    return { ok: true, arrayBuffer: async () => stop - start };
  };
  const context = { sampleRate: rate, decodeAudioData: async (length) => ({ length }) };
  const tracks = ["mixture", "0", "1"].map((name) => ({ name, url: `${name}.wav` }));
  const rows = new Rows(context, tracks, 44100, { n_samples: 20 * 60 * 44100, n_channels: 2 }, {});
  let most = 0;
  for (let index = 0; index < rows.count; index++) {
    await rows.read(index);
    const kept = [...rows.kept.values()].flat().reduce((sum, { length }) => sum + length, 0);
    most = Math.max(most, 2 * 4 * kept);
  }
  return { asked, most };
}"""


@pytest.mark.parametrize("rate", [44100, 48000], ids=["its own rate", "another"])
def test_what_is_kept_is_bounded_however_long_the_sound_is(page: Any, rate: int) -> None:
    result = page.evaluate(ROWS, rate)
    assert 2**25 < result["most"] <= 2**26
    of_one = result["asked"][::3]
    assert of_one[0][0] == 0
    assert of_one[-1][1] == 20 * 60 * 44100
    assert all(one[1] == other[0] for one, other in itertools.pairwise(of_one))
