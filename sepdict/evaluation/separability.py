"""Measures of how well sources can be told apart, before anything is separated.

Two measures need nothing but the dictionaries, which hold exemplars of their sources:

    explained_ij = 1 - d( V_j | g D_i(z) ) / d( V_j | flat )      how well dictionary i explains the sound of source j
    forecast     = SI-SDR improvement of a separation of random sums of the exemplars

The first is the share of the deviance that a model explains, as statistics has it [1]_.

References
----------
.. [1] Hastie, Tibshirani and Wainwright, "Statistical Learning with Sparsity", CRC Press, 2015, eq. 3.11.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.settings import checks_types
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit, refuse_without_exemplars
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES, decode_exemplars
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import ConfigError
from sepdict.evaluation.metrics import si_sdr_improvement
from sepdict.progress import OnProgress, Progress, closes_progress, ignore_progress
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.excitations import fit_excitations
from sepdict.separation.mask_estimator import train_mask_estimator
from sepdict.spectral.bands import to_bins
from sepdict.spectral.divergences import kullback_leibler
from sepdict.spectral.masks import combine_masks, ratio_masks

N_PIECES = 32  # spread evenly over the exemplars, so that no part of them is missed
N_PIECE_FRAMES = 16  # a quarter of a second, about a syllable or note; all 512 frames are fitted in a second or less
N_STEPS = 100  # of a mask estimator that only shows what can be told apart: 3 to 4 s for two sources

VERDICTS = (  # least improvement in dB, and its meaning
    (8.0, "easily told apart"),
    (4.0, "told apart, but not cleanly"),
    (1.0, "barely told apart"),
    (-math.inf, "cannot be told apart"),
)


@dataclass(frozen=True)
class Forecast:
    """The expected result of a separation.

    Attributes
    ----------
    sources : tuple of str
        The sources that sound at once.
    si_sdr_improvement_db : float
        Over the mixture, mean over the sources.
    """

    sources: tuple[str, ...]
    si_sdr_improvement_db: float

    @property
    def verdict(self) -> str:
        """The meaning of the improvement in words, one of `VERDICTS`."""
        return next(words for least_db, words in VERDICTS if self.si_sdr_improvement_db >= least_db)

    @property
    def sentence(self) -> str:
        """The forecast in plain words.

        Examples
        --------
        >>> Forecast(("violin", "piano"), 9.2).sentence
        'violin and piano: easily told apart; expect about 9 dB'
        """
        names = f"{', '.join(self.sources[:-1])} and {self.sources[-1]}"
        return f"{names}: {self.verdict}; expect about {round(self.si_sdr_improvement_db)} dB"


@dataclass(frozen=True)
class Comparison:
    """How well dictionaries explain each other's sources.

    Attributes
    ----------
    sources : tuple of str
        In the order of the dictionaries.
    explained : tuple of tuple of float, a row per dictionary, a column per source
        Share of a source's sound that a dictionary explains: 1 is all of it, 0 is as much as a flat spectrum explains,
        and less than 0 is worse. A good value is far below that of the source's own dictionary.
    held_out : tuple of bool
        Whether a source's column was measured on sound that no dictionary here was trained on. Otherwise it was
        measured on all exemplars of the dictionary, and is too high.
    forecasts : tuple of Forecast
        One for each pair of sources and, where there are more than two, one for all of them together.
    """

    sources: tuple[str, ...]
    explained: tuple[tuple[float, ...], ...]
    held_out: tuple[bool, ...]
    forecasts: tuple[Forecast, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON has, the verdicts and sentences included."""
        forecasts = [asdict(each) | {"verdict": each.verdict, "sentence": each.sentence} for each in self.forecasts]
        return asdict(self) | {"forecasts": forecasts}


@checks_types
@closes_progress
def compare(
    dictionaries: Sequence[DictionaryLike], *, seed: int = 0, on_progress: OnProgress = ignore_progress
) -> Comparison:
    """Measure from their dictionaries' exemplars whether sources can be told apart.

    Every dictionary explains the sound of every source by itself. Then, for each pair of sources and for all of them
    together, sums of pieces of their exemplars are separated as :func:`sepdict.separate` does it, but with a briefly
    trained mask estimator that is not adapted (:func:`forecast`). It takes some five seconds for each pair.

    Parameters
    ----------
    dictionaries : sequence of Dictionary, path or installed name
        At least two, with the same sample rate and STFT.
    seed : int
        Same seed, same machine, same comparison.
    on_progress : callable
        Called after every forecast; raising from it cancels.

    Returns
    -------
    Comparison
        Its numbers do not depend on the order of the dictionaries, only their order does.

    Raises
    ------
    ConfigError
        If there is only one dictionary, one has no exemplars, or they do not go together.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> from sepdict.spectral.stft import StftConfig
    >>> hiss, hum = torch.randn(1, 16000), torch.randn(1, 16000).cumsum(1) / 100
    >>> quick = TrainingConfig(n_steps=20, stft=StftConfig(n_fft=64, hop_length=32))
    >>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
    >>> comparison = compare(dictionaries)
    >>> comparison.forecasts[0].si_sdr_improvement_db > 5
    True
    """
    dictionaries = as_dictionaries(dictionaries)
    refuse_incomparable(dictionaries)
    unlearned = [_held_out(dictionary) for dictionary in dictionaries]
    columns = [_excerpt(dictionary, n_frames) for dictionary, n_frames in zip(dictionaries, unlearned, strict=True)]
    explained = tuple(tuple(_explained(d, column) for column in columns) for d in dictionaries)
    groups: list[Sequence[Dictionary]] = list(itertools.combinations(dictionaries, 2))
    groups += [dictionaries] if len(dictionaries) > 2 else []
    forecasts = []
    for number, group in enumerate(groups, 1):
        forecasts.append(forecast(group, seed=seed))
        on_progress(Progress("compare", number, len(groups), math.nan))
    pairs = zip(dictionaries, unlearned, strict=True)
    held_out = tuple(n_frames > 0 and not _heard_elsewhere(d, dictionaries) for d, n_frames in pairs)
    return Comparison(tuple(d.source for d in dictionaries), explained, held_out, tuple(forecasts))


