"""What a separation returns: the stems, and how well they were found."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sepdict.audio.signal import Audio
from sepdict.separation.diagnostics import Timeline

SILENCE_DB = -300.0  # stands for the level of a ratio of nothing to something: JSON has no infinity


@dataclass(frozen=True)
class FitSummary:
    """How the fits of all segments ended.

    Attributes
    ----------
    converged : bool
        Whether all fits did.
    message : str
        One sentence on how they ended: that of a segment that did not converge, or else of the longest fit.
    loss_curve : tuple of float
        The cost at the start and after each iteration, a mean over the segments.
    silent : bool
        Whether all segments were silent; silent segments among others do not count.
    """

    converged: bool
    message: str
    loss_curve: tuple[float, ...]
    silent: bool = False

    @classmethod
    def of(cls, fits: Sequence["FitSummary"]) -> "FitSummary":
        """Summarize fits of equal weight; a shorter fit stays at its last cost."""
        fits = [fit for fit in fits if not fit.silent] or fits[:1]
        longest = max(len(fit.loss_curve) for fit in fits)
        curves = [(*fit.loss_curve, *fit.loss_curve[-1:] * (longest - len(fit.loss_curve))) for fit in fits]
        shown = max(fits, key=lambda fit: (not fit.converged, len(fit.loss_curve)))
        mean_curve = tuple(sum(costs) / len(fits) for costs in zip(*curves, strict=True))
        return cls(all(fit.converged for fit in fits), shown.message, mean_curve, all(fit.silent for fit in fits))


@dataclass(frozen=True)
class Outcome:
    """Measurements of a separation.

    Attributes
    ----------
    fit : FitSummary
    explained_energy : float
        Share of the mixture's spectral energy that the dictionaries account for, 0 to 1; nan for silence.
    null_test_db : float
        Largest difference between the mixture and the sum of the stems, relative to the mixture's peak; about -130.
    n_segments : int
        Number of segments in which the mixture was separated.
    timeline : Timeline
        Its course over time.
    """

    fit: FitSummary
    explained_energy: float
    null_test_db: float
    n_segments: int
    timeline: Timeline


@dataclass(frozen=True, eq=False, repr=False)
class Separation(Outcome):
    """The stems of a mixture, and measurements of the separation.

    Attributes
    ----------
    stems : mapping of str to Audio
        One per dictionary, in their order, then ``"residual"`` if there is one; each has the mixture's length,
        rate and channels.
    """

    stems: Mapping[str, Audio]

    def __repr__(self) -> str:
        return f"Separation({', '.join(self.stems)}; explained_energy={self.explained_energy:.3f}; {self.fit.message})"


def null_test_db(misses: Sequence[tuple[float, float]]) -> float:
    """Compute the level of the largest difference between stems' sum and mixture, relative to the mixture's peak.

    Parameters
    ----------
    misses : sequence of (float, float)
        Of each block, the largest difference and the mixture's peak.

    Returns
    -------
    float
        In dB; nan if a value is not finite.
    """
    if not all(map(math.isfinite, itertools.chain(*misses))):
        return math.nan
    miss, peak = map(max, zip(*misses, strict=True))
    return max(SILENCE_DB, 20 * math.log10(miss / peak)) if miss > 0 and peak > 0 else SILENCE_DB
