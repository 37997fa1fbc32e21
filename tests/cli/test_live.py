"""`sepdict live`: through pipes, and with devices that are played here."""

import functools
import io
import os
import pty
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
from front_end import (
    SAMPLE_RATE,
    TINY,
    error_lines,
    fail,
    mixture,
    read_json,
    sound,
    succeed,
    train_mask_estimators_briefly,
)
from numpy.typing import NDArray
from sepdict_cli.app import app
from sepdict_cli.live_streams import Encoding, Piped, separate_pipe

from sepdict.audio.writing import write_audio
from sepdict.separation.live import LiveSeparator, open_live
from sepdict.training.train import train_dictionary

REMEMBERING = replace(TINY, exemplars_s=60.0, n_steps=20)


@pytest.fixture(autouse=True)
def brief() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        train_mask_estimators_briefly(patch, n_steps=20)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dictionaries")
    made = {}
    for source in ("hiss", "hum"):
        audio = sound(source, n_samples=2 * SAMPLE_RATE, seed=9)
        made[source] = train_dictionary(audio, REMEMBERING, source=source).save(folder / f"{source}.safetensors")
    return made


@pytest.fixture
def opened(files: dict[str, Path]) -> Callable[..., LiveSeparator]:
    return functools.partial(open_live, list(files.values()), keep=["hiss", "hum"])


def raw(samples: NDArray[np.float32], encoding: Encoding) -> bytes:
    return np.rint(samples.T * 2**15).astype("<i2").tobytes() if encoding == "s16" else samples.T.tobytes()


def of_raw(content: bytes, encoding: Encoding, n_channels: int) -> NDArray[np.float32]:
    samples = np.frombuffer(content, "<i2" if encoding == "s16" else "<f4").reshape(-1, n_channels).T
    return (samples / (2**15 if encoding == "s16" else 1)).astype(np.float32)


@pytest.mark.parametrize("encoding", ["s16", "f32"])
@pytest.mark.parametrize("n_samples", [0, 1, 255, 256, 6000])
def test_a_pipe_gives_back_all_that_went_in_after_the_delay(
    opened: Callable[..., LiveSeparator], encoding: Encoding, n_samples: int
) -> None:
    live, sink = opened(n_channels=2), io.BytesIO()
    samples = mixture(n_channels=2, n_samples=6000).samples.numpy()[:, :n_samples]
    assert separate_pipe(live, io.BytesIO(raw(samples, encoding)), sink, encoding=encoding) == Piped(n_samples, 0)
    out, n_late = of_raw(sink.getvalue(), encoding, 2), live.n_delayed - live.hop_length
    assert out.shape == (2, n_samples + n_late)
    expected = np.pad(samples, ((0, 0), (n_late, 0)))
    np.testing.assert_allclose(out, expected, rtol=0, atol=1.01 / 2**15 if encoding == "s16" else 1e-6)


def test_integers_beyond_full_scale_are_limited(opened: Callable[..., LiveSeparator]) -> None:
    live, sink = opened(), io.BytesIO()
    loud = np.tile(np.float32([1, -1]) * (1 - 2**-15), 3000)[None]
    separate_pipe(live, io.BytesIO(raw(loud, "s16")), sink, encoding="s16")
    out = of_raw(sink.getvalue(), "s16", 1)[:, live.n_delayed - live.hop_length :]
    np.testing.assert_allclose(out, loud, rtol=0, atol=2 / 2**15)


def test_bytes_that_are_no_numbers_are_silence(opened: Callable[..., LiveSeparator]) -> None:
    live, sink = opened(), io.BytesIO()
    assert (
        separate_pipe(live, io.BytesIO(b"\x01\x00\x80\x7f" * 300), sink, encoding="f32").n_broken == 0
    )  # NaN that signals
    assert live.n_not_finite == 300
    assert not of_raw(sink.getvalue(), "f32", 1).any()


