"""Row 6: what a mixture becomes on disk, and that nothing else is touched by it.

    out/{track}/{source}.wav        32-bit float, at the mixture's rate, channels and length
    out/{track}/manifest.json       what was separated with what, how it went, and where the stems are
    out/{track}/report.html         the same to look at and listen to, where it is asked for

A track's files appear together, when all of them are whole.
"""

import contextlib
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sepdict.errors import AudioFileError, ConfigError
from sepdict.recordings import find_audio_files

MANIFEST = "manifest.json"
REPORT = "report.html"
NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class Track:
    """One mixture and the files it will become."""

    mixture: Path
    folder: Path
    stems: Mapping[str, Path]
    report: Path | None = None

    @classmethod
    def of(cls, mixture: Path, out: Path, names: Sequence[str], *, report: bool = False) -> "Track":
        """Name the folder after the mixture, and its files after the stems."""
        if mixture.stem in ("", ".", ".."):
            raise ConfigError(f"{mixture}: no folder can be named after it; rename the file")
        folder = out / mixture.stem
        stems = {name: folder / f"{name}.wav" for name in names}
        return cls(mixture, folder, stems, folder / REPORT if report else None)

    @property
    def outputs(self) -> list[Path]:
        """All files, the manifest last: it is there only when the others are."""
        report = [] if self.report is None else [self.report]
        return [*self.stems.values(), *report, self.folder / MANIFEST]

    @property
    def earlier_files(self) -> list[Path]:
        """What an earlier run with other dictionaries left, by its manifest; it goes when these are written."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_bytes())
            stems = [self.folder / f"{Path(name).name}.wav" for name in manifest["stems"] if name not in self.stems]
            return [*stems, self.folder / REPORT] if manifest.get("report") and not self.report else stems
        except (OSError, ValueError, LookupError, TypeError):  # no manifest, or no sound one
            return []


def refuse_same_folder(tracks: Sequence[Track]) -> None:
    """Refuse mixtures whose stems would overwrite each other's."""
    first_of: dict[Path, Path] = {}
    for track in tracks:
        if track.folder in first_of:
            raise ConfigError(
                f"{first_of[track.folder]} and {track.mixture} would both be written to {track.folder}; "
                "rename one, or separate them into different folders"
            )
        first_of[track.folder] = track.mixture


def refuse_existing(tracks: Sequence[Track], truths: Sequence[Mapping[str, Path]], overwrite: bool) -> None:
    """Refuse to replace what exists, unless asked to; and in any case what is read, or a folder by a file."""
    read = {track.mixture.resolve(): "mixture" for track in tracks}
    read |= {path.resolve(): "reference" for truth in truths for path in truth.values()}
    existing = []
    for track in tracks:
        if track.folder.exists() and not track.folder.is_dir():
            raise ConfigError(f"{track.folder}: is a file; expected a folder or nothing there")
        existing += [path for path in (*track.outputs, *track.earlier_files) if path.exists()]
    for path in existing:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; expected a file or nothing there")
        if path.resolve() in read:
            what = read[path.resolve()]
            raise ConfigError(f"{path}: is a {what} and would be overwritten; choose another output folder")
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        how = "overwrite it, or choose another folder (--overwrite, -o)"
        raise ConfigError(f"{existing[0]}: exists already{more}; {how}")


def find_references(track: Track, folder: str | Path | None, *, alone: bool) -> Mapping[str, Path]:
    """Find the true sources of a track, by name; no folder, no references."""
    if folder is None:
        return {}
    own = Path(folder) / track.mixture.stem
    own = Path(folder) if alone and not own.is_dir() else own
    found: dict[str, Path] = {}
    for path in find_audio_files([own]):
        if path.resolve() == track.mixture.resolve():
            continue
        if path.stem in found:
            raise ConfigError(f"{found[path.stem]} and {path} stand for the same source; leave one of them there")
        if path.stem not in track.stems:
            stems = ", ".join(track.stems)
            raise ConfigError(f"{path}: there is no stem to compare with it, only {stems}; rename it or move it away")
        found[path.stem] = path
    if not found:
        raise ConfigError(f"{own}: holds no reference; expected one file per source")
    return found


@contextlib.contextmanager
def publishing(track: Track) -> Iterator[Path]:
    """Give the work inside a hidden folder beside the track's to write all its files into, then move them into place.

    Raises
    ------
    AudioFileError
        If they cannot be written.
    """
    temporary = track.folder.parent / f"{_temporary(track)}{secrets.token_hex(8)}.tmp"
    try:
        with _explained(track):
            temporary.mkdir()
        yield temporary
        with _explained(track):
            _move_into_place(track, temporary)
    except AudioFileError as error:  # the user knows nothing of the hidden folder
        raise AudioFileError(str(error).replace(str(temporary), str(track.folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(track: Track) -> None:
    """Take away what a process that was killed has left of a track."""
    for left in track.folder.parent.glob(f"{glob.escape(_temporary(track))}*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def _temporary(track: Track) -> str:
    """How the name of a track's hidden folder begins; short, for names have their limits."""
    return f".sepdict-{hashlib.sha256(os.fsencode(track.folder.name)).hexdigest()[:16]}-"


def _move_into_place(track: Track, folder: Path) -> None:
    """Make a folder's files those of the track."""
    if not track.folder.exists():
        folder.rename(track.folder)
        return
    # It holds earlier files, or others'. Without a manifest it is known not to be whole.
    for path in filter(Path.exists, track.earlier_files):
        path.unlink()
    (track.folder / MANIFEST).unlink(missing_ok=True)
    for path in track.outputs:
        (folder / path.name).replace(path)


@contextlib.contextmanager
def _explained(track: Track) -> Iterator[None]:
    """Say in one line why a track cannot be written."""
    try:
        yield
    except OSError as error:
        raise AudioFileError(f"{track.folder}: cannot be written ({error.strerror})") from error
