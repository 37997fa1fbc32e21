"""The service behind the page: it receives uploads, starts jobs, and returns their results."""

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool

from sepdict import (
    PRESETS,
    Dictionary,
    Label,
    LabelGuide,
    MarkingConfig,
    SeparationConfig,
    TrainingConfig,
)
from sepdict._core.names import normalized, refuse_unwritable
from sepdict.audio.discovery import AUDIO_EXTENSIONS
from sepdict.audio.marks import moments_by_source
from sepdict.dictionaries.dictionary import refuse_unfit
from sepdict.dictionaries.library import EXTENSION
from sepdict.errors import AudioFileError
from sepdict.evaluation.separability import refuse_incomparable
from sepdict.separation.config import Quality
from sepdict.web.clients import NOBODY, Asker
from sepdict.web.dictionaries import Library
from sepdict.web.incoming import DEMO, at_once, describe_upload, displayed, labels_in, naming
from sepdict.web.jobs import Job, JobQueue, QueueFullError, ShareTakenError
from sepdict.web.previews import preview_of, sound_of
from sepdict.web.sessions import Session, Sessions
from sepdict.web.tasks import DICTIONARY, LEARNED, Comparing, NamedFile, Separating, Training
from sepdict.web.uploads import Limits, Upload, Uploads

DELETED = "is no longer here; it is deleted an hour after its last use, and when the server ends"
GONE = f"{DELETED}: please add it again"
DICTIONARY_GONE = "the dictionary is no longer here: it was removed, renamed or not used for an hour; choose it anew"
KINDS = {Training: "training", Comparing: "comparison"}  # of jobs, to the page; others are separations
MIXTURE_REMOVED = "its mixture was removed"
JOB_GONE = f"what was asked for {DELETED}: please ask for it anew"


