"""Names: what they may be, when two are the same, and how those of others are shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sepdict.reports.html
from sepdict._core.names import MOST_NAME_BYTES, file_names, normalized, refuse_unwritable, visible
from sepdict.batch.export import OutputConfig
from sepdict.dictionaries.card import Card
from sepdict.errors import ConfigError
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.stft import StftConfig

UNWRITABLE = {
    "path": ["", ".", "..", ".hidden", "a/b", "a\\b", "/"],
    "control": [f"a{chr(code)}b" for code in (*range(32), *range(0x7F, 0xA0))],
    "line": ["a\u2028b", "a\u2029b"],
    "direction": [
        f"a{letter}b" for letter in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ],
    "surrogate": ["\ud800", "a\udcff", "\udfff"],
    "long": ["x" * 5000, "x" * (MOST_NAME_BYTES + 1), "ö" * (MOST_NAME_BYTES // 2 + 1), "o\u0308" * 101, "鳥" * 67],
    "zero width": [f"a{letter}b" for letter in "\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff"] + ["\u200b"],
    "Windows": ["con", "CON", "nul.wav", "COM1", "lpt9.x", "com²", "CONIN$", "con .x", "a.", "a ", " a", " "],
    "no text": [None, 5, b"a", ["a"] * 10_000],
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_what_cannot_be_a_files_name_is_refused_in_one_short_line(kind: str) -> None:
    for name in UNWRITABLE[kind]:
        with pytest.raises(ConfigError, match=r"source name (is|begins) .*expected") as refusal:
            Card(name, 8000, StftConfig(64, 16), NetworkConfig(code_size=2, hidden=()))  # type: ignore[arg-type]
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 200
        with pytest.raises(ConfigError):
            OutputConfig(residual_name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("con", "is 'con', which Windows keeps for a device"),
        ("Aux.wav", "is 'Aux.wav', which Windows keeps for a device"),
        ("vio\u200blin", r"is 'vio\u200blin', with characters that cannot be seen"),
        ("a\nb", r"is 'a\nb', with characters that cannot be seen"),
        (".violin", "no dot or space at either end"),
        ("a/b", r"without / or \,"),
    ],
)
def test_a_refused_name_is_told_its_own_reason(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        refuse_unwritable(name, "source name")
    assert said in str(refusal.value)


GOOD = [
    "violin, 1st [solo] 🎻",
    "鳥",
    "violin.2nd",
    "console",
    "x" * MOST_NAME_BYTES,
    "\u0645\u200c\u062e",
    "👩\u200d🎤",
]


@pytest.mark.parametrize("name", GOOD)
def test_any_other_name_is_as_good(name: str) -> None:
    refuse_unwritable(name, "source name")


@given(st.text(st.characters(), max_size=20))
def test_what_is_shown_steers_nothing_and_hides_nothing(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not any(unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI") for letter in shown)
    shown.encode()


def test_lines_stay_lines_and_the_bytes_of_a_name_its_bytes() -> None:
    assert visible("a\nb\udcff\x1b\ud800", lines=True) == "a\nb\udcff\\x1b\\ud800"
    assert visible("a\nb\udcff") == "a\\nb\\udcff"


def test_a_residual_is_called_in_unicodes_composed_form_too() -> None:
    output = OutputConfig(residual_name="re\u0301sidu", two_stems="Flo\u0308te")
    assert (output.residual_name, output.two_stems) == ("r\u00e9sidu", "Fl\u00f6te")
    assert normalized(normalized("Flo\u0308te")) == "Fl\u00f6te"


def test_no_name_turns_around_how_a_page_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: str, _: str) -> str:
        return "<p>{{ name }} {{ length }} {{ style }}" if folder == "templates" else "p {}"

    monkeypatch.setattr(sepdict.reports.html, "_read", read)
    shown = sepdict.reports.html.fill_page("any.html", name="take\u202e\u2066<b>\x9b", length=1.5)
    assert shown == r"<p>take\u202e\u2066&lt;b&gt;\x9b 1.5 p {}p {}"


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["con", "NUL.take", "COM1", "lpt³", "console"], ["_con", "_NUL.take", "_COM1", "_lpt³", "console"]),
        (["Flöte", "flo\u0308te", "FLÖTE"], ["Flöte", "flöte 2", "FLÖTE 3"]),
        (["a", "A", "a 2"], ["a", "A 2", "a 2 2"]),
        (["end.", "end ", ".end", "..", " "], ["end", "end 2", "end 3", "mixture", "mixture 2"]),
        (['1/2: "who?" <me>|*\\', "a\x00\nb\u202e"], ["1_2_ _who__ _me____", "a__b_"]),
        (["con.", "aux ", "\ud800"], ["_con", "_aux", "_"]),
        (["x" * 300, "x" * 300, "鳥" * 100], ["x" * 200, "x" * 200 + " 2", "鳥" * 66]),
    ],
)
def test_files_named_after_names_of_others_are_taken_by_every_system(names: list[str], files: list[str]) -> None:
    assert file_names(names, otherwise="mixture") == files


@given(st.lists(st.text(max_size=12), max_size=6))
def test_every_file_name_is_one_that_is_not_refused_and_no_two_are_the_same(names: list[str]) -> None:
    files = file_names(names, otherwise="stem")
    assert len({normalized(file).casefold() for file in files}) == len(files)
    for file in files:
        refuse_unwritable(file, "file name")
