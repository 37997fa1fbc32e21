"""Dictionaries given by path or by installed name.

`as_dictionary` and `as_dictionaries` stand at the entrance of every public function that takes dictionaries.
"""

import os
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from sepdict._core.settings import Words, checks_types, refuse_other_type
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.library import find_dictionary
from sepdict.errors import ConfigError

EXPECTED = "Dictionary, or the path or installed name of one"
DictionaryLike: TypeAlias = Annotated[Dictionary | str | Path, Words(EXPECTED)]
"""A dictionary, as public functions take it: `Dictionary`, the path of its file, or its name in the user's library."""


@checks_types
def load_dictionary(name: str | Path) -> Dictionary:
    """Load a dictionary by the path of its file or by its name in the user's library.

    Raises
    ------
    DictionaryFileError
        If there is none, or as `Dictionary.load` does.
    ConfigError
        If the library cannot be read.
    """
    return Dictionary.load(find_dictionary(name))


def as_dictionary(dictionary: DictionaryLike, name: str = "dictionary") -> Dictionary:
    """Return a dictionary given as `Dictionary`, by the path of its file or by its installed name.

    Parameters
    ----------
    dictionary : Dictionary, path or name
        A path or name is loaded by `load_dictionary`; a `Dictionary` is returned as it is.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    ConfigError
        If it is none of these.
    DictionaryFileError
        As `load_dictionary` does.
    """
    if isinstance(dictionary, Dictionary):
        return dictionary
    if isinstance(dictionary, str | os.PathLike):
        return load_dictionary(Path(dictionary))
    raise ConfigError(f"{name} is {reprlib.repr(dictionary)}; expected {EXPECTED}")


def as_dictionaries(dictionaries: Sequence[DictionaryLike]) -> list[Dictionary]:
    """Return dictionaries each of which is given as in `as_dictionary`.

    Raises
    ------
    ConfigError
        If they are no list, or one is none of what `as_dictionary` takes.
    DictionaryFileError
        As `load_dictionary` does.
    """
    refuse_other_type("dictionaries", dictionaries, Sequence[DictionaryLike])
    return [as_dictionary(each, f"dictionaries[{index}]") for index, each in enumerate(dictionaries)]
