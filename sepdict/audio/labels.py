"""Labels: spans of time with names, as people mark them in Audacity, Raven and Praat."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from sepdict._core.fs import open_regular, write_atomically
from sepdict._core.names import refusal_of_url, visible
from sepdict._core.settings import Words, checks_types, refuse_other_types
from sepdict._core.times import parse_time
from sepdict.audio.label_formats import Row, label_track, read_rows, selection_table
from sepdict.errors import ConfigError, LabelFileError

MAX_FILE_BYTES = 2**22  # 4 MiB
MOST_LABELS = 50_000
MOST_DIGITS = 40  # of a number in a file; Python refuses to convert thousands of them
WRITERS = {"audacity": label_track, "raven": selection_table}

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Label:
    """A span of time in a recording with a name, and perhaps with limits of frequency.

    Parameters
    ----------
    start_s, end_s : float
        From 0 on, in seconds; the end is later than the start.
    name : str
        What sounds there.
    low_hz, high_hz : float, optional
        The band in which it sounds; None stands for no limit.

    Raises
    ------
    ConfigError
        If the span or the band is empty, or the name is empty or cannot be printed.

    Examples
    --------
    >>> Label(1.5, 4.0, "dog", high_hz=4000.0)
    Label(start_s=1.5, end_s=4.0, name='dog', low_hz=None, high_hz=4000.0)
    """

    start_s: float
    end_s: float
    name: str
    low_hz: float | None = None
    high_hz: float | None = None

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if not self.name.strip():
            raise ConfigError(f"the label from {self.start_s:g} to {self.end_s:g} s has no name; expected what sounds")
        if self.name != self.name.strip() or visible(self.name) != self.name:
            what = f"the label's name is {self.name[:40]!r}"
            raise ConfigError(f"{what}; expected one line of visible text, without space around it")
        if not 0 <= self.start_s < self.end_s < float("inf"):
            what = f"the label {self.name[:40]!r} goes from {self.start_s:g} to {self.end_s:g} s"
            raise ConfigError(f"{what}; expected a start from 0 s on and a later end")
        low_hz, high_hz = self.low_hz or 0.0, float("inf") if self.high_hz is None else self.high_hz
        if not 0 <= low_hz < high_hz or self.high_hz == float("inf"):
            what = f"the label {self.name[:40]!r} has limits of {self.low_hz} and {self.high_hz} Hz"
            raise ConfigError(f"{what}; expected 0 Hz or more, and a higher upper limit")

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.start_s


LabelsLike: TypeAlias = Annotated[
    Sequence[Label] | str | Path, Words("a list of Label, or the path of a file of labels")
]
"""Labels, as public functions take them."""


def as_labels(labels: LabelsLike) -> list[Label]:
    """Return labels that are given themselves, or by the path of their file.

    Raises
    ------
    LabelFileError
        As `read_labels` does.
    """
    return read_labels(labels) if isinstance(labels, str | Path) else list(labels)


@checks_types
def read_labels(path: str | Path) -> list[Label]:
    r"""Read a file of labels: an Audacity label track, Raven selection table, Praat TextGrid or CSV.

    The format is recognized by the content. A CSV file has a header with the columns start, end and label (or their
    usual other names), and perhaps low and high frequencies, between commas, semicolons or tabs; its times may be
    written as ``90.5``, ``1:30.5`` or ``0:01:30.5``. A selection that Raven lists for several views counts once.
    Empty intervals of a TextGrid are left out.

    Returns
    -------
    list of Label
        In the file's order; none if the file is blank.

    Raises
    ------
    LabelFileError
        If the file cannot be read, is too large or in no known format, or a label in it is none. The message names the
        line.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels.txt")
    >>> _ = path.write_text("0.0\t2.5\tpiano\n2.5\t6.0\tviolin\n")
    >>> [label.name for label in read_labels(path)]
    ['piano', 'violin']
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        why = refusal_of_url(path) or f"{path}: cannot be read ({error.strerror}); expected a file of labels"
        raise LabelFileError(why) from error
    return parse_labels(content, str(path))


