"""Labels of a recording as moments of its sources: what a dictionary can be learned from."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sepdict._core.names import normalized, refuse_unwritable
from sepdict.audio.labels import Label
from sepdict.audio.parts import BEYOND_S
from sepdict.errors import ConfigError

TOUCHING_S = 0.001  # labels that are rounded to milliseconds may miss or overlap each other by this


def moments_by_source(labels: Sequence[Label], duration_s: float, name: str) -> dict[str, tuple[Label, ...]]:
    """Sort the labels of a recording into the moments of each source.

    Moments of one source that overlap or touch become one, with limits of frequency that hold all of them. What a
    label has beyond the recording's end is cut off, up to `BEYOND_S`.

    Parameters
    ----------
    labels : list of Label
        Each label's name is a source's.
    duration_s : float
        Of the recording.
    name : str
        Of the recording, for messages.

    Returns
    -------
    dict
        For every source, in the order in which they are first heard: its moments, in order, none overlapping.

    Raises
    ------
    ConfigError
        If there are no labels, a name cannot be a source's or is there in two spellings, a moment lies outside of the
        recording, or moments of two sources overlap.

    Examples
    --------
    >>> labels = [Label(0, 2, "piano"), Label(3, 5, "violin"), Label(1.5, 3, "piano")]
    >>> {source: [(each.start_s, each.end_s) for each in moments]
    ...  for source, moments in moments_by_source(labels, 5.0, "duet.wav").items()}
    {'piano': [(0.0, 3.0)], 'violin': [(3.0, 5.0)]}
    """
    if not labels:
        raise ConfigError(f"{name}: there are no labels for it; mark where each source sounds alone")
    found: dict[str, list[Label]] = {}
    for label in sorted(labels, key=lambda each: each.start_s):
        refuse_unwritable(label.name, f"{name}: a label's name")
        moment = replace(_within(label, duration_s, name), name=normalized(label.name))
        moments = found.setdefault(moment.name, [])
        if moments and moment.start_s <= moments[-1].end_s + TOUCHING_S:
            moments[-1] = _joined(moments[-1], moment)
        else:
            moments.append(moment)
    _refuse_spellings(found, name)
    _refuse_overlaps(found, name)
    return {source: tuple(moments) for source, moments in found.items()}


def _within(label: Label, duration_s: float, name: str) -> Label:
    """Cut a label off at the recording's end; refuse one that reaches far beyond it."""
    if label.start_s >= duration_s or label.end_s > duration_s + BEYOND_S:
        what = f"the label {_named(label)} is not within it, for it lasts {duration_s:g} s"
        raise ConfigError(f"{name}: {what}; are these the labels of another recording?")
    return replace(label, end_s=min(label.end_s, duration_s))


def _joined(first: Label, second: Label) -> Label:
    """Make one label of two; one that has no limit takes the limit away."""
    low_hz = None if first.low_hz is None or second.low_hz is None else min(first.low_hz, second.low_hz)
    high_hz = None if first.high_hz is None or second.high_hz is None else max(first.high_hz, second.high_hz)
    return replace(first, end_s=max(first.end_s, second.end_s), low_hz=low_hz, high_hz=high_hz)


def _refuse_spellings(names: Iterable[str], recording: str) -> None:
    """Refuse names that only differ in the case of letters: they are meant as one, and some systems take them so."""
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigError(f"{recording}: labels are named {other!r} and {name!r}; expected one spelling of a name")


def _refuse_overlaps(found: Mapping[str, Sequence[Label]], name: str) -> None:
    """Refuse moments of two sources that overlap."""
    ordered = sorted((moment for moments in found.values() for moment in moments), key=lambda each: each.start_s)
    for first, second in itertools.pairwise(ordered):
        if second.start_s < first.end_s - TOUCHING_S:
            what = f"the labels {_named(first)} and {_named(second)} overlap"
            raise ConfigError(f"{name}: {what}; mark moments in which only one source sounds")


def _named(label: Label) -> str:
    """Return a label's name and times, for messages."""
    return f"{label.name!r} from {label.start_s:g} to {label.end_s:g} s"
