"""Nothing wrong is taken for a success: not when stems are published, and not when they are checked later."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import mixture, read_json, run, trained, write_mixtures

import sepdict.batch.track
from sepdict._core.fs import to_json
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.result import TrackResult
from sepdict.batch.run import separate_files
from sepdict.batch.verification import check_folder
from sepdict.errors import AudioFileError
from sepdict.evaluation.config import ActivityConfig
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)


def separated(folder: Path, names: tuple[str, ...] = ("a",), **settings: Any) -> list[TrackResult]:
    """Separate mixtures in ``in`` into ``out``."""
    output = OutputConfig(**{name: settings.pop(name) for name in OutputConfig.__annotations__ if name in settings})
    how = {name: settings.pop(name) for name in SeparationConfig.__annotations__ if name in settings}
    config = BatchConfig(replace(QUICK, **how), output, **settings)
    return separate_files(
        write_mixtures(folder / "in", *names), [trained("hiss"), trained("hum")], folder / "out", config
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"filename": "{source}/{track}.{ext}"},
        {"filename": "{track}_{source}.{ext}"},
        {"format": "flac", "bit_depth": "16"},
        {"format": "ogg"},
        {"two_stems": "hum", "residual": True},
        {"start_s": 0.1, "duration_s": 0.5},
        {"activity": ActivityConfig("raven")},
    ],
    ids=str,
)
def test_what_was_written_is_found_whole_with_its_null_test_also_when_it_was_moved(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    made = separated(tmp_path, ("a", "b"), **settings)
    (tmp_path / "out").rename(tmp_path / "moved")
    found = check_folder(tmp_path / "moved")
    assert [track.damage + track.notes for track in found] == [(), ()]
    assert [track.n_stems for track in found] == [2, 2]
    for track, result in zip(found, made, strict=True):
        assert track.null_test_db == pytest.approx(result.null_test_db, abs=6)  # of float, both are rounding


def change(path: Path, **facts: Any) -> None:
    path.write_text(to_json(read_json(path) | facts))


def shorten(path: Path) -> None:
    stem = read_audio(path)
    write_audio(path, Audio(stem.samples[:, :-1], stem.sample_rate))


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "a stem missing": (lambda out: (out / "a/hum.wav").unlink(), "hum.wav: is missing"),
    "a bit flipped": (
        lambda out: (out / "a/hum.wav").write_bytes((out / "a/hum.wav").read_bytes()[:-1] + b"\x01"),
        "hum.wav: was changed since it was written",
    ),
    "stems swapped": (
        lambda out: (out / "a/hum.wav").write_bytes((out / "a/hiss.wav").read_bytes()),
        "hum.wav: was changed since",
    ),
    "half a stem": (lambda out: (out / "a/hum.wav").write_bytes(b"RIFF"), "hum.wav: was changed since"),
    "another length": (lambda out: shorten(out / "a/hum.wav"), "hum.wav: has 5999 samples; expected 6000"),
    "another gain": (lambda out: change(out / "a/manifest.json", gain=0.5), "its stems miss the mixture by "),
    "a journal": (lambda out: change(out / "a/manifest.json", unfinished={}), "a run was interrupted"),
    "labels missing": (lambda out: (out / "a/labels.txt").unlink(), "labels.txt: is missing"),
    "other labels": (
        lambda out: (out / "a/labels.txt").write_text("0\t1\thum\n"),
        "labels.txt: was changed since it was written",
    ),
    "odd labels": (lambda out: change(out / "a/manifest.json", labels="yes"), "manifest.json: cannot be checked"),
    "no sums": (lambda out: change(out / "a/manifest.json", gain="loud"), "manifest.json: cannot be checked"),
    "no stems": (lambda out: change(out / "a/manifest.json", files=None, stems=3), "manifest.json: cannot be checked"),
    "other facts": (lambda out: change(out / "a/manifest.json", files={"hum": 3}), "manifest.json: cannot be checked"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_damaged_is_found_and_named_and_the_command_fails(tmp_path: Path, harm: str) -> None:
    separated(tmp_path, ("a", "b"), activity=ActivityConfig())
    do, said = HARM[harm]
    do(tmp_path / "out")
    first, second = check_folder(tmp_path / "out")
    assert any(said in damage for damage in first.damage), first.damage
    assert second.is_whole
    result = run("check", tmp_path / "out")
    assert result.exit_code == 1
    assert "DAMAGED" in result.stdout
    assert "sepdict: 1 of 2 tracks are damaged" in result.stderr


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "in/a.wav").unlink(), "no null test, for the mixture is no longer at"),
        (lambda folder: write_audio(folder / "in/a.wav", mixture(seed=5)), "a.wav was changed since"),
    ],
)
def test_what_cannot_be_checked_is_said_and_is_no_damage(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    separated(tmp_path)
    harm(tmp_path)
    (track,) = check_folder(tmp_path / "out")
    assert track.is_whole
    assert any(said in note for note in track.notes), track.notes


def test_the_command_tells_all_as_a_table_and_as_json(tmp_path: Path) -> None:
    separated(tmp_path)
    (tmp_path / "out/package.json").write_text('{"name": "my app"}')
    (tmp_path / "out/odd.json").write_text("[1")
    result = run("check", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].split()[::3] == [str(tmp_path / "out/a/manifest.json"), "whole"]
    (facts,) = read_json(run("check", tmp_path / "out", "--json").stdout)
    assert facts["is_whole"] is True
    assert run("check", tmp_path / "out", "--quiet").stdout == ""


@pytest.mark.parametrize("name", ["in", "missing"])
def test_a_folder_without_manifests_is_an_error(tmp_path: Path, name: str) -> None:
    write_mixtures(tmp_path / "in", "a")
    with pytest.raises(AudioFileError, match=f"{name}: .*expected"):
        check_folder(tmp_path / name)
    assert run("check", tmp_path / name).exit_code == 1


# --- publishing


def spoiled(spoil: Callable[[torch.Tensor], torch.Tensor], null_test_db: float | None) -> Callable[..., Any]:
    original = sepdict.batch.track.separate_in_blocks  # type: ignore[attr-defined]

    def separate(mixture: Any, dictionaries: Any, write: Callable[[Any], None], *args: Any, **options: Any) -> Any:
        outcome = original(mixture, dictionaries, lambda stems: write(spoil(stems)), *args, **options)
        return outcome if null_test_db is None else replace(outcome, null_test_db=null_test_db)

    return separate


def with_one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def spoil(stems: torch.Tensor) -> torch.Tensor:
        stems = stems.clone()
        stems[..., -1] = value
        return stems

    return spoil


@pytest.mark.parametrize("settings", [{}, {"format": "flac"}, {"format": "ogg"}, {"two_stems": "hum"}], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_stems_that_are_not_finite_are_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], value: float
) -> None:
    monkeypatch.setattr(sepdict.batch.track, "separate_in_blocks", spoiled(with_one(value), None))
    (result,) = separated(tmp_path, **settings)
    assert result.error is not None
    assert result.error.startswith(f"{tmp_path}/in/a.wav: its stems would hold NaN or infinite samples")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("null_test_db", [math.nan, math.inf, 0.0, -40.0])
def test_stems_that_do_not_sum_to_the_mixture_are_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, null_test_db: float
) -> None:
    monkeypatch.setattr(sepdict.batch.track, "separate_in_blocks", spoiled(lambda stems: stems, null_test_db))
    (result,) = separated(tmp_path)
    assert result.error is not None
    assert result.error.startswith(f"{tmp_path}/in/a.wav: its stems miss it by ")
    assert not (tmp_path / "out").exists()


# --- why nothing was kept


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"output": OutputConfig(format="flac")}, "output format wav, now flac"),
        ({"separation": replace(QUICK, residual=True)}, "residual False, now True"),
        ({"separation": replace(QUICK, fit=FitConfig(n_iterations=4))}, "fit n_iterations 3, now 4"),
        ({"duration_s": 0.5}, "duration_s None, now 0.5"),
    ],
    ids=str,
)
def test_why_tracks_are_not_kept_is_said_in_one_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict[str, Any], said: str
) -> None:
    separated(tmp_path, ("a", "b"))
    paths, config = [tmp_path / "in/a.wav", tmp_path / "in/b.wav"], BatchConfig(QUICK, skip_existing=True)
    pair = [trained("hiss"), trained("hum")]
    separate_files(paths, pair, tmp_path / "out", replace(config, overwrite=True, **changed))
    (note,) = [record.getMessage() for record in caplog.records]
    assert note == f"0 tracks are kept, 2 were made otherwise: {said}"


def test_another_mixture_dictionary_or_version_is_told_and_what_is_kept_needs_no_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    separated(tmp_path, ("a", "b", "c"))
    write_audio(tmp_path / "in/a.wav", mixture(seed=7))
    manifest = tmp_path / "out/b/manifest.json"
    said = read_json(manifest)
    said["asked"] |= {"sepdict": "0.0", "dictionaries": said["asked"]["dictionaries"] | {"hum": "0"}}
    manifest.write_text(json.dumps(said | {"order": "0"}))
    config = BatchConfig(QUICK, skip_existing=True, overwrite=True)
    paths, pair = [tmp_path / f"in/{name}.wav" for name in "abc"], [trained("hiss"), trained("hum")]
    results = separate_files(paths, pair, tmp_path / "out", config)
    assert [result.kept for result in results] == [False, False, True]
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith(
        "1 tracks are kept, 2 were made otherwise: the mixture has changed; dictionary hum; sepdict 0.0"
    )
