"""Pictures are whole, of their size, the same each time, and show any name as it is; nothing global is touched."""

import struct
import subprocess
import sys
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forgery import RECORDING
from matplotlib.figure import Figure

from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.inspection import ExcitingInputs, Manifold, atoms, exciting_inputs, manifold
from sepdict.errors import ConfigError
from sepdict.reports import plots
from sepdict.training.learning_curve import LearningCurve

DATA = Path(__file__).parents[2] / "data"
CURVE = LearningCurve((0.2, 0.4, 0.8, 1.6), (0.5, 0.4, 0.3, 0.29))
AWKWARD = "a$^$b"  # what matplotlib would take for a formula, a wrong one


@pytest.fixture(scope="module")
def violin() -> Dictionary:
    return Dictionary.load(DATA / "violin.safetensors")


@pytest.fixture(scope="module")
def pictures(violin: Dictionary) -> dict[str, Figure]:
    card = replace(violin.card, source=AWKWARD)
    return {
        "atoms": plots.draw_atoms(atoms(violin), card),
        "units": plots.draw_units(exciting_inputs(violin, n_steps=2), card),
        "manifold": plots.draw_manifold(manifold(violin), card),
        "curves": plots.draw_curves(card),
        "learning_curve": plots.draw_learning_curve(CURVE, card),
    }


NAMES = ["atoms", "units", "manifold", "curves", "learning_curve"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_png_is_as_large_as_its_figure(pictures: dict[str, Figure], name: str) -> None:
    content = plots.encode_picture(pictures[name], "png")
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    promised = tuple(int(inches * plots.DPI) for inches in pictures[name].get_size_inches())
    assert struct.unpack(">II", content[16:24]) == promised


@pytest.mark.slow
@pytest.mark.parametrize("name", ["atoms", "curves"])
def test_an_svg_is_valid_small_and_the_same_each_time(violin: Dictionary, name: str) -> None:
    def content() -> bytes:
        figure = plots.draw_curves(violin.card) if name == "curves" else plots.draw_atoms(atoms(violin), violin.card)
        return plots.encode_picture(figure, "svg")

    assert content() == content()
    assert xml.etree.ElementTree.fromstring(content()).tag.endswith("svg")
    assert len(content()) < 2e6  # spectra are images inside: a path for each cell would be ten times as much


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_picture_is_cut_off_or_written_over_a_title(pictures: dict[str, Figure], name: str) -> None:
    figure = pictures[name]
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    texts = [axes.title for axes in figure.axes if axes.title.get_text()]
    for text in (figure._suptitle, *texts, *(axes.xaxis.label for axes in figure.axes)):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_bars_are_the_seconds_of_the_card(violin: Dictionary) -> None:
    assert [name for name, _ in plots._bars(violin.card.heard)] == [heard["name"] for heard in violin.card.heard]
    for (_, parts), heard in zip(plots._bars(violin.card.heard), violin.card.heard, strict=True):
        assert sum(parts) == pytest.approx(heard["duration_s"])
        assert parts[1:] == (heard["held_out_s"], heard["silence_s"])


def test_of_very_many_recordings_the_shortest_share_a_bar() -> None:
    heard = [{"name": f"{n}", "duration_s": float(n), "held_out_s": 0.5, "silence_s": 0.25} for n in range(1, 101)]
    bars = plots._bars(heard)
    assert len(bars) == plots.MOST_RECORDINGS
    assert [name for name, _ in bars[:2]] == ["100", "99"]
    name, parts = bars[-1]
    assert name == "mean of 77 shorter ones"
    assert sum(parts) == pytest.approx(np.mean(range(1, 78)))


def test_long_names_keep_their_beginning_and_end() -> None:
    name = plots._shortened("x" * 50 + "take 7.wav")
    assert len(name) <= plots.LONGEST_NAME
    assert name.endswith("take 7.wav")
    assert plots._shortened("short.wav") == "short.wav"


def empty(card: Card) -> Card:
    return replace(card, heard=(), curves={}, training={})


@pytest.mark.slow
def test_a_card_that_says_nothing_a_silent_unit_and_no_pitch_can_be_drawn(violin: Dictionary) -> None:
    noise = Manifold(torch.randn(2, 9), (0.5, 0.2), -torch.rand(9), torch.full((9,), torch.nan))
    blank = ExcitingInputs(torch.arange(2), torch.stack([torch.ones(513), torch.zeros(513)], dim=1), torch.ones(2))
    figures = [
        plots.draw_curves(empty(violin.card)),
        plots.draw_curves(replace(empty(violin.card), heard=(RECORDING,), curves={"validation": (1.0,)})),
        plots.draw_manifold(noise, violin.card),
        plots.draw_units([blank], violin.card),
        plots.draw_units([], violin.card),
    ]
    for figure in figures:
        assert len(plots.encode_picture(figure, "png")) > 1000
    drawn = figures[3].axes[0].collections[0].get_array()
    assert np.isfinite(drawn[:, 0]).all()
    assert np.ma.getmaskarray(drawn)[:, 1].all()
    assert "1 (gray, at the right) that nothing excites" in figures[3].axes[0].get_xlabel()


def test_names_in_a_script_that_the_font_lacks_do_not_stop_a_picture(violin: Dictionary) -> None:
    assert plots.encode_picture(plots.draw_curves(replace(violin.card, source="小提琴")), "png")


def test_mel_is_undone(generator: torch.Generator) -> None:
    hz = 20000 * torch.rand(100, generator=generator).double().numpy()
    np.testing.assert_allclose(plots._from_mel(plots._to_mel(hz)), hz)


def test_other_formats_are_refused(pictures: dict[str, Figure]) -> None:
    with pytest.raises(ConfigError, match="picture format is 'gif'; expected one of png, svg"):
        plots.encode_picture(pictures["curves"], "gif")


PROGRAM = """
import sys, sepdict
assert not {"matplotlib", "librosa"} & set(sys.modules), "imported before it is needed"
from sepdict.reports import plots
card = sepdict.Dictionary.load(sys.argv[1]).card
plots.encode_picture(plots.draw_curves(card), "png")
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.slow
def test_it_needs_no_display_no_pyplot_and_no_matplotlib_before_the_first_picture() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(DATA / "violin.safetensors")], check=True)
