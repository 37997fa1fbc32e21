"""The dictionaries of the user's library, as the page lists them."""

import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepdict import Dictionary, SepdictError
from sepdict._core.fs import writable_folder, write_atomically
from sepdict._core.names import RESIDUAL, file_names, folded, normalized, refuse_unwritable
from sepdict.dictionaries.library import EXTENSION, installed
from sepdict.errors import ConfigError

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
        self._changing = threading.Lock()

    def state(self) -> str:
        """Return a text that is another one as soon as something in the folder is."""
        return str(hash(tuple(map(_stamp, installed(self.folder).values()))))

    def facts(self) -> dict[str, Mapping[str, Any]]:
        """Describe every readable dictionary in the folder, by its identifier."""
        found = {_identifier(path): self._facts_of(path) for path in installed(self.folder).values()}
        return {identifier: facts for identifier, facts in found.items() if facts is not None}

    def path(self, identifier: str) -> Path | None:
        """Find a dictionary's file; the identifier is only compared with known ones, never used as a path."""
        return next((path for path in installed(self.folder).values() if _identifier(path) == identifier), None)

    def find(self, sha256: str) -> str | None:
        """Find a dictionary by its checksum, and return its identifier."""
        return next((identifier for identifier, facts in self.facts().items() if facts["sha256"] == sha256), None)

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
        with self._changing:
            there = self.find(dictionary.sha256)
            if there is not None:
                return there
            if path.exists():
                path = self.folder / f"{name}-{dictionary.sha256[:16]}{EXTENSION}"
            with writable_folder(self.folder):
                dictionary.save(path)
            return _identifier(path)

    def rename(self, path: Path, name: str) -> str:
        """Rename a dictionary's source and its file, and return its identifier from then on.

        Raises
        ------
        SepdictError
            If the name is taken or cannot be that of a file everywhere, or the folder cannot be written to.
        """
        name = normalized(name)
        with self._changing, writable_folder(self.folder):
            self._refuse_name(name, path)
            renamed = Dictionary.load(path).renamed(name).save(self.folder / f"{name}{EXTENSION}")
            try:
                if path.samefile(renamed):
                    path.rename(renamed)  # the name is the same, or to this system, which knows no case of letters
                else:
                    path.unlink()
            except OSError as error:
                raise ConfigError(f"{path.name}: cannot be removed ({error.strerror})") from error
            return _identifier(renamed)

    def remove(self, path: Path, to: Path) -> None:
        """Move a dictionary's file out of the folder.

        Raises
        ------
        SepdictError
            If that cannot be done.
        """
        try:
            with self._changing:
                shutil.copyfile(path, to)
                path.unlink()
        except OSError as error:
            to.unlink(missing_ok=True)
            raise ConfigError(f"{path.name}: cannot be removed ({error.strerror})") from error

    def restore(self, file: Path, name: str) -> str:
        """Put a file that was removed back under its name, and return its identifier.

        Raises
        ------
        SepdictError
            If another dictionary has the name by now, or the folder cannot be written to.
        """
        path = self.folder / name
        with self._changing, writable_folder(self.folder):
            if path.exists():
                raise ConfigError(f"{name}: another dictionary has this name by now; rename that first")
            try:
                write_atomically(path, file.read_bytes())
            except OSError as error:
                raise ConfigError(f"{name}: cannot be written ({error.strerror})") from error
        return _identifier(path)

    def _refuse_name(self, name: str, path: Path) -> None:
        """Refuse a name that a dictionary cannot have, or that another one has."""
        refuse_unwritable(name, "name")
        (portable,) = file_names([name], otherwise="dictionary")
        if portable != name:
            raise ConfigError(f"name is {name!r}; expected one that every system takes, such as {portable!r}")
        if folded(name) == RESIDUAL:
            raise ConfigError(f"name is {name!r}, the name of what no dictionary explains; choose another")
        others = {stem: each for stem, each in installed(self.folder).items() if each != path}
        sources = [facts["source"] for facts in map(self._facts_of, others.values()) if facts]
        if folded(name) in map(folded, [*others, *sources]):
            raise ConfigError(f"{name!r} is the name of another dictionary in the library; choose another")

    def _facts_of(self, path: Path) -> Mapping[str, Any] | None:
        """Describe a file, or return None if it is no dictionary; an unchanged file is not read again."""
        key = _stamp(path)
        if key is None:
            return None
        if key not in self._known:
            try:
                self._known[key] = describe(Dictionary.load(path))
            except SepdictError as error:
                log.warning("left out of the library: %s", error)
                self._known[key] = None
        return self._known[key]


def _stamp(path: Path) -> tuple[Path, int, int] | None:
    """Return by what it is seen that a file has not changed, or None if it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns


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
