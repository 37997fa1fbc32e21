"""Whatever goes wrong with one file is that file's failure: it is named, and the rest goes on."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from front_end import TINY, error_lines, run, sound, trained, tree, write_mixtures
from process_tasks import failing_on, separate_track_without_b

import sepdict.audio.io
import sepdict.batch.run
import sepdict.batch.track
from sepdict.audio.labels import Label
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.run import separate_files
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError, explain
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)
UNEXPECTED = " (unexpected; the log shows where it came from)"
ANY: dict[str, tuple[Exception, str]] = {  # an exception, and what is said of it behind the file's path
    "of memory": (MemoryError(), "there is not enough memory for it; free some, or take it apart in shorter segments"),
    "of torch's memory": (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        "there is not enough memory for it; free some, or take it apart in shorter segments",
    ),
    "of libsndfile": (soundfile.LibsndfileError(39, "Error: "), "Internal psf_fseek() failed."),
    "of arithmetic": (ZeroDivisionError("division by zero"), f"ZeroDivisionError: division by zero{UNEXPECTED}"),
    "without words": (AssertionError(), f"AssertionError{UNEXPECTED}"),
    "of many lines": (ValueError("one\n  two\n" + "x" * 5000), "ValueError: one two"),
    "of the system": (OSError(5, "Input/output error"), "Input/output error"),
    "of the system in other words": (OSError("no reason"), "no reason"),
    "of the samples": (AudioError("b.wav: holds no sound"), "holds no sound"),
}


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


@pytest.mark.parametrize("what", ANY)
def test_any_error_of_a_mixture_is_that_tracks(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    paths = write_mixtures(tmp_path / "in", "a", "b", "c")
    error, said = ANY[what]
    monkeypatch.setattr(sepdict.batch.track, "open_audio", failing_on("b.wav", sepdict.audio.io.open_audio, error))
    first, failed, last = separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))
    assert (first.error, last.error) == (None, None)
    assert failed.error is not None
    assert failed.error.startswith(f"{paths[1]}: {said}")
    assert "\n" not in failed.error
    assert len(failed.error) < 1000
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c"]


def test_a_mixture_that_can_be_read_only_later_is_not_separated_without_its_guides(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    monkeypatch.setattr(sepdict.batch.run, "probe_audio", failing_on("a.wav", sepdict.audio.io.probe_audio, OSError(5)))
    config = BatchConfig(QUICK, labels=(Label(0.1, 0.5, "hiss"),))
    (failed,) = separate_files(paths, pair, tmp_path / "out", config)
    assert failed.error == f"{paths[0]}: could not be read when its guides were; separate it again"
    assert not (tmp_path / "out").exists()


def test_a_setting_that_fails_every_track_alike_ends_the_batch(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_mixtures(tmp_path / "in", "a", "b")
    monkeypatch.setattr(
        sepdict.batch.track, "open_audio", failing_on("a.wav", sepdict.audio.io.open_audio, ConfigError("no"))
    )
    with pytest.raises(ConfigError, match=r"^no$"):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))


def test_any_error_in_another_process_is_its_tracks(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, two_threads: None
) -> None:
    paths = write_mixtures(tmp_path / "in", "a", "b", "c")
    monkeypatch.setattr("sepdict.batch.run.separate_track", separate_track_without_b)
    results = separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, n_jobs=2))
    assert [result.error is None for result in results] == [True, False, True]
    assert results[1].error == f"{paths[1]}: {ANY['of memory'][1]}"


@pytest.mark.parametrize("what", ANY)
def test_any_error_of_a_solo_is_that_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("abc"):
        write_audio(tmp_path / "in" / f"{name}.wav", sound(n_samples=16_000, seed=seed))
    error, said = ANY[what]
    monkeypatch.setattr(sepdict.audio.io, "read_audio", failing_on("b.wav", sepdict.audio.io.read_audio, error))
    result = run("train-dictionary", tmp_path / "in", "-o", tmp_path / "d.safetensors", "--steps", "1", "-q")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [str(tmp_path / "d.safetensors")]
    first, last = error_lines(result)
    assert first.startswith(f"sepdict: {tmp_path}/in/b.wav: {said[:60]}")
    assert last == "sepdict: 1 of 3 files failed"
    assert len(Dictionary.load(tmp_path / "d.safetensors").card.heard) == 2


def test_an_error_is_explained_by_the_file_that_it_names() -> None:
    assert explain("a.wav", FileNotFoundError(2, "No such file", "b.wav")) == "b.wav: No such file"
    assert explain("in/a.wav", AudioError("a.wav: is silent")) == "in/a.wav: is silent"


def test_one_source_of_several_that_fails_leaves_the_others(tmp_path: Path) -> None:
    for seed, (source, n_samples) in enumerate([("a", 16_000), ("b", 300), ("c", 16_000)]):
        (tmp_path / source).mkdir()
        write_audio(tmp_path / source / "solo.wav", sound(n_samples=n_samples, seed=seed))
    folders = [tmp_path / source for source in "abc"]
    result = run("train-dictionary", *folders, "--each", "-o", tmp_path / "out", "--steps", "1", "-q")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [f"{tmp_path}/out/{source}.safetensors" for source in "ac"]
    first, last = error_lines(result)
    assert "b: " in first
    assert "expected 1 s at least" in first
    assert last == "sepdict: 1 of 3 files failed"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_track_that_a_second_attempt_finds_done_is_kept(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """Run the same batch again while the first one separates: the second ends first."""
    paths = write_mixtures(tmp_path, "a")
    config = BatchConfig(QUICK, overwrite=overwrite)
    if overwrite:  # older stems, made in another way: within a second the same way gives the same manifest
        earlier = replace(config, separation=replace(QUICK, fit=FitConfig(n_iterations=2)))
        separate_files(paths, pair, tmp_path / "out", earlier)
    theirs = dict[str, bytes | None]()

    def meanwhile(_: object) -> None:
        if not theirs:
            theirs["begun"] = None
            separate_files(paths, pair, tmp_path / "out", config)
            theirs.update(tree(tmp_path / "out"))

    (result,) = separate_files(paths, pair, tmp_path / "out", config, on_progress=meanwhile)
    assert (result.error, result.kept) == (None, True)
    del theirs["begun"]
    assert tree(tmp_path / "out") == {name: content for name, content in theirs.items() if ".sepdict-" not in name}
