"""The result of each track of a batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepdict.batch.layout import Track
from sepdict.batch.manifest import StemFacts

if TYPE_CHECKING:
    from sepdict.audio.io import AudioReader
    from sepdict.evaluation.scoring import Evaluation
    from sepdict.separation.result import Outcome


@dataclass(frozen=True)
class TrackResult:
    """The result of one mixture.

    Attributes
    ----------
    mixture : Path
        As it was given.
    error : str or None
        Why there are no stems, in one line that names the file; None if there are. With an error, the attributes
        below have their defaults.
    kept : bool
        Whether its stems were there already, made with the same settings, and were kept.
    stems : mapping of source name to Path
        Absolute.
    manifest, report, labels : Path or None
        Absolute; a report and labels only where they were asked for.
    duration_s, seconds : float
        How long the mixture lasts, and how long it took to separate it, without the training of the mask estimator.
    explained_energy : float
        Share of the mixture's energy that the dictionaries account for, 0 to 1; nan for silence.
    converged : bool
    message : str
        How the fit ended, in one sentence.
    null_test_db : float
        Largest difference between the mixture and the sum of its stems, in dB relative to the mixture's peak, as
        they are in their files: at one gain, rounded, compressed, cut off.
    gain : float
        What all stems were multiplied by so that none clips; 1 where none would.
    evaluation : Evaluation or None
        The stems' scores, where there are references.
    """

    mixture: Path
    error: str | None = None
    kept: bool = False
    stems: Mapping[str, Path] = field(default_factory=dict)
    manifest: Path | None = None
    report: Path | None = None
    labels: Path | None = None
    duration_s: float = math.nan
    seconds: float = math.nan
    explained_energy: float = math.nan
    converged: bool = False
    message: str = ""
    null_test_db: float = math.nan
    gain: float = 1.0
    evaluation: "Evaluation | None" = None

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of sound; below one is faster than listening."""
        return self.seconds / self.duration_s

    def as_dict(self) -> dict[str, Any]:
        """Return everything as `to_json` writes it."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        return facts | {"evaluation": None if self.evaluation is None else self.evaluation.as_dict()}


OnTrack = Callable[[TrackResult], None]
"""Called after every track; an exception raised inside ends the batch and reaches the caller."""


@dataclass(frozen=True)
class Delivery:
    """The stems of a mixture, written to their files, and measurements of them.

    Attributes
    ----------
    outcome : Outcome
    gain : float
        The gain of all stems.
    seconds : float
        The time that the separation took, in seconds.
    scores : Evaluation or None
    files : mapping of stem name to StemFacts
    """

    outcome: "Outcome"
    gain: float
    seconds: float
    scores: "Evaluation | None"
    files: Mapping[str, StemFacts]

    def result(self, track: Track, mixture: "AudioReader") -> TrackResult:
        """Return the result of a track."""
        return TrackResult(
            track.mixture,
            stems=track.stems,
            manifest=track.manifest,
            report=track.report,
            labels=track.labels,
            duration_s=mixture.n_samples / mixture.sample_rate,
            seconds=self.seconds,
            explained_energy=self.outcome.explained_energy,
            converged=self.outcome.fit.converged,
            message=self.outcome.fit.message,
            null_test_db=self.outcome.null_test_db,
            gain=self.gain,
            evaluation=self.scores,
        )
