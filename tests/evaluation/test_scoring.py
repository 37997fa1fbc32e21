"""Laws of the evaluation on built signals, the ways to misuse it, then published cases through folders."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.errors import AudioFileError, ConfigError, ShapeError
from sepdict.evaluation.metrics import si_sdr
from sepdict.evaluation.scoring import RATIOS, Evaluation, SourceScore, evaluate

SAMPLE_RATE = 8000
Sources = dict[str, Audio]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def references(generator: torch.Generator) -> Sources:
    """Two sources that never sound at the same time, so that their ratios are known exactly."""
    piano, flute = torch.zeros(2, 2, 1000)  # each (n_channels, n_samples)
    piano[:, ::2] = torch.randn(2, 500, generator=generator)
    flute[:, 1::2] = piano[:, ::2].flip(0)
    return {"piano": Audio(piano, SAMPLE_RATE), "flute": Audio(flute, SAMPLE_RATE)}


@pytest.fixture
def estimates(references: Sources) -> Sources:
    """Each source with the other leaking in: the piano at 20 dB, the flute at 40 dB."""
    piano, flute = references["piano"].samples, references["flute"].samples
    return {
        "piano": Audio(piano + 0.1 * flute, SAMPLE_RATE),
        "flute": Audio(flute + 0.01 * piano, SAMPLE_RATE),
    }


@pytest.fixture
def mir_eval_folder() -> Path:
    audio = os.environ.get("SEPDICT_AUDIO")
    if audio is None:
        pytest.skip("SEPDICT_AUDIO is not set: the published cases lie in ../fixtures beside that folder")
    return Path(audio).parent / "fixtures" / "mir_eval_separation"


def score(source: str = "piano", **changed: Any) -> SourceScore:
    return replace(SourceScore(source, 1.0, 2.0, 3.0, 4.0, 5.0, silent=False), **changed)


def silent_like(audio: Audio) -> Audio:
    return replace(audio, samples=torch.zeros_like(audio.samples))


def write_all(folder: Path, sources: Sources, extension: str = ".wav") -> Path:
    folder.mkdir()
    for name, audio in sources.items():
        write_audio(folder / f"{name}{extension}", audio)
    return folder


# --- laws


def test_leaks_of_known_level_give_their_scores(estimates: Sources, references: Sources) -> None:
    piano, flute = evaluate(estimates, references).scores
    # float32 samples round the leak of 0.1 and 0.01
    assert piano.si_sdr_db == pytest.approx(20, abs=1e-4)
    assert flute.si_sdr_db == pytest.approx(40, abs=1e-4)
    # both sources are equally loud, so the sum of the references is at 0 dB
    assert piano.si_sdr_improvement_db == pytest.approx(20, abs=1e-4)
    assert flute.si_sdr_improvement_db == pytest.approx(40, abs=1e-4)
    assert piano.sir_db == pytest.approx(20, abs=4)  # 512-tap filters explain much of 2000 samples
    assert flute.sir_db == pytest.approx(40, abs=4)
    assert min(piano.sar_db, flute.sar_db) > 100


def test_scores_follow_the_order_of_the_references(estimates: Sources, references: Sources) -> None:
    reversed_references = dict(reversed(references.items()))
    assert [s.source for s in evaluate(estimates, references).scores] == ["piano", "flute"]
    assert [s.source for s in evaluate(estimates, reversed_references).scores] == ["flute", "piano"]


def test_mixture_is_the_sum_of_the_references_unless_given(estimates: Sources, references: Sources) -> None:
    piano, flute = references["piano"].samples, references["flute"].samples
    default = evaluate(estimates, references)
    assert evaluate(estimates, references, mixture=Audio(piano + flute, SAMPLE_RATE)) == default
    loud_flute = evaluate(estimates, references, mixture=Audio(piano + 10 * flute, SAMPLE_RATE))
    assert loud_flute.scores[0].si_sdr_improvement_db == pytest.approx(40, abs=1e-4)


def test_channels_share_one_scale(references: Sources) -> None:
    piano = references["piano"]
    louder = replace(piano, samples=3 * piano.samples)
    only_left_louder = replace(piano, samples=torch.tensor([[3.0], [1.0]]) * piano.samples)
    [whole] = evaluate({"piano": louder}, {"piano": piano}).scores
    [unbalanced] = evaluate({"piano": only_left_louder}, {"piano": piano}).scores
    assert whole.si_sdr_db > 120  # float32 rounding of the scaled samples
    assert unbalanced.si_sdr_db < 10


def test_extra_estimates_are_ignored(estimates: Sources, references: Sources) -> None:
    residual = Audio(torch.ones(1, 7), 44100)  # fits nothing, and need not
    assert evaluate({"residual": residual, **estimates}, references) == evaluate(estimates, references)


def test_evaluation_does_not_modify_the_audio(estimates: Sources, references: Sources) -> None:
    audios = [*estimates.values(), *references.values()]
    before = [audio.samples.clone() for audio in audios]
    evaluate(estimates, references)
    assert all(torch.equal(kept, audio.samples) for kept, audio in zip(before, audios, strict=True))


# --- silence


def test_silent_reference_is_reported_and_left_out_of_the_mean(estimates: Sources, references: Sources) -> None:
    references["drums"] = silent_like(references["piano"])
    estimates["drums"] = estimates["piano"]
    evaluation = evaluate(estimates, references)
    del references["drums"]
    without = evaluate(estimates, references)
    *sounding, drums = evaluation.scores
    assert drums.silent
    assert all(math.isnan(getattr(drums, name)) for name in RATIOS)
    assert tuple(sounding) == without.scores
    assert evaluation.mean == without.mean
    assert not evaluation.mean.silent


def test_silent_estimate_is_the_worst_there_is_and_not_a_silent_source(estimates: Sources, references: Sources) -> None:
    estimates["flute"] = silent_like(estimates["flute"])
    flute = evaluate(estimates, references).scores[1]
    assert not flute.silent
    assert [getattr(flute, name) for name in RATIOS] == [-math.inf] * 5


def test_mean_of_silent_sources_alone_is_undefined_and_silent(references: Sources) -> None:
    silence = {"piano": silent_like(references["piano"])}
    mean = evaluate(references, silence).mean
    assert mean.silent
    assert all(math.isnan(getattr(mean, name)) for name in RATIOS)


def test_mean_averages_each_ratio() -> None:
    other = SourceScore("flute", 3.0, 6.0, 9.0, 12.0, 15.0, silent=False)
    assert Evaluation((score(), other)).mean == SourceScore("mean", 2.0, 4.0, 6.0, 8.0, 10.0, silent=False)


# --- JSON


def test_dictionary_survives_strict_json() -> None:
    odd = score(si_sdr_db=math.nan, sir_db=math.inf, sar_db=-math.inf)
    content = Evaluation((odd, score("flute"))).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["sources"][0] == {
        "source": "piano",
        "si_sdr_db": None,
        "si_sdr_improvement_db": 2.0,
        "sdr_db": 3.0,
        "sir_db": "inf",
        "sar_db": "-inf",
        "silent": False,
    }
    assert content["mean"]["source"] == "mean"
    assert content["mean"]["sdr_db"] == 3.0


# --- mistakes


def test_reference_without_estimate_is_named_with_what_is_there(references: Sources) -> None:
    with pytest.raises(ConfigError, match="no estimate for reference 'flute'; the estimates are: 'piano', 'residual'"):
        evaluate({"piano": references["piano"], "residual": references["flute"]}, references)


def test_nothing_to_compare_with_is_refused(estimates: Sources) -> None:
    with pytest.raises(ConfigError, match="no reference"):
        evaluate(estimates, {})


MISFITS: dict[str, tuple[Callable[[Audio], Audio], str]] = {
    "rate": (lambda audio: replace(audio, sample_rate=16000), "16000 Hz but reference 'piano' has 8000"),
    "channels": (
        lambda audio: replace(audio, samples=audio.samples[:1]),
        r"1 channel\(s\) but reference 'piano' has 2",
    ),
    "length": (
        lambda audio: replace(audio, samples=audio.samples[:, 1:]),
        "999 samples but reference 'piano' has 1000",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("which", ["estimate 'flute'", "reference 'flute'", "the mixture"])
def test_sounds_that_do_not_fit_are_refused_by_naming_both_values(
    estimates: Sources, references: Sources, misfit: str, which: str
) -> None:
    change, message = MISFITS[misfit]
    mixture = references["piano"]
    if which == "the mixture":
        mixture = change(mixture)
    else:
        sources = estimates if which.startswith("estimate") else references
        sources["flute"] = change(sources["flute"])
    with pytest.raises(ShapeError, match=f"{which} has {message}"):
        evaluate(estimates, references, mixture=mixture)


# --- folders


def test_folders_give_the_same_scores_as_their_audio(tmp_path: Path, estimates: Sources, references: Sources) -> None:
    estimate_folder = write_all(tmp_path / "estimates", {**estimates, "residual": Audio(torch.ones(1, 7), 44100)})
    reference_folder = write_all(tmp_path / "references", references, ".w64")
    expected = evaluate(estimates, {name: references[name] for name in sorted(references)})
    assert evaluate(estimate_folder, reference_folder) == expected


def test_paths_and_pairs_give_the_same_scores_as_their_audio(
    tmp_path: Path, estimates: Sources, references: Sources
) -> None:
    folder = write_all(tmp_path / "references", references)
    expected = evaluate(estimates, references, mixture=references["piano"])
    pairs = {name: (audio.samples.numpy(), audio.sample_rate) for name, audio in estimates.items()}
    paths = {name: folder / f"{name}.wav" for name in references}
    assert evaluate(pairs, paths, mixture=str(folder / "piano.wav")) == expected


@pytest.mark.parametrize("place", ["estimates", "references", "."])
def test_mixture_in_any_folder_is_not_a_source(
    tmp_path: Path, estimates: Sources, references: Sources, place: str
) -> None:
    folders = write_all(tmp_path / "estimates", estimates), write_all(tmp_path / "references", references)
    loud_piano = Audio(10 * references["piano"].samples + references["flute"].samples, SAMPLE_RATE)
    mixture = write_audio(tmp_path / place / "mixture.wav", loud_piano)
    flute, piano = evaluate(*folders, mixture=mixture).scores
    assert flute.si_sdr_improvement_db == pytest.approx(60, abs=1e-3)
    assert piano.si_sdr_improvement_db == pytest.approx(0, abs=1e-3)


def test_two_files_of_one_name_are_refused(tmp_path: Path, references: Sources) -> None:
    folder = write_all(tmp_path / "stems", references)
    write_audio(folder / "piano.w64", references["piano"])
    with pytest.raises(ConfigError, match=r"piano\.w64 and piano\.wav both stand for source 'piano'"):
        evaluate(folder, folder)


def test_folder_without_the_estimate_is_refused_before_anything_is_read(tmp_path: Path, references: Sources) -> None:
    reference_folder = write_all(tmp_path / "references", references)
    estimate_folder = tmp_path / "estimates"
    estimate_folder.mkdir()
    (estimate_folder / "piano.wav").write_text("not audio at all")
    with pytest.raises(ConfigError, match="no estimate for reference 'flute'; the estimates are: 'piano'"):
        evaluate(estimate_folder, reference_folder)


@pytest.mark.parametrize("wrong", ["estimates", "references"])
@pytest.mark.parametrize("mistake", ["missing", "empty", "file"])
def test_folder_that_cannot_be_used_is_named(tmp_path: Path, references: Sources, wrong: str, mistake: str) -> None:
    folders = {"estimates": tmp_path / "right", "references": tmp_path / "right", wrong: tmp_path / mistake}
    write_all(tmp_path / "right", references)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(AudioFileError, match=mistake):
        evaluate(folders["estimates"], folders["references"])


# --- published cases


@pytest.mark.parametrize("name", ["01", "07", "09"])
def test_folders_reproduce_the_cases_of_mir_eval(mir_eval_folder: Path, name: str) -> None:
    expected = json.loads((mir_eval_folder / f"output{name}.json").read_text())["Sources"]
    scores = evaluate(mir_eval_folder / f"est{name}", mir_eval_folder / f"ref{name}").scores
    assert [s.sdr_db for s in scores] == pytest.approx(expected["Source to Distortion"], abs=1e-6)
    assert [s.sir_db for s in scores] == pytest.approx(expected["Source to Interference"], abs=1e-6)
    assert [s.sar_db for s in scores] == pytest.approx(expected["Source to Artifact"], abs=1e-6)


def test_stereo_folders_are_scored_over_both_channels(mir_eval_folder: Path) -> None:
    folders = mir_eval_folder / "est06", mir_eval_folder / "ref06"
    expected = [joined_si_sdr(folders[0] / name, folders[1] / name) for name in ("0.wav", "1.wav")]
    evaluation = evaluate(*folders)
    assert [s.si_sdr_db for s in evaluation.scores] == pytest.approx(expected, abs=1e-9)
    assert all(math.isfinite(value) for value in astuple(evaluation.mean)[1:])


def joined_si_sdr(estimate: Path, reference: Path) -> float:
    def joined(path: Path) -> Tensor:
        left, right = read_audio(path).samples
        return torch.cat([left, right])

    return si_sdr(joined(estimate), joined(reference)).item()


@pytest.mark.parametrize("power", [-100, 119])
def test_scores_do_not_depend_on_the_level(estimates: Sources, references: Sources, power: int) -> None:
    def louder(sources: Sources) -> Sources:
        return {name: replace(audio, samples=audio.samples * 2.0**power) for name, audio in sources.items()}

    plain, scaled = evaluate(estimates, references), evaluate(louder(estimates), louder(references))
    for one, other in zip(plain.scores, scaled.scores, strict=True):
        for name in RATIOS:
            assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-6)
