"""The queue of jobs, which a worker process performs one after another.

A thread could only stop at its next step, which may take seconds, or never come. A process stops at once, gives its
memory back, and does not take the server with it when it crashes.
"""

import contextlib
import functools
import logging
import math
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sepdict import SepdictError
from sepdict._core.processes import Outcome, Send, Worker
from sepdict.progress import JobProgress, Progress
from sepdict.web.clients import NOBODY, Asker
from sepdict.web.tasks import Task, explain
from sepdict.web.uploads import Limits

KILLED = "its process came to a sudden end, perhaps for want of memory; try shorter recordings"
ABANDONED = "no page asked about it any more"
STOPPING_S = 5.0  # how long a process may take to tidy up before it is killed
UNFINISHED = ("waiting", "running")


class QueueFullError(SepdictError):
    """The queue is full."""


class ShareTakenError(QueueFullError):
    """One client has all the places that it may have."""


@dataclass(eq=False)
class Job:
    """A task in the queue, and its result.

    Attributes
    ----------
    task : Task
    uses : frozenset of str
        Uploads that must stay until the job is finished.
    output : Path
        A folder for what the task writes; deleted unless it is done, and when the job is forgotten.
    asker : Asker
    request : mapping
        What was asked for, as JSON can hold it.
    identifier : str
    state : str
        ``"waiting"``, ``"running"``, ``"done"``, ``"failed"`` or ``"canceled"``.
    progress : Progress or None
        The last step, while it runs.
    job_progress : JobProgress
        Progress of the whole job.
    message : str
        Reason of a failure, or of an end that nobody asked for.
    warnings : list of str
        The library's warnings so far.
    result : mapping
    started, stopped, used : float
        By the queue's clock.
    ended : datetime or None
        When it was done, failed or was canceled.
    """

    task: Task
    uses: frozenset[str]
    output: Path
    asker: Asker = NOBODY
    request: Mapping[str, Any] = field(default_factory=dict)
    identifier: str = field(default_factory=lambda: secrets.token_hex(16))
    state: str = "waiting"
    progress: Progress | None = None
    message: str = ""
    warnings: list[str] = field(default_factory=list)
    result: Mapping[str, Any] = field(default_factory=dict)
    started: float = math.nan
    stopped: float = math.nan
    used: float = math.nan
    ended: datetime | None = None

    def __post_init__(self) -> None:
        self.job_progress = JobProgress(self.task.plan)

    def advance(self, progress: Progress) -> None:
        """Record a step of progress."""
        self.job_progress.advance(progress)
        self.progress = progress


class JobQueue:
    """Performs jobs in the order in which they were submitted.

    Parameters
    ----------
    finish : callable
        Called with a finished job and its result; returns the result that the job shows.
    folder : Path
        Folder of the worker process for temporary files.
    limits : Limits
        Here of the jobs that wait, and of the times after which jobs are canceled and forgotten.
    clock : callable
    """

    def __init__(
        self,
        finish: Callable[[Job, Mapping[str, Any]], Mapping[str, Any]],
        *,
        folder: Path,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.finish, self.limits, self.clock = finish, limits, clock
        self._jobs: dict[str, Job] = {}  # in the order in which they came
        self._changed = threading.Condition()
        self._worker = JobWorker(folder)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sepdict-jobs", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Append a job to the queue.

        Raises
        ------
        QueueFullError
            If too many are there; `ShareTakenError` if too many of the same client.
        """
        with self._changed:
            waiting, most = self._waiting(), self.limits.of(job.asker.client, self.limits.n_waiting)
            n_own = sum(each.asker.client == job.asker.client for each in waiting)
            if len(waiting) >= self.limits.n_waiting:
                raise QueueFullError(f"{len(waiting)} jobs are waiting already; try again when some are done")
            if n_own >= most:
                raise ShareTakenError(f"{n_own} of your jobs are waiting already; try again when some are done")
            job.used = self.clock()
            self._jobs[job.identifier] = job
            self._changed.notify_all()

    def get_ready(self) -> None:
        """Prepare for a job that is about to come."""
        self._worker.get_ready()

    def look_up(self, identifier: str) -> Job | None:
        """Find a job, which is no use of it."""
        with self._changed:
            return self._jobs.get(identifier)

    def find(self, identifier: str) -> Job | None:
        """Find a job, and count that as a use of it."""
        with self._changed:
            job = self._jobs.get(identifier)
            if job is not None:
                job.used = self.clock()
            return job

    def n_before(self, job: Job) -> int:
        """Count the jobs that must end before a waiting one begins."""
        with self._changed:
            unfinished = [each for each in self._jobs.values() if each.state in UNFINISHED]
            return unfinished.index(job) if job in unfinished else 0

    def elapsed_s(self, job: Job) -> float:
        """Return how long a job has run."""
        now = job.stopped if math.isfinite(job.stopped) else self.clock()
        return now - job.started if math.isfinite(job.started) else 0.0

    def cancel(self, job: Job, why: str = "") -> None:
        """End a waiting or running job at once; do nothing to one that has ended."""
        with self._changed:
            if job.state not in UNFINISHED:
                return
            job.state, job.used, job.ended, job.message = "canceled", self.clock(), datetime.now(UTC), why
        self._worker.stop(job)  # the queue's thread sees the end of the pipe

    def cancel_those(self, are_meant: Callable[[Job], bool], why: str) -> None:
        """Cancel some jobs."""
        with self._changed:
            meant = [job for job in self._jobs.values() if are_meant(job)]
        for job in reversed(meant):  # from the last, so that none begins meanwhile
            self.cancel(job, why)

    def in_use(self) -> set[str]:
        """Return the uploads that unfinished jobs need."""
        with self._changed:
            return {upload for job in self._jobs.values() if job.state in UNFINISHED for upload in job.uses}

    def sweep(self) -> None:
        """Cancel the jobs that nobody asks about, and forget those that ended and were not used for a long time."""
        for job in reversed(self._unused_for(self.limits.abandoned_s)):  # from the last, so that none begins meanwhile
            self.cancel(job, ABANDONED)
        for job in self._unused_for(self.limits.kept_s):
            self.forget(job)

    def forget(self, job: Job) -> bool:
        """Delete a job that has ended, with its output, and return True; do nothing to an unfinished one."""
        with self._changed:
            if job.state in UNFINISHED:
                return False
            self._jobs.pop(job.identifier, None)
        shutil.rmtree(job.output, ignore_errors=True)
        return True

    def close(self) -> None:
        """Cancel everything and wait until nothing runs."""
        with self._changed:
            self._closing = True
            for job in self._jobs.values():
                job.state = "canceled" if job.state in UNFINISHED else job.state
            self._changed.notify_all()
        self._worker.close()
        self._thread.join()

    def _unused_for(self, seconds: float) -> list[Job]:
        """List the jobs that nobody has asked about for some time."""
        with self._changed:
            oldest = self.clock() - seconds
            return [job for job in self._jobs.values() if job.used < oldest]

    def _waiting(self) -> list[Job]:
        """List the jobs that have not begun."""
        return [job for job in self._jobs.values() if job.state == "waiting"]

    def _run(self) -> None:
        """Work until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting())
                if self._closing:
                    return
                job = self._waiting()[0]
                job.state, job.started = "running", self.clock()
            end, outcome = self._worker.perform(job)
            self._end(job, end, outcome)
            self._worker.get_ready()  # it may have been stopped

    def _end(self, job: Job, end: str, outcome: Any) -> None:
        """Record how a job ended, unless it was canceled meanwhile, and delete the output of a failed one."""
        if end == "done" and job.state == "running":
            job.job_progress.finish()
            try:
                outcome = self.finish(job, outcome)
            except Exception as error:  # the next job is not to wait for ever
                end, outcome = "failed", explain(error, job.task)
        with self._changed:
            job.used = job.stopped = self.clock()
            if job.state == "running":
                job.state, job.ended = end, datetime.now(UTC)
                job.result, job.message = (outcome, "") if end == "done" else ({}, outcome)
        if job.state != "done":
            shutil.rmtree(job.output, ignore_errors=True)


