"""A Dask cluster makes what this machine makes: every file is done or reported, whatever ends."""

import contextlib
import gc
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask.config
import pytest
import torch
from dask_cluster import local_cluster
from distributed import Client, Future, LocalCluster
from distributed.comm.core import CommClosedError
from front_end import read_json, trained, tree, write_bad, write_mixtures
from process_tasks import kill_at_first, kill_at_poison, kill_once, meet, meeting, note_process, wait_for_release

from sepdict._core.fs import hidden_folder
from sepdict._core.processes import Outcome
from sepdict.audio.io import read_audio
from sepdict.batch.attempts import attempt, write_work
from sepdict.batch.cluster import DaskCluster
from sepdict.batch.config import BatchConfig
from sepdict.batch.executors import connected, executor_of
from sepdict.batch.run import separate_files, separate_folder
from sepdict.batch.workers import Answer, Needs, answer, shares, unfitness, versions
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError, LibraryError
from sepdict.progress import Progress
from sepdict.separation.config import FitConfig, SeparationConfig

CHECK = "check the address, and that the scheduler runs"
QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


def carry_out(
    client: Client,
    out: Path,
    work: Callable[..., Any],
    tasks: list[Any],
    on_result: Callable[[Any], None] = lambda _: None,
    **options: Any,
) -> list[Any]:
    """Do work of a test on a cluster."""
    out.mkdir(exist_ok=True)
    results = {}

    def keep(number: int, result: Any) -> None:
        results[number] = result
        on_result(result)

    listeners = {"on_progress": lambda _: None, "died": lambda task, _: f"lost {task}"}
    DaskCluster(client).carry_out(work, tasks, out, on_result=keep, **{**listeners, **options})
    return [results[number] for number in range(len(tasks))]


