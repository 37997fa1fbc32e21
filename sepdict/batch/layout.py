"""The layout on disk: which files a mixture becomes, and that no other file is touched.

    out/{track}/{source}.wav        32-bit float, at the mixture's rate, channels and length
    out/{track}/manifest.json       what was separated with what, how it went, and where the stems are
    out/{track}/report.html         the same as a page with a player, if it is asked for
    out/{track}/labels.txt          when each stem sounds, if it is asked for

or as `OutputConfig` names them. `sepdict.batch.publishing` makes a track's files appear together.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import overload

from sepdict._core.fs import sha256_of
from sepdict._core.names import normalized
from sepdict.audio.discovery import below, find_audio_files, list_audio
from sepdict.batch.export import OutputConfig
from sepdict.batch.manifest import read_record
from sepdict.errors import AudioFileError, ConfigError

log = logging.getLogger(__name__)

MANIFEST, MANIFEST_FORMAT = "manifest", "json"
REPORT, REPORT_FORMAT = "report", "html"
LABELS, LABELS_FORMAT = "labels", "txt"
NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class Track:
    """A mixture and the files that it becomes.

    Attributes
    ----------
    mixture : Path
    name : str
        With the subfolders in which the mixture was found.
    out : Path
        The folder below which all files are.
    output : OutputConfig
    stems : mapping of name to Path
    manifest : Path
    report, labels : Path or None
    found : str or None
        The checksum of the manifest or journal that was there when the work was planned; None if there was none.
    """

    mixture: Path
    name: str
    out: Path
    output: OutputConfig
    stems: Mapping[str, Path]
    manifest: Path
    report: Path | None = None
    labels: Path | None = None
    found: str | None = None

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
        labels: bool = False,
    ) -> "Track":
        """Return the track of a mixture; without a name, the track is named after the mixture."""
        output = (OutputConfig() if output is None else output).of(mixture)
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
            labels=out / output.path(name, LABELS, ext=LABELS_FORMAT) if labels else None,
        )

    @property
    def outputs(self) -> list[Path]:
        """All files, the manifest last: it is there only when the others are."""
        return [*self.by_name.values(), self.manifest]

    @property
    def folders(self) -> set[str]:
        """All folders that the files are in, up to the root, as text."""
        folders = set[str]()
        for folder in map(os.path.dirname, map(str, self.outputs)):
            while folder not in folders and folder != os.path.dirname(folder):
                folders.add(folder)
                folder = os.path.dirname(folder)
        return folders

    @property
    def by_name(self) -> dict[str, Path]:
        """All files but the manifest, by their names ``{source}.{ext}``."""
        files = {f"{name}{path.suffix}": path for name, path in self.stems.items()}
        beside = {f"{REPORT}.{REPORT_FORMAT}": self.report, f"{LABELS}.{LABELS_FORMAT}": self.labels}
        return files | {name: path for name, path in beside.items() if path is not None}

    @property
    def earlier_by_name(self) -> dict[str, Path]:
        """The files that an earlier run wrote, by its manifest or journal, by their names."""
        record = read_record(self.manifest)
        if record is None:
            return {}
        names = [*record.checksums(), *record.stem_files()]
        names += [f"{REPORT}.{REPORT_FORMAT}"] if record.has_report else []
        names += [f"{LABELS}.{LABELS_FORMAT}"] if record.has_labels else []
        return {name: path for name in names if (path := self._path_of(name)) is not None}

    @property
    def earlier_files(self) -> list[Path]:
        """Files of an earlier run that this one does not replace; they are deleted when the new ones are written."""
        known = self.leftovers if self.is_unfinished else self.earlier_by_name.values()
        return [path for path in known if path not in self.outputs]

    def planned(self) -> "Track":
        """Return the same track, which remembers the manifest that is there now."""
        return replace(self, found=_checksum(self.manifest))

    @property
    def was_written_since(self) -> bool:
        """Return whether another process has begun to move this track's files into place since it was planned."""
        return _checksum(self.manifest) not in (None, self.found)

    @property
    def is_unfinished(self) -> bool:
        """Return whether a run was interrupted while it moved the track's files into place."""
        record = read_record(self.manifest)
        return record is not None and record.is_journal

    @property
    def leftovers(self) -> list[Path]:
        """The files that an interrupted run left, the journal included; empty without one.

        A journal may be old or from elsewhere: only the content of a file proves that it is the track's.
        """
        record = read_record(self.manifest)
        if record is None or not record.is_journal:
            return []
        checksums, files = record.checksums(), self.earlier_by_name.items()
        return [*(path for name, path in files if _is_one_of(path, checksums.get(name, ()))), self.manifest]

    def _path_of(self, name: str) -> Path | None:
        """Return the path of a file of this track; None if no file can have that name."""
        stem, ext = Path(name).stem, Path(name).suffix[1:]
        if not ext or "\0" in name or name != Path(name).name:
            return None
        return self.out / self.output.path(self.name, stem, ext=ext)

    def moved(self, out: Path) -> "Track":
        """Return the same track with its files below another folder."""

        def below(path: Path) -> Path:
            return out / path.relative_to(self.out)

        report, labels = (None if path is None else below(path) for path in (self.report, self.labels))
        stems = {name: below(path) for name, path in self.stems.items()}
        return replace(self, out=out, stems=stems, manifest=below(self.manifest), report=report, labels=labels)


