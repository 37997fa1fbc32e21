"""The routes of the server: the form of requests; the answers come from the service."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field

from sepdict.audio.labels import Label, format_labels
from sepdict.dictionaries.library import EXTENSION
from sepdict.separation.config import Quality
from sepdict.web import results
from sepdict.web.clients import TheAsker
from sepdict.web.incoming import labels_in
from sepdict.web.service import Service
from sepdict.web.sessions import MOST_LETTERS, Document, Identifier

UPLOADS = "/api/uploads"
MOST_IN_A_REQUEST = 500
LABELS = "/api/labels"
SESSIONS = "/api/sessions"

router = APIRouter()


class LabelRequest(BaseModel):
    """A label, as `sepdict.Label` has it."""

    start_s: float
    end_s: float
    name: Annotated[str, Field(max_length=MOST_LETTERS)]
    low_hz: float | None = None
    high_hz: float | None = None

    def label(self) -> Label:
        """Return the label, or refuse what cannot be one."""
        return Label(**self.model_dump())


class LabelsRequest(BaseModel):
    """Labels of a recording."""

    labels: Annotated[list[LabelRequest], Field(max_length=MOST_IN_A_REQUEST)]


class SeparationRequest(BaseModel):
    """A mixture, dictionaries, labels to learn more from and corrections, and how; see `sepdict.separate_marked`.

    What is preliminary goes when the next result of the mixture is there.
    """

    mixture: Identifier
    dictionaries: Annotated[list[Identifier], Field(default_factory=list, max_length=50)]
    labels: Annotated[list[LabelRequest], Field(default_factory=list, max_length=MOST_IN_A_REQUEST)]
    corrections: Annotated[list[LabelRequest], Field(default_factory=list, max_length=MOST_IN_A_REQUEST)]
    residual: bool = False
    background_model: bool = False
    quality: Quality = "standard"
    preliminary: bool = False


class TrainingRequest(BaseModel):
    """A source's name, its solos, and what kind of dictionary they are to become."""

    source: Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]
    solos: Annotated[list[Identifier], Field(min_length=1, max_length=MOST_IN_A_REQUEST)]
    network: Literal["default", "convolutional", "nonnegative"] = "default"


class ComparisonRequest(BaseModel):
    """Dictionaries whose sources are to be told apart."""

    dictionaries: Annotated[list[Identifier], Field(min_length=1, max_length=50)]


class NameRequest(BaseModel):
    """The name that a dictionary of the library is to have."""

    name: Annotated[str, Field(max_length=MOST_LETTERS)]


class SessionRequest(BaseModel):
    """What is now set on a page, and the revision of what was set there before."""

    document: Document
    revision: int


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
    asker: TheAsker,
) -> dict[str, Any]:
    """Receive a file as the raw body, so that its bytes are counted while they arrive."""
    n_promised = int(request.headers["content-length"])
    return await service.take(kind, name, request.stream(), n_promised=n_promised, asker=asker)


@router.get(f"{UPLOADS}/{{identifier}}")
def touch(identifier: str, service: TheService) -> dict[str, Any]:
    """Mark an upload as used, so that it is kept."""
    return service.touch(identifier)


@router.get(f"{UPLOADS}/{{identifier}}/sound.wav")
def sound(identifier: str, service: TheService) -> FileResponse:
    """Return a mixture, or the beginning of a solo, in a form that every browser plays."""
    return FileResponse(service.preview(identifier, "sound.wav"), content_disposition_type="inline")


@router.get(f"{UPLOADS}/{{identifier}}/spectrogram.png")
def spectrogram(identifier: str, service: TheService) -> FileResponse:
    """Return the picture of a mixture's spectrogram, from its beginning to its end."""
    return FileResponse(service.preview(identifier, "spectrogram.png"), content_disposition_type="inline")


