"""Files that are either whole or absent, folders that can be written to, checksums and JSON."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import platformdirs

from sepdict.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: no locks, so nothing is taken for abandoned
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.sepdict-(?P<machine>[0-9a-f]{8})-[0-9a-f]{16}\.tmp")
ABANDONED_S = 24 * 3600.0
CANNOT_SYNCHRONIZE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES)
ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Open a temporary file beside ``path``, give its descriptor to the work inside, then rename it into place.

    A reader sees the old file or the new one, never half of either; on any error, a full disk
    or Ctrl-C included, nothing of the new one is left behind. What killed processes left there is taken away.

    Raises
    ------
    OSError
        As the operating system has it, of ``path``; the caller says what the file was for.
    """
    sweep(path.parent)
    try:
        temporary, descriptor = _make_and_hold(path.parent, _new_file)
    except OSError as error:
        error.filename = str(path)  # no one asked for the temporary file
        raise
    holder = None
    try:
        try:
            holder = None if fcntl is None else os.dup(descriptor)  # it holds the lock until all is done
            yield descriptor
            _synchronize(descriptor)
        finally:
            os.close(descriptor)  # may fail on network file systems: then not all was written
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        if holder is not None:
            os.close(holder)


@contextlib.contextmanager
def hidden_folder(folder: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """Make a folder under a temporary name for the work inside; afterwards remove it and all that is in it."""
    path, descriptor = _make_and_hold(folder, functools.partial(_new_folder, mode=mode))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make one where the system keeps temporary files, into which only the user may look.

    What killed processes left there is taken away.
    """
    folder = Path(tempfile.gettempdir())
    sweep(folder)
    with hidden_folder(folder, mode=0o700) as path:
        yield path


def sweep(folder: Path) -> None:
    """Take away what processes that are no more left in a folder under temporary names.

    Whoever makes such a file or folder locks it, and the system lets go of a dead process's locks. Where there are no
    locks, as on some network file systems, everything stays. Where there are, they may not reach other machines: what
    those left, or this one before it was started anew, goes when it has not been touched for a day.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for left in [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                _remove_abandoned(left)


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file or folder that nobody holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _lock(descriptor) is not True or not _is_old(path):
            return
        shutil.rmtree(path, ignore_errors=True) if stat.S_ISDIR(mode) else path.unlink()
    finally:
        os.close(descriptor)


def _is_old(path: Path) -> bool:
    """Tell whether something unlocked is known to be abandoned: it is this machine's, or untouched for long."""
    named = TEMPORARY.fullmatch(path.name)
    if named is not None and named["machine"] == this_machine():
        return True
    newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    return time.time() - newest > ABANDONED_S


@functools.cache
def this_machine() -> str:
    """Name the machine that runs, from its start on; containers on one have its name, for they share its locks."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _make_and_hold(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make something under a temporary name, and lock it, that others know it is in use."""
    while True:
        path = folder / f".sepdict-{this_machine()}-{secrets.token_hex(8)}.tmp"
        descriptor = make(path)
        if _lock(descriptor) is not False and path.exists():
            return path, descriptor
        os.close(descriptor)  # before it was locked, another process took it for a dead one's


def _new_file(path: Path) -> int:
    """Make a file to write to, with the permissions that the process gives its files."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def _new_folder(path: Path, *, mode: int) -> int:
    """Make a folder, and open it: a descriptor is what can be locked."""
    path.mkdir(mode)
    return os.open(path if fcntl is not None else os.devnull, os.O_RDONLY)


def _lock(descriptor: int) -> bool | None:
    """Lock what is open; False if somebody else has, None if nobody can here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _synchronize(descriptor: int) -> None:
    """Have a file's content on the disk; a file system that cannot promise that will do, one that failed will not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNCHRONIZE:
            raise


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C, and what else ends a program, wait until the work inside has ended; then it is heard as usual.

    In the main thread, which is the one that hears signals; in others nothing needs to wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    held = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    held = {number: handler for number, handler in held.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in held:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.write(content)


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read, and nothing that may never end or answer: no device, no pipe, no folder.

    Raises
    ------
    OSError
        As the operating system has it; or, of what is no regular file, with that said.
    """
    try:
        kind = path.stat().st_mode
    except ValueError as error:  # a zero byte in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(kind):  # not even opened: that alone may wait for ever, or rewind a tape
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(code, "Is a directory" if stat.S_ISDIR(kind) else "Not a regular file", str(path))
    return path.open("rb")


@contextlib.contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """Make a folder and try it out before the work inside; afterwards, take back what stayed empty.

    What killed processes left in it is taken away.

    Raises
    ------
    ConfigError
        If the folder cannot be made or written to.
    """
    made: list[Path] = []
    try:
        try:
            made = [path for path in (folder, *folder.parents) if not path.exists()]  # the deepest first
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            sweep(folder)
        except FileExistsError as error:
            raise ConfigError(f"{folder}: is a file; expected a folder to write to") from error
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written to ({error.strerror})") from error
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # refused where something was written, or nothing was made
                path.rmdir()


def sha256_of(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """What a file was at a time.

    Attributes
    ----------
    path : Path
    sha256 : str
    size_and_time : tuple of int
        Bytes, and when it was last written to, in nanoseconds.
    """

    path: Path
    sha256: str
    size_and_time: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> "Snapshot":
        """Read the file once."""
        facts = path.stat()
        return cls(path, sha256_of(path), (facts.st_size, facts.st_mtime_ns))

    def has_changed(self) -> bool:
        """Tell whether it was written to since; if it was removed, who had it open still has all of it."""
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return False
        return (facts.st_size, facts.st_mtime_ns) != self.size_and_time


def refuse_existing(path: Path, *, other: str = "name", option: str = "-o") -> None:
    """Refuse to write where there is something already, and say how it can be done all the same.

    Raises
    ------
    ConfigError
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already; overwrite it, or choose another {other} (--overwrite, {option})")


def user_folder(kind: Literal["cache", "data"], *, variable: str) -> Path:
    """Find the folder in which the user's caches or data of sepdict lie.

    Parameters
    ----------
    kind : str
        Where the system keeps such files: on Linux, ``~/.cache/sepdict`` or ``~/.local/share/sepdict``.
    variable : str
        An environment variable that names another folder.

    Raises
    ------
    ConfigError
        If the variable is not set and the user has no home folder, as in some containers.
    """
    if named := os.environ.get(variable):
        return Path(named)
    find = platformdirs.user_cache_path if kind == "cache" else platformdirs.user_data_path
    try:
        folder = find("sepdict", appauthor=False)
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # without a home, older versions of platformdirs return "~/..."
        raise ConfigError(f"there is no home folder here; have {variable} name a folder")
    return folder


def to_json(facts: Any) -> str:
    """Write as JSON, and what JSON lacks as null (nan, infinities) or text (paths)."""
    plain = json.loads(json.dumps(facts, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=1)
