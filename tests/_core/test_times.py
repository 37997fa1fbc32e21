"""Times as people write them."""

import pytest

from sepdict._core.times import format_time, parse_time
from sepdict.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("7.25", 7.25),
        (".5", 0.5),
        ("3.", 3),
        ("0:30", 30),
        ("1:05.5", 65.5),
        ("90:00", 5400),
        ("1:00:00", 3600),
        ("0:01:30.25", 90.25),
        ("25:59:59", 93599),
    ],
)
def test_seconds_minutes_and_hours_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "1:5", "1:60", "1:60:00", "1:2:03", "0:30:", ":30", "1:00:00:00", "1:30\n"),
        *("1m", "1e3", "nan", "inf", "1_0", "0x10", "1,5", "\u0663"),
    ],
)
def test_anything_else_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time; expected seconds, m:ss or h:mm:ss") as refused:
        parse_time(text)
    assert str(refused.value).startswith(repr(text))


@pytest.mark.parametrize("seconds", [0, 0.001, 0.5, 59.999, 60, 65.5, 3599.9995, 3600, 5400.25, 360000])
def test_a_written_time_is_read_to_the_millisecond(seconds: float) -> None:
    assert abs(parse_time(format_time(seconds)) - seconds) <= 0.0005001
