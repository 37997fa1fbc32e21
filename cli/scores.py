"""Formatting of scores, the same in all commands."""

import importlib.metadata
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sepdict.evaluation.scoring import SourceScore

SCORE_COLUMNS = ["SI-SDR", "gain", "SDR", "SIR", "SAR"]


def score_cells(score: "SourceScore") -> list[str]:
    """Format one source's ratios, in the order of `SCORE_COLUMNS`."""
    ratios = [score.si_sdr_db, score.si_sdr_improvement_db, score.sdr_db, score.sir_db, score.sar_db]
    return ["-" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios]


def standard() -> str:
    """Describe the scores in a line."""
    return f"in dB; gain: SI-SDR improvement over the mixture; SDR, SIR, SAR: {bss_eval()}"


def bss_eval() -> str:
    """Name the measure behind SDR, SIR and SAR, and what computes it."""
    return f"BSS Eval v3, mir_eval {importlib.metadata.version('mir_eval')}"
