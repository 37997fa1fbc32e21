"""Which files are sound, by their names alone."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sepdict._core.names import normalized
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
"""What a folder is searched for; a file named one by one may have any extension."""

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
"""What nobody takes for a recording, and a search says nothing of."""


def find_audio_files(paths: Iterable[str | Path], *, recursive: bool = False, aside: Path | None = None) -> list[Path]:
    """Expand folders and patterns such as ``"*.wav"`` to audio files, in name order.

    What a folder holds besides is named in one warning: files whose extension is none of sound, links that lead
    nowhere, and where they are not searched subfolders with sound. Hidden files, and those that nobody takes for
    recordings (documents, pictures, tables), are not.

    Parameters
    ----------
    paths : iterable of str or Path
    recursive : bool
        Whether folders are searched with their subfolders, hidden ones aside; then ``**`` in a pattern also is any
        number of folders.
    aside : Path, optional
        A folder below a searched one that is left out with all that is in it.

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
            raise AudioFileError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def below(folder: Path, name: str) -> Path:
    """Return what has a name in a folder, in whichever way its letters are composed; if nothing has, where it would be.

    The name may have folders in it.
    """
    for part in Path(name).parts:
        entries = [] if os.path.lexists(folder / part) or not folder.is_dir() else sorted(folder.iterdir())
        alike = [each for each in entries if normalized(each.name) == normalized(part)]
        folder = alike[0] if alike else folder / part
    return folder


def _search(folder: Path, *, recursive: bool, aside: Path | None) -> list[Path]:
    """List a folder's audio files, and name in one warning what else might have been meant."""
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
    """Count files or folders, and name the first of them; nothing for none."""
    if not paths:
        return ""
    more = f" and {len(paths) - n_named} more" if len(paths) > n_named else ""
    plural = "s" if len(paths) > 1 else ""
    return f"{len(paths)} {what}{plural}{which} ({', '.join(map(str, paths[:n_named]))}{more})"


def _has_audio(folder: Path) -> bool:
    """Return whether there is sound anywhere below a folder; one that may not be read has none."""
    return any(map(_is_audio_by_name, _entries(folder, recursive=True)))


def _entries(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """List what is in a folder, or also what is in folders that are not hidden in it; links to folders lead nowhere."""
    if not recursive:
        yield from folder.iterdir()
        return
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(inside, name) for name in names)


def _is_audio_by_name(path: Path) -> bool:
    """Return whether a folder's entry is worth reading; hidden files are not."""
    return path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and os.path.isfile(path)
