"""A separation is a mapping of its stems, is saved as it is, and is the same however its mixture was given."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from front_end import mixture, sound, trained

from sepdict import Audio, Separation, SeparationConfig, evaluate, read_audio, separate, write_audio
from sepdict.errors import AudioFileError, ConfigError

DRAFT = SeparationConfig().at_quality("draft")


@pytest.fixture(scope="module")
def separation() -> Separation:
    return separate(mixture(n_channels=2), [trained("hiss"), trained("hum")], DRAFT)


def same(one: Mapping[str, Audio], other: Mapping[str, Audio]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name].samples, other[name].samples) for name in one)


def test_a_path_a_pair_and_an_audio_are_separated_alike_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separation: Separation
) -> None:
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path))
    trained("hiss").save(tmp_path / "hiss.safetensors")
    audio = mixture(n_channels=2)
    path = write_audio(tmp_path / "duet.wav", audio)
    array = audio.samples.numpy()
    before = array.copy()
    for given in (path, str(path), (array, audio.sample_rate), (audio.samples, audio.sample_rate)):
        again = separate(given, ["hiss", trained("hum")], DRAFT)
        assert same(again, separation)
    assert (array == before).all()


def test_a_separation_is_a_mapping_of_its_stems(separation: Separation) -> None:
    assert list(separation) == ["hiss", "hum"]
    assert len(separation) == 2
    assert separation["hum"] is separation.stems["hum"]
    assert dict(separation) == separation.stems
    assert "viola" not in separation
    with pytest.raises(KeyError, match="there is no stem 'viola'; expected one of 'hiss', 'hum'"):
        separation["viola"]
    references = {"hiss": sound("hiss", n_channels=2), "hum": sound("hum", n_channels=2, seed=1)}
    assert evaluate(separation, references) == evaluate(separation.stems, references)


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_saved_stems_are_the_stems(tmp_path: Path, separation: Separation, extension: str) -> None:
    paths = separation.save(tmp_path / "new" / "duet", format=extension)
    assert list(paths) == list(separation)
    assert sorted(paths.values()) == sorted((tmp_path / "new" / "duet").iterdir())
    step = 0 if extension == "wav" else 2**-23
    for name, path in paths.items():
        saved = read_audio(path)
        torch.testing.assert_close(saved.samples, separation[name].samples, rtol=0, atol=step)
        assert saved.sample_rate == separation[name].sample_rate


def test_files_that_exist_are_replaced_only_when_asked(tmp_path: Path, separation: Separation) -> None:
    kept = tmp_path / "hum.wav"
    kept.write_text("somebody's")
    with pytest.raises(ConfigError, match=r"hum\.wav: exists already"):
        separation.save(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["somebody's"]
    separation.save(tmp_path, overwrite=True)
    assert torch.equal(read_audio(kept).samples, separation["hum"].samples)


def test_where_one_stem_cannot_be_written_none_is(tmp_path: Path, separation: Separation) -> None:
    loud = replace(separation, stems={**separation, "loud": Audio(torch.ones(1, 8) * 1.5, 8000)})
    with pytest.raises(AudioFileError, match=r"loud\.flac: peak is 1\.500"):
        loud.save(tmp_path / "duet", format="flac")
    assert not (tmp_path / "duet").exists()


def test_an_unknown_format_is_refused(tmp_path: Path, separation: Separation) -> None:
    with pytest.raises(ConfigError, match="format is 'zip'; expected one of wav, flac"):
        separation.save(tmp_path, format="zip")


def test_a_summary_says_how_it_went_and_of_silence_that_there_was_nothing(separation: Separation) -> None:
    assert f"{separation.explained_energy:.1%} of the energy explained; " in separation.summary
    silent = separate((torch.zeros(6000), 8000), [trained("hiss"), trained("hum")], DRAFT)
    assert math.isnan(silent.explained_energy)
    assert silent.summary == "silent, there was nothing to separate"
    assert repr(silent) == "Separation(hiss, hum; silent, there was nothing to separate)"
