"""What is said of a track, also in its manifest: made with what, how it went, and where the stems are."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sepdict._core.fs import sha256_of, to_json
from sepdict._core.schema import exactly, number, text
from sepdict.audio.io import AudioReader, open_audio
from sepdict.batch.layout import Track, manifest_in
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.evaluation.scoring import Evaluation
from sepdict.separation.result import SILENCE_DB, Outcome

EXPLAINED_STEP_S = 1.0  # of explained energy over time
LENGTH_S = number(sys.float_info.min, 2.0**40)
TOLD = {  # what a kept track says again, and what it may be
    "converged": exactly(True, False),
    "message": text(),
    "null_test_db": number(SILENCE_DB, -SILENCE_DB),
    "gain": number(sys.float_info.min, 1),
}


@dataclass(frozen=True)
class TrackResult:
    """What became of one mixture.

    Attributes
    ----------
    mixture : Path
        As it was given.
    error : str or None
        Why there are no stems, in one line that names the file; None when all went well. After an error
        the attributes below have their defaults.
    kept : bool
        Whether its stems were there already, made to the same order, and were left as they are.
    stems : mapping of source name to Path
        Absolute.
    manifest, report : Path or None
        Absolute; a report only where one was asked for.
    duration_s, seconds : float
        How long the mixture lasts, and how long it took to separate it, composing the dictionaries not included.
    explained_energy : float
        Share of the mixture's energy that the dictionaries account for, 0 to 1; nan of silence.
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
    duration_s: float = math.nan
    seconds: float = math.nan
    explained_energy: float = math.nan
    converged: bool = False
    message: str = ""
    null_test_db: float = math.nan
    gain: float = 1.0
    evaluation: Evaluation | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of sound; below one is faster than listening."""
        return self.seconds / self.duration_s

    def as_dict(self) -> dict[str, Any]:
        """Give everything as what `to_json` writes."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        return facts | {"evaluation": None if self.evaluation is None else self.evaluation.as_dict()}


OnTrack = Callable[[TrackResult], None]
"""Called after every track; an exception raised inside ends the batch and reaches the caller."""


def describe(dictionary: Dictionary, files: Mapping[str, Path]) -> dict[str, Any]:
    """Collect what the manifest says of a dictionary, with the file that it was loaded from, if its source is there."""
    card = dictionary.card
    facts = {name: getattr(card, name) for name in ("source", "sample_rate", "trained_s")}
    facts |= {"stft": asdict(card.stft), "network": asdict(card.network)}
    if card.source in files:
        facts |= {"file": files[card.source].absolute(), "sha256": sha256_of(files[card.source])}
    return facts


