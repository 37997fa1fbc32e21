"""Jobs: the same results as one after the other, and a process that dies or fails takes nobody with it."""

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from process_tasks import count, die_of_two, fail_unportably, identity_of, linger_or_return, refuse_to_stop

from sepdict._core import processes
from sepdict._core.processes import Outcome, Started, Worker
from sepdict.errors import ConfigError


def lost(task: object) -> str:
    return f"lost {task}"


def in_processes(
    work: Callable[[Any], Any], tasks: Sequence[Any], *, on_result: Callable[[Any], None] = lambda _: None, **how: Any
) -> list[Any]:
    """Collect results in the order of the tasks."""
    results = {}

    def keep(number: int, result: Any) -> None:
        results[number] = result
        on_result(result)

    processes.in_processes(work, tasks, on_result=keep, **how)
    return [results[number] for number in range(len(tasks))]


@pytest.mark.slow
def test_results_come_in_the_order_of_the_tasks_and_are_told_as_they_come(
    two_threads: None, really_started: None
) -> None:
    heard: list[float] = []
    results = in_processes(math.sqrt, [16.0, 9.0, 4.0], n_jobs=2, died=lost, on_result=heard.append)
    assert results == [4.0, 3.0, 2.0]
    assert sorted(heard) == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(("n_jobs", "n_processes", "n_threads"), [(1, 1, 2), (9, 2, 1)])
def test_processes_together_have_no_more_threads_than_this_one(
    two_threads: None, n_jobs: int, n_processes: int, n_threads: int
) -> None:
    results = in_processes(identity_of, [0] * 4, n_jobs=n_jobs, died=lost)
    processes = {process for process, _ in results}
    assert len(processes) <= n_processes
    assert os.getpid() not in processes
    assert {threads for _, threads in results} == {n_threads}


def test_a_process_that_dies_costs_its_own_task_only(two_threads: None) -> None:
    results = in_processes(die_of_two, [0, 1, 2, 3], n_jobs=2, died=lost)
    assert results == [0, -1, "lost 2", -3]


def test_what_a_task_raises_reaches_the_caller(two_threads: None) -> None:
    with pytest.raises(ValueError, match="math domain error"):
        in_processes(math.sqrt, [1.0, -1.0, 4.0], n_jobs=2, died=lost)


def test_an_exception_that_cannot_leave_its_process_is_told_in_words(two_threads: None) -> None:
    with pytest.raises(RuntimeError, match=r"^UnportableError: stuck$"):
        in_processes(fail_unportably, [1], n_jobs=2, died=lost)


def test_when_one_fails_the_others_clear_up_before_they_end(tmp_path: Path, two_threads: None) -> None:
    lingering = tmp_path / "half-written"

    def fail_when_there(_: object) -> None:
        while not lingering.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_processes(linger_or_return, [str(lingering), ""], n_jobs=2, died=lost, on_result=fail_when_there)
    assert not lingering.exists()


class DiesAtStart:
    """Ends any process that it is brought to."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)

    def __call__(self, _: object) -> None:
        pass


@pytest.mark.slow
def test_processes_that_cannot_start_are_an_error_and_not_tried_forever(
    two_threads: None, really_started: None
) -> None:
    with pytest.raises(ConfigError, match="processes cannot be started; in a script, ask for several jobs below"):
        in_processes(DiesAtStart(), [1, 2, 3], n_jobs=2, died=lost)


def test_no_tasks_are_no_work() -> None:
    assert in_processes(math.sqrt, [], n_jobs=2, died=lost) == []


def test_a_worker_sends_what_happens_in_a_task_before_its_outcome() -> None:
    worker = Worker(count)
    worker.connection.send(2)
    worker.connection.send(0)
    assert [worker.connection.recv() for _ in range(5)] == [Started(), 0, 1, Outcome(2), Outcome(0)]
    worker.connection.send("two")
    assert isinstance(worker.connection.recv().error, TypeError)
    assert worker.is_alive
    Worker.stop([worker])
    assert not worker.is_alive
    with pytest.raises((EOFError, OSError)):
        worker.connection.recv()


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = tmp_path / "goes on"
    worker = Worker(refuse_to_stop)
    worker.connection.send(str(stubborn))
    while not stubborn.exists():
        time.sleep(0.01)
    Worker.stop([worker], patience_s=0.1)
    assert not worker.is_alive
