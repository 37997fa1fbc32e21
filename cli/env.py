"""`sepdict env`: what a bug report should say."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from .console import say
from .options import Json, Quiet, Verbose

PACKAGES = ("sepdict", "torch", "torchaudio", "numpy", "soundfile", "soxr", "librosa", "matplotlib")
VARIABLES = ("SEPDICT_LIBRARY", "SEPDICT_CACHE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES")


def env(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show versions, device and folders, for a bug report."""
    from sepdict.composition import cache_folder
    from sepdict.devices import AUTO, choose_device, describe_device
    from sepdict.files import to_json
    from sepdict.library import library_folder

    facts = {
        "platform": platform.platform(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "device": describe_device(choose_device(AUTO)),
        "cores": str(os.cpu_count()),
        "ffmpeg": shutil.which("ffmpeg") or "not found: m4a and video cannot be read",
        "library": str(library_folder()),
        "cache": str(cache_folder()),
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    if as_json:
        say(to_json(facts))
        return
    width = max(map(len, facts)) + 2
    for name, fact in facts.items():
        say(f"{name + ':':<{width}}{fact}")


def _version(package: str) -> str:
    """Say which version is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
