"""Row 2: sound in files, whole or block by block.

Files go through soundfile; what that cannot read (m4a, the sound of a video) an installed ffmpeg program decodes
into a temporary file first.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from sepdict import ffmpeg
from sepdict.audio import Audio, refuse_not_finite
from sepdict.context import NOTHING, Context
from sepdict.errors import AudioError, AudioFileError, checks_types
from sepdict.files import replacing

WRITTEN_FORMATS = {  # extension: (libsndfile's name of the container, of its most faithful encoding)
    ".wav": ("WAV", "FLOAT"),
    ".flac": ("FLAC", "PCM_24"),
    ".aif": ("AIFF", "FLOAT"),
    ".aiff": ("AIFF", "FLOAT"),
    ".w64": ("W64", "FLOAT"),
    ".rf64": ("RF64", "FLOAT"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
COMPRESSION: Mapping[
    str, Mapping[str, Any]
] = {  # of lossy formats, 0 to 1, at a variable bit rate: some 250 kbit/s in stereo
    "OGG": {"compression_level": 0.2},
    "MP3": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
}
STEPS = {"PCM_16": (16, np.int16), "PCM_24": (24, np.int32)}  # bits, and in what they are handed to libsndfile
VORBIS_MOST = {"channels": 255, "samplerate": 200_000}  # beyond, libsndfile 1.2.2 brings the process down
WAV_LIMIT_BYTES = 2**32 - 2**16  # a WAV header counts bytes in 32 bits; beyond, libsndfile loses samples silently
NOT_FOR_SOUNDFILE = (soundfile.LibsndfileError, TypeError, UnicodeEncodeError)  # TypeError: raw samples, no header
AT_ONCE = 2**16  # samples: libsndfile's Vorbis and MP3 encoders overflow the stack on much longer blocks
OPERATING_SYSTEM = 2  # libsndfile's code for what went wrong outside it, a full disk for example
MALFORMED = 3  # libsndfile's code for a container that it knows, but not like this
UNKNOWN_SIZE = 0x7FFF0000  # a header that claims this much or more was written to a pipe: its size means nothing


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says of itself, known without decoding it."""

    n_channels: int
    sample_rate: int
    duration_s: float


class AudioReader:
    """An open audio file, read from front to back.

    Attributes
    ----------
    n_channels, n_samples, sample_rate : int
    name : str
        The file's name.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile) -> None:
        self.path, self.name, self._file = path, path.name, file
        self.n_channels, self.n_samples, self.sample_rate = file.channels, file.frames, file.samplerate

    def blocks(self, spans: Iterable[slice]) -> Iterator[Audio]:
        """Read spans of samples, of which each begins and ends no earlier than the one before; they may overlap.

        Raises
        ------
        AudioFileError
            If the file is damaged or cut short, or holds NaN or infinite samples.
        """
        held = torch.zeros(self.n_channels, 0)
        for span in spans:
            if span.start > self._file.tell():
                self._file.seek(span.start)
                held = held[:, :0]
            new = self._read(span.stop - self._file.tell())
            held = torch.cat([held, new], dim=1)[:, span.start - span.stop :]
            yield Audio(held, self.sample_rate, self.name)

    def _read(self, n_samples: int) -> Tensor:
        """Read the next samples, (n_channels, n_samples)."""
        start = self._file.tell()
        try:
            samples = self._file.read(n_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(self.path, error) from error
        if len(samples) < n_samples:
            promised_s, there_s = (n / self.sample_rate for n in (start + n_samples, start + len(samples)))
            raise AudioFileError(f"{self.path}: cut short: it promises {promised_s:.1f} s, {there_s:.1f} s are there")
        read = torch.from_numpy(samples.T).contiguous()
        try:
            refuse_not_finite(read, str(self.path), self.sample_rate, start=start)
        except AudioError as error:
            raise AudioFileError(str(error)) from error
        return read


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[AudioReader]:
    """Open an audio file to read it block by block.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or cut short (MP3 and Ogg cannot tell).
    """
    path = _existing_file(path)
    with contextlib.ExitStack() as open_files:
        try:
            file = open_files.enter_context(soundfile.SoundFile(path))
        except NOT_FOR_SOUNDFILE as error:
            if path.suffix.lower() == ".caf" and getattr(error, "code", 0) == MALFORMED:  # ffmpeg would read the rest
                raise _damaged(path, error) from error
            file = open_files.enter_context(_decoded_with_ffmpeg(path, reason=error))
            promised_s = ffmpeg.probe(path, reason=error)["duration_s"]
            _refuse_shorter(path, promised_s, file.frames / file.samplerate)
        if file.format == "MP3":
            file = open_files.enter_context(_decoded_mp3(path))
        if promise := _promised_and_there(file):
            raise AudioFileError(f"{path}: cut short: its header promises {promise[0]} bytes, {promise[1]} are there")
        if not file.frames:
            raise AudioFileError(f"{path}: holds no samples")
        yield AudioReader(path, file)


@contextlib.contextmanager
def _decoded_with_ffmpeg(path: Path, *, reason: Exception) -> Iterator[soundfile.SoundFile]:
    """Open what ffmpeg makes of a file."""
    with tempfile.TemporaryDirectory(prefix="sepdict-") as folder:
        decoded = Path(folder, "decoded.wav")
        ffmpeg.decode(path, decoded, reason=reason)
        with soundfile.SoundFile(decoded) as file:
            if _promised_and_there(file):
                raise AudioFileError(f"{path}: no room to decode it in {Path(folder).parent}; free some, or set TMPDIR")
            yield file


@contextlib.contextmanager
def _decoded_mp3(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a decoded copy of an MP3: in blocks libsndfile reads it wrongly, and of some it misses the end."""
    if ffmpeg.is_installed():
        with _decoded_with_ffmpeg(path, reason=AudioFileError()) as file:
            yield file
    else:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        with tempfile.TemporaryFile(prefix="sepdict-") as copy:
            soundfile.write(copy, samples, sample_rate, format="RF64", subtype="FLOAT")
            copy.seek(0)
            with soundfile.SoundFile(copy) as file:
                yield file


