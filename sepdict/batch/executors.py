"""Where the tasks of a batch are carried out: in this process one after another, or several at a time in others."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar

from sepdict._core.on_demand import load_extra
from sepdict._core.processes import in_processes
from sepdict.errors import ConfigError
from sepdict.progress import OnProgress, Progress, ignore_progress

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Carries out the tasks of a batch."""

    def refuse_unfit(self, out: Path, reads: Sequence[Path]) -> None:
        """Refuse, before any work, what cannot do it.

        Parameters
        ----------
        out : Path
            The folder that the work writes to; it is there.
        reads : sequence of Path
            Some of the files and folders that the work reads.

        Raises
        ------
        ConfigError
        """
        ...

    def carry_out(
        self,
        work: Callable[[OnProgress, Task], Result],
        tasks: Sequence[Task],
        out: Path,
        *,
        died: Callable[[Task, str], Result],
        on_result: Callable[[int, Result], None],
        on_progress: OnProgress,
    ) -> None:
        """Work on tasks; no more of them and of their results is kept than is under way.

        Parameters
        ----------
        work : callable
            Importable by name, or a partial of such; what it holds, tasks and results can be pickled.
        tasks : sequence
        out : Path
            The folder that the work writes to.
        died : callable
            Gives the result of a task whose process ended suddenly, and takes the reason; the others go on.
        on_result : callable
            Called in this process with a task's number and result, in the order of completion; raising from it ends
            the work.
        on_progress : callable
            Of the work; where there are several tasks at a time, one step is a task.

        Raises
        ------
        BaseException
            What ``work`` raises.
        """
        ...


@dataclass(frozen=True)
class LocalProcesses:
    """Carries out tasks on this machine, so many at a time, each in a process of its own if there are several."""

    n_jobs: int = 1

    def refuse_unfit(self, out: Path, reads: Sequence[Path]) -> None:
        """Refuse nothing: the work is done where it was asked for."""

    def carry_out(
        self,
        work: Callable[[OnProgress, Task], Result],
        tasks: Sequence[Task],
        out: Path,
        *,
        died: Callable[[Task, str], Result],
        on_result: Callable[[int, Result], None],
        on_progress: OnProgress,
    ) -> None:
        """Work on tasks; see `Executor`."""
        if self.n_jobs == 1 or len(tasks) < 2:
            for number, task in enumerate(tasks):
                on_result(number, work(on_progress, task))
            return
        in_processes(
            partial(work, ignore_progress),
            tasks,
            n_jobs=self.n_jobs,
            died=lambda task: died(task, "its process was killed, perhaps for memory; try fewer jobs"),
            on_result=counting(on_result, on_progress, len(tasks)),
        )


def executor_of(n_jobs: int, client: object) -> Executor:
    """Return what carries out tasks: the cluster of a Dask client, if there is one.

    Raises
    ------
    ConfigError
        If it is no client, or several jobs of this machine are asked for as well.
    """
    if client is None:
        return LocalProcesses(n_jobs)
    if n_jobs > 1:
        raise ConfigError(
            f"{n_jobs} jobs are asked for, and a cluster has as many as its workers; leave one of them out"
        )
    executor: Executor = _cluster().DaskCluster(client)
    return executor


@contextlib.contextmanager
def connected(where: str | None) -> Iterator[object]:
    """Connect to a Dask scheduler for the ``with`` block, and yield the client; None for no scheduler.

    Parameters
    ----------
    where : str, optional
        The scheduler's address, the path of a scheduler file, or ``"auto"`` for what Dask's configuration names.

    Raises
    ------
    ConfigError
        If no scheduler answers there.
    LibraryError
        If Dask is not installed.
    """
    if where is None:
        yield None
        return
    with _cluster().connected(where) as client:
        yield client


def _cluster() -> ModuleType:
    """Load the module that needs Dask."""
    cluster: ModuleType = load_extra("sepdict.batch.cluster", need="a cluster needs Dask", extra="cluster")
    return cluster


def counting(
    on_result: Callable[[int, Result], None], on_progress: OnProgress, n_tasks: int
) -> Callable[[int, Result], None]:
    """Report every result as a step of progress, after ``on_result``; begin with none."""
    n_done = itertools.count(1)
    on_progress(Progress("tracks", 0, n_tasks, math.nan))

    def count(number: int, result: Result) -> None:
        on_result(number, result)
        on_progress(Progress("tracks", next(n_done), n_tasks, math.nan))

    return count
