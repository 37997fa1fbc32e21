"""What is given to a public function is checked against its annotations: no other error reaches the caller."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_end import sound, trained

import sepdict
from sepdict import (
    TrainingConfig,
)
from sepdict.errors import SepdictError

api: Any = sepdict  # untyped, for it is called in ways that a type checker refuses
FUNCTIONS = [name for name in sepdict.__all__ if inspect.isfunction(getattr(sepdict, name))]


def right(name: str, function: str) -> Any:
    """An argument of each name that is as it should be."""
    if function == "bss_eval":
        return sound()
    values = {
        **dict.fromkeys(("mixture", "recordings", "audio", "estimate", "reference", "recording"), sound()),
        **{name: {"hiss": sound()} for name in ("estimates", "references", "stems")},
        **dict.fromkeys(("folder", "out", "path"), "nowhere"),
        "dictionaries": [trained("hiss"), trained("hum")],
        "dictionary": trained("hiss"),
        "config": TrainingConfig(),
        "amounts": {"l2": 0.1},
        "labels": [],
        "keep": ["hum"],
        **dict.fromkeys(("source", "name"), "hiss"),
    }
    return values[name]


def arguments() -> list[tuple[str, str]]:
    """Every argument of every public function."""
    return [(name, argument) for name in FUNCTIONS for argument in inspect.signature(getattr(sepdict, name)).parameters]


@pytest.mark.parametrize(("function", "argument"), arguments(), ids=lambda name: name)
def test_every_argument_of_another_type_is_refused_in_one_line_by_name(function: str, argument: str) -> None:
    called: Callable[..., object] = getattr(sepdict, function)
    required = [p.name for p in inspect.signature(called).parameters.values() if p.default is p.empty]
    given = {name: right(name, function) for name in required} | {argument: object()}
    with pytest.raises(SepdictError, match=rf"^{argument} is <object obj.*; expected ") as refused:
        called(**given)
    assert "\n" not in str(refused.value)


EMPTY: list[tuple[str, Callable[[], object]]] = [
    ("recordings", lambda: api.train_dictionary("", source="x")),
    ("recordings[1]", lambda: api.train_dictionary([sound(), ""], source="x")),
    ("mixture", lambda: api.separate("", [trained("hiss")])),
    ("dictionaries[0]", lambda: api.separate(sound(), [""])),
    ("labels", lambda: api.separate_marked(sound(), "")),
    ("references", lambda: api.BatchConfig(references="")),
    ("estimates", lambda: api.evaluate("", {})),
    ("stems['a']", lambda: api.sounding_labels({"a": ""})),
    ("folder", lambda: api.separate_folder("", [trained("hiss")], "out")),
    ("out", lambda: api.separate_folder(".", [trained("hiss")], "")),
    ("name", lambda: api.load_dictionary("")),
    ("path", lambda: api.write_audio("", sound())),
    ("path", lambda: api.read_audio("")),
    ("path", lambda: trained("hiss").save("")),
    ("path", lambda: api.Dictionary.load("")),
]


@pytest.mark.parametrize(("argument", "call"), EMPTY)
def test_an_empty_path_does_not_stand_for_the_present_folder(argument: str, call: Callable[[], object]) -> None:
    with pytest.raises(SepdictError, match=rf"^{re.escape(argument)} is '', an empty path; expected [^\n]*$"):
        call()


SOUND = r"Audio, the path of a file or \(samples, sample_rate\)"
DICTIONARY = "Dictionary, or the path or installed name of one"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: api.train_dictionary(5, source="x"),
            rf"recordings is 5; expected {SOUND} or a list of {SOUND}",
        ),
        (lambda: api.train_dictionary([np.ones(3)], source="x"), rf"recordings\[0\] is array.*; expected {SOUND}"),
        (lambda: api.train_dictionary([sound(), None], source="x"), rf"recordings\[1\] is None; expected {SOUND}"),
        (
            lambda: api.train_dictionary(sound(), source="x", backgrounds=[3]),
            rf"backgrounds\[0\] is 3; expected {SOUND}",
        ),
        (lambda: api.write_audio(sound(), "a.wav"), r"path is Audio\(.*; expected str or Path"),
        (lambda: api.write_audio("a.wav", np.ones(3)), rf"audio is array.*; expected {SOUND}"),
        (lambda: api.separate(sound(), [3]), rf"dictionaries\[0\] is 3; expected {DICTIONARY}"),
        (
            lambda: api.separate(sound(), trained("hiss")),
            rf"dictionaries is Dictionary\(.*; expected a list of {DICTIONARY}",
        ),
        (lambda: api.separate(sound(), "violin"), rf"dictionaries is 'violin'; expected a list of {DICTIONARY}"),
        (lambda: api.separate(np.ones(3), [trained("hiss")]), rf"mixture is array.*; expected {SOUND}"),
        (lambda: api.separate(("a.wav", "b.wav"), [trained("hiss")]), rf"mixture is \('a.wav.*; expected {SOUND}"),
        (lambda: api.SeparationConfig(residual="rest"), "residual is 'rest'; expected bool"),
        (lambda: api.SeparationConfig(segment_s="60"), "segment_s is '60'; expected float"),
        (
            lambda: api.separate(sound(), [trained("hiss")], on_progress="yes"),
            "on_progress is 'yes'; expected a function",
        ),
        (
            lambda: api.evaluate([sound()], {}),
            r"estimates is \[Audio.*; expected a mapping of source names to sounds, or the path of a folder of them",
        ),
        (lambda: api.evaluate({"a": 5}, {}), rf"estimates\['a'\] is 5; expected {SOUND}"),
        (lambda: api.synthesize(5), rf"dictionary is 5; expected {DICTIONARY}"),
        (lambda: api.separate_folder(Path("in"), [trained("hiss")], None), "out is None; expected str or Path"),
        (lambda: api.Audio(np.ones(3), "16000"), "sample_rate is '16000'; expected float"),
        (lambda: api.Audio(np.ones(3), None), "sample_rate is None; expected float"),
        (lambda: api.Audio(np.ones(3), float("nan")), ".*sample rate is nan Hz; expected a whole number above 0"),
        (lambda: sound().seconds("1"), "start_s is '1'; expected float"),
    ],
)
def test_a_mix_up_says_what_came_and_what_was_expected(call: Callable[[], object], said: str) -> None:
    with pytest.raises(SepdictError, match=f"^{said}$"):
        call()
