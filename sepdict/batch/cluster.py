"""A Dask cluster that carries out the tasks of a batch: paths go there, small results come back, never audio.

The only module that loads Dask, and loaded only where a cluster is asked for.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import pickle
import queue
import reprlib
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed import CancelledError, Client, Future, KilledWorker
from distributed.comm.core import CommClosedError, connect
from distributed.core import send_recv
from distributed.security import Security
from distributed.versions import VersionMismatchWarning

from sepdict._core.fs import hidden_folder, sweep
from sepdict._core.processes import Outcome
from sepdict._core.version import __version__
from sepdict.batch.attempts import MOST_ATTEMPTS, GivenUp, Stopped, attempt, stop, write_work
from sepdict.batch.executors import Result, Task, counting
from sepdict.batch.workers import Answer, Needs, answer, shares, unfitness, use_threads
from sepdict.errors import ConfigError
from sepdict.progress import OnProgress

log = logging.getLogger(__name__)

AUTO = "auto"
TASKS_PER_WORKER = 2  # one that is worked on, one that waits there, so that no worker is idle
LOOKING_S = 1.0  # between two looks for new workers
FETCHING_S = 10.0  # for the outcome of an attempt that has ended; what is lost is tried again, and found done
STOPPING_S = 60.0  # for attempts to end
KILLED = f"it killed its worker {MOST_ATTEMPTS} times, perhaps for memory; give workers more, or shorten the segments"


@contextlib.contextmanager
def connected(where: str) -> Iterator[Client]:
    """Connect to a scheduler for the ``with`` block.

    Parameters
    ----------
    where : str
        The scheduler's address, the path of a scheduler file, or ``"auto"`` for what Dask's configuration names.

    Raises
    ------
    ConfigError
        If no scheduler answers there in the time that Dask's setting ``distributed.comm.timeouts.connect`` gives.
    """
    address = _address(where)
    with _dask_silent():
        _greet(address, parse_timedelta(dask.config.get("distributed.comm.timeouts.connect")))
        with Client(address, set_as_default=False) as client:
            yield client


def _greet(address: str, wait_s: float) -> None:
    """Refuse an address at which no scheduler answers in time; a client alone would wait for ever in some cases."""

    async def ask() -> Any:
        comm = await connect(address, timeout=wait_s, **Security().get_connection_args("client"))
        try:
            return await send_recv(comm, op="identity")
        finally:
            comm.abort()

    try:
        kind = asyncio.run(asyncio.wait_for(ask(), wait_s))["type"]
    except TypeError as error:  # there is no context of TLS
        how = "name them in Dask's configuration (distributed.comm.tls)"
        raise ConfigError(f"{address}: wants certificates of TLS, and there are none here; {how}") from error
    except ValueError as error:
        raise ConfigError(f"{address}: is no scheduler's address; expected one like tcp://host:8786") from error
    except Exception as error:  # whatever something else answers
        how = "check the address, and that the scheduler runs"
        raise ConfigError(f"{address}: no Dask scheduler answered within {wait_s:g} s; {how}") from error
    if kind != "Scheduler":
        raise ConfigError(f"{address}: is the address of a {kind.lower()}; expected the scheduler's")


def _address(where: str) -> str:
    """Return the address of a scheduler."""
    if where == AUTO:
        address = dask.config.get("scheduler-address", None)
        if address is None:
            raise ConfigError("Dask's configuration names no scheduler; have DASK_SCHEDULER_ADDRESS name one")
        return str(address)
    if "://" in where or not (os.sep in where or where.endswith(".json") or Path(where).exists()):
        return where
    try:
        return str(json.loads(Path(where).read_bytes())["address"])
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); expected a scheduler file of Dask") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where}: names no address; expected a scheduler file of Dask") from error


@contextlib.contextmanager
def _dask_silent() -> Iterator[None]:
    """Keep Dask's own log and warnings from the screen: what matters is reported in our words."""
    theirs = ("distributed", "tornado", "asyncio")  # the last tells what Dask did not wait for
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in theirs]
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


