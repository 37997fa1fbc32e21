"""Guides: whatever is known of who sounds where in *this* mixture, as masks with weights.

Each guide gives masks ``g`` of the stems and a weight ``w`` for every bin and frame. They are pooled with the estimated
masks ``m`` as a weighted geometric mean, so that all kinds of help act in one way:

    m_s'  =  exp( (log m_s + sum_g w_g log g_s) / (1 + sum_g w_g) )  /  the sum of this over all stems

A weight of 0 leaves the estimate, 1 counts as much as the estimate does, and `CERTAIN` overrules it.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from sepdict._core.settings import refuse_other_type, refuse_other_types
from sepdict.audio.labels import Label
from sepdict.audio.overlap_add import Mixture
from sepdict.audio.parts import BEYOND_S
from sepdict.audio.signal import Audio, resample
from sepdict.errors import ConfigError
from sepdict.spectral.masks import MASK_FLOOR, ratio_masks
from sepdict.spectral.stft import StftConfig, magnitude, stft

log = logging.getLogger(__name__)

CERTAIN = 1e4  # the weight of what a person has marked: the estimate counts nothing beside it
EDGE_WINDOWS = 0.25  # of a window: frames so near to a mark's edge hold what sounds outside it, too
LARGEST_LAG_S = 0.5  # of another tool's stem that is looked for and named
SMALLEST_LAG_S = 0.004  # a quarter of a short window's hop: from here on a stem's masks come late
LEAST_MATCH = 0.3  # correlation of a stem with its mixture: with less there is no lag to tell from chance
LEAST_ENERGY = 1e-4  # of a stem, relative to the mixture's (-40 dB): with less it holds nothing

GuideMasks: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function of the estimated masks of a segment, which returns a guide's masks and their weights.

The estimate stands for what the guide does not know. It has the shape (n_stems, n_channels, n_bins, n_frames), as the
masks have; the weights have (1, n_bins, n_frames).
"""


@dataclass(frozen=True)
class Grid:
    """The bins and frames of a segment, and the stems that share them.

    Attributes
    ----------
    stems : tuple of str
        The names of the stems, in the order of the masks.
    sample_rate : int
        In Hz, that of the dictionaries.
    stft : StftConfig
    start_s : float
        When the segment begins in the mixture, in seconds.
    n_samples : int
        Of the segment, at ``sample_rate``.
    exponent : int
        The segment's samples were divided by two to this power.
    """

    stems: tuple[str, ...]
    sample_rate: int
    stft: StftConfig
    start_s: float
    n_samples: int
    exponent: int = 0

    def frames_within(self, start_s: float, end_s: float) -> slice:
        """Return the frames that hold, but for what leaks in from outside, only what sounds from start to end."""
        edge = EDGE_WINDOWS * self.stft.n_fft
        first, last = ((at_s - self.start_s) * self.sample_rate for at_s in (start_s, end_s))
        return slice(*(max(0, math.ceil(at / self.stft.hop_length)) for at in (first + edge, last - edge)))

    def bins_within(self, low_hz: float | None, high_hz: float | None) -> slice:
        """Return the bins whose frequencies lie from low to high; None stands for no limit."""
        bin_hz = self.sample_rate / self.stft.n_fft
        first = 0 if low_hz is None else math.ceil(low_hz / bin_hz)
        return slice(first, self.stft.n_bins if high_hz is None else math.floor(high_hz / bin_hz) + 1)


