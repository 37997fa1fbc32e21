"""What can be asked of the server, and in which form; the answers come from the desk."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from sepdict.dictionaries.library import EXTENSION
from sepdict.web.service import Desk

UPLOADS = "/api/uploads"
MOST_IN_A_REQUEST = 500
Identifier = Annotated[str, Field(max_length=64)]

router = APIRouter()


class SeparationRequest(BaseModel):
    """A mixture, the dictionaries for it, and how; for `unknown` see `sepdict.separate`."""

    mixture: Identifier
    dictionaries: Annotated[list[Identifier], Field(min_length=1, max_length=50)]
    residual: bool = False
    unknown: bool = False
    compose: bool = True


class TrainingRequest(BaseModel):
    """A source's name, its solos, and what kind of dictionary they are to become."""

    source: Annotated[str, Field(min_length=1, max_length=80)]
    solos: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_IN_A_REQUEST)]
    network: Literal["default", "convolutional", "nonnegative"] = "default"


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
    how = request.model_dump(include={"residual", "unknown", "compose"})
    return desk.report(desk.separate(request.mixture, request.dictionaries, **how))


@router.post("/api/trainings")
def training(request: TrainingRequest, desk: TheDesk) -> dict[str, Any]:
    """Queue a training."""
    return desk.report(desk.train(request.source, request.solos, network=request.network))


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


@router.delete("/api/jobs/{identifier}/result")
def forget(identifier: str, desk: TheDesk) -> dict[str, Any]:
    """Delete what a job made, and the job, unless it has not ended."""
    desk.queue.forget(desk.job(identifier))
    return {}


@router.get("/api/jobs/{identifier}/stems.zip")
def stems(
    identifier: str,
    desk: TheDesk,
    more: Annotated[list[Identifier], Query(default_factory=list, max_length=MOST_IN_A_REQUEST)],
) -> FileResponse:
    """Hand out all stems of a job, or of several, a folder for each."""
    path, filename = desk.zip([desk.job(each) for each in [identifier, *more]])
    return FileResponse(path, filename=filename)


@router.get("/api/jobs/{identifier}/{name}")
def output(identifier: str, name: str, desk: TheDesk) -> FileResponse:
    """Hand out what a job wrote; browsers show or play it, or save it where a link says so."""
    path, filename = desk.output(desk.job(identifier), name)
    return FileResponse(path, filename=filename, content_disposition_type="inline")