@router.post("/api/demo")
async def demo(service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Add the demo's recording as a mixture, and return it with its labels."""
    return await service.take_demo(asker=asker)


@router.post(LABELS)
async def read_labels(request: Request, name: Annotated[str, Query(max_length=1000)]) -> list[dict[str, Any]]:
    """Read a file of labels, which is the raw body."""
    return labels_in(await request.body(), name)


@router.post(f"{LABELS}/{{form}}")
def write_labels(form: Literal["audacity", "raven"], request: LabelsRequest) -> dict[str, str]:
    """Write labels as the text of a file."""
    return {"text": format_labels([each.label() for each in request.labels], form)}


@router.delete(f"{UPLOADS}/{{identifier}}")
def remove(identifier: str, service: TheService) -> dict[str, Any]:
    """Delete an upload."""
    service.remove(identifier)
    return {}


@router.get("/api/limits")
def limits(service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Return the limits, so that the page need not send what is refused."""
    return {**asdict(service.limits), "changes_library": not asker.client}


@router.get("/api/dictionaries")
def dictionaries(service: TheService) -> list[dict[str, Any]]:
    """List the library."""
    return service.installed()


@router.get("/api/dictionaries/{identifier}")
def dictionary(identifier: str, service: TheService) -> FileResponse:
    """Return a dictionary's file."""
    found = service.dictionary(identifier)
    return FileResponse(found.path, filename=f"{found.name.removesuffix(EXTENSION)}{EXTENSION}")


@router.get("/api/dictionaries/{identifier}/sound.wav")
def sound_of_dictionary(identifier: str, service: TheService) -> Response:
    """Return sound of a dictionary alone."""
    return Response(service.hear(identifier), media_type="audio/wav")


@router.post("/api/dictionaries/{identifier}/keep")
def keep(identifier: str, service: TheService) -> dict[str, Any]:
    """Save a dictionary in the library."""
    return {"id": service.keep(identifier)}


@router.put("/api/dictionaries/{identifier}/name")
def rename(identifier: str, request: NameRequest, service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Rename a dictionary of the library."""
    return service.rename(identifier, request.name, asker=asker)


@router.delete("/api/dictionaries/{identifier}")
def uninstall(identifier: str, service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Take a dictionary out of the library, and return by what identifier it can be put back."""
    return {"removed": service.uninstall(identifier, asker=asker)}


@router.post("/api/dictionaries/{identifier}/restore")
def restore(identifier: str, service: TheService) -> dict[str, Any]:
    """Put a dictionary that was taken out of the library back."""
    return service.restore(identifier)


@router.post("/api/separations")
def separation(request: SeparationRequest, service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Queue a separation."""
    how = request.model_dump(include={"residual", "background_model", "quality", "preliminary"})
    labels, corrections = ([each.label() for each in some] for some in (request.labels, request.corrections))
    job = service.separate(request.mixture, request.dictionaries, labels, corrections, asker=asker, **how)
    return service.report(job)


@router.post("/api/trainings")
def training(request: TrainingRequest, service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Queue a training."""
    return service.report(service.train(request.source, request.solos, network=request.network, asker=asker))


@router.post("/api/comparisons")
def comparison(request: ComparisonRequest, service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Queue a comparison."""
    return service.report(service.compare(request.dictionaries, asker=asker))


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
    service.forget(service.job(identifier))
    return {}


@router.get("/api/jobs/{identifier}/stems.zip")
def stems(
    identifier: str,
    service: TheService,
    more: Annotated[list[Identifier], Query(default_factory=list, max_length=MOST_IN_A_REQUEST)],
    form: results.Format = "wav",
) -> FileResponse:
    """Return a ZIP file of all stems of a job, or of several, with a folder for each."""
    path, filename = results.stems_zip([service.job(each) for each in [identifier, *more]], form)
    return FileResponse(path, filename=filename)


@router.get("/api/jobs/{identifier}/report.html")
def report(identifier: str, service: TheService) -> FileResponse:
    """Return the report of a separation; it is saved and not shown, for its scripts are none of the page's."""
    path, filename = results.report(service.job(identifier))
    return FileResponse(path, filename=filename)


@router.get("/api/jobs/{identifier}/{name}")
def output(identifier: str, name: str, service: TheService, start: int = 0, stop: int | None = None) -> Response:
    """Return a file of a job, or some samples of a sound; browsers show or play it, or save it if a link says so."""
    if stop is not None:
        return Response(results.part(service.job(identifier), name, start, stop), media_type="audio/wav")
    path, filename = results.output(service.job(identifier), name)
    return FileResponse(path, filename=filename, content_disposition_type="inline")


@router.post(SESSIONS)
def begin(service: TheService, asker: TheAsker) -> dict[str, Any]:
    """Begin a session."""
    return {"id": service.sessions.create(asker.client)}


@router.get(f"{SESSIONS}/{{identifier}}")
def session(identifier: str, service: TheService, seen: int = -1, library: str = "") -> dict[str, Any]:
    """Return what is in a session and in the library, or its revision alone if all was seen; all of it is kept."""
    return service.session(identifier, seen=seen, library=library)


@router.put(f"{SESSIONS}/{{identifier}}")
def save(identifier: str, request: SessionRequest, service: TheService) -> dict[str, Any]:
    """Replace what is set in a session, unless another page has changed that."""
    return {"revision": service.sessions.save(identifier, request.document, seen=request.revision)}
