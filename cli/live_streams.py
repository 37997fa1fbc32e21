"""Where `sepdict live` gets its sound and puts it: audio devices, or raw samples through pipes."""

import threading
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sepdict.errors import ConfigError, SepdictError

if TYPE_CHECKING:
    from sepdict.separation.live import LiveSeparator

Encoding = Literal["s16", "f32"]
FULL_SCALE: dict[Encoding, float] = {"s16": 2.0**15, "f32": 1.0}
TYPES: dict[Encoding, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
Block: TypeAlias = NDArray[np.float32]
HOW_TO_INSTALL = 'pip install "sepdict[live]", and on Linux PortAudio (apt install libportaudio2)'


class AudioDeviceError(SepdictError):
    """An audio device cannot be opened, or stopped."""


def separate_pipe(live: "LiveSeparator", source: BinaryIO, sink: BinaryIO, *, encoding: Encoding) -> int:
    """Separate raw interleaved samples until they end, and return how many bytes at the end made no whole frame.

    What goes in comes out whole, behind ``n_delayed - hop_length`` samples of silence.
    """
    n_ahead, n_broken = live.n_delayed - live.hop_length, 0
    frame_bytes = TYPES[encoding].itemsize * live.n_channels
    for content in iter(partial(source.read, live.hop_length * frame_bytes), b""):
        n_broken = len(content) % frame_bytes
        block = _decoded(content[: len(content) - n_broken], live, encoding)
        n_missing = live.hop_length - block.shape[1]
        out = live.process(np.pad(block, ((0, 0), (0, n_missing))))
        n_ahead -= n_missing  # of the last block only
        _write(sink, out, encoding)
    silence = np.zeros((live.n_channels, live.hop_length), dtype=np.float32)
    while n_ahead > 0:
        _write(sink, live.process(silence)[:, :n_ahead], encoding)
        n_ahead -= live.hop_length
    return n_broken


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


def load_sounddevice() -> ModuleType:
    """Load the library of audio devices, an extra.

    Raises
    ------
    ConfigError
        If it, or PortAudio below it, is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise ConfigError(f"audio devices cannot be used ({error}); {HOW_TO_INSTALL}, or use --raw") from error
    loaded: ModuleType = sounddevice
    return loaded


class DeviceStream:
    """Separates from an input device to an output device until it is stopped.

    Attributes
    ----------
    n_blocks : int
        Blocks so far.
    n_dropouts : int
        Blocks before, in or after which the devices had to leave sound out: this machine was too slow.
    """

    def __init__(self, live: "LiveSeparator", *, source: str | None, sink: str | None) -> None:
        self.live, self.devices = live, (_device(source), _device(sink))
        self.n_blocks = self.n_dropouts = 0
        self._ended = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Separate until Ctrl-C, or until the devices end.

        Raises
        ------
        AudioDeviceError
            If a device cannot be opened at the dictionaries' rate, or fails.
        """
        sounddevice = load_sounddevice()
        try:
            with sounddevice.Stream(
                samplerate=self.live.sample_rate,
                blocksize=self.live.hop_length,
                channels=self.live.n_channels,
                dtype="float32",
                device=self.devices,
                callback=self._process,
                finished_callback=self._ended.set,
            ):
                self._ended.wait()
        except (sounddevice.PortAudioError, ValueError) as error:  # ValueError: no device of that name
            expected = (
                f"expected an input and an output with {self.live.n_channels} channels at {self.live.sample_rate} Hz"
            )
            raise AudioDeviceError(f"{error}; {expected}; see python -m sounddevice") from error
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
