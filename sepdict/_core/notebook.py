"""Objects that show themselves in a notebook.

What they show is drawn by `sepdict.reports`, high above the objects, and nothing imports upward: the package hands its
drawing function down when it is imported.
"""

from collections.abc import Callable
from typing import Any

draw: Callable[[Any], str] | None = None
"""Writes an object as HTML; set by the package's ``__init__``."""


class ShownInNotebooks:
    """Has Jupyter and its like show more of an object than its ``repr``."""

    def _repr_html_(self) -> str | None:
        return None if draw is None else draw(self)
