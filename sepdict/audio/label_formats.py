"""The text formats of labels: Audacity label tracks, Raven selection tables, Praat TextGrids and CSV.

Each is read to rows of text and written from them; `labels` turns rows into labels. Formats are told apart by their
content, because Audacity's and Raven's files are both called ``.txt``.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from sepdict.errors import LabelFileError

COLUMNS = {  # the usual names, in lower case and without a unit; of several that a file has, the first here counts
    "start": ("start", "start time", "begin", "begin time", "onset", "from", "tmin", "xmin"),
    "end": ("end", "end time", "stop", "stop time", "offset", "to", "tmax", "xmax"),
    "name": (
        *("annotation", "label", "name", "source", "species", "common name", "sound", "class", "tag", "text"),
        *("event", "event label", "call type", "species code"),
    ),
    "low": ("low freq", "low frequency", "low", "min freq", "min frequency", "fmin", "freq min"),
    "high": ("high freq", "high frequency", "high", "max freq", "max frequency", "fmax", "freq max"),
    "selection": ("selection",),
}
SPELLINGS = {spelling: column for column, spellings in COLUMNS.items() for spelling in spellings}
RAVEN_HEADER = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    "Annotation",
)
EXPECTED = (
    "expected an Audacity label track, a Raven selection table, a Praat TextGrid, or CSV whose first line names the "
    "columns start, end and label"
)

MOST_LETTERS, MOST_COLUMNS = 100, 1000  # of a header that are looked at; Raven can measure some 90 things

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_TIME = rf"(?:{_NUMBER}|[+-]?(?:nan|inf(?:inity)?))"  # the last are no times; `labels` refuses them and names the line
_LABEL_TRACK = re.compile(rf"\s*{_TIME}\s*\t\s*{_TIME}\s*(?:\t.*)?", re.IGNORECASE)
_MINUS_ONE = re.compile(r"-1(?:[.,]0*)?")
_UNIT = re.compile(r"\s*\(\s*([^()]*?)\s*\)$|(?<=\w)[ _](s|sec|seconds|hz)$", re.IGNORECASE)
_TOKEN = re.compile(r'"(?:[^"]|"")*"|!.*|\n|[^\s"]+|"')  # of a TextGrid


class Row(NamedTuple):
    """One label as a file spells it; an empty limit stands for none."""

    line: int
    start: str
    end: str
    name: str
    low: str = ""
    high: str = ""


def read_rows(text: str) -> list[Row]:
    r"""Read all labels of a text whose lines end in ``\n``; blank text holds none.

    Raises
    ------
    LabelFileError
        If the text is in no known format, or damaged. The message names the line and leaves the file to the caller.
    """
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        return []
    if first.lstrip().startswith("File type"):
        return list(_text_grid(text))
    if first.startswith(("ooBinaryFile", '"Praat chronological')):
        raise LabelFileError("is a TextGrid in a form that sepdict does not read; save it as a text file in Praat")
    for delimiter in "\t;,":
        if {"start", "end"} <= set(map(_column, first.split(delimiter)[:MOST_COLUMNS])):
            return _table(text, delimiter)
    if _LABEL_TRACK.fullmatch(first):
        return list(_label_track(text))
    raise LabelFileError(f"is no label file that sepdict knows; {EXPECTED}")


def label_track(rows: Iterable[Row]) -> str:
    """Write Audacity's format."""
    lines = []
    for row in rows:
        lines.append(f"{row.start}\t{row.end}\t{row.name}\n")
        if row.low or row.high:
            lines.append(f"\\\t{row.low or -1}\t{row.high or -1}\n")
    return "".join(lines)


def selection_table(rows: Iterable[Row]) -> str:
    """Write Raven's format."""
    cells = [(n, "Spectrogram 1", 1, *row[1:3], *row[4:6], row.name) for n, row in enumerate(rows, 1)]
    return "".join("\t".join(map(str, line)) + "\n" for line in (RAVEN_HEADER, *cells))


def _label_track(text: str) -> Iterator[Row]:
    r"""Read Audacity's format: lines of start, end and name, of which a line of ``\``, low and high may follow each."""
    row = None
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        cells = [cell.strip() for cell in content.split("\t", 2)] + ["", ""]
        if cells[0] == "\\":
            if row is None:
                raise LabelFileError(f"line {line}: frequencies of no label; expected a label in the line before")
            low, high = ("" if _MINUS_ONE.fullmatch(cell) else cell for cell in cells[1:3])
            yield row._replace(low=low, high=high)
            row = None
            continue
        if row is not None:
            yield row
        row = Row(line, *cells[:3])
    if row is not None:
        yield row


