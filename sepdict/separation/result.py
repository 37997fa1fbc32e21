"""The result of a separation: the stems, and measures of how well they were found."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sepdict._core.fs import refuse_existing, writable_folder
from sepdict._core.notebook import ShownInNotebooks
from sepdict._core.schema import SILENCE_DB
from sepdict._core.settings import checks_types
from sepdict.audio.formats import WRITTEN_FORMATS
from sepdict.audio.signal import Audio
from sepdict.audio.writing import writing_audio
from sepdict.errors import ConfigError
from sepdict.separation.diagnostics import Timeline


@dataclass(frozen=True)
class FitSummary:
    """A summary of the fits of all segments.

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

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if math.isnan(self.explained_energy):
            return "silent, there was nothing to separate"
        return f"{self.explained_energy:.1%} of the energy explained; {self.fit.message}"


@dataclass(frozen=True, eq=False, repr=False)
class Separation(Outcome, Mapping[str, Audio], ShownInNotebooks):
    """The stems of a mixture by name, and measurements of the separation.

    It is a mapping: ``separation["violin"]`` is a stem, ``list(separation)`` are their names, ``separation.items()``
    goes through both.

    Attributes
    ----------
    stems : mapping of str to Audio
        One per dictionary, in their order, then ``"residual"`` if there is one; each has the mixture's length,
        rate and channels.
    """

    stems: Mapping[str, Audio]

    def __repr__(self) -> str:
        return f"Separation({', '.join(self.stems)}; {self.summary})"

    def __getitem__(self, name: str) -> Audio:
        try:
            return self.stems[name]
        except KeyError:
            raise KeyError(f"there is no stem {name!r}; expected one of {', '.join(map(repr, self.stems))}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.stems)

    def __len__(self) -> int:
        return len(self.stems)

    @checks_types
    def save(self, folder: str | Path, *, format: str = "wav", overwrite: bool = False) -> dict[str, Path]:
        """Write each stem to a file, ``folder/violin.wav``.

        Parameters
        ----------
        folder : str or Path
            Made if it does not exist, with its parents.
        format : str
            An extension of `write_audio`: ``"wav"`` keeps every sample, 24-bit ``"flac"`` rounds.
        overwrite : bool
            Whether to replace files that exist.

        Returns
        -------
        dict of str to Path
            The files by the names of their stems. All of them are complete; none appears before all are written.

        Raises
        ------
        ConfigError
            If the format is unknown, a file exists already, or the folder cannot be written to.
        AudioFileError
            If a stem would clip in this format, or a file cannot be written.
        """
        if f".{format}" not in WRITTEN_FORMATS:
            expected = ", ".join(extension[1:] for extension in WRITTEN_FORMATS)
            raise ConfigError(f"format is {format!r}; expected one of {expected}")
        paths = {name: Path(folder).absolute() / f"{name}.{format}" for name in self}
        for path in () if overwrite else paths.values():
            refuse_existing(path, other="folder")
        with writable_folder(Path(folder)), contextlib.ExitStack() as open_files:
            writers = [open_files.enter_context(_writing(paths[name], stem)) for name, stem in self.items()]
            for write, stem in zip(writers, self.values(), strict=True):
                write(stem.samples)
        return paths


def _writing(path: Path, stem: Audio) -> contextlib.AbstractContextManager[Callable[[Tensor], None]]:
    """Open a stem's file."""
    return writing_audio(path, n_channels=stem.n_channels, n_samples=stem.n_samples, sample_rate=stem.sample_rate)


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
