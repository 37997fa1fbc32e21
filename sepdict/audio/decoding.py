"""Files opened so that all of their sound is read.

Most are read as they are. One whose length is not certain, or that soundfile reads wrongly or not at all, is decoded
first, into a temporary file of 32-bit floats: by soundfile block by block, or by an installed ffmpeg program.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepdict._core.fs import scratch_folder
from sepdict.audio import ffmpeg
from sepdict.audio.lengths import (
    Count,
    can_be,
    count_of,
    has_true_table,
    is_one_whole_stream,
    mended_copy,
    tag_size,
    warn_once,
)
from sepdict.errors import AudioFileError

log = logging.getLogger(__name__)

NOT_FOR_SOUNDFILE = (soundfile.LibsndfileError, TypeError, UnicodeEncodeError)  # TypeError: raw samples, no header
BLOCK = 2**16  # samples decoded at once
TAG_BYTES = 4096  # so much may be left unread of an MP3
PADDING_S = 0.5  # seconds: more than any codec pads by
MISSING_S = 0.1  # seconds: more than that is missing where ffmpeg remarked on something, and the file is cut short
CUT_SHORT = re.compile(r"partial file|ended prematurely|truncat", re.IGNORECASE)  # what ffmpeg may remark


class Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from front to back.

    soundfile seeks after every read of a file that can seek. In an MP3 that loses samples, and at the end of a file
    that does not count its samples it fails.
    """

    def seekable(self) -> bool:
        """Deny it, so that no read seeks; asked to seek, it does."""
        return False


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file holds."""

    n_channels: int
    sample_rate: int
    duration_s: float


@contextlib.contextmanager
def opened_whole(path: Path) -> Iterator[Forward]:
    """Open a file so that all of its sound is read, and its number of frames is what can be read.

    Raises
    ------
    AudioFileError
        If the file is not audio, is cut short, or cannot be read to its end.
    """
    with contextlib.ExitStack() as open_files:
        count = count_of(path)
        if count and count.misleads:
            path = open_files.enter_context(_mended(path, count))
        try:
            file = open_files.enter_context(Forward(path))
        except NOT_FOR_SOUNDFILE as error:
            file = open_files.enter_context(_decoded_with_ffmpeg(path, reason=error))
        else:
            if _is_chained(path):
                reason = AudioFileError("several streams, one behind the other")
                file = open_files.enter_context(_decoded_with_ffmpeg(path, reason=reason))
            elif file.format == "MP3":
                file = open_files.enter_context(_decoded_mp3(path, file))
            elif not _is_certain(path, file):
                file = open_files.enter_context(_decoded(path, file))
        yield file


def info_without_decoding(path: Path) -> AudioInfo | None:
    """Look at a file without decoding it; None if only decoding tells how long it is.

    Raises
    ------
    AudioFileError
        If the file is not audio or is cut short.
    """
    count = count_of(path)
    if _is_chained(path) or (count and count.misleads):
        return None
    try:
        with Forward(path) as file:
            is_certain = has_true_table(path) if file.format == "MP3" else _is_certain(path, file)
            info = AudioInfo(file.channels, file.samplerate, file.frames / file.samplerate)
            return info if is_certain else None
    except NOT_FOR_SOUNDFILE as error:
        track = ffmpeg.probe(path, reason=error)
    if track is None or track.ends_s is None:
        return None
    return AudioInfo(track.n_channels, track.sample_rate, track.ends_s)


def likely_duration_s(path: Path) -> float | None:
    """Read off a header how long a file may be, at next to no cost; None if it does not say, or cannot be right."""
    try:
        with Forward(path) as file:
            return (file.frames / file.samplerate if can_be(file.frames, path) else 0.0) or None
    except NOT_FOR_SOUNDFILE:
        return None


def _is_chained(path: Path) -> bool:
    """Tell whether it is an Ogg file of several streams, of which soundfile reads the first alone."""
    with path.open("rb") as file:
        is_ogg = file.read(4) == b"OggS"
    return is_ogg and not is_one_whole_stream(path)


def _is_certain(path: Path, file: Forward) -> bool:
    """Tell whether a file has as many frames as it says, and can be read from any of them on."""
    return soundfile.SoundFile.seekable(file) and can_be(file.frames, path)


@contextlib.contextmanager
def _mended(path: Path, count: Count) -> Iterator[Path]:
    """Copy a file whose header counts wrongly, and count right."""
    if 0 < count.counted < count.there:
        what = f"its header counts {count.counted} bytes of sound, and {count.there} are there; all are read"
        warn_once(f"{path}: {what}")
    with _folder_for(path) as folder:
        copy = folder / f"mended{path.suffix}"
        with _room_for(path):
            mended_copy(path, copy, count)
        yield copy


@contextlib.contextmanager
def _decoded(path: Path, file: Forward) -> Iterator[Forward]:
    """Decode an open file to its end, and open what that makes."""
    with tempfile.TemporaryFile(prefix="sepdict-") as copy:
        form = {"samplerate": file.samplerate, "channels": file.channels, "format": "RF64", "subtype": "FLOAT"}
        n_read = 0
        with _room_for(path), soundfile.SoundFile(copy.fileno(), "w", closefd=False, **form) as target:
            while len(block := read_block(path, file, BLOCK)):
                target.write(block)
                n_read += len(block)
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        with Forward(copy.fileno(), closefd=False) as decoded:
            if decoded.frames != n_read:
                raise _no_room(path)
            yield decoded


def read_block(path: Path, file: Forward, n_samples: int) -> NDArray[np.float32]:
    """Read the next samples, (n_read, n_channels), fewer at the end.

    Raises
    ------
    AudioFileError
        If the file is damaged.
    """
    try:
        block: NDArray[np.float32] = file.read(n_samples, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError) as error:
        raise damaged(path, error) from error
    return block


@contextlib.contextmanager
def _decoded_mp3(path: Path, file: Forward) -> Iterator[Forward]:
    """Decode an MP3: by soundfile where a table counts its frames, else by what reads on to its end."""
    with contextlib.ExitStack() as open_files:
        if has_true_table(path):
            decoded = open_files.enter_context(_decoded(path, file))
            _refuse_shorter(path, file.frames / file.samplerate, decoded.frames / file.samplerate)
        else:
            try:
                decoded = open_files.enter_context(_decoded_with_ffmpeg(path, reason=AudioFileError("no table")))
            except AudioFileError as error:
                log.info("%s; soundfile decodes it", error)
                decoded = open_files.enter_context(_decoded_through_pipe(path, reason=error))
        yield decoded


@contextlib.contextmanager
def _decoded_through_pipe(path: Path, *, reason: AudioFileError) -> Iterator[Forward]:
    """Decode an MP3 that comes through a pipe: then libsndfile reads to its end, and guesses no length."""
    out, into = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(into, "wb") as pipe, path.open("rb") as source:
            source.seek(tag_size(source))
            shutil.copyfileobj(source, pipe)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    with contextlib.ExitStack() as open_files:
        open_files.callback(feeder.join)
        open_files.callback(os.close, out)  # before that: it ends the feeder
        try:
            file = open_files.enter_context(Forward(out, closefd=False))
        except soundfile.LibsndfileError as error:
            raise reason from error
        decoded = open_files.enter_context(_decoded(path, file))
        n_unread = sum(map(len, iter(lambda: os.read(out, BLOCK), b"")))
        if n_unread > TAG_BYTES:
            raise AudioFileError(f"{path}: soundfile leaves {n_unread} bytes of it unread; install ffmpeg") from reason
        yield decoded


@contextlib.contextmanager
def _decoded_with_ffmpeg(path: Path, *, reason: Exception) -> Iterator[Forward]:
    """Open what ffmpeg makes of a file."""
    with _folder_for(path) as folder:
        copy = folder / "decoded.wav"
        remark = ffmpeg.decode(path, copy, reason=reason)
        _refuse_unfinished(path, copy)
        with Forward(copy) as file:
            there_s = file.frames / file.samplerate
            track = ffmpeg.probe(path, reason=reason)
            if track and track.sound_ends_s is not None:
                _refuse_shorter(path, track.sound_ends_s, there_s, by_s=MISSING_S if remark else PADDING_S)
            elif CUT_SHORT.search(remark):
                raise AudioFileError(f"{path}: cut short ({remark}); {there_s:.1f} s are there")
            if remark:
                log.info("%s: decoded all the same, but ffmpeg remarked: %s", path, remark)
            yield file


def _refuse_shorter(path: Path, promised_s: float, there_s: float, *, by_s: float = PADDING_S) -> None:
    """Compare what is promised of the sound itself with what was decoded."""
    if there_s < promised_s - by_s:
        raise AudioFileError(f"{path}: cut short: its header promises {promised_s:.1f} s, {there_s:.1f} s are there")


def _refuse_unfinished(path: Path, copy: Path) -> None:
    """Refuse a decoded copy that is not whole, as a full disk leaves it."""
    try:
        count = count_of(copy)
    except AudioFileError as error:
        raise _no_room(path) from error
    if count is None or count.counted != count.there:
        raise _no_room(path)


@contextlib.contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Say what it is for that the disk has no room."""
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        raise _no_room(path) from error


@contextlib.contextmanager
def _folder_for(path: Path) -> Iterator[Path]:
    """Make a temporary folder for a copy."""
    with contextlib.ExitStack() as open_folders:
        with _room_for(path):
            folder = open_folders.enter_context(scratch_folder())
        yield folder


def _no_room(path: Path) -> AudioFileError:
    """Say that a copy cannot be made."""
    return AudioFileError(f"{path}: no room to decode it in {tempfile.gettempdir()}; free some, or set TMPDIR")


def damaged(path: Path, error: Exception) -> AudioFileError:
    """Say that a file is not whole."""
    return AudioFileError(f"{path}: damaged or cut short ({said(error)}); expected a whole file")


def said(error: Exception) -> str:
    """Strip libsndfile's prefixes from its message."""
    return str(error).rsplit("Error : ", 1)[-1].rsplit(": ", 1)[-1].strip()