@dataclass(frozen=True)
class LabelGuide:
    """Labels of a mixture: within the times, and the frequencies if it has any, of a label only its stem sounds.

    Parameters
    ----------
    labels : tuple of Label
        Named after the stems.

    Raises
    ------
    ConfigError
        If there is no label.
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        refuse_other_types(self)

    def refuse_unfit(self, mixture: Mixture, stems: Sequence[str]) -> None:
        """Refuse labels of other stems, and labels that are not within the mixture."""
        self.refuse_other(mixture.n_samples / mixture.sample_rate, stems)

    def refuse_other(self, duration_s: float, stems: Sequence[str], *, what: str = "label") -> None:
        """Refuse labels, or `what` they are, of another mixture, given how long it lasts, or of other stems."""
        for label in self.labels:
            if label.name not in stems:
                raise ConfigError(
                    f"a {what} at {label.start_s:g} s is of {label.name!r}; "
                    f"expected one of the stems {', '.join(stems)}"
                )
            if label.start_s >= duration_s or label.end_s > duration_s + BEYOND_S:
                raise ConfigError(
                    f"{what} {label.name!r} goes from {label.start_s:g} to {label.end_s:g} s, but the mixture lasts "
                    f"{duration_s:.1f} s; expected {what}s of this mixture"
                )

    def of_segment(self, spectrum: Tensor, grid: Grid) -> GuideMasks:
        """Prepare masks whose weights are `CERTAIN` where there is a label: one for its stem and zero for the others.

        Parameters
        ----------
        spectrum : Tensor, complex, shape (n_channels, n_bins, n_frames)
            The mixture's.
        grid : Grid

        Returns
        -------
        GuideMasks
        """

        def masks_of(estimate: Tensor) -> tuple[Tensor, Tensor]:
            masks, weights = estimate.clone(), torch.zeros_like(estimate[0, :1])
            for label in self.labels:
                where = grid.bins_within(label.low_hz, label.high_hz), grid.frames_within(label.start_s, label.end_s)
                masks[:, :, *where] = 0
                masks[grid.stems.index(label.name), :, *where] = 1
                weights[:, *where] = CERTAIN
            return masks, weights

        return masks_of


@dataclass(frozen=True, eq=False)
class StemGuide:
    """What another tool takes for one of the stems.

    Its mask is the stem's share by amplitude, ``|S| / (|S| + |X - S|)``; the others share the rest as estimated.

    Parameters
    ----------
    stem : str
        The name of the stem.
    audio : Audio
        As long as the mixture and aligned with it, on as many channels or one.
    weight : float
        Relative to sepdict's own estimate.

    Raises
    ------
    ConfigError
        If the weight is negative or not finite.
    """

    stem: str
    audio: Audio
    weight: float = 0.5  # in rain, with dogs and under a chainsaw a denoiser's stem then gained beside either alone

    def __post_init__(self) -> None:
        refuse_other_type("stem", self.stem, str)
        refuse_other_type("audio", self.audio, Audio)
        if not 0 <= self.weight < math.inf:
            raise ConfigError(f"the weight of the guide of {self.stem!r} is {self.weight}; expected 0 or more")

    def refuse_unfit(self, mixture: Mixture, stems: Sequence[str]) -> None:
        """Refuse audio of another stem, length or number of channels."""
        duration_s, name = mixture.n_samples / mixture.sample_rate, self.audio.name
        if self.stem not in stems:
            raise ConfigError(f"{name}: guides {self.stem!r}; expected one of the stems {', '.join(stems)}")
        if abs(self.audio.duration_s - duration_s) > SMALLEST_LAG_S:
            raise ConfigError(
                f"{name}: lasts {self.audio.duration_s:.3f} s, its mixture {duration_s:.3f} s; expected a stem as long "
                "as the mixture"
            )
        if self.audio.n_channels not in (1, mixture.n_channels):
            channels = f"{self.audio.n_channels} channels, its mixture {mixture.n_channels}"
            raise ConfigError(f"{name}: has {channels}; expected as many or one")

    def of_segment(self, spectrum: Tensor, grid: Grid) -> GuideMasks:
        """Prepare masks as `LabelGuide.of_segment` does; all that does not depend on the estimate is computed here.

        The weight is 0 where the stem holds nothing in the segment or looks like another one.
        """
        return _StemInSegment(self, self._spectrum(grid).to(spectrum.device), spectrum, grid)

    def _spectrum(self, grid: Grid) -> Tensor:
        """Compute the stem's spectrum in a segment, (n_channels, n_bins, n_frames)."""
        first = round(grid.start_s * self.audio.sample_rate)
        n_samples = math.ceil(grid.n_samples * self.audio.sample_rate / grid.sample_rate)
        (part,) = self.audio.blocks([slice(first, first + n_samples)])
        samples = resample(part, grid.sample_rate).samples[:, : grid.n_samples]
        samples = torch.nn.functional.pad(samples, (0, grid.n_samples - samples.shape[1]))
        return stft(samples * 2.0**-grid.exponent, grid.stft)


