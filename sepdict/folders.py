"""Row 1: which files are sound, by their names alone."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sepdict.errors import AudioFileError

AUDIO_EXTENSIONS = {
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".au", ".caf"),  # soundfile's
    *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mov"),  # ffmpeg's
}
"""What a folder is searched for; a file named one by one may have any extension."""


def find_audio_files(paths: Iterable[str | Path], *, recursive: bool = False) -> list[Path]:
    """Expand folders and patterns such as ``"*.wav"`` to audio files, in name order.

    Parameters
    ----------
    paths : iterable of str or Path
    recursive : bool
        Whether folders are searched with their subfolders, hidden ones aside; then ``**`` in a pattern also is any
        number of folders.

    Raises
    ------
    AudioFileError
        If a path does not exist, a folder holds no audio, or a pattern matches nothing.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if os.path.isdir(path):  # unlike Path.is_dir, also False for a name no file can have
            inside = sorted(file for file in _entries(path, recursive=recursive) if _is_audio_by_name(file))
            if not inside:
                where = "with its subfolders" if recursive else "subfolders aside"
                raise AudioFileError(f"{path}: holds no audio file ({where}); expected wav, flac, mp3 or the like")
            found += inside
        elif os.path.exists(path):
            found.append(path)
        elif matches := sorted(glob.glob(str(path), recursive=recursive)):
            found += map(Path, matches)
        else:
            raise AudioFileError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def _entries(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """List what is in a folder, or also what is in folders that are not hidden in it; links to folders lead nowhere."""
    if not recursive:
        yield from folder.iterdir()
        return
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(inside, name) for name in names)


def _is_audio_by_name(path: Path) -> bool:
    """Tell whether a folder's entry is worth reading; hidden files are not."""
    return path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file()
