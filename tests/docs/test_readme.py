"""What README and the demo promise."""

import hashlib
import math
import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
import torch
from front_end import succeed, train_mask_estimators_briefly

import sepdict
from sepdict import Dictionary, MarkingConfig, read_audio, read_labels
from sepdict.audio.discovery import find_audio_files

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The contents of README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"default": replace(sepdict.PRESETS["default"], n_steps=20)}
    for module in ("config", "train"):
        monkeypatch.setattr(f"sepdict.training.{module}.PRESETS", MappingProxyType(short))
    train_mask_estimators_briefly(monkeypatch, n_steps=20)
    (tmp_path / "data").symlink_to(DATA)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(code, {})
    assert re.fullmatch(r"\d+\.\d% of the energy explained; .*\n", capsys.readouterr().out)
    assert read_audio(tmp_path / "solo.wav").duration_s == 3
    stems = [read_audio(tmp_path / "stems" / f"{source}.wav").samples for source in ("violin", "piano")]
    mixture = read_audio(DATA / "duet.flac").samples
    torch.testing.assert_close(sum(stems), mixture, rtol=0, atol=1e-6)  # 32-bit floats below one


@pytest.mark.slow
def test_the_demo_command_of_the_readme_separates_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(DATA)
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path / "cache"))  # not what other tests trained for fewer steps
    train_mask_estimators_briefly(monkeypatch, n_steps=300, most_adaptation_steps=50)  # a tenth of the training
    monkeypatch.chdir(tmp_path)
    _, command, *_ = blocks("sh")
    words = shlex.split(command.replace("\\\n", ""))
    lines = succeed(*words[words.index("sepdict") + 1 :])
    mean = next(line for line in lines if line.startswith("mean")).split()
    assert float(mean[2]) > 8  # dB of SI-SDR improvement; what README shows is higher
    assert {path.name for path in (tmp_path / "separated/duet").iterdir()} == {
        "violin.wav",
        "piano.wav",
        "manifest.json",
    }


@pytest.mark.slow
def test_the_marked_demo_of_the_readme_separates_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(DATA)
    monkeypatch.setattr("sepdict.marking.learning.MarkingConfig", brief_marking())
    train_mask_estimators_briefly(monkeypatch, n_steps=150, most_adaptation_steps=20)
    monkeypatch.chdir(tmp_path)
    command, *_ = blocks("sh")
    words = shlex.split(command)
    stems = [read_audio(line) for line in succeed(*words[words.index("sepdict") + 1 :]) if line.endswith(".wav")]
    mixture, together_s = read_audio(DATA / "reading.flac"), read_labels(DATA / "reading.txt")[-1].end_s + 0.25
    gains = []
    for stem in stems:
        reference = read_audio(DATA / "reading_references" / f"{Path(stem.name).stem}.flac")
        parts = [each.seconds(together_s).samples for each in (stem, reference, mixture)]
        gains.append(float(sepdict.si_sdr_improvement(*parts)))
    assert len(gains) == 2
    assert min(gains) > 4  # dB; trained in full, both gain what README says


def brief_marking() -> type[MarkingConfig]:
    """Stand in for the settings of learning from labels: a fifth of the training."""
    training = replace(MarkingConfig().training, n_steps=120)
    return cast("type[MarkingConfig]", partial(MarkingConfig, training))


def test_the_readme_fits_on_a_page_or_two() -> None:
    assert len(README.encode()) <= 8192


@pytest.mark.parametrize("name", ["duet", "narration", "reading"])
def test_each_demo_mixture_is_the_sum_of_its_references(name: str) -> None:
    references = [read_audio(path).samples for path in find_audio_files([DATA / f"{name}_references"])]
    assert torch.equal(read_audio(DATA / f"{name}.flac").samples, sum(references))  # 16-bit steps add up exactly


def test_the_labels_of_the_reading_say_when_one_source_is_heard_alone() -> None:
    parts = {path.stem: read_audio(path) for path in find_audio_files([DATA / "reading_references"])}
    labels = read_labels(DATA / "reading.txt")
    assert sorted(label.name for label in labels) == sorted(parts)
    for label in labels:
        levels = {name: part.seconds(label.start_s, label.end_s).level_db for name, part in parts.items()}
        assert levels.pop(label.name) > -30
        assert set(levels.values()) == {-math.inf}
    together = {name: part.seconds(labels[-1].end_s).level_db for name, part in parts.items()}
    assert min(together.values()) > -30


def test_the_checksums_of_the_demo_are_those_of_its_files() -> None:
    table = re.findall(r"^\| `(.+?)` \|.*`(\w{64})` \|$", (DATA / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    files = [path for path in DATA.rglob("*") if path.suffix in (".flac", ".txt", ".safetensors")]
    found = {str(path.relative_to(DATA)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert dict(table) == found


@pytest.mark.parametrize("source", ["violin", "piano", "speech"])
def test_each_demo_dictionary_heard_exactly_the_demo_solos(source: str) -> None:
    heard = {recording["name"] for recording in Dictionary.load(DATA / f"{source}.safetensors").card.heard}
    assert heard == {path.name for path in (DATA / "solos" / source).iterdir()}
