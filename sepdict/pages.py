"""Row 0: HTML pages that need nothing but themselves.

A page holds its styles, scripts, pictures and sounds. Its policy forbids every request, and every script but its own.
All that goes into it is escaped.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

WEB = resources.files("sepdict") / "web"


def fill_page(
    template: str, *, script: str | None = None, data: Mapping[str, Any] | None = None, **content: Any
) -> str:
    """Fill in one of the templates in ``web/templates``.

    Parameters
    ----------
    template : str
        Its name.
    script : str, optional
        Name of the script in ``web/static`` that the page runs, behind that of the player.
    data : mapping, optional
        What that script finds, as JSON, in the element with the id ``data``.
    content
        What the template speaks of.

    Returns
    -------
    str
        HTML.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _read("templates", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = as_clock
    code = "" if script is None else f"{_read('static', 'player.js')}\n{_read('static', script)}"
    return environment.get_template(template).render(
        style=Markup(_read("static", "player.css") + _read("static", "page.css")),
        code=Markup(code),
        code_hash=f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}",
        data=data,
        **content,
    )


def as_clock(seconds: float) -> str:
    """Write seconds as minutes and seconds, or from an hour on with hours.

    Examples
    --------
    >>> as_clock(61.5), as_clock(3600)
    ('1:01', '1:00:00')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _read(folder: str, name: str) -> str:
    """Read a file that is installed with the package."""
    return (WEB / folder / name).read_text("utf-8")
