"""A dictionary's portrait: all pictures and sounds or none, from Python and from the command line."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from front_end import TINY, fail, run, sound, succeed, trained, tree, write_mixtures

from sepdict.audio.io import read_audio
from sepdict.audio.writing import write_audio
from sepdict.errors import ConfigError
from sepdict.reports import dictionary_report as portrait
from sepdict.reports.dictionary_report import inspect_dictionary
from sepdict.training.train import train_dictionary

PICTURES = ["atoms", "units", "curves"]
SOUNDS = ["excited.wav", "walk.wav"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make short sounds and coarse pictures."""
    monkeypatch.setattr(portrait, "SOUND_S", 0.5)
    monkeypatch.setattr("sepdict.reports.plots.DPI", 40)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return trained("hiss").save(tmp_path / "hiss.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("picture_format", ["png", "svg"])
def test_the_paths_returned_are_all_that_is_written(
    tmp_path: Path, picture_format: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        written = inspect_dictionary(trained("hiss"), tmp_path, picture_format=picture_format)
    names = [*(f"{name}.{picture_format}" for name in PICTURES), *SOUNDS]
    assert written == [tmp_path / "hiss" / name for name in names]
    assert set(tree(tmp_path)) == {"hiss", *(f"hiss/{name}" for name in names)}
    assert caplog.messages == ["hiss has no exemplars, so there is no picture of its manifold"]
    assert read_audio(written[-1]).duration_s == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
def test_what_is_remembered_and_what_more_sound_brings_is_drawn_too(tmp_path: Path) -> None:
    solos = [sound("hiss", n_samples=80000)]
    dictionary = train_dictionary(solos, replace(TINY, exemplars_s=5), source="hiss")
    written = inspect_dictionary(dictionary, tmp_path, solos=solos, config=replace(TINY, n_steps=4))
    assert [path.name for path in written] == [
        *(f"{name}.png" for name in ("atoms", "units", "manifold", "curves", "learning_curve")),
        *SOUNDS,
    ]


@pytest.mark.slow
def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "hiss").mkdir()
    (tmp_path / "hiss/walk.wav").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"walk\.wav: exists already; overwrite it, or choose another folder"):
        inspect_dictionary(trained("hiss"), tmp_path)
    assert tree(tmp_path) == before
    inspect_dictionary(trained("hiss"), tmp_path, overwrite=True)
    assert (tmp_path / "hiss/walk.wav").read_bytes().startswith(b"RIFF")


def test_if_a_picture_fails_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sepdict.reports.plots.draw_curves", stumble)  # the last one
    with pytest.raises(ZeroDivisionError):
        inspect_dictionary(trained("hiss"), tmp_path / "deep" / "folder")
    assert tree(tmp_path) == {}


def test_an_unknown_format_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="picture format is 'pdf'; expected one of png, svg"):
        inspect_dictionary(trained("hiss"), tmp_path, picture_format="pdf")
    assert tree(tmp_path) == {}


@pytest.mark.slow
def test_dictionaries_are_inspected_from_the_command_line(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hum = trained("hum").save(tmp_path / "hum.safetensors")
    names = [*(f"{name}.png" for name in PICTURES), *SOUNDS]
    result = run("inspect", file, hum)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        str(tmp_path / "inspected" / source / name) for source in ("hiss", "hum") for name in names
    ]
    notes = result.stderr.splitlines()
    assert [line for line in notes if line.startswith("inspecting")] == ["inspecting hiss", "inspecting hum"]
    assert "hiss/atoms.png: exists already" in error_lines_of("inspect", file)
    succeed("inspect", file, "--overwrite", "--format", "svg", "-o", tmp_path / "other")
    assert (tmp_path / "other/hiss/units.svg").exists()


def error_lines_of(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


@pytest.mark.slow
def test_a_learning_curve_is_drawn_from_the_command_line(tmp_path: Path, file: Path) -> None:
    solos = tmp_path / "solos"
    solos.mkdir()
    write_audio(solos / "hiss.wav", sound("hiss", n_samples=80000))
    lines = succeed("inspect", file, "-o", tmp_path / "out", "--learning-curve", solos)
    assert lines[3] == str(tmp_path / "out/hiss/learning_curve.png")


def test_what_cannot_be_inspected_together_is_one_line(tmp_path: Path, file: Path) -> None:
    hum = trained("hum").save(tmp_path / "hum.safetensors")
    assert "2 dictionaries are of source 'hiss'; inspect them into a folder each" in fail("inspect", file, file)
    write_mixtures(tmp_path, "solo")
    assert "one source's solos, but there are 2" in fail("inspect", file, hum, "--learning-curve", tmp_path)
    assert "no such file or folder" in fail("inspect", file, "--learning-curve", tmp_path / "none")
    assert "none.safetensors: " in fail("inspect", file, tmp_path / "none.safetensors")
    assert set(tree(tmp_path)) == {"hiss.safetensors", "hum.safetensors", "solo.wav"}


def test_a_device_that_is_not_there_is_refused_before_anything_is_drawn(tmp_path: Path, file: Path) -> None:
    assert "'vulkan' cannot be used here" in error_lines_of("inspect", file, "--device", "vulkan", "-o", tmp_path / "o")
    assert not (tmp_path / "o").exists()
