"""The errors sepdict raises. Each message says what was expected, what came, and what to do."""

import re
import textwrap
from pathlib import PurePath

LONGEST = 500  # characters of an unexpected error's message that are shown


class SepdictError(Exception):
    """Base of all errors below: something that the caller can mend."""


class ConfigError(SepdictError):
    """A setting or a combination of dictionaries that cannot work."""


class ShapeError(SepdictError):
    """A tensor with axes that do not fit the other tensors."""


class AudioError(SepdictError):
    """Samples that cannot be used: not finite, not floating point, silent, or none at all."""


class AudioFileError(AudioError):
    """An audio file that cannot be found, read or written."""


class LabelFileError(SepdictError):
    """A file of labels that cannot be found, read or written, or holds what is no label."""


class LibraryError(SepdictError):
    """A required library that is missing or does not load."""


class DictionaryFileError(SepdictError):
    """A dictionary file that is damaged, foreign, too large, or newer than this version reads."""


def explain(path: object, error: Exception) -> str:
    """Describe an error of a file in one line that begins with the file's path.

    Examples
    --------
    >>> explain("a.wav", ZeroDivisionError("division by zero"))
    'a.wav: ZeroDivisionError: division by zero (unexpected; the log shows where it came from)'
    """
    said = textwrap.shorten(str(error), LONGEST)
    if isinstance(error, AudioFileError | LabelFileError):  # they name their file
        return str(error)
    if isinstance(error, SepdictError):
        return f"{path}: {str(error).removeprefix(f'{PurePath(str(path)).name}: ')}"
    if isinstance(error, MemoryError) or re.search("not enough memory|out of memory|can't allocate memory", said):
        return f"{path}: there is not enough memory for it; free some, or take it apart in shorter segments"
    if isinstance(error, OSError):
        return f"{error.filename or path}: {error.strerror or said}"
    if type(error).__name__ == "LibsndfileError":  # it is of soundfile, which need not be loaded here
        return f"{path}: {said.removeprefix('Error: ')}"
    said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return f"{path}: {said} (unexpected; the log shows where it came from)"
