"""The dictionaries of the library, which are there whenever the page is opened."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepdict import Dictionary, SepdictError
from sepdict._core.fs import writable_folder
from sepdict.dictionaries.library import EXTENSION, installed

log = logging.getLogger(__name__)


class Library:
    """The dictionaries of a folder, under names that say nothing of the disk.

    Parameters
    ----------
    folder : Path
        Made when the first dictionary is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[Path, int, int], Mapping[str, Any] | None] = {}  # by path, bytes and time of change

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Describe every dictionary in the folder that loads, by its identifier."""
        found = {_identifier(path): self._facts_of(path) for path in installed(self.folder).values()}
        return {identifier: facts for identifier, facts in found.items() if facts is not None}

    def path(self, identifier: str) -> Path | None:
        """Find a dictionary's file; an identifier is compared with those there are, and never made a path of."""
        return next((path for path in installed(self.folder).values() if _identifier(path) == identifier), None)

    def keep(self, dictionary: Dictionary) -> str:
        """Save a dictionary in the folder, once however often, and return its identifier.

        Its file's name is the source's letters and digits, so that `sepdict separate -d` finds it, and where another
        dictionary has it, a part of the checksum too.

        Raises
        ------
        SepdictError
            If the folder cannot be written to.
        """
        name = re.sub(r"[^a-z0-9]+", "-", dictionary.source.lower()).strip("-") or "dictionary"
        path = self.folder / f"{name}{EXTENSION}"
        if path.exists() and not _holds(path, dictionary):
            path = self.folder / f"{name}-{dictionary.sha256[:16]}{EXTENSION}"
        with writable_folder(self.folder):
            dictionary.save(path)
        return _identifier(path)

    def _facts_of(self, path: Path) -> Mapping[str, Any] | None:
        """Describe a file, or None where it is no dictionary; what did not change is not read again."""
        try:
            status = path.stat()
        except OSError:
            return None
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            try:
                self._known[key] = describe(Dictionary.load(path))
            except SepdictError as error:
                log.warning("left out of the library: %s", error)
                self._known[key] = None
        return self._known[key]


def _holds(path: Path, dictionary: Dictionary) -> bool:
    """Tell whether a file is this very dictionary."""
    try:
        return Dictionary.load(path).sha256 == dictionary.sha256
    except SepdictError:
        return False


def describe(dictionary: Dictionary) -> dict[str, Any]:
    """Say of a dictionary what the page shows."""
    card = dictionary.card
    return {
        "source": card.source,
        "sample_rate": card.sample_rate,
        "trained_s": card.trained_s,
        "network": card.network.kind,
        "sha256": dictionary.sha256,
    }


def _identifier(path: Path) -> str:
    """Name a file so that its name cannot be read from it."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
