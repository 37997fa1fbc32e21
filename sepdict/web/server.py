"""The application: uploads, jobs, results and the dictionaries of the library, as JSON and files.

    POST   /api/sessions                           begin a session
    GET    /api/sessions/ID?seen=REVISION&library=STATE   its uploads, jobs and document and the library, unless seen
    PUT    /api/sessions/ID                        its document, unless it was changed meanwhile (409)
    POST   /api/uploads?kind=mixture|solo|dictionary&name=NAME   the file as body
    GET    /api/uploads/ID                         mark it as used, so that it is kept
    GET    /api/uploads/ID/sound.wav, spectrogram.png   of a mixture, to mark moments in it; of a solo, its first minute
    DELETE /api/uploads/ID
    POST   /api/demo                               the demo's recording, as if it were uploaded, and its labels
    GET    /api/limits
    GET    /api/dictionaries                       those of the library
    GET    /api/dictionaries/ID                    the file
    GET    /api/dictionaries/ID/sound.wav          some seconds of it alone
    POST   /api/dictionaries/ID/keep               into the library
    PUT    /api/dictionaries/ID/name               rename one of the library
    DELETE /api/dictionaries/ID                    take it out of the library
    POST   /api/dictionaries/ID/restore            put back what was taken out
    POST   /api/labels?name=NAME                   the file as body: its labels
    POST   /api/labels/audacity, /api/labels/raven labels as the text of a file
    POST   /api/separations, /api/trainings, /api/comparisons   a job
    GET    /api/jobs/ID                            its progress and its result
    DELETE /api/jobs/ID                            cancel it
    DELETE /api/jobs/ID/result                     what it made
    GET    /api/jobs/ID/mixture.wav, mixture.png, N.wav, N.flac, N.mp3, N.png, N.mask.png
    GET    /api/jobs/ID/mixture.wav, N.wav?start=SAMPLE&stop=SAMPLE   a part, for the player
    GET    /api/jobs/ID/report.html                its report, as `sepdict separate --report` writes it
    GET    /api/jobs/ID/stems.zip?more=ID&more=ID&form=wav|flac|mp3   all stems and how they were made, of others too

What is uploaded or asked for with ``session=ID`` in the query is in that session, and used when the session is asked
for. A job ends when nobody asked for it or its session for ten minutes. Everything is deleted an hour after its last
use, or at the end. Errors are ``{"error": "one line"}``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sepdict import PRESETS, MarkingConfig, SeparationConfig, SepdictError, TrainingConfig
from sepdict.dictionaries.library import library_folder
from sepdict.web.dictionaries import Library
from sepdict.web.middleware import LOOPBACK, SecurityMiddleware
from sepdict.web.routes import SESSIONS, UPLOADS, router
from sepdict.web.service import Service
from sepdict.web.sessions import DOCUMENT_BYTES
from sepdict.web.tasks import name_files
from sepdict.web.uploads import Limits

SWEEP_EVERY_S = 30.0


@dataclass(frozen=True)
class Settings:
    """Settings of the page.

    Parameters
    ----------
    hosts : sequence of str
        The host names by which the page may be reached, beside this machine's ``localhost``.
    library : Path
    limits : Limits
    training : TrainingConfig
    separation : SeparationConfig
    marking : MarkingConfig
    """

    hosts: Sequence[str] = ()
    library: Path = field(default_factory=library_folder)
    limits: Limits = field(default_factory=Limits)
    training: TrainingConfig = PRESETS["default"]
    separation: SeparationConfig = field(default_factory=SeparationConfig)
    marking: MarkingConfig = field(default_factory=MarkingConfig)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the application; its files and its process exist from its start to its end.

    Examples
    --------
    >>> from starlette.testclient import TestClient
    >>> with TestClient(create_app(), base_url="http://localhost") as client:
    ...     client.get("/").status_code
    200
    """
    settings = Settings() if settings is None else settings
    # no generated pages: they load scripts from elsewhere
    app = FastAPI(title="sepdict", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan)
    app.state.settings = settings
    app.include_router(router)
    app.mount("/", StaticFiles(packages=[("sepdict.web", "static"), ("sepdict.reports", "static")], html=True))
    limits = settings.limits
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *settings.hosts], www_redirect=False)
    app.add_middleware(SecurityMiddleware, most_bytes={UPLOADS: limits.file_bytes, SESSIONS: DOCUMENT_BYTES})
    app.add_exception_handler(StarletteHTTPException, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(SepdictError, _answer_library_error)
    app.add_exception_handler(Exception, _answer_unexpected)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the service, sweep it regularly, and close it at the end."""
    settings: Settings = app.state.settings
    service = Service(
        Library(settings.library), settings.limits, settings.training, settings.separation, settings.marking
    )
    app.state.service = service
    sweeping = asyncio.create_task(_sweep(service))
    try:
        yield
    finally:
        sweeping.cancel()
        service.close()


async def _sweep(service: Service) -> None:
    """Delete old files, again and again."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        await asyncio.to_thread(service.sweep)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    """Answer with the reason why a request is refused."""
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _answer_invalid(_: Request, error: Exception) -> Response:
    """Answer which part of a request is invalid, without its value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "string_too_long":
        what, n_letters = where.rpartition(".")[2], len(first["input"])
        told = f"the {what} has {n_letters} letters; expected {first['ctx']['max_length']} at most"
        return JSONResponse({"error": told}, 422)
    return JSONResponse({"error": f"{where}: {first['msg']}" if where else first["msg"]}, 422)


async def _answer_library_error(_: Request, error: Exception) -> Response:
    """Answer with the library's message, without the folders of files."""
    return JSONResponse({"error": " ".join(name_files(str(error), []).split())}, 400)


async def _answer_unexpected(_: Request, error: Exception) -> Response:
    """Answer without details, which only the server's log shows."""
    return JSONResponse({"error": f"something unexpected went wrong ({type(error).__name__})"}, 500)
