"""The dictionaries of the user's library, as the page lists them."""

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
    """The dictionaries of a folder, under identifiers that reveal no paths.

    Parameters
    ----------
    folder : Path
        Created when the first dictionary is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[Path, int, int], Mapping[str, Any] | None] = {}  # by path, bytes and time of change

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Describe every readable dictionary in the folder, by its identifier."""
        found = {_identifier(path): self._facts_of(path) for path in installed(self.folder).values()}
        return {identifier: facts for identifier, facts in found.items() if facts is not None}

    def path(self, identifier: str) -> Path | None:
        """Find a dictionary's file; the identifier is only compared with known ones, never used as a path."""
        return next((path for path in installed(self.folder).values() if _identifier(path) == identifier), None)

    def keep(self, dictionary: Dictionary) -> str:
        """Save a dictionary in the folder, unless it is there already, and return its identifier.

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
        """Describe a file, or return None if it is no dictionary; an unchanged file is not read again."""
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
    """Return True if a file holds this dictionary."""
    try:
        return Dictionary.load(path).sha256 == dictionary.sha256
    except SepdictError:
        return False


def describe(dictionary: Dictionary) -> dict[str, Any]:
    """Return the facts of a dictionary that the page shows."""
    card = dictionary.card
    return {
        "source": card.source,
        "sample_rate": card.sample_rate,
        "trained_s": card.trained_s,
        "network": card.network.kind,
        "sha256": dictionary.sha256,
    }


def _identifier(path: Path) -> str:
    """Return an identifier of a file that does not reveal its name."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
