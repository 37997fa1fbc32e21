"""SVG paths of curves and bars in a page, in a box that is 1000 wide and 100 high."""

import itertools
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 1000.0, 100.0
N_MARKS = 5  # most intervals: on a phone, more labels would touch
MARK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)  # below an hour


def line(values: Sequence[float], lowest: float, highest: float) -> str:
    """Return the SVG path of a line through values at equal steps; it is interrupted where values are nan.

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


def area(values: Sequence[float], lowest: float, highest: float) -> str:
    """Return the SVG path of the area below a line through values, none of which is nan.

    Examples
    --------
    >>> area([0.5, 1.0], 0.0, 1.0)
    'M0,100L0,50L250,50L750,0L1000,0L1000,100Z'
    """
    width = WIDTH / len(values)
    heights = [f"{_height(value, lowest, highest):.4g}" for value in values]
    points = [f"{(index + 0.5) * width:.5g},{height}" for index, height in enumerate(heights)]
    edge = f"{WIDTH:g}"
    return f"M0,100L0,{heights[0]}L{'L'.join(points)}L{edge},{heights[-1]}L{edge},{HEIGHT:g}Z"


def time_marks(duration_s: float) -> list[tuple[float, float]]:
    """Choose round times to mark below a drawing, as (time in s, position): 0 is its left edge, 1 its right.

    Examples
    --------
    >>> time_marks(12.0)
    [(0.0, 0.0), (5.0, 0.4166666666666667), (10.0, 0.8333333333333334)]
    """
    hours = math.ceil(duration_s / N_MARKS / 3600)
    step_s = next((step_s for step_s in MARK_STEPS_S if duration_s <= N_MARKS * step_s), 3600 * hours)
    times_s = [index * float(step_s) for index in range(math.floor(duration_s / step_s) + 1)]
    return [(time_s, time_s / duration_s) for time_s in times_s if duration_s > 0]


def bars(values: Sequence[float], lowest: float, highest: float) -> str:
    """Return the SVG path of adjacent bars; nan gives no bar.

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
    """Return the vertical position of a value: the highest is at the top, 0; values out of range are at the edges."""
    share = (value - lowest) / (highest - lowest) if highest > lowest else 0.0
    return HEIGHT * (1 - min(1.0, max(0.0, share)))
