"""Row 0: numbers as the outlines of drawings in a page, in a box 1000 wide and 100 high."""

import itertools
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 1000.0, 100.0


def line(values: Sequence[float], lowest: float, highest: float) -> str:
    """Outline a line, one value below the other in time, as an SVG path; it is interrupted where values are nan.

    Examples
    --------
    >>> line([0.0, 1.0, math.nan, 0.5], 0.0, 1.0)
    'M125,100L375,0M875,50'
    """
    width = WIDTH / max(1, len(values))
    path, command = "", "M"
    for index, value in enumerate(values):
        if math.isnan(value):
            command = "M"
            continue
        path += f"{command}{(index + 0.5) * width:.5g},{_height(value, lowest, highest):.4g}"
        command = "L"
    return path


def bars(values: Sequence[float], lowest: float, highest: float) -> str:
    """Outline bars that stand on the ground and touch, as an SVG path; where values are nan, there is none.

    Examples
    --------
    >>> bars([0.5, math.nan], 0.0, 1.0)
    'M0,100V50H500V100Z'
    """
    edges = [index * WIDTH / max(1, len(values)) for index in range(len(values) + 1)]
    return "".join(
        f"M{left:.5g},{HEIGHT:g}V{_height(value, lowest, highest):.4g}H{right:.5g}V{HEIGHT:g}Z"
        for value, (left, right) in zip(values, itertools.pairwise(edges), strict=True)
        if not math.isnan(value)
    )


def _height(value: float, lowest: float, highest: float) -> float:
    """Place a value: the highest at the top, 0, what lies outside at the edge."""
    share = (value - lowest) / (highest - lowest) if highest > lowest else 0.0
    return HEIGHT * (1 - min(1.0, max(0.0, share)))
