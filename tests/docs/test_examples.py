"""The scripts of the tutorials run as they are, and what they write is what they promise."""

import contextlib
import csv
import io
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from front_end import constant_bss_eval, train_mask_estimators_briefly
from PIL import Image
from torch import Tensor

import sepdict
from sepdict import Audio, read_audio, read_labels, write_audio
from sepdict.audio.io import probe_audio

ROOT = Path(__file__).parents[2]
DOCS, DATA = ROOT / "docs", ROOT / "data"
TUTORIALS = DOCS / "tutorials"
CEILING = 10 ** (-1 / 20)
STEP_OF_24_BITS = 2**-23


@dataclass
class Run:
    """What a script left: in its folder, on the screen, in its variables."""

    out: Path
    printed: str
    names: dict[str, Any]

    def samples(self, name: str) -> Tensor:
        return read_audio(self.out / name).samples


def run(script: Path, out: Path, *arguments: str) -> Run:
    """Run a script from a folder where nothing else is."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(script), *arguments])
        patch.chdir(out.parent)
        names = runpy.run_path(str(script), run_name="__main__")
    return Run(out, printed.getvalue(), names)


def moved(script: Path, root: Path, *names: str) -> Path:
    """Copy a script to another project, which has only the named of the demo's data."""
    copy = root / script.relative_to(ROOT)
    copy.parent.mkdir(parents=True)
    (root / "data").mkdir()
    for name in names:
        (root / "data" / name).symlink_to(DATA / name)
    return Path(shutil.copy(script, copy))


