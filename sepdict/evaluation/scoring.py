"""Score separated sources against the recordings they should equal.

Takes what `separate` returns, or a folder of stems it wrote, and the true sources of the mixture;
the measures themselves are in `sepdict.evaluation.metrics`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepdict._core.names import normalized
from sepdict._core.settings import checks_types
from sepdict.audio.discovery import find_audio_files
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.errors import AudioFileError, ConfigError, ShapeError
from sepdict.evaluation.metrics import bss_eval, si_sdr, si_sdr_improvement


@dataclass(frozen=True)
class SourceScore:
    """How well one source was separated.

    Attributes
    ----------
    source : str
        The source's name; ``"mean"`` for the mean over sources.
    si_sdr_db : float
        Scale-invariant signal-to-distortion ratio of the estimate: the figure to quote.
    si_sdr_improvement_db : float
        The same, minus that of the mixture: what the separation gained.
    sdr_db, sir_db, sar_db : float
        Signal to distortion, interference and artifacts, BSS Eval v3 as mir_eval 0.8 computes it.
    silent : bool
        Whether the reference is silent. No ratio is defined then: all five are nan, and the source is
        left out of the mean.

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
        """Give the fields by name, as values that JSON has.

        Returns
        -------
        dict
            Finite ratios as they are, nan as None (JSON's null), infinities as ``"inf"`` and ``"-inf"``,
            which ``float()`` reads back.

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
        """The mean over the sources that sound, each ratio averaged in dB.

        Nothing but silent sources is left out: one infinite ratio makes its mean infinite, infinities
        of both signs make it nan. When every source is silent, so is the mean.
        """
        sounding = [score for score in self.scores if not score.silent]
        means = {name: _mean([getattr(score, name) for score in sounding]) for name in RATIOS}
        return SourceScore("mean", **means, silent=not sounding)

    def as_dict(self) -> dict[str, Any]:
        """Give all scores and their mean as values that JSON has.

        Returns
        -------
        dict
            ``{"sources": [...], "mean": {...}}``, each score as `SourceScore.as_dict` gives it.
        """
        return {"sources": [score.as_dict() for score in self.scores], "mean": self.mean.as_dict()}


@checks_types
def evaluate(
    estimates: Mapping[str, Audio], references: Mapping[str, Audio], *, mixture: Audio | None = None
) -> Evaluation:
    """Score estimated sources against the true ones.

    Parameters
    ----------
    estimates : mapping of source name to Audio
        One for every reference. Others, such as a ``residual``, are ignored.
    references : mapping of source name to Audio
        The true sources, at least one. Estimates, references and mixture must agree in sample rate,
        number of channels and number of samples: nothing is resampled, mixed down or cut, for that
        would change the scores.
    mixture : Audio, optional
        What was separated, to measure the improvement from; by default the sum of the references.

    Returns
    -------
    Evaluation
        One score per reference, in the order of the references.

    Raises
    ------
    ConfigError
        If there is no reference, or a reference has no estimate.
    ShapeError
        If sample rates, numbers of channels or numbers of samples differ.

    Notes
    -----
    The channels of a source are joined one after the other into one long signal. So SI-SDR allows one
    scale for all channels together, and an error in the stereo balance counts; BSS Eval likewise fits
    one filter for all channels (at a seam, at most 511 samples of one channel reach into the next).

    Examples
    --------
    >>> piano, flute = torch.randn(2, 2, 2000, generator=torch.Generator().manual_seed(0))
    >>> references = {"piano": Audio(piano, 8000), "flute": Audio(flute, 8000)}
    >>> estimates = {"piano": Audio(piano + 0.1 * flute, 8000), "flute": Audio(flute + 0.1 * piano, 8000)}
    >>> scores = evaluate(estimates, references)
    >>> [score.source for score in scores.scores], round(scores.mean.si_sdr_improvement_db)
    (['piano', 'flute'], 20)
    """
    _require_estimates(estimates, references)
    names = list(references)
    _require_alike(
        {f"reference {name!r}": references[name] for name in names}
        | {f"estimate {name!r}": estimates[name] for name in names}
        | ({} if mixture is None else {"the mixture": mixture})
    )
    reference_signals = torch.stack([_join_channels(references[name]) for name in names])
    estimate_signals = torch.stack([_join_channels(estimates[name]) for name in names])
    mixture_signal = reference_signals.sum(dim=0) if mixture is None else _join_channels(mixture)

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


def evaluate_folders(estimates: str | Path, references: str | Path, *, mixture: str | Path | None = None) -> Evaluation:
    """Score a folder of estimated sources against a folder of true ones.

    Files are matched by name without extension: ``estimates/piano.wav`` is the estimate of
    ``references/piano.flac``. Subfolders are not searched.

    Parameters
    ----------
    estimates, references : path of a folder
        Estimates without a reference, such as a residual, are not read.
    mixture : path of a file, optional
        As in `evaluate`. It may lie in one of the folders, where it is not taken for a source.

    Returns
    -------
    Evaluation
        One score per reference, in the order of their names.

    Raises
    ------
    AudioFileError
        If a folder is missing, is no folder or holds no audio, or a file cannot be read.
    ConfigError
        If a reference has no estimate, or two files of one folder differ only in extension.
    ShapeError
        If the files differ in sample rate, number of channels or number of samples.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sepdict.audio.io import write_audio
    >>> piano = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    >>> with TemporaryDirectory() as folder:
    ...     for kind, samples in [("estimates", 0.5 * piano), ("references", piano)]:
    ...         Path(folder, kind).mkdir()
    ...         _ = write_audio(Path(folder, kind, "piano.wav"), Audio(samples, 8000))
    ...     evaluate_folders(Path(folder, "estimates"), Path(folder, "references")).mean.si_sdr_db
    inf
    """
    reference_paths = _paths_by_source(Path(references), mixture)
    estimate_paths = _paths_by_source(Path(estimates), mixture)
    _require_estimates(estimate_paths, reference_paths)
    return evaluate(
        {name: read_audio(estimate_paths[name]) for name in reference_paths},
        {name: read_audio(path) for name, path in reference_paths.items()},
        mixture=None if mixture is None else read_audio(mixture),
    )


def _paths_by_source(folder: Path, mixture: str | Path | None) -> dict[str, Path]:
    """Find the audio files directly in a folder, all but the mixture, by name without extension."""
    if folder.exists() and not folder.is_dir():
        raise AudioFileError(f"{folder}: is not a folder; expected a folder with one audio file per source")
    paths: dict[str, Path] = {}
    for path in find_audio_files([folder]):
        if mixture is not None and path.resolve() == Path(mixture).resolve():
            continue
        name = normalized(path.stem)
        if name in paths:
            raise ConfigError(
                f"{folder}: {paths[name].name} and {path.name} both stand for source {name!r}; leave one of them there"
            )
        paths[name] = path
    return paths


def _require_estimates(estimates: Collection[str], references: Collection[str]) -> None:
    """Refuse references without an estimate, by name."""
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
    """Refuse sounds that differ from the first in rate, channels or length; the keys are for the message."""
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
    """Put the channels one after the other, in float64 on the CPU: (n_channels * n_samples,)."""
    return audio.samples.detach().cpu().to(torch.float64).flatten()


def _mean(values: list[float]) -> float:
    """Average, with nan for nothing to average."""
    return sum(values) / len(values) if values else math.nan


def _as_json_value(value: str | float | bool) -> str | float | bool | None:
    """Replace the numbers that JSON lacks."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value
