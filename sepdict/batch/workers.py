"""Workers of a cluster: what each is asked before it gets work, and how many threads each takes.

Nothing here loads PyTorch: workers answer at once.
"""

import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sepdict._core.fs import sweep
from sepdict._core.version import __version__
from sepdict.dictionaries.header import FORMAT_VERSION


@dataclass(frozen=True)
class Needs:
    """What every worker needs.

    Attributes
    ----------
    folder : Path
        A new folder beside the outputs, which all write to.
    sizes : mapping of Path to int
        Some of the files that are read, with their bytes; None for a folder.
    """

    folder: Path
    sizes: Mapping[Path, int | None]

    @classmethod
    def of(cls, folder: Path, reads: Sequence[Path]) -> "Needs":
        """Return what there is here."""
        return cls(folder, {path.absolute(): size for path in reads if (size := _size(path)) != MISSING})


@dataclass(frozen=True)
class Answer:
    """What a worker says of itself.

    Attributes
    ----------
    host : str
    cores : tuple of int
        Those that it may use; empty where the system does not tell.
    n_cores : int
    versions : mapping of str to str
    trouble : str
        What it cannot read or write, and what to do; empty if all is well.
    """

    host: str
    cores: tuple[int, ...]
    n_cores: int
    versions: Mapping[str, str]
    trouble: str


MISSING = -1


def versions() -> dict[str, str]:
    """Return the versions on which the results depend."""
    return {"sepdict": __version__, "torch": version("torch"), "dictionary format": str(FORMAT_VERSION)}


def answer(needs: Needs) -> Answer:
    """Look for what is needed, here on a worker, and remove what killed workers left."""
    from dask.system import CPU_COUNT  # respects what a container may use

    affinity = getattr(os, "sched_getaffinity", None)
    cores = tuple(sorted(affinity(0))) if affinity else ()
    trouble = _trouble(needs)
    if not trouble:
        sweep(needs.folder.parent)
    return Answer(socket.gethostname(), cores, CPU_COUNT, versions(), trouble)


def unfitness(worker: str, found: Answer) -> str:
    """Return why a worker cannot work or would work otherwise, in one line; empty if it fits."""
    named = f"worker {worker} ({found.host})"
    for what, ours in versions().items():
        theirs = found.versions.get(what, "none")
        if theirs != ours:
            return f"{named} has {what} {theirs}, here it is {ours}; install the same on both"
    return f"{named} {found.trouble}" if found.trouble else ""


def shares(answers: Mapping[str, Answer]) -> dict[str, int]:
    """Share out cores: return how many threads each worker has for the task that it works on.

    Workers of one host that may use the same cores share them.

    Examples
    --------
    >>> eight = Answer("a", tuple(range(8)), 8, {}, "")
    >>> shares({"one": eight, "other": eight})
    {'one': 4, 'other': 4}
    """
    n_sharing = Counter((each.host, each.cores) for each in answers.values())
    return {worker: max(1, each.n_cores // n_sharing[each.host, each.cores]) for worker, each in answers.items()}


_n_threads = 1


def use_threads(n_threads: int) -> None:
    """Set, here on a worker, how many threads a task has."""
    global _n_threads
    _n_threads = n_threads


def my_n_threads() -> int:
    """Return how many threads a task has on this worker."""
    return _n_threads


def _size(path: Path) -> int | None:
    """Return the bytes of a file; None for a folder, `MISSING` for what cannot be seen."""
    try:
        return None if path.is_dir() else path.stat().st_size
    except OSError:
        return MISSING


def _trouble(needs: Needs) -> str:
    """Return what a worker cannot read or write, and what to do; nothing if all is well."""
    mount = "have the same folder there under the same path"
    for path, size in needs.sizes.items():
        found = _size(path)
        if found == MISSING:
            return f"does not see {path}; {mount}"
        if found != size:
            return f"sees another file as {path}; {mount}"
    out = needs.folder.parent
    if not needs.folder.is_dir():
        return f"does not see {needs.folder.name} in {out}, which is there; {mount}"
    try:
        written = needs.folder / f"seen-{socket.gethostname()}-{os.getpid()}"
        written.touch()
        written.unlink()
    except OSError as error:
        return f"cannot write to {out} ({error.strerror}); let it"
    return ""
