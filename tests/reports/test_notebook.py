"""A notebook shows what it has: a sound and its spectrogram, a dictionary's card, a separation's stems."""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
import soundfile
import torch
from front_end import mixture, sound, trained

from sepdict import Audio, Dictionary, Separation, SeparationConfig, separate
from sepdict.dictionaries.exemplars import encode_exemplars
from sepdict.reports import notebook

EVIL = '<img src=x onerror="alert(1)">\u202e'


def html_of(thing: Any) -> str:
    html = thing._repr_html_()
    assert isinstance(html, str)
    return html


def text_of(thing: Any) -> str:
    """The same without what is embedded, which is long and says nothing."""
    return re.sub(r'base64,[^"]+', "", html_of(thing))


def embedded(html: str) -> list[tuple[str, bytes]]:
    found = re.findall(r'src="data:([\w/]+);base64,([^"]+)"', html)
    return [(kind, base64.b64decode(content)) for kind, content in found]


@pytest.fixture(scope="module")
def separation() -> Separation:
    return separate(mixture(), [trained("hiss"), trained("hum")], SeparationConfig().at_quality("draft"))


def with_exemplars() -> Dictionary:
    return replace(trained("hiss"), exemplars=encode_exemplars(torch.rand(65, 300), n_most_frames=1000))


def test_a_sound_can_be_seen_and_heard() -> None:
    html = html_of(sound(n_samples=16000, n_channels=2))
    assert "2.0 s, 2 channels, 8000 Hz" in html
    (picture, png), (kind, mp3) = embedded(html)
    assert (picture, png[:4]) == ("image/png", b"\x89PNG")
    assert kind == "audio/mpeg"
    with soundfile.SoundFile(io.BytesIO(mp3)) as file:
        assert (file.channels, file.samplerate) == (2, 8000)
        assert abs(file.frames - 16000) < 3000  # an encoder pads


def test_a_separation_shows_each_stem_and_how_it_went(separation: Separation) -> None:
    html = text_of(separation)
    assert separation.summary in unescape(html)
    assert html.count("<audio") == html.count("<img") == 2
    assert html.index("<b>hiss</b>") < html.index("<b>hum</b>")


def test_a_dictionary_shows_its_card_and_its_exemplars() -> None:
    html = html_of(with_exemplars())
    assert "<b>hiss</b>" in html
    assert "8000 Hz" in html
    assert len(embedded(html)) == 1
    assert not embedded(html_of(trained("hiss")))


@pytest.mark.parametrize("thing", [replace(sound(), name=EVIL), trained("hiss")], ids=["sound", "dictionary"])
def test_names_are_escaped(thing: Any) -> None:
    if isinstance(thing, Dictionary):
        thing = Dictionary(replace(thing.card, heard=({**thing.card.heard[0], "name": EVIL[:-1]},)), thing.network)
    html = text_of(thing)
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=" in html
    assert "\u202e" not in html


def test_what_is_shown_asks_nothing_of_anybody(separation: Separation) -> None:
    for thing in (sound(), with_exemplars(), separation):
        html = text_of(thing)
        assert not re.findall(r"https?:|//|url\(|<script|<link|<iframe", html)


def test_of_long_sounds_and_many_stems_a_part_is_embedded(
    monkeypatch: pytest.MonkeyPatch, separation: Separation
) -> None:
    monkeypatch.setattr(notebook, "SHOWN_S", 0.5)
    long = html_of(sound(n_samples=80000))
    assert "; the first 0.5 s are shown" in text_of(sound(n_samples=80000))
    assert len(long) < len(html_of(sound(n_samples=8000))) + 500
    many = {f"stem {number}": Audio(torch.rand(1, 800), 8000) for number in range(20)}
    html = text_of(replace(separation, stems=many))
    assert html.count("<audio") == notebook.MOST_STEMS
    assert "stem 19" in html


@pytest.mark.parametrize("samples", [torch.zeros(1, 4000), torch.ones(1, 1), 1e30 * torch.ones(3, 500)])
def test_silence_clicks_and_excess_are_shown_too(samples: torch.Tensor) -> None:
    html = text_of(Audio(samples, 8000))
    assert "<audio" in html
    assert ("silent" in html) == (not samples.any())


@pytest.mark.slow
def test_drawing_loads_when_first_asked_for() -> None:
    program = "import sys, sepdict; sepdict.Audio; print('sepdict.reports.notebook' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
