"""The user's own library of dictionaries, in which they are found by name.

The folder is what the environment variable ``SEPDICT_LIBRARY`` names, by default where the system keeps the user's
data (on Linux ``~/.local/share/sepdict``).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sepdict._core.fs import user_folder
from sepdict._core.names import normalized
from sepdict.errors import ConfigError, DictionaryFileError

if TYPE_CHECKING:
    from sepdict.dictionaries.dictionary import Dictionary

EXTENSION = ".safetensors"


def library_folder() -> Path:
    """Say where installed dictionaries are kept; the folder need not be there yet."""
    return user_folder("data", variable="SEPDICT_LIBRARY").absolute()


def installed(folder: Path | None = None) -> dict[str, Path]:
    """Find the dictionary files in the library, by name; whether they can be read shows when they are loaded.

    Names are in Unicode's composed form, however the file system spells them.

    Parameters
    ----------
    folder : Path, optional
        Another than the library's; one that is missing holds none.

    Raises
    ------
    ConfigError
        If it is no folder, or may not be looked into.

    Examples
    --------
    >>> sorted(installed()) == [path.stem for path in installed().values()]
    True
    """
    folder = library_folder() if folder is None else folder
    try:
        names = [name for name in os.listdir(folder) if name.endswith(EXTENSION) and not name.startswith(".")]
        return _by_name([path for path in (folder / name for name in names) if path.is_file()])
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be looked into ({error.strerror}); SEPDICT_LIBRARY names the folder of dictionaries"
        ) from error


def find_dictionary(name: str | Path) -> Path:
    """Say which file is meant by a path, or by the name of an installed dictionary.

    A file of that name wins over an installed dictionary; a folder, such as that of its solos, does not.

    Raises
    ------
    DictionaryFileError
        If there is neither.
    ConfigError
        If the library cannot be looked into.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix == EXTENSION or len(path.parts) != 1:
        if not os.path.lexists(path):
            raise DictionaryFileError(f"{path}: cannot be read (No such file or directory); expected a dictionary file")
        return path
    found, wanted = installed(), normalized(path.name)
    if wanted not in found:
        names = ", ".join(found) or "none"
        raise DictionaryFileError(
            f"{name}: no such file, and no dictionary of that name in {library_folder()}; installed are: {names}"
        )
    return found[wanted]


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Name files by their stems; of two that are spelled in two forms of Unicode, one keeps the other form's name."""
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.stem != normalized(path.stem), path.stem)):
        name = normalized(path.stem)
        found[path.stem if name in found else name] = path
    return dict(sorted(found.items()))


def load_dictionary(name: str | Path) -> "Dictionary":
    """Load a dictionary by its file's path or by its name in the library.

    Raises
    ------
    DictionaryFileError
        If there is none, or as `Dictionary.load` does.
    ConfigError
        If the library cannot be looked into.
    """
    from sepdict.dictionaries.dictionary import (
        Dictionary,  # loads torch; names are found without, while a shell waits for them
    )

    return Dictionary.load(find_dictionary(name))
