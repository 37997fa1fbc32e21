"""Opening of audio files so that all of their sound is read.

Most files are read directly. A file whose length is uncertain, or that soundfile cannot read fully, is first decoded
into a temporary file of 32-bit floats: by soundfile block by block, or by an installed ffmpeg program.
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
    DataSize,
    cut_short_error,
    find_data_size,
    has_complete_table,
    is_plausible_length,
    is_single_stream,
    repaired_copy,
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


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that soundfile reads from front to back without seeking.

    soundfile seeks after every read of a file that can seek. That loses samples of an MP3, and fails at the end of a
    file whose header has no length.
    """

    def seekable(self) -> bool:
        """Return False, so that reads do not seek; `seek` still works."""
        return False


@dataclass(frozen=True)
class AudioInfo:
    """Format and duration of an audio file."""

    n_channels: int
    sample_rate: int
    duration_s: float


@contextlib.contextmanager
def open_complete(path: Path) -> Iterator[SequentialFile]:
    """Open a file so that all of its sound is read, and its number of frames is exact.

    Raises
    ------
    AudioFileError
        If the file is not audio, is cut short, or cannot be read to its end.
    """
    with contextlib.ExitStack() as open_files:
        count = find_data_size(path)
        if count and count.is_misread:
            path = open_files.enter_context(_mended(path, count))
        try:
            file = open_files.enter_context(SequentialFile(path))
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
    """Return format and duration from the header; None if only decoding can find the duration.

    Raises
    ------
    AudioFileError
        If the file is not audio or is cut short.
    """
    count = find_data_size(path)
    if _is_chained(path) or (count and count.is_misread):
        return None
    try:
        with SequentialFile(path) as file:
            is_certain = has_complete_table(path) if file.format == "MP3" else _is_certain(path, file)
            info = AudioInfo(file.channels, file.samplerate, file.frames / file.samplerate)
            return info if is_certain else None
    except NOT_FOR_SOUNDFILE as error:
        track = ffmpeg.probe(path, reason=error)
    if track is None or track.ends_s is None:
        return None
    return AudioInfo(track.n_channels, track.sample_rate, track.ends_s)


def likely_duration_s(path: Path) -> float | None:
    """Return the duration that a header gives, at next to no cost; None where it gives none or an impossible one."""
    try:
        with SequentialFile(path) as file:
            return (file.frames / file.samplerate if is_plausible_length(file.frames, path) else 0.0) or None
    except NOT_FOR_SOUNDFILE:
        return None


def _is_chained(path: Path) -> bool:
    """Return True for an Ogg file of several streams, of which soundfile reads only the first."""
    with path.open("rb") as file:
        is_ogg = file.read(4) == b"OggS"
    return is_ogg and not is_single_stream(path)


def _is_certain(path: Path, file: SequentialFile) -> bool:
    """Return True if the length in the header is plausible and the file can seek."""
    return soundfile.SoundFile.seekable(file) and is_plausible_length(file.frames, path)


@contextlib.contextmanager
def _mended(path: Path, count: DataSize) -> Iterator[Path]:
    """Copy a file whose header gives a wrong size, with the right one."""
    if 0 < count.counted < count.there:
        what = f"its header counts {count.counted} bytes of sound, and {count.there} are there; all are read"
        warn_once(f"{path}: {what}")
    with _folder_for(path) as folder:
        copy = folder / f"mended{path.suffix}"
        with _room_for(path):
            repaired_copy(path, copy, count)
        yield copy


@contextlib.contextmanager
def _decoded(path: Path, file: SequentialFile) -> Iterator[SequentialFile]:
    """Decode an open file to its end into a temporary file, and open that."""
    with tempfile.TemporaryFile(prefix="sepdict-") as copy:
        form = {"samplerate": file.samplerate, "channels": file.channels, "format": "RF64", "subtype": "FLOAT"}
        n_read = 0
        with _room_for(path), soundfile.SoundFile(copy.fileno(), "w", closefd=False, **form) as target:
            while len(block := read_block(path, file, BLOCK)):
                target.write(block)
                n_read += len(block)
        os.lseek(copy.fileno(), 0, os.SEEK_SET)
        with SequentialFile(copy.fileno(), closefd=False) as decoded:
            if decoded.frames != n_read:
                raise _no_room(path)
            yield decoded


