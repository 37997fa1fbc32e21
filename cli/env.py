"""`sepdict env`: what a bug report should say, each library loaded and each program run, not only found."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
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
PROGRAM_PATIENCE_S = 30.0


def env(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Load all libraries and show versions, for a bug report.

    Device and folders are shown, too, and ffmpeg is run. What does not load is named with the reason, and the
    command then exits with 1. ffmpeg and ffprobe may be missing.
    """
    from sepdict._core.fs import to_json
    from sepdict.errors import LibraryError

    from .loading import FACTS

    answers = load_apart([*PACKAGES.values(), FACTS])
    found = answers[FACTS] if isinstance(answers[FACTS], dict) else {"device": f"not known: {answers[FACTS]}"}
    faults = {name: answers[module] for name, module in PACKAGES.items() if answers[module] is not None}
    programs = {name: run_program(name) for name in PROGRAMS}
    facts = {
        "platform": platform.platform(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cores": str(os.cpu_count()),
        **{name: fact for name, (fact, _) in programs.items()},
        **found,
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    problems = faults | {name: fault for name, (_, fault) in programs.items() if fault is not None}
    if as_json:
        say(to_json(facts | {"problems": problems}))
    else:
        width = max(map(len, facts)) + 2
        for name, fact in facts.items():
            verb = "run" if name in PROGRAMS else "load"
            say(f"{name + ':':<{width}}{fact}" + (f"; does not {verb}: {problems[name]}" if name in problems else ""))
    if faults:
        verb = "does" if len(faults) == 1 else "do"
        raise LibraryError(f"{', '.join(faults)} {verb} not load; install what sepdict asks for into a new environment")


def load_apart(modules: Sequence[str]) -> dict[str, Any]:
    """Load modules in another process, in a new one behind one that ends it.

    Returns
    -------
    dict
        What is wrong with each, None where nothing is; and what is found out, for `FACTS`.
    """
    answers: dict[str, Any] = {}
    while waiting := [module for module in modules if module not in answers]:
        command = [sys.executable, "-P", "-m", f"{__package__}.loading", *waiting]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)
            output, end = done.stdout, _end(done.returncode)
        except subprocess.TimeoutExpired as error:
            output, end = error.stdout or b"", f"loads for more than {PATIENCE_S:.0f} s"
        said = [json.loads(line) for line in output.decode().splitlines()]
        answers |= dict(zip(said[::2], said[1::2], strict=False))
        if len(answers) < len(modules):
            answers[said[-1] if len(said) % 2 else waiting[0]] = end
    return answers


def _end(code: int) -> str:
    """Name how a process ended that should not have."""
    return f"ends Python with {signal.Signals(-code).name}" if code < 0 else f"ends Python with exit code {code}"


def run_program(name: str) -> tuple[str, str | None]:
    """Ask a program for its version: that and where it lies, and what went wrong if it does not run."""
    path = shutil.which(name)
    if path is None:
        return "not found: m4a and video cannot be read", None
    try:
        done = subprocess.run(
            [path, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_PATIENCE_S,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return path, str(error)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return path, lines[-1] if lines else f"exit code {done.returncode}"
    words = done.stdout.split()  # "ffmpeg version 5.1.6 Copyright ..."
    return f"{words[2]}, {path}" if len(words) > 2 else path, None


def _version(package: str) -> str:
    """Find which version is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
