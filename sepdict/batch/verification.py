"""Check stems again: whether they are still what was written, by their manifests."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sepdict._core.fs import sha256_of
from sepdict._core.names import refusal_of_url
from sepdict.audio.io import open_audio
from sepdict.batch.manifest import Record, StemFacts, read_record
from sepdict.errors import AudioFileError, explain
from sepdict.separation.result import null_test_db

ROUNDING_DB = 1.0  # decoders of other versions round otherwise
EXACT_DB = -110.0  # nobody hears what is below, and sums of floats depend on their order


@dataclass(frozen=True)
class TrackCheck:
    """The result of checking a track.

    Attributes
    ----------
    manifest : Path
    damage : tuple of str
        The damage that was found, each in one line that names the file; empty if there is none.
    notes : tuple of str
        What could not be checked, and why.
    n_stems : int
    null_test_db : float
        Of the stems as they are now; nan if it could not be made.
    """

    manifest: Path
    damage: tuple[str, ...]
    notes: tuple[str, ...] = ()
    n_stems: int = 0
    null_test_db: float = math.nan

    @property
    def is_whole(self) -> bool:
        """Return whether no damage was found."""
        return not self.damage


def check_folder(folder: str | Path) -> list[TrackCheck]:
    """Read the stems below a folder again, and compare them with what their manifests say.

    Parameters
    ----------
    folder : path of a folder
        Manifests are searched for in its subfolders, too, whatever they are called; hidden folders aside.

    Returns
    -------
    list of TrackCheck
        In the order of the manifests' paths: checksums, lengths and, where the mixture still is where it was and has
        not changed, the null test.

    Raises
    ------
    AudioFileError
        If there is no such folder, or no manifest in it.

    Examples
    --------
    >>> all(track.is_whole for track in check_folder("separated"))  # doctest: +SKIP
    True
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioFileError(refusal_of_url(folder) or f"{folder}: is no folder; expected one of separated tracks")
    found = [(path, record) for path in sorted(folder.rglob("*.json")) if (record := _read(folder, path))]
    if not found:
        raise AudioFileError(f"{folder}: holds no manifest; expected a folder of separated tracks")
    return [_check(path, record) for path, record in found]


def null_test_of(mixture: Path, stems: Sequence[Path], *, gain: float, start: int = 0) -> float:
    """Add stems up as they are in their files, and measure by how much they miss a mixture, or a part of it.

    Parameters
    ----------
    mixture : Path
    stems : sequence of Path
        All of one length, which none passes.
    gain : float
        What the mixture was multiplied by.
    start : int
        The first sample of the mixture that the stems are of.

    Returns
    -------
    float
        In dB relative to the mixture's peak.
    """
    with contextlib.ExitStack() as open_files:
        whole, *parts = (open_files.enter_context(open_audio(path)) for path in (mixture, *stems))
        n_samples, n_block = parts[0].n_samples, whole.sample_rate
        spans = [slice(first, min(first + n_block, n_samples)) for first in range(0, n_samples, n_block)]
        heard = whole.blocks(slice(span.start + start, span.stop + start) for span in spans)
        misses = []
        for mixed, *blocks in zip(heard, *(part.blocks(spans) for part in parts), strict=True):
            expected = gain * mixed.samples.double()
            found = torch.stack([block.samples for block in blocks]).sum(dim=0, dtype=torch.float64)
            misses.append((float((expected - found).abs().max()), float(expected.abs().max())))
        return null_test_db(misses)


def _read(folder: Path, path: Path) -> Record | None:
    """Read the manifest or journal of a track; None if a file is something else, or hidden."""
    if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
        return None
    record = read_record(path)
    return record if record is not None and record.has_stems else None


def _check(path: Path, record: Record) -> TrackCheck:
    """Check a track against its manifest."""
    if record.is_journal:
        unfinished = f"{path}: a run was interrupted as it wrote this track; separate it again with --skip-existing"
        return TrackCheck(path, (unfinished,))
    notes, measured = list[str](), math.nan
    try:
        files = {path.parent / facts.file: facts for facts in record.files().values()}
        damage = [each for stem, facts in files.items() for each in _damage(stem, facts)]
        damage += _damage_of_labels(path.parent, record)
        if not damage:
            why = _why_without_mixture(record)
            if why:
                notes.append(f"{path}: no null test, for {why}")
            else:
                measured, wrong = _null_test(record, list(files))
                damage += [f"{path}: {wrong}"] if wrong else []
    except Exception as error:
        return TrackCheck(path, (f"{path}: cannot be checked ({explain(path.name, error)})",))
    return TrackCheck(path, tuple(damage), tuple(notes), len(files), measured)


def _damage(stem: Path, facts: StemFacts) -> Iterator[str]:
    """Yield what is wrong with a stem: missing, changed, of another length, not readable to its end."""
    if not stem.is_file():
        yield f"{stem}: is missing"
        return
    if sha256_of(stem) != facts.sha256:
        yield f"{stem}: was changed since it was written (its checksum is another)"
    try:
        with open_audio(stem) as audio:
            if audio.n_samples != facts.n_samples:
                yield f"{stem}: has {audio.n_samples} samples; expected {facts.n_samples}"
            starts = range(0, audio.n_samples, audio.sample_rate)
            for _ in audio.blocks(slice(first, min(first + audio.sample_rate, audio.n_samples)) for first in starts):
                pass
    except Exception as error:
        yield explain(stem, error)


def _damage_of_labels(folder: Path, record: Record) -> list[str]:
    """List what is wrong with the labels, if any were written: they are missing, or changed."""
    written = record.label_file()
    if written is None:
        return []
    file, sha256 = folder / written[0], written[1]
    if not file.is_file():
        return [f"{file}: is missing"]
    return [] if sha256_of(file) == sha256 else [f"{file}: was changed since it was written (its checksum is another)"]


def _why_without_mixture(record: Record) -> str | None:
    """Return why stems cannot be compared with their mixture; None if they can."""
    mixture = record.mixture_file()
    if not mixture.is_file():
        return f"the mixture is no longer at {mixture}"
    return f"{mixture} was changed since" if sha256_of(mixture) != record.mixture_sha256() else None


def _null_test(record: Record, stems: Sequence[Path]) -> tuple[float, str | None]:
    """Repeat the null test, and describe what is wrong with its result."""
    measured = null_test_of(record.mixture_file(), stems, gain=record.gain(), start=record.start_sample())
    expected = max(record.null_test_db(), EXACT_DB)
    wrong = f"its stems miss the mixture by {measured:.1f} dB; expected {expected:.1f} dB or less"
    return measured, None if measured <= expected + ROUNDING_DB else wrong
