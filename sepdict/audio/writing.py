"""Sound files, written whole or block by block; a file appears under its name when all of it is written."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from sepdict._core.fs import replacing
from sepdict._core.settings import checks_types
from sepdict.audio.context import NOTHING, Context
from sepdict.audio.decoding import message_of
from sepdict.audio.formats import WRITTEN_FORMATS
from sepdict.audio.io import AudioLike, AudioReader, as_audio, open_audio, refuse_not_finite_in
from sepdict.errors import AudioFileError

# of lossy formats, from 0 to 1, at a variable bit rate: about 250 kbit/s in stereo
COMPRESSION: Mapping[str, Mapping[str, Any]] = {
    "OGG": {"compression_level": 0.2},
    "MP3": {"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
}
STEPS = {"PCM_16": (16, np.int16), "PCM_24": (24, np.int32)}  # bits, and the type that libsndfile takes them in
VORBIS_MOST = {"channels": 255, "samplerate": 200_000}  # libsndfile 1.2.2 crashes the process above these
WAV_LIMIT_BYTES = 2**32 - 2**16  # a WAV header counts bytes in 32 bits; beyond, libsndfile loses samples silently
AT_ONCE = 2**16  # samples: libsndfile's Vorbis and MP3 encoders overflow the stack on much longer blocks
OPERATING_SYSTEM = 2  # libsndfile's code for errors of the operating system, such as a full disk


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
    """Write an audio file block by block; it appears under its name when the ``with`` block ends without an error.

    Parameters
    ----------
    path, encoding
        As in `write_audio`.
    n_channels, sample_rate : int
    n_samples : int
        Number of samples that will be written.
    context : Context
        Tags and other facts to store in the file, as far as its format can hold them.

    Yields
    ------
    callable
        Takes the next samples, shape (n_channels, n_new_samples).

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
        refuse_not_finite_in(samples, path, sample_rate, start=n_written)
        peak = float(samples.abs().max())
        if encoding not in ("FLOAT", "DOUBLE") and peak > 1:
            raise AudioFileError(
                f"{path}: peak is {peak:.3f} and {encoding} clips above 1; write 32-bit float, or scale"
            )
        with _explained(path, form):
            for some in samples.cpu().split(AT_ONCE, dim=1):
                file.write(_rounded(some, encoding).T)  # (n_new_samples, n_channels)
        n_written += samples.shape[1]

    with contextlib.ExitStack() as open_files:  # errors of the ``with`` block pass as they are, and leave no file
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


@contextlib.contextmanager
def writing_stems(
    paths: Sequence[Path], *, like: "AudioReader", context: Context = NOTHING
) -> Iterator[Callable[[Tensor], None]]:
    """Write several files of an open file's rate, channels and length, block by block, as `writing_audio` writes one.

    Yields
    ------
    callable
        Takes the next samples of all files, shape (n_files, n_channels, n_new_samples).

    Raises
    ------
    AudioFileError
        As `writing_audio` does.
    """
    form = {"n_channels": like.n_channels, "sample_rate": like.sample_rate, "n_samples": like.n_samples}
    with contextlib.ExitStack() as open_files:
        writers = [open_files.enter_context(writing_audio(path, **form, context=context)) for path in paths]

        def write(stems: Tensor) -> None:
            for write_stem, stem in zip(writers, stems, strict=True):
                write_stem(stem)

        yield write


def _refuse_incomplete(descriptor: int, n_written: int) -> None:
    """Refuse a closed file that lacks samples: libsndfile's encoders do not report a disk that fills at the end.

    A header may count samples that are missing, so the last one is read as well.
    """
    if not n_written:
        return
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            n_there = file.frames
            if n_there >= n_written and file.seekable():  # some encodings round the length up to whole blocks
                file.seek(n_written - 1)
                n_there = n_written - 1 + len(file.read(1))
    except soundfile.SoundFileError:
        n_there = 0
    if n_there < n_written:
        raise OSError(errno.ENOSPC, f"{n_there} of {n_written} samples reached the disk; is it full?")


def _rounded(samples: Tensor, encoding: str) -> np.ndarray[Any, Any]:
    """Round to steps of 16 or 24 bits: libsndfile's WAV writer truncates, which adds an offset and 6 dB of noise."""
    if encoding not in STEPS:
        return samples.numpy()
    n_bits, dtype = STEPS[encoding]
    largest = 2 ** (n_bits - 1)
    steps: np.ndarray[Any, Any] = (
        (samples.double() * largest).round().clamp(-largest, largest - 1).numpy().astype(dtype)
    )
    return steps << (8 * steps.itemsize - n_bits)  # the upper bits count


@checks_types
def write_audio(path: str | Path, audio: AudioLike, *, encoding: str | None = None) -> Path:
    """Write an audio file, completely or not at all.

    Parameters
    ----------
    path : str or Path
        Its extension chooses the format: wav, flac, aiff, w64, rf64, ogg, opus or mp3.
    audio : Audio, path or (samples, sample_rate)
        As in `as_audio`.
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
    audio = as_audio(audio, "audio")
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
    """Copy an audio file, or a part of it, into another format, block by block.

    Parameters
    ----------
    source, target : str or Path
        The target's extension chooses the format, and ``encoding`` its variety, as in `write_audio`.
    span : slice, optional
        The samples to copy; by default all.
    gain : float
        Factor of all samples.
    clamps : bool
        Whether to limit samples to full scale afterwards.
    context : Context
        As in `writing_audio`; the source file's own tags are not copied.

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


@contextlib.contextmanager
def _explained(path: Path, form: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors of writing a file of this form into one line that says why."""
    try:
        yield
    except (soundfile.LibsndfileError, ValueError) as error:
        if getattr(error, "code", 0) == OPERATING_SYSTEM:
            raise AudioFileError(f"{path}: cannot be written ({message_of(error)}); is the disk full?") from error
        what = f"{form['channels']} channels at {form['samplerate']} Hz"
        raise AudioFileError(
            f"{path}: {form['format']} {form['subtype']} cannot hold {what} ({message_of(error)})"
        ) from error
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
