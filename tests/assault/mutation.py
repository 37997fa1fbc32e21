"""Damage bytes and JSON as chance, other programs and forgers do."""

import copy
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

INTERESTING = [0, 1, 2, 3, 7, 8, 16, 24, 32, 64, 127, 128, 255, 256, 1000, 0x7FFF, 0x8000, 0xFFFF, 0x10000]
INTERESTING += [0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 2**36, 2**63 - 1, 2**64 - 1]
WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
LONGEST = 200_000  # bytes
ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    -0.0,
    1e308,
    -1e308,
    1e-320,
    2**31,
    2**63,
    10**30,
    10**400,
]
ODD_VALUES += [float("nan"), float("inf"), "", "a", "residual", "../x", "a/b", "\x1b[31m", "\u202e", "\ud800", "\0"]
ODD_VALUES += ["x" * 6000, [], {}, [[]], [1, 2], {"a": 1}, [None], "NaN", "1e5", "8000"]


def mutated(content: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Damage a file in one to four places, of which most lie near its beginning, where headers are."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])):
        rng.choice(EDITS)(data, rng, others)
        del data[LONGEST:]
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Choose a place in bytes, rather early."""
    return int(len(data) * rng.random() ** rng.choice([1, 4, 8]))


def _span(data: bytearray, rng: random.Random) -> slice:
    start = _place(data, rng)
    return slice(start, start + rng.choice([1, 2, 4, 8, 40, 500, 5000]))


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Write an interesting number, or one near what is there, where a field may be."""
    width = rng.choice([1, 2, 4, 4, 4, 8])
    start = max(0, min(_place(data, rng) // 2 * 2, len(data) - width))
    form = rng.choice("<>") + WIDTHS[width]
    there = int.from_bytes(data[start : start + width], "little" if form[0] == "<" else "big")
    value = rng.choice([*INTERESTING, there + 1, there - 1, there * 2, there // 2]) % (1 << 8 * width)
    data[start : start + width] = struct.pack(form, value)


def _cut(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del data[_span(data, rng)]


def _repeat(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span] * rng.choice([1, 2, 20])


def _noise(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, rng)
    data[span] = rng.randbytes(min(span.stop, len(data)) - min(span.start, len(data)))


def _zeros(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, rng)
    data[span] = bytes(min(span.stop, len(data)) - min(span.start, len(data)))


def _splice(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Go on as another file does."""
    if others:
        other = bytearray(rng.choice(others))
        data[_place(data, rng) :] = other[_place(other, rng) :]


def _append(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    data += rng.choice(others) if others and rng.random() < 0.5 else rng.randbytes(rng.choice([1, 2, 100, 5000]))


EDITS: list[Callable[[bytearray, random.Random, Sequence[bytes]], None]] = [
    *(_flip, _flip, _number, _number, _number, _number),
    *(_cut, _remove, _repeat, _noise, _zeros, _splice, _append),
]


def odd_json(said: Any, rng: random.Random) -> Any:
    """Change one to three values of a JSON document, leave some out or add some."""
    document = copy.deepcopy(said)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(_places(document))
        if not places:
            return rng.choice(ODD_VALUES)
        holder, key = rng.choice(places)
        _change(holder, key, rng)
    return document


def _change(holder: Any, key: Any, rng: random.Random) -> None:
    what = rng.random()
    if what < 0.15:
        del holder[key]
    elif what < 0.25 and isinstance(holder, dict):
        holder[rng.choice(["more", "", "source", "\x1b[2J", "sepdict"])] = rng.choice(ODD_VALUES)
    elif what < 0.35:
        nested: Any = holder[key]
        for _ in range(rng.choice([1, 2, 700])):
            nested = [nested]
        holder[key] = nested
    elif what < 0.5 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * rng.choice([-1, 0, 2, 0.5, 1e9])
    else:
        holder[key] = rng.choice(ODD_VALUES)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """List where something can be changed."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in list(keys):
            yield holder, key
            waiting.append(holder[key])
