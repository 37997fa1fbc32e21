"""The user's cache: files that spare the same computation next time, and can be deleted at any time."""

from pathlib import Path

from sepdict._core.fs import user_folder


def cache_folder() -> Path:
    """Return the folder of the cache: what ``SEPDICT_CACHE`` names, or where the system keeps the user's caches."""
    return user_folder("cache", variable="SEPDICT_CACHE")


def keep_latest(pattern: str, n_most: int) -> None:
    """Delete the least recently used files of a pattern from the cache, but for so many."""
    cached = sorted(cache_folder().glob(pattern), key=lambda file: file.stat().st_mtime)
    for oldest in cached[:-n_most]:
        oldest.unlink(missing_ok=True)