def test_the_command_separates_from_stdin_to_stdout(files: dict[str, Path]) -> None:
    samples = mixture().samples.numpy()
    arguments = ["live", *(word for file in files.values() for word in ("-d", str(file))), "--raw", "f32"]
    runs = {
        keep: typer.testing.CliRunner().invoke(app, [*arguments, "--keep", keep], input=raw(samples, "f32") + b"!")
        for keep in files
    }
    for keep, result in runs.items():
        assert result.exit_code == 0
        assert f"keeping {keep} at 8000 Hz, mono, 80 ms late" in result.stderr
        assert "the last bytes (1) are no whole sample" in result.stderr
    parts = [of_raw(result.stdout_bytes, "f32", 1) for result in runs.values()]
    np.testing.assert_allclose(sum(parts)[:, -samples.shape[1] :], samples, rtol=0, atol=1e-6)


@pytest.fixture
def words(files: dict[str, Path]) -> list[str]:
    return ["live", *(word for file in files.values() for word in ("-d", str(file))), "--keep", "hum"]


def test_what_is_learned_the_first_time_is_said_at_its_beginning(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path))
    said = [typer.testing.CliRunner().invoke(app, [*words, "--raw", "s16"], input=b"").stderr for _ in range(2)]
    learning = "telling hiss and hum apart (once, then it is remembered)\n"
    assert said[0] == learning + said[1]


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "ogg"])
def test_a_file_of_sound_is_not_taken_for_its_samples(tmp_path: Path, words: list[str], extension: str) -> None:
    content = write_audio(tmp_path / f"a.{extension}", mixture()).read_bytes()
    result = typer.testing.CliRunner().invoke(app, [*words, "--raw", "s16", "--channels", "2"], input=content)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    (said,) = error_lines(result)
    assert said == (
        "sepdict: stdin is a file of sound; expected its samples alone, as ffmpeg -i FILE -f s16le -ar 8000 -ac 2 - "
        "writes them"
    )


def test_integers_are_not_taken_for_floats(words: list[str]) -> None:
    content = raw(mixture().samples.numpy(), "s16")
    result = typer.testing.CliRunner().invoke(app, [*words, "--raw", "f32"], input=content)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert error_lines(result)[0].endswith("are they 16-bit integers (--raw s16)?")


def test_a_stdin_without_samples_is_noted(words: list[str]) -> None:
    result = typer.testing.CliRunner().invoke(app, [*words, "--raw", "s16"], input=b"")
    assert (result.exit_code, result.stdout_bytes) == (0, bytes(2 * 512))
    assert "stdin ended before the first sample" in result.stderr


@pytest.mark.parametrize(("stream", "closing"), [("stdin", "<&-"), ("stdout", "</dev/null >&-")])
def test_a_stream_that_is_closed_is_one_line(words: list[str], stream: str, closing: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m sepdict {shlex.join(words)} --raw s16 {closing}"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith(f"sepdict: {stream} is closed; expected ")
    assert result.stderr.count("\n") == 1


def test_samples_are_not_written_to_a_terminal(words: list[str]) -> None:
    leader, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "sepdict", *words, "--raw", "s16"]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(terminal)
        os.close(leader)
    assert result.returncode == 1
    assert result.stderr.startswith("sepdict: stdout is a terminal; expected ")


class Devices:
    """Stands in for the library of audio devices: calls back with blocks and troubles, at its own clock."""

    class PortAudioError(Exception):
        """As the library's."""

    def __init__(self, blocks: list[NDArray[np.float32]], troubles: dict[int, str]) -> None:
        self.blocks, self.troubles = blocks, troubles
        self.out: list[NDArray[np.float32]] = []
        self.asked: dict[str, Any] = {}
        self.checked: list[dict[str, Any]] = []

    def query_devices(self) -> list[str]:
        return ["Headset", "Loud speakers"]

    def check_input_settings(self, **asked: Any) -> None:
        self.checked.append(asked)

    def check_output_settings(self, **asked: Any) -> None:
        self.checked.append(asked)

    def Stream(self, **asked: Any) -> "Devices":  # noqa: N802 (the library's name)
        self.asked = asked
        return self

    def __enter__(self) -> None:
        threading.Thread(target=self.play).start()

    def __exit__(self, *_: object) -> None:
        pass

    def play(self) -> None:
        for number, block in enumerate(self.blocks):
            out = np.full_like(block, np.nan)
            self.asked["callback"](block, out, len(block), None, self.troubles.get(number, ""))
            self.out.append(out)
        self.asked["finished_callback"]()


