"""The queue of `sepdict serve`, the process that works on it, and what is deleted when."""

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from process_tasks import Doing

from sepdict.web.clients import Asker, client_of
from sepdict.web.jobs import ABANDONED, KILLED, Job, JobQueue, QueueFullError, ShareTakenError
from sepdict.web.sessions import Sessions
from sepdict.web.uploads import Limits, Uploads

LIMITS = Limits(n_waiting=3)


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def queue(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    def finish(_: Job, result: Any) -> Any:
        if result["did"] == "lose":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "secret.wav")
        return {**result, "finished": True}

    queue = JobQueue(finish, folder=tmp_path_factory.mktemp("queue"), limits=LIMITS, clock=clock)
    with contextlib.closing(queue):
        yield queue


@pytest.fixture
def job_of(tmp_path: Path) -> Any:
    numbers = iter(range(100))

    def make(what: str, *uses: str) -> Job:
        return Job(Doing(what), frozenset(uses), tmp_path / str(next(numbers)))

    return make


def wait_for(job: Job, *states: str) -> None:
    for _ in range(6000):  # a busy machine may need a minute to start a process
        if job.state in states:
            return
        time.sleep(0.02)
    raise AssertionError(f"{job.state} {job.message}")


def test_jobs_are_done_in_the_order_in_which_they_came(queue: JobQueue, job_of: Any) -> None:
    jobs = [job_of("sleep", "a"), job_of("one", "b"), job_of("two")]
    for job in jobs:
        queue.submit(job)
    wait_for(jobs[0], "running")
    assert [queue.n_before(job) for job in jobs] == [0, 1, 2]
    assert queue.in_use() == {"a", "b"}
    while jobs[0].progress is None:
        time.sleep(0.02)
    assert [job.job_progress.fraction for job in jobs] == [0.5, 0, 0]
    assert (jobs[0].output / "file").exists()
    queue.cancel(jobs[0])
    assert jobs[0].state == "canceled"  # at once
    wait_for(jobs[2], "done")
    assert [job.state for job in jobs] == ["canceled", "done", "done"]
    assert [job.job_progress.fraction for job in jobs] == [0.5, 1, 1]
    assert jobs[1].result == {"did": "one", "process": jobs[2].result["process"], "finished": True}
    assert [job.output.exists() for job in jobs] == [False, True, True]
    assert queue.in_use() == set()
    queue.cancel(jobs[1])
    assert jobs[1].state == "done"


def test_what_waits_can_be_cancelled_and_is_never_begun(queue: JobQueue, job_of: Any) -> None:
    first, second, third = job_of("sleep"), job_of("never"), job_of("third")
    for job in (first, second, third):
        queue.submit(job)
    queue.cancel(second)
    queue.cancel(first)
    wait_for(third, "done")
    assert (first.state, second.state, second.progress) == ("canceled", "canceled", None)
    assert not second.output.exists()


def test_the_line_has_an_end(queue: JobQueue, job_of: Any) -> None:
    jobs = [job_of("sleep") for _ in range(4)]
    queue.submit(jobs[0])
    wait_for(jobs[0], "running")
    for job in jobs[1:]:
        queue.submit(job)
    with pytest.raises(QueueFullError, match="3 jobs are waiting already"):
        queue.submit(job_of("too much"))
    for job in reversed(jobs):
        queue.cancel(job)


def test_errors_are_one_line_that_names_files_as_the_page_does(queue: JobQueue, job_of: Any) -> None:
    mistake, surprise, death, after = job_of("mistake"), job_of("surprise"), job_of("die"), job_of("after")
    for job in (mistake, surprise, death):
        queue.submit(job)
    wait_for(death, "failed")
    queue.submit(after)
    wait_for(after, "done")
    assert mistake.message == "duet.wav is wrong"
    assert "ZeroDivisionError" in surprise.message
    assert "duet" not in surprise.message
    assert "Traceback" not in surprise.message
    assert death.message == KILLED
    assert not any(job.output.exists() for job in (mistake, surprise, death))


@pytest.mark.slow
def test_the_terminal_gets_the_traceback_of_what_nobody_expected(
    job_of: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], really_started: None
) -> None:
    with contextlib.closing(JobQueue(lambda _, result: result, folder=tmp_path, limits=LIMITS)) as own:
        surprise = job_of("surprise")
        own.submit(surprise)
        wait_for(surprise, "failed")
    assert "Traceback" in capfd.readouterr().err


