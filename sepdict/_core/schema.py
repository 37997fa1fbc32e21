"""Checks of JSON from untrusted files: one for each kind of value, combined into one for a whole document.

A check takes a value and its name for messages. It returns the value in Python's own immutable types, or raises.
All values that pass, at any depth, are finite, bounded and printable.
"""

import math
import numbers
import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sepdict._core.names import visible
from sepdict.errors import ConfigError

SILENCE_DB = -300.0  # stands for the level of a ratio of nothing to something: JSON has no infinity
Check = Callable[[Any, str], Any]

MOST_LETTERS = 1000  # of any text


def whole(least: int, most: int) -> Check:
    """Expect a whole number.

    Examples
    --------
    >>> whole(1, 9)(10, "n_channels")
    Traceback (most recent call last):
    sepdict.errors.ConfigError: n_channels is 10; expected a whole number from 1 to 9
    """

    def check(value: Any, name: str) -> int:
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not least <= int(value) <= most:
            raise _wrong(name, value, f"a whole number from {least} to {most}")
        return int(value)

    return check


def number(least: float, most: float) -> Check:
    """Expect a finite number."""

    def check(value: Any, name: str) -> float:
        try:
            found = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
        except OverflowError:  # a whole number that no float is near
            found = math.inf
        if not least <= found <= most:
            raise _wrong(name, value, f"a number from {least:g} to {most:g}")
        return found

    return check


def text(*, most: int = MOST_LETTERS, pattern: str = ".*") -> Check:
    """Expect text without control characters."""

    def check(value: Any, name: str) -> str:
        fits = isinstance(value, str) and len(value) <= most and visible(value) == value
        if not (fits and re.fullmatch(pattern, value)):
            raise _wrong(name, value, f"printable text of {most} letters at most")
        return str(value)

    return check


def printable(name: str) -> str:
    """Turn any text into one that `text` accepts."""
    return visible(name)[:MOST_LETTERS]


def either(*checks: Check) -> Check:
    """Expect a value that passes one of the checks."""

    def check(value: Any, name: str) -> Any:
        refusals = []
        for each in checks:
            try:
                return each(value, name)
            except ConfigError as refusal:
                refusals.append(refusal)
        raise refusals[0]

    return check


def exactly(*values: Any) -> Check:
    """Expect one of some values."""

    def check(value: Any, name: str) -> Any:
        for each in values:
            if type(value) is type(each) and value == each:
                return each
        raise _wrong(name, value, " or ".join(map(repr, values)))

    return check


def listed(item: Check, *, most: int) -> Check:
    """Expect a list whose items pass one check."""

    def check(value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) > most:
            raise _wrong(name, value, f"a list of {most} at most")
        return tuple(item(each, f"{name}[{index}]") for index, each in enumerate(value))

    return check


def mapping(item: Check, *, most: int = 64) -> Check:
    """Expect a mapping of any identifiers to values that pass one check."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > most:
            raise _wrong(name, value, f"{most} names and values at most")
        return {named(key, f"a name in {name}"): item(each, f"{name}.{key}") for key, each in value.items()}

    named = text(most=64, pattern=r"[A-Za-z_]\w*")
    return check


def record(known: Mapping[str, Check], *, optional: Mapping[str, Check] | None = None) -> Check:
    """Expect a mapping with the known keys, perhaps optional ones, and no others; each value passes its own check."""
    checks = {**known, **(optional or {})}

    def check(value: Any, name: str) -> dict[str, Any]:
        refuse_other_keys(value, name, required=known, known=checks)
        return {key: checks[key](each, f"{name}.{key}") for key, each in value.items()}

    return check


def settings(kind: type) -> Check:
    """Expect an instance of a dataclass that checks its own values, or a mapping of all its fields."""
    names = [field.name for field in fields(kind)]

    def check(value: Any, name: str) -> Any:
        if isinstance(value, kind):
            return value
        refuse_other_keys(value, name, required=names, known=names)
        try:
            return kind(**value)
        except (ConfigError, OverflowError) as refusal:  # a whole number that no float is near
            raise ConfigError(f"{name}: {str(refusal)[:MOST_LETTERS]}") from refusal

    return check


def refuse_other_keys(value: Any, name: str, *, required: Iterable[str], known: Collection[str]) -> None:
    """Refuse a value that is no mapping, lacks a required key, or has an unknown one.

    Raises
    ------
    ConfigError
    """
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "names and values")
    for key in required:
        if key not in value:
            raise ConfigError(f"{name} has no {key}")
    for key in value:
        if key not in known:
            raise ConfigError(f"{name} has {reprlib.repr(key)}, which this sepdict does not know")


def _wrong(name: str, value: Any, expected: str) -> ConfigError:
    """Make the error: the value that came, and what was expected."""
    try:
        came = reprlib.repr(value)
    except ValueError:  # a whole number of more than 4300 digits
        came = "beyond all bounds"
    return ConfigError(f"{name} is {came}; expected {expected}")
