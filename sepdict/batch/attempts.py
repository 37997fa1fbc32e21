"""Attempts at a task on some worker of a cluster: counted, able to be stopped, and each with its share of the cores.

A run has a hidden folder beside its outputs, which every worker sees. The work itself is read from there, and no audio
goes any other way than through files. A file in it stands for each attempt that goes on: those of a worker that was
killed remain, and when there are too many of a task, it is not tried again.

PyTorch, which takes seconds, is loaded within an attempt: what loads where a worker receives tasks keeps it from
answering its scheduler.
"""

import functools
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepdict.batch.workers import my_n_threads
from sepdict.progress import OnProgress, Progress

if TYPE_CHECKING:
    from sepdict._core.processes import Outcome

MOST_ATTEMPTS = 3
WORK, STOP = "work", "stop"  # in the run's folder
LOOKING_S = 1.0  # between two looks whether the run goes on
Work = Callable[[OnProgress, Any], Any]


@dataclass(frozen=True)
class GivenUp:
    """The outcome of a task that killed its worker so many times."""


@dataclass(frozen=True)
class Stopped:
    """The outcome of an attempt that was stopped, or came when its run had ended."""


class _StopError(BaseException):
    """Ends an attempt; no handler takes it for an error of the file."""


def write_work(folder: Path, work: Work) -> None:
    """Write the work of a run for its workers."""
    (folder / WORK).write_bytes(pickle.dumps(work))


def stop(folder: Path) -> None:
    """Have all attempts of a run end soon."""
    (folder / STOP).touch()


_working = threading.Lock()  # PyTorch's random numbers, plots and filters of warnings are a process's, not a thread's


def attempt(folder: Path, number: int, task: bytes) -> "Outcome | GivenUp | Stopped":
    """Work on a task of a run, here on a worker; one at a time, however many threads the worker has.

    Parameters
    ----------
    folder : Path
        The run's.
    number : int
        The task's.
    task : bytes
        As pickled: what it is made of may have to be loaded.
    """
    with _working:
        return _attempt(folder, number, task)


def _attempt(folder: Path, number: int, task: bytes) -> "Outcome | GivenUp | Stopped":
    """Work on a task of a run; see `attempt`."""
    if _has_ended(folder):
        return Stopped()
    from sepdict._core.processes import Outcome, portable

    try:
        mark = _begin(folder, number)
        if mark is None:
            return GivenUp()
        try:
            return Outcome(_work(folder, pickle.loads(task)))
        finally:
            mark.unlink(missing_ok=True)
    except _StopError:
        return Stopped()
    except Exception as error:
        return Stopped() if _has_ended(folder) else Outcome(error=portable(error))


def _work(folder: Path, task: Any) -> Any:
    """Do the work of a run with a task, on this worker's share of the cores."""
    import torch

    torch.set_num_threads(my_n_threads())
    return _read_work(folder)(_stopping_with(folder), task)


def _begin(folder: Path, number: int) -> Path | None:
    """Mark an attempt as going on; None if there are too many marks."""
    for n in range(1, MOST_ATTEMPTS + 1):
        mark = folder / f"{number}-{n}"
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        return mark
    return None


def _has_ended(folder: Path) -> bool:
    """Return whether a run was stopped, or its folder is gone."""
    return (folder / STOP).exists() or not folder.exists()


def _stopping_with(folder: Path) -> OnProgress:
    """Return a listener that ends the attempt soon after its run."""
    looked_at = time.monotonic()

    def look(_: Progress) -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at >= LOOKING_S:
            looked_at = time.monotonic()
            if _has_ended(folder):
                raise _StopError

    return look


@functools.lru_cache(maxsize=1)
def _read_work(folder: Path) -> Work:
    """Read the work of a run, once for all attempts of this process."""
    work: Work = pickle.loads((folder / WORK).read_bytes())
    return work
