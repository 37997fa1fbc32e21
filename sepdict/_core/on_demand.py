"""Other libraries, loaded when first needed: they are heavy or extras, and few functions need them.

torchaudio holds a library compiled for certain versions of torch, librosa compiles through numba: either may be
installed and yet not load. Then all functions that do not need it still work, and the others tell how to mend it.
"""

import importlib
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from sepdict.errors import LibraryError

TOGETHER = {"torchaudio": ("torch", "torchaudio"), "librosa": ("librosa",)}  # what must be installed anew together


def load(module: str, name: str) -> Any:
    """Load a function of another library.

    Parameters
    ----------
    module : str
        Where it lives, such as ``"torchaudio.functional"``.
    name : str

    Raises
    ------
    LibraryError
        If the library does not load here, for whatever reason.

    Examples
    --------
    >>> load("librosa", "salience").__name__
    'salience'
    """
    library = module.partition(".")[0]
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # an import can raise anything: ImportError, OSError, RuntimeError ...
        packages = TOGETHER.get(library, (library,))
        wanted = " ".join(f'"{_requirement(package)}"' for package in packages)
        raise LibraryError(
            f"{' beside '.join(map(_installed, reversed(packages)))} does not load ({why(error)}); "
            f"install anew what goes together: pip install --force-reinstall {wanted}"
        ) from error


def load_extra(module: str, *, need: str, extra: str, otherwise: str = "") -> Any:
    """Load a module that comes with an extra of sepdict, or that is sepdict's own and imports what does.

    Parameters
    ----------
    module : str
    need : str
        What needs what, for the message, such as ``"a cluster needs Dask"``.
    extra : str
    otherwise : str
        What else there is to do, appended to the message.

    Raises
    ------
    LibraryError
        If the extra is not installed, or a library below it is missing.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: sounddevice does not find PortAudio
        how = f"pip install 'sepdict[{extra}]', or uv sync --extra {extra} in the folder of sepdict"
        raise LibraryError(f"{need} ({why(error)}); {how}{otherwise}") from error


def why(error: BaseException) -> str:
    """Return the first cause of a failed import in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    *_, line = ["", *str(error).strip().splitlines()]
    return f"{type(error).__name__}: {line.strip()}" if line else type(error).__name__


def _installed(package: str) -> str:
    """Return a package's name and installed version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


def _requirement(package: str) -> str:
    """Return sepdict's requirement on a package, such as ``torch>=2.15,<2.16``."""
    try:
        asked = requires("sepdict") or []
    except PackageNotFoundError:
        asked = []
    return next((each for each in asked if re.match(rf"{package}\b(?!-)", each)), package)