def parse_labels(content: bytes, name: str) -> list[Label]:
    r"""Read the content of a file of labels, as `read_labels` does; messages call the file by ``name``.

    Examples
    --------
    >>> parse_labels(b"0.0\t2.5\tpiano\n", "labels.txt")
    [Label(start_s=0.0, end_s=2.5, name='piano', low_hz=None, high_hz=None)]
    """
    try:
        if len(content) > MAX_FILE_BYTES:
            raise LabelFileError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB; expected a file of labels")
        rows = read_rows(_decoded(content))
        if len(rows) > MOST_LABELS:
            raise LabelFileError(f"holds {len(rows)} labels; expected {MOST_LABELS} at most")
        return [_label(row) for row in rows]
    except LabelFileError as error:
        raise LabelFileError(f"{name}: {error}") from error


@checks_types
def write_labels(labels: Sequence[Label], path: str | Path, *, format: str | None = None) -> Path:
    r"""Write labels to a file, whole or not at all; `read_labels` reads equal labels from it.

    Parameters
    ----------
    labels : list of Label
    path : str or Path
        Replaced if it exists.
    format : "audacity" or "raven", optional
        By default Raven's if the name ends in ``.selections.txt``, else Audacity's if it ends in ``.txt``.

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        If neither the format nor the name says how to write.
    LabelFileError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = write_labels([Label(0.0, 2.5, "piano", 60.0)], Path(tempfile.mkdtemp(), "labels.txt"))
    >>> path.read_text()
    '0\t2.5\tpiano\n\\\t60\t-1\n'
    """
    path = Path(path)
    endings = {".selections.txt": "raven", ".txt": "audacity"}
    by_name = next((wanted for ending, wanted in endings.items() if path.name.lower().endswith(ending)), None)
    wanted = format or by_name
    if wanted is None:
        raise ConfigError(f"{path}: expected a name that ends in .txt or .selections.txt, or a format")
    if wanted not in WRITERS:
        raise ConfigError(f"format is {wanted!r}; expected one of {', '.join(WRITERS)}")
    try:
        write_atomically(path, format_labels(labels, wanted).encode())
    except OSError as error:
        raise LabelFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    return path


def format_labels(labels: Sequence[Label], format: str) -> str:
    r"""Write labels as the text of one of the formats in `WRITERS`.

    Examples
    --------
    >>> format_labels([Label(0.0, 2.5, "piano")], "audacity")
    '0\t2.5\tpiano\n'
    """
    return WRITERS[format](map(_row, labels))


def _decoded(content: bytes) -> str:
    r"""Decode UTF-8, or UTF-16 that begins with a byte order mark; lines end in ``\n``."""
    utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeError as error:
        raise LabelFileError("is neither UTF-8 nor UTF-16 text; save it as UTF-8") from error
    if "\0" in text:
        raise LabelFileError("is no text; expected a file of labels")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _label(row: Row) -> Label:
    """Make a label of a row, every part of it checked."""
    try:
        limits = (_number(cell) if cell else None for cell in (row.low, row.high))
        return Label(_number(row.start), _number(row.end), row.name, *limits)
    except ConfigError as error:
        raise LabelFileError(f"line {row.line}: {error}") from error


def _number(cell: str) -> float:
    """Read a number or a time; a single comma without a point is a decimal comma, as some languages write it."""
    if len(cell) > MOST_DIGITS:
        raise ConfigError(f"{cell[:MOST_DIGITS]!r} ... is no number; expected {MOST_DIGITS} digits at most")
    pointed = cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell
    return float(pointed) if _NUMBER.fullmatch(pointed) else parse_time(pointed)


def _row(label: Label) -> Row:
    """Spell a label's numbers so that equal ones are read."""
    numbers = (label.start_s, label.end_s, label.low_hz, label.high_hz)
    start, end, low, high = ("" if number is None else repr(number).removesuffix(".0") for number in numbers)
    return Row(0, start, end, label.name, low, high)
