"""Row 7: what a track's manifest says: what was separated with what, how it went, and where the stems are."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sepdict.dictionary import Dictionary
from sepdict.evaluation import Evaluation
from sepdict.files import sha256_of
from sepdict.recordings import AudioReader
from sepdict.separation import Outcome
from sepdict.tracks import Track

EXPLAINED_STEP_S = 1.0  # of explained energy over time


def describe(dictionary: Dictionary, files: Mapping[str, Path]) -> dict[str, Any]:
    """Collect what the manifest says of a dictionary, with the file that it was loaded from, if its source is there."""
    card = dictionary.card
    facts = {name: getattr(card, name) for name in ("source", "sample_rate", "trained_s")}
    facts |= {"stft": asdict(card.stft), "network": asdict(card.network)}
    if card.source in files:
        facts |= {"file": files[card.source].absolute(), "sha256": sha256_of(files[card.source])}
    return facts


def manifest_of(
    track: Track,
    mixture: AudioReader,
    sha256: str,
    settings: Mapping[str, Any],
    outcome: Outcome,
    scores: Evaluation | None,
) -> dict[str, Any]:
    """Collect what the manifest says of a track.

    Parameters
    ----------
    track : Track
    mixture : AudioReader
        Its mixture, open, and
    sha256 : str
        the checksum of that file.
    settings : mapping
        What it was separated with.
    outcome : Outcome
    scores : Evaluation or None

    Returns
    -------
    dict
        Paths, numbers, text and what holds them: `to_json` writes it.
    """
    facts = {name: getattr(mixture, name) for name in ("sample_rate", "n_channels", "n_samples")}
    facts["duration_s"] = mixture.n_samples / mixture.sample_rate
    fit = outcome.fit
    step_s, explained = outcome.timeline.explained(EXPLAINED_STEP_S)
    return {
        "sepdict": version("sepdict"),
        "mixture": {"file": track.mixture.absolute(), "sha256": sha256, **facts},
        "settings": settings,
        "converged": fit.converged,
        "message": fit.message,
        "loss": {"first": fit.loss_curve[0], "last": fit.loss_curve[-1], "curve": fit.loss_curve},
        "explained_energy": outcome.explained_energy,
        "explained_over_time": {"step_s": step_s, "shares": [round(share, 4) for share in explained.tolist()]},
        "null_test_db": outcome.null_test_db,
        "stems": track.stems,
        "report": track.report,
        "scores": None if scores is None else scores.as_dict(),
    }
