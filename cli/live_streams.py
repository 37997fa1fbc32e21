"""Where `sepdict live` gets its sound and puts it: audio devices, or raw samples through pipes."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sepdict._core.on_demand import load_extra
from sepdict.errors import AudioError, SepdictError

if TYPE_CHECKING:
    from sepdict.separation.live import LiveSeparator

Encoding = Literal["s16", "f32"]
FULL_SCALE: dict[Encoding, float] = {"s16": 2.0**15, "f32": 1.0}
TYPES: dict[Encoding, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
Block: TypeAlias = NDArray[np.float32]
ABSURD = 1e6  # full scale is one
FILES = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"riff", b"fLaC", b"OggS", b"ID3", b".snd")  # their beginnings


class AudioDeviceError(SepdictError):
    """An audio device cannot be opened, or stopped."""


@dataclass(frozen=True)
class Piped:
    """What came through a pipe.

    Attributes
    ----------
    n_samples : int
        Of each channel.
    n_broken : int
        Bytes at the end that make no whole sample of every channel.
    """

    n_samples: int
    n_broken: int


def separate_pipe(live: "LiveSeparator", source: BinaryIO, sink: BinaryIO, *, encoding: Encoding) -> Piped:
    """Separate raw interleaved samples until they end.

    What goes in comes out whole, behind ``n_delayed - hop_length`` samples of silence.

    Raises
    ------
    AudioError
        If a file of sound comes instead, or integers as floats.
    """
    n_ahead, n_samples, n_broken = live.n_delayed - live.hop_length, 0, 0
    frame_bytes = TYPES[encoding].itemsize * live.n_channels
    for content in iter(partial(source.read, live.hop_length * frame_bytes), b""):
        if not n_samples:
            _refuse_file(content, live, encoding)
        n_broken = len(content) % frame_bytes
        block = _decoded(content[: len(content) - n_broken], live, encoding)
        _refuse_no_floats(block)
        n_samples += block.shape[1]
        n_missing = live.hop_length - block.shape[1]
        out = live.process(np.pad(block, ((0, 0), (0, n_missing))))
        n_ahead -= n_missing  # of the last block only
        _write(sink, out, encoding)
    silence = np.zeros((live.n_channels, live.hop_length), dtype=np.float32)
    while n_ahead > 0:
        _write(sink, live.process(silence)[:, :n_ahead], encoding)
        n_ahead -= live.hop_length
    return Piped(n_samples, n_broken)


def _refuse_file(beginning: bytes, live: "LiveSeparator", encoding: Encoding) -> None:
    """Refuse a file of sound, whose bytes would be taken for samples."""
    if beginning.startswith(FILES):
        raw = f"-f {encoding}le -ar {live.sample_rate} -ac {live.n_channels}"
        raise AudioError(f"stdin is a file of sound; expected its samples alone, as ffmpeg -i FILE {raw} - writes them")


def _refuse_no_floats(block: Block) -> None:
    """Refuse integers that were read as floats: many are absurdly loud, and somebody may have headphones on."""
    if np.count_nonzero(np.abs(block) > ABSURD) > block.size // 8:
        raise AudioError("stdin holds samples far beyond full scale, which is 1; are they 16-bit integers (--raw s16)?")


def _decoded(content: bytes, live: "LiveSeparator", encoding: Encoding) -> Block:
    """Turn bytes into samples, (n_channels, n_samples)."""
    interleaved = np.frombuffer(content, TYPES[encoding]).reshape(-1, live.n_channels)
    with np.errstate(invalid="ignore"):  # what is no number is counted later
        return interleaved.T.astype(np.float32) / np.float32(FULL_SCALE[encoding])


def _write(sink: BinaryIO, block: Block, encoding: Encoding) -> None:
    """Write samples at once; integers are limited to full scale."""
    scaled = block.T * np.float32(FULL_SCALE[encoding])
    if encoding == "s16":
        scaled = np.clip(np.rint(scaled), -(2**15), 2**15 - 1)
    sink.write(scaled.astype(TYPES[encoding]).tobytes())
    sink.flush()


@dataclass(frozen=True)
class Devices:
    """An audio input and an output, and the sound that is asked of them.

    Attributes
    ----------
    source, sink : str or None
        A number or a part of the name; None for the system's default.
    n_channels : int
    sample_rate : int
        In Hz.
    """

    source: str | None
    sink: str | None
    n_channels: int
    sample_rate: int

    def refuse_unfit(self) -> None:
        """Refuse devices that are not there, or do not have the channels or the rate.

        Raises
        ------
        AudioDeviceError
        LibraryError
            If the library of devices, an extra, or PortAudio below it, is missing.
        """
        with self._library() as library:
            if not len(library.query_devices()):
                raise AudioDeviceError("there are no audio devices on this machine; connect some, or use --raw")
            options = {"channels": self.n_channels, "dtype": "float32", "samplerate": self.sample_rate}
            library.check_input_settings(device=_device(self.source), **options)
            library.check_output_settings(device=_device(self.sink), **options)

    @contextlib.contextmanager
    def opened(self, **options: Any) -> Iterator[None]:
        """Open both as one stream of the library for the ``with`` block.

        Parameters
        ----------
        **options
            Of the library's ``Stream``.

        Raises
        ------
        AudioDeviceError
        """
        devices = _device(self.source), _device(self.sink)
        with (
            self._library() as library,
            library.Stream(
                samplerate=self.sample_rate, channels=self.n_channels, dtype="float32", device=devices, **options
            ),
        ):
            yield

    @contextlib.contextmanager
    def _library(self) -> Iterator[Any]:
        """Load the library of audio devices; explain its errors."""
        library = load_extra(
            "sounddevice",
            need="audio devices need sounddevice",
            extra="live",
            otherwise=", and on Linux PortAudio (apt install libportaudio2); or use --raw",
        )
        try:
            yield library
        except (library.PortAudioError, ValueError) as error:  # ValueError: no device of that name
            channels = "1 channel" if self.n_channels == 1 else f"{self.n_channels} channels"
            expected = f"expected an input and an output with {channels} at {self.sample_rate} Hz"
            raise AudioDeviceError(f"{error}; {expected}; see python -m sounddevice") from error


class DeviceStream:
    """Separates from an input device to an output device until it is stopped.

    Attributes
    ----------
    n_blocks : int
        Blocks so far.
    n_dropouts : int
        Blocks before, in or after which the devices had to leave sound out: this machine was too slow.
    """

    def __init__(self, live: "LiveSeparator", devices: Devices) -> None:
        self.live, self.devices = live, devices
        self.n_blocks = self.n_dropouts = 0
        self._ended = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Separate until Ctrl-C, or until the devices end.

        Raises
        ------
        AudioDeviceError
            If a device cannot be opened, or fails.
        """
        options = {"callback": self._process, "finished_callback": self._ended.set}
        with self.devices.opened(blocksize=self.live.hop_length, **options):
            self._ended.wait()
        if self._error is not None:
            raise self._error

    def _process(self, indata: Block, outdata: Block, n_frames: int, time: Any, status: Any) -> None:
        """Separate a block, (n_frames, n_channels), in the thread of the devices."""
        self.n_blocks += 1
        self.n_dropouts += bool(status)
        try:
            outdata[:] = self.live.process(indata.T).T
        except Exception as error:
            self._error = error
            self._ended.set()


def _device(name: str | None) -> int | str | None:
    """Return a device's number or part of its name, as the library takes them."""
    return int(name) if name is not None and name.isdecimal() else name
