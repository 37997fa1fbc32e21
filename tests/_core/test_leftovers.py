"""What a process that was killed left behind goes with the next run; what a living one holds stays, and all else."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sound_files import wav_bytes

import sepdict._core.fs
import sepdict.audio.decoding
from sepdict._core.fs import hidden_folder, signals_held, sweep, writable_folder, write_atomically
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.web.uploads import Limits, Uploads

OURS, ELSEWHERE = ".sepdict-{}-0123456789abcdef.tmp", "0123abcd"


def left_by_the_dead(folder: Path, kind: str = "file", machine: str | None = None) -> Path:
    """Make what a killed process leaves: a name of ours, and nobody who holds it."""
    path = folder / OURS.format(machine or sepdict._core.fs.this_machine())
    if kind == "file":
        path.write_bytes(b"half")
    else:
        (path / "song").mkdir(parents=True)
        (path / "song" / "hiss.wav").write_bytes(b"half")
    return path


def write(folder: Path) -> None:
    write_atomically(folder / "a.bin", b"whole")


def enter(folder: Path) -> None:
    with writable_folder(folder):
        pass


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("work", [write, enter, sweep])
def test_the_next_work_in_a_folder_takes_away_what_the_dead_left(
    tmp_path: Path, kind: str, work: Callable[[Path], None]
) -> None:
    left = left_by_the_dead(tmp_path, kind)
    work(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize(
    "name",
    [
        ".sepdict-mine.tmp",
        "sepdict-{}-0123456789abcdef.tmp",
        ".sepdict-{}-0123456789abcdef.tmp.wav",
        ".sepdict-{}-0123456789ABCDEF.tmp",
        ".sepdict-{}-0123456789abcdef",
        ".tmp",
    ],
)
def test_names_that_are_not_ours_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.format(sepdict._core.fs.this_machine())
    path.touch()
    sweep(tmp_path)
    assert path.exists()


def test_a_link_of_such_a_name_and_what_it_leads_to_stay(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").touch()
    link = tmp_path / OURS.format(sepdict._core.fs.this_machine())
    link.symlink_to("precious")
    sweep(tmp_path)
    assert link.is_symlink()
    assert (tmp_path / "precious" / "a").exists()


def test_folders_further_down_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    left = left_by_the_dead(tmp_path / "below")
    sweep(tmp_path)
    assert left.exists()


@contextlib.contextmanager
def living(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program until it has said that it is there; kill it at the end, as no program can hear."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


HOLD = """
import sys, pathlib
sys.modules["torch"] = None  # files need no torch: load them without the package, which takes seconds
sys.modules["sepdict"] = type(sys)("sepdict"); sys.modules["sepdict"].__path__ = [sys.argv[1]]
from sepdict._core.fs import hidden_folder, replacing
with {}(pathlib.Path(sys.argv[2])):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("holding", "name"), [("replacing", "a.bin"), ("hidden_folder", "")])
def test_what_a_living_process_holds_stays_until_it_is_killed(tmp_path: Path, holding: str, name: str) -> None:
    package = Path(sepdict._core.fs.__file__).parent
    with living(HOLD.format(holding), package, tmp_path / name):
        (held,) = tmp_path.iterdir()
        sweep(tmp_path)
        assert held.exists()
    assert held.exists()  # it was killed, nothing was said to it
    sweep(tmp_path)
    assert not held.exists()


def test_what_this_very_process_holds_stays(tmp_path: Path) -> None:
    with hidden_folder(tmp_path) as mine:
        write(tmp_path)
        assert mine.is_dir()
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_another_machine_may_be_writing_stays_for_a_day(tmp_path: Path) -> None:
    """Locks do not reach other machines on every network file system."""
    left = left_by_the_dead(tmp_path, "folder", ELSEWHERE)
    sweep(tmp_path)
    assert left.exists()
    for path in (left, *left.rglob("*")):
        os.utime(path, (0, 0))
    (left / "song" / "hum.wav").touch()
    sweep(tmp_path)
    assert left.exists()  # a file in it is new
    for path in (left, *left.rglob("*")):
        os.utime(path, (0, 0))
    sweep(tmp_path)
    assert not left.exists()


def refuse_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_where_there_are_no_locks_files_are_written_and_leftovers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_by_the_dead(tmp_path)
    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    write(tmp_path)
    with hidden_folder(tmp_path) as mine:
        (mine / "x").touch()
    assert set(tmp_path.iterdir()) == {left, tmp_path / "a.bin"}


@pytest.mark.parametrize("taken", [True, False])
def test_what_another_run_sweeps_up_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """Between the making of a file and its lock it looks like a dead one's."""
    flock, swept = fcntl.flock, list[Path]()

    def meanwhile(descriptor: int, how: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
            if taken:
                raise BlockingIOError(errno.EWOULDBLOCK, "the other one holds it")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    write(tmp_path)
    assert os.listdir(tmp_path) == ["a.bin"]
    assert len(swept) == 1


# --- the system's temporary folder


def serve() -> Uploads:
    return Uploads(Limits())


def decode(file: Path) -> None:
    assert read_audio(file).n_samples == 4000


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def kill_in(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do some work in a process of its own, which dies as soon as it has copied a recording or else when it is done."""
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(sepdict.audio.decoding, "repaired_copy", lambda *_: os._exit(137))
            kept = work()  # what is let go of is cleared up
            os._exit(137 if kept else 1)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137


@pytest.mark.skipif(sys.platform != "linux", reason="a forked torch is known to work on Linux only")
@pytest.mark.parametrize("killed", ["a server", "a decoder"])
@pytest.mark.parametrize("next_one", ["a server", "a decoder"])
def test_what_a_killed_server_or_decoder_left_goes_with_the_next_one(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str, next_one: str
) -> None:
    (tmp_path / "a.wav").write_bytes(
        wav_bytes(Audio(torch.full((1, 4000), 0.5), 8000), data=2000)
    )  # it is copied first
    works: dict[str, Callable[[], Any]] = {"a server": serve, "a decoder": lambda: decode(tmp_path / "a.wav")}
    kill_in(works[killed], monkeypatch)
    (left,) = temporary.iterdir()
    assert left.stat().st_mode & 0o077 == 0  # nobody else may look at it
    store = works[next_one]()
    assert not left.exists()
    if store is not None:
        store.close()
    assert list(temporary.iterdir()) == []


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_signals_wait_for_the_end_of_what_must_not_be_interrupted(number: signal.Signals) -> None:
    heard: list[str] = []
    before = signal.signal(number, lambda *_: heard.append("signal"))
    try:
        with signals_held():
            signal.raise_signal(number)
            heard.append("work")
        assert heard == ["work", "signal"]
        signal.raise_signal(number)  # and afterwards as before
        assert heard == ["work", "signal", "signal"]
    finally:
        signal.signal(number, before)


@pytest.fixture
def heeded() -> Iterator[None]:
    """Heed Ctrl-C, which shells have background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_ctrl_c_comes_after_the_work_and_an_error_of_the_work_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        raise OSError("full")

    with pytest.raises(KeyboardInterrupt) as interruption, signals_held():
        work()
    assert isinstance(interruption.value.__context__, OSError)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with signals_held():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