def forecast(dictionaries: Sequence[Dictionary], *, seed: int = 0) -> Forecast:
    """Separate the sum of pieces of all sources' exemplars, and measure the improvement.

    Parameters and exceptions are those of :func:`compare`.
    """
    refuse_incomparable(dictionaries)
    in_order = sorted(dictionaries, key=lambda dictionary: dictionary.source)
    generator = seeded_generator(seed)
    references = torch.stack([_shuffled(_excerpt(dictionary), generator) for dictionary in in_order])
    mixture = references.sum(dim=0)  # (n_bins, n_frames)
    mask_estimator = train_mask_estimator(in_order, MaskEstimatorConfig(n_steps=N_STEPS, seed=seed), device="cpu")
    guide = mask_estimator.masks(mixture.abs()[None], [dictionary.source for dictionary in in_order])
    fit = fit_excitations(mixture.abs()[None], in_order, guide_masks=guide)
    masks = combine_masks(ratio_masks(fit.magnitudes), guide)[:, 0]  # (n_sources, n_bins, n_frames)
    gained_db = si_sdr_improvement(_parts(masks * mixture), _parts(references), _parts(mixture))
    return Forecast(tuple(dictionary.source for dictionary in dictionaries), float(gained_db.mean()))


def refuse_incomparable(dictionaries: Sequence[Dictionary]) -> None:
    """Refuse fewer than two dictionaries, those that do not go together, and those without exemplars."""
    refuse_unfit(dictionaries)
    if len(dictionaries) < 2:
        raise ConfigError(f"there is only a dictionary of {dictionaries[0].source!r}; expected two at least")
    refuse_without_exemplars(dictionaries)


def _held_out(dictionary: Dictionary) -> int:
    """Count the frames at the end of the exemplars that were held out of training; 0 if the card does not say."""
    n_frames = int(dictionary.card.training.get(HELD_OUT_FRAMES, 0))
    return n_frames if n_frames <= dictionary.exemplars.shape[1] else 0


def _heard_elsewhere(dictionary: Dictionary, dictionaries: Sequence[Dictionary]) -> bool:
    """Return whether another dictionary was trained on one of the same recordings."""
    mine, *others = (
        {recording["sha256"] for recording in each.card.heard}
        for each in (dictionary, *(other for other in dictionaries if other is not dictionary))
    )
    return any(mine & theirs for theirs in others)


def _excerpt(dictionary: Dictionary, n_last_frames: int = 0) -> Tensor:
    """Take pieces of the exemplars, or of their last frames, (n_bins, n_pieces * n_piece_frames).

    The frames have unit energy on average.
    """
    exemplars = decode_exemplars(dictionary.exemplars[:, -n_last_frames:])  # (n_bands, n_frames); 0 takes all
    last = exemplars.shape[1] - 1
    starts = torch.linspace(0, max(0, last + 1 - N_PIECE_FRAMES), N_PIECES).long()
    frames = (
        (starts[:, None] + torch.arange(N_PIECE_FRAMES)).clamp(max=last).flatten()
    )  # the last frame of short ones is repeated
    magnitude = to_bins(exemplars[:, frames], dictionary.card.stft.n_bins)
    return magnitude / magnitude.square().sum(dim=0).mean().sqrt()


def _explained(dictionary: Dictionary, magnitude: Tensor) -> float:
    """Measure how much of magnitudes (n_bins, n_frames) a dictionary explains alone, beyond a flat spectrum."""
    magnitude = magnitude / magnitude.mean()
    drawn = fit_excitations(magnitude[None], [dictionary]).magnitudes[0, 0]
    flat = magnitude.mean(dim=0).expand_as(magnitude)
    return 1 - float(kullback_leibler(magnitude, drawn).sum() / kullback_leibler(magnitude, flat).sum())


def _shuffled(magnitude: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pieces in random order and with random phases: complex, (n_bins, n_frames)."""
    order = torch.randperm(N_PIECES, generator=generator)
    magnitude = magnitude.unflatten(1, (N_PIECES, N_PIECE_FRAMES))[:, order].flatten(1)
    return torch.polar(magnitude, 2 * math.pi * torch.rand(magnitude.shape, generator=generator))


def _parts(spectrum: Tensor) -> Tensor:
    """Flatten a complex spectrum (..., n_bins, n_frames) to one row of real numbers, (..., 2 * n_bins * n_frames)."""
    return torch.view_as_real(spectrum).flatten(-3)
