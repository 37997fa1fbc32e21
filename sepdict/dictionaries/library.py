"""The user's library: a folder whose dictionaries are found by name.

The environment variable ``SEPDICT_LIBRARY`` names the folder; by default it is where the system keeps the user's data,
on Linux ``~/.local/share/sepdict``. Nothing here loads PyTorch: the command line completes names while the user waits.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from sepdict._core.fs import user_folder
from sepdict._core.names import normalized, refusal_of_url
from sepdict.errors import ConfigError, DictionaryFileError

EXTENSION = ".safetensors"


def library_folder() -> Path:
    """Return the folder of installed dictionaries, which need not exist yet."""
    return user_folder("data", variable="SEPDICT_LIBRARY").absolute()


def installed(folder: Path | None = None) -> dict[str, Path]:
    """List the dictionary files in the library by name, without reading them.

    Names are in Unicode's composed form, however the file system spells them.

    Parameters
    ----------
    folder : Path, optional
        By default the library's. A folder that does not exist holds no dictionaries.

    Raises
    ------
    ConfigError
        If it is no folder, or cannot be read.

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
            f"{folder}: cannot be read ({error.strerror}); have SEPDICT_LIBRARY name the folder of dictionaries"
        ) from error


def find_dictionary(name: str | Path) -> Path:
    """Return the file that a path or the name of an installed dictionary stands for.

    A file of that name comes before an installed dictionary; a folder, such as that of its solos, does not.

    Raises
    ------
    DictionaryFileError
        If there is neither.
    ConfigError
        If the library cannot be read.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix == EXTENSION or len(path.parts) != 1:
        if not os.path.lexists(path):
            why = f"{path}: cannot be read (No such file or directory); expected a dictionary file"
            raise DictionaryFileError(refusal_of_url(path) or why)
        return path
    found, wanted = installed(), normalized(path.name)
    if wanted not in found:
        names = ", ".join(found) or "none"
        raise DictionaryFileError(
            f"{name}: no such file, and no dictionary of that name in {library_folder()}; installed are: {names}"
        )
    return found[wanted]


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Key files by their stems in composed form; where two stems are then equal, the second keeps its own spelling."""
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.stem != normalized(path.stem), path.stem)):
        name = normalized(path.stem)
        found[path.stem if name in found else name] = path
    return dict(sorted(found.items()))
