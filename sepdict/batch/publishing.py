"""Publishing: a track's files are written to a hidden folder and moved into place together.

If a track has a folder of its own that does not exist yet, one rename moves all its files at once. Otherwise each file
is moved by itself, in the four steps below. Whatever interrupts them, a track that was whole stays whole or is known
not to be, no other file is touched, and the next run can continue.

    1  a journal takes the manifest's place: which files will be there, and by which checksums they are known
    2  the files that are replaced are put aside
    3  the new files are moved into place
    4  the finished manifest takes the journal's place

One process at a time takes these steps for a track, and if another has finished the same work since it was planned, its
files stay: what a second attempt at a track made is dropped, whether it came back late or began late.

Signals wait for the end of these steps. An error undoes them. After a sudden end (a kill, a power cut), or where a step
cannot be undone, the journal remains: a file belongs to the track only if it has a checksum that the journal gives for
its name. A run that resumes replaces such files and no others.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sepdict._core.fs import hidden_folder, only_one, sha256_of, signals_held
from sepdict.batch.layout import Track
from sepdict.batch.manifest import Journal, read_record
from sepdict.errors import AudioFileError, ConfigError, LabelFileError

JOURNAL, ASIDE = "journal.json", "aside"  # in the hidden folder


class DoneMeanwhileError(Exception):
    """Another process has finished the same work since it was planned."""


@contextlib.contextmanager
def publishing(track: Track, *, overwrite: bool = False, resumes: bool = False) -> Iterator[Track]:
    """Provide the same track in a hidden folder for its files to be written to, then move them into place.

    Parameters
    ----------
    track : Track
    overwrite : bool
        Whether files that exist are replaced.
    resumes : bool
        Whether those are replaced that an interrupted run of the same track left.

    Raises
    ------
    AudioFileError
        If they cannot be written, or exist by then and are not to be overwritten.
    DoneMeanwhileError
        If the same mixture was separated in the same way since the track was planned; then nothing is moved.
    """
    temporary = track.out
    try:
        with contextlib.ExitStack() as hiding:
            with _explained(track):
                temporary = hiding.enter_context(hidden_folder(track.out))
                hidden = track.moved(temporary)
                for folder in {path.parent for path in hidden.outputs}:
                    folder.mkdir(parents=True, exist_ok=True)
            yield hidden
            with _explained(track):
                _move_into_place(hidden, track, overwrite=overwrite, resumes=resumes)
    except (AudioFileError, LabelFileError) as error:  # the user knows nothing of the hidden folder
        raise type(error)(str(error).replace(str(temporary), str(track.out))) from error
    except OSError as error:
        error.filename = str(error.filename or track.mixture).replace(str(temporary), str(track.out))
        raise


def _move_into_place(hidden: Track, track: Track, *, overwrite: bool, resumes: bool) -> None:
    """Move a track's files to where they belong: where that is a folder of their own, all at once."""
    folder = Path(os.path.commonpath([path.parent for path in track.outputs]))
    if folder != track.out and not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            (hidden.out / folder.relative_to(track.out)).rename(folder)
            return
        except OSError:
            if not folder.exists():  # else another track's files came first
                raise
    with only_one(track.out, str(track.manifest.relative_to(track.out))):
        _move_over(hidden, track, overwrite=overwrite, resumes=resumes)


def _move_over(hidden: Track, track: Track, *, overwrite: bool, resumes: bool) -> None:
    """Move a track's files to where others may be, if these are to be replaced."""
    was_written_since = track.was_written_since
    if was_written_since and _is_same_work(hidden, track):
        raise DoneMeanwhileError
    there = list(filter(Path.exists, dict.fromkeys((*track.outputs, *track.earlier_files))))
    ours = there if overwrite else track.leftovers if resumes or was_written_since else []
    for path in there:
        if path not in ours:  # it was not there before the work: somebody else has the same folder
            raise AudioFileError(f"{path}: was written meanwhile; choose another output folder")
    _move_one_by_one(hidden, track, there)


def _is_same_work(one: Track, other: Track) -> bool:
    """Return whether the manifests of two tracks are of the same mixture, separated in the same way."""
    records = [read_record(track.manifest) for track in (one, other)]
    try:
        first, second = ((record.order(), record.mixture_sha256()) for record in records if record is not None)
    except (ConfigError, ValueError):  # one is missing, damaged, or a journal
        return False
    return first == second


def _move_one_by_one(hidden: Track, track: Track, there: Sequence[Path]) -> None:
    """Replace the existing files of a track by the new ones, so that an interrupted run can be resumed."""
    journal, aside, moved = hidden.out / JOURNAL, hidden.out / ASIDE, list[Path]()
    _journal(hidden, track, there).write(journal)
    aside.mkdir()
    with signals_held(), contextlib.ExitStack() as undo:
        _make_folder(track.manifest.parent, undo)
        if track.manifest in there:
            shutil.copyfile(track.manifest, aside / track.manifest.name)
        undo.callback(_take_journal_away, track.manifest, aside / track.manifest.name, moved)
        os.replace(journal, track.manifest)
        for number, path in enumerate(path for path in there if path != track.manifest):
            _move(path, aside / str(number), undo, moved)
        for source, target in zip(hidden.outputs, track.outputs, strict=True):
            _make_folder(target.parent, undo)
            if target != track.manifest:
                _move(source, target, undo, moved)
        os.replace(hidden.manifest, track.manifest)
        undo.pop_all()


def _journal(hidden: Track, track: Track, there: Sequence[Path]) -> Journal:
    """Collect the checksums of the old and the new files of a track."""
    old = {name: path for name, path in {**track.earlier_by_name, **track.by_name}.items() if path in there}
    known = {
        name: [sha256_of(files[name]) for files in (old, hidden.by_name) if name in files]
        for name in {**old, **hidden.by_name}
    }
    return Journal(track.mixture, known)


def _move(source: Path, target: Path, undo: contextlib.ExitStack, moved: list[Path]) -> None:
    """Move a file, and remember to move it back; what is moved is listed as long as it is there."""
    os.replace(source, target)
    moved.append(target)
    undo.callback(_move_back, target, source, moved)


def _move_back(target: Path, source: Path, moved: list[Path]) -> None:
    """Undo `_move`."""
    os.replace(target, source)
    moved.remove(target)


def _take_journal_away(manifest: Path, old: Path, moved: Sequence[Path]) -> None:
    """Restore the manifest that the journal replaced, if there was one; keep the journal if a file is still moved."""
    if moved:
        return
    if old.exists():
        os.replace(old, manifest)
    else:
        manifest.unlink(missing_ok=True)


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    """Make a folder with its parents, and remember to remove the new ones."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(made):
        undo.callback(_remove_if_empty, path)
    folder.mkdir(parents=True, exist_ok=True)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless another track's files are in it by now."""
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def _explained(track: Track) -> Iterator[None]:
    """Raise an error in one line if a track cannot be written."""
    try:
        yield
    except OSError as error:
        raise AudioFileError(f"{track.manifest.parent}: cannot be written ({error.strerror})") from error
