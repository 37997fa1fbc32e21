"""Long mixtures in segments that overlap, and the fades that put what was made of them together again."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sepdict.audio.signal import Audio
from sepdict.errors import ConfigError

SEGMENT_S = 60.0  # as long as memory allows on a laptop: every segment is adapted to anew
OVERLAP_S = 1.0  # of neighboring segments, several times the longest window
SHORTEST_SEGMENT_S = 3 * OVERLAP_S  # of equal ones no three then sound at once


class Mixture(Protocol):
    """What can be separated: an `Audio`, or an open file."""

    @property
    def n_channels(self) -> int:
        """How many channels there are."""

    @property
    def n_samples(self) -> int:
        """How many samples each channel has."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""

    def blocks(self, spans: Iterable[slice]) -> Iterator[Audio]:
        """Give spans of samples, in their order."""


def refuse_short(segment_s: float) -> None:
    """Refuse segments in which fades would meet, before anything is done."""
    if not segment_s >= SHORTEST_SEGMENT_S:
        raise ConfigError(f"segments are of {segment_s} s; expected {SHORTEST_SEGMENT_S:g} s or more")


def spans_of(mixture: Mixture, segment_s: float) -> list[slice]:
    """Cut a mixture into segments of equal length, as few as can be, that overlap by `OVERLAP_S`."""
    overlap = round(OVERLAP_S * mixture.sample_rate)
    n_new = mixture.n_samples - overlap
    n_spans = max(1, math.ceil(n_new / (segment_s * mixture.sample_rate - overlap)))
    edges = [n_new * index // n_spans for index in range(n_spans)]
    return [slice(start, end + overlap) for start, end in itertools.pairwise([*edges, n_new])]


def fade(spans: Sequence[slice], index: int) -> Tensor:
    """Weigh a segment's samples: it fades in while the one before it fades out, and together they are whole."""
    span = spans[index]
    weights = torch.ones(span.stop - span.start)
    if index > 0:
        n_overlap = spans[index - 1].stop - span.start
        weights[:n_overlap] = torch.arange(1, n_overlap + 1) / (n_overlap + 1)
    if index + 1 < len(spans):
        n_overlap = span.stop - spans[index + 1].start
        weights[-n_overlap:] = 1 - torch.arange(1, n_overlap + 1) / (n_overlap + 1)
    return weights
