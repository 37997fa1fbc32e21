"""The progress of long-running functions: the steps of one stage, and the share of a whole job that is done."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

PHASES: Mapping[str, str] = {  # the stages of a `Progress` in words
    "train": "learning",
    "estimate": "telling the sources apart",
    "fit": "finding the sources",
    "adapt": "adapting to the mixture",
    "write": "writing the stems",
    "compare": "comparing",
    "tracks": "several at a time",
}


@dataclass(frozen=True)
class Progress:
    """One step of a long task.

    Attributes
    ----------
    stage : str
        What is going on: ``"train"``, ``"estimate"``, ``"fit"``, ``"adapt"``, ``"write"``, ``"compare"``, or,
        of many, ``"tracks"``.
    step, n_steps : int
        Steps done, and the most there can be; a stage may end early.
    divergence : float
        The cost now, comparable within one stage only; nan where there is none.
    """

    stage: str
    step: int
    n_steps: int
    divergence: float

    @property
    def share(self) -> float:
        """The part of the stage that is done, from 0 to 1."""
        return min(1.0, self.step / self.n_steps)


OnProgress = Callable[[Progress], None]
"""Called after every step; an exception raised inside cancels the task and reaches the caller.

Its method ``close``, if it has one, is called when the task has ended, also when it failed.
"""


def ignore_progress(_: Progress) -> None:
    """Do nothing: the default of every ``on_progress``."""


def closes_progress(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Make a function call ``on_progress.close`` at its end, where there is one, so that a bar leaves the screen."""

    @functools.wraps(function)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return function(*args, **kwargs)
        finally:
            close = getattr(kwargs.get("on_progress"), "close", None)
            if close is not None:
                close()

    return run


def progress_of_part(on_progress: OnProgress, index: int, n_parts: int) -> OnProgress:
    """Report the steps of one of several equal parts as steps of the whole.

    Examples
    --------
    >>> progress_of_part(print, 1, 4)(Progress("train", 5, 10, 0.5))
    Progress(stage='train', step=15, n_steps=40, divergence=0.5)
    """

    def report(progress: Progress) -> None:
        step, n_steps = index * progress.n_steps + progress.step, n_parts * progress.n_steps
        on_progress(replace(progress, step=step, n_steps=n_steps))

    return report


Plan = Mapping[Any, Mapping[str, float]]
"""The parts of a job in their order, and the cost of each stage of a part, in any unit."""


class JobProgress:
    """Position of a whole job in its plan.

    A part that is skipped without a step, such as a mask estimator that is in the cache, costs nothing, and neither
    does a part that failed. A stage that ends early counts as done.

    Parameters
    ----------
    plan : Plan

    Examples
    --------
    >>> job_progress = JobProgress({"piano": {"train": 1.0}, "violin": {"train": 1.0}})
    >>> job_progress.advance(Progress("train", 50, 100, 0.1))
    >>> job_progress.fraction, job_progress.left_s(60.0)
    (0.25, 180.0)
    """

    def __init__(self, plan: Plan) -> None:
        self._unfinished, self._names, self._n_passed = dict(plan), list(plan), 0
        self._shares: dict[Any, dict[str, float]] = {}  # of each stage of the parts that have begun
        self._spent, self._costs = 0.0, dict[str, float]()  # of the parts that have ended, and of all
        for stages in plan.values():
            for stage, cost in stages.items():
                self._costs[stage] = self._costs.get(stage, 0.0) + cost

    @property
    def fraction(self) -> float:
        """The part of the job that is done, from 0 to 1; it never falls."""
        total = sum(self._costs.values())
        if not self._unfinished or not total:
            return 1.0 if total else 0.0
        begun = sum(_spent(self._unfinished[name], shares) for name, shares in self._shares.items())
        return min(1.0, (self._spent + begun) / total)

    @property
    def costs(self) -> dict[str, float]:
        """The cost of each stage, of all parts together; what was skipped costs nothing."""
        return dict(self._costs)

    def left_s(self, elapsed_s: float) -> float | None:
        """Estimate how long the rest takes at the pace so far; None before anything is done."""
        return elapsed_s * (1 / self.fraction - 1) if self.fraction else None

    def advance(self, progress: Progress) -> None:
        """Take a step in the first unfinished part that has the stage: an `OnProgress`."""
        earlier = []
        for name in self._ahead():
            if progress.stage in self._unfinished[name]:
                break
            earlier.append(name)
        else:
            return
        for other in earlier:
            self.end(other, well=any(self._shares.get(other, {}).values()))
        shares = self._shares.setdefault(name, dict.fromkeys(self._unfinished[name], 0.0))
        for stage in shares:  # the stages before it are as far: each segment goes through all of them
            shares[stage] = max(shares[stage], progress.share)
            if stage == progress.stage:
                return

    def finish(self) -> None:
        """End all parts well."""
        for name in list(self._unfinished):
            self.end(name)

    def end(self, name: Any, *, well: bool = True) -> None:
        """End a part: its rest counts as done, or if it failed as costing nothing."""
        if name not in self._unfinished:
            return
        stages, shares = self._unfinished.pop(name), self._shares.pop(name, {})
        for stage, cost in stages.items():
            self._costs[stage] -= 0.0 if well else cost * (1 - shares.get(stage, 0.0))
        self._spent += sum(stages.values()) if well else _spent(stages, shares)

    def _ahead(self) -> Iterator[Any]:
        """Return the unfinished parts in their order; those at the beginning that have ended are passed for good."""
        while self._n_passed < len(self._names) and self._names[self._n_passed] not in self._unfinished:
            self._n_passed += 1
        ahead = (self._names[number] for number in range(self._n_passed, len(self._names)))
        return (name for name in ahead if name in self._unfinished)


def _spent(stages: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """Return what the done shares of stages cost."""
    return sum(cost * shares.get(stage, 0.0) for stage, cost in stages.items())
