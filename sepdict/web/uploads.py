"""Uploaded and produced files, under random names in a temporary folder, deleted some time after their last use."""

import asyncio
import contextlib
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from sepdict._core.fs import scratch_folder, sha256_of

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
    solo_preview_s : float
        How much of a solo can be heard before it is learned.
    n_waiting : int
        Jobs in the queue; every mixture is one.
    n_arriving : int
        Uploads of one client that arrive at the same time; the page sends one by one.
    share : float
        How much of the files, bytes, waiting jobs and sessions another machine may have, 0 to 1; this one may have all.
    stalled_s : float
        Time in which nothing of an upload arrives, to its end.
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
    solo_preview_s: float = 60.0
    n_waiting: int = 100
    n_arriving: int = 8
    share: float = 0.5
    stalled_s: float = 30.0
    n_sessions: int = 200
    n_earlier: int = 10
    abandoned_s: float = 600.0
    kept_s: float = 3600.0

    def of(self, client: str, n: int) -> int:
        """Return how many of `n` a client may have."""
        return max(1, int(self.share * n)) if client else n


@dataclass
class Upload:
    """A file that was received or produced.

    Attributes
    ----------
    kind : str
        ``"mixture"``, ``"solo"`` or ``"dictionary"``; ``"removed"`` of what was taken out of the library.
    path : Path
    name : str
        Its name on the page; the file has another.
    facts : mapping
    n_bytes : int
    used : float
        Time of the last use, by the store's clock.
    client : str
        The machine that it came from; empty for this one.
    """

    kind: str
    path: Path
    name: str
    facts: Mapping[str, Any]
    n_bytes: int
    used: float
    client: str = ""


@dataclass(eq=False)
class Arrival:
    """An upload that is not whole yet, and how much of it has arrived."""

    client: str
    n_bytes: int = 0


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Refuse what the disk cannot take (507)."""
    try:
        yield
    except OSError as error:
        raise HTTPException(507, f"it cannot be stored ({error.strerror}); free some space") from error


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
        self._arrivals: list[Arrival] = []

    def new_path(self, extension: str = "") -> Path:
        """Return the path for a new file or folder."""
        return self.folder / f"{secrets.token_hex(16)}{extension}"

    async def receive(self, content: AsyncIterable[bytes], path: Path, *, n_promised: int, client: str = "") -> int:
        """Write an upload to a file as it arrives, and return its size in bytes.

        What has arrived counts, not what is promised: who promises much and sends nothing takes nobody's place.

        Raises
        ------
        HTTPException
            If there are too many files, or too many bytes: 413; 408 if nothing arrives for some time; 429 if the client
            sends too many at a time; 507 if the disk is full.
        """
        self._refuse_larger(n_promised)
        self._refuse_more_files(client)
        self.refuse_more_bytes(client, n_promised)
        arrival = self._begin_arrival(client)
        try:
            with storing(), path.open("xb") as file:
                async for chunk in _ending_stalls(content, self.limits.stalled_s):
                    arrival.n_bytes += len(chunk)
                    self._refuse_larger(arrival.n_bytes)
                    self.refuse_more_bytes(client)
                    file.write(chunk)
            self._refuse_more_files(client)  # others may have arrived meanwhile
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self._arrivals.remove(arrival)
        return arrival.n_bytes

    def add(self, kind: str, path: Path, name: str, facts: Mapping[str, Any], client: str = "") -> str:
        """Register an existing file, and return its identifier."""
        identifier = secrets.token_hex(16)
        with self._lock:
            self.uploads[identifier] = Upload(kind, path, name, facts, path.stat().st_size, self.clock(), client)
        return identifier

    def find(self, identifier: str) -> Upload | None:
        """Find a file, and count that as a use of it."""
        upload = self.uploads.get(identifier)
        if upload is not None:
            upload.used = self.clock()
        return upload

    def add_copy(self, kind: str, path: Path, client: str = "") -> str:
        """Register a copy of a file, unless there is one of the same content, and return the copy's identifier.

        Raises
        ------
        HTTPException
            507 if the disk is full.
        """
        facts = {"copy_of": [path.name, sha256_of(path)]}
        with self._lock:
            there = next((key for key, upload in self.uploads.items() if upload.facts == facts), "")
        if self.find(there):
            return there
        copy = self.new_path()
        with storing():
            try:
                shutil.copyfile(path, copy)
            except OSError:
                copy.unlink(missing_ok=True)
                raise
        return self.add(kind, copy, path.name, facts, client)

    def remove(self, identifier: str) -> None:
        """Delete a file, if it is there."""
        upload = self.uploads.pop(identifier, None)
        if upload is not None:
            for path in (upload.path, *upload.path.parent.glob(f"{upload.path.name}.*")):  # its previews
                path.unlink(missing_ok=True)

    def count_preview(self, identifier: str, path: Path) -> None:
        """Count what was made beside an upload as bytes of it, or delete it if the upload is gone by now (404)."""
        with self._lock:
            upload = self.uploads.get(identifier)
            if upload is not None:
                upload.n_bytes += path.stat().st_size
        if upload is None:
            path.unlink(missing_ok=True)
            raise HTTPException(404, "the recording was removed")

    def refuse_more_bytes(self, client: str, n_new_bytes: int = 0) -> None:
        """Refuse more bytes than all files, or those of a client, may have."""
        with self._lock:
            there: list[Upload | Arrival] = [*self.uploads.values(), *self._arrivals]
        sizes = [(each.client, each.n_bytes) for each in there]
        n_own = sum(n_bytes for owner, n_bytes in sizes if owner == client)
        n_all = sum(n_bytes for _, n_bytes in sizes)
        most = self.limits.of(client, self.limits.total_bytes)
        if n_all + n_new_bytes > self.limits.total_bytes or n_own + n_new_bytes > most:
            raise HTTPException(413, f"all files together pass {most / MIB:.0f} MiB; remove some")

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

    def _refuse_more_files(self, client: str) -> None:
        """Refuse too many files."""
        with self._lock:
            stored = list(self.uploads.values())
        most = self.limits.of(client, self.limits.n_files)
        if len(stored) >= self.limits.n_files or sum(each.client == client for each in stored) >= most:
            raise HTTPException(413, f"there are {most} files already; remove some, or join short ones")

    def _begin_arrival(self, client: str) -> "Arrival":
        """Count an upload that begins to arrive, or refuse too many at a time."""
        if sum(each.client == client for each in self._arrivals) >= self.limits.n_arriving:
            raise HTTPException(429, f"{self.limits.n_arriving} files are being sent already; send them one by one")
        arrival = Arrival(client)
        self._arrivals.append(arrival)
        return arrival


async def _ending_stalls(content: AsyncIterable[bytes], patience_s: float) -> AsyncIterator[bytes]:
    """Pass on what arrives; refuse (408) what stops arriving."""
    arriving = aiter(content)
    while True:
        try:
            async with asyncio.timeout(patience_s):
                chunk = await anext(arriving)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            told = f"nothing of it arrived for {patience_s:g} seconds; send it again"
            raise HTTPException(408, told, headers={"connection": "close"}) from error
        yield chunk
