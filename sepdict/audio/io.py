"""Sound in files, read and written whole or block by block."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from sepdict._core.fs import replacing
from sepdict._core.settings import checks_types
from sepdict.audio.context import NOTHING, Context
from sepdict.audio.decoding import AudioInfo, Forward, damaged, info_without_decoding, opened_whole, read_block, said
from sepdict.audio.signal import Audio, refuse_not_finite
from sepdict.errors import AudioError, AudioFileError

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
ENCODINGS: Mapping[str, Mapping[str, str]] = {
    "wav": {"float": "FLOAT", "24": "PCM_24", "16": "PCM_16"},
    "flac": {"24": "PCM_24", "16": "PCM_16"},
    "mp3": {},
    "ogg": {},
}
"""Formats, which are extensions, and libsndfile's encodings by bit depth, the most faithful first; or lossy."""
COMPRESSION: Mapping[
    str, Mapping[str, Any]
] = {  # of lossy formats, 0 to 1, at a variable bit rate: some 250 kbit/s in stereo
    "OGG": {"compression_level": 0.2},
    "MP3": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
}
STEPS = {"PCM_16": (16, np.int16), "PCM_24": (24, np.int32)}  # bits, and in what they are handed to libsndfile
VORBIS_MOST = {"channels": 255, "samplerate": 200_000}  # beyond, libsndfile 1.2.2 brings the process down
WAV_LIMIT_BYTES = 2**32 - 2**16  # a WAV header counts bytes in 32 bits; beyond, libsndfile loses samples silently
PIECE = 2**18  # samples read at once
AT_ONCE = 2**16  # samples: libsndfile's Vorbis and MP3 encoders overflow the stack on much longer blocks
OPERATING_SYSTEM = 2  # libsndfile's code for what went wrong outside it, a full disk for example


class AudioReader:
    """An open audio file, read from front to back.

    Attributes
    ----------
    n_channels, n_samples, sample_rate : int
    name : str
        The file's name.
    """

    def __init__(self, path: Path, file: Forward) -> None:
        self.path, self.name, self._file = path, path.name, file
        self.n_channels, self.n_samples, self.sample_rate = file.channels, file.frames, file.samplerate
        self._position = 0

    def blocks(self, spans: Iterable[slice]) -> Iterator[Audio]:
        """Read spans of samples, of which each begins and ends no earlier than the one before; they may overlap.

        Raises
        ------
        AudioFileError
            If the file is damaged or cut short, or holds NaN or infinite samples.
        """
        held = torch.zeros(self.n_channels, 0)
        for span in spans:
            if not self._position - held.shape[1] <= span.start <= self._position:
                self._seek(span.start)
                held = held[:, :0]
            new = self._read(span.stop - self._position)
            held = torch.cat([held, new], dim=1)[:, span.start - span.stop :]
            yield Audio(held, self.sample_rate, self.name)

    def _seek(self, position: int) -> None:
        """Go on to a sample."""
        try:
            self._file.seek(position)
        except soundfile.SoundFileError as error:
            raise damaged(self.path, error) from error
        self._position = position

    def _read(self, n_samples: int) -> Tensor:
        """Read the next samples, (n_channels, n_samples), piece by piece: none takes more room than there is sound."""
        start, pieces = self._position, [torch.zeros(self.n_channels, 0)]
        while (n_missing := start + n_samples - self._position) > 0:
            piece = read_block(self.path, self._file, min(n_missing, PIECE))
            if not len(piece):
                promised_s, there_s = (n / self.sample_rate for n in (start + n_samples, self._position))
                what = f"it promises {promised_s:.1f} s, {there_s:.1f} s are there"
                raise AudioFileError(f"{self.path}: cut short: {what}")
            pieces.append(torch.from_numpy(piece.T))
            self._position += len(piece)
        read = torch.cat(pieces, dim=1)
        _refuse_not_finite(read, self.path, self.sample_rate, start=start)
        return read


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[AudioReader]:
    """Open an audio file to read it block by block.

    Its length is found, not believed: where the header may count wrongly, the file is decoded first. Sound that
    begins later than the picture of its video is preceded by so much silence.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or cut short (of an MP3 without a table, nothing tells).
    """
    path = _existing_file(path)
    with opened_whole(path) as file:
        if not file.frames:
            raise AudioFileError(f"{path}: holds no samples")
        yield AudioReader(path, file)


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
        If the file is missing, empty, not audio, cut short (of an MP3 without a table, nothing tells), or
        holds NaN or infinite samples.
    """
    with open_audio(path) as reader:
        (audio,) = reader.blocks([slice(0, reader.n_samples)])
        return audio


def probe_audio(path: str | Path) -> AudioInfo:
    """Look at a file's channels, rate and duration, without decoding it where that is not needed.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or cut short.
    """
    info = info_without_decoding(_existing_file(path))
    if info is None:
        with open_audio(path) as reader:
            return AudioInfo(reader.n_channels, reader.sample_rate, reader.n_samples / reader.sample_rate)
    return info


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

    n_written = 0

    def write(samples: Tensor) -> None:
        nonlocal n_written
        _refuse_not_finite(samples, path, sample_rate, start=n_written)
        peak = float(samples.abs().max())
        if encoding not in ("FLOAT", "DOUBLE") and peak > 1:
            raise AudioFileError(
                f"{path}: peak is {peak:.3f} and {encoding} clips above 1; write 32-bit float, or scale"
            )
        with _explained(path, form):
            for some in samples.cpu().split(AT_ONCE, dim=1):
                file.write(_rounded(some, encoding).T)  # (n_new_samples, n_channels)
        n_written += samples.shape[1]

    with contextlib.ExitStack() as open_files:  # what the work inside raises passes unexplained, and leaves nothing
        with _explained(path, form):
            descriptor = open_files.enter_context(replacing(path))
            open_files.enter_context(context.written_into(descriptor, container, sample_rate=sample_rate))
            file = open_files.enter_context(soundfile.SoundFile(descriptor, "w", closefd=False, **form))
            context.tag(file)
        yield write
        with _explained(path, form):
            file.close()
            _refuse_incomplete(descriptor, n_written)
            open_files.close()


def _refuse_incomplete(descriptor: int, n_written: int) -> None:
    """Refuse a closed file that lacks samples: libsndfile's encoders keep quiet about a disk that fills at the end.

    A header may count samples that are not there, so that the last one is read, too.
    """
    if not n_written:
        return
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            n_there = file.frames
            if n_there >= n_written and file.seekable():  # in blocks, some encodings round the length up
                file.seek(n_written - 1)
                n_there = n_written - 1 + len(file.read(1))
    except soundfile.SoundFileError:
        n_there = 0
    if n_there < n_written:
        raise OSError(errno.ENOSPC, f"{n_there} of {n_written} samples reached the disk; is it full?")


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


def _refuse_not_finite(samples: Tensor, path: Path, sample_rate: int, *, start: int) -> None:
    """Refuse samples of a file, from its ``start``-th on, that are no sound."""
    try:
        refuse_not_finite(samples, str(path), sample_rate, start=start)
    except AudioError as error:
        raise AudioFileError(str(error)) from error


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


@contextlib.contextmanager
def _explained(path: Path, form: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line why a file of such a form cannot be written."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError) as error:
        if getattr(error, "code", 0) == OPERATING_SYSTEM:
            raise AudioFileError(f"{path}: cannot be written ({said(error)}); is the disk full?") from error
        what = f"{form['channels']} channels at {form['samplerate']} Hz"
        raise AudioFileError(
            f"{path}: {form['format']} {form['subtype']} cannot hold {what} ({said(error)})"
        ) from error
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
