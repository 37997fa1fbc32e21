"""What can be asked of the server, and in which form; the answers come from the desk."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from sepdict.library import EXTENSION
from sepdict.web.desk import Desk

UPLOADS = "/api/uploads"
MOST_IN_A_REQUEST = 500
Identifier = Annotated[str, Field(max_length=64)]

router = APIRouter()


class SeparationRequest(BaseModel):
    """A mixture, the dictionaries for it, and how."""

    mixture: Identifier
    dictionaries: Annotated[list[Identifier], Field(min_length=1, max_length=50)]
    residual: bool = False
    compose: bool = True


class TrainingRequest(BaseModel):
    """A source's name and its solos."""

    source: Annotated[str, Field(min_length=1, max_length=80)]
    solos: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_IN_A_REQUEST)]


def desk_of(request: Request) -> Desk:
    """Find the desk of the application that was asked."""
    desk: Desk = request.app.state.desk
    return desk


TheDesk = Annotated[Desk, Depends(desk_of)]


@router.post(UPLOADS)
async def upload(
    request: Request,
    desk: TheDesk,
    kind: Literal["mixture", "solo", "dictionary"],
    name: Annotated[str, Query(max_length=1000)],
) -> dict[str, Any]:
    """Take a file: the body as it is, so that it is counted while it arrives."""
    return await desk.take(kind, name, request.stream(), n_promised=int(request.headers["content-length"]))


@router.get(f"{UPLOADS}/{{identifier}}")
def touch(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Use an upload, so that it stays."""
    return desk.touch(identifier)


@router.delete(f"{UPLOADS}/{{identifier}}")
def remove(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Delete an upload."""
    desk.remove(identifier)
    return {}


@router.get("/api/limits")
def limits(desk: TheDesk) -> dict[str, Any]:
    """Say how much is taken, so that a page need not send what is too much."""
    return asdict(desk.limits)


@router.get("/api/dictionaries")
def dictionaries(desk: TheDesk) -> list[dict[str, Any]]:
    """List the library."""
    return [{"id": identifier, **facts} for identifier, facts in desk.library.facts().items()]


@router.get("/api/dictionaries/{identifier}")
def dictionary(identifier: str, desk: TheDesk) -> FileResponse:
    """Hand a dictionary out as a file."""
    found = desk.dictionary(identifier)
    return FileResponse(found.path, filename=f"{found.name.removesuffix(EXTENSION)}{EXTENSION}")


@router.post("/api/dictionaries/{identifier}/keep")
def keep(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Keep a dictionary in the library."""
    return {"id": desk.keep(identifier)}


@router.post("/api/separations")
def separation(request: SeparationRequest, desk: TheDesk) -> dict[str, Any]:
    """Queue a separation."""
    job = desk.separate(request.mixture, request.dictionaries, residual=request.residual, compose=request.compose)
    return desk.report(job)


@router.post("/api/trainings")
def training(request: TrainingRequest, desk: TheDesk) -> dict[str, Any]:
    """Queue a training."""
    return desk.report(desk.train(request.source, request.solos))


@router.get("/api/jobs/{identifier}")
def job(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Say how far a job is."""
    return desk.report(desk.job(identifier))


@router.delete("/api/jobs/{identifier}")
def cancel(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Cancel a job."""
    found = desk.job(identifier)
    desk.queue.cancel(found)
    return desk.report(found)


@router.get("/api/jobs/{identifier}/{name}")
def output(identifier: str, name: str, desk: TheDesk) -> FileResponse:
    """Hand out what a job wrote; browsers show or play it, or save it where a link says so."""
    path, filename = desk.output(desk.job(identifier), name)
    return FileResponse(path, filename=filename, content_disposition_type="inline")
