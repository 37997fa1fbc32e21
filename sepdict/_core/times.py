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
