"""`sepdict env`: what a bug report should say, each library loaded and each program run, not only found."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .console import say
from .options.common import Json, Quiet, Verbose

PACKAGES = {  # what sepdict depends on, and what of it is loaded
    "sepdict": "sepdict.batch.run",
    "torch": "torch",
    "torchaudio": "torchaudio.functional",
    "librosa": "librosa:salience",
    "numpy": "numpy",
    "scipy": "scipy.signal",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "python-stretch": "python_stretch.Signalsmith",
    "safetensors": "safetensors.torch",
    "mir-eval": "mir_eval.separation",
    "matplotlib": "matplotlib.figure",
    "platformdirs": "platformdirs",
    "lazy-loader": "lazy_loader",
    "tqdm": "tqdm.auto",
    "pillow": "PIL.Image",
    "threadpoolctl": "threadpoolctl",
    "typer": "typer",
    "rich": "rich.progress",
    "fastapi": "fastapi",
    "starlette": "starlette.middleware.trustedhost",
    "jinja2": "jinja2",
    "uvicorn": "uvicorn",
}
PROGRAMS = ("ffmpeg", "ffprobe")
VARIABLES = ("SEPDICT_LIBRARY", "SEPDICT_CACHE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES")
PATIENCE_S = 300.0  # for all libraries together
WIDTH = max(map(len, [*PACKAGES, *VARIABLES])) + 2  # of the names


def env(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Load all libraries and show versions, for a bug report.

    Device and folders are shown, too, and ffmpeg is run. What does not load is named with the reason, and the
    command then exits with 1. ffmpeg and ffprobe may be missing.
    """
    from sepdict._core.fs import to_json
    from sepdict.errors import LibraryError

    facts, problems = dict[str, str](), dict[str, str]()
    for fact in found_facts():
        facts[fact.name] = fact.text
        if fact.problem is not None:
            problems[fact.name] = fact.problem
        if not as_json:
            say(fact.line)
            sys.stdout.flush()  # loading takes seconds: each line is seen when it is known, also through a pipe
    if as_json:
        say(to_json(facts | {"problems": problems}))
    if faults := [name for name in PACKAGES if name in problems]:
        verb = "does" if len(faults) == 1 else "do"
        raise LibraryError(f"{', '.join(faults)} {verb} not load; install what sepdict asks for into a new environment")


@dataclass(frozen=True)
class Fact:
    """A line of the report: a name, what is found, and what is wrong with it, if anything."""

    name: str
    text: str
    problem: str | None = None

    @property
    def line(self) -> str:
        """The fact in words."""
        verb = "run" if self.name in PROGRAMS else "load"
        problem = "" if self.problem is None else f"; does not {verb}: {self.problem}"
        return f"{self.name + ':':<{WIDTH}}{self.text}{problem}"


def found_facts() -> Iterator[Fact]:
    """Find one fact after another."""
    from .loading import FACTS

    yield Fact("platform", platform.platform())
    yield Fact("Python", platform.python_version())
    names = {module: name for name, module in PACKAGES.items()}
    for module, answer in load_apart([*PACKAGES.values(), FACTS]):
        if module in names:
            yield Fact(names[module], _version(names[module]), answer)
        else:
            found = answer if isinstance(answer, dict) else {"device": f"not known: {answer}"}
            yield from (Fact(name, text) for name, text in found.items())
    yield Fact("cores", str(os.cpu_count()))
    yield from map(find_program, PROGRAMS)
    yield from (Fact(name, os.environ[name]) for name in VARIABLES if name in os.environ)


def load_apart(modules: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Load modules in another process, and where one ends that process the others in a new one.

    Yields
    ------
    tuple
        Each module as soon as it is loaded, and what is wrong with it, None where nothing is; or for `FACTS` the facts.
    """
    waiting = list(modules)
    while waiting:
        n_loaded = 0
        for answer in _load(waiting):
            yield answer
            n_loaded += 1
        waiting = waiting[n_loaded:]


def _load(modules: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Load modules in one process, up to the first that ends it."""
    command = [sys.executable, "-P", "-m", f"{__package__}.loading", *modules]
    waiting, late = list(modules), threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(PATIENCE_S, give_up)
        timer.start()
        try:
            for line in process.stdout or ():
                yield waiting.pop(0), json.loads(line)
            code = process.wait()
        except BaseException:  # nobody reads on
            process.kill()
            raise
        finally:
            timer.cancel()
    if waiting:
        yield waiting[0], f"loads for more than {PATIENCE_S:.0f} s" if late.is_set() else _end(code)


def _end(code: int) -> str:
    """Name how a process ended that should not have."""
    return f"ends Python with {signal.Signals(-code).name}" if code < 0 else f"ends Python with exit code {code}"


def find_program(name: str) -> Fact:
    """Find a program, its version and what goes wrong when it runs."""
    from sepdict.audio.ffmpeg import find_program as find

    found = find(name)
    if found.path is None:
        return Fact(name, "not found: m4a and video cannot be read")
    return Fact(name, f"{found.version}, {found.path}" if found.version else found.path, found.fault)


def _version(package: str) -> str:
    """Find which version is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
