"""Independent tasks in processes of their own, which share the cores and do not bring each other down."""

import contextlib
import multiprocessing
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch

from sepdict.errors import ConfigError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    n_jobs: int,
    died: Callable[[Task], Result],
    on_result: Callable[[Result], None],
) -> list[Result]:
    """Work on tasks in so many processes at once, with as many threads each as keep the cores busy and no more.

    Parameters
    ----------
    work : callable
        Importable by name, or a partial of such; with tasks and results that can be pickled.
    tasks : sequence
    n_jobs : int
        Processes; never more than torch's threads here.
    died : callable
        Gives the result of a task whose process came to a sudden end, of memory for example; the others go on.
    on_result : callable
        Called in this process, in the order of completion; raising from it ends all processes.

    Returns
    -------
    list
        In the order of the tasks.

    Raises
    ------
    ConfigError
        If a process cannot even start.
    BaseException
        What ``work`` raises.
    """
    n_threads = torch.get_num_threads()
    n_jobs = min(n_jobs, n_threads, len(tasks))
    waiting, results = deque(range(len(tasks))), dict[int, Result]()
    busy: dict[Connection, int | None] = {}  # the number of the task that a worker is on, None while it starts
    with _workers(work, n_threads // max(1, n_jobs)) as start:
        while waiting or busy:
            while len(busy) < min(n_jobs, len(waiting) + len(busy)):
                busy[start()] = None
            for worker in wait(list(busy)):
                assert isinstance(worker, Connection)
                index = busy.pop(worker)
                result, error = _answer(worker, index, died=lambda index: died(tasks[index]))
                if error is not None:
                    raise error
                if index is not None:
                    results[index] = result
                    on_result(result)
                if waiting and not worker.closed:
                    busy[worker] = index = waiting.popleft()
                    worker.send(tasks[index])
    return [results[index] for index in range(len(tasks))]


def _answer(worker: Connection, index: int | None, *, died: Callable[[int], Result]) -> tuple[Result, Exception | None]:
    """Hear a worker's result or exception; close the connection to one that is no more."""
    try:
        answer: tuple[Result, Exception | None] = worker.recv()
    except (EOFError, OSError) as error:
        worker.close()
        if index is None:
            raise ConfigError(
                "processes cannot be started; in a script, ask for several jobs below `if __name__ == '__main__':`"
            ) from error
        return died(index), None
    return answer


@contextlib.contextmanager
def _workers(work: Callable[[Task], Result], n_threads: int) -> Iterator[Callable[[], Connection]]:
    """Start processes that work on whatever they are sent; at the end, stop all and wait until they have."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    workers: list[tuple[BaseProcess, Connection]] = []

    def start() -> Connection:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(work, theirs, n_threads), daemon=True)
        with _interrupts_held():
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        workers.append((process, ours))
        return ours

    try:
        yield start
    finally:
        for process, connection in workers:
            process.terminate()
            connection.close()
        for process, _ in workers:
            process.join()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait, and not reach processes that are started meanwhile: it is this one that decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's own helper, whose start would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[[Task], Result], connection: Connection, n_threads: int) -> None:
    """Say that all is ready, then answer tasks with results or exceptions, until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    torch.set_num_threads(n_threads)
    with contextlib.suppress(EOFError, OSError):  # nobody is there any more
        connection.send((None, None))
        while True:
            task = connection.recv()
            try:
                result, failure = work(task), None
            except Exception as error:
                result, failure = None, _portable(error)
            connection.send((result, failure))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _portable(error: Exception) -> Exception:
    """Put an exception that cannot be handed to another process into one that can."""
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
    """Stop when the process that handed out the tasks is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    signal.raise_signal(signal.SIGTERM)
