"""Search for audio files in folders and by patterns; names alone decide."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator
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

MOST_NAMED = 3  # of what is passed over


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
    found = (each for path in paths for each in list_audio(path, recursive=recursive, aside=aside))
    return [Path(each) for each in dict.fromkeys(found)]


def list_audio(path: str | Path, *, recursive: bool = False, aside: Path | None = None) -> list[str]:
    """Expand one folder or pattern as `find_audio_files` does, to text, of which a million takes little memory."""
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, also False for a name no file can have
        return _search(path, recursive=recursive, aside=aside)
    if os.path.exists(path):
        return [str(path)]
    if matches := sorted(glob.glob(str(path), recursive=recursive)):
        return [str(Path(each)) for each in matches]
    raise AudioFileError(refusal_of_url(path) or f"{path}: no such file or folder")


def below(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder, in whichever Unicode form the file system has it.

    The name may contain folders. Where nothing has the name, return the path that it would have.
    """
    for part in Path(name).parts:
        entries = [] if os.path.lexists(folder / part) or not folder.is_dir() else sorted(folder.iterdir())
        alike = [each for each in entries if normalized(each.name) == normalized(part)]
        folder = alike[0] if alike else folder / part
    return folder


def _search(folder: Path, *, recursive: bool, aside: Path | None) -> list[str]:
    """List a folder's audio files, and name in one warning what was passed over."""
    inside, files, folders = list[str](), _PassedOver("file"), _PassedOver("folder")
    for entry in _entries(str(folder), recursive=recursive, aside=_resolved(aside, within=folder)):
        if _is_audio_by_name(entry):
            inside.append(str(Path(entry)))
        elif not recursive and os.path.isdir(entry):
            if any(map(_is_audio_by_name, _entries(entry, recursive=True))):
                folders.add(Path(entry).relative_to(folder))
        elif Path(entry).suffix.lower() not in NO_SOUND:
            files.add(Path(entry).relative_to(folder))
    said = " and ".join(filter(None, [files.named(), folders.named(" with sound, which --recursive searches")]))
    if not inside:
        where = "with its subfolders" if recursive else "subfolders aside"
        besides = f"; it holds {said}" if said else ""
        raise AudioFileError(f"{folder}: holds no audio file ({where}); expected wav, flac, mp3 or the like{besides}")
    if said:
        log.warning("%s: passed over %s", folder, said)
    return inside


class _PassedOver:
    """Files or folders that are not taken: their number, and the first of them."""

    def __init__(self, what: str) -> None:
        self.what, self.n, self.first = what, 0, list[str]()

    def add(self, path: Path) -> None:
        """Count one."""
        self.n += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(str(path))

    def named(self, which: str = "") -> str:
        """Return the number of them and the names of the first, or an empty text."""
        more = f" and {self.n - MOST_NAMED} more" if self.n > MOST_NAMED else ""
        return (
            f"{self.n} {self.what}{'s' if self.n > 1 else ''}{which} ({', '.join(self.first)}{more})" if self.n else ""
        )


def _resolved(aside: Path | None, *, within: Path) -> str | None:
    """Return the real path of a folder; None where there is none, or it is not inside another."""
    real = None if aside is None else aside.resolve()
    return None if real is None or within.resolve() not in real.parents else str(real)


def _entries(folder: str, *, recursive: bool, aside: str | None = None) -> Iterator[str]:
    """Walk through a folder in the order of names, a folder at a time.

    Yield its visible entries, or the files of it and its visible subfolders. Links to folders are not followed, and
    neither what is aside nor links into it are yielded.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted((each.name, each.is_dir(), each.is_symlink()) for each in found if each.name[0] != ".")
    except OSError:
        if not recursive:
            raise
        return
    for name, is_folder, is_link in entries:
        path = os.path.join(folder, name)
        if aside is not None and f"{os.path.realpath(path)}{os.sep}".startswith(f"{aside}{os.sep}"):
            continue
        if not recursive or not is_folder:
            yield path
        elif not is_link:
            yield from _entries(path, recursive=True, aside=aside)


def _is_audio_by_name(path: str) -> bool:
    """Return True for a visible file with an audio extension."""
    return os.path.splitext(path)[1].lower() in AUDIO_EXTENSIONS and os.path.isfile(path)