class MixtureList(Sequence[tuple[Path, str]]):
    """The paths of mixtures and the names of their tracks, in their order; of a million, little more than the letters.

    Examples
    --------
    >>> mixtures = MixtureList()
    >>> mixtures.add("in/monday/take.wav", Path("in"))
    >>> [name for _, name in mixtures]
    ['monday/take']
    """

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._roots: list[Path | str | None] = []

    @classmethod
    def of(cls, mixtures: Sequence[str | Path] | Mapping[Path, str]) -> "MixtureList":
        """Take paths, with the names of their tracks where there are any."""
        found, names = cls(), mixtures if isinstance(mixtures, Mapping) else {}
        for path in mixtures:
            found.add(str(Path(path)), names.get(Path(path)))
        return found

    def add(self, path: str, root: Path | str | None = None) -> None:
        """Add a mixture; its track is named by its path below a folder, by a text, or else after its file."""
        self._paths.append(path)
        self._roots.append(root)

    def take(self, other: "MixtureList", number: int) -> None:
        """Add a mixture of others."""
        self.add(other._paths[number], other._roots[number])

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> tuple[Path, str]: ...

    @overload
    def __getitem__(self, number: slice) -> list[tuple[Path, str]]: ...

    def __getitem__(self, number: int | slice) -> tuple[Path, str] | list[tuple[Path, str]]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        path, root = Path(self._paths[number]), self._roots[number]
        if isinstance(root, Path):
            return path, str(path.relative_to(root).with_suffix(""))
        return path, path.stem if root is None else root

    def path(self, number: int) -> str:
        """Return the path of a mixture, always the same text."""
        return self._paths[number]


def find_mixtures(path: str | Path, *, recursive: bool = False, out: str | Path | None = None) -> MixtureList:
    """Find the recordings that a file, a folder or a pattern stands for, and the name of each track.

    A folder's tracks are named after their files, with the subfolders. When subfolders are searched, the output folder
    is left out, and so are those with stems of an earlier run.

    Raises
    ------
    AudioFileError
        As `find_audio_files` does, or if all that is found is left out.
    """
    found, mixtures = list_audio(path, recursive=recursive, aside=None if out is None else Path(out)), MixtureList()
    root = Path(path) if os.path.isdir(path) else None
    folders = set(map(os.path.dirname, found)) - {os.path.dirname(str(Path(path) / "a"))} if root and recursive else ()
    left_out = {folder for folder in folders if read_record(Path(folder, f"{MANIFEST}.{MANIFEST_FORMAT}"))}
    for each in found:
        if os.path.dirname(each) not in left_out:
            mixtures.add(each, root)
    if left_out:
        log.info("%s: left out %d folders of stems of an earlier run", path, len(left_out))
    if not mixtures:
        raise AudioFileError(f"{path}: holds nothing but stems of an earlier run; expected mixtures")
    return mixtures


