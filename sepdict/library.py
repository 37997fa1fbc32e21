"""Row 4: the user's own library of dictionaries, in which they are found by name.

The folder is what the environment variable ``SEPDICT_LIBRARY`` names, by default ``~/.local/share/sepdict``.
"""

from pathlib import Path

from sepdict.dictionary import Dictionary
from sepdict.errors import DictionaryFileError
from sepdict.files import user_folder

EXTENSION = ".safetensors"


def library_folder() -> Path:
    """Say where installed dictionaries are kept; the folder need not be there yet."""
    return user_folder("SEPDICT_LIBRARY", "XDG_DATA_HOME", ".local", "share").absolute()


def installed(folder: Path | None = None) -> dict[str, Path]:
    """Find the dictionary files in the library, by name; whether they can be read shows when they are loaded.

    Parameters
    ----------
    folder : Path, optional
        Another than the library's; one that is missing holds none.

    Examples
    --------
    >>> sorted(installed()) == [path.stem for path in installed().values()]
    True
    """
    folder = library_folder() if folder is None else folder
    return {path.stem: path for path in sorted(folder.glob(f"[!.]*{EXTENSION}")) if path.is_file()}


def find_dictionary(name: str | Path) -> Path:
    """Say which file is meant by a path, or by the name of an installed dictionary.

    A file of that name wins over an installed dictionary.

    Raises
    ------
    DictionaryFileError
        If there is neither.
    """
    path = Path(name)
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    found = installed()
    if path.name not in found:
        names = ", ".join(found) or "none"
        raise DictionaryFileError(
            f"{name}: no such file, and no dictionary of that name in {library_folder()}; installed are: {names}"
        )
    return found[path.name]


def load_dictionary(name: str | Path) -> Dictionary:
    """Load a dictionary by its file's path or by its name in the library.

    Raises
    ------
    DictionaryFileError
        If there is none, or as `Dictionary.load` does.
    """
    return Dictionary.load(find_dictionary(name))
