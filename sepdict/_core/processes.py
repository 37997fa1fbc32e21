"""Worker processes: they share the cores, can be stopped at any time, and do not bring each other down."""

import contextlib
import functools
import itertools
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from sepdict.errors import ConfigError

Task = TypeVar("Task")
Result = TypeVar("Result")
Send = Callable[[Any], None]
"""Sends an event from a worker process to the process that started it."""


@dataclass(frozen=True)
class Started:
    """The first message of a worker: it can take tasks."""


@dataclass(frozen=True)
class Outcome:
    """The last message about a task: its result, or the exception that it raised."""

    result: Any = None
    error: Exception | None = None


class Worker:
    """A process that works on the tasks it receives, one after another.

    Tasks go into `connection`, messages come out of it: first `Started`, then for each task its events and its
    `Outcome`. Where the process has ended, receiving raises EOFError or OSError. The process ends with its parent.

    Parameters
    ----------
    work : callable
        Called in the process with a task and a `Send` for events. Importable by name, or a partial of such; tasks,
        events and results can be pickled.
    n_threads : int, optional
        Threads of torch in the process; by default as many as torch takes.
    """

    def __init__(self, work: Callable[[Any, Send], Any], *, n_threads: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")  # a forked torch may hang
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs, n_threads), daemon=True)
        with _interrupts_blocked():
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    @property
    def is_alive(self) -> bool:
        """True until the process has ended."""
        return self._process.is_alive()

    @staticmethod
    def stop(workers: Sequence["Worker"], *, patience_s: float | None = None) -> None:
        """End processes, and wait until they have cleaned up; kill those that take longer than the patience."""
        for worker in workers:
            worker._process.terminate()
        for worker in workers:
            worker._process.join(patience_s)
            if worker.is_alive:
                worker._process.kill()
                worker._process.join()


def in_processes(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    n_jobs: int,
    died: Callable[[Task], Result],
    on_result: Callable[[int, Result], None],
) -> None:
    """Work on tasks in several processes at once, which together have as many threads as torch has here.

    Parameters
    ----------
    work : callable
        Importable by name, or a partial of such; with tasks and results that can be pickled.
    tasks : sequence
    n_jobs : int
        Processes; never more than torch's threads here.
    died : callable
        Gives the result of a task whose process ended suddenly, of memory for example; the others go on.
    on_result : callable
        Called in this process with a task's number and result, in the order of completion; raising from it ends all
        processes.

    Raises
    ------
    ConfigError
        If a process cannot even start.
    BaseException
        What ``work`` raises.
    """
    n_threads = torch.get_num_threads()
    n_jobs = min(n_jobs, n_threads, len(tasks))
    n_waiting, following = len(tasks), itertools.count()
    busy: dict[Connection, int | None] = {}  # the number of the task that a worker is on, None while it starts
    with _workers(functools.partial(_without_events, work), n_threads // max(1, n_jobs)) as start:
        while n_waiting or busy:
            while len(busy) < min(n_jobs, n_waiting + len(busy)):
                busy[start()] = None
            for worker in wait(list(busy)):
                assert isinstance(worker, Connection)
                index = busy.pop(worker)
                result, error = _answer(worker, index, died=lambda index: died(tasks[index]))
                if error is not None:
                    raise error
                if index is not None:
                    on_result(index, result)
                if n_waiting and not worker.closed:
                    busy[worker] = index = next(following)
                    n_waiting -= 1
                    worker.send(tasks[index])


def _without_events(work: Callable[[Task], Result], task: Task, _: Send) -> Result:
    """Call work that sends no events."""
    return work(task)


def _answer(worker: Connection, index: int | None, *, died: Callable[[int], Result]) -> tuple[Any, Exception | None]:
    """Receive a worker's result or exception; close the connection to a process that has ended."""
    try:
        message = worker.recv()
    except (EOFError, OSError) as error:
        worker.close()
        if index is None:
            raise ConfigError(
                "processes cannot be started; in a script, ask for several jobs below `if __name__ == '__main__':`"
            ) from error
        return died(index), None
    return (message.result, message.error) if isinstance(message, Outcome) else (None, None)


@contextlib.contextmanager
def _workers(work: Callable[[Any, Send], Any], n_threads: int) -> Iterator[Callable[[], Connection]]:
    """Start workers when asked, and return the connection to each; at the end, stop all."""
    workers: list[Worker] = []

    def start() -> Connection:
        workers.append(Worker(work, n_threads=n_threads))
        return workers[-1].connection

    try:
        yield start
    finally:
        Worker.stop(workers)
        for worker in workers:
            worker.connection.close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C, so that processes that are started meanwhile never receive it: their parent decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's own helper, whose start would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[[Any, Send], Any], connection: Connection, n_threads: int | None) -> None:
    """Answer tasks with events and outcomes, until the process is terminated or its parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    if n_threads is not None:
        torch.set_num_threads(n_threads)

    def send(event: Any) -> None:
        try:
            connection.send(event)
        except OSError:
            raise SystemExit from None  # nobody is there any more

    with contextlib.suppress(EOFError, OSError):
        connection.send(Started())
        while True:
            task = connection.recv()
            try:
                outcome = Outcome(work(task, send))
            except Exception as error:
                outcome = Outcome(error=portable(error))
            connection.send(outcome)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def portable(error: Exception) -> Exception:
    """Return the exception, or where it cannot be pickled one with its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _stop(*_: object) -> None:
    """End as after Ctrl-C, so that nothing half-written is left."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _stop_with_parent() -> None:
    """Stop when the parent process has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGTERM)