def test_a_process_is_ready_before_the_first_job_and_again_after_one_was_canceled(tmp_path: Path, job_of: Any) -> None:
    with contextlib.closing(JobQueue(lambda _, result: result, folder=tmp_path, limits=LIMITS)) as own:
        running = job_of("sleep")
        own.get_ready()
        first = own._worker._worker
        assert first is not None
        assert first.is_alive
        own.submit(running)
        while running.progress is None:
            time.sleep(0.02)
        assert own._worker._worker is first
        own.cancel(running)
        while own._worker._worker is first:
            time.sleep(0.02)
        assert own._worker._worker.is_alive
    assert not own._worker._worker.is_alive
    own.get_ready()
    assert not own._worker._worker.is_alive  # what is closed stays so


def test_a_job_whose_process_cannot_start_fails_and_the_next_one_is_done(
    queue: JobQueue, job_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    first, after = job_of("never"), job_of("after")
    with monkeypatch.context() as patch:
        patch.setattr("sepdict.web.jobs.Worker", refuse)
        patch.setattr(queue._worker, "_worker", None)
        queue.submit(first)
        wait_for(first, "failed")
    assert "RuntimeError" in first.message
    queue.submit(after)
    wait_for(after, "done")


def test_a_result_that_cannot_be_taken_fails_its_job_only(queue: JobQueue, job_of: Any) -> None:
    lost, after = job_of("lose"), job_of("after")
    for job in (lost, after):
        queue.submit(job)
    wait_for(after, "done")
    assert (lost.state, lost.message) == ("failed", "duet.wav: No such file or directory")
    assert not lost.output.exists()


def test_what_ended_is_forgotten_an_hour_after_its_last_use(queue: JobQueue, job_of: Any, clock: Clock) -> None:
    job = job_of("one")
    queue.submit(job)
    wait_for(job, "done")
    clock.now += 3000
    assert queue.find(job.identifier) is job
    clock.now += 3000
    queue.sweep()
    assert job.output.exists()
    clock.now += 1000
    queue.sweep()
    assert queue.find(job.identifier) is None
    assert not job.output.exists()


def test_what_nobody_asks_about_ends_and_what_somebody_asks_about_goes_on(
    queue: JobQueue, job_of: Any, clock: Clock
) -> None:
    running, asked, waiting, last = job_of("sleep"), job_of("asked"), job_of("never"), job_of("last")
    for job in (running, asked, waiting):
        queue.submit(job)
    wait_for(running, "running")
    clock.now += 500  # a page is loaded again, and none again
    for job in (running, asked):
        assert queue.find(job.identifier) is job
    clock.now += 200
    queue.sweep()
    assert (running.state, waiting.state, waiting.message) == ("running", "canceled", ABANDONED)
    queue.submit(last)  # in the place that has become free
    queue.find(asked.identifier)
    clock.now += 500
    queue.sweep()
    wait_for(last, "done")
    assert (running.state, running.message, asked.state) == ("canceled", ABANDONED, "done")
    clock.now += 4000
    queue.sweep()
    assert queue.look_up(running.identifier) is None


def test_closing_ends_what_runs(tmp_path: Path, job_of: Any) -> None:
    queue = JobQueue(lambda _, result: result, folder=tmp_path, limits=LIMITS)
    running, waiting = job_of("sleep"), job_of("never")
    queue.submit(running)
    queue.submit(waiting)
    while running.progress is None:
        time.sleep(0.02)
    queue.close()
    assert (running.state, waiting.state) == ("canceled", "canceled")


@pytest.fixture
def store(clock: Clock) -> Iterator[Uploads]:
    limits = Limits(file_bytes=100, total_bytes=250, n_files=3, n_arriving=2)
    with contextlib.closing(Uploads(limits, clock)) as store:
        yield store


async def chunks(n_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(n_bytes // 10):
        yield bytes(10)


def receive(store: Uploads, n_bytes: int, *, n_promised: int | None = None, client: str = "") -> str:
    path = store.new_path()
    n_promised = n_bytes if n_promised is None else n_promised
    receiving = store.receive(chunks(n_bytes), path, n_promised=n_promised, client=client)
    assert asyncio.run(receiving) == path.stat().st_size == n_bytes
    return store.add("solo", path, "x", {}, client)


def test_files_are_deleted_an_hour_after_their_last_use_unless_a_job_needs_them(store: Uploads, clock: Clock) -> None:
    used, needed, old = (receive(store, 10) for _ in range(3))
    paths = {name: store.uploads[name].path for name in (used, needed, old)}
    clock.now += 3000
    assert store.find(used) is not None
    clock.now += 1000
    store.sweep(in_use={needed})
    assert [paths[name].exists() for name in (used, needed, old)] == [True, True, False]
    assert store.find(old) is None


@pytest.mark.parametrize("n_promised", [110, 10])
def test_a_file_that_is_too_large_leaves_nothing(store: Uploads, n_promised: int) -> None:
    with pytest.raises(HTTPException, match="413"):
        receive(store, 110, n_promised=n_promised)
    assert list(store.folder.iterdir()) == []
    for _ in range(2):
        receive(store, 100)
    with pytest.raises(HTTPException, match="all files together"):
        receive(store, 60, n_promised=10)
    receive(store, 50)
    with pytest.raises(HTTPException, match="3 files already"):
        receive(store, 0)


def test_an_upload_that_breaks_off_leaves_nothing(store: Uploads) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(10)
        raise ConnectionResetError

    with pytest.raises(HTTPException):
        asyncio.run(store.receive(breaking(), store.new_path(), n_promised=10))
    assert list(store.folder.iterdir()) == []
    receive(store, 100)


def test_closing_deletes_everything(store: Uploads) -> None:
    receive(store, 10)
    store.close()
    assert not store.folder.exists()


async def stalling(n_bytes: int, until: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    yield bytes(n_bytes)
    await (until or asyncio.Event()).wait()


def test_an_upload_that_stalls_ends_and_leaves_nothing(store: Uploads) -> None:
    store.limits = replace(store.limits, stalled_s=0.02)
    with pytest.raises(HTTPException, match="408: nothing of it arrived"):
        asyncio.run(store.receive(stalling(10), store.new_path(), n_promised=100))
    assert list(store.folder.iterdir()) == []
    receive(store, 100)


def test_what_is_promised_and_does_not_arrive_takes_nobodys_place(store: Uploads) -> None:
    async def promise_much_and_send_little() -> None:
        end = asyncio.Event()
        paths = [store.new_path() for _ in range(4)]
        stalled = [asyncio.create_task(store.receive(stalling(10, end), path, n_promised=100)) for path in paths[:2]]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="429: 2 files are being sent already"):
            await store.receive(chunks(10), paths[2], n_promised=10)
        for client in ("192.0.2.1", "192.0.2.2"):
            path = store.new_path()
            await store.receive(chunks(100), path, n_promised=100, client=client)
            store.add("solo", path, "x", {}, client)
        with pytest.raises(HTTPException, match="all files together"):  # 20 bytes of it have arrived
            await store.receive(chunks(40), paths[3], n_promised=40, client="192.0.2.3")
        end.set()
        assert await asyncio.gather(*stalled) == [10, 10]

    asyncio.run(promise_much_and_send_little())


def test_another_machine_gets_its_share_only(clock: Clock) -> None:
    limits = Limits(total_bytes=1000, n_files=4, n_waiting=2, n_sessions=2, share=0.5)
    with contextlib.closing(Uploads(limits, clock)) as store:
        receive(store, 400, client="192.0.2.1")
        with pytest.raises(HTTPException, match="413: all files together pass"):
            receive(store, 110, client="192.0.2.1")
        receive(store, 10, client="192.0.2.1")
        with pytest.raises(HTTPException, match="413: there are 2 files already"):
            receive(store, 10, client="192.0.2.1")
        receive(store, 500)  # this machine may have all that is left
        receive(store, 50, client="192.0.2.2")
    sessions = Sessions(limits, clock)
    sessions.add_upload(sessions.create("192.0.2.1"), "x")
    with pytest.raises(HTTPException, match="503: 1 pages are open"):
        sessions.create("192.0.2.1")
    sessions.create()


def test_another_machines_jobs_leave_places_in_the_line(job_of: Any, tmp_path: Path) -> None:
    limits = Limits(n_waiting=2, share=0.5)
    with contextlib.closing(JobQueue(lambda _, result: result, folder=tmp_path, limits=limits)) as queue:
        jobs = [replace(job_of("sleep"), asker=Asker("", "192.0.2.1")) for _ in range(3)]
        queue.submit(jobs[0])
        wait_for(jobs[0], "running")
        queue.submit(jobs[1])
        with pytest.raises(ShareTakenError, match="1 of your jobs are waiting already"):
            queue.submit(jobs[2])
        queue.submit(job_of("sleep"))


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("127.0.0.1", ""),
        ("127.0.0.2", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("fe80::7%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_machine_is_known_by_its_address(host: str, client: str) -> None:
    assert client_of(host) == client
