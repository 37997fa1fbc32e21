"""The plan of a batch: which tracks are separated, which clash, which are kept; what cannot be written is refused.

Of a million mixtures it keeps their paths and numbers. Tracks, results of kept ones and tasks are made when they are
asked for.
"""

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from sepdict.batch.collisions import collisions
from sepdict.batch.layout import Track, find_references, refuse_existing
from sepdict.batch.result import TrackResult
from sepdict.batch.resume import Tracks, asked_for, differences, is_kept, order_of, result_of_kept
from sepdict.dictionaries.dictionary import Dictionary

log = logging.getLogger(__name__)

Pair = tuple[Track, Mapping[str, Path]]  # a track and its references


@dataclass(frozen=True)
class Pairs(Sequence[Pair]):
    """The tracks that are to be separated, with their references.

    Attributes
    ----------
    tracks : Tracks
    numbers : sequence of int
        Of the tracks.
    found : mapping of int to str
        The checksums of manifests that were there, by the number of the track.
    references : mapping of int to references
        Where there are any.
    absolute : bool
        Whether paths are such as other machines understand, which work in another folder.
    """

    tracks: Tracks
    numbers: Sequence[int]
    found: Mapping[int, str]
    references: Mapping[int, Mapping[str, Path]]
    absolute: bool = False

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, position: int) -> Pair: ...

    @overload
    def __getitem__(self, position: slice) -> list[Pair]: ...

    def __getitem__(self, position: int | slice) -> Pair | list[Pair]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        number = self.numbers[position]
        track = replace(self.tracks[number], found=self.found.get(number))
        references = self.references.get(number, {})
        if not self.absolute:
            return track, references
        whole = {name: path.absolute() for name, path in references.items()}
        return replace(track, mixture=track.mixture.absolute()), whole


@dataclass(frozen=True)
class BatchPlan:
    """What is to be separated, and what is known before.

    Attributes
    ----------
    tracks : Tracks
        All of them.
    pairs : Pairs
    clashing : mapping of int to str
        Why tracks cannot be written, by their numbers.
    kept : sequence of int
        The numbers of tracks that are there already.
    asked : mapping
        What the stems depend on beside the mixtures.
    """

    tracks: Tracks
    pairs: Pairs
    clashing: Mapping[int, str]
    kept: Sequence[int]
    asked: Mapping[str, Any]

    def known(self) -> Iterator[tuple[int, TrackResult]]:
        """Return the numbers and results of tracks that are not separated."""
        for number, why in self.clashing.items():
            yield number, TrackResult(self.tracks.mixtures[number][0], why)
        order = order_of(self.asked)
        for number in self.kept:
            yield number, result_of_kept(self.tracks[number], order)


def plan_batch(tracks: Tracks, dictionaries: Sequence[Dictionary]) -> BatchPlan:
    """Find out which tracks are to be separated, and which clash or are kept; refuse what cannot be written."""
    config, clashing = tracks.config, _clashing(tracks)
    asked = asked_for({each.source: each.sha256 for each in dictionaries}, config.stem_settings)
    numbers, kept = array("q"), array("q")
    order = order_of(asked) if config.skip_existing else None
    for number, track in enumerate(tracks):
        if number not in clashing:
            (kept if order is not None and is_kept(track, order) else numbers).append(number)
    if config.skip_existing:
        _note_differences((tracks[number] for number in numbers), asked, n_kept=len(kept))
    names, alone = config.output.named(tracks.names), len(numbers) == 1
    references, found = dict[int, Mapping[str, Path]](), dict[int, str]()
    for number in numbers:
        track = tracks[number]
        if config.references is not None:
            references[number] = find_references(track, config.references, names, alone=alone)
        if (checksum := track.planned().found) is not None:
            found[number] = checksum
    pairs = Pairs(tracks, numbers, found, references)
    refuse_existing(pairs, overwrite=config.overwrite, resumes=config.skip_existing)
    if kept and config.references is not None:
        log.warning("stems that are kept are not scored; sepdict evaluate does that")
    return BatchPlan(tracks, pairs, clashing, kept, asked)


def _clashing(tracks: Tracks) -> dict[int, str]:
    """Find tracks whose files would meet, by their numbers, in the order in which they are told."""
    clashes = collisions(tracks)
    if not clashes:
        return {}
    numbers: dict[Path, list[int]] = {mixture: [] for mixture in clashes}  # several, where one is given twice
    for number, (mixture, _) in enumerate(tracks.mixtures):
        if mixture in numbers:
            numbers[mixture].append(number)
    return {number: clashes[mixture] for mixture in clashes for number in numbers[mixture]}


def _note_differences(tracks: Iterator[Track], asked: Mapping[str, Any], *, n_kept: int) -> None:
    """Log in one line why tracks that exist are not kept."""
    n_other, changes = 0, dict[str, None]()
    for track in tracks:
        named = differences(track, asked)
        n_other += bool(named)
        changes |= dict.fromkeys(named)
    if n_other:
        log.warning("%d tracks are kept, %d were made otherwise: %s", n_kept, n_other, "; ".join(changes))