def play(monkeypatch: pytest.MonkeyPatch, devices: Any) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", devices)


def test_devices_are_opened_at_the_dictionaries_rate_and_dropouts_counted(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = mixture(n_channels=2, n_samples=2560).samples.numpy()
    blocks = list(samples.T.reshape(-1, 128, 2))
    devices = Devices(blocks, {3: "input overflow", 7: "output underflow"})
    play(monkeypatch, devices)
    options = ["--input", "2", "--output", "Loud speakers", "--channels", "2", "--keep", "hiss", "--keep", "hum"]
    arguments = ["live", *(word for file in files.values() for word in ("-d", str(file))), *options]
    result = typer.testing.CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "0 s, 2 dropouts" in result.stderr
    asked = {name: devices.asked[name] for name in ("samplerate", "blocksize", "channels", "device")}
    assert asked == {"samplerate": 8000, "blocksize": 128, "channels": 2, "device": (2, "Loud speakers")}
    sound = {"samplerate": 8000, "channels": 2, "dtype": "float32"}
    assert devices.checked == [{"device": 2, **sound}, {"device": "Loud speakers", **sound}]
    out = np.concatenate(devices.out).T
    np.testing.assert_allclose(out[:, 512:], samples[:, :-512], rtol=0, atol=1e-6)
    assert read_json("".join(succeed(*arguments, "--json"))) == {"duration_s": 0.16 * 2, "n_dropouts": 2}


def test_a_device_that_gives_other_blocks_ends_the_command(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, Devices([np.zeros((100, 1), dtype=np.float32)], {}))
    assert "the block has shape (1, 100)" in fail("live", "-d", files["hum"], "-d", files["hiss"], "--keep", "hum")


@pytest.mark.parametrize("refuses", ["check_input_settings", "check_output_settings", "__enter__"])
def test_devices_that_cannot_be_opened_are_one_line_and_before_a_training_where_possible(
    words: list[str], monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Refusing.PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    class Refusing(Devices):
        pass

    setattr(Refusing, refuses, refuse)
    play(monkeypatch, Refusing([], {}))
    if refuses != "__enter__":
        monkeypatch.setattr("sepdict.separation.live.cached_mask_estimator", None)
    said = fail(*words)
    assert "Invalid sample rate [PaErrorCode -9997]; expected an input and an output with 1 channel at 8000 Hz" in said


def test_a_machine_without_devices_is_told_of_pipes(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices([], {})
    monkeypatch.setattr(devices, "query_devices", list)
    play(monkeypatch, devices)
    assert "there are no audio devices on this machine; connect some, or use --raw" in fail(*words)


def test_without_the_library_of_devices_the_command_says_how_to_install_it(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, None)  # importing it fails
    said = fail(*words)
    assert "pip install 'sepdict[live]', or uv sync --extra live" in said
    assert said.endswith("or use --raw")


def test_bad_arguments_are_one_line_before_anything_is_learned(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.separation.mask_estimator_cache.train_mask_estimator", None)
    both = ["live", "-d", files["hum"], "-d", files["hiss"], "--raw", "s16"]
    assert "keep is ['rain']; expected one or more of hiss, hum" in fail(*both, "--keep", "rain")
    assert "expected pipes or audio devices" in fail(*both, "--keep", "hum", "--input", "1")
    assert "expected one of them" in fail(*both, "--keep", "hum", "--json")
    assert "no dictionary of that name" in fail("live", "-d", "rain", "--keep", "rain", "--raw", "s16")
