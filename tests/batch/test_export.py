"""In which form stems are handed over."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sepdict._core.names import RESIDUAL
from sepdict.audio.formats import ENCODINGS, WRITTEN_FORMATS
from sepdict.batch.export import OutputConfig
from sepdict.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "aiff"}, r"format is 'aiff'; expected one of wav, flac, mp3, ogg"),
        ({"bit_depth": "8"}, r"bit depth of wav is '8'; expected float or 24 or 16"),
        ({"format": "flac", "bit_depth": "float"}, r"bit depth of flac is 'float'; expected 24 or 16"),
        ({"format": "mp3", "bit_depth": "16"}, r"bit depth of mp3 is '16'; it is lossy and has none: leave it out"),
        ({"clip_mode": "loud"}, r"clip mode is 'loud'; expected one of rescale, clamp, none"),
        ({"residual_name": "a/b"}, r"the residual's name is 'a/b'; expected a name that can be a file's"),
        ({"residual_name": ""}, r"the residual's name is ''; expected"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OutputConfig(**settings)


@pytest.mark.parametrize(
    "filename",
    [
        *("", "{track}/{source}", "{track}.{ext}", "{source}.{ext}.bak", "{track}/{source}.wav"),
        *("{track}/{stem}.{ext}", "{track}/{source}{}.{ext}", "{0}{source}.{ext}", "{track.x}{source}.{ext}"),
        *("{track[0]}{source}.{ext}", "{source:>9}.{ext}", "{source!r}.{ext}", "{source.{ext}", "source}.{ext}"),
        *("/{track}/{source}.{ext}", "../{track}/{source}.{ext}", "{track}/../../{source}.{ext}"),
        *("{source}/{track}/.{ext}", "{track}\0{source}.{ext}"),
    ],
)
def test_a_template_that_cannot_name_every_stem_below_the_output_folder_is_refused(filename: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        OutputConfig(filename=filename)
    assert repr(filename) in str(refusal.value)
    assert "expected {track}, {source} and, at the end, .{ext}" in str(refusal.value)


@pytest.mark.parametrize(
    ("filename", "path"),
    [
        ("{track}/{source}.{ext}", "a/b/violin.flac"),
        ("{source}/{track}.{ext}", "violin/a/b.flac"),
        ("{track}_{source}.{ext}", "a/b_violin.flac"),
        ("{source} of {track} {{1}}.{ext}", "violin of a/b {1}.flac"),
        ("{ext}/{source}/{track}.{ext}", "flac/violin/a/b.flac"),
    ],
)
def test_files_go_where_the_template_says(filename: str, path: str) -> None:
    assert OutputConfig(format="flac", filename=filename).path("a/b", "violin") == Path(path)


def test_names_in_braces_stay_what_they_are() -> None:
    assert OutputConfig().path("{source}", "{track}") == Path("{source}/{track}.wav")


def test_every_format_is_one_that_can_be_written_and_the_default_is_its_most_faithful() -> None:
    for name, depths in ENCODINGS.items():
        _, faithful = WRITTEN_FORMATS[f".{name}"]
        assert OutputConfig(format=name).encoding == (faithful if depths else None)


def test_two_stems_are_the_one_that_is_wanted_and_the_sum_of_the_others() -> None:
    stems = torch.arange(3 * 2 * 4.0).reshape(3, 2, 4)
    names = ["violin", "piano", RESIDUAL]
    output = OutputConfig(two_stems="piano")
    assert output.stems(names) == ["piano", "no_piano"]
    wanted, others = output.mixed(stems, names)
    assert torch.equal(wanted, stems[1])
    assert torch.equal(others, stems[0] + stems[2])


def test_the_residual_is_called_as_asked_and_can_be_the_stem_that_is_wanted() -> None:
    assert OutputConfig(residual_name="rest").stems(["violin", RESIDUAL]) == ["violin", "rest"]
    output = OutputConfig(residual_name="rest", two_stems="rest")
    assert output.stems(["violin", RESIDUAL]) == ["rest", "no_rest"]
    assert torch.equal(output.mixed(torch.eye(2)[:, None], ["violin", RESIDUAL]), torch.eye(2).flip(0)[:, None])


def test_names_that_clash_or_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="is to be called 'violin', like a source"):
        OutputConfig(residual_name="violin").stems(["violin", RESIDUAL])
    with pytest.raises(ConfigError, match="is to be called 'VIOLIN', like a source"):  # one file, on some systems
        OutputConfig(residual_name="VIOLIN").stems(["violin", RESIDUAL])
    with pytest.raises(ConfigError, match="two stems are to be of 'drums'; expected one of violin, residual"):
        OutputConfig(two_stems="drums").stems(["violin", RESIDUAL])


def test_all_stems_are_written_unless_two_are_asked_for() -> None:
    stems = torch.ones(3, 1, 5)
    assert OutputConfig().mixed(stems, ["a", "b", "c"]) is stems
