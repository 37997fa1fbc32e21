"""Overlapping segments of long mixtures, and the cross-fades that join their stems."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sepdict.audio.signal import Audio

OVERLAP_S = 1.0  # of neighboring segments, several times the longest window


class Mixture(Protocol):
    """Sound that can be separated: an `Audio`, or an open file."""

    @property
    def n_channels(self) -> int:
        """Number of channels."""

    @property
    def n_samples(self) -> int:
        """Number of samples of each channel."""

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""

    def blocks(self, spans: Iterable[slice]) -> Iterator[Audio]:
        """Read spans of samples, in their order."""


def spans_of(mixture: Mixture, segment_s: float) -> list[slice]:
    """Cut a mixture into as few segments of equal length as possible, which overlap by `OVERLAP_S`."""
    overlap = round(OVERLAP_S * mixture.sample_rate)
    n_new = mixture.n_samples - overlap
    n_spans = max(1, math.ceil(n_new / (segment_s * mixture.sample_rate - overlap)))
    edges = [n_new * index // n_spans for index in range(n_spans)]
    return [slice(start, end + overlap) for start, end in itertools.pairwise([*edges, n_new])]


def fade(spans: Sequence[slice], index: int) -> Tensor:
    """Return the weights of a segment's samples; the weights of overlapping segments sum to one."""
    span = spans[index]
    weights = torch.ones(span.stop - span.start)
    if index > 0:
        n_overlap = spans[index - 1].stop - span.start
        weights[:n_overlap] = torch.arange(1, n_overlap + 1) / (n_overlap + 1)
    if index + 1 < len(spans):
        n_overlap = span.stop - spans[index + 1].start
        weights[-n_overlap:] = 1 - torch.arange(1, n_overlap + 1) / (n_overlap + 1)
    return weights