def shorten_duet(root: Path, *, duration_s: int) -> None:
    """Write the beginning of the duet and of its references into another project."""
    for name in ("duet.flac", "duet_references/violin.flac", "duet_references/piano.flac"):
        (root / "data" / name).parent.mkdir(exist_ok=True)
        write_audio(root / "data" / name, read_audio(DATA / name).seconds(0, duration_s))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A thirtieth of the training, enough to tell these sources apart, and no BSS Eval, which no test here looks at."""
    with pytest.MonkeyPatch.context() as patch:
        train_mask_estimators_briefly(patch, n_steps=100)
        patch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
        yield


@pytest.fixture(scope="module")
def musician(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        train_mask_estimators_briefly(patch, n_steps=100, most_adaptation_steps=50)  # a test looks at how good it is
        out = tmp_path_factory.mktemp("anywhere") / "musician"  # the folder it takes by itself
        return run(TUTORIALS / "musician.py", out)


@pytest.fixture(scope="module")
def recordist(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        train_mask_estimators_briefly(patch, n_steps=200, most_adaptation_steps=100, n_everyday_sounds=40)
        out = tmp_path_factory.mktemp("anywhere") / "songs"
        return run(TUTORIALS / "bird_recordist.py", out, str(out))


@pytest.fixture(scope="module")
def podcaster(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("anywhere") / "episode"
    return run(TUTORIALS / "podcaster.py", out, str(out))


@pytest.mark.slow
def test_the_researcher_trains_what_is_missing_and_scores_each_variant_quality_and_source(tmp_path: Path) -> None:
    script, out = moved(TUTORIALS / "researcher.py", tmp_path, "solos"), tmp_path / "study"
    shorten_duet(tmp_path, duration_s=2)
    (out / "dropout").mkdir(parents=True)
    for source in ("violin", "piano"):
        shutil.copy(DATA / f"{source}.safetensors", out / "dropout")
    short = {"default": replace(sepdict.PRESETS["default"], n_steps=15)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sepdict, "PRESETS", MappingProxyType(short))
        patch.setattr("sepdict.evaluation.separability.N_STEPS", 10)
        train_mask_estimators_briefly(patch, n_steps=30)
        study = run(script, out, str(out))
    assert re.findall(r"training the (\w+) with (\w+)", study.printed) == [
        ("violin", "variational"),
        ("piano", "variational"),
    ]
    rows = list(csv.DictReader((out / "scores.csv").read_text(encoding="utf-8").splitlines()))
    scored = {(row["variant"], row["quality"], row["source"]): float(row["si_sdr_improvement_db"]) for row in rows}
    assert len(rows) == len(scored) == 8
    assert min(gain for (_, quality, _), gain in scored.items() if quality == "with mask estimator") > 0


def test_every_script_is_tried_here() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.py")} == {
        "musician",
        "bird_recordist",
        "podcaster",
        "researcher",
    }


@pytest.mark.slow
def test_the_musicians_stems_sum_to_the_mixture(musician: Run) -> None:
    stems = musician.samples("violin.wav") + musician.samples("piano.wav")
    torch.testing.assert_close(stems, read_audio(DATA / "duet.flac").samples, rtol=0, atol=1e-6)


def test_music_minus_one_lacks_three_quarters_of_the_violin(musician: Run) -> None:
    missing = read_audio(DATA / "duet.flac").samples - musician.samples("minus_one.wav")
    torch.testing.assert_close(missing, (1 - 10 ** (-12 / 20)) * musician.samples("violin.wav"), rtol=0, atol=1e-6)


def test_the_musician_is_told_what_was_gained_and_when_to_listen(musician: Run) -> None:
    gains = re.findall(r"SI-SDR \S+ dB, (\S+) dB above the mixture's", musician.printed)
    assert len(gains) == 2
    assert min(map(float, gains)) > 7  # dB; trained in full, both gain 10.2
    (errors, *_), moments = re.findall(r"\((-?\d+) dB\)", musician.printed), re.findall(r"(\S+) s \(", musician.printed)
    assert len(moments) == 6
    assert float(errors) < float(gains[0])  # where the violin is softest it is worse than as a whole
    duration_s = probe_audio(DATA / "duet.flac").duration_s
    assert all(0 <= float(moment) < duration_s for moment in moments)


@pytest.mark.slow
def test_the_musician_learns_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"default": replace(sepdict.PRESETS["default"], n_steps=20)}
    for module in ("config", "train"):
        monkeypatch.setattr(f"sepdict.training.{module}.PRESETS", MappingProxyType(short))
    train_mask_estimators_briefly(monkeypatch, n_steps=5)
    script = moved(TUTORIALS / "musician.py", tmp_path, "solos", "duet.flac", "duet_references", "piano.safetensors")
    learned = run(script, tmp_path / "musician")
    assert (tmp_path / "data" / "violin.safetensors").is_file()
    stems = learned.samples("violin.wav") + learned.samples("piano.wav")
    torch.testing.assert_close(stems, read_audio(DATA / "duet.flac").samples, rtol=0, atol=1e-6)


def labels(path: Path) -> list[tuple[float, float]]:
    """Read when the labels say that the bird is heard."""
    return [(label.start_s, label.end_s) for label in read_labels(path) if label.name == "violin"]


@pytest.mark.slow
def test_each_label_is_a_call_of_the_bird_and_each_call_is_labeled(recordist: Run) -> None:
    found, calls = labels(recordist.out / "dawn" / "labels.txt"), recordist.names["CALLS_S"]
    assert len(found) == len(calls)
    for (begin, end), (true_begin, true_end) in zip(found, calls, strict=True):
        assert abs(begin - true_begin) <= 0.3  # a call begins softly
        assert abs(end - true_end) <= 0.2
        assert 0 <= begin < end <= probe_audio(recordist.out / "recordings" / "dawn.flac").duration_s


@pytest.mark.slow
def test_where_the_bird_is_silent_nothing_is_found(recordist: Run) -> None:
    assert labels(recordist.out / "noon" / "labels.txt") == []
    assert "noon.flac: nothing" in recordist.printed


@pytest.mark.slow
def test_the_table_of_songs_says_what_the_labels_say_and_how_loud_the_calls_were(recordist: Run) -> None:
    rows = list(csv.DictReader((recordist.out / "songs.csv").read_text().splitlines()))
    spans = [(float(row["begin_s"]), float(row["end_s"])) for row in rows]
    assert {row["recording"] for row in rows} == {"dawn.flac"}
    assert spans == labels(recordist.out / "dawn" / "labels.txt")
    true = read_audio(DATA / "narration_references" / "violin.flac")
    for row, (begin_s, end_s) in zip(rows, recordist.names["CALLS_S"], strict=True):
        call = true.samples[:, round(begin_s * true.sample_rate) : round(end_s * true.sample_rate)]
        assert float(row["level_db"]) == pytest.approx(Audio(call, true.sample_rate).level_db, abs=2)


@pytest.mark.slow
def test_the_next_run_of_the_recordist_keeps_what_is_there(recordist: Run) -> None:
    stem = recordist.out / "dawn" / "violin.wav"
    before = stem.stat().st_mtime_ns
    again = run(TUTORIALS / "bird_recordist.py", recordist.out, str(recordist.out))
    assert [result.kept for result in again.names["results"]] == [True, True]
    assert stem.stat().st_mtime_ns == before
    assert again.printed == recordist.printed


@pytest.mark.slow
def test_voice_and_bed_sum_to_the_mix_and_nothing_clips(podcaster: Run) -> None:
    voice, bed, mix = (podcaster.samples(f"{name}.flac") for name in ("voice", "bed", "mix"))
    torch.testing.assert_close(voice + bed, mix, rtol=0, atol=2 * STEP_OF_24_BITS)
    assert max(float(part.abs().max()) for part in (voice, bed, mix)) <= CEILING + STEP_OF_24_BITS


def test_the_mix_is_as_loud_as_the_episode_was(podcaster: Run) -> None:
    assert read_audio(podcaster.out / "mix.flac").level_db == pytest.approx(
        podcaster.names["episode"].level_db, abs=0.01
    )


def test_the_music_is_soft_under_speech_and_nowhere_else(podcaster: Run) -> None:
    music, rate = podcaster.names["music"].samples, podcaster.names["music"].sample_rate
    music = music * 10 ** (podcaster.names["gain_db"] / 20)
    bed = podcaster.samples("bed.flac")
    n = bed.shape[1]
    speech = slice(3 * rate, n - 3 * rate)  # between the jingles, where the voice never rests for long
    torch.testing.assert_close(bed[:, speech], music[:, speech] * 10 ** (-12 / 20), rtol=0, atol=2 * STEP_OF_24_BITS)
    for jingle in (slice(0, 2 * rate), slice(n - 2 * rate, n)):
        torch.testing.assert_close(bed[:, jingle], music[:, jingle], rtol=0, atol=2 * STEP_OF_24_BITS)


def test_a_loud_episode_is_turned_down_as_a_whole(tmp_path: Path) -> None:
    script = moved(TUTORIALS / "podcaster.py", tmp_path, "speech.safetensors", "violin.safetensors")
    (tmp_path / "data" / "duet_references").mkdir()
    for name in ("narration.flac", "duet_references/violin.flac"):
        quiet = read_audio(DATA / name)
        loud = replace(quiet, samples=quiet.samples / quiet.samples.abs().max())
        write_audio(tmp_path / "data" / name, loud)
    loud_episode = run(script, tmp_path / "podcaster")
    voice, bed, mix = (loud_episode.samples(f"{name}.flac") for name in ("voice", "bed", "mix"))
    assert max(float(part.abs().max()) for part in (voice, bed, mix)) == pytest.approx(CEILING, abs=1e-4)
    torch.testing.assert_close(voice + bed, mix, rtol=0, atol=2 * STEP_OF_24_BITS)


@pytest.mark.slow
def test_the_picture_of_the_duet_can_be_drawn(tmp_path: Path) -> None:
    script = moved(DOCS / "draw_duet.py", tmp_path, "violin.safetensors", "piano.safetensors")
    shorten_duet(tmp_path, duration_s=2)
    run(script, tmp_path / "duet.png", str(tmp_path / "duet.png"))
    for path in (tmp_path / "duet.png", DOCS / "duet.png"):
        assert path.stat().st_size < 300_000
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 800
            assert len(picture.convert("RGB").getcolors(maxcolors=2**16)) > 100