@checks_types
def read_audio(path: str | Path) -> Audio:
    """Read a whole audio file.

    Returns
    -------
    Audio
        float32 at the file's own rate, all its channels; ``name`` is the file's name.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, cut short (MP3 and Ogg cannot tell), or holds NaN or infinite samples.
    """
    with open_audio(path) as reader:
        (audio,) = reader.blocks([slice(0, reader.n_samples)])
        return audio


def probe_audio(path: str | Path) -> AudioInfo:
    """Look at a file's channels, rate and duration without decoding it.

    Raises
    ------
    AudioFileError
        If the file is missing, empty or not audio.
    """
    path = _existing_file(path)
    try:
        info = soundfile.info(path)
        return AudioInfo(info.channels, info.samplerate, info.frames / info.samplerate)
    except NOT_FOR_SOUNDFILE as error:
        stream = ffmpeg.probe(path, reason=error)
    if stream["duration_s"] is None:  # a stream recorded to a pipe: only decoding tells
        audio = read_audio(path)
        return AudioInfo(audio.n_channels, audio.sample_rate, audio.duration_s)
    return AudioInfo(int(stream["channels"]), int(stream["sample_rate"]), stream["duration_s"])


@contextlib.contextmanager
def writing_audio(
    path: str | Path,
    *,
    n_channels: int,
    sample_rate: int,
    n_samples: int,
    encoding: str | None = None,
    context: Context = NOTHING,
) -> Iterator[Callable[[Tensor], None]]:
    """Write an audio file block by block; it appears under its name when the work inside has ended well.

    Parameters
    ----------
    path, encoding
        As in `write_audio`.
    n_channels, sample_rate : int
    n_samples : int
        How many there will be.
    context : Context
        What the file says beside its sound, as far as its format can hold it.

    Yields
    ------
    callable
        To be given the next samples, shape (n_channels, n_new_samples).

    Raises
    ------
    AudioFileError
        As `write_audio` does.
    """
    path = Path(path).absolute()
    if path.suffix.lower() not in WRITTEN_FORMATS:
        raise AudioFileError(f"{path}: unknown extension {path.suffix!r}; expected one of {', '.join(WRITTEN_FORMATS)}")
    container, faithful = WRITTEN_FORMATS[path.suffix.lower()]
    encoding = (encoding or faithful).upper()
    if container == "WAV" and n_samples * n_channels * 8 + context.n_bytes > WAV_LIMIT_BYTES:  # 8: the widest
        container = "RF64"
    container = context.container(container, n_channels=n_channels)

    form: dict[str, Any] = {"samplerate": sample_rate, "channels": n_channels}
    if encoding == "VORBIS" and any(form[what] > most for what, most in VORBIS_MOST.items()):
        what = f"{n_channels} channels at {sample_rate} Hz"
        raise AudioFileError(f"{path}: OGG VORBIS cannot hold {what}; choose another format")
    form |= {"format": container, "subtype": encoding, **COMPRESSION.get(container, {})}

    def write(samples: Tensor) -> None:
        peak = float(samples.abs().max())
        if encoding not in ("FLOAT", "DOUBLE") and peak > 1:
            raise AudioFileError(
                f"{path}: peak is {peak:.3f} and {encoding} clips above 1; write 32-bit float, or scale"
            )
        with _explained(path, form):
            for some in samples.cpu().split(AT_ONCE, dim=1):
                file.write(_rounded(some, encoding).T)  # (n_new_samples, n_channels)

    with contextlib.ExitStack() as open_files:  # what the work inside raises passes unexplained, and leaves nothing
        with _explained(path, form):
            descriptor = open_files.enter_context(replacing(path))
            open_files.enter_context(context.written_into(descriptor, container, sample_rate=sample_rate))
            file = open_files.enter_context(soundfile.SoundFile(descriptor, "w", closefd=False, **form))
            context.tag(file)
        yield write
        with _explained(path, form):
            open_files.close()


