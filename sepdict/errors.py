"""Row 0: the errors sepdict raises. Each message says what was expected, what came, and what to do."""

import math
import numbers
import re
import reprlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import PurePath
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

ALSO = {int: numbers.Integral, float: numbers.Real, tuple: Sequence}  # NumPy's numbers, too, and lists
LONGEST = 500  # characters that are told of an error that nobody expected


class SepdictError(Exception):
    """Anything a caller can mend: the common base of all errors below."""


class ConfigError(SepdictError):
    """A setting, or a combination of dictionaries, that cannot work."""


class ShapeError(SepdictError):
    """A tensor whose axes do not fit what it is used with."""


class AudioError(SepdictError):
    """Samples that cannot be used: not finite, not floating point, all silent, none at all."""


class AudioFileError(AudioError):
    """An audio file that cannot be found, read or written."""


class LibraryError(SepdictError):
    """Another library, installed or not, that does not load."""


class DictionaryFileError(SepdictError):
    """A dictionary file that is damaged, foreign, too large, or newer than this version reads."""


def explain(path: object, error: Exception) -> str:
    """Put what went wrong with a file into one line, which begins with the path of the file at fault.

    Examples
    --------
    >>> explain("a.wav", ZeroDivisionError("division by zero"))
    'a.wav: ZeroDivisionError: division by zero (unexpected; the log shows where it came from)'
    """
    said = textwrap.shorten(str(error), LONGEST)
    if isinstance(error, AudioFileError):
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


def refuse_other_type(name: str, value: object, expected: Any) -> None:
    """Check that a setting is of a type, or of one of those that ``|`` joins.

    Raises
    ------
    ConfigError
        If it is not.

    Examples
    --------
    >>> refuse_other_type("n_steps", "many", int | None)
    Traceback (most recent call last):
    sepdict.errors.ConfigError: n_steps is 'many'; expected int or None
    """
    types = [get_origin(alternative) or alternative for alternative in _alternatives(expected)]
    if not isinstance(value, tuple(ALSO.get(each, each) for each in types)):
        names = " or ".join("None" if each is type(None) else each.__name__ for each in types)
        raise ConfigError(f"{name} is {reprlib.repr(value)}; expected {names}")


def refuse_other_types(settings: Any) -> None:
    """Check that a configuration's fields are of the types that its class gives them, and make them just these.

    Raises
    ------
    ConfigError
        If one is not.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        refuse_other_type(field.name, getattr(settings, field.name), hints[field.name])
        object.__setattr__(settings, field.name, _exactly(getattr(settings, field.name), hints[field.name]))


def _exactly(value: Any, expected: Any) -> Any:
    """Make NumPy's number or a list Python's own number or a tuple: JSON has no other, and 60 and 60.0 are the same."""
    for each in _alternatives(expected):
        if each in (int, float) and isinstance(value, ALSO[each]):
            return each(value)
        if get_origin(each) is tuple and isinstance(value, Sequence):
            return tuple(_exactly(item, get_args(each)[0]) for item in value)
    return value


def _alternatives(expected: Any) -> tuple[Any, ...]:
    """List the types that ``|`` joins."""
    return get_args(expected) if isinstance(expected, UnionType) else (expected,)


def refuse_out_of_range(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check that some of a configuration's numbers lie between the least and the most that they can be.

    Raises
    ------
    ConfigError
        If one does not, or is NaN.
    """
    for name, (least, most) in ranges.items():
        if not least <= getattr(settings, name) <= most:
            expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise ConfigError(f"{name} is {getattr(settings, name)}; expected {expected}")