class JobWorker:
    """Performs jobs in a worker process, which is started in advance, and again after it was stopped or died."""

    def __init__(self, folder: Path) -> None:
        self._work = functools.partial(_perform, folder)
        self._worker: Worker | None = None
        self._job: Job | None = None  # what it works on
        self._is_closed = False
        self._lock = threading.Lock()

    def get_ready(self) -> None:
        """Start the process if there is none, and do not wait: it takes seconds until it can begin with a job."""
        with self._lock, contextlib.suppress(Exception):  # which the next job meets, too, and reports
            if not self._is_closed:
                self._start()

    def perform(self, job: Job) -> tuple[str, Any]:
        """Perform a job's task; return ``"done"`` with its result, or ``"failed"`` with a message."""
        try:
            connection = self._begin(job)
            connection.send((job.task, job.output))
            while True:
                message = connection.recv()
                if isinstance(message, Progress):
                    job.advance(message)
                elif isinstance(message, str):
                    job.warnings.append(message)
                elif isinstance(message, Outcome):
                    return message.result if message.error is None else ("failed", str(message.error))
        except (EOFError, OSError):
            return "failed", KILLED
        except Exception as error:  # no process can be started, for example: the queue is to go on
            return "failed", explain(error, job.task)
        finally:
            with self._lock:
                self._job = None

    def stop(self, job: Job) -> None:
        """End the process if it works on this job."""
        with self._lock:
            if job is self._job:
                self._end()

    def close(self) -> None:
        """End the process for good."""
        with self._lock:
            self._is_closed = True
            self._end()

    def _begin(self, job: Job) -> Connection:
        """Start the process if there is none, and enter the job, unless it was canceled just now."""
        with self._lock:
            if job.state != "running":
                raise EOFError
            self._job = job
            return self._start()

    def _start(self) -> Connection:
        """Start the process if there is none."""
        if self._worker is None or not self._worker.is_alive:
            self._worker = Worker(self._work)
        return self._worker.connection

    def _end(self) -> None:
        """End the process if there is one."""
        if self._worker is not None:
            Worker.stop([self._worker], patience_s=STOPPING_S)


def _perform(folder: Path, request: tuple[Task, Path], send: Send) -> tuple[str, Any]:
    """Perform a task in the worker process, and send its progress and warnings."""
    task, output = request
    tempfile.tempdir = str(folder)  # so that files left by a sudden end are deleted with the server's
    logging.basicConfig(format="sepdict: %(message)s")  # unexpected errors go to the server's terminal
    log, handler = logging.getLogger("sepdict"), _SendWarnings(send, task)
    log.addHandler(handler)
    try:
        output.mkdir()
        return "done", task.perform(output, send)
    except Exception as error:
        return "failed", explain(error, task)
    finally:
        log.removeHandler(handler)


class _SendWarnings(logging.Handler):
    """Sends the library's warnings."""

    def __init__(self, send: Send, task: Task) -> None:
        super().__init__(logging.WARNING)
        self.send, self.task = send, task

    def emit(self, record: logging.LogRecord) -> None:
        """Send a warning with the page's names of files; errors go to the terminal."""
        if record.levelno == logging.WARNING:
            self.send(self.task.named(record.getMessage()))
