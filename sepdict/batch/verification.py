"""Whether stems are still what was written, by what their manifests say of them."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sepdict._core.fs import sha256_of
from sepdict.audio.io import open_audio
from sepdict.batch.layout import UNFINISHED
from sepdict.errors import AudioFileError, explain
from sepdict.separation.result import null_test_db

MOST_MANIFEST_BYTES = 2**26
ROUNDING_DB = 1.0  # decoders of other versions round otherwise
EXACT_DB = -110.0  # nobody hears what is below, and sums of floats depend on their order


@dataclass(frozen=True)
class TrackCheck:
    """What was found of a track.

    Attributes
    ----------
    manifest : Path
    damage : tuple of str
        What is not as it was written, each in one line that names the file; empty if all is.
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
        """Whether no damage was found."""
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
        raise AudioFileError(f"{folder}: is no folder; expected one of separated tracks")
    found = [(path, said) for path in sorted(folder.rglob("*.json")) if (said := _manifest(folder, path))]
    if not found:
        raise AudioFileError(f"{folder}: holds no manifest; expected a folder of separated tracks")
    return [_check(path, said) for path, said in found]


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


def _manifest(folder: Path, path: Path) -> Mapping[str, Any] | None:
    """Read what may be a manifest; None if it is something else."""
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= MOST_MANIFEST_BYTES:
            said = json.loads(path.read_bytes())
            if isinstance(said, dict) and "sepdict" in said and ("stems" in said or UNFINISHED in said):
                return said
    return None


def _check(path: Path, said: Mapping[str, Any]) -> TrackCheck:
    """Check a track, of which a manifest may say anything."""
    if UNFINISHED in said:
        unfinished = f"{path}: a run was interrupted as it wrote this track; separate it again with --skip-existing"
        return TrackCheck(path, (unfinished,))
    try:
        files = said.get("files")
        stems = {name: path.parent / facts["file"] for name, facts in files.items()} if files else _unsigned(path, said)
        damage = [each for name, stem in stems.items() for each in _damage(stem, (files or {}).get(name))]
        notes = [] if files else [f"{path}: is of an older version, without checksums; stems were read only"]
        measured = math.nan
        if not damage:
            why = _why_without_mixture(said)
            if why:
                notes.append(f"{path}: no null test, for {why}")
            else:
                measured, wrong = _null_test(said, list(stems.values()))
                damage += [f"{path}: {wrong}"] if wrong else []
    except Exception as error:
        return TrackCheck(path, (f"{path}: cannot be checked ({explain(path.name, error)})",))
    return TrackCheck(path, tuple(damage), tuple(notes), len(stems), measured)


def _unsigned(path: Path, said: Mapping[str, Any]) -> dict[str, Path]:
    """Find stems of which a manifest says no more than where they were."""
    named = {name: Path(stem) for name, stem in said["stems"].items()}
    return {name: stem if stem.exists() else path.parent / stem.name for name, stem in named.items()}


def _damage(stem: Path, facts: Mapping[str, Any] | None) -> Iterator[str]:
    """Tell what is wrong with a stem: missing, changed, of another length, not readable to its end."""
    if not stem.is_file():
        yield f"{stem}: is missing"
        return
    if facts is not None and sha256_of(stem) != facts["sha256"]:
        yield f"{stem}: was changed since it was written (its checksum is another)"
    try:
        with open_audio(stem) as audio:
            if facts is not None and audio.n_samples != facts["n_samples"]:
                yield f"{stem}: has {audio.n_samples} samples; expected {facts['n_samples']}"
            starts = range(0, audio.n_samples, audio.sample_rate)
            for _ in audio.blocks(slice(first, min(first + audio.sample_rate, audio.n_samples)) for first in starts):
                pass
    except Exception as error:
        yield explain(stem, error)


def _why_without_mixture(said: Mapping[str, Any]) -> str | None:
    """Say why stems cannot be compared with what they were separated from; None if they can."""
    mixture = Path(said["mixture"]["file"])
    if not mixture.is_file():
        return f"the mixture is no longer at {mixture}"
    return f"{mixture} was changed since" if sha256_of(mixture) != said["mixture"]["sha256"] else None


def _null_test(said: Mapping[str, Any], stems: Sequence[Path]) -> tuple[float, str | None]:
    """Make the null test again, and say what is wrong with what comes out."""
    start_s = (said.get("excerpt") or {"start_s": 0.0})["start_s"]
    start = round(start_s * said["mixture"]["sample_rate"])
    measured = null_test_of(Path(said["mixture"]["file"]), stems, gain=said["gain"], start=start)
    expected = max(said["null_test_db"], EXACT_DB)
    wrong = f"its stems miss the mixture by {measured:.1f} dB; expected {expected:.1f} dB or less"
    return measured, None if measured <= expected + ROUNDING_DB else wrong
