"""Sessions: what a page has added, asked for and set, kept by the server, so that a reload or a second tab has it too.

A session's identifier is all that it takes to see it, so it cannot be guessed. The page has it in its address as a
fragment, ``/#s=ID``: browsers send fragments to no server, neither in requests nor as a referrer.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from sepdict.web.uploads import Limits

DOCUMENT_BYTES = 512 * 2**10  # five thousand marks
MOST = 500  # of anything in a document
GONE = "the session is no longer here; it is deleted an hour after its last use, and when the server ends"

Identifier = Annotated[str, Field(max_length=64)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decibels = Annotated[float, Field(ge=-60, le=12)]  # as player-levels.js has them
MOST_LETTERS = 80  # of the names of sources
Name = Annotated[str, Field(max_length=MOST_LETTERS)]


class Part(BaseModel):
    """A part of a document, in which nothing else may be."""

    model_config = ConfigDict(extra="forbid")


class Mark(Part):
    """A marked moment; one that is just being made has no name yet."""

    start_s: Seconds
    end_s: Seconds
    name: Name
    low_hz: Seconds | None = None
    high_hz: Seconds | None = None


Marks = Annotated[dict[Identifier, Annotated[list[Mark], Field(max_length=MOST)]], Field(max_length=MOST)]


class Level(Part):
    """How a track of the player is set."""

    gain_db: Decibels = 0.0
    muted: bool = False
    soloed: bool = False


class Levels(Part):
    """How the player is set: its tracks, by their numbers, and its master."""

    master_db: Decibels = 0.0
    tracks: Annotated[dict[Identifier, Level], Field(max_length=MOST)] = {}


class Loop(Part):
    """What the player plays again and again."""

    start_s: Seconds
    end_s: Seconds


class Timing(Part):
    """The loop of the player, and what is in view: how far it is magnified, and the share of all that is before it."""

    loop: Loop | None = None
    is_looping: bool = False
    zoom: Annotated[float, Field(ge=1, le=256)] = 1.0
    start: Annotated[float, Field(ge=0, le=1)] = 0.0


class Document(Part):
    """What is set on a page.

    Attributes
    ----------
    marks : dict of list of Mark
        By the checksums of mixtures: they are there again when a recording is added again.
    corrections : dict of list of Mark
        The same of parts of a mixture that belong to a stem.
    chosen : list of str
        Dictionaries, uploaded or of the library.
    source, network, training : str, str, bool
        The training that is being prepared, and whether its panel is open.
    residual, background_model, standard : bool
        How to separate.
    heard : str
        The job in the player.
    levels : dict of Levels
        Of the player, by jobs.
    timings : dict of Timing
        The same.
    opened : list of str
        Steps that stay open though there is a result.
    """

    marks: Marks = {}
    corrections: Marks = {}
    chosen: Annotated[list[Identifier], Field(max_length=MOST)] = []
    source: Name = ""
    network: Literal["default", "convolutional", "nonnegative"] = "default"
    training: bool = False
    residual: bool = False
    background_model: bool = False
    standard: bool = True
    heard: Identifier = ""
    levels: Annotated[dict[Identifier, Levels], Field(max_length=MOST)] = {}
    timings: Annotated[dict[Identifier, Timing], Field(max_length=MOST)] = {}
    opened: Annotated[list[Literal["mixture", "sources"]], Field(max_length=2)] = []


@dataclass
class Session:
    """What one page has; several tabs may show it.

    Attributes
    ----------
    used : float
        Time of the last use, by the clock of all.
    client : str
        The machine whose page began it; empty for this one.
    uploads, jobs : list of str
        In the order in which they came.
    document : Document
    revision : int
        Grows with every change.
    saved : int
        The revision with which the document changed last.
    """

    used: float
    client: str = ""
    uploads: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    document: Document = field(default_factory=Document)
    revision: int = 0
    saved: int = 0


@dataclass
class Sessions:
    """All sessions, by identifiers that cannot be guessed.

    Parameters
    ----------
    limits : Limits
        Here of the number of sessions; those in which nothing is make room for new ones.
    clock : callable
    """

    limits: Limits
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()  # jobs end in another thread

    def create(self, client: str = "") -> str:
        """Begin a session and return its identifier.

        Raises
        ------
        HTTPException
            503 if there are too many.
        """
        with self._lock:
            self._make_room(client)
            identifier = secrets.token_hex(16)
            self._sessions[identifier] = Session(self.clock(), client)
            return identifier

    def find(self, identifier: str) -> Session:
        """Find a session, and count that as a use of it.

        Raises
        ------
        HTTPException
            404 if there is none.
        """
        with self._lock:
            session = self._sessions.get(identifier)
            if session is None:
                raise HTTPException(404, GONE)
            session.used = self.clock()
            return session

    def save(self, identifier: str, document: Document, *, seen: int) -> int:
        """Replace a session's document, and return the new revision.

        ``seen`` is the revision of the document that was changed: if another page has changed it since, that page's
        changes would be lost.

        Raises
        ------
        HTTPException
            404 if there is no such session, 409 if its document was changed since.
        """
        with self._lock:
            session = self.find(identifier)
            if session.saved > seen:
                raise HTTPException(409, "another page has changed this session; see its changes first")
            session.document = document
            session.revision = session.saved = session.revision + 1
            return session.revision

    def uploads_of(self, identifier: str) -> list[str]:
        """List the uploads of a session, none if it is gone; this is no use of it."""
        with self._lock:
            session = self._sessions.get(identifier)
            return [] if session is None else list(session.uploads)

    def add_upload(self, identifier: str, upload: str) -> None:
        """Enter an upload into a session, if that is still there."""
        self._change(identifier, lambda session: session.uploads.append(upload))

    def add_job(self, identifier: str, job: str) -> None:
        """Enter a job into a session, if that is still there."""
        self._change(identifier, lambda session: session.jobs.append(job))

    def note_change(self, thing: str) -> None:
        """Note in the sessions that have an upload or a job that something of it is another now."""
        with self._lock:
            for session in self._with(thing):
                session.revision += 1

    def remove(self, things: Sequence[str]) -> None:
        """Take uploads and jobs out of all sessions."""
        with self._lock:
            for thing in things:
                for session in self._with(thing):
                    session.uploads = [each for each in session.uploads if each != thing]
                    session.jobs = [each for each in session.jobs if each != thing]
                    session.revision += 1

    def all(self) -> list[Session]:
        """List the sessions, which is no use of them."""
        with self._lock:
            return list(self._sessions.values())

    def sweep(self) -> None:
        """Forget sessions that were not used for a long time."""
        with self._lock:
            oldest = self.clock() - self.limits.kept_s
            self._sessions = {key: session for key, session in self._sessions.items() if session.used >= oldest}

    def _make_room(self, client: str) -> None:
        """Forget the oldest session in which nothing is, if there are too many or too many of a client, or refuse."""
        most = self.limits.of(client, self.limits.n_sessions)
        own = {key for key, session in self._sessions.items() if session.client == client}
        for keys, n_most in ((own, most), (self._sessions.keys(), self.limits.n_sessions)):
            if len(keys) >= n_most:
                empty = [key for key in keys if not self._sessions[key].revision]
                if not empty:
                    raise HTTPException(503, f"{n_most} pages are open already; try again in an hour")
                del self._sessions[min(empty, key=lambda key: self._sessions[key].used)]
                return

    def _with(self, thing: str) -> list[Session]:
        """List the sessions that have an upload or a job."""
        return [each for each in self._sessions.values() if thing in each.uploads or thing in each.jobs]

    def _change(self, identifier: str, change: Callable[[Session], None]) -> None:
        """Change what is in a session, if that is still there."""
        with self._lock:
            session = self._sessions.get(identifier)
            if session is not None:
                change(session)
                session.revision += 1