def test_a_cluster_makes_what_this_machine_makes(
    tmp_path: Path, pair: list[Dictionary], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the workers are not
    write_mixtures(tmp_path / "in", "a", "c", "d")
    write_bad(tmp_path / "in" / "b.wav", "text")
    told: list[Progress | None] = []
    here, there = (
        separate_folder("in", pair, out, BatchConfig(QUICK), client=each, on_track=lambda result: told.append(result))
        for out, each in [("here", None), ("there", client)]
    )
    assert [result.mixture for result in there] == [Path(f"in/{name}.wav") for name in "abcd"]
    told_there = sorted(told[4:], key=lambda result: str(result.mixture))
    assert list(map(repr, told_there)) == list(map(repr, there))  # the failed one has NaN, which equals nothing
    assert [result.error is None for result in there] == [True, False, True, True]
    assert there[1].error.endswith(here[1].error)
    names = [name for name in tree(tmp_path / "here") if not name.startswith(".")]
    assert sorted(tree(tmp_path / "there")) == sorted(names)
    for first, second in zip(here, there, strict=True):
        for name, path in first.stems.items():
            torch.testing.assert_close(read_audio(path).samples, read_audio(second.stems[name]).samples)
        if first.manifest and second.manifest:
            ours, theirs = read_json(first.manifest), read_json(second.manifest)
            assert theirs.keys() == ours.keys()
            assert theirs["asked"] == ours["asked"]
    again = separate_folder("in", pair, "there", BatchConfig(QUICK, skip_existing=True), client=client)
    assert [result.kept for result in again] == [True, False, True, True]
    (tmp_path / "in" / "b.wav").unlink()
    all_there = BatchConfig(QUICK, skip_existing=True)
    again = separate_folder("in", pair, "there", all_there, client=client, on_progress=pytest.fail)
    assert [result.kept for result in again] == [True, True, True]


def test_a_file_that_kills_its_worker_is_tried_three_times_and_named_and_the_rest_goes_on(
    tmp_path: Path, client: Client
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    results = carry_out(client, tmp_path / "out", partial(kill_at_poison, log), ["a", "poison", "b", "c", "d"])
    assert results == ["A", "lost poison", "B", "C", "D"]
    assert sum(path.name.startswith("poison") for path in log.iterdir()) == 3
    assert tree(tmp_path / "out") == {}


def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, client: Client) -> None:
    flag = tmp_path / "killed"
    assert carry_out(client, tmp_path / "out", partial(kill_once, flag), list("abcdef")) == list("ABCDEF")
    assert flag.exists()


def test_a_connection_that_is_cut_and_comes_back_costs_nothing(tmp_path: Path, client: Client) -> None:
    cut = []

    def cut_once(_: object) -> None:
        if not cut:
            cut.append(True)
            client.loop.add_callback(client.scheduler_comm.comm.abort)

    work, release = partial(wait_for_release, tmp_path / "release"), tmp_path / "release"
    release.touch()
    results = carry_out(client, tmp_path / "out", work, list("abcdefgh"), on_result=cut_once)
    assert results == list("ABCDEFGH")
    assert cut


def test_a_result_that_is_lost_with_the_connection_is_made_again(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, result = [], Future.result

    def lose_the_first(future: "Future[Any]") -> Any:
        if not lost:
            lost.append(future)
            raise CommClosedError("Stream is closed")
        return result(future)

    monkeypatch.setattr(Future, "result", lose_the_first)
    (tmp_path / "release").touch()
    work = partial(wait_for_release, tmp_path / "release")
    assert carry_out(client, tmp_path / "out", work, list("abc")) == list("ABC")
    assert lost


def test_a_scheduler_that_is_gone_for_good_ends_the_run_with_how_to_go_on(tmp_path: Path, client: Client) -> None:
    def go_on_without_scheduler(_: object) -> None:
        client._timeout = 0  # seconds in which the client tries to connect again
        client.loop.add_callback(client.scheduler_comm.comm.abort)
        while client.status != "closed":
            time.sleep(0.01)

    (tmp_path / "release").touch()
    work = partial(wait_for_release, tmp_path / "release")
    with pytest.raises(ConfigError, match=r"^the connection to the scheduler is lost; start it, and go on with"):
        carry_out(client, tmp_path / "out", work, list("abcdefgh"), on_result=go_on_without_scheduler)
    assert tree(tmp_path / "out") == {}


def test_what_a_listener_raises_ends_attempts_that_go_on_and_leaves_nothing(tmp_path: Path, client: Client) -> None:
    """One task ends at once, the others would wait for ever; one of them has begun."""

    def interrupt(_: object) -> None:
        while not list((tmp_path / "out").glob(".*/1-1")):  # the mark of the first attempt at the second task
            time.sleep(0.01)
        raise KeyboardInterrupt

    work = partial(wait_for_release, tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "quick").touch()
    with pytest.raises(KeyboardInterrupt):
        carry_out(client, tmp_path / "out", work, ["quick", "never", "never again"], on_result=interrupt)
    assert sorted(path.name for path in (tmp_path / "a").iterdir() if path.name.startswith("ended")) in (
        ["ended never"],
        ["ended never", "ended never again"],
    )
    assert tree(tmp_path / "out") == {}


def test_what_is_done_while_a_run_is_interrupted_is_told(tmp_path: Path, client: Client) -> None:
    folder, heard = tmp_path / "a", list[str]()
    folder.mkdir()
    (folder / "quick").touch()

    def interrupt_when_the_other_is_done(result: str) -> None:
        def marks() -> list[Path]:
            return list((tmp_path / "out").glob(".*/1-1"))  # of the first attempt at the second task, while it goes on

        heard.append(result)
        if result == "QUICK":
            while not marks():
                time.sleep(0.01)
            (folder / "late").touch()
            while marks():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(
            client,
            tmp_path / "out",
            partial(wait_for_release, folder),
            ["quick", "late"],
            on_result=interrupt_when_the_other_is_done,
        )
    assert heard == ["QUICK", "LATE"]


def test_what_a_task_raises_reaches_the_caller(tmp_path: Path, client: Client) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        carry_out(client, tmp_path / "out", partial(wait_for_release, 3.0), ["a"])


def test_workers_that_join_later_get_work(tmp_path: Path, cluster: LocalCluster, client: Client) -> None:
    """Two tasks hold the two workers until a third worker has done all others."""
    folder, done = tmp_path / "a", set[str]()
    folder.mkdir()
    for task in "cdefghij":
        (folder / task).touch()

    def join(progress: Progress) -> None:
        if progress.step == 0:
            cluster.scale(3)

    def release(result: str) -> None:
        done.add(result)
        if done >= set("CDEFGHIJ"):
            for task in "ab":
                (folder / task).touch()

    work = partial(wait_for_release, folder)
    results = carry_out(client, tmp_path / "out", work, list("abcdefghij"), on_result=release, on_progress=join)
    assert results == list("ABCDEFGHIJ")


def test_a_worker_that_joins_later_and_is_unfit_gets_no_work_and_is_named_in_one_line(
    tmp_path: Path,
    cluster: LocalCluster,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two tasks hold the two fit workers until the third has been asked; they do all others, too."""
    cluster.scale(2)
    while len(client.nthreads()) != 2:
        time.sleep(0.01)
    folder, pids = tmp_path / "a", client.run(os.getpid)
    folder.mkdir()

    def unfit_if_new(worker: str, found: Answer) -> str:
        return unfitness(worker, found) if worker in pids else f"worker {worker} has torch 0, here it is 9"

    def join(progress: Progress) -> None:
        if progress.step == 0:
            cluster.scale(3)

    def release_when_it_is_named() -> None:
        while "it gets no work" not in caplog.text:
            time.sleep(0.01)
        for task in "abcdefgh":
            (folder / task).touch()

    monkeypatch.setattr("sepdict.batch.cluster.unfitness", unfit_if_new)
    releasing = threading.Thread(target=release_when_it_is_named, daemon=True)
    releasing.start()
    work = partial(note_process, folder)
    assert carry_out(client, tmp_path / "out", work, list("abcdefgh"), on_progress=join) == list("ABCDEFGH")
    assert {int(path.name.split()[-1]) for path in folder.glob("* in *")} <= set(pids.values())
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("sepdict"))
    assert re.fullmatch(r"worker tcp://127\.0\.0\.1:\d+ has torch 0, here it is 9; it gets no work", line)
    cluster.scale(2)


def test_all_workers_killed_at_once_and_replaced_cost_nothing_and_leave_nothing(
    tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    assert carry_out(client, tmp_path / "out", partial(kill_at_first, log), list("abcd")) == list("ABCD")
    time.sleep(0.5)  # until what was canceled has ended
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_no_more_than_a_few_tasks_per_worker_are_under_way(tmp_path: Path, client: Client) -> None:
    most = [0]

    def count(_: object) -> None:
        most.append(sum(future.status == "pending" for future in list(client.futures.values())))

    tasks = [str(number) for number in range(30)]
    (tmp_path / "release").touch()
    carry_out(client, tmp_path / "out", partial(wait_for_release, tmp_path / "release"), tasks, on_result=count)
    assert 0 < max(most) <= 2 * len(client.nthreads()) < len(tasks)


@pytest.mark.parametrize("what", ["sepdict", "torch", "dictionary format"])
def test_a_worker_of_another_version_is_refused_and_both_are_named(
    tmp_path: Path, pair: list[Dictionary], client: Client, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    if what == "sepdict":
        monkeypatch.setattr("sepdict.batch.cluster.__version__", "9.9")
    else:
        monkeypatch.setattr("sepdict.batch.workers.versions", lambda: {**versions(), what: "9.9"})
    with pytest.raises(ConfigError, match=rf"^worker tcp://127\.0\.0\.1:\d+.* has {what} .*, here it is 9\.9; install"):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), client=client)
    assert not (tmp_path / "out").exists()


def test_a_worker_without_the_folders_is_refused_and_the_path_is_named(
    tmp_path: Path, pair: list[Dictionary], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    needed = Needs.of

    def more_than_there_is(folder: Path, reads: Sequence[Path]) -> Needs:
        return replace(needed(folder, reads), sizes={tmp_path / "elsewhere" / "a.wav": 1})

    monkeypatch.setattr(Needs, "of", more_than_there_is)
    with pytest.raises(ConfigError, match=rf"^worker tcp://\S+ \(.*\) does not see {tmp_path}/elsewhere/a\.wav; "):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), client=client)
    assert not (tmp_path / "out").exists()


def test_a_worker_looks_at_what_it_reads_and_writes(tmp_path: Path) -> None:
    (file,) = write_mixtures(tmp_path, "a")
    out = tmp_path / "out"
    out.mkdir()

    def trouble_after(change: Callable[[Path], object]) -> str:
        with hidden_folder(out) as folder:
            needs = Needs.of(folder, [file, tmp_path])
            change(folder)
            found = answer(needs)
            assert list(out.glob("*/*")) == []
        return found.trouble

    assert trouble_after(lambda _: None) == ""
    assert trouble_after(lambda folder: folder.rmdir()).startswith("does not see .sepdict-")
    assert "sees another file as" in trouble_after(lambda _: file.write_text("short"))
    assert f"does not see {file}" in trouble_after(lambda _: file.unlink())


def test_cores_are_shared_by_the_workers_that_may_use_them() -> None:
    def on(host: str, *cores: int) -> Answer:
        return Answer(host, cores, len(cores), {}, "")

    found = {"a": on("one", 0, 1, 2, 3), "b": on("one", 0, 1, 2, 3), "c": on("one", 4), "d": on("two", 0, 1, 2, 3)}
    assert shares(found) == {"a": 2, "b": 2, "c": 1, "d": 4}


def test_a_worker_of_several_threads_works_on_one_task_at_a_time(tmp_path: Path) -> None:
    meeting.clear()
    write_work(tmp_path, meet)
    with ThreadPoolExecutor(2) as threads:
        attempts = [threads.submit(attempt, tmp_path, number, pickle.dumps(number)) for number in range(2)]
        assert [each.result() for each in attempts] == [Outcome(False), Outcome(False)]


def test_what_cannot_be_on_a_cluster_is_refused(tmp_path: Path, pair: list[Dictionary], client: Client) -> None:
    paths = write_mixtures(tmp_path / "in", "a")

    def refuse(said: str, client: object = client, **settings: Any) -> None:
        with pytest.raises(ConfigError, match=said):
            separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, **settings), client=client)

    refuse(r"^2 jobs are asked for, and a cluster has as many as its workers", n_jobs=2)
    refuse(r"^a guide is audio, which is not sent to a cluster", guide_stems={"hiss": paths[0]})
    refuse(r"^client is 'tcp://\.\.\.'; expected a distributed\.Client that is not asynchronous", client="tcp://...")
    assert not (tmp_path / "out").exists()


def test_a_cluster_without_workers_is_refused(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    with (
        local_cluster(0) as empty,
        Client(empty, set_as_default=False) as client,
        pytest.raises(ConfigError, match=r"^the scheduler tcp://127\.0\.0\.1:\d+ has no workers; start some"),
    ):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), client=client)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def quick_to_give_up() -> Iterator[None]:
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        yield


def refused(where: str) -> str:
    with pytest.raises(ConfigError) as refusal, connected(where):
        pass
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_an_address_at_which_no_scheduler_answers_is_refused_after_a_stated_time(quick_to_give_up: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        assert refused(address) == f"{address}: no Dask scheduler answered within 0.5 s; {CHECK}"  # it accepts, no more
    assert refused(address) == f"{address}: no Dask scheduler answered within 0.5 s; {CHECK}"  # nobody is there


def test_an_address_of_something_else_is_refused(quick_to_give_up: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 9)

        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert refused(address) == f"{address}: no Dask scheduler answered within 0.5 s; {CHECK}"


def test_an_address_of_a_worker_is_refused(cluster: LocalCluster) -> None:
    address = next(iter(cluster.scheduler.workers))
    assert refused(address) == f"{address}: is the address of a worker; expected the scheduler's"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nothing://here", "nothing://here: is no scheduler's address; expected one like tcp://host:8786"),
        ("tls://127.0.0.1:1", "tls://127.0.0.1:1: wants certificates of TLS, and there are none here; name them in"),
        ("auto", "Dask's configuration names no scheduler; have DASK_SCHEDULER_ADDRESS name one"),
        (
            "no/scheduler.json",
            "no/scheduler.json: cannot be read (No such file or directory)",
        ),
    ],
)
def test_what_is_no_address_is_refused(quick_to_give_up: None, where: str, said: str) -> None:
    assert refused(where).startswith(said)


@pytest.mark.parametrize("content", ["", "[]", '{"id": 1}'])
def test_a_file_that_names_no_scheduler_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    assert refused(str(file)) == f"{file}: names no address; expected a scheduler file of Dask"


def test_without_dask_one_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "distributed"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "sepdict.batch.cluster")
    monkeypatch.delattr("sepdict.batch.cluster")
    with pytest.raises(
        LibraryError, match=r"^a cluster needs Dask .*; pip install 'sepdict\[cluster\]', or uv sync --extra cluster"
    ):
        executor_of(1, object())


@pytest.mark.slow
def test_dask_is_loaded_only_where_a_cluster_is_asked_for() -> None:
    program = "import sys, sepdict.batch.run, sepdict_cli.app; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