def _table(text: str, delimiter: str) -> list[Row]:
    """Read a table; a selection that Raven lists once for every view counts once, with its limits if a view has any."""
    found: dict[tuple[object, ...], Row] = {}
    columns: dict[str, int] = {}
    header: list[str] = []
    for line, cells in _lines_of_cells(text, delimiter):
        if not header:
            header, columns = cells, _find_columns(cells)
            continue
        if any(cells[len(header) :]):
            what = f"has {len(cells)} cells and the header {len(header)}"
            raise LabelFileError(f"line {line}: {what}; expected as many, and numbers with decimal points")
        given = {column: cells[index] if index < len(cells) else "" for column, index in columns.items()}
        selection = given.pop("selection", "") or line
        row = Row(line, **given)
        key = selection, row.start, row.end
        if key not in found or not (found[key].low or found[key].high):
            found[key] = row
    return list(found.values())


def _lines_of_cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Split a table into stripped cells, each row with its line; between tabs a quotation mark is only a letter."""
    quoted: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoted, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise LabelFileError(f"line {reader.line_num}: is no CSV ({error}); mend its quotation marks") from error


def _find_columns(header: Sequence[str]) -> dict[str, int]:
    """Find where the known columns stand."""
    found: dict[str, int] = {}
    for index, cell in enumerate(header[:MOST_COLUMNS]):
        column, unit = _column(cell), _unit(cell)
        if not column:
            continue
        if unit not in (None, "s", "sec", "seconds", "hz"):
            raise LabelFileError(f"its column {cell[:40]!r} is in {unit[:20]!r}; expected seconds and Hz")
        rank = COLUMNS[column].index
        if column not in found or rank(_spelled(cell)) < rank(_spelled(header[found[column]])):
            found[column] = index
    if "name" not in found:
        raise LabelFileError("has no column of names; expected one that is called Annotation, Label, Name or Species")
    return found


def _column(cell: str) -> str:
    """Return which column a header's cell names, or an empty text."""
    return SPELLINGS.get(_spelled(cell), "")


def _spelled(cell: str) -> str:
    """Return a header's cell in lower case and without quotation marks and unit."""
    return " ".join(_UNIT.sub("", cell[:MOST_LETTERS].strip(' "')).replace("_", " ").lower().split())


def _unit(cell: str) -> str | None:
    """Return the unit in a header's cell, in lower case."""
    match = _UNIT.search(cell[:MOST_LETTERS].strip(' "'))
    return (match[1] or match[2] or "").lower() or None if match else None


def _text_grid(text: str) -> Iterator[Row]:
    """Read the intervals with text of a TextGrid, short or long: numbers and quoted text count, all else is prose."""
    tokens = _tokens(text)
    for expected in (('"ooTextFile"', '"ooTextFile short"'), ('"TextGrid"',)):
        _, token = next(tokens, (0, ""))
        if token not in expected:
            raise LabelFileError(f"is a file of Praat with {token[:40]!r}, not a TextGrid; {EXPECTED}")
    _take(tokens, "number"), _take(tokens, "number")
    n_tiers = _count(tokens)
    for _ in range(n_tiers):
        kind, name = (_take(tokens, "text")[1] for _ in range(2))
        _take(tokens, "number"), _take(tokens, "number")
        n_intervals = _count(tokens)
        if kind != "IntervalTier" and n_intervals:
            raise LabelFileError(f"its tier {name[:40]!r} holds points, which last no time; expected interval tiers")
        for _ in range(n_intervals):
            (line, start), (_, end), (_, said) = (_take(tokens, each) for each in ("number", "number", "text"))
            if said.strip():
                yield Row(line, start, end, said.strip())


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Split a TextGrid into free-standing numbers and quoted text, each with its line."""
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token[0] == '"' or re.fullmatch(_NUMBER, token):
            yield line, token
        line += token.count("\n")


def _take(tokens: Iterator[tuple[int, str]], kind: str) -> tuple[int, str]:
    """Take the next number or text; text without its quotation marks."""
    line, token = next(tokens, (0, ""))
    if not token:
        raise LabelFileError("is cut short; save the TextGrid again")
    if (token[0] == '"') != (kind == "text") or token == '"':
        raise LabelFileError(f"line {line}: {token[:40]!r} stands where a TextGrid has a {kind}; save it again")
    return line, token[1:-1].replace('""', '"') if kind == "text" else token


def _count(tokens: Iterator[tuple[int, str]]) -> int:
    """Take a number that counts."""
    line, token = _take(tokens, "number")
    if not re.fullmatch(r"\d{1,9}", token, re.ASCII):
        raise LabelFileError(f"line {line}: {token[:40]!r} stands where a TextGrid has a count; save it again")
    return int(token)
