"""What tests run in other processes, which import it from here."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

import sepdict.audio.io
import sepdict.batch.track
from sepdict._core.processes import Send
from sepdict.errors import ConfigError
from sepdict.progress import OnProgress, Plan, Progress


def identity_of(_: int) -> tuple[int, int]:
    """Say which process works, and on how many threads; long enough for the others to get some work."""
    time.sleep(0.2)
    return os.getpid(), torch.get_num_threads()


def die_of_two(task: int) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return -task


def linger(path: str) -> None:
    """Hold a file as long as the process runs; take it away at the end, as half-written files are."""
    Path(path).touch()
    try:
        time.sleep(60)
    finally:
        Path(path).unlink()


def linger_or_return(path: str) -> None:
    if path:
        linger(path)


def count(task: int, send: Send) -> int:
    """Send as many numbers as the task says."""
    for number in range(task):
        send(number)
    return task


def refuse_to_stop(path: str, _: Send) -> None:
    """Go on whatever one is told, with a file as long as it goes on."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).touch()
    time.sleep(60)


def kill_at_poison(log: Path, _: OnProgress, task: str) -> str:
    """Kill the worker of one task, and note each attempt."""
    (log / f"{task}-{time.monotonic_ns()}").touch()
    if task == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return task.upper()


def kill_once(flag: Path, _: OnProgress, task: str) -> str:
    """Kill the worker of the first attempt at one of the tasks."""
    if task == "c" and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task.upper()


def wait_for_release(folder: Path, on_progress: OnProgress, task: str) -> str:
    """Go on, with progress, until a file of the task's name is there, or the folder itself is a file."""
    try:
        while folder.is_dir() and not (folder / task).exists():
            on_progress(Progress("fit", 1, 2, 0.0))
            time.sleep(0.01)
        return task.upper()
    except BaseException:
        (folder / f"ended {task}").touch()
        raise


def note_process(folder: Path, on_progress: OnProgress, task: str) -> str:
    """Note which process has a task, then wait for its release."""
    (folder / f"{task} in {os.getpid()}").touch()
    return wait_for_release(folder, on_progress, task)


def kill_at_first(log: Path, _: OnProgress, task: str) -> str:
    """Kill the worker of the first attempt at each task."""
    try:
        (log / task).touch(exist_ok=False)
    except FileExistsError:
        return task.upper()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


meeting: set[int] = set()


def meet(_: OnProgress, task: int) -> bool:
    """Wait a moment for another task in this process, and return whether one came."""
    meeting.add(task)
    for _ in range(50):
        if len(meeting) > 1:
            return True
        time.sleep(0.01)
    meeting.remove(task)
    return False


class UnportableError(Exception):
    """Cannot be made again from what it holds."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(what)
        self.code = code


def fail_unportably(_: object) -> None:
    raise UnportableError("stuck", code=3)


def failing_on(name: str, work: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    def fail(path: Path, *args: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise error
        return work(path, *args, **options)

    return fail


def separate_track_without_b(work: Any, on_progress: Any, pair: Any) -> Any:
    """Be `separate_track` in another process, in which memory is short when it comes to b."""
    vars(sepdict.batch.track)["open_audio"] = failing_on("b.wav", sepdict.audio.io.open_audio, MemoryError())
    return sepdict.batch.track.separate_track(work, on_progress, pair)


@dataclass(frozen=True)
class Doing:
    """A task for tests, done in the process that serves the queue."""

    what: str
    plan: ClassVar[Plan] = {"all": {"train": 1.0}}

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        (output / "file").write_text(self.what)
        on_progress(Progress("train", 1, 2, 0.0))
        if self.what == "sleep":
            time.sleep(60)
        elif self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.what == "mistake":
            raise ConfigError("secret.wav\nis wrong")
        elif self.what == "surprise":
            raise ZeroDivisionError("secret.wav")
        return {"did": self.what, "process": os.getpid()}

    def named(self, message: str) -> str:
        return message.replace("secret.wav", "duet.wav")
