"""What a track's files are when something else than the default is asked for."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from front_end import SAMPLE_RATE, mixture, read_json, sound, trained, tree, write_mixtures, write_references

import sepdict.batch.track
from sepdict.audio.io import read_audio
from sepdict.audio.labels import read_labels
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.result import TrackResult
from sepdict.batch.run import separate_files, separate_folder
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioFileError, ConfigError
from sepdict.evaluation.activity import sounding_labels
from sepdict.evaluation.config import ActivityConfig
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)
LOUD = 3.0  # full scale is 1
ALL_FILES = {"hiss.wav", "hum.wav", "manifest.json", "report.html", "labels.txt"}


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


def one(path: Path, pair: list[Dictionary], out: Path, *, works: bool = True, **settings: Any) -> TrackResult:
    """Separate a file; the settings of all three configurations stand side by side."""
    how = {name: settings.pop(name) for name in SeparationConfig.__annotations__ if name in settings}
    written = {name: settings.pop(name) for name in OutputConfig.__annotations__ if name in settings}
    (result,) = separate_files(
        [path], pair, out, BatchConfig(replace(QUICK, **how), output=OutputConfig(**written), **settings)
    )
    assert (result.error is None) == works, result.error
    return result


def stems_of(result: TrackResult) -> list[Audio]:
    return [read_audio(path) for path in result.stems.values()]


def scaled_to(peak: float, **shape: int) -> Audio:
    mixed = mixture(**shape)
    return Audio(mixed.samples * peak / mixed.samples.abs().max(), mixed.sample_rate)


def signal_to_noise_db(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (found - expected).square().sum()))


@pytest.mark.parametrize(
    ("audio_format", "bit_depth", "subtype", "least_db"),
    [
        ("wav", None, "FLOAT", 120),
        ("wav", "float", "FLOAT", 120),
        ("wav", "24", "PCM_24", 110),
        ("wav", "16", "PCM_16", 65),
        ("flac", None, "PCM_24", 110),
        ("flac", "16", "PCM_16", 65),
        ("mp3", None, "MPEG_LAYER_III", 10),
        ("ogg", None, "VORBIS", 5),
    ],
)
def test_every_format_keeps_rate_channels_length_and_sum(
    tmp_path: Path, pair: list[Dictionary], audio_format: str, bit_depth: str | None, subtype: str, least_db: float
) -> None:
    mixed = mixture(n_channels=2, n_samples=20_000)
    path = write_audio(tmp_path / "song.wav", mixed)
    result = one(path, pair, tmp_path / "out", format=audio_format, bit_depth=bit_depth)
    assert list(result.stems.values()) == [tmp_path / "out/song" / f"{name}.{audio_format}" for name in ("hiss", "hum")]
    for stem_path in result.stems.values():
        facts = soundfile.info(stem_path)
        assert (facts.subtype, facts.samplerate, facts.channels) == (subtype, SAMPLE_RATE, 2)
    stems = stems_of(result)
    assert {stem.n_samples for stem in stems} == {20_000}
    assert signal_to_noise_db(stems[0].samples + stems[1].samples, mixed.samples) > least_db
    assert result.gain == 1
    assert {*tree(tmp_path / "out")} == {"song", *(f"song/{name}" for name in (*_names(result), "manifest.json"))}


def _names(result: TrackResult) -> list[str]:
    return [path.name for path in result.stems.values()]


@pytest.mark.parametrize("audio_format", ["wav", "flac", "ogg"])
def test_where_one_stem_would_clip_all_are_softer_by_one_gain(
    tmp_path: Path, pair: list[Dictionary], audio_format: str
) -> None:
    mixed = scaled_to(LOUD)
    path = write_audio(tmp_path / "song.wav", mixed)
    as_float = one(path, pair, tmp_path / "float")
    assert as_float.gain == 1
    exact = [stem.samples for stem in stems_of(as_float)]
    peak = max(float(stem.abs().max()) for stem in exact)
    assert peak > 1
    result = one(path, pair, tmp_path / "out", format=audio_format, bit_depth=None if audio_format == "ogg" else "16")
    assert result.gain == pytest.approx(1 / peak, rel=1e-5)
    assert read_json(result.manifest)["gain"] == result.gain
    for stem, expected in zip(stems_of(result), exact, strict=True):
        assert signal_to_noise_db(stem.samples, result.gain * expected) > (10 if audio_format == "ogg" else 60)


@pytest.mark.parametrize(
    ("settings", "most_db", "peak"),
    [
        ({}, -120, LOUD),
        ({"bit_depth": "24"}, -120, LOUD),
        ({"format": "flac", "bit_depth": "16"}, -75, LOUD),
        ({"format": "ogg"}, -5, 0.5),
        ({"bit_depth": "16", "clip_mode": "clamp"}, 0, LOUD),
    ],
    ids=str,
)
def test_the_null_test_is_of_what_was_written(
    tmp_path: Path, pair: list[Dictionary], settings: dict[str, str], most_db: float, peak: float
) -> None:
    mixed = scaled_to(peak, n_samples=20_000)
    result = one(write_audio(tmp_path / "song.wav", mixed), pair, tmp_path / "out", **settings)
    expected = result.gain * mixed.samples.double()
    miss = (sum(stem.samples.double() for stem in stems_of(result)) - expected).abs().max()
    assert result.null_test_db == pytest.approx(20 * math.log10(miss / expected.abs().max()), abs=0.1)
    assert result.null_test_db < most_db
    assert read_json(result.manifest)["null_test_db"] == result.null_test_db


def test_clamping_cuts_off_what_is_too_loud_and_leaves_the_rest(
    tmp_path: Path, pair: list[Dictionary], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_audio(tmp_path / "song.wav", scaled_to(LOUD))
    exact = stems_of(one(path, pair, tmp_path / "float"))
    with caplog.at_level("WARNING", "sepdict"):
        result = one(path, pair, tmp_path / "out", bit_depth="24", clip_mode="clamp")
    assert result.gain == 1
    assert "dB above full scale were cut off" in caplog.text
    for stem, expected in zip(stems_of(result), exact, strict=True):
        torch.testing.assert_close(stem.samples, expected.samples.clamp(-1, 1), rtol=0, atol=2**-22)


def test_without_a_clip_mode_what_would_clip_fails_and_leaves_nothing(tmp_path: Path, pair: list[Dictionary]) -> None:
    path = write_audio(tmp_path / "song.wav", scaled_to(LOUD))
    result = one(path, pair, tmp_path / "out", format="flac", clip_mode="none", works=False)
    assert result.error is not None
    assert result.error.startswith(f"{tmp_path}/out/song: the largest sample of all stems is ")
    assert result.error.endswith(", and flac clips above 1; rescale or clamp, or write WAV of 32-bit float")
    assert not (tmp_path / "out").exists()
    quiet = write_audio(tmp_path / "quiet.wav", mixture())
    assert one(quiet, pair, tmp_path / "out", format="flac", clip_mode="none").gain == 1


@pytest.mark.parametrize(
    ("audio_format", "form"),
    [
        ("mp3", {"sample_rate": 96_000}),
        ("mp3", {"n_channels": 3}),
        ("ogg", {"sample_rate": 384_000}),
        ("flac", {"n_channels": 9}),
    ],
)
def test_a_form_that_a_format_cannot_hold_is_known_before_the_work(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, audio_format: str, form: dict[str, int]
) -> None:
    path = write_audio(tmp_path / "song.wav", mixture(**form))
    monkeypatch.setattr(sepdict.batch.track, "separate_in_blocks", None)  # would be called
    result = one(path, pair, tmp_path / "out", format=audio_format, works=False)
    assert result.error is not None
    assert "cannot hold" in result.error
    assert not (tmp_path / "out").exists()


def test_stems_of_another_format_go_when_new_ones_are_written(tmp_path: Path, pair: list[Dictionary]) -> None:
    (path,) = write_mixtures(tmp_path, "song")
    one(path, pair, tmp_path / "out")
    (tmp_path / "out/song/mine.wav").touch()
    with pytest.raises(ConfigError, match="exists already"):
        one(path, pair, tmp_path / "out", format="flac")
    one(path, pair, tmp_path / "out", format="flac", overwrite=True)
    assert {*tree(tmp_path / "out/song")} == {"hiss.flac", "hum.flac", "manifest.json", "mine.wav"}


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("{track}_{source}.{ext}", {"a_hiss.wav", "a_hum.wav", "a_manifest.json", "a_report.html", "a_labels.txt"}),
        ("{source}/{track}.{ext}", {"hiss/a.wav", "hum/a.wav", "manifest/a.json", "report/a.html", "labels/a.txt"}),
        ("x/{track}/{source}.{ext}", {f"x/a/{name}" for name in ALL_FILES}),
        ("{source}.{ext}", ALL_FILES),
    ],
)
def test_all_files_of_a_track_go_where_the_template_says_and_are_found_again(
    tmp_path: Path, pair: list[Dictionary], filename: str, expected: set[str]
) -> None:
    (path,) = write_mixtures(tmp_path, "a")
    out = tmp_path / "out"
    beside: dict[str, Any] = {"report": True, "activity": ActivityConfig()}
    result = one(path, pair, out, filename=filename, **beside)
    assert {name for name, content in tree(out).items() if content is not None} == expected
    assert read_json(result.manifest)["stems"] == {name: str(stem) for name, stem in result.stems.items()}
    assert one(path, pair, out, filename=filename, **beside, skip_existing=True).kept
    before = tree(out)
    with pytest.raises(ConfigError, match="exists already"):
        one(path, pair, out, filename=filename)
    assert tree(out) == before
    one(path, pair[:1], out, filename=filename, overwrite=True)  # a residual comes, hum, report, labels go
    files = {name for name, content in tree(out).items() if content is not None}
    assert files == {n.replace("hum", "residual") for n in expected if "report" not in n and "labels" not in n}


@pytest.mark.parametrize("audio_format", ["wav", "ogg"])
@pytest.mark.parametrize("label_format", ["audacity", "raven"])
def test_labels_say_when_the_written_stems_sound(
    tmp_path: Path, pair: list[Dictionary], audio_format: str, label_format: str
) -> None:
    (path,) = write_mixtures(tmp_path, "a")
    config = ActivityConfig(label_format)
    settings: dict[str, Any] = {"activity": config, "format": audio_format, "start_s": 0.25}
    result = one(path, pair, tmp_path / "out", **settings)
    assert result.labels == tmp_path / "out/a/labels.txt"
    labels = read_labels(result.labels)
    assert labels == sounding_labels(result.stems, config)
    assert {label.name for label in labels} == {"hiss", "hum"}
    facts = read_json(result.manifest)["labels"]
    assert (facts["file"], facts["n_labels"], facts["format"]) == ("labels.txt", len(labels), label_format)
    assert one(path, pair, tmp_path / "out", **settings, skip_existing=True).labels == result.labels


@pytest.mark.parametrize("other", [ActivityConfig("raven"), ActivityConfig(below_db=3), None])
def test_a_track_whose_labels_were_made_otherwise_is_made_anew(
    tmp_path: Path, pair: list[Dictionary], other: ActivityConfig | None
) -> None:
    (path,) = write_mixtures(tmp_path, "a")
    one(path, pair, tmp_path / "out", activity=ActivityConfig())
    result = one(path, pair, tmp_path / "out", activity=other, skip_existing=True, overwrite=True)
    assert not result.kept
    assert (tmp_path / "out/a/labels.txt").exists() == (other is not None)


@pytest.mark.parametrize("filename", ["{source}.{ext}", "all/{source}.{ext}"])
def test_mixtures_whose_files_would_meet_are_refused_before_any_work(
    tmp_path: Path, pair: list[Dictionary], filename: str
) -> None:
    paths = write_mixtures(tmp_path, "a", "b")
    config = BatchConfig(output=OutputConfig(filename=filename))
    with pytest.raises(ConfigError, match=r"a\.wav and .*b\.wav would both be written to .*hiss\.wav; .*\{track\}"):
        separate_files(paths, pair, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_a_file_where_another_track_needs_a_folder_is_refused_before_any_work(
    tmp_path: Path, pair: list[Dictionary]
) -> None:
    first, second = write_mixtures(tmp_path, "a", "b")
    with pytest.raises(ConfigError, match=r"would be written to .*a/hiss\.wav, and .*b\.wav into it"):
        separate_files({first: "a", second: "a/hiss.wav"}, pair, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_stems_sum_to_the_mixture_and_are_scored(tmp_path: Path, pair: list[Dictionary]) -> None:
    mixed = mixture(n_samples=16_000)
    path = write_audio(tmp_path / "song.wav", mixed)
    references = write_references(tmp_path / "truth", n_samples=16_000)
    every = one(path, pair, tmp_path / "all", references=references)
    result = one(path, pair, tmp_path / "out", two_stems="hum", references=references)
    assert list(result.stems) == ["hum", "no_hum"]
    hum, others = stems_of(result)
    torch.testing.assert_close(hum.samples + others.samples, mixed.samples, rtol=0, atol=1e-6)
    assert torch.equal(hum.samples, stems_of(every)[1].samples)
    assert every.evaluation is not None
    assert result.evaluation is not None
    one_by_one = {score.source: score.si_sdr_db for score in every.evaluation.scores}
    assert {score.source: score.si_sdr_db for score in result.evaluation.scores} == pytest.approx(
        {"hum": one_by_one["hum"], "no_hum": one_by_one["hiss"]}, abs=1e-3
    )


def test_the_residual_is_called_as_asked(tmp_path: Path, pair: list[Dictionary]) -> None:
    (path,) = write_mixtures(tmp_path, "song")
    result = one(path, pair, tmp_path / "out", residual=True, residual_name="rest", report=True)
    assert list(result.stems) == ["hiss", "hum", "rest"]
    settings = read_json(result.manifest)["settings"]
    assert (settings["residual"], settings["residual_name"]) == (True, "rest")


def test_an_earlier_stem_of_one_track_that_would_be_one_of_another_is_refused(
    tmp_path: Path, pair: list[Dictionary]
) -> None:
    paths, filename = write_mixtures(tmp_path / "in", "a", "a-x"), "{track}-{source}.{ext}"
    one(paths[0], [trained("x-hiss")], tmp_path / "out", filename=filename)
    before, config = tree(tmp_path), BatchConfig(QUICK, output=OutputConfig(filename=filename), overwrite=True)
    with pytest.raises(ConfigError, match=r"a-x-hiss\.wav: is a stem of .*/a\.wav by its manifest"):
        separate_files(paths, pair, tmp_path / "out", config)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("start_s", "duration_s", "expected"),
    [(0.5, 1.0, slice(4000, 12000)), (0.5, math.inf, slice(4000, 20000)), (0, 0.75, slice(0, 6000))],
)
def test_a_part_of_a_mixture_becomes_what_it_would_alone(
    tmp_path: Path, pair: list[Dictionary], start_s: float, duration_s: float, expected: slice
) -> None:
    whole = mixture(n_samples=20_000)
    path = write_audio(tmp_path / "song.flac", whole)
    references = write_references(tmp_path / "truth", n_samples=20_000)
    settings = {"start_s": start_s, "duration_s": duration_s, "references": references, "report": True}
    result = one(path, pair, tmp_path / "out", **settings)
    alone = write_audio(tmp_path / "alone.wav", Audio(read_audio(path).samples[:, expected], whole.sample_rate))
    for stem, other in zip(stems_of(result), stems_of(one(alone, pair, tmp_path / "out")), strict=True):
        assert torch.equal(stem.samples, other.samples)
    assert result.evaluation is not None
    assert result.duration_s == pytest.approx((expected.stop - expected.start) / SAMPLE_RATE)
    said = read_json(result.manifest)
    n_samples = expected.stop - expected.start
    assert said["excerpt"] == {"start_s": expected.start / SAMPLE_RATE, "duration_s": n_samples / SAMPLE_RATE}
    assert said["mixture"]["n_samples"] == n_samples
    assert said["mixture"]["file"] == str(path)


def test_of_references_no_more_than_the_part_is_read(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_audio(tmp_path / "song.wav", mixture(n_samples=20_000))
    references, longest = write_references(tmp_path / "truth", n_samples=20_000), []
    read = soundfile.SoundFile.read

    def watch(file: soundfile.SoundFile, frames: int, **options: object) -> object:
        longest.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", watch)
    result = one(path, pair, tmp_path / "out", start_s=0.5, duration_s=1.0, references=references)
    assert result.evaluation is not None
    assert max(longest) == SAMPLE_RATE


def test_more_than_there_is_is_all_there_is(tmp_path: Path, pair: list[Dictionary]) -> None:
    (path,) = write_mixtures(tmp_path, "song")
    result = one(path, pair, tmp_path / "out", duration_s=100.0)
    assert result.duration_s == pytest.approx(6000 / SAMPLE_RATE)
    assert read_json(result.manifest)["excerpt"] is None


def test_a_mixture_that_ends_before_the_start_fails_alone(tmp_path: Path, pair: list[Dictionary]) -> None:
    (short,) = write_mixtures(tmp_path, "short")
    long = write_audio(tmp_path / "long.wav", mixture(n_samples=12_000))
    config = BatchConfig(QUICK, start_s=0.75)
    failed, done = separate_files([short, long], pair, tmp_path / "out", config)
    assert failed.error == f"{short}: lasts 0.8 s; expected more than the start, which is at 0.75 s"
    assert done.error is None


@pytest.mark.parametrize("setting", [{"start_s": -1.0}, {"start_s": math.nan}, {"duration_s": 0.0}, {"n_jobs": 1.5}])
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        BatchConfig(**setting)


def write_deep(folder: Path) -> None:
    """Mixtures of one name in several folders, and what is none."""
    for below in ("", "monday", "monday/late", ".trash"):
        (folder / below).mkdir(exist_ok=True)
        write_audio(folder / below / "take.wav", sound(n_samples=3000))


def test_folders_in_folders_become_folders_in_folders(tmp_path: Path, pair: list[Dictionary]) -> None:
    write_deep(tmp_path / "in")
    results = separate_folder(tmp_path / "in", pair, tmp_path / "out", BatchConfig(QUICK), recursive=True)
    assert [result.error for result in results] == [None] * 3
    manifests = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("manifest.json")}
    assert manifests == {Path(name, "take/manifest.json") for name in ("", "monday", "monday/late")}
    flat = separate_folder(tmp_path / "in", pair, tmp_path / "flat", BatchConfig(QUICK))
    assert [result.mixture for result in flat] == [tmp_path / "in/take.wav"]


@pytest.mark.parametrize("out", ["in", "in/stems"])
def test_stems_of_an_earlier_run_are_no_mixtures(tmp_path: Path, pair: list[Dictionary], out: str) -> None:
    write_deep(tmp_path / "in")
    config = BatchConfig(QUICK, skip_existing=True)
    first = separate_folder(tmp_path / "in", pair, tmp_path / out, config, recursive=True)
    again = separate_folder(tmp_path / "in", pair, tmp_path / out, config, recursive=True)
    assert [(result.mixture, result.kept) for result in again] == [(result.mixture, True) for result in first]


def test_an_output_folder_among_the_mixtures_is_not_searched(tmp_path: Path, pair: list[Dictionary]) -> None:
    write_deep(tmp_path / "in")
    config = BatchConfig(QUICK, skip_existing=True, output=OutputConfig(filename="{track}_{source}.{ext}"))
    for _ in range(2):  # the second time there are stems, and no manifest is called as usual
        assert len(separate_folder(tmp_path / "in", pair, tmp_path / "in/stems", config, recursive=True)) == 3


@pytest.mark.parametrize("recursive", [True, False])
def test_mixtures_may_lie_in_a_folder_of_the_output_folder(
    tmp_path: Path, pair: list[Dictionary], recursive: bool
) -> None:
    write_mixtures(tmp_path / "recordings", "a")
    (result,) = separate_folder(tmp_path / "recordings", pair, tmp_path, BatchConfig(QUICK), recursive=recursive)
    assert result.manifest == tmp_path / "a/manifest.json"


def test_a_folder_of_nothing_but_stems_is_refused(tmp_path: Path, pair: list[Dictionary]) -> None:
    separate_files(write_mixtures(tmp_path, "a"), pair, tmp_path / "stems", BatchConfig(QUICK))
    with pytest.raises(AudioFileError, match="stems: holds nothing but stems of an earlier run; expected mixtures"):
        separate_folder(tmp_path / "stems", pair, tmp_path / "out", recursive=True)


def test_a_manifest_of_somebody_else_hides_no_mixture(tmp_path: Path, pair: list[Dictionary]) -> None:
    write_deep(tmp_path / "in")
    (tmp_path / "in/monday/manifest.json").write_text('{"name": "my app"}')
    assert len(separate_folder(tmp_path / "in", pair, tmp_path / "out", BatchConfig(QUICK), recursive=True)) == 3
