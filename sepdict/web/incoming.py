"""Files as they come from a browser: their names, and what is checked and told of them."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from sepdict import Dictionary, SepdictError
from sepdict._core.fs import sha256_of
from sepdict.audio.checks import is_silent_file, refuse_cut_file
from sepdict.audio.io import probe_audio, refuse_not_finite_file
from sepdict.audio.labels import parse_labels
from sepdict.errors import AudioFileError, LabelFileError
from sepdict.web.dictionaries import describe
from sepdict.web.sessions import MOST_LETTERS
from sepdict.web.tasks import NamedFile, name_files
from sepdict.web.uploads import Limits

DEMO = resources.files("sepdict.web") / "demo"  # of a recording and its labels, which data/README.md describes
LONGEST_NAME = 255  # no file system has longer ones


def describe_upload(kind: str, path: Path, name: str, limits: Limits) -> dict[str, Any]:
    """Describe an upload, and refuse one of another kind."""
    with naming([NamedFile(path, name)]):
        if kind == "dictionary":
            return describe(Dictionary.load(path))
        info = probe_audio(path)
        refuse_cut_file(path)
        refuse_not_finite_file(path)
        is_silent = is_silent_file(path)
        sha256 = sha256_of(path)  # by which the page knows what it has already
    if not info.duration_s > 0:
        raise AudioFileError(f"{name}: holds no samples")
    most_s = limits.mixture_s if kind == "mixture" else limits.solos_s
    if info.duration_s > most_s:
        longer = "; the command sepdict separate takes any length" if kind == "mixture" else ""
        most = f"{most_s / 60:g} at most{longer}"
        raise AudioFileError(f"{name}: lasts {info.duration_s / 60:.1f} minutes; expected {most}")
    facts = {"duration_s": info.duration_s, "sample_rate": info.sample_rate, "n_channels": info.n_channels}
    return {**facts, "is_silent": is_silent, "sha256": sha256}


def labels_in(content: bytes, name: str) -> list[dict[str, Any]]:
    """Read a file of labels, and refuse one that a session could not keep."""
    name = displayed(name)
    labels = parse_labels(content, name)
    if not labels:
        raise LabelFileError(f"{name}: holds no label; expected one for each moment in which a source is alone")
    for label in labels:
        if len(label.name) > MOST_LETTERS:
            told = f"the name of the label at {label.start_s:g} s has {len(label.name)} letters"
            raise LabelFileError(f"{name}: {told}; expected {MOST_LETTERS} at most")
    return [asdict(label) for label in labels]


@contextlib.contextmanager
def naming(files: Sequence[NamedFile]) -> Iterator[None]:
    """Have the library's errors name files as the page does."""
    try:
        yield
    except SepdictError as error:
        raise SepdictError(name_files(str(error), files)) from error


def displayed(name: str) -> str:
    """Return the name that a browser gives a file in a form that fits into a line.

    Examples
    --------
    >>> displayed("sounds/my violin.wav")
    'my violin.wav'
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable()).strip()[-LONGEST_NAME:] or "a file without name"


async def at_once(content: bytes) -> AsyncIterator[bytes]:
    """Yield bytes as an upload brings them."""
    yield content
