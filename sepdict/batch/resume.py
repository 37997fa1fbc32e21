"""Resuming a batch: which tracks are there already, made with the same dictionaries and settings.

Nothing here loads PyTorch: a run that has nothing left to do ends at once.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from sepdict._core.fs import sha256_of, to_json
from sepdict._core.version import __version__
from sepdict.batch.collisions import collisions
from sepdict.batch.config import BatchConfig
from sepdict.batch.layout import MixtureList, Track
from sepdict.batch.manifest import Record, read_record
from sepdict.batch.result import TrackResult
from sepdict.errors import ConfigError


def asked_for(checksums: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect everything beside the mixture on which the stems depend, as JSON holds it; checksums are by source."""
    asked = {"dictionaries": dict(sorted(checksums.items())), "settings": settings, "sepdict": __version__}
    return dict(json.loads(to_json(asked)))


def order_of(asked: Mapping[str, Any]) -> str:
    """Compute the checksum of what was asked for."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Tracks(Sequence[Track]):
    """The tracks of mixtures, each made when it is asked for: a million at once would take gigabytes."""

    mixtures: MixtureList
    out: Path
    names: Sequence[str]
    config: BatchConfig

    def __len__(self) -> int:
        return len(self.mixtures)

    @overload
    def __getitem__(self, number: int) -> Track: ...

    @overload
    def __getitem__(self, number: slice) -> list[Track]: ...

    def __getitem__(self, number: int | slice) -> Track | list[Track]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        config, (mixture, name) = self.config, self.mixtures[number]
        has_labels = config.activity is not None
        return Track.of(
            mixture, self.out, self.names, name=name, output=config.output, report=config.report, labels=has_labels
        )


def results_if_all_kept(
    mixtures: MixtureList, checksums: Mapping[str, str], out: Path, config: BatchConfig
) -> Iterator[TrackResult] | None:
    """Return the results of a batch that keeps all its tracks, with dictionaries of these checksums, by source.

    None if there is anything else to do or to say: of clashes, or that kept tracks are not scored.
    """
    tracks = Tracks(mixtures, out, config.separation.stem_names(list(checksums)), config)
    if not config.skip_existing or config.references is not None or collisions(tracks):
        return None
    order = order_of(asked_for(checksums, config.stem_settings))
    if not all(_record_of(track, order) for track in tracks):  # before any mixture is read for its checksum
        return None
    if not all(is_kept(track, order) for track in tracks):
        return None
    return (result_of_kept(track, order) for track in tracks)


def is_kept(track: Track, order: str) -> bool:
    """Return whether all files of a track exist, made from this very mixture to the same order."""
    return kept_result(track, order) is not None


def kept_result(track: Track, order: str) -> TrackResult | None:
    """Return the result of an earlier run, if all files exist, made from this very mixture to the same order."""
    record = _record_of(track, order)
    try:
        is_of_mixture = record is not None and record.mixture_sha256() == sha256_of(track.mixture)
        return _result(track, record) if record is not None and is_of_mixture else None
    except (OSError, ConfigError):  # it cannot be read, or is damaged or of another version
        return None


def result_of_kept(track: Track, order: str) -> TrackResult:
    """Return the result of a track that is kept; its mixture is not read again."""
    try:
        if record := _record_of(track, order):
            return _result(track, record)
    except ConfigError:
        pass
    return TrackResult(track.mixture, f"{track.manifest}: was changed meanwhile; separate it again")


def _result(track: Track, record: Record) -> TrackResult:
    """Return the result that a manifest tells of."""
    outcome = record.outcome()
    result = TrackResult(
        track.mixture,
        kept=True,
        stems=track.stems,
        manifest=track.manifest,
        report=track.report,
        labels=track.labels,
        seconds=0.0,
    )
    return replace(result, **vars(outcome))


def _record_of(track: Track, order: str) -> Record | None:
    """Read the manifest of a track of which all files exist, made to an order; the mixture may be another since."""
    record = read_record(track.manifest)
    try:
        is_of_order = record is not None and record.order() == order
    except ConfigError:  # damaged or of another version
        return None
    return record if is_of_order and all(path.is_file() for path in track.outputs) else None


def differences(track: Track, asked: Mapping[str, Any]) -> list[str]:
    """Return the names of what an earlier run of a track was asked for otherwise; empty if there was none."""
    record = read_record(track.manifest)
    before = None if record is None else record.asked()
    if record is None or before is None:
        return ["another version of sepdict"] if track.manifest.is_file() and not track.is_unfinished else []
    now, then = _flat(asked), _flat(before)
    changed = [_change(name, then.get(name), now.get(name)) for name in sorted(now.keys() | then.keys())]
    named = [change for change in changed if change is not None]
    if not _is_of_same_mixture(track):
        named.append("the mixture has changed")
    if not named and not all(path.is_file() for path in track.outputs):
        named.append("files are missing")
    return named


def _change(name: str, then: Any, now: Any) -> str | None:
    """Describe a value that changed; None if it did not."""
    if then == now:
        return None
    what, _, which = name.partition(" ")
    return f"dictionary {which}" if what == "dictionaries" else f"{name.removeprefix('settings ')} {then}, now {now}"


def _is_of_same_mixture(track: Track) -> bool:
    """Return whether a track's manifest is of the mixture as it is now."""
    record = read_record(track.manifest)
    try:
        return record is not None and record.mixture_sha256() == sha256_of(track.mixture)
    except ConfigError:
        return False


def _flat(facts: Mapping[str, Any], *above: str) -> dict[str, Any]:
    """Return nested values by all the names that lead to them, joined by spaces."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, *above, name) if isinstance(value, Mapping) else {" ".join((*above, name)): value}
    return flat
