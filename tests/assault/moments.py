"""Count what a piece of work asks of the file system, and let something happen at the n-th of these moments.

What happens is an error, as of a full disk, or the sudden end of the process. Counted are the calls that change
something: files opened for writing, written to, synced, closed, renamed, removed, folders made; and libsndfile's
writes, which go past Python, at the calls that lead to them. Writes that fail have written their first half.
"""

import builtins
import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import soundfile

import sepdict

PACKAGE = str(Path(sepdict.__file__).parent)
CLEANING = ("unlink", "rmdir")  # where these fail, something may be left over
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Happening = Callable[[str], None]


class Moments:
    """Count moments, and let something happen at one of them.

    Parameters
    ----------
    at : int
        Which moment, from 1; 0 for none.
    happening : callable
        Given what is being done; raises, or ends the process.
    lasting : bool
        Whether it also happens at all later moments of the same kind.
    """

    def __init__(self, at: int = 0, happening: Happening = lambda _: None, *, lasting: bool = False) -> None:
        self.at, self.happening, self.lasting = at, happening, lasting
        self.seen: list[str] = []
        self.happened: str | None = None

    def pass_by(self, what: str) -> None:
        """Note one more moment."""
        self.seen.append(what)
        if len(self.seen) == self.at or (self.lasting and what == self.happened):
            self.happened = what
            self.happening(what)

    @contextlib.contextmanager
    def watched(self) -> Iterator["Moments"]:
        """Count what the work inside does."""
        with pytest.MonkeyPatch.context() as patch:
            self._watch_calls(patch)
            self._watch_files(patch)
            self._watch_sound(patch)
            yield self

    def _watch_calls(self, patch: pytest.MonkeyPatch) -> None:
        """Watch what Python asks the operating system for."""

        def refused(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                self.pass_by(name)
                return real(*args, **kwargs)

            return call

        for name in ("replace", "rename", "mkdir", "chmod", "unlink", "rmdir"):
            patch.setattr(os, name, refused(name))
        patch.setattr(os, "fsync", lambda _: self.pass_by("fsync"))  # nothing is cut off from power here
        real_open, real_write, real_close = os.open, os.write, os.close

        def open_descriptor(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & WRITING:
                self.pass_by("open")
            return real_open(path, flags, *args, **kwargs)

        def write(descriptor: int, content: Any) -> int:
            with self._after(lambda: real_write(descriptor, content[: len(content) // 2])):
                self.pass_by("write")
            return real_write(descriptor, content)

        def close(descriptor: int) -> None:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                with self._after(lambda: real_close(descriptor)):  # closed in any case, as Linux has it
                    self.pass_by("close")
            real_close(descriptor)

        patch.setattr(os, "open", open_descriptor)
        patch.setattr(os, "write", write)
        patch.setattr(os, "close", close)

    def _watch_files(self, patch: pytest.MonkeyPatch) -> None:
        """Watch Python's own files."""
        real_open = io.open

        def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+"):
                return real_open(file, mode, *args, **kwargs)
            if not isinstance(file, int) and "opener" not in kwargs:
                self.pass_by("open")
            return _WatchedFile(real_open(file, mode, *args, **kwargs), self)

        patch.setattr(builtins, "open", open_file)
        patch.setattr(io, "open", open_file)

    def _watch_sound(self, patch: pytest.MonkeyPatch) -> None:
        """Watch libsndfile."""
        real_write, real_close = soundfile.SoundFile.write, soundfile.SoundFile.close

        def is_on_disk(file: soundfile.SoundFile) -> bool:
            return file.mode == "w" and not file.closed and isinstance(file.name, int | str | Path)

        def write(file: soundfile.SoundFile, samples: Any) -> None:
            if is_on_disk(file):
                with self._after(lambda: real_write(file, samples[: len(samples) // 2])):
                    self.pass_by("sound write")
            real_write(file, samples)

        def close(file: soundfile.SoundFile) -> None:
            if is_on_disk(file):
                with self._after(lambda: real_close(file)):
                    self.pass_by("sound close")
            real_close(file)

        patch.setattr(soundfile.SoundFile, "write", write)
        patch.setattr(soundfile.SoundFile, "close", close)

    @contextlib.contextmanager
    def _after(self, half: Callable[[], object]) -> Iterator[None]:
        """Do what a call that fails has done all the same."""
        try:
            yield
        except BaseException:
            half()
            raise


class _WatchedFile:
    """A file open for writing."""

    def __init__(self, file: Any, moments: Moments) -> None:
        self._file, self._moments = file, moments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_WatchedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def write(self, content: Any) -> int:
        try:
            self._moments.pass_by("write")
        except BaseException:
            self._file.write(content[: len(content) // 2])
            raise
        return int(self._file.write(content))

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._moments.pass_by("close")
            except BaseException:
                self._file.close()
                raise
        self._file.close()


def fail(what: str) -> None:
    """Fail as a full or broken disk does."""
    if what.startswith("sound"):
        raise soundfile.LibsndfileError(2)  # "System error"
    number = errno.EIO if what in ("close", "fsync", *CLEANING) else errno.ENOSPC
    raise OSError(number, os.strerror(number))


def die(_: str) -> None:
    """End this process as SIGKILL does: nothing is flushed, closed or taken back."""
    os._exit(137)


class Calls:
    """Raise an exception at the n-th call of one of the package's functions, as where memory runs out or at Ctrl-C."""

    def __init__(self, at: int, exception: BaseException) -> None:
        self.at, self.exception, self.n_seen = at, exception, 0

    @contextlib.contextmanager
    def watched(self) -> Iterator["Calls"]:
        """Count the calls of the work inside."""

        def watch(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
                self.n_seen += 1
                if self.n_seen == self.at:
                    raise self.exception

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            yield self
        finally:
            sys.setprofile(before)
