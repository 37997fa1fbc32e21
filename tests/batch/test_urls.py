"""Object stores are not read nor written: every URL is refused as one, in one line."""

import re
from pathlib import Path

import pytest
from front_end import fail, trained, tree, write_mixtures

from sepdict.batch.config import BatchConfig
from sepdict.batch.run import separate_files, separate_folder
from sepdict.batch.verification import check_folder
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError, SepdictError
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


@pytest.mark.parametrize(
    "words",
    [
        ["separate", "s3://bucket/in/a.wav", "-d", "a.safetensors"],
        ["separate", "s3://bucket/in", "-d", "a.safetensors", "--cluster", "tcp://127.0.0.1:1"],
        ["separate", "a.wav", "-d", "s3://bucket/in/a.safetensors"],
        ["separate", "a.wav", "-d", "a.safetensors", "-o", "s3://bucket/in", "--cluster", "tcp://127.0.0.1:1"],
        ["separate", "a.wav", "-d", "a.safetensors", "-d", "b.safetensors", "--references", "s3://bucket/in"],
        ["separate", "a.wav", "-d", "a.safetensors", "-d", "b.safetensors", "--guide", "hiss=s3://bucket/in/g.wav"],
        ["separate", "a.wav", "--labels", "s3://bucket/in/labels.txt"],
        ["train-dictionary", "s3://bucket/in", "-o", "c.safetensors"],
        ["train-dictionary", "a.wav", "-o", "s3://bucket/in/c.safetensors"],
        ["train-dictionary", "in", "--each", "-o", "s3://bucket/in", "--cluster", "tcp://127.0.0.1:1"],
        ["check", "s3://bucket/in"],
        ["info", "s3://bucket/in/a.safetensors"],
    ],
    ids=" ".join,
)
def test_the_command_refuses_a_url_as_one_before_any_work(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mixtures(tmp_path, "a")
    write_mixtures(tmp_path / "in", "a")
    for name, dictionary in zip("ab", pair, strict=True):
        dictionary.save(f"{name}.safetensors")
    there = tree(tmp_path)
    refusal = r"sepdict: s3://bucket/in\S*: is a URL; expected a file or folder: mount the store as one, or copy .*"
    assert re.fullmatch(refusal, fail(*words))
    assert tree(tmp_path) == there


def test_from_python_urls_are_refused_as_such(tmp_path: Path, pair: list[Dictionary]) -> None:
    (result,) = separate_files(["s3://bucket/a.wav"], pair, tmp_path / "out", BatchConfig(QUICK))
    refusals = [str(result.error)]
    write_mixtures(tmp_path, "a")
    for refused in (
        lambda: separate_folder("s3://bucket/in", pair, tmp_path / "out"),
        lambda: separate_folder(tmp_path, ["s3://bucket/a.safetensors"], tmp_path / "out"),
        lambda: pair[0].save("s3://bucket/a.safetensors"),
        lambda: check_folder("s3://bucket/out"),
    ):
        with pytest.raises(SepdictError) as refusal:
            refused()
        refusals.append(str(refusal.value))
    assert all(each.startswith("s3://bucket/") and ": is a URL; " in each for each in refusals), refusals


def test_a_url_is_no_output_folder(tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^s3://bucket/out: is a URL; expected a file or folder: mount the store"):
        separate_files(paths, pair, "s3://bucket/out", BatchConfig(QUICK))
    assert not (tmp_path / "s3:").exists()
