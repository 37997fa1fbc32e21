"""Uploaded and produced files, under random names in a temporary folder, deleted some time after their last use."""

import contextlib
import secrets
import threading
import time
from collections.abc import AsyncIterable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from sepdict._core.fs import scratch_folder

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of size, number and time.

    Parameters
    ----------
    file_bytes : int
        Of one file: twenty minutes of stereo at 48 kHz and 32 bits have 440 MiB.
    total_bytes : int
        Of all uploads together, which lie in the system's temporary folder.
    n_files : int
        Of uploads kept at one time; solos may be one file per note.
    mixture_s : float
        Longest mixture: the player decodes all stems whole, and a browser has no memory for hours of them.
        The command line takes any length.
    solos_s : float
        Longest solos of a source together, which are read whole.
    n_waiting : int
        Jobs in the queue; every mixture is one.
    n_sessions : int
        Pages whose state is kept, each in half a MiB at most.
    n_earlier : int
        Results of a session kept beside the last one of each mixture; of a long mixture, one may have gigabytes.
    abandoned_s : float
        Time from the last use of an unfinished job, by a page that asks for it or for its session, to its end. Browsers
        have pages that nobody sees ask once a minute, and a phone may sleep in between.
    kept_s : float
        Time from the last use of a file or a session to its deletion.
    """

    file_bytes: int = 512 * MIB
    total_bytes: int = 8 * 1024 * MIB
    n_files: int = 500
    mixture_s: float = 20 * 60.0
    solos_s: float = 60 * 60.0
    n_waiting: int = 100
    n_sessions: int = 200
    n_earlier: int = 10
    abandoned_s: float = 600.0
    kept_s: float = 3600.0


@dataclass
class Upload:
    """A file that was received or produced.

    Attributes
    ----------
    kind : str
        ``"mixture"``, ``"solo"`` or ``"dictionary"``.
    path : Path
    name : str
        Its name on the page; the file has another.
    facts : mapping
    n_bytes : int
    used : float
        Time of the last use, by the store's clock.
    """

    kind: str
    path: Path
    name: str
    facts: Mapping[str, Any]
    n_bytes: int
    used: float


@dataclass
class Uploads:
    """Files in a temporary folder, by identifiers that cannot be guessed.

    Parameters
    ----------
    limits : Limits
    clock : callable
        In seconds.
    """

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    uploads: dict[str, Upload] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._open = contextlib.ExitStack()
        self.folder = self._open.enter_context(scratch_folder())
        self._lock = threading.RLock()  # jobs end in another thread
        self._n_arriving = 0  # bytes promised or received of uploads that are not whole yet
        self._n_files_arriving = 0

    def new_path(self, extension: str = "") -> Path:
        """Return the path for a new file or folder."""
        return self.folder / f"{secrets.token_hex(16)}{extension}"

    async def receive(self, content: AsyncIterable[bytes], path: Path, *, n_promised: int) -> int:
        """Write an upload to a file as it arrives, and return its size in bytes.

        Raises
        ------
        HTTPException
            If there are too many files, or too many bytes: 413; 507 if the disk is full.
        """
        self._refuse_larger(n_promised)
        self._refuse_more_files()
        self._refuse_more_bytes(n_promised)
        n_bytes, reserved = 0, n_promised
        self._n_arriving += reserved
        self._n_files_arriving += 1
        try:
            with path.open("xb") as file:
                async for chunk in content:
                    n_bytes += len(chunk)
                    self._refuse_larger(n_bytes)
                    if n_bytes > reserved:
                        self._refuse_more_bytes(n_bytes - reserved)
                        self._n_arriving += n_bytes - reserved
                        reserved = n_bytes
                    file.write(chunk)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise HTTPException(507, f"it cannot be stored ({error.strerror}); free some space") from error
            raise
        finally:
            self._n_arriving -= reserved
            self._n_files_arriving -= 1
        return n_bytes

    def add(self, kind: str, path: Path, name: str, facts: Mapping[str, Any]) -> str:
        """Register an existing file, and return its identifier."""
        identifier = secrets.token_hex(16)
        with self._lock:
            self.uploads[identifier] = Upload(kind, path, name, facts, path.stat().st_size, self.clock())
        return identifier

    def find(self, identifier: str) -> Upload | None:
        """Find a file, and count that as a use of it."""
        upload = self.uploads.get(identifier)
        if upload is not None:
            upload.used = self.clock()
        return upload

    def add_facts(self, identifier: str, facts: Mapping[str, Any]) -> None:
        """Enter more facts of a file, if it is there."""
        with self._lock:
            upload = self.uploads.get(identifier)
            if upload is not None:
                upload.facts = {**upload.facts, **facts}

    def remove(self, identifier: str) -> None:
        """Delete a file, if it is there."""
        upload = self.uploads.pop(identifier, None)
        if upload is not None:
            for path in (upload.path, *upload.path.parent.glob(f"{upload.path.name}.*")):  # its previews
                path.unlink(missing_ok=True)

    def sweep(self, in_use: Collection[str] = ()) -> None:
        """Delete files that were not used for a long time."""
        oldest = self.clock() - self.limits.kept_s
        with self._lock:
            old = [key for key, upload in self.uploads.items() if upload.used < oldest and key not in in_use]
        for identifier in old:
            self.remove(identifier)

    def close(self) -> None:
        """Delete everything."""
        self.uploads.clear()
        self._open.close()

    def _refuse_larger(self, n_bytes: int) -> None:
        """Refuse a file that is too large."""
        if n_bytes > self.limits.file_bytes:
            raise HTTPException(413, f"it is too large; expected {self.limits.file_bytes / MIB:.0f} MiB at most")

    def _refuse_more_files(self) -> None:
        """Refuse too many files."""
        if len(self.uploads) + self._n_files_arriving >= self.limits.n_files:
            raise HTTPException(413, f"there are {self.limits.n_files} files already; remove some, or join short ones")

    def _refuse_more_bytes(self, n_new_bytes: int) -> None:
        """Refuse more bytes than all files may have."""
        with self._lock:
            n_bytes = sum(upload.n_bytes for upload in self.uploads.values()) + self._n_arriving
        if n_bytes + n_new_bytes > self.limits.total_bytes:
            raise HTTPException(413, f"all files together pass {self.limits.total_bytes / MIB:.0f} MiB; remove some")