def asked_for(dictionaries: Sequence[Dictionary], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what was asked for: the same makes the same stems of the same mixture."""
    checksums = {dictionary.source: dictionary.sha256 for dictionary in sorted(dictionaries, key=lambda d: d.source)}
    asked = {"dictionaries": checksums, "settings": settings, "sepdict": version("sepdict")}
    return dict(json.loads(to_json(asked)))  # as a manifest will have it


def order_of(asked: Mapping[str, Any]) -> str:
    """Sum up, as a checksum, what was asked for."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def differences(track: Track, asked: Mapping[str, Any]) -> list[str]:
    """Name what an earlier run of a track was asked for otherwise; empty where none left a manifest."""
    said = manifest_in(track.manifest)
    before, file = said.get("asked"), said.get("mixture")
    if not (isinstance(before, Mapping) and isinstance(file, Mapping)):  # there is none, or an older one
        return ["another version of sepdict"] if track.manifest.is_file() and not track.is_unfinished else []
    now, then = _flat(asked), _flat(before)
    named = []
    for name in sorted(now.keys() | then.keys()):
        if now.get(name) != then.get(name):
            what, _, which = name.partition(" ")
            values = f" {then.get(name)}, now {now.get(name)}"
            named.append(
                f"dictionary {which}" if what == "dictionaries" else f"{name.removeprefix('settings ')}{values}"
            )
    if file.get("sha256") != sha256_of(track.mixture):
        named.append("the mixture has changed")
    if not named and not all(path.is_file() for path in track.outputs):
        named.append("files are missing")
    return named


def _flat(facts: Mapping[str, Any], *above: str) -> dict[str, Any]:
    """Name values by all the names that lead to them."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, *above, name) if isinstance(value, Mapping) else {" ".join((*above, name)): value}
    return flat


def finished(track: Track, order: str) -> TrackResult | None:
    """Say what an earlier run made of a track, if every file is there, made of this very mixture to the same order."""
    if not all(path.is_file() for path in track.outputs):
        return None
    said = manifest_in(track.manifest)
    try:
        if (said["order"], said["mixture"]["sha256"]) != (order, sha256_of(track.mixture)):
            return None
        facts = {name: check(said[name], name) for name, check in TOLD.items()}
        facts["duration_s"] = LENGTH_S(said["mixture"]["duration_s"], "duration_s")
        facts["explained_energy"] = _explained(said)
    except (OSError, LookupError, TypeError, ConfigError):  # it cannot be read, is an older one, or a wrong one
        return None
    facts |= {"manifest": track.manifest, "report": track.report}
    return TrackResult(track.mixture, kept=True, stems=track.stems, seconds=0.0, **facts)


def _explained(said: Mapping[str, Any]) -> float:
    """Read the explained energy; null is nan, and only of a mixture that is silent all along.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    is_silent = all(share is None for share in said["explained_over_time"]["shares"])
    share = (exactly(None) if is_silent else number(0, 1))(said["explained_energy"], "explained_energy")
    return math.nan if share is None else float(share)


@dataclass(frozen=True)
class Delivery:
    """What was made of a mixture.

    Attributes
    ----------
    outcome : Outcome
    gain : float
        Of all stems.
    seconds : float
        How long it took.
    scores : Evaluation or None
    files : mapping of stem name to dict
        As `files_of` gives them.
    """

    outcome: Outcome
    gain: float
    seconds: float
    scores: Evaluation | None
    files: Mapping[str, Mapping[str, Any]]

    def result(self, track: Track, mixture: AudioReader) -> TrackResult:
        """Say what became of a track."""
        return TrackResult(
            track.mixture,
            stems=track.stems,
            manifest=track.manifest,
            report=track.report,
            duration_s=mixture.n_samples / mixture.sample_rate,
            seconds=self.seconds,
            explained_energy=self.outcome.explained_energy,
            converged=self.outcome.fit.converged,
            message=self.outcome.fit.message,
            null_test_db=self.outcome.null_test_db,
            gain=self.gain,
            evaluation=self.scores,
        )


def files_of(track: Track) -> dict[str, dict[str, Any]]:
    """Read stems that were written, for `verification`: where they are from the manifest on, and their content."""
    facts = {}
    for name, path in track.stems.items():
        with open_audio(path) as stem:
            form = {each: getattr(stem, each) for each in ("n_samples", "n_channels", "sample_rate")}
        file = os.path.relpath(path, track.manifest.parent)
        facts[name] = {"file": file, "sha256": sha256_of(path), "n_bytes": path.stat().st_size, **form}
    return facts


def manifest_of(track: Track, mixture: AudioReader, sha256: str, delivery: Delivery) -> dict[str, Any]:
    """Collect what the manifest says of a track.

    Parameters
    ----------
    track : Track
    mixture : AudioReader
        What was separated, open.
    sha256 : str
        The checksum of the track's mixture.
    delivery : Delivery

    Returns
    -------
    dict
        Paths, numbers, text and what holds them: `to_json` writes it.
    """
    facts = {name: getattr(mixture, name) for name in ("sample_rate", "n_channels", "n_samples")}
    facts["duration_s"] = mixture.n_samples / mixture.sample_rate
    outcome, fit = delivery.outcome, delivery.outcome.fit
    step_s, explained = outcome.timeline.explained(EXPLAINED_STEP_S)
    return {
        "sepdict": version("sepdict"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(delivery.seconds, 3),
        "mixture": {"file": track.mixture.absolute(), "sha256": sha256, **facts},
        "converged": fit.converged,
        "message": fit.message,
        "loss": {"first": fit.loss_curve[0], "last": fit.loss_curve[-1], "curve": fit.loss_curve},
        "explained_energy": outcome.explained_energy,
        "explained_over_time": {"step_s": step_s, "shares": [round(share, 4) for share in explained.tolist()]},
        "null_test_db": outcome.null_test_db,
        "gain": delivery.gain,
        "stems": track.stems,
        "files": delivery.files,
        "report": track.report,
        "scores": None if delivery.scores is None else delivery.scores.as_dict(),
    }
