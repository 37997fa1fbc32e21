"""Files of labels: each format as its program writes it, and one line for everything that is none."""

import codecs
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text_grids import LONG_GRID, SHORT_GRID

from sepdict import ConfigError, Label, LabelFileError, read_labels, write_labels
from sepdict.audio.labels import MAX_FILE_BYTES, MOST_LABELS

TRACK = "0.500000\t2.000000\tdog\n2.000000\t3.500000\tthe rain\n\\\t-1.000000\t4000.000000\n"
DOG, RAIN = Label(0.5, 2, "dog"), Label(2, 3.5, "the rain", high_hz=4000)

RAVEN = """Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation
1\tWaveform 1\t1\t0.5\t2.0\t0.0\t8000.0\twren
1\tSpectrogram 1\t1\t0.5\t2.0\t0.0\t8000.0\twren
2\tSpectrogram 1\t1\t2.5\t3.0\t1500.0\t6000.0\trobin
"""
WREN, ROBIN = Label(0.5, 2, "wren", 0, 8000), Label(2.5, 3, "robin", 1500, 6000)

CAT = Label(2, 4, 'the "old" cat 7')


def labels_in(folder: Path, content: str | bytes, name: str = "labels.txt") -> list[Label]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TRACK, [DOG, RAIN]),
        ("0,5\t2,0\tdog\n", [DOG]),
        ("1e-05\t2.5E0\tdog\n", [Label(1e-5, 2.5, "dog")]),
        ('0.5\t2\t"dog\n', [Label(0.5, 2, '"dog')]),
        ("0.5\t2\tooTextFile\n", [Label(0.5, 2, "ooTextFile")]),
        (RAVEN, [WREN, ROBIN]),
        (RAVEN.replace("Annotation", "Species"), [WREN, ROBIN]),
        (RAVEN.replace("robin", '"robin'), [WREN, replace(ROBIN, name='"robin')]),
        (RAVEN.replace("\t0.0\t8000.0\t", "\t\t\t", 1), [WREN, ROBIN]),
        (
            "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies Code\tCommon Name\n1\t.5\t2\tdo\tdog\n1\t3\t4\tdo\tdog\n",
            [DOG, Label(3, 4, "dog")],
        ),
        (LONG_GRID, [DOG, CAT]),
        (SHORT_GRID, [DOG, CAT]),
        (SHORT_GRID.replace("ooTextFile", "ooTextFile short"), [DOG, CAT]),
        ("start,end,label\n0.5,2,dog\n", [DOG]),
        ("label,onset,offset,comment\ndog,0.5,2\n\n", [DOG]),
        ('Label;Start;End\n"dog";0,5;2,0\n', [DOG]),
        ('start_s,end_s,"name"\n"0,5","0:02.0",dog\n', [DOG]),
        ("start (s),stop (s),label,fmin (Hz),fmax (Hz)\n2,3.5,the rain,,4000\n", [RAIN]),
        ("start,end,label\n1:00.5,1:01:00,dog\n", [Label(60.5, 3660, "dog")]),
        ("start,end,label\n", []),
        ("\n \n", []),
        ("", []),
    ],
)
def test_labels_of_every_format_are_read(content: str, expected: list[Label], tmp_path: Path) -> None:
    assert labels_in(tmp_path, content) == expected


@pytest.mark.parametrize("text", [TRACK, RAVEN, LONG_GRID, "start,end,label\n0.5,2,d\u00f6g\n"], ids=len)
def test_every_encoding_and_line_end_gives_the_same_labels(text: str, tmp_path: Path) -> None:
    expected = labels_in(tmp_path, text)
    for line_end in ("\r\n", "\r"):
        ended = text.replace("\n", line_end)
        for content in (
            ended.encode(),
            ended.encode("utf-8-sig"),
            ended.encode("utf-16"),
            codecs.BOM_UTF16_BE + ended.encode("utf-16-be"),
        ):
            assert labels_in(tmp_path, content, "any.name") == expected


