"""The application: uploads, jobs, results and the dictionaries of the library, as JSON and files.

    POST   /api/uploads?kind=mixture|solo|dictionary&name=NAME   the file as body
    GET    /api/uploads/ID                         use it, so that it stays
    DELETE /api/uploads/ID
    GET    /api/limits
    GET    /api/dictionaries                       those of the library
    GET    /api/dictionaries/ID                    the file
    POST   /api/dictionaries/ID/keep               into the library
    POST   /api/separations, /api/trainings        a job
    GET    /api/jobs/ID                            how far it is, what came of it
    DELETE /api/jobs/ID                            cancel it
    DELETE /api/jobs/ID/result                     what it made
    GET    /api/jobs/ID/mixture.wav, mixture.png, N.wav, N.png
    GET    /api/jobs/ID/stems.zip?more=ID&more=ID  all stems and how they were made, of other jobs too

Errors are ``{"error": "one line"}``. Uploads, jobs and what they wrote go an hour after their last use, or at the end.
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

from sepdict import PRESETS, SeparationConfig, SepdictError, TrainingConfig
from sepdict.dictionaries.library import library_folder
from sepdict.web.dictionaries import Library
from sepdict.web.middleware import LOOPBACK, SecurityMiddleware
from sepdict.web.routes import UPLOADS, router
from sepdict.web.service import Service
from sepdict.web.tasks import name_files
from sepdict.web.uploads import Limits

SWEEP_EVERY_S = 30.0


@dataclass(frozen=True)
class Settings:
    """How the page works.

    Parameters
    ----------
    hosts : sequence of str
        What the page may be called by, beside this machine's own ``localhost``.
    library : Path
    limits : Limits
    training : TrainingConfig
    separation : SeparationConfig
    """

    hosts: Sequence[str] = ()
    library: Path = field(default_factory=library_folder)
    limits: Limits = field(default_factory=Limits)
    training: TrainingConfig = PRESETS["default"]
    separation: SeparationConfig = field(default_factory=SeparationConfig)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; its files and its process live from its start to its end.

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
    app.add_middleware(SecurityMiddleware, upload_bytes=limits.file_bytes, uploads_to=UPLOADS)
    app.add_exception_handler(StarletteHTTPException, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_misunderstanding)
    app.add_exception_handler(SepdictError, _answer_mistake)
    app.add_exception_handler(Exception, _answer_surprise)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the service, look after it, and clear it at the end."""
    settings: Settings = app.state.settings
    service = Service(Library(settings.library), settings.limits, settings.training, settings.separation)
    app.state.service = service
    sweeping = asyncio.create_task(_sweep(service))
    try:
        yield
    finally:
        sweeping.cancel()
        service.close()


async def _sweep(service: Service) -> None:
    """Delete what is old, again and again."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        await asyncio.to_thread(service.sweep)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    """Say why a request is refused."""
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code)


async def _answer_misunderstanding(_: Request, error: Exception) -> Response:
    """Say what in a request is not as expected, without what it was."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"error": f"{where}: {first['msg']}" if where else first["msg"]}, 422)


async def _answer_mistake(_: Request, error: Exception) -> Response:
    """Say what the library says, but for where files are."""
    return JSONResponse({"error": " ".join(name_files(str(error), []).split())}, 400)


async def _answer_surprise(_: Request, error: Exception) -> Response:
    """Keep to oneself what is nobody's business; the server's log has it."""
    return JSONResponse({"error": f"something unexpected went wrong ({type(error).__name__})"}, 500)