class DaskCluster:
    """Carries out tasks on the workers of a Dask cluster, an `Executor`.

    The folders of inputs and outputs must be the same on all machines, under the same paths. A task whose worker ends
    suddenly is tried again elsewhere, twice at most. The connection to the scheduler may be cut and come back. Workers
    that join later get work.

    Parameters
    ----------
    client : distributed.Client
        Not an asynchronous one.

    Raises
    ------
    ConfigError
        If it is something else.
    """

    def __init__(self, client: object) -> None:
        if not isinstance(client, Client) or client.asynchronous:
            raise ConfigError(
                f"client is {reprlib.repr(client)}; expected a distributed.Client that is not asynchronous"
            )
        self.client = client
        self._reads: Sequence[Path] = ()
        self._met: dict[str, Answer] = {}
        self._there: set[str] = set()  # workers that were asked, can work, and are there
        self._left_out: set[str] = set()  # workers that joined during the work, and cannot do it
        self._is_working = False
        self._asked_at = -math.inf

    def refuse_unfit(self, out: Path, reads: Sequence[Path]) -> None:
        """Refuse workers that cannot do the work; see `Executor`."""
        self._reads = reads
        with hidden_folder(out) as folder:
            self._meet(folder)
        if not self._there:
            raise ConfigError(f"the scheduler {self._where} has no workers; start some (dask worker {self._where})")

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
        if not tasks:
            return
        told, n_left, self._is_working = counting(on_result, on_progress, len(tasks)), len(tasks), True
        with hidden_folder(out) as folder:
            write_work(folder, work)
            with _Flights(self.client, folder, tasks, on_late=told) as flights:
                while n_left:
                    self._meet(folder)
                    flights.fill(self._there)
                    for number, outcome in flights.landed():
                        n_left -= 1
                        if isinstance(outcome, GivenUp):
                            told(number, died(tasks[number], KILLED))
                        elif outcome.error is None:
                            told(number, outcome.result)
                        else:
                            raise outcome.error
            if self._met.keys() - self._there:
                self.client.run(sweep, out, on_error="ignore")  # what killed workers left on machines of their own

    @property
    def _where(self) -> str:
        """The scheduler's address."""
        return str(getattr(self.client.scheduler, "address", "of the cluster"))

    def _meet(self, folder: Path) -> None:
        """Look which workers there are, ask those that are new, and share out the cores anew if that changed."""
        if time.monotonic() - self._asked_at < LOOKING_S and self._there:
            return
        self._asked_at = time.monotonic()
        with contextlib.suppress(OSError, ValueError):  # the connection is cut, perhaps for a moment
            there = self.client.nthreads().keys()  # scheduler_info() may give none, by a race of its own
            self._meet_those(there, folder)

    def _meet_those(self, there: Collection[str], folder: Path) -> None:
        """Ask workers that are new, and share out the cores anew if some came or left."""
        if not there and self._there:
            log.warning("the scheduler %s has no workers any more; waiting for some", self._where)
        self._ask([worker for worker in there if worker not in self._met and worker not in self._left_out], folder)
        known = {worker: self._met[worker] for worker in there if worker in self._met}
        if known.keys() != self._there:
            own = shares(known)
            for n in set(own.values()):
                self._run(use_threads, n, workers=[worker for worker in own if own[worker] == n])
            self._there = set(known)

    def _ask(self, workers: Sequence[str], folder: Path) -> None:
        """Ask new workers for their versions and what they see; refuse what does not fit, or later leave it out."""
        right: list[str] = []
        for worker, found in self._run(version, "sepdict", workers=workers).items():
            if found == __version__:
                right.append(worker)
            else:
                has = "no sepdict" if isinstance(found, PackageNotFoundError) else f"sepdict {found}"
                self._refuse(worker, f"worker {worker} has {has}, here it is {__version__}; install the same on both")
        for worker, found in self._run(answer, Needs.of(folder, self._reads), workers=right).items():
            if not isinstance(found, Answer):
                self._refuse(worker, f"worker {worker} cannot work ({type(found).__name__}: {found})")
            elif why := unfitness(worker, found):
                self._refuse(worker, why)
            else:
                self._met[worker] = found

    def _refuse(self, worker: str, why: str) -> None:
        """Refuse a worker before the work; once others work, leave it out."""
        if not self._is_working:
            raise ConfigError(why)
        log.warning("%s; it gets no work", why)
        self._left_out.add(worker)

    def _run(self, function: Callable[..., Any], *args: Any, workers: Sequence[str]) -> dict[str, Any]:
        """Call a function on workers, and return what it returns or raises; leave out those that ended meanwhile."""
        if not workers:
            return {}
        told = self.client.run(function, *args, workers=list(workers), on_error="return")
        return {worker: each for worker, each in told.items() if not isinstance(each, OSError)}


