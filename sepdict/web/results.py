"""The files of jobs that are done, by the names that the page and the user know."""

import contextlib
import hashlib
import io
import secrets
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import soundfile
from fastapi import HTTPException

from sepdict._core.names import file_names
from sepdict.audio.writing import copy_audio
from sepdict.web.jobs import Job
from sepdict.web.reports import write_report
from sepdict.web.tasks import MIXTURE, RECORD, Separating
from sepdict.web.uploads import storing

Format = Literal["wav", "flac", "mp3"]
ENDS = (*get_args(Format), "png", "mask.png")  # of what there is of a stem
PEAK = 0.99  # of what is written as integers or MP3, whose decoders overshoot
MOST_IN_A_PART = 2**20  # samples of a channel: a part is in memory as a whole

_one_at_a_time = threading.Lock()  # encoding takes a core


def output(job: Job, name: str) -> tuple[Path, str]:
    """Return one of a job's files by the name that the page knows, and its name for the download.

    Raises
    ------
    HTTPException
        404 if there is none.
    """
    known = {"mixture.wav": (MIXTURE, "mixture.wav"), "mixture.png": ("mixture.png", "mixture.png")}
    for number, stem in enumerate(_stem_names(job)):
        known |= {f"{number}.{end}": (f"{number}.{end}", f"{stem}.{end}") for end in ENDS}
    if job.state != "done" or not isinstance(job.task, Separating) or name not in known:
        raise HTTPException(404, "there is no such file")
    path, shown = job.output / known[name][0], known[name][1]
    if path.suffix in (".flac", ".mp3"):
        _encode(job, path.suffix)
    return path, shown


def part(job: Job, name: str, start: int, stop: int) -> bytes:
    """Return some samples of the mixture or of a stem, from one to before another, as a WAV file of 32-bit floats.

    Raises
    ------
    HTTPException
        404 if there are none, or they are no longer there; 422 if they are too many.
    """
    path, _ = output(job, name)
    if path.suffix != ".wav":
        raise HTTPException(404, "parts can be had of WAV files only")
    if stop - start > MOST_IN_A_PART:
        raise HTTPException(422, f"{stop - start} samples are too many; expected {MOST_IN_A_PART} at most")
    content = io.BytesIO()
    try:
        with soundfile.SoundFile(path) as file:
            if not 0 <= start < stop <= file.frames:
                raise HTTPException(404, f"there are no samples {start} to {stop}; expected 0 to {file.frames}")
            file.seek(start)
            samples = file.read(stop - start, dtype="float32")
            soundfile.write(content, samples, file.samplerate, format="WAV", subtype="FLOAT")
    except soundfile.LibsndfileError as error:
        raise HTTPException(404, "there is no such file") from error  # its job was forgotten just now
    return content.getvalue()


def stems_zip(jobs: Sequence[Job], form: Format = "wav") -> tuple[Path, str]:
    """Return a ZIP file of all stems of jobs, in a format, with a record of how they were made, and its name.

    It exists as long as the first job. Several jobs have a folder each.

    Raises
    ------
    HTTPException
        404 if one is no separation that is done, or is no longer there; 507 if the disk is full.
    """
    found = [(job, job.task) for job in jobs if isinstance(job.task, Separating) and job.state == "done"]
    if len(found) < len(jobs):
        raise HTTPException(404, "there are no such stems")
    folders = file_names([Path(task.mixture.name).stem for _, task in found], otherwise="mixture")
    identifiers = " ".join([*(job.identifier for job in jobs), form])
    path = jobs[0].output / f"{hashlib.sha256(identifiers.encode()).hexdigest()}.zip"
    if not path.exists():
        below = [""] if len(jobs) == 1 else [f"{folder}/" for folder in folders]
        each = zip(below, jobs, strict=True)
        _write_zip(path, {at + name: file for at, job in each for name, file in _files(job, form)})
    return path, f"{folders[0]}.zip" if len(jobs) == 1 else "separated.zip"


def report(job: Job) -> tuple[Path, str]:
    """Return the report of a separation, and its name for the download; it is made when it is first asked for.

    Raises
    ------
    HTTPException
        404 if there is none, or it is no longer there; 507 if the disk is full.
    """
    if job.state != "done" or not isinstance(job.task, Separating):
        raise HTTPException(404, "there is no such report")
    (name,) = file_names([Path(job.task.mixture.name).stem], otherwise="mixture")
    with _one_at_a_time, _storing("there is no such report"):
        return write_report(job.output, job.output / MIXTURE), f"{name} report.html"


def _files(job: Job, form: Format) -> list[tuple[str, Path]]:
    """List the stems of a job in a format and their record, by their names in a ZIP file."""
    if form != "wav":
        _encode(job, f".{form}")
    stems = [(f"{stem}.{form}", job.output / f"{number}.{form}") for number, stem in enumerate(_stem_names(job))]
    return [*stems, (RECORD, job.output / RECORD)]


def _encode(job: Job, suffix: str) -> None:
    """Encode the stems of a job beside them, unless they are there; all softer by one gain where one would clip."""
    stems = [job.output / f"{number}.wav" for number in range(len(_stem_names(job)))]
    with _one_at_a_time:
        missing = [stem for stem in stems if not stem.with_suffix(suffix).exists()]
        if missing:
            gain = min(1.0, PEAK / max(map(_peak_of, stems)))
            for stem in missing:
                copy_audio(stem, stem.with_suffix(suffix), gain=gain, clamps=True)


def _peak_of(path: Path) -> float:
    """Return the largest sample of a sound, block by block; at least that of soft noise."""
    return max([1e-6, *(float(abs(block).max()) for block in soundfile.blocks(path, blocksize=2**18))])


def _stem_names(job: Job) -> list[str]:
    """Name the files of a job's stems."""
    return file_names(job.result.get("stems", ()), otherwise="stem")


def _write_zip(path: Path, files: Mapping[str, Path]) -> None:
    """Write a ZIP file, whole or not at all."""
    temporary = path.with_name(secrets.token_hex(16))
    with _storing("there are no such stems"):
        try:
            with zipfile.ZipFile(temporary, "w") as archive:  # stored, not compressed: samples hardly shrink
                for name, file in files.items():
                    archive.write(file, name)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _storing(gone: str) -> Iterator[None]:
    """Refuse what cannot be stored (507), or is gone (404), for its job was forgotten just now."""
    with storing():
        try:
            yield
        except FileNotFoundError as error:
            raise HTTPException(404, gone) from error