class _StemInSegment:
    """Gives the masks of another tool's stem in one segment, in which it warns once that the stem does not guide."""

    def __init__(self, guide: StemGuide, own: Tensor, spectrum: Tensor, grid: Grid) -> None:
        self.guide, self.index = guide, grid.stems.index(guide.stem)
        self.own, self.observed = magnitude(own), magnitude(spectrum)
        self.share, _ = ratio_masks(magnitude(torch.stack([own.expand_as(spectrum), spectrum - own])))
        self.has_warned = False

    def __call__(self, estimate: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and their weights."""
        others = estimate.index_fill(0, torch.tensor(self.index, device=estimate.device), 0)
        masks = ratio_masks(others) * (1 - self.share)
        masks[self.index] = self.share
        weight = self.guide.weight
        if not self._is_like(estimate):
            self._warn_once()
            weight = 0.0
        return masks, torch.full_like(self.share[:1], weight)

    def _is_like(self, estimate: Tensor) -> bool:
        """Return whether, by the estimate, the stem holds something, and no other stem is more like it.

        A wrong stem (silence, another source) is so known by the segment itself, whatever the reason.
        """
        own, observed = self.own, self.observed
        energy = observed.square().sum()
        if not own.square().sum() * len(observed) > LEAST_ENERGY * len(own) * energy:
            return False
        stems = (estimate * observed).flatten(1)  # (n_stems, n_values)
        matches = stems @ own.expand_as(observed).flatten() / stems.square().sum(dim=1).clamp(min=1e-30).sqrt()
        return bool(matches[self.index] >= matches.amax())

    def _warn_once(self) -> None:
        """Log that the stem has no weight, the first time."""
        if not self.has_warned:
            name, stem = self.guide.audio.name, self.guide.stem
            log.warning("%s: does not guide %r where it is nearly silent or more like another stem", name, stem)
        self.has_warned = True


Guide: TypeAlias = LabelGuide | StemGuide


def pool(estimate: Tensor, guides: Sequence[GuideMasks]) -> Tensor:
    """Pool estimated masks with those of guides, weighted by how much is known.

    Parameters
    ----------
    estimate : Tensor, shape (n_stems, n_channels, n_bins, n_frames)
    guides : sequence of GuideMasks
        Those of the segment.

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_bins, n_frames)
        From 0 to 1, summing to one over the stems; the estimate itself where no guide has a weight.
    """
    if not guides:
        return estimate
    logs, total = (estimate + MASK_FLOOR).log(), torch.ones_like(estimate[0])
    for guide in guides:
        masks, weights = guide(estimate)
        logs, total = logs + weights * (masks + MASK_FLOOR).log(), total + weights
    return torch.where(total > 1, (logs / total).softmax(dim=0), estimate)


def refuse_lag(guide: StemGuide, mixture: Audio) -> None:
    """Refuse another tool's stem that comes earlier or later than its mixture, and name the lag.

    The lag is where the cross-correlation of the two is largest; where it is small everywhere there is none to name.

    Raises
    ------
    ConfigError
    """
    rate = min(mixture.sample_rate, guide.audio.sample_rate)
    one, other = (resample(audio, rate).samples.mean(dim=0).double() for audio in (guide.audio, mixture))
    n_fft = 2 * max(len(one), len(other))
    products = torch.fft.rfft(one, n_fft) * torch.fft.rfft(other, n_fft).conj()
    correlation = torch.fft.irfft(products, n_fft) / (one.norm() * other.norm()).clamp(min=1e-30)
    n_lags = round(LARGEST_LAG_S * rate)
    around = correlation.roll(n_lags)[: 2 * n_lags + 1].abs()
    lag_s = (int(around.argmax()) - n_lags) / rate
    if around.amax() > LEAST_MATCH and abs(lag_s) > SMALLEST_LAG_S:
        when = "late" if lag_s > 0 else "early"
        raise ConfigError(
            f"{guide.audio.name}: comes {1000 * abs(lag_s):.0f} ms too {when} for its mixture; shift it by that and "
            "try again"
        )
