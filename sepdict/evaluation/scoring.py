"""Scores of separated sources against the recordings that they should equal.

`evaluate` takes a separation, or a folder of stems, and the true sources of the mixture; the measures themselves are in
`sepdict.evaluation.metrics`.
"""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import torch
from torch import Tensor

from sepdict._core.names import normalized
from sepdict._core.settings import Words, checks_types
from sepdict.audio.discovery import find_audio_files
from sepdict.audio.io import AudioLike, as_audio
from sepdict.audio.signal import Audio
from sepdict.errors import AudioFileError, ConfigError, ShapeError
from sepdict.evaluation.metrics import bss_eval, si_sdr, si_sdr_improvement

StemsLike: TypeAlias = Annotated[
    Mapping[str, AudioLike] | str | Path, Words("a mapping of source names to sounds, or the path of a folder of them")
]
"""Stems, as `evaluate` takes them: a separation or another mapping, or a folder with an audio file per source."""


@dataclass(frozen=True)
class SourceScore:
    """The scores of one source.

    Attributes
    ----------
    source : str
        The source's name; ``"mean"`` for the mean over sources.
    si_sdr_db : float
        Scale-invariant signal-to-distortion ratio of the estimate: the figure to quote.
    si_sdr_improvement_db : float
        The same, minus that of the mixture.
    sdr_db, sir_db, sar_db : float
        Signal to distortion, interference and artifacts, BSS Eval v3 as mir_eval 0.8 computes it.
    silent : bool
        Whether the reference is silent. Then no ratio is defined: all five are nan, and the mean leaves the source
        out.

    See Also
    --------
    sepdict.evaluation.metrics.si_sdr, sepdict.evaluation.metrics.bss_eval : when a ratio is nan or infinite.
    """

    source: str
    si_sdr_db: float
    si_sdr_improvement_db: float
    sdr_db: float
    sir_db: float
    sar_db: float
    silent: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as values that JSON has.

        Returns
        -------
        dict
            Finite ratios unchanged, nan as None (JSON's null), infinities as ``"inf"`` and ``"-inf"``, which
            ``float()`` reads.

        Examples
        --------
        >>> SourceScore("piano", 7.5, math.nan, 8.0, math.inf, 8.0, silent=False).as_dict()["sir_db"]
        'inf'
        """
        return {field.name: _as_json_value(getattr(self, field.name)) for field in fields(self)}


RATIOS = tuple(field.name for field in fields(SourceScore) if field.name.endswith("_db"))


@dataclass(frozen=True)
class Evaluation:
    """The scores of all sources of one mixture.

    Attributes
    ----------
    scores : tuple of SourceScore
        In the order of the references.

    Examples
    --------
    >>> piano = SourceScore("piano", 6.0, 7.0, 6.5, 12.0, 8.0, silent=False)
    >>> flute = SourceScore("flute", 4.0, 3.0, 4.5, 10.0, 7.0, silent=False)
    >>> drums = SourceScore("drums", *[math.nan] * 5, silent=True)
    >>> Evaluation((piano, flute, drums)).mean.si_sdr_db
    5.0
    """

    scores: tuple[SourceScore, ...]

    @property
    def mean(self) -> SourceScore:
        """The mean over the sources that are not silent, each ratio averaged in dB.

        One infinite ratio makes its mean infinite, infinities of both signs make it nan. The mean is silent if all
        sources are.
        """
        sounding = [score for score in self.scores if not score.silent]
        means = {name: _mean([getattr(score, name) for score in sounding]) for name in RATIOS}
        return SourceScore("mean", **means, silent=not sounding)

    def as_dict(self) -> dict[str, Any]:
        """Return all scores and their mean as values that JSON has.

        Returns
        -------
        dict
            ``{"sources": [...], "mean": {...}}``, each score in the form of `SourceScore.as_dict`.
        """
        return {"sources": [score.as_dict() for score in self.scores], "mean": self.mean.as_dict()}


@checks_types
def evaluate(estimates: StemsLike, references: StemsLike, *, mixture: AudioLike | None = None) -> Evaluation:
    """Score estimated sources against the true ones.

    Parameters
    ----------
    estimates : Separation, mapping of source name to Audio, path or (samples, sample_rate), or path of a folder
        One for every reference. Others, such as a ``residual``, are ignored. In a folder, file names without extension
        are the source names; subfolders are not searched.
    references : like estimates
        The true sources, at least one. Estimates, references and mixture must have the same sample rate, number of
        channels and number of samples: nothing is resampled, mixed down or cut, because that would change the scores.
    mixture : Audio, path or (samples, sample_rate), optional
        The mixture that was separated, from which the improvement is measured; by default the sum of the references. If
        its file lies in one of the folders, it is not taken for a source.

    Returns
    -------
    Evaluation
        One score per reference, in the order of the references.

    Raises
    ------
    AudioFileError
        If a folder does not exist, is no folder or holds no audio, or a file cannot be read.
    ConfigError
        If there is no reference, a reference has no estimate, or two files of one folder differ only in extension.
    ShapeError
        If sample rates, numbers of channels or numbers of samples differ.

    Notes
    -----
    The channels of a source are joined one after the other into one long signal. So SI-SDR allows one scale for all
    channels together, and errors in the stereo balance count; BSS Eval also fits one filter for all channels (where two
    are joined, at most 511 samples of one channel reach into the next).

    Examples
    --------
    >>> piano, flute = torch.randn(2, 2, 2000, generator=torch.Generator().manual_seed(0))
    >>> references = {"piano": Audio(piano, 8000), "flute": Audio(flute, 8000)}
    >>> estimates = {"piano": Audio(piano + 0.1 * flute, 8000), "flute": Audio(flute + 0.1 * piano, 8000)}
    >>> scores = evaluate(estimates, references)
    >>> [score.source for score in scores.scores], round(scores.mean.si_sdr_improvement_db)
    (['piano', 'flute'], 20)
    """
    given_references, given_estimates = _by_source(references, mixture), _by_source(estimates, mixture)
    _require_estimates(given_estimates, given_references)
    names = list(given_references)
    truth = {name: as_audio(given_references[name], f"reference {name!r}") for name in names}
    guesses = {name: as_audio(given_estimates[name], f"estimate {name!r}") for name in names}
    whole = None if mixture is None else as_audio(mixture, "the mixture")
    _require_alike(
        {f"reference {name!r}": audio for name, audio in truth.items()}
        | {f"estimate {name!r}": audio for name, audio in guesses.items()}
        | ({} if whole is None else {"the mixture": whole})
    )
    reference_signals = torch.stack([_join_channels(audio) for audio in truth.values()])
    estimate_signals = torch.stack([_join_channels(audio) for audio in guesses.values()])
    mixture_signal = reference_signals.sum(dim=0) if whole is None else _join_channels(whole)

    by_source = bss_eval(estimate_signals, reference_signals)
    ratios_db = torch.stack(
        [
            si_sdr(estimate_signals, reference_signals),
            si_sdr_improvement(estimate_signals, reference_signals, mixture_signal),
            by_source.sdr,
            by_source.sir,
            by_source.sar,
        ],
        dim=1,
    )  # (n_sources, 5), in the order of RATIOS
    silent = (~reference_signals.any(dim=1)).tolist()
    return Evaluation(
        tuple(
            SourceScore(name, **dict(zip(RATIOS, values, strict=True)), silent=is_silent)
            for name, values, is_silent in zip(names, ratios_db.tolist(), silent, strict=True)
        )
    )


def _by_source(stems: StemsLike, mixture: AudioLike | None) -> Mapping[str, AudioLike]:
    """Return sounds by source; of a folder the paths of the audio files directly in it, without the mixture's."""
    if isinstance(stems, Mapping):
        return stems
    folder = Path(stems)
    if folder.exists() and not folder.is_dir():
        raise AudioFileError(f"{folder}: is not a folder; expected a folder with one audio file per source")
    paths: dict[str, Path] = {}
    for path in find_audio_files([folder]):
        if isinstance(mixture, str | os.PathLike) and path.resolve() == Path(mixture).resolve():
            continue
        name = normalized(path.stem)
        if name in paths:
            raise ConfigError(
                f"{folder}: {paths[name].name} and {path.name} both stand for source {name!r}; leave one of them there"
            )
        paths[name] = path
    return paths


def _require_estimates(estimates: Collection[str], references: Collection[str]) -> None:
    """Refuse references that have no estimate, by name."""
    if not references:
        raise ConfigError("there is no reference to compare with; expected at least one")
    missing = [name for name in references if name not in estimates]
    if missing:
        there = ", ".join(map(repr, estimates)) or "none"
        raise ConfigError(
            f"no estimate for reference {', '.join(map(repr, missing))}; the estimates are: {there}. "
            "Give both the same name"
        )


def _require_alike(audios: Mapping[str, Audio]) -> None:
    """Refuse sounds that differ from the first in rate, channels or length; messages use the keys as their names."""
    (first_name, first), *others = audios.items()
    for name, audio in others:
        for what, value, expected, advice in [
            ("Hz", audio.sample_rate, first.sample_rate, "resample one of them"),
            ("channel(s)", audio.samples.shape[0], first.samples.shape[0], "give both the same channels"),
            ("samples", audio.samples.shape[1], first.samples.shape[1], "align and cut them to one length"),
        ]:
            if value != expected:
                raise ShapeError(f"{name} has {value} {what} but {first_name} has {expected}; {advice}")


def _join_channels(audio: Audio) -> Tensor:
    """Join the channels one after the other, in float64 on the CPU: (n_channels * n_samples,)."""
    return audio.samples.detach().cpu().to(torch.float64).flatten()


def _mean(values: list[float]) -> float:
    """Return the mean, nan of no values."""
    return sum(values) / len(values) if values else math.nan


def _as_json_value(value: str | float | bool) -> str | float | bool | None:
    """Replace the numbers that JSON lacks: nan by None, infinities by text."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value