class _Flights:
    """The tasks of a run that are on their way, as a context manager: after an error it ends them.

    Parameters
    ----------
    client : Client
    folder : Path
        The run's.
    tasks : sequence
    on_late : callable
        Called with the numbers and results of attempts that end well while all are being ended.
    """

    def __init__(
        self, client: Client, folder: Path, tasks: Sequence[Any], *, on_late: Callable[[int, Any], None]
    ) -> None:
        self.client, self.folder, self.tasks, self.on_late = client, folder, tasks, on_late
        self.ahead = iter(range(len(tasks)))
        self.again = deque[int]()
        self.under_way: dict[Future[Any], int] = {}
        self.workers = frozenset[str]()
        self.workers_of: dict[Future[Any], frozenset[str]] = {}  # those of which one may work on it
        self.ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.n_kills: dict[int, int] = {}

    def __enter__(self) -> "_Flights":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop attempts that go on, and cancel the others."""
        try:
            if kind is not None and self.client.status == "running":
                stop(self.folder)
                until = time.monotonic() + STOPPING_S
                while self.under_way and time.monotonic() < until:
                    self._tell_late()
        finally:
            with contextlib.suppress(Exception):
                self.client.cancel(list(self.under_way))

    def fill(self, workers: Collection[str]) -> None:
        """Submit tasks until enough are under way, for these workers only; what waits for others is tried again."""
        self._refuse_closed()
        if workers and self.workers != workers:
            self._follow(frozenset(workers))
        while len(self.under_way) < len(workers) * TASKS_PER_WORKER:
            number = self.again.popleft() if self.again else next(self.ahead, None)
            if number is None:
                return
            key = f"sepdict-{number}-{uuid.uuid4().hex}"
            task = pickle.dumps(self.tasks[number])
            where = list(self.workers)
            future = self.client.submit(attempt, self.folder, number, task, key=key, pure=False, workers=where)
            self.under_way[future], self.workers_of[future] = number, self.workers
            future.add_done_callback(self.ended.put)

    def _follow(self, workers: frozenset[str]) -> None:
        """Give these workers what waits, also for others, and try again what waits for workers that are gone."""
        self.workers = workers
        for future in [future for future, meant in self.workers_of.items() if meant.isdisjoint(workers)]:
            self.again.append(self._end(future))
            future.cancel()
        with contextlib.suppress(OSError, KeyError):  # the connection is cut, or one has ended meanwhile
            allowed = {future.key: list(workers) for future in self.workers_of}
            assert self.client.scheduler is not None
            self.client.sync(self.client.scheduler.set_restrictions, worker=allowed)
            self.workers_of = dict.fromkeys(self.workers_of, workers)

    def _end(self, future: "Future[Any]") -> int:
        """Take an attempt off the list, and return the number of its task."""
        del self.workers_of[future]
        return self.under_way.pop(future)

    def landed(self) -> Iterator[tuple[int, Outcome | GivenUp]]:
        """Return the outcomes that came since, after a moment also none; what was lost is tried again."""
        for future, number in self._wait():
            outcome = self._outcome(future, number)
            if isinstance(outcome, Outcome | GivenUp):
                yield number, outcome
            else:
                self.again.append(number)

    def _tell_late(self) -> None:
        """Wait a moment for attempts to end, and tell the results of those that did their work to its end."""
        for future, number in self._wait():
            with contextlib.suppress(Exception, KeyboardInterrupt):  # the listener may be what ended the run
                outcome = self._outcome(future, number)
                if isinstance(outcome, Outcome) and outcome.error is None:
                    self.on_late(number, outcome.result)

    def _wait(self) -> list[tuple["Future[Any]", int]]:
        """Wait a moment for futures that end."""
        with contextlib.suppress(queue.Empty):
            future = self.ended.get(timeout=LOOKING_S)
            return [(future, self._end(future))] if future in self.under_way else []
        self._refuse_closed()
        return []

    def _refuse_closed(self) -> None:
        """Refuse to go on where the client has given up connecting again."""
        if self.client.status == "closed":
            raise ConfigError("the connection to the scheduler is lost; start it, and go on with --skip-existing")

    def _outcome(self, future: "Future[Any]", number: int) -> Outcome | GivenUp | Stopped | None:
        """Return what became of an attempt; None if it is not known."""
        if future.status == "cancelled":  # the connection to the scheduler was cut
            return None
        too_late = threading.Timer(FETCHING_S, _cancel, [future])  # a timeout of Dask's would leave its own task behind
        too_late.start()
        try:
            outcome: Outcome | GivenUp | Stopped = future.result()
        except KilledWorker:  # which counts also those that only waited on a worker that was killed
            self.n_kills[number] = self.n_kills.get(number, 0) + 1
            return GivenUp() if self.n_kills[number] == MOST_ATTEMPTS else None
        except (CancelledError, CommClosedError):  # the connection was cut, perhaps while the outcome came; or a worker
            return None  # ended with it, and others may not make it anew
        except Exception as error:
            raise ConfigError(f"a worker cannot work ({type(error).__name__}: {error})") from error
        finally:
            too_late.cancel()
        return outcome


def _cancel(future: "Future[Any]") -> None:
    """Cancel a future, unless its client has closed meanwhile."""
    with contextlib.suppress(Exception):
        future.cancel()
