"""How long-running functions report where they are."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a long task.

    Attributes
    ----------
    stage : str
        What is going on: ``"train"``, ``"estimate"``, ``"fit"``, ``"adapt"``, ``"compare"``, or, of many, ``"tracks"``.
    step, n_steps : int
        Steps done, and the most there can be; a stage may end early.
    divergence : float
        The cost now, comparable within one stage only; nan where there is none.
    """

    stage: str
    step: int
    n_steps: int
    divergence: float


OnProgress = Callable[[Progress], None]
"""Called after every step; an exception raised inside cancels the task and reaches the caller."""


def ignore_progress(_: Progress) -> None:
    """Listen to nothing: the default of every ``on_progress``."""
