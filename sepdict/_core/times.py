"""Times and durations as people write them."""

import re

from sepdict.errors import ConfigError

SECONDS = r"\d+(?:\.\d*)?|\.\d+"
TIMES = (
    rf"(?P<s>{SECONDS})",
    r"(?P<m>\d+):(?P<s>[0-5]\d(?:\.\d*)?)",
    r"(?P<h>\d+):(?P<m>[0-5]\d):(?P<s>[0-5]\d(?:\.\d*)?)",
)


def parse_time(text: str) -> float:
    """Read seconds, minutes and seconds, or hours, minutes and seconds.

    Parameters
    ----------
    text : str
        Such as ``"90"``, ``"90.5"``, ``"1:30"``, ``"1:30.5"`` or ``"1:01:30"``.

    Returns
    -------
    float
        In seconds.

    Raises
    ------
    ConfigError
        If it is none of these.

    Examples
    --------
    >>> parse_time("0:30"), parse_time("1:01:30.5"), parse_time("7.25")
    (30.0, 3690.5, 7.25)
    """
    for form in TIMES:
        if match := re.fullmatch(form, text, re.ASCII):
            parts = match.groupdict(default="0")
            return 3600 * int(parts.get("h", 0)) + 60 * int(parts.get("m", 0)) + float(parts["s"])
    raise ConfigError(f"{text!r} is no time; expected seconds, m:ss or h:mm:ss, as in 90, 1:30 or 0:01:30.5")


def format_time(time_s: float) -> str:
    """Write a time as minutes and seconds, or hours, minutes and seconds; `parse_time` reads it to the millisecond.

    Examples
    --------
    >>> format_time(5.5), format_time(60), format_time(3690.25)
    ('0:05.5', '1:00', '1:01:30.25')
    """
    seconds, thousandths = divmod(round(1000 * time_s), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    whole = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".") if thousandths else whole
