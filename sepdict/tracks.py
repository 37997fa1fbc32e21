"""Row 6: what a mixture becomes on disk, and that nothing else is touched by it.

    out/{track}/{source}.wav        32-bit float, at the mixture's rate, channels and length
    out/{track}/manifest.json       what was separated with what, how it went, and where the stems are
    out/{track}/report.html         the same to look at and listen to, where it is asked for

or where and as `OutputConfig` has them. A track's files appear together, when all of them are whole.
"""

import contextlib
import glob
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sepdict.errors import AudioFileError, ConfigError
from sepdict.folders import find_audio_files
from sepdict.outputs import OutputConfig

log = logging.getLogger(__name__)

MANIFEST, MANIFEST_FORMAT = "manifest", "json"
REPORT, REPORT_FORMAT = "report", "html"
NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class Track:
    """One mixture and the files it will become.

    Attributes
    ----------
    mixture : Path
    name : str
        Also the folders that it was found in below the one that was searched.
    out : Path
        The folder below which all files are.
    output : OutputConfig
    stems : mapping of name to Path
    manifest : Path
    report : Path or None
    """

    mixture: Path
    name: str
    out: Path
    output: OutputConfig
    stems: Mapping[str, Path]
    manifest: Path
    report: Path | None = None

    @classmethod
    def of(
        cls,
        mixture: Path,
        out: Path,
        names: Sequence[str],
        *,
        name: str | None = None,
        output: OutputConfig | None = None,
        report: bool = False,
    ) -> "Track":
        """Say where the files go; a track is called like its mixture, unless it has a name."""
        output = OutputConfig() if output is None else output
        name = mixture.stem if name is None else name
        parts = Path(name).parts
        if not parts or ".." in parts or Path(name).is_absolute():
            raise ConfigError(f"{mixture}: is called {name!r}, and no folder can be; rename it")
        return cls(
            mixture,
            name,
            out,
            output,
            stems={stem: out / output.path(name, stem) for stem in output.stems(names)},
            manifest=out / output.path(name, MANIFEST, ext=MANIFEST_FORMAT),
            report=out / output.path(name, REPORT, ext=REPORT_FORMAT) if report else None,
        )

    @property
    def outputs(self) -> list[Path]:
        """All files, the manifest last: it is there only when the others are."""
        report = [] if self.report is None else [self.report]
        return [*self.stems.values(), *report, self.manifest]

    @property
    def earlier_files(self) -> list[Path]:
        """What an earlier run to another order left, by its manifest; it goes when these are written."""
        said = _manifest_in(self.manifest)
        try:
            # by name, not by path: a manifest that was moved must not point at other files
            earlier = [(Path(name).name, Path(path).suffix[1:]) for name, path in said["stems"].items()]
        except (LookupError, TypeError, AttributeError):  # it is none, or no sound one
            return []
        earlier += [(REPORT, REPORT_FORMAT)] if said.get("report") else []
        paths = [self.out / self.output.path(self.name, name, ext=ext) for name, ext in earlier if name and ext]
        return [path for path in paths if path not in self.outputs]

    def moved(self, out: Path) -> "Track":
        """Put the same files below another folder."""

        def below(path: Path) -> Path:
            return out / path.relative_to(self.out)

        report = None if self.report is None else below(self.report)
        stems = {name: below(path) for name, path in self.stems.items()}
        return replace(self, out=out, stems=stems, manifest=below(self.manifest), report=report)


def find_mixtures(path: str | Path, *, recursive: bool = False, out: str | Path | None = None) -> dict[Path, str]:
    """Find the recordings that a file, a folder or a pattern stands for, and the name of each track.

    A folder's tracks are called like their files, with the subfolders that they are in. When subfolders are searched,
    those with stems of an earlier run in them are left out, and the output folder.

    Raises
    ------
    AudioFileError
        As `find_audio_files` does, or if all that is found is left out.
    """
    found = find_audio_files([path], recursive=recursive, aside=None if out is None else Path(out))
    if not os.path.isdir(path):
        return {each: each.stem for each in found}
    folders = {each.parent for each in found if recursive and each.parent != Path(path)}
    left_out = {folder for folder in folders if _manifest_in(folder / f"{MANIFEST}.{MANIFEST_FORMAT}")}
    names = {each: str(each.relative_to(path).with_suffix("")) for each in found if each.parent not in left_out}
    if left_out:
        log.info("%s: left out %d folders of stems of an earlier run", path, len(left_out))
    if not names:
        raise AudioFileError(f"{path}: holds nothing but stems of an earlier run; expected mixtures")
    return names


