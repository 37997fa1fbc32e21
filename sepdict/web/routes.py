"""The routes of the server: the form of requests; the answers come from the service."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from sepdict.dictionaries.library import EXTENSION
from sepdict.separation.config import Quality
from sepdict.web.service import Service

UPLOADS = "/api/uploads"
MOST_IN_A_REQUEST = 500
Identifier = Annotated[str, Field(max_length=64)]

router = APIRouter()


class SeparationRequest(BaseModel):
    """A mixture, the dictionaries for it, and how; for `background_model` see `sepdict.separate`."""

    mixture: Identifier
    dictionaries: Annotated[list[Identifier], Field(min_length=1, max_length=50)]
    residual: bool = False
    background_model: bool = False
    quality: Quality = "standard"


class TrainingRequest(BaseModel):
    """A source's name, its solos, and what kind of dictionary they are to become."""

    source: Annotated[str, Field(min_length=1, max_length=80)]
    solos: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_IN_A_REQUEST)]
    network: Literal["default", "convolutional", "nonnegative"] = "default"


def service_of(request: Request) -> Service:
    """Return the service of the application."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


@router.post(UPLOADS)
async def upload(
    request: Request,
    service: TheService,
    kind: Literal["mixture", "solo", "dictionary"],
    name: Annotated[str, Query(max_length=1000)],
) -> dict[str, Any]:
    """Receive a file as the raw body, so that its bytes are counted while they arrive."""
    return await service.take(kind, name, request.stream(), n_promised=int(request.headers["content-length"]))


@router.get(f"{UPLOADS}/{{identifier}}")
def touch(identifier: str, service: TheService) -> dict[str, Any]:
    """Mark an upload as used, so that it is kept."""
    return service.touch(identifier)


@router.delete(f"{UPLOADS}/{{identifier}}")
def remove(identifier: str, service: TheService) -> dict[str, Any]:
    """Delete an upload."""
    service.remove(identifier)
    return {}


@router.get("/api/limits")
def limits(service: TheService) -> dict[str, Any]:
    """Return the limits, so that the page need not send what is refused."""
    return asdict(service.limits)


@router.get("/api/dictionaries")
def dictionaries(service: TheService) -> list[dict[str, Any]]:
    """List the library."""
    return [{"id": identifier, **facts} for identifier, facts in service.library.facts().items()]


@router.get("/api/dictionaries/{identifier}")
def dictionary(identifier: str, service: TheService) -> FileResponse:
    """Return a dictionary's file."""
    found = service.dictionary(identifier)
    return FileResponse(found.path, filename=f"{found.name.removesuffix(EXTENSION)}{EXTENSION}")


@router.post("/api/dictionaries/{identifier}/keep")
def keep(identifier: str, service: TheService) -> dict[str, Any]:
    """Save a dictionary in the library."""
    return {"id": service.keep(identifier)}


@router.post("/api/separations")
def separation(request: SeparationRequest, service: TheService) -> dict[str, Any]:
    """Queue a separation."""
    how = request.model_dump(include={"residual", "background_model", "quality"})
    return service.report(service.separate(request.mixture, request.dictionaries, **how))


@router.post("/api/trainings")
def training(request: TrainingRequest, service: TheService) -> dict[str, Any]:
    """Queue a training."""
    return service.report(service.train(request.source, request.solos, network=request.network))


@router.get("/api/jobs/{identifier}")
def job(identifier: str, service: TheService) -> dict[str, Any]:
    """Return the progress and the result of a job."""
    return service.report(service.job(identifier))


@router.delete("/api/jobs/{identifier}")
def cancel(identifier: str, service: TheService) -> dict[str, Any]:
    """Cancel a job."""
    found = service.job(identifier)
    service.queue.cancel(found)
    return service.report(found)


@router.delete("/api/jobs/{identifier}/result")
def forget(identifier: str, service: TheService) -> dict[str, Any]:
    """Delete a job that has ended, with its files."""
    service.queue.forget(service.job(identifier))
    return {}


@router.get("/api/jobs/{identifier}/stems.zip")
def stems(
    identifier: str,
    service: TheService,
    more: Annotated[list[Identifier], Query(default_factory=list, max_length=MOST_IN_A_REQUEST)],
) -> FileResponse:
    """Return a ZIP file of all stems of a job, or of several, with a folder for each."""
    path, filename = service.zip([service.job(each) for each in [identifier, *more]])
    return FileResponse(path, filename=filename)


@router.get("/api/jobs/{identifier}/{name}")
def output(identifier: str, name: str, service: TheService) -> FileResponse:
    """Return a file of a job; browsers show or play it, or save it if a link says so."""
    path, filename = service.output(service.job(identifier), name)
    return FileResponse(path, filename=filename, content_disposition_type="inline")