def refuse_existing(pairs: Sequence[tuple[Track, Mapping[str, Path]]], *, overwrite: bool, resumes: bool) -> None:
    """Refuse to replace what exists, unless asked to; and in any case what is read, or a folder by a file.

    A run that resumes replaces what an interrupted one left.
    """
    first, n_existing, n_kept, interrupted = None, 0, 0, False
    for track, _ in pairs:
        for folder in sorted(each for each in track.folders if each.startswith(f"{track.out}{os.sep}")):
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise ConfigError(f"{folder}: is a file; expected a folder or nothing there")
        if existing := _existing(track):
            kept = set(existing).difference(track.leftovers if resumes else ())
            first = next((path for path in existing if path in kept), None) if first is None else first
            n_existing, n_kept = n_existing + len(existing), n_kept + len(kept)
        interrupted = interrupted or track.is_unfinished
    if n_existing:
        _refuse_what_is_read(pairs)
    if first is not None and not overwrite:
        more = f" (and {n_kept - 1} more)" if n_kept > 1 else ""
        how = "overwrite it, or choose another folder (--overwrite, -o)"
        how = f"go on where a run was interrupted (--skip-existing), {how}" if interrupted and not resumes else how
        raise ConfigError(f"{first}: exists already{more}; {how}")


def _existing(track: Track) -> list[Path]:
    """List the files of a track that are there, and those of an earlier run."""
    return [path for path in (*track.outputs, *track.earlier_files) if path.exists()]


def _refuse_what_is_read(pairs: Sequence[tuple[Track, Mapping[str, Path]]]) -> None:
    """Refuse to replace folders, mixtures and references."""
    read = {hash(os.path.realpath(track.mixture)): "mixture" for track, _ in pairs}  # a hash is shorter than a path
    read |= {hash(os.path.realpath(path)): "reference" for _, truth in pairs for path in truth.values()}
    for path in (path for track, _ in pairs for path in _existing(track)):
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; expected a file or nothing there")
        if what := read.get(hash(os.path.realpath(path))):
            raise ConfigError(f"{path}: is a {what} and would be overwritten; choose another output folder")


def find_references(
    track: Track, folder: str | Path | None, names: Sequence[str], *, alone: bool
) -> Mapping[str, Path]:
    """Find the true sources of a track, by name; no folder, no references.

    Those of ``names`` that become no stem of their own are passed over.
    """
    if folder is None:
        return {}
    own = below(Path(folder), track.name)
    own = Path(folder) if alone and not own.is_dir() else own
    found: dict[str, Path] = {}
    known = {normalized(name): name for name in (*names, *track.stems)}
    for path in find_audio_files([own]):
        name = known.get(normalized(path.stem), path.stem)
        if path.resolve() == track.mixture.resolve() or (name in names and name not in track.stems):
            continue
        if name in found:
            raise ConfigError(f"{found[name]} and {path} stand for the same source; leave one of them there")
        if name not in track.stems:
            stems = ", ".join(track.stems)
            raise ConfigError(f"{path}: there is no stem to compare with it, only {stems}; rename it or move it away")
        found[name] = path
    if not found:
        raise ConfigError(f"{own}: holds no reference; expected one file per source")
    return found


def _checksum(path: Path) -> str | None:
    """Return a file's checksum; None if there is none, or it may not be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _is_one_of(path: Path, checksums: Sequence[str]) -> bool:
    """Return whether a file has one of these checksums."""
    return _checksum(path) in checksums
