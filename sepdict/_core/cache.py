"""The user's cache: files that spare the same computation next time, and can be deleted at any time."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sepdict._core.fs import user_folder, writable_folder
from sepdict.errors import ConfigError, SepdictError

log = logging.getLogger(__name__)
Made = TypeVar("Made")


def cache_folder() -> Path:
    """Return the folder of the cache: what ``SEPDICT_CACHE`` names, or where the system keeps the user's caches."""
    return user_folder("cache", variable="SEPDICT_CACHE")


def made_and_kept(make: Callable[[], Made], keep: Callable[[Made], object], *, otherwise: str) -> Made:
    """Make something and keep it in the cache; warn if that cannot be, and where possible before it is made.

    Parameters
    ----------
    make : callable
        It may take minutes.
    keep : callable
        Writes what was made to `cache_folder`, which is there by then.
    otherwise : str
        What it means if nothing can be kept, for the warning.
    """
    with contextlib.ExitStack() as folder:
        try:
            folder.enter_context(writable_folder(cache_folder()))
        except ConfigError as error:
            _warn(otherwise, error)
            return make()
        made = make()
        try:
            keep(made)
        except (OSError, SepdictError) as error:
            _warn(otherwise, error)
        return made


def _warn(consequence: str, error: OSError | SepdictError) -> None:
    """Warn that nothing can be kept, and how to mend that."""
    why = f"{cache_folder()}: {error.strerror}" if isinstance(error, OSError) else f"{error}"
    remedy = "have SEPDICT_CACHE name a folder"
    why += "" if remedy in why else f"; {remedy} that can be written to"
    log.warning("%s (%s)", consequence, why)


def keep_latest(pattern: str, n_most: int) -> None:
    """Delete the least recently used files of a pattern from the cache, but for so many."""
    cached = sorted(cache_folder().glob(pattern), key=lambda file: file.stat().st_mtime)
    for oldest in cached[:-n_most]:
        oldest.unlink(missing_ok=True)
