"""Row 1: independent tasks in processes of their own, which share the cores and do not bring each other down."""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

import torch

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
    BaseException
        What ``work`` raises.
    """
    n_threads = torch.get_num_threads()
    n_jobs = min(n_jobs, n_threads, len(tasks))
    waiting, results = deque(enumerate(tasks)), dict[int, Result]()
    with contextlib.ExitStack() as workers:
        busy: dict[Connection, int] = {}  # and the number of the task that it is on

        def hand_out() -> None:
            while waiting and len(busy) < n_jobs:
                worker = idle.pop() if idle else workers.enter_context(_worker(work, n_threads // n_jobs))
                busy[worker] = waiting[0][0]
                worker.send(waiting.popleft()[1])

        idle: list[Connection] = []
        hand_out()
        while busy:
            for worker in wait(list(busy)):
                assert isinstance(worker, Connection)
                index = busy.pop(worker)
                try:
                    result, error = worker.recv()
                    idle.append(worker)
                except EOFError:
                    result, error = died(tasks[index]), None
                if error is not None:
                    raise error
                results[index] = result
                on_result(result)
            hand_out()
    return [results[index] for index in range(len(tasks))]


@contextlib.contextmanager
def _worker(work: Callable[[Task], Result], n_threads: int) -> Iterator[Connection]:
    """Start a process that works on whatever it is sent; at the end, tell it to stop and wait until it has."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs, n_threads), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join()


def _serve(work: Callable[[Task], Result], connection: Connection, n_threads: int) -> None:
    """Answer tasks with results or exceptions, until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the first one decides
    signal.signal(signal.SIGTERM, _stop)
    torch.set_num_threads(n_threads)
    with contextlib.suppress(EOFError):
        while True:
            task = connection.recv()
            try:
                result, failure = work(task), None
            except Exception as error:
                result, failure = None, error
            connection.send((result, failure))


def _stop(*_: object) -> None:
    """End as after Ctrl-C, so that nothing half-written is left."""
    raise SystemExit