def read_block(path: Path, file: SequentialFile, n_samples: int) -> NDArray[np.float32]:
    """Read the next samples, (n_read, n_channels), fewer at the end.

    Raises
    ------
    AudioFileError
        If the file is damaged.
    """
    try:
        block: NDArray[np.float32] = file.read(n_samples, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError) as error:
        raise damaged_file_error(path, file) from error
    return block


@contextlib.contextmanager
def _decoded_mp3(path: Path, file: SequentialFile) -> Iterator[SequentialFile]:
    """Decode an MP3: by soundfile where a table gives its length, else by ffmpeg or through a pipe, to its end."""
    with contextlib.ExitStack() as open_files:
        if has_complete_table(path):
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
def _decoded_through_pipe(path: Path, *, reason: AudioFileError) -> Iterator[SequentialFile]:
    """Decode an MP3 through a pipe, from which libsndfile reads to the end without a guess of the length."""
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
            file = open_files.enter_context(SequentialFile(out, closefd=False))
        except soundfile.LibsndfileError as error:
            raise reason from error
        decoded = open_files.enter_context(_decoded(path, file))
        n_unread = sum(map(len, iter(lambda: os.read(out, BLOCK), b"")))
        if n_unread > TAG_BYTES:
            raise AudioFileError(f"{path}: soundfile leaves {n_unread} bytes of it unread; install ffmpeg") from reason
        yield decoded


@contextlib.contextmanager
def _decoded_with_ffmpeg(path: Path, *, reason: Exception) -> Iterator[SequentialFile]:
    """Decode a file by ffmpeg into a temporary file, and open that."""
    with _folder_for(path) as folder:
        copy = folder / "decoded.wav"
        remark = ffmpeg.decode(path, copy, reason=reason)
        _refuse_unfinished(path, copy)
        with SequentialFile(copy) as file:
            there_s = file.frames / file.samplerate
            track = ffmpeg.probe(path, reason=reason)
            if track and track.sound_ends_s is not None:
                _refuse_shorter(path, track.sound_ends_s, there_s, by_s=MISSING_S if remark else PADDING_S)
            elif CUT_SHORT.search(remark):
                raise AudioFileError(f"{path}: cut short ({remark}); {there_s:.1f} s are there; copy it again")
            if remark:
                log.info("%s: decoded all the same, but ffmpeg remarked: %s", path, remark)
            yield file


def _refuse_shorter(path: Path, promised_s: float, there_s: float, *, by_s: float = PADDING_S) -> None:
    """Refuse decoded sound that is shorter than its stream promises."""
    if there_s < promised_s - by_s:
        raise cut_short_error(path, f"its header promises {promised_s:.1f} s, {there_s:.1f} s are there")


def _refuse_unfinished(path: Path, copy: Path) -> None:
    """Refuse a decoded copy that a full disk cut short."""
    try:
        count = find_data_size(copy)
    except AudioFileError as error:
        raise _no_room(path) from error
    if count is None or count.counted != count.there:
        raise _no_room(path)


@contextlib.contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Turn an error of writing into one that names the recording and the temporary folder."""
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
    """Make the error of a temporary folder without room."""
    return AudioFileError(f"{path}: no room to decode it in {tempfile.gettempdir()}; free some, or set TMPDIR")


def damaged_file_error(path: Path, file: SequentialFile) -> AudioFileError:
    """Make the error of a file that cannot be read on from where it is: how much is promised, and how much is there."""
    with contextlib.suppress(soundfile.SoundFileError):  # what cannot seek does not know where it is
        there = f"{file.tell() / file.samplerate:.1f} s can be read"
        if is_plausible_length(file.frames, path):
            there = f"its header promises {file.frames / file.samplerate:.1f} s, {there}"
        return AudioFileError(f"{path}: damaged or cut short: {there}; copy it again")
    return AudioFileError(f"{path}: damaged or cut short; copy it again")


def message_of(error: Exception) -> str:
    """Return libsndfile's message without its prefixes."""
    return str(error).rsplit("Error : ", 1)[-1].rsplit(": ", 1)[-1].strip()
