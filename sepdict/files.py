"""Row 0: files that are either whole or absent, folders that can be written to, checksums and JSON."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sepdict.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """Open a temporary file beside ``path``, give its descriptor to the work inside, then rename it into place.

    A reader sees the old file or the new one, never half of either; on any error, a full disk
    or Ctrl-C included, nothing of the new one is left behind.

    Raises
    ------
    OSError
        As the operating system has it, of ``path``; the caller says what the file was for.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".sepdict-", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)  # no one asked for the temporary file
        raise
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are private; give the usual permissions
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, temporary):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as `replacing` does."""
    with replacing(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.write(content)


@contextlib.contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """Make a folder and try it out before the work inside; afterwards, take back what stayed empty.

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


def user_folder(variable: str, xdg_variable: str, *below_home: str) -> Path:
    """Say where something of the user's is kept: where a variable says, or else where the desktop's folders are."""
    named = os.environ.get(variable)
    home = Path(os.environ.get(xdg_variable) or Path.home().joinpath(*below_home))
    return Path(named) if named else home / "sepdict"


def to_json(facts: Any) -> str:
    """Write as JSON, and what JSON lacks as null (nan, infinities) or text (paths)."""
    plain = json.loads(json.dumps(facts, default=str), parse_constant=lambda _: None)
    return json.dumps(plain, indent=1)


def _umask() -> int:
    """Read the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
