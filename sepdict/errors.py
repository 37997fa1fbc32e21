"""Row 0: the errors sepdict raises. Each message says what was expected, what came, and what to do."""

import math
import numbers
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

ALSO = {int: numbers.Integral, float: numbers.Real, tuple: Sequence}  # NumPy's numbers, too, and lists


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


class DictionaryFileError(SepdictError):
    """A dictionary file that is damaged, foreign, too large, or newer than this version reads."""


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
    alternatives = get_args(expected) if isinstance(expected, UnionType) else (expected,)
    types = [get_origin(alternative) or alternative for alternative in alternatives]
    if not isinstance(value, tuple(ALSO.get(each, each) for each in types)):
        names = " or ".join("None" if each is type(None) else each.__name__ for each in types)
        raise ConfigError(f"{name} is {reprlib.repr(value)}; expected {names}")


def refuse_other_types(settings: Any) -> None:
    """Check that a configuration's fields are of the types that its class gives them.

    Raises
    ------
    ConfigError
        If one is not.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        refuse_other_type(field.name, getattr(settings, field.name), hints[field.name])


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