def refuse_collisions(tracks: Sequence[Track]) -> None:
    """Refuse mixtures of which files would overwrite each other, or be in each other's way."""
    owner: dict[Path, Track] = {}
    for track in tracks:
        for path in track.outputs:
            if path in owner:
                what = f"{owner[path].mixture} and {track.mixture} would both be written to {path}"
                how = "rename one, or separate them into different folders"
                how += "" if "{track}" in track.output.filename else ", or have {track} in --filename"
                raise ConfigError(f"{what}; {how}")
            owner[path] = track
    for track in tracks:
        for path in owner.keys() & set(track.earlier_files):
            what = f"{path}: is a stem of {track.mixture} by its manifest, and would be one of {owner[path].mixture}"
            raise ConfigError(f"{what}; separate them into different folders")
    for path, track in owner.items():
        for folder in path.parents:
            if folder in owner:
                what = f"{owner[folder].mixture} would be written to {folder}, and {track.mixture} into it"
                raise ConfigError(f"{what}; rename one, or separate them into different folders")


def refuse_existing(tracks: Sequence[Track], truths: Sequence[Mapping[str, Path]], overwrite: bool) -> None:
    """Refuse to replace what exists, unless asked to; and in any case what is read, or a folder by a file."""
    read = {track.mixture.resolve(): "mixture" for track in tracks}
    read |= {path.resolve(): "reference" for truth in truths for path in truth.values()}
    existing = []
    for track in tracks:
        for folder in sorted(
            {folder for path in track.outputs for folder in path.parents if track.out in folder.parents}
        ):
            if folder.exists() and not folder.is_dir():
                raise ConfigError(f"{folder}: is a file; expected a folder or nothing there")
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


def find_references(
    track: Track, folder: str | Path | None, names: Sequence[str], *, alone: bool
) -> Mapping[str, Path]:
    """Find the true sources of a track, by name; no folder, no references.

    Those of ``names`` that become no stem of their own are passed over.
    """
    if folder is None:
        return {}
    own = Path(folder) / track.name
    own = Path(folder) if alone and not own.is_dir() else own
    found: dict[str, Path] = {}
    for path in find_audio_files([own]):
        if path.resolve() == track.mixture.resolve() or (path.stem in names and path.stem not in track.stems):
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
def publishing(track: Track, *, overwrite: bool = False) -> Iterator[Track]:
    """Give the work inside the same track in a hidden folder to write all its files to, then move them into place.

    Raises
    ------
    AudioFileError
        If they cannot be written, or exist by then and are not to be overwritten.
    """
    temporary = track.out / f"{_temporary(track)}{secrets.token_hex(8)}.tmp"
    hidden = track.moved(temporary)
    try:
        with _explained(track):
            for folder in {path.parent for path in hidden.outputs}:
                folder.mkdir(parents=True, exist_ok=True)
        yield hidden
        with _explained(track):
            _move_into_place(hidden, track, overwrite=overwrite)
    except AudioFileError as error:  # the user knows nothing of the hidden folder
        raise AudioFileError(str(error).replace(str(temporary), str(track.out))) from error
    except OSError as error:
        error.filename = str(error.filename or track.mixture).replace(str(temporary), str(track.out))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(track: Track) -> None:
    """Take away what a process that was killed has left of a track."""
    for left in track.out.glob(f"{glob.escape(_temporary(track))}*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def _temporary(track: Track) -> str:
    """How the name of a track's hidden folder begins; short, for names have their limits."""
    return f".sepdict-{hashlib.sha256(os.fsencode(track.name)).hexdigest()[:16]}-"


def _move_into_place(hidden: Track, track: Track, *, overwrite: bool) -> None:
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
    # There are earlier files, or others'. Without a manifest it is known not to be whole.
    earlier = list(filter(Path.exists, track.earlier_files))
    for path in (*track.outputs, *earlier):
        if path.exists() and not overwrite:  # it did not before the work: somebody else has the same folder
            raise AudioFileError(f"{path}: was written meanwhile; choose another output folder")
    for path in earlier:
        path.unlink()
    track.manifest.unlink(missing_ok=True)
    for source, target in zip(hidden.outputs, track.outputs, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def _manifest_in(file: Path) -> Mapping[str, Any]:
    """Read a manifest; empty where there is none, or somebody else's."""
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and "sepdict" in said else {}


@contextlib.contextmanager
def _explained(track: Track) -> Iterator[None]:
    """Say in one line why a track cannot be written."""
    try:
        yield
    except OSError as error:
        raise AudioFileError(f"{track.manifest.parent}: cannot be written ({error.strerror})") from error
