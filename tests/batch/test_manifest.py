"""Going on where it stopped: a track is left alone only if it is whole and what was asked for."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, mixture, read_json, run, succeed, trained, tree, write_bad, write_mixtures

from sepdict._core.fs import sha256_of, to_json
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.layout import MixtureList, Track
from sepdict.batch.manifest import Journal, Record, StemFacts, read_record
from sepdict.batch.result import TrackResult
from sepdict.batch.resume import asked_for, differences, kept_result, order_of, results_if_all_kept
from sepdict.batch.run import separate_files
from sepdict.errors import ConfigError
from sepdict.separation.config import FitConfig, MaskEstimatorConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)


def separate(paths: list[Path], out: Path, **settings: Any) -> list[TrackResult]:
    on_track = settings.pop("on_track", lambda _: None)
    config = BatchConfig(**{"separation": QUICK, "skip_existing": True} | settings)
    return separate_files(paths, [trained("hiss"), trained("hum")], out, config, on_track=on_track)


def test_what_is_there_is_kept_and_what_is_missing_is_made(tmp_path: Path) -> None:
    paths = write_mixtures(tmp_path / "in", "a", "b", "c")
    separate(paths[1:2], tmp_path / "out")
    before, told = tree(tmp_path / "out"), list[Path]()
    results = separate(paths, tmp_path / "out", on_track=lambda result: told.append(result.mixture))
    assert [result.mixture for result in results] == paths
    assert [result.kept for result in results] == [False, True, False]
    assert sorted(told) == paths
    after = tree(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert {"a/hum.wav", "c/hum.wav"} <= set(after)


def test_a_kept_track_says_what_it_said_when_it_was_made(tmp_path: Path) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    (made,), (again,) = (separate(paths, tmp_path / "out") for _ in range(2))
    assert not made.kept
    assert replace(again, kept=False, seconds=0.0) == replace(made, seconds=0.0)


def test_no_mask_estimator_is_trained_and_nothing_separated_for_tracks_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    separate(paths, tmp_path / "out")
    monkeypatch.setattr("sepdict.batch.run.prepare_mask_estimator", None)  # would be called
    monkeypatch.setattr("sepdict.batch.track.separate_in_blocks", None)
    assert separate(paths, tmp_path / "out")[0].kept


def without_gain(manifest: Path) -> None:
    said = read_json(manifest)
    del said["gain"]
    manifest.write_text(to_json(said))


ODD: dict[str, list[Any]] = {
    "explained_energy": [None, [0.9], "0.9", True, -0.1, 1.5, float("inf"), 10**400],
    "converged": [None, 1, "yes", [True]],
    "message": [None, 3, ["a"], "\x1b[2J", "two\nlines", "x" * 6000],
    "null_test_db": [None, "x", [1], float("inf"), float("-inf"), -1e9],
    "gain": [None, "x", [1], 0, -1, 1e9, False],
    "mixture": [None, 1, [], "x", {}],
    "asked": [None, 1, [], "x", {}],
    "explained_over_time": [None, 1, [], {"shares": 3}],
}


@pytest.mark.parametrize("name", ODD)
def test_a_manifest_with_an_odd_value_is_no_finished_tracks(tmp_path: Path, name: str) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    (made,) = separate(paths, tmp_path / "out")
    assert made.manifest is not None
    said = read_json(made.manifest)
    track = Track.of(paths[0], tmp_path / "out", ["hiss", "hum"], output=OutputConfig())
    assert kept_result(track, said["order"]) is not None
    for value in ODD[name]:
        made.manifest.write_text(json.dumps(said | {name: value}))
        assert name == "asked" or kept_result(track, said["order"]) is None, value
        assert differences(track, said["asked"]) or name != "asked"


def test_a_manifest_of_brackets_without_end_is_none(tmp_path: Path) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    (made,) = separate(paths, tmp_path / "out")
    assert made.manifest is not None
    made.manifest.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="exists already"):
        separate(paths, tmp_path / "out")


def test_a_silent_track_is_kept_and_still_silent(tmp_path: Path) -> None:
    silence = write_audio(tmp_path / "a.wav", Audio(torch.zeros(1, 2000), SAMPLE_RATE))
    (made,), (again,) = (separate([silence], tmp_path / "out") for _ in range(2))
    assert (made.kept, again.kept) == (False, True)
    assert math.isnan(made.explained_energy)
    assert math.isnan(again.explained_energy)


CHANGES: dict[str, Callable[[Path], object]] = {
    "another mixture": lambda folder: write_audio(folder / "in" / "a.wav", mixture(seed=7)),
    "a stem missing": lambda folder: (folder / "out" / "a" / "hum.wav").unlink(),
    "no manifest": lambda folder: (folder / "out" / "a" / "manifest.json").unlink(),
    "a manifest of something else": lambda folder: (folder / "out" / "a" / "manifest.json").write_text("[1]"),
    "a manifest of another version": lambda folder: without_gain(folder / "out" / "a" / "manifest.json"),
    "half a manifest": lambda folder: (folder / "out" / "a" / "manifest.json").write_text('{"order": '),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_track_that_is_not_whole_is_made_again(tmp_path: Path, change: str) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    separate(paths, tmp_path / "out")
    CHANGES[change](tmp_path)
    with pytest.raises(ConfigError, match="exists already"):  # what is there is not what was asked for
        separate(paths, tmp_path / "out")
    assert not separate(paths, tmp_path / "out", overwrite=True)[0].kept
    assert separate(paths, tmp_path / "out")[0].kept


@pytest.mark.parametrize(
    "settings",
    [
        {"separation": replace(QUICK, fit=FitConfig(n_iterations=4))},
        {"separation": replace(QUICK, mask_estimator=MaskEstimatorConfig(n_adaptation_steps=4))},
        {"separation": replace(QUICK, residual=True)},
        {"separation": replace(QUICK, segment_s=5.0)},
        {"start_s": 0.1},
        {"duration_s": 0.5},
        {"output": OutputConfig(bit_depth="16")},
    ],
    ids=str,
)
def test_stems_made_to_another_order_are_not_kept(tmp_path: Path, settings: dict[str, Any]) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    separate(paths, tmp_path / "out")
    with pytest.raises(ConfigError, match="exists already"):
        separate(paths, tmp_path / "out", **settings)


def test_an_order_depends_on_all_dictionaries_and_not_on_their_order() -> None:
    hiss, hum = {"hiss": trained("hiss").sha256}, {"hum": trained("hum").sha256}
    assert order_of(asked_for(hiss | hum, {})) == order_of(asked_for(hum | hiss, {}))
    assert len({order_of(asked_for(each, {})) for each in (hiss, hum, hiss | hum, hiss | {"hum": "0" * 64})}) == 4


def test_a_track_that_never_was_is_not_kept_result(tmp_path: Path) -> None:
    (path,) = write_mixtures(tmp_path, "a")
    assert kept_result(Track.of(path, tmp_path / "out", ["hum"]), "order") is None


def test_the_command_goes_on_where_it_stopped(tmp_path: Path) -> None:
    files = [trained(source).save(tmp_path / f"{source}.safetensors") for source in ("hiss", "hum")]
    paths = write_mixtures(tmp_path / "in", "a", "b")
    options = ["-d", files[0], "-d", files[1], "-o", tmp_path / "out", "--quality=draft", "--skip-existing"]
    succeed("separate", paths[1], *options)
    result = run("separate", tmp_path / "in", *options)
    assert result.exit_code == 0
    assert "separating" in result.stderr
    assert f"{paths[1]}: kept, its stems were there already" in result.stdout
    assert str(tmp_path / "out" / "b" / "hum.wav") in result.stdout
    order = read_json(tmp_path / "out" / "a" / "manifest.json")["order"]
    assert order == read_json(tmp_path / "out" / "b" / "manifest.json")["order"]


RUN = """
import importlib.metadata, sys
(script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
try:
    script.load()(sys.argv[1:])
except SystemExit as ended:
    print(ended.code or 0, "loads torch" if "torch" in sys.modules else "is quick")
"""


def test_a_batch_of_which_all_is_kept_does_not_load_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in ("hiss", "hum"):
        trained(source).save(tmp_path / f"{source}.safetensors")
    paths = write_mixtures(tmp_path / "in", "a", "b")
    command = ["separate", "in", "-d", "hum.safetensors", "-d", "hiss.safetensors", "--quality=draft", "--json"]
    made = read_json("".join(succeed(*command)))
    again = subprocess.run([sys.executable, "-c", RUN, *command, "--skip-existing"], capture_output=True, text=True)
    *lines, ended = again.stdout.splitlines()
    assert (ended, again.stderr) == ("0 is quick", "")
    kept = read_json("".join(lines))
    assert [each["mixture"] for each in kept] == [str(path.relative_to(tmp_path)) for path in paths]
    assert [each | {"kept": False, "seconds": 0} for each in kept] == [each | {"seconds": 0} for each in made]


@pytest.mark.parametrize("change", ["a mixture", "a stem", "a dictionary", "a setting", "the same twice"])
def test_a_batch_of_which_something_is_not_kept_is_not_taken_for_done(tmp_path: Path, change: str) -> None:
    sources = {"a dictionary": ("hiss", "rain"), "the same twice": ("hiss", "hiss")}.get(change, ("hiss", "hum"))
    paths = write_mixtures(tmp_path / "in", "a", "b")
    separate(paths, tmp_path / "out")
    if change == "a mixture":
        write_audio(paths[1], mixture(seed=7))
    if change == "a stem":
        (tmp_path / "out" / "b" / "hum.wav").unlink()
    config = BatchConfig(QUICK, skip_existing=True, start_s=0.1 if change == "a setting" else 0.0)
    checksums = {source: trained(source).sha256 for source in sources}
    assert results_if_all_kept(MixtureList.of(paths), checksums, tmp_path / "out", config) is None


def test_json_says_of_every_track_what_became_of_it(tmp_path: Path) -> None:
    files = [trained(source).save(tmp_path / f"{source}.safetensors") for source in ("hiss", "hum")]
    write_mixtures(tmp_path / "in", "a")
    write_bad(tmp_path / "in" / "b.wav", "truncated")
    result = run(
        "separate", tmp_path / "in", "-d", files[0], "-d", files[1], "-o", tmp_path / "out", "--quality=draft", "--json"
    )
    assert result.exit_code == 3
    good, bad = read_json(result.stdout)
    assert good["stems"] == {name: str(tmp_path / "out" / "a" / f"{name}.wav") for name in ("hiss", "hum")}
    assert (good["error"], good["kept"], good["duration_s"]) == (None, False, 0.75)
    assert "cut short" in bad["error"]
    assert (bad["stems"], bad["duration_s"]) == ({}, None)


def test_the_manifest_tells_when_and_how_long(tmp_path: Path) -> None:
    (result,) = separate(write_mixtures(tmp_path, "a"), tmp_path / "out")
    said = read_json(result.manifest)
    age_s = (datetime.now(UTC) - datetime.fromisoformat(said["date"])).total_seconds()
    assert -1 <= age_s < 300
    assert said["seconds"] == pytest.approx(result.seconds, abs=1e-3)
    assert 0 <= said["mask_estimator_s"] < 300


def test_that_kept_stems_are_not_scored_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    separate(paths, tmp_path / "out")
    with caplog.at_level("WARNING", "sepdict"):
        (result,) = separate(paths, tmp_path / "out", references=tmp_path / "in")
    assert (result.kept, result.evaluation) == (True, None)
    assert "stems that are kept are not scored; sepdict evaluate does that" in caplog.text


def test_what_is_written_is_read_back_as_it_was(tmp_path: Path) -> None:
    paths = write_mixtures(tmp_path / "in", "a")
    (made,) = separate(paths, tmp_path / "out")
    assert made.manifest is not None
    record = read_record(made.manifest)
    assert record is not None
    assert not record.is_journal
    assert vars(record.outcome()) == {name: getattr(made, name) for name in vars(record.outcome())}
    assert sorted(record.stem_files()) == ["hiss.wav", "hum.wav"]
    assert record.files() == {name: StemFacts.of(path, made.manifest.parent) for name, path in made.stems.items()}
    assert (record.mixture_file(), record.mixture_sha256()) == (paths[0], sha256_of(paths[0]))


def test_a_journal_is_read_back_with_the_checksums_of_its_files(tmp_path: Path) -> None:
    Journal(tmp_path / "a.wav", {"hum.wav": ["0" * 64, "1" * 64]}).write(tmp_path / "manifest.json")
    record = read_record(tmp_path / "manifest.json")
    assert record is not None
    assert record.is_journal
    assert record.checksums() == {"hum.wav": ("0" * 64, "1" * 64)}
    assert record.stem_files() == []


HUM = StemFacts("hum.wav", "0" * 64, n_bytes=1, n_samples=2**53, n_channels=1, sample_rate=8000)


@pytest.mark.parametrize("value", [None, 3, "x", {"file": "hum.wav"}, asdict(HUM) | {"more": 1}])
def test_odd_facts_of_stems_are_refused(value: Any) -> None:
    assert Record({"files": {"hum": asdict(HUM)}}).files() == {"hum": HUM}
    with pytest.raises(ConfigError):
        Record({"files": {"hum": value}}).files()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file", 1),
        ("sha256", "0" * 63),
        ("sha256", None),
        ("n_bytes", 0),
        ("n_samples", 2**53 + 1),
        ("n_channels", "1"),
    ],
)
def test_each_fact_of_a_stem_is_checked(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Record({"files": {"hum": asdict(HUM) | {name: value}}}).files()


@pytest.mark.parametrize(("start_s", "is_sound"), [(0, True), (2.0**40, True), (-0.1, False), (2.0**41, False)])
def test_an_excerpt_begins_where_a_recording_can(start_s: float, is_sound: bool) -> None:
    record = Record({"mixture": {"sample_rate": 8000}, "excerpt": {"start_s": start_s}})
    if is_sound:
        assert record.start_sample() == 8000 * start_s
    else:
        with pytest.raises(ConfigError, match="start_s"):
            record.start_sample()


def test_the_explained_energy_is_kept_for_each_second(tmp_path: Path) -> None:
    (made,) = separate([write_audio(tmp_path / "a.wav", mixture(n_samples=5 * SAMPLE_RATE // 2))], tmp_path / "out")
    over_time = read_json(made.manifest)["explained_over_time"]
    assert over_time["step_s"] == pytest.approx(1, abs=0.02)
    assert len(over_time["shares"]) == 3
