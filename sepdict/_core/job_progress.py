"""How far a whole job is, and how long it will still take; progress itself counts the steps of one stage."""

from collections.abc import Mapping
from typing import Any

from sepdict.progress import Progress

Plan = Mapping[Any, Mapping[str, float]]
"""The parts of a job in their order, and what the stages of each cost, in any unit."""

PHASES = {
    "train": "learning",
    "estimate": "composing",
    "fit": "finding the sources",
    "adapt": "adapting to the mixture",
    "compare": "comparing",
    "tracks": "several at a time",
}

# in seconds of two cores, measured on sources at 16 kHz; that of a minute of a mixture, and of a whole composing
MASK_ESTIMATOR_S = 90.0
FIT_S = 4.0  # where it converges, after some thirty of its iterations
FIT_WITH_BACKGROUND_S = 32.0
ADAPTATION_S = 1.5
USUAL_S = 180.0  # of mixtures of whose lengths none is known


def plan_separation(
    durations_s: Mapping[Any, float | None], *, with_mask_estimator: bool, residual: bool, background_model: bool
) -> Plan:
    """Plan to train a mask estimator, where that is done, and to separate mixtures, each as long as it is.

    Examples
    --------
    >>> plan_separation({"song": 120.0}, with_mask_estimator=False, residual=False, background_model=False)
    {'song': {'tracks': 0.0, 'fit': 8.0}}
    """
    costs = {"tracks": 0.0, "fit": FIT_WITH_BACKGROUND_S if background_model else FIT_S}
    costs |= {"adapt": ADAPTATION_S} if with_mask_estimator and not (residual or background_model) else {}
    known_s = [duration_s for duration_s in durations_s.values() if duration_s is not None]
    usual_s = sum(known_s) / len(known_s) if known_s else USUAL_S
    minutes = {name: (usual_s if duration_s is None else duration_s) / 60 for name, duration_s in durations_s.items()}
    parts = {name: {stage: cost * n_minutes for stage, cost in costs.items()} for name, n_minutes in minutes.items()}
    return ({"composing": {"estimate": MASK_ESTIMATOR_S}} if with_mask_estimator else {}) | parts


class JobProgress:
    """Where a job is in its plan.

    What is passed over without a step, as composing that is remembered, costs nothing, nor does what failed. A stage
    that ends early has done what it was to do.

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
        self._costs = {name: dict(stages) for name, stages in plan.items()}
        self._shares = {name: dict.fromkeys(stages, 0.0) for name, stages in plan.items()}
        self._unfinished = list(plan)

    @property
    def fraction(self) -> float:
        """What is done, from 0 to 1; it never falls."""
        spent, total = 0.0, 0.0
        for name, costs in self._costs.items():
            spent += sum(cost * self._shares[name][stage] for stage, cost in costs.items())
            total += sum(costs.values())
        return spent / total if total else 0.0

    def left_s(self, elapsed_s: float) -> float | None:
        """Estimate how long the rest takes, if all goes on as since the beginning; None before anything is done."""
        return elapsed_s * (1 / self.fraction - 1) if self.fraction else None

    def advance(self, event: Progress) -> None:
        """Take a step of the first part that is unfinished and has such a stage: an `OnProgress`."""
        names = [name for name in self._unfinished if event.stage in self._costs[name]]
        if not names:
            return
        for earlier in self._unfinished[: self._unfinished.index(names[0])]:
            self.end(earlier, well=any(self._shares[earlier].values()))
        shares = self._shares[names[0]]
        share = min(1.0, event.step / event.n_steps)
        for stage in shares:  # those before it are as far, for segment after segment goes through all of them
            shares[stage] = max(shares[stage], share)
            if stage == event.stage:
                return

    def finish(self) -> None:
        """End all parts well."""
        for name in list(self._unfinished):
            self.end(name)

    def end(self, name: Any, *, well: bool = True) -> None:
        """End a part: what is left of it is done, or else will not be and costs nothing."""
        if name in self._unfinished:
            self._unfinished.remove(name)
            for stage, share in self._shares[name].items():
                self._costs[name][stage] *= 1.0 if well else share
                self._shares[name][stage] = 1.0
