"""Search for audio files in folders and by patterns; names alone decide."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sepdict._core.names import normalized, refusal_of_url
from sepdict.errors import AudioFileError

log = logging.getLogger(__name__)

AUDIO_EXTENSIONS = frozenset(
    [
        *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".caf"),
        *(".aif", ".aiff", ".aifc", ".au", ".snd", ".voc", ".sph", ".nist", ".wve", ".paf", ".pvf", ".avr", ".sds"),
        *(".8svx", ".svx", ".sf", ".ircam", ".gsm"),
        # from here on ffmpeg's: sound, then pictures with sound
        *(".m4a", ".m4b", ".m4r", ".aac", ".adts", ".ac3", ".eac3", ".mka", ".wma", ".wv", ".tta", ".spx", ".ogx"),
        *(".amr", ".awb", ".ape", ".mpc", ".mp+", ".dsf", ".dff", ".dts", ".mlp", ".thd", ".tak", ".shn", ".qcp"),
        *(".ra", ".oma", ".aa3", ".sox", ".mp1", ".mpga"),
        *(".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".f4v", ".webm", ".mkv", ".avi", ".wmv", ".asf", ".flv"),
        *(".ogv", ".rm", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".mxf"),
    ]
)
"""Extensions that a folder is searched for; a file that is named itself may have any."""

NO_SOUND = frozenset(
    [
        *(".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".html", ".htm", ".css", ".tex", ".bib"),
        *(".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".csv", ".tsv", ".xls", ".xlsx", ".log"),
        *(".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".db"),
        *(".py", ".pyc", ".ipynb", ".sh", ".bat", ".js", ".safetensors", ".npy", ".npz", ".pt", ".mat", ".h5"),
        *(".cue", ".m3u", ".m3u8", ".pls", ".nfo", ".lrc", ".srt", ".vtt", ".lab", ".textgrid", ".asd", ".reapeaks"),
        *(".md5", ".sha1", ".sha256", ".par2", ".sfv", ".bak", ".tmp", ".lnk", ".url"),
    ]
)
"""Extensions of files that are clearly no recordings; a search does not report them as passed over."""


def find_audio_files(paths: Iterable[str | Path], *, recursive: bool = False, aside: Path | None = None) -> list[Path]:
    """Expand folders and patterns such as ``"*.wav"`` to audio files, in name order.

    One warning names what else a folder holds: files with other extensions, broken links, and subfolders with sound
    that are not searched. It leaves out hidden files and `NO_SOUND` (documents, pictures, tables).

    Parameters
    ----------
    paths : iterable of str or Path
    recursive : bool
        Also search subfolders that are not hidden; then ``**`` in a pattern matches any number of folders.
    aside : Path, optional
        A folder that is left out of the search, such as the output folder.

    Raises
    ------
    AudioFileError
        If a path does not exist, a folder holds no audio, or a pattern matches nothing.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if os.path.isdir(path):  # unlike Path.is_dir, also False for a name no file can have
            found += _search(path, recursive=recursive, aside=aside)
        elif os.path.exists(path):
            found.append(path)
        elif matches := sorted(glob.glob(str(path), recursive=recursive)):
            found += map(Path, matches)
        else:
            raise AudioFileError(refusal_of_url(path) or f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def below(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder, in whichever Unicode form the file system has it.

    The name may contain folders. Where nothing has the name, return the path that it would have.
    """
    for part in Path(name).parts:
        entries = [] if os.path.lexists(folder / part) or not folder.is_dir() else sorted(folder.iterdir())
        alike = [each for each in entries if normalized(each.name) == normalized(part)]
        folder = alike[0] if alike else folder / part
    return folder


def _search(folder: Path, *, recursive: bool, aside: Path | None) -> list[Path]:
    """List a folder's audio files, and name in one warning what was passed over."""
    entries = sorted(path for path in _entries(folder, recursive=recursive) if not path.name.startswith("."))
    if aside is not None and folder.resolve() in (aside := aside.resolve()).parents:
        entries = [path for path in entries if aside not in (path.resolve(), *path.resolve().parents)]
    inside = [path for path in entries if _is_audio_by_name(path)]
    left = [path for path in entries if path not in set(inside) and path.suffix.lower() not in NO_SOUND]
    left_out = [_named([path.relative_to(folder) for path in left if not path.is_dir()], "file")]
    if not recursive:
        unsearched = [path.relative_to(folder) for path in entries if path.is_dir() and _has_audio(path)]
        left_out.append(_named(unsearched, "folder", " with sound, which --recursive searches"))
    said = " and ".join(filter(None, left_out))
    if not inside:
        where = "with its subfolders" if recursive else "subfolders aside"
        besides = f"; it holds {said}" if said else ""
        raise AudioFileError(f"{folder}: holds no audio file ({where}); expected wav, flac, mp3 or the like{besides}")
    if said:
        log.warning("%s: passed over %s", folder, said)
    return inside


def _named(paths: Sequence[Path], what: str, which: str = "", *, n_named: int = 3) -> str:
    """Return the number of files or folders and the names of the first, or an empty text."""
    if not paths:
        return ""
    more = f" and {len(paths) - n_named} more" if len(paths) > n_named else ""
    plural = "s" if len(paths) > 1 else ""
    return f"{len(paths)} {what}{plural}{which} ({', '.join(map(str, paths[:n_named]))}{more})"


def _has_audio(folder: Path) -> bool:
    """Return True if a folder or its subfolders hold audio files; an unreadable folder holds none."""
    return any(map(_is_audio_by_name, _entries(folder, recursive=True)))


def _entries(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """List a folder's entries, or the files of it and its visible subfolders; links to folders are not followed."""
    if not recursive:
        yield from folder.iterdir()
        return
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(inside, name) for name in names)


def _is_audio_by_name(path: Path) -> bool:
    """Return True for a visible file with an audio extension."""
    return path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and os.path.isfile(path)
