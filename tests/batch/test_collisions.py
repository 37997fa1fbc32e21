"""Mixtures whose files would meet: only they fail, and names can be told apart."""

import unicodedata
from pathlib import Path

import pytest
from front_end import (
    constant_bss_eval,
    error_lines,
    mixture,
    read_json,
    run,
    sound,
    succeed,
    trained,
    tree,
    write_mixtures,
    write_references,
)

from sepdict.audio.discovery import below
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.layout import Track
from sepdict.batch.run import separate_files, separate_folder
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.evaluation.scoring import evaluate
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=2), mask_estimator=None)
BY_EXTENSION = "{track}.{mixture_ext}/{source}.{ext}"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Fl\u00f6te") for form in ("NFC", "NFD"))


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


def write_takes(folder: Path) -> list[Path]:
    """Write two mixtures whose names differ in nothing but their extension, and another."""
    folder.mkdir()
    return [write_audio(folder / name, mixture()) for name in ("other.wav", "take.flac", "take.wav")]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_only_mixtures_whose_files_would_meet_fail(tmp_path: Path, pair: list[Dictionary], n_jobs: int) -> None:
    other, flac, wav = write_takes(tmp_path / "in")
    told: list[Path] = []
    results = separate_folder(
        tmp_path / "in",
        pair,
        tmp_path / "out",
        BatchConfig(QUICK, n_jobs=n_jobs),
        on_track=lambda result: told.append(result.mixture),
    )
    assert [result.mixture for result in results] == sorted(told) == [other, flac, wav]
    where = (
        f"would both be written to {tmp_path}/out/take/hiss.wav; rename one, or separate them into different folders"
    )
    errors = [f"{a} and {b} {where}, or have {{mixture_ext}} in --filename" for a, b in [(flac, wav), (wav, flac)]]
    assert [result.error for result in results] == [None, *errors]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["other"]


def test_the_command_says_of_each_file_of_a_clash_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: list[Dictionary]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_takes(tmp_path / "in")
    dictionaries = [f"-d{dictionary.save(Path(f'{dictionary.source}.safetensors'))}" for dictionary in pair]
    result = run("separate", "in", *dictionaries, "--quality=draft")
    assert result.exit_code != 0
    first, second, summary = error_lines(result)
    assert first.startswith("sepdict: in/take.flac and in/take.wav would both be written to ")
    assert second.startswith("sepdict: in/take.wav and in/take.flac would both be written to ")
    assert first.endswith(", or have {mixture_ext} in --filename")
    assert summary.startswith("sepdict: 2 of 3 files failed")
    succeed("separate", "in", *dictionaries, "--quality=draft", "-o", "all", "--filename", BY_EXTENSION)
    assert {path.name for path in Path("all").iterdir()} == {"other.wav", "take.wav", "take.flac"}


def test_a_template_tells_mixtures_apart_by_their_extensions(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_takes(tmp_path / "in")
    settings = {"separation": QUICK, "output": OutputConfig(filename=BY_EXTENSION)}
    results = separate_files(paths, pair, tmp_path / "out", BatchConfig(**settings))
    assert [result.error for result in results] == [None] * 3
    assert results[1].stems["hum"] == tmp_path / "out" / "take.flac" / "hum.wav"
    again = separate_files(paths, pair[:1], tmp_path / "out", BatchConfig(**settings, overwrite=True))
    assert [result.error for result in again] == [None] * 3
    assert {path.name for path in (tmp_path / "out" / "take.flac").iterdir()} == {
        *("hiss.wav", "residual.wav", "manifest.json")
    }
    kept = separate_files(paths, pair[:1], tmp_path / "out", BatchConfig(**settings, skip_existing=True))
    assert all(result.kept for result in kept)
    assert read_json(kept[0].manifest)["settings"]["filename"] == BY_EXTENSION


@pytest.mark.parametrize(
    ("mixture_name", "template", "path"),
    [
        ("take.wav", BY_EXTENSION, "take.wav/hum.flac"),
        ("take", BY_EXTENSION, "take.none/hum.flac"),
        ("take", "{mixture_ext}/{source}.{ext}", "none/hum.flac"),
        ("take.{ext}", BY_EXTENSION, "take.{ext}/hum.flac"),
        ("take.{", "{{{mixture_ext}}}/{source}.{ext}", "{{}/hum.flac"),
        ("take.wav", "{{mixture_ext}}/{track}/{source}.{ext}", "{mixture_ext}/take/hum.flac"),
    ],
)
def test_the_mixtures_extension_stands_where_the_template_has_it(mixture_name: str, template: str, path: str) -> None:
    output = OutputConfig("flac", filename=template)
    track = Track.of(Path(mixture_name), Path("out"), ["hiss", "hum"], output=output)
    assert track.stems["hum"] == Path("out", path)


def test_where_nothing_is_left_without_a_clash_all_is_refused(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_takes(tmp_path / "in")[1:]
    with pytest.raises(ConfigError, match=r"^.*take\.flac and .*take\.wav would both be written to"):
        separate_files(paths, pair, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_look_the_same_clash(tmp_path: Path, pair: list[Dictionary]) -> None:
    write_mixtures(tmp_path / "in", COMPOSED, "other", DECOMPOSED)
    if len(list((tmp_path / "in").iterdir())) < 3:
        pytest.skip("this file system takes both names for one")
    results = separate_folder(tmp_path / "in", pair, tmp_path / "out", BatchConfig(QUICK))
    assert [result.error is None for result in results] == [result.mixture.stem == "other" for result in results]


def test_references_are_found_whichever_way_their_letters_are_composed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    (path,) = write_mixtures(tmp_path, COMPOSED)
    write_references(tmp_path / "true" / DECOMPOSED)
    (tmp_path / "true" / DECOMPOSED / "hum.wav").rename(tmp_path / "true" / DECOMPOSED / f"{DECOMPOSED}.wav")
    pair = [trained("hiss"), trained(COMPOSED)]
    config = BatchConfig(QUICK, references=tmp_path / "true")
    (result,) = separate_files([path], pair, tmp_path / "out", config)
    assert result.error is None
    assert {score.source for score in result.evaluation.scores} == {"hiss", COMPOSED}


def test_estimates_and_references_meet_whichever_way_their_letters_are_composed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    for folder, name in [("estimates", DECOMPOSED), ("references", COMPOSED)]:
        (tmp_path / folder).mkdir()
        write_audio(tmp_path / folder / f"{name}.wav", sound())
    (score,) = evaluate(tmp_path / "estimates", tmp_path / "references").scores
    assert score.source == COMPOSED


def test_what_is_nowhere_is_where_it_would_be(tmp_path: Path) -> None:
    (tmp_path / DECOMPOSED / "in").mkdir(parents=True)
    assert below(tmp_path, f"{COMPOSED}/in") == tmp_path / DECOMPOSED / "in"
    assert below(tmp_path, f"{COMPOSED}/out/x") == tmp_path / DECOMPOSED / "out" / "x"
    assert below(tmp_path / "no", COMPOSED) == tmp_path / "no" / COMPOSED
    assert tree(tmp_path) == {DECOMPOSED: None, f"{DECOMPOSED}/in": None}
