"""`sepdict train-dictionary --each`, several at a time: in processes of this machine, or on those of a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .console import ProgressReport, note, report_error

if TYPE_CHECKING:
    from sepdict.audio.parts import Part
    from sepdict.batch.training import Trained, TrainingTask
    from sepdict.dictionaries.card import Card
    from sepdict.training.config import TrainingConfig


def train_several(
    cluster: str | None,
    n_jobs: int,
    tasks: Sequence["TrainingTask"],
    config: "TrainingConfig",
    backgrounds: Sequence["Part"],
    device: str | None,
    report: ProgressReport,
    on_trained: Callable[["Trained", "Card"], None],
) -> int:
    """Train dictionaries, report errors and remarks, and count the recordings that failed."""
    from sepdict._core.fs import writable_folder
    from sepdict.batch.executors import connected, executor_of
    from sepdict.batch.training import train_one

    out = tasks[0].output.parent
    with connected(cluster) as client, writable_folder(out):
        executor = executor_of(n_jobs, client)
        executor.refuse_unfit(out, [task.parts[0].path for task in tasks] + [part.path for part in backgrounds])
        report.begin(f"training {len(tasks)} dictionaries, several at a time")

        n_failed = 0

        def tell(_: int, trained: "Trained") -> None:
            nonlocal n_failed
            n_failed += len(trained.errors)
            for error in trained.errors:
                report_error(error)
            for remark in () if report.quiet else trained.remarks:
                note(f"note: {trained.task.source}: {remark}")
            report.job_progress.end(trained.task.source, well=trained.card is not None)
            if trained.card is not None:
                on_trained(trained, trained.card)

        executor.carry_out(
            partial(train_one, config, [absolute(part) for part in backgrounds], device),
            [replace(task, parts=[absolute(part) for part in task.parts]) for task in tasks],
            out,
            died=_died,
            on_result=tell,
            on_progress=report.step,
        )
    return n_failed


def absolute(part: "Part") -> "Part":
    """Return a part as other machines understand it, which work in another folder."""
    return replace(part, path=Path(part.path).absolute())


def _died(task: "TrainingTask", why: str) -> "Trained":
    """Return the result of a task that could not be done."""
    from sepdict.batch.training import Trained

    return Trained(task, errors=[f"{task.source}: {why}"] * len(task.parts))
