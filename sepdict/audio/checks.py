"""Checks of a sound file before it is used: that its end can be read, and that it is not silent."""

import contextlib
from pathlib import Path

import soundfile

from sepdict.audio.decoding import NOT_FOR_SOUNDFILE, SequentialFile, damaged_file_error, read_block
from sepdict.audio.io import PIECE, open_audio
from sepdict.audio.lengths import is_plausible_length

AT_ONCE = 2**12  # samples read of what is hardly ever silent longer


def refuse_cut_file(path: Path) -> None:
    """Refuse a file whose header promises more sound than there is.

    The last sample is read, and of a file that only ffmpeg can read, everything. What `probe_audio` finds out from the
    number of bytes is not looked for again, such as the length of an MP3.

    Raises
    ------
    AudioFileError
        If it is cut short; the message says how much of it can be read.
    """
    try:
        with SequentialFile(path) as file:
            can_seek = soundfile.SoundFile.seekable(file) and is_plausible_length(file.frames, path)
            if can_seek and file.format != "MP3" and not _ends_as_promised(file):
                _refuse_at_the_gap(path)
    except NOT_FOR_SOUNDFILE:
        with open_audio(path):
            pass


def _ends_as_promised(file: SequentialFile) -> bool:
    """Return whether the last sample is there."""
    with contextlib.suppress(soundfile.SoundFileError, RuntimeError):
        file.seek(max(0, file.frames - 1))
        return not file.frames or len(file.read(1)) == 1
    return False


def _refuse_at_the_gap(path: Path) -> None:
    """Read a file from its beginning until no more can be read, and refuse it."""
    with SequentialFile(path) as file:  # anew: after an error, libsndfile does not know where it is
        while len(read_block(path, file, PIECE)):
            pass
        raise damaged_file_error(path, file)


def is_silent_file(path: Path) -> bool:
    """Return whether all samples are zero; what only ffmpeg reads is not looked at, and counts as sound.

    Raises
    ------
    AudioFileError
        If the file is damaged.
    """
    with contextlib.suppress(*NOT_FOR_SOUNDFILE), SequentialFile(path) as file:
        while len(block := read_block(path, file, AT_ONCE)):
            if block.any():
                return False
        return True
    return False