class Service:
    """Receives uploads and requests, and finds their files.

    Parameters
    ----------
    library : Library
    limits : Limits
    training : TrainingConfig
    separation : SeparationConfig
    marking : MarkingConfig
    """

    def __init__(
        self,
        library: Library,
        limits: Limits,
        training: TrainingConfig,
        separation: SeparationConfig,
        marking: MarkingConfig,
    ) -> None:
        self.library, self.limits, self.training, self.separation = library, limits, training, separation
        self.marking = marking
        self.store = Uploads(limits)
        self.sessions = Sessions(limits)
        self.queue = JobQueue(self._finish, folder=self.store.folder, limits=limits)

    async def take(
        self, kind: str, name: str, content: AsyncIterable[bytes], *, n_promised: int, asker: Asker = NOBODY
    ) -> dict[str, Any]:
        """Receive a file, check it, and register or refuse it."""
        self._refuse_unknown(asker)
        name = displayed(name)
        extension = Path(name).suffix.lower()
        # some formats are only recognized by it; of a name that is not ours no more than this reaches the disk
        path = self.store.new_path(extension if extension in AUDIO_EXTENSIONS else "")
        await self.store.receive(content, path, n_promised=n_promised, client=asker.client)
        try:
            await run_in_threadpool(self.queue.get_ready)
            facts = await run_in_threadpool(describe_upload, kind, path, name, self.limits)
            return dict(self._register(kind, path, name, facts, asker))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def take_demo(self, *, asker: Asker = NOBODY) -> dict[str, Any]:
        """Take in the demo's recording as if it had been uploaded, and return it and its labels."""
        name, content = "reading.flac", (DEMO / "reading.flac").read_bytes()
        facts = await self.take("mixture", name, at_once(content), n_promised=len(content), asker=asker)
        return {"upload": facts, "labels": labels_in((DEMO / "reading.txt").read_bytes(), "reading.txt")}

    def touch(self, identifier: str) -> dict[str, Any]:
        """Describe an upload, which counts as its use."""
        upload = self.store.find(identifier)
        if upload is None:
            raise HTTPException(404, f"a file {GONE}")
        facts = {"id": identifier, "kind": upload.kind, "name": upload.name, **upload.facts}
        return facts | {"kept": self.library.find(facts.get("sha256", ""))} if upload.kind == "dictionary" else facts

    def remove(self, identifier: str) -> None:
        """Delete an upload, and end the separations of a mixture; what another job still needs goes later."""
        self.sessions.remove([identifier])
        self.queue.cancel_those(lambda job: job.request.get("mixture") == identifier, MIXTURE_REMOVED)
        if identifier not in self.queue.in_use():
            self.store.remove(identifier)

    def dictionary(self, identifier: str) -> NamedFile:
        """Find a dictionary that was uploaded or trained, or is in the library.

        Raises
        ------
        HTTPException
            404 if there is none.
        """
        upload = self.store.find(identifier)
        if upload is not None and upload.kind == "dictionary":
            return NamedFile(upload.path, upload.name)
        path = self.library.path(identifier)
        if path is None:
            raise HTTPException(404, DICTIONARY_GONE)
        return NamedFile(path, path.name)

    def hear(self, identifier: str) -> bytes:
        """Return sound of a dictionary alone, as a WAV file."""
        found = self.dictionary(identifier)
        with naming([found]):
            return sound_of(found.path)

    def keep(self, identifier: str) -> str:
        """Save a dictionary in the library, and return its identifier there."""
        kept = self.library.keep(Dictionary.load(self.dictionary(identifier).path))
        self.sessions.note_change(identifier)
        return kept

    def rename(self, identifier: str, name: str, *, asker: Asker = NOBODY) -> dict[str, Any]:
        """Rename a dictionary of the library, and describe it."""
        renamed = self.library.rename(self._installed(identifier, asker), name)
        return {"id": renamed, **self.library.facts()[renamed]}

    def uninstall(self, identifier: str, *, asker: Asker = NOBODY) -> str:
        """Take a dictionary out of the library, and return by what identifier it can be put back for an hour."""
        path, removed = self._installed(identifier, asker), self.store.new_path()
        self.library.remove(path, removed)
        return self.store.add("removed", removed, path.name, {}, asker.client)

    def restore(self, identifier: str) -> dict[str, Any]:
        """Put a dictionary that was taken out of the library back, and describe it."""
        removed = self._upload(identifier, "removed")
        restored = self.library.restore(removed.path, removed.name)
        self.store.remove(identifier)
        return {"id": restored, **self.library.facts()[restored]}

    def preview(self, identifier: str, name: str) -> Path:
        """Return the file of a recording's preview, one of `PREVIEWS`; it goes when the recording does."""
        return preview_of(self.store, identifier, name)

    def separate(
        self,
        mixture: str,
        dictionaries: Sequence[str],
        labels: Sequence[Label] = (),
        corrections: Sequence[Label] = (),
        *,
        residual: bool,
        background_model: bool,
        quality: Quality,
        preliminary: bool = False,
        asker: Asker = NOBODY,
    ) -> Job:
        """Queue a separation; dictionaries that do not go together and labels that do not fit are refused at once.

        Sources are learned from labels. Corrections say of parts of the mixture whose stem they belong to. The next
        result of the mixture takes the place of a preliminary one.
        """
        self._refuse_unknown(asker)
        upload = self._upload(mixture, "mixture")
        lasting = [self._lasting(identifier, asker) for identifier in dictionaries]
        found = [self.dictionary(identifier) for identifier in lasting]
        labels, corrections = (
            [replace(label, name=normalized(label.name)) for label in some] for some in (labels, corrections)
        )
        with naming(found):
            loaded = [Dictionary.load(each.path) for each in found]
            if found or not labels:
                refuse_unfit(loaded)
            marked = moments_by_source(labels, upload.facts["duration_s"], upload.name) if labels else {}
        config = replace(self.separation, residual=residual, background_model=background_model).at_quality(quality)
        sources = list(dict.fromkeys([*(each.source for each in loaded), *marked]))
        if corrections:
            stems = config.stem_names(sources)
            LabelGuide(tuple(corrections)).refuse_other(upload.facts["duration_s"], stems, what="correction")
        task = Separating(
            NamedFile(upload.path, upload.name),
            found,
            config,
            upload.facts["duration_s"],
            labels=tuple(labels),
            corrections=tuple(corrections),
            marking=self.marking,
            n_to_learn=len(sources) - len(loaded),
        )
        asked = {
            "mixture": mixture,
            "dictionaries": [*dictionaries],
            "labels": [asdict(each) for each in labels],
            "corrections": [asdict(each) for each in corrections],
            "residual": residual,
            "background_model": background_model,
            "quality": quality,
            "preliminary": preliminary,
        }
        return self._submit(Job(task, frozenset([mixture, *lasting]), self.store.new_path(), asker, asked))

    def train(self, source: str, solos: Sequence[str], *, network: str, asker: Asker = NOBODY) -> Job:
        """Queue a training; ``network`` names one of `PRESETS`, and ``"default"`` is that of the settings."""
        self._refuse_unknown(asker)
        refuse_unwritable(source, "source name")
        uploads = [self._upload(solo, "solo") for solo in solos]
        total_s = sum(upload.facts["duration_s"] for upload in uploads)
        if total_s > self.limits.solos_s:
            expected = f"expected {self.limits.solos_s / 60:g} at most"
            raise AudioFileError(f"the recordings last {total_s / 60:.0f} minutes together; {expected}")
        config = self.training if network == "default" else replace(self.training, network=PRESETS[network].network)
        task = Training(source, [NamedFile(upload.path, upload.name) for upload in uploads], config)
        asked = {"source": source, "solos": [*solos], "network": network}
        return self._submit(Job(task, frozenset(solos), self.store.new_path(), asker, asked))

    def compare(self, dictionaries: Sequence[str], *, asker: Asker = NOBODY) -> Job:
        """Queue a comparison; dictionaries that cannot be compared are refused at once."""
        self._refuse_unknown(asker)
        lasting = [self._lasting(identifier, asker) for identifier in dictionaries]
        found = [self.dictionary(identifier) for identifier in lasting]
        with naming(found):
            refuse_incomparable([Dictionary.load(each.path) for each in found])
        job = Job(Comparing(found), frozenset(lasting), self.store.new_path(), asker, {"dictionaries": [*dictionaries]})
        return self._submit(job)

    def job(self, identifier: str) -> Job:
        """Find a job.

        Raises
        ------
        HTTPException
            404 if there is none.
        """
        job = self.queue.find(identifier)
        if job is None:
            raise HTTPException(404, JOB_GONE)
        return job

    def forget(self, job: Job) -> None:
        """Delete a job that has ended, with its files; do nothing to an unfinished one."""
        if self.queue.forget(job):
            self.sessions.remove([job.identifier])

    def session(self, identifier: str, *, seen: int = -1, library: str = "") -> dict[str, Any]:
        """Return what is in a session, or no more than its revision if that is the one that was seen.

        So it is with the state of the library, if one was seen. Either counts as a use of everything in the session.
        """
        session = self.sessions.find(identifier)
        revision = session.revision  # first: what changes meanwhile is looked at again
        uploads = [each for each in session.uploads if self.store.find(each)]
        jobs = [job for job in map(self.queue.find, session.jobs) if job]
        state = self.library.state()
        if revision == seen and library in ("", state):
            return {"revision": revision}
        return {
            "revision": revision,
            "document": session.document.model_dump(),
            "uploads": [self.touch(each) for each in uploads],
            "jobs": [self.report(job) for job in jobs],
            "library": {"state": state, "dictionaries": self.installed()},
        }

    def installed(self) -> list[dict[str, Any]]:
        """Describe the dictionaries of the library."""
        return [{"id": identifier, **facts} for identifier, facts in self.library.facts().items()]

    def report(self, job: Job) -> dict[str, Any]:
        """Return the progress and the result of a job."""
        now = job.progress
        stage = {} if now is None else {"stage": now.stage}
        elapsed_s = self.queue.elapsed_s(job)
        return {
            "id": job.identifier,
            "kind": KINDS.get(type(job.task), "separation"),
            "name": job.task.mixture.name if isinstance(job.task, Separating) else "",
            "request": dict(job.request),
            "ended": job.ended.isoformat(timespec="seconds") if job.ended else None,
            "state": job.state,
            "n_before": self.queue.n_before(job),
            "elapsed_s": elapsed_s,
            "left_s": job.job_progress.left_s(elapsed_s),
            "fraction": job.job_progress.fraction,
            "costs": job.job_progress.costs,
            "stages": [stage for costs in job.task.plan.values() for stage, cost in costs.items() if cost],
            **stage,
            "message": job.message,
            "warnings": list(job.warnings),
            "result": dict(job.result),
        }

    def sweep(self) -> None:
        """Delete what is old."""
        self.sessions.sweep()
        for session in self.sessions.all():
            for job in self._superseded(session):
                self.forget(job)
        self.store.sweep(self.queue.in_use())
        self.queue.sweep()

    def close(self) -> None:
        """End what runs, and delete everything."""
        self.queue.close()
        self.store.close()

    def _upload(self, identifier: str, kind: str) -> Upload:
        """Find an upload."""
        upload = self.store.find(identifier)
        if upload is None or upload.kind != kind:
            raise HTTPException(404, f"a {kind} {GONE}")
        return upload

    def _installed(self, identifier: str, asker: Asker) -> Path:
        """Find a dictionary of the library for who is to change it, which is this machine's user only."""
        if asker.client:
            raise HTTPException(403, "the library can only be changed on the machine that serves this page")
        path = self.library.path(identifier)
        if path is None:
            raise HTTPException(404, DICTIONARY_GONE)
        return path

    def _lasting(self, identifier: str, asker: Asker) -> str:
        """Return by what identifier a dictionary stays as it is while a job needs it: one of the library is copied."""
        path = self.library.path(identifier)
        return identifier if path is None else self.store.add_copy("dictionary", path, asker.client)

    def _refuse_unknown(self, asker: Asker) -> None:
        """Refuse a session that is not there."""
        if asker.session:
            self.sessions.find(asker.session)

    def _superseded(self, session: Session) -> list[Job]:
        """List the separations that a session keeps no more: what others of the same mixture followed, but the last."""
        jobs = [job for job in map(self.queue.look_up, session.jobs) if job and isinstance(job.task, Separating)]
        last = {job.request["mixture"]: job for job in jobs}
        done = {job.request["mixture"]: job for job in jobs if job.state == "done"}
        earlier = [job for job in jobs if job not in last.values() and job not in done.values()]
        n_most = self.limits.n_earlier
        kept = [job for job in earlier if job.state == "done" and not job.request["preliminary"]]
        kept = kept[-n_most:] if n_most else []
        return [job for job in earlier if job not in kept]

    def _submit(self, job: Job) -> Job:
        """Queue a job, or refuse it: 503 if the queue is full, 429 if this client has its share of it."""
        try:
            self.queue.submit(job)
        except QueueFullError as error:
            raise HTTPException(429 if isinstance(error, ShareTakenError) else 503, str(error)) from error
        self.sessions.add_job(job.asker.session, job.identifier)
        return job

    def _finish(self, job: Job, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Register the dictionaries that were trained as if they had been uploaded."""
        if isinstance(job.task, Training):
            return self._take_in(job, DICTIONARY, result)
        if isinstance(job.task, Comparing):
            return result
        facts = enumerate(result.get("learned", ()))
        learned = [self._take_in(job, LEARNED.format(number), each) for number, each in facts]
        return {**result, "learned": learned}

    def _take_in(self, job: Job, file: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Move a dictionary's file from a job's output among the uploads, unless its session has the same already."""
        for identifier in self.sessions.uploads_of(job.asker.session):
            there = self.store.find(identifier)
            if there is not None and (there.kind, there.facts["sha256"]) == ("dictionary", facts["sha256"]):
                return self.touch(identifier)
        path = self.store.new_path()
        (job.output / file).rename(path)
        return self._register("dictionary", path, f"{facts['source']}{EXTENSION}", facts, job.asker)

    def _register(self, kind: str, path: Path, name: str, facts: Mapping[str, Any], asker: Asker) -> Mapping[str, Any]:
        """Enter a file among the uploads, and into a session, and describe it."""
        identifier = self.store.add(kind, path, name, facts, asker.client)
        self.sessions.add_upload(asker.session, identifier)
        return {"id": identifier, "kind": kind, "name": name, **facts}