def _rounded(samples: Tensor, encoding: str) -> np.ndarray[Any, Any]:
    """Round to steps of 16 or 24 bits: libsndfile's WAV writer cuts them off, an offset and 6 dB more of noise."""
    if encoding not in STEPS:
        return samples.numpy()
    n_bits, dtype = STEPS[encoding]
    largest = 2 ** (n_bits - 1)
    steps: np.ndarray[Any, Any] = (
        (samples.double() * largest).round().clamp(-largest, largest - 1).numpy().astype(dtype)
    )
    return steps << (8 * steps.itemsize - n_bits)  # the upper bits count


@checks_types
def write_audio(path: str | Path, audio: Audio, *, encoding: str | None = None) -> Path:
    """Write an audio file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Its extension chooses the format: wav, flac, aiff, w64, rf64, ogg, opus or mp3.
    audio : Audio
    encoding : str, optional
        libsndfile's name, such as ``"PCM_16"``; by default the most faithful one of the format
        (32-bit float for WAV). A WAV too long for its 32-bit header is written as RF64.

    Returns
    -------
    Path
        The absolute path of the file written.

    Raises
    ------
    AudioFileError
        If the extension is unknown, the samples would clip, or the file cannot be written.
    """
    form: dict[str, Any] = {
        "n_channels": audio.n_channels,
        "sample_rate": audio.sample_rate,
        "n_samples": audio.n_samples,
    }
    with writing_audio(path, **form, encoding=encoding) as write:
        write(audio.samples)
    return Path(path).absolute()


def copy_audio(
    source: str | Path,
    target: str | Path,
    *,
    span: slice | None = None,
    gain: float = 1.0,
    clamps: bool = False,
    encoding: str | None = None,
    context: Context = NOTHING,
) -> None:
    """Write an audio file anew, in another format or a part of it, block by block.

    Parameters
    ----------
    source, target : str or Path
        The target's extension chooses the format, and ``encoding`` its variety, as in `write_audio`.
    span : slice, optional
        Of samples; by default all.
    gain : float
        What samples are multiplied by.
    clamps : bool
        Whether samples beyond full scale are then cut off there.
    context : Context
        As in `writing_audio`; what the source's file says is left behind.

    Raises
    ------
    AudioFileError
        As `open_audio` and `write_audio` do.
    """
    with open_audio(source) as reader:
        span = slice(0, reader.n_samples) if span is None else span
        form = {"n_channels": reader.n_channels, "sample_rate": reader.sample_rate, "n_samples": span.stop - span.start}
        starts = range(span.start, span.stop, AT_ONCE)
        with writing_audio(target, **form, encoding=encoding, context=context) as write:
            for block in reader.blocks(slice(start, min(start + AT_ONCE, span.stop)) for start in starts):
                samples = gain * block.samples
                write(samples.clamp(-1, 1) if clamps else samples)


def _existing_file(path: str | Path) -> Path:
    """Refuse what is not a file with something in it."""
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, also False for a name no file can have
        raise AudioFileError(f"{path}: no such file")
    if not path.is_file():
        raise AudioFileError(f"{path}: is not a file; expected an audio file")
    if not os.access(path, os.R_OK):
        raise AudioFileError(f"{path}: may not be read (permission denied)")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes); expected an audio file")
    return path


def _refuse_shorter(path: Path, promised_s: float | None, there_s: float) -> None:
    """Compare what a header promises with what was decoded."""
    if promised_s is not None and there_s < promised_s - 0.5:  # half a second: more than any codec's padding
        raise AudioFileError(f"{path}: cut short: its header promises {promised_s:.1f} s, {there_s:.1f} s are there")


def _promised_and_there(file: soundfile.SoundFile) -> tuple[int, int] | None:
    """Compare the bytes that a header claims with those there, None if all are; libsndfile reads on without a word."""
    for promised, there in re.findall(r":\s*(\d+) \(should be (\d+)\)", file.extra_info):
        if int(there) < int(promised) < UNKNOWN_SIZE:
            return int(promised), int(there)
    return None


@contextlib.contextmanager
def _explained(path: Path, form: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line why a file of such a form cannot be written."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError) as error:
        if getattr(error, "code", 0) == OPERATING_SYSTEM:
            raise AudioFileError(f"{path}: cannot be written ({_said(error)}); is the disk full?") from error
        what = f"{form['channels']} channels at {form['samplerate']} Hz"
        raise AudioFileError(
            f"{path}: {form['format']} {form['subtype']} cannot hold {what} ({_said(error)})"
        ) from error
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _damaged(path: Path, error: Exception) -> AudioFileError:
    """Say that a file is not whole."""
    return AudioFileError(f"{path}: damaged or cut short ({_said(error)}); expected a whole file")


def _said(error: Exception) -> str:
    """Strip libsndfile's prefixes from its message."""
    return str(error).rsplit("Error : ", 1)[-1].rsplit(": ", 1)[-1].strip()
