"""Checks of settings and arguments against their annotations and ranges."""

import functools
import inspect
import math
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from sepdict.errors import ConfigError

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
UNIONS = (Union, UnionType)  # typing's, which joins what is annotated, and the language's
# NumPy's numbers, too, and lists, and whatever stands for a path
ALSO = {int: numbers.Integral, float: numbers.Real, tuple: Sequence, Path: os.PathLike}


@dataclass(frozen=True)
class Words:
    """The words that messages use for a type: ``Annotated[Audio | str | Path, Words("Audio or a path")]``."""

    text: str


def refuse_other_type(name: str, value: object, expected: Any) -> None:
    """Refuse a value that is not of a type, or of one of several joined by ``|``; items of lists are checked as well.

    Raises
    ------
    ConfigError
        If it is not, or is an empty text that would be taken for a path: that of the folder where one stands.

    Examples
    --------
    >>> refuse_other_type("n_steps", "many", int | None)
    Traceback (most recent call last):
    sepdict.errors.ConfigError: n_steps is 'many'; expected int or None
    """
    alternatives = _alternatives(expected)
    if isinstance(value, str) and not value and Path in alternatives:
        raise ConfigError(f"{name} is '', an empty path; expected {_named(expected)}")
    for each in alternatives:
        if _is_of(value, get_origin(each) or each):
            _refuse_other_items(name, value, each)
            return
    raise ConfigError(f"{name} is {reprlib.repr(value)}; expected {_named(expected)}")


def checks_types(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Make a function check what it is given against its annotations before it does anything."""

    @functools.wraps(function)
    def checked(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        hints = get_type_hints(function, include_extras=True)
        for name, value in inspect.signature(function).bind(*args, **kwargs).arguments.items():
            refuse_other_type(name, value, hints.get(name, object))  # a method's self has no annotation
        return function(*args, **kwargs)

    return checked


def _is_of(value: object, kind: type) -> bool:
    """Return True if a value is of a type; text does not count as a sequence."""
    kinds = ALSO.get(kind, kind)
    return isinstance(value, kinds) and not (isinstance(value, str) and kinds is Sequence)


def _refuse_other_items(name: str, value: Any, expected: Any) -> None:
    """Check the items of a list, or the values of a mapping."""
    holds, parts = get_origin(expected), get_args(expected)
    if holds is Sequence or holds is Mapping:
        for key, item in value.items() if holds is Mapping else enumerate(value):
            refuse_other_type(f"{name}[{key!r}]", item, parts[-1])


def _named(expected: Any) -> str:
    """Return a type in words, for a message."""
    holds, parts = get_origin(expected), get_args(expected)
    if holds is Annotated:
        return str(next(each.text for each in parts if isinstance(each, Words)))
    if holds is Sequence:
        return f"a list of {_named(parts[0])}"
    if holds is Mapping:
        return f"a mapping of {_named(parts[0])} to {_named(parts[1])}"
    if holds in UNIONS:
        return " or ".join(map(_named, parts))
    if holds is Callable:
        return "a function"
    return "None" if expected is NoneType else str((holds or expected).__name__)


def refuse_other_types(settings: Any) -> None:
    """Check a configuration's fields against their annotations, and convert them to exactly these types.

    Raises
    ------
    ConfigError
        If one is not.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        refuse_other_type(field.name, getattr(settings, field.name), hints[field.name])
        object.__setattr__(settings, field.name, _exactly(getattr(settings, field.name), hints[field.name]))


def _exactly(value: Any, expected: Any) -> Any:
    """Convert NumPy's numbers and lists to Python's numbers and tuples: equal settings become equal JSON."""
    for each in _alternatives(expected):
        if each in (int, float) and isinstance(value, ALSO[each]):
            return each(value)
        if get_origin(each) is tuple and isinstance(value, Sequence):
            return tuple(_exactly(item, get_args(each)[0]) for item in value)
    return value


def _alternatives(expected: Any) -> tuple[Any, ...]:
    """List the types that ``|`` joins in an annotation."""
    parts = get_args(expected)
    if get_origin(expected) is Annotated:
        return _alternatives(parts[0])
    if get_origin(expected) in UNIONS:
        return tuple(each for part in parts for each in _alternatives(part))
    return (expected,)


def refuse_out_of_range(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check that numbers of a configuration lie within their ranges.

    Raises
    ------
    ConfigError
        If one does not, or is NaN.
    """
    for name, (least, most) in ranges.items():
        if not least <= getattr(settings, name) <= most:
            expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise ConfigError(f"{name} is {getattr(settings, name)}; expected {expected}")
