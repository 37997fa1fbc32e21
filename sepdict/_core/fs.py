"""Files that are either whole or absent, temporary and writable folders, the user's folders, checksums and JSON."""

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
ANY_MACHINE = "0" * 8  # in the name of a lock that several machines share
LOCK_PATIENCE_S, LOCK_PAUSE_S = 60.0, 0.05
CANNOT_SYNCHRONIZE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES)
ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Open a temporary file beside ``path`` for the ``with`` block, then rename it to ``path``.

    A reader sees the old file or the new one, never a part of either. After any error, a full disk or Ctrl-C
    included, nothing of the new one remains. Temporary files that killed processes left in the folder are removed.

    Yields
    ------
    int
        The file's descriptor.

    Raises
    ------
    OSError
        From the operating system, with ``path`` as its file name; the caller adds what the file was for.
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
    """Make a folder under a temporary name for the ``with`` block, and remove it afterwards with its content."""
    path, descriptor = _make_and_hold(folder, functools.partial(_new_folder, mode=mode))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that only the user may read, where the system keeps temporary files; remove it afterwards.

    Temporary folders that killed processes left there are removed.
    """
    folder = Path(tempfile.gettempdir())
    sweep(folder)
    with hidden_folder(folder, mode=0o700) as path:
        yield path


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that dead processes left in a folder.

    The maker of each holds a lock on it, which the system releases when the process ends. Where the file system has no
    locks, as some network file systems, everything stays. Locks may not reach other machines: what those left, or this
    machine before its last start, is removed when it has not been changed for a day.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for left in [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                _remove_abandoned(left)


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file or folder that no process has locked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _lock(descriptor) is not True or not _is_old(path):
            return
        shutil.rmtree(path, ignore_errors=True) if stat.S_ISDIR(mode) else path.unlink()
    finally:
        os.close(descriptor)


def _is_old(path: Path) -> bool:
    """Return True if an unlocked file is known to be abandoned.

    It is of this machine, or a lock that machines share, or was not changed for a day.
    """
    named = TEMPORARY.fullmatch(path.name)
    if named is not None and named["machine"] in (this_machine(), ANY_MACHINE):
        return True
    newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    return time.time() - newest > ABANDONED_S


@functools.cache
def this_machine() -> str:
    """Return an identifier of this machine since its start; containers on it share the identifier, and its locks."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _make_and_hold(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a file or folder under a temporary name, and lock it while it is in use."""
    while True:
        path = folder / f".sepdict-{this_machine()}-{secrets.token_hex(8)}.tmp"
        descriptor = make(path)
        if _lock(descriptor) is not False and path.exists():
            return path, descriptor
        os.close(descriptor)  # before it was locked, another process took it for a dead one's


def _new_file(path: Path) -> int:
    """Make a file to write to, with the process's default permissions."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)


def _new_folder(path: Path, *, mode: int) -> int:
    """Make a folder, and open it, because a lock needs a descriptor."""
    path.mkdir(mode)
    return os.open(path if fcntl is not None else os.devnull, os.O_RDONLY)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; return False if another process holds the lock, None if the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def only_one(folder: Path, name: str) -> Iterator[None]:
    """Run the ``with`` block in one process at a time of all that give this name and folder, on any machine.

    The lock is a hidden file in the folder, which is removed afterwards. Where the file system has no locks, nothing is
    held back.

    Raises
    ------
    OSError
        If another process still holds the lock after a minute, or the file cannot be made.
    """
    path = (
        folder / f".sepdict-{ANY_MACHINE}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:16]}.tmp"
    )
    descriptor = _wait_for_lock(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while the lock is held: who opened the file before sees then that it is gone
        os.close(descriptor)


def _wait_for_lock(path: Path) -> int:
    """Open and lock a file that several processes share, and return its descriptor."""
    waiting_ends = time.monotonic() + LOCK_PATIENCE_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        is_locked = _lock(descriptor)
        if is_locked is None or (is_locked and _is_open_at(path, descriptor)):
            return descriptor
        os.close(descriptor)
        if time.monotonic() > waiting_ends:
            raise OSError(errno.ETIMEDOUT, "another process is writing there and does not end", str(path))
        time.sleep(LOCK_PAUSE_S)


def _is_open_at(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _synchronize(descriptor: int) -> None:
    """Flush a file's content to the disk; raise if that fails, but not if the file system cannot do it at all."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNCHRONIZE:
            raise


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Delay Ctrl-C and other ending signals until the ``with`` block has ended.

    Only the main thread receives signals; in others this does nothing.
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
    """Open a regular file to read; refuse devices, pipes and folders, which may never end or answer.

    Raises
    ------
    OSError
        From the operating system; or if it is no regular file.
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
    """Make a folder and check that it can be written to; after the ``with`` block remove the new folders left empty.

    Temporary files that killed processes left in it are removed.

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
    """The state of a file at one moment.

    Attributes
    ----------
    path : Path
    sha256 : str
    size_and_time : tuple of int
        Bytes, and the time of the last change in nanoseconds.
    """

    path: Path
    sha256: str
    size_and_time: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> "Snapshot":
        """Take a snapshot: read the whole file once for its checksum."""
        facts = path.stat()
        return cls(path, sha256_of(path), (facts.st_size, facts.st_mtime_ns))

    def has_changed(self) -> bool:
        """Return True if the file was written to since; a file that was removed counts as unchanged to its readers."""
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return False
        return (facts.st_size, facts.st_mtime_ns) != self.size_and_time


def refuse_existing(path: Path, *, other: str = "name", option: str = "-o") -> None:
    """Refuse a path that exists already, in a message that names the options to mend that.

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
    """Convert to JSON; NaN and infinities become null, paths become text."""
    plain = json.loads(json.dumps(facts, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=1)
