"""HTML pages that need nothing but themselves.

A page holds its styles, scripts, pictures and sounds. Its policy forbids every request, and every script but its own.
All text that goes into it is escaped, and no name can reverse the order of the text beside it.
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from sepdict._core.names import visible

HERE = resources.files("sepdict.reports")
IMPORT = re.compile(r'^import [^;]* from "\./([\w-]+\.js)";\n', flags=re.MULTILINE)  # of a script beside it


def fill_page(
    template: str, *, scripts: Sequence[str] = (), data: Mapping[str, Any] | None = None, **content: Any
) -> str:
    """Fill in one of the templates in ``templates``.

    Parameters
    ----------
    template : str
        Its name.
    scripts : sequence of str, optional
        Names of the scripts in ``static`` that the page runs, joined to one module with those that they import.
    data : mapping, optional
        Data for the scripts, which find it as JSON in the element with the id ``data``.
    content
        The template's other variables.

    Returns
    -------
    str
        HTML.
    """
    code = join_modules(scripts)
    return fill_fragment(
        template,
        style=_markup(_read("static", "player.css") + _read("static", "page.css")),
        code=_markup(code),
        code_hash=f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}",
        data=data,
        **content,
    )


def join_modules(names: Sequence[str]) -> str:
    """Join scripts and those that they import to one module, which needs no other.

    All names that they have at their top must differ.

    Parameters
    ----------
    names : sequence of str
        Their names in ``static``.

    Returns
    -------
    str
        JavaScript. Each script is in it once, after those that it imports.

    Examples
    --------
    >>> IMPORT.search(join_modules(["player.js"])) is None
    True
    """
    codes: dict[str, str] = {}

    def add(name: str) -> None:
        if name in codes:
            return
        code = _read("static", name)
        for imported in IMPORT.findall(code):
            add(imported)
        codes[name] = IMPORT.sub("", code)

    for name in names:
        add(name)
    return "\n".join(codes.values())


def fill_fragment(template: str, **content: Any) -> str:
    """Fill in a template that is a part of a page, or a page that brings its own styles and scripts.

    Parameters
    ----------
    template : str
        Its name in ``templates``.
    content
        The template's variables. Text is escaped, and characters that steer or hide are shown as escapes.

    Returns
    -------
    str
        HTML.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read("templates", name)),
        autoescape=True,
        finalize=lambda value: visible(value, lines=True) if type(value) is str else value,  # not of our own markup
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": as_clock, "duration": as_duration, "moment": as_moment}
    return environment.get_template(template).render(**content)


def _markup(text: str) -> Any:
    """Mark text of the package's own files as HTML that is not escaped."""
    from markupsafe import Markup

    return Markup(text)


def as_clock(seconds: float, *, tenths: bool = False) -> str:
    """Write a time as minutes and whole seconds, with hours from an hour on, rounded down; with tenths if asked.

    Examples
    --------
    >>> as_clock(61.5), as_clock(3600), as_clock(6.74, tenths=True)
    ('1:01', '1:00:00', '0:06.7')
    """
    n_tenths = math.floor(10 * seconds + 1e-6)  # 0.3 s is three of them, though 10 * 0.3 may be less
    minutes, rest = divmod(n_tenths // 10, 60)
    hours, minutes = divmod(minutes, 60)
    whole = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{whole}.{n_tenths % 10}" if tenths else whole


def as_duration(seconds: float) -> str:
    """Write a duration, to a tenth of a second if it is less than a minute.

    Examples
    --------
    >>> as_duration(0.04), as_duration(11.62), as_duration(83.4), as_duration(7325)
    ('0.0 s', '11.6 s', '1 min 23 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def as_moment(date: str) -> str:
    """Write a date and time of ISO 8601 to the minute and in UTC.

    Examples
    --------
    >>> as_moment("2026-03-01T13:34:56+01:00")
    '2026-03-01, 12:34 UTC'
    """
    return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%d, %H:%M UTC")


def _read(folder: str, name: str) -> str:
    """Read a file that is installed with the package."""
    return (HERE / folder / name).read_text("utf-8")