GRID_WITH_POINTS = LONG_GRID.replace("points: size = 0", "points: size = 1\n number = 1\n mark = 'x'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("0\t1\tdog\n3\t2\tcat\n", "line 2: the label 'cat' goes from 3 to 2 s; expected a start from 0 s on"),
        ("0\t1\tdog\n\n2\t2\tcat\n", "line 3: the label 'cat' goes from 2 to 2 s; expected .* and a later end"),
        ("-1\t2\tcat\n", "line 1: the label 'cat' goes from -1 to 2 s"),
        ("0\t1\t\n", "line 1: the label from 0 to 1 s has no name"),
        ("0\t1\n", "line 1: the label from 0 to 1 s has no name"),
        ("0\t1\tx\ty\n", r"line 1: the label's name is 'x\\ty'; expected one line of visible text"),
        (
            "0\t1\tdog\n\\\t500\t400\n",
            "line 1: the label 'dog' has limits of 500.0 and 400.0 Hz; expected 0 Hz or more",
        ),
        ("0\t1\tdog\n\\\t-2\t400\n", "line 1: the label 'dog' has limits of -2.0 and 400.0 Hz"),
        ("0\t1\tdog\n\\\t500\t400\n\\\t1\t2\n", "line 3: frequencies of no label"),
        ("nan\t1\tdog\n", "line 1: 'nan' is no time"),
        ("0\tInfinity\tdog\n", "line 1: 'Infinity' is no time"),
        ("0\t1\tdog\nsome\t1\tcat\n", "line 2: 'some' is no time"),
        ("0\t1.234,5\tdog\n0\t1\tcat\n", "is no label file"),
        ("0\t1\tdog\n0\t1.234,5\tcat\n", "line 2: '1.234,5' is no time"),
        (f"0\t1\tdog\n0\t{'9' * 5000}\tcat\n", "line 2: '9999.*' ... is no number; expected 40 digits at most"),
        ("0\t1\tdog\n0\t1e999\tcat\n", "line 2: the label 'cat' goes from 0 to inf s"),
        ("start,end,label\n0,5,2,0,dog\n", "line 2: has 5 cells and the header 3; .*numbers with decimal points"),
        ('start,end,label\n0,1,"dog\n', r"line \d: is no CSV"),
        ("start,end,loudness\n0,1,7\n", "has no column of names; expected one that is called Annotation, Label"),
        ("start (ms),end (ms),label\n0,1,dog\n", r"its column 'start \(ms\)' is in 'ms'; expected seconds and Hz"),
        ("0.5,2,dog\n", "is no label file that sepdict knows; expected an Audacity label track, .* or CSV whose first"),
        (GRID_WITH_POINTS, "its tier 'nothing' holds points, which last no time; expected interval tiers"),
        (LONG_GRID[:-180], "is cut short; save the TextGrid again"),
        (LONG_GRID.replace("size = 3", "size = 9"), 'line 28: .*"TextTier". stands where a TextGrid has a number'),
        (LONG_GRID.replace("size = 3", "size = -3"), "line 14: '-3' stands where a TextGrid has a count"),
        (LONG_GRID.replace("TextGrid", "PitchTier"), "is a file of Praat with '\"PitchTier\"', not a TextGrid"),
        (LONG_GRID.replace("xmax = 2 ", "xmax = 0.5 "), "line 20: the label 'dog' goes from 0.5 to 0.5 s"),
        ("ooBinaryFile\x08TextGrid", ".*; save it as a text file in Praat"),
        (b"RIFF\x00\x00\x00\x00WAVE", "is no text"),
        ("0\t1\td\u00f6g\n".encode("latin-1"), "is neither UTF-8 nor UTF-16 text; save it as UTF-8"),
        (b"0\t1\tx\n" * (MOST_LABELS + 1), "holds 50001 labels; expected 50000 at most"),
        (b"\n" * (MAX_FILE_BYTES + 1), "is larger than 4 MiB; expected a file of labels"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_what_is_no_label_is_refused_in_one_line_that_names_file_and_line(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelFileError, match=f"labels.txt: {said}") as refused:
        labels_in(tmp_path, content)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


N = MAX_FILE_BYTES // 2


@pytest.mark.parametrize(
    "content",
    ["1" * N, "1" * N + "x", f"a{' ' * N}b", f"start,end,label{',' * N}\n" + "0,1,\n" * (N // 60), '"' * N, "(" * N]
    + [SHORT_GRID + end for end in ("1" * N + "x", '"' * N, "! " * N)],
    ids=lambda content: f"{content[:20]!r} ... {content[-20:]!r}",
)
def test_files_that_are_made_to_take_long_are_refused_or_read_at_once(content: str, tmp_path: Path) -> None:
    with contextlib.suppress(LabelFileError):  # else the time limit of every test ends it
        labels_in(tmp_path, content)


@pytest.mark.parametrize("path", ["none.txt", ".", "/dev/zero", "\0"])
def test_what_is_no_regular_file_is_refused_without_reading_it(path: str) -> None:
    with pytest.raises(LabelFileError, match=r"cannot be read \(.*\); expected a file of labels$"):
        read_labels(path)


@pytest.mark.parametrize(
    "given",
    [(0, 0, "x"), (1, 0, "x"), (-1, 1, "x"), (0, float("nan"), "x"), (0, float("inf"), "x"), (0, 1, ""), (0, 1, " x")],
)
def test_a_label_without_length_or_name_cannot_be_made(given: tuple[float, float, str]) -> None:
    with pytest.raises(ConfigError, match=r"^the label"):
        Label(*given)


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (-1, 5), (None, 0), (0, float("inf")), (float("nan"), None)])
def test_a_label_with_an_empty_band_cannot_be_made(limits: tuple[float | None, float | None]) -> None:
    with pytest.raises(ConfigError, match=r"has limits of .* Hz; expected 0 Hz or more, and a higher upper limit"):
        Label(0, 1, "x", *limits)


def spans(least: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(least, 1e6), min_size=2, max_size=2, unique=True).map(sorted)


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
LIMITS = st.one_of(st.just([None, None]), st.just([None, 5e3]), st.just([0.1, None]), spans(0))
LABELS = st.builds(lambda span, name, limits: Label(*span, name, *limits), spans(0), NAMES, LIMITS)


@pytest.mark.parametrize("name", ["labels.txt", "labels.selections.txt"])
@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(LABELS, max_size=4))
def test_written_labels_are_read_as_they_were(name: str, labels: list[Label], tmp_path: Path) -> None:
    assert read_labels(write_labels(labels, tmp_path / name)) == labels


def test_the_name_or_the_format_says_how_labels_are_written(tmp_path: Path) -> None:
    by_name = write_labels([WREN], tmp_path / "a.Table.1.selections.txt").read_text()
    assert by_name.startswith("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)")
    assert write_labels([WREN], tmp_path / "b", format="raven").read_text() == by_name
    assert write_labels([RAIN], tmp_path / "c.txt").read_text() == "2\t3.5\tthe rain\n\\\t-1\t4000\n"
    with pytest.raises(ConfigError, match=r"b.csv: expected a name that ends in .txt or .selections.txt, or a format$"):
        write_labels([WREN], tmp_path / "b.csv")
    with pytest.raises(ConfigError, match=r"^format is 'praat'; expected one of audacity, raven$"):
        write_labels([WREN], tmp_path / "b.txt", format="praat")
    with pytest.raises(LabelFileError, match=r"none/a.txt: cannot be written \(No such file or directory\)"):
        write_labels([WREN], tmp_path / "none" / "a.txt")
