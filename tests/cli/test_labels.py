"""`sepdict separate --labels`, `--corrections` and `--guide`: from a recording and what is known of it to stems."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from front_end import SAMPLE_RATE, TINY, fail, mixture, read_json, run, sound, succeed, trained, tree

import sepdict.marking.learning
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.library import library_folder
from sepdict.evaluation.metrics import si_sdr
from sepdict.marking.learning import MarkingConfig

LABELS = "0\t1.5\thiss\n1.5\t3\thum\n"
DRAFT = ("--quality", "draft")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a recording, each source first alone, and its labels; learn briefly."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setattr(sepdict.marking.learning, "MarkingConfig", partial(MarkingConfig, TINY))
    parts = [sound("hiss", n_samples=12000), sound("hum", n_samples=12000), mixture(n_samples=12000, seed=3)]
    write_audio("song.wav", Audio(torch.cat([part.samples for part in parts], dim=1), SAMPLE_RATE))
    Path("song.txt").write_text(LABELS)
    return here


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """The options that name two dictionaries."""
    paths = [trained(source).save(tmp_path / f"{source}.safetensors") for source in ("hiss", "hum")]
    return ["-d", str(paths[0]), "-d", str(paths[1])]


def stem(source: str, folder: str = "separated") -> Audio:
    return read_audio(f"{folder}/song/{source}.wav")


def test_a_recording_and_its_labels_give_a_stem_for_each_name() -> None:
    result = run("separate", "song.wav", "--labels", "song.txt", *DRAFT)
    assert result.exit_code == 0, result.stderr
    assert "marked in song.wav: hiss 1.5 s, hum 1.5 s" in result.stderr
    assert "note: that is little of hiss, hum; ten seconds give clearly better stems" in result.stderr
    assert "learning hiss, hum" in result.stderr
    whole, alone = read_audio("song.wav"), slice(1000, 11000)
    assert si_sdr(stem("hiss").samples[0, alone], whole.samples[0, alone]) > 20
    torch.testing.assert_close(stem("hiss").samples + stem("hum").samples, whole.samples, atol=1e-5, rtol=0)


def test_each_source_may_have_a_file_of_labels_of_its_own() -> None:
    for name, line in zip(("hiss", "hum"), LABELS.splitlines(), strict=True):
        Path(f"{name}.txt").write_text(f"{line}\n")
    succeed("separate", "song.wav", "--labels", "hiss.txt", "--labels", "hum.txt", *DRAFT)
    assert sorted(path.name for path in Path("separated/song").glob("*.wav")) == ["hiss.wav", "hum.wav"]


def test_one_name_gives_its_stem_and_the_rest() -> None:
    Path("song.txt").write_text("0\t1.5\thiss\n")
    result = run("separate", "song.wav", "--labels", "song.txt", "--residual", "rest", *DRAFT)
    assert sorted(path.name for path in Path("separated/song").glob("*.wav")) == ["hiss.wav", "rest.wav"]
    assert "note: one source is known; all else goes to one other stem" in result.stderr


def test_quiet_and_json_print_no_more_than_ever() -> None:
    result = run("separate", "song.wav", "--labels", "song.txt", "--quiet", *DRAFT)
    assert result.stderr == ""
    assert [Path(line).name for line in result.stdout.splitlines()] == ["hiss.wav", "hum.wav"]


def test_labels_and_dictionaries_mix(tmp_path: Path) -> None:
    hum = trained("hum").save(tmp_path / "hum.safetensors")
    Path("song.txt").write_text("0\t1.5\thiss\n")
    succeed("separate", "song.wav", "--labels", "song.txt", "-d", hum, *DRAFT)
    assert sorted(path.name for path in Path("separated/song").glob("*.wav")) == ["hiss.wav", "hum.wav"]
    facts = read_json(Path("separated/song/manifest.json"))
    assert [each.get("file") is None for each in facts["dictionaries"]] == [False, True]


def test_keep_puts_what_was_learned_into_the_library_where_it_separates_again() -> None:
    succeed("separate", "song.wav", "--labels", "song.txt", "--keep", *DRAFT)
    assert [path.name for path in sorted(library_folder().iterdir())] == ["hiss.safetensors", "hum.safetensors"]
    assert Dictionary.load(library_folder() / "hum.safetensors").card.heard[0]["name"] == "song.wav"
    succeed("separate", "song.wav", "-d", "hiss", "-d", "hum", "-o", "again", *DRAFT)
    command = ("separate", "song.wav", "--labels", "song.txt", "--keep", *DRAFT)
    assert "kept" in succeed(*command, "--skip-existing")[0]  # the same dictionaries are there already
    Path("song.txt").write_text("0\t1.4\thiss\n1.5\t3\thum\n")
    assert "hiss.safetensors: exists already" in fail(*command, "-o", "other")
    succeed(*command, "--overwrite", "-o", "other")


def test_the_same_labels_are_kept_by_skip_existing_and_others_separate_again() -> None:
    command = ("separate", "song.wav", "--labels", "song.txt", "--skip-existing", *DRAFT)
    succeed(*command)
    assert "kept" in succeed(*command)[0]
    Path("song.txt").write_text(LABELS + "3.2\t3.6\thum\n")
    assert "kept" not in succeed(*command, "--overwrite")[0]


def test_times_of_labels_are_the_recordings_whatever_the_start() -> None:
    succeed("separate", "song.wav", "--labels", "song.txt", "--start", "1", *DRAFT)
    whole, alone = read_audio("song.wav"), slice(9000, 11000)
    assert si_sdr(stem("hiss").samples[0, 1000:3000], whole.samples[0, alone]) > 20
    facts = read_json(Path("separated/song/manifest.json"))
    assert facts["excerpt"]["start_s"] == 1
    assert facts["asked"]["settings"]["labels"][0]["end_s"] == 1.5


def test_a_correction_overrules_the_separation_where_it_lies(pair: list[str]) -> None:
    Path("wrong.txt").write_text("3.5\t4\thum\n\\\t1000\t2000\n")
    succeed("separate", "song.wav", *pair, "-o", "before", *DRAFT)
    succeed("separate", "song.wav", *pair, "--corrections", "wrong.txt", *DRAFT)
    moved = stem("hum").samples - stem("hum", "before").samples
    assert moved[0, 29000:31000].norm() > 10 * moved[0, :27000].norm()
    hiss = torch.fft.rfft(stem("hiss").samples[0, 29000:31000] * torch.hann_window(2000)).abs()
    assert hiss[300:450].mean() < 0.05 * hiss[600:].mean()


def test_another_tools_stem_guides_its_own(pair: list[str]) -> None:
    true = torch.cat([sound("hiss", n_samples=12000).samples, torch.zeros(1, 12000)], dim=1)
    true = torch.cat([true, sound("hiss", n_samples=12000, seed=6).samples], dim=1)
    write_audio("hiss.wav", Audio(true, SAMPLE_RATE))
    succeed("separate", "song.wav", *pair, "-o", "before", *DRAFT)
    succeed("separate", "song.wav", *pair, "--guide", "hiss=hiss.wav", *DRAFT)
    mixed = slice(24000, None)
    before, after = (si_sdr(stem("hiss", each).samples[0, mixed], true[0, mixed]) for each in ("before", "separated"))
    assert after > before + 0.5


def test_a_guide_that_holds_nothing_is_noted(pair: list[str]) -> None:
    whole = read_audio("song.wav")
    write_audio("silent.wav", replace(whole, samples=0 * whole.samples))
    result = run("separate", "song.wav", *pair, "--guide", "hiss=silent.wav", *DRAFT)
    assert result.exit_code == 0
    assert result.stderr.count("silent.wav: does not guide 'hiss' where it is nearly silent") == 1


WRONG_LABELS = {  # the content of a label file, and what is said of it
    "": "song.txt: holds no label",
    "0\t2\thiss\n1\t3\thum\n": "hiss",
    "0\t1.5\thiss\n7\t9\thum\n": "song.wav",
    "1.5\t0\thiss\n": "song.txt: line 1",
    "0\t0.3\thiss\n1.5\t3\thum\n": "song.wav: 0.30 s are marked as 'hiss'; expected 1 s at least",
    "0\t1.5\tresidual\n": "residual",
    "0\t1.5\thiss\n1.5\t3\tHiss\n": "song.wav: labels are named 'hiss' and 'Hiss'; expected one spelling",
    "0\t1.5\thiss\n\\\t5000\t6000\n": "begins at 5000 Hz; expected less than 4000 Hz, where song.wav ends",
}


@pytest.mark.parametrize(("content", "said"), WRONG_LABELS.items(), ids=WRONG_LABELS.values())
def test_wrong_labels_are_one_line_and_leave_nothing(in_a_folder: Path, content: str, said: str) -> None:
    Path("song.txt").write_text(content)
    before = tree(in_a_folder)
    assert said in fail("separate", "song.wav", "--labels", "song.txt", *DRAFT)
    assert tree(in_a_folder) == before


def test_a_name_that_no_file_can_have_is_refused_before_anything_else(in_a_folder: Path) -> None:
    Path("song.txt").write_text("0\t1.5\thiss/2\n")
    result = run("separate", "song.wav", "--labels", "song.txt", *DRAFT)
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("sepdict: song.txt: a label's name is 'hiss/2'")


def test_labels_of_several_recordings_are_refused(in_a_folder: Path) -> None:
    write_audio("other.wav", mixture())
    error = fail("separate", "song.wav", "other.wav", "--labels", "song.txt")
    assert "--labels are of one recording, and there are 2" in error


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        ("hiss=nosuch.wav", "nosuch.wav: no such file"),
        ("cat=song.wav", "guides 'cat'; expected one of the stems hiss, hum"),
        ("hiss=short.wav", "short.wav: lasts 0.750 s, its mixture 4.500 s"),
        ("hiss=late.wav", "late.wav: comes 100 ms too late"),
    ],
)
def test_wrong_guides_are_one_line_and_leave_nothing(in_a_folder: Path, pair: list[str], guide: str, said: str) -> None:
    write_audio("short.wav", mixture())
    whole = read_audio("song.wav")
    write_audio("late.wav", replace(whole, samples=whole.samples.roll(800)))
    before = tree(in_a_folder)
    assert said in fail("separate", "song.wav", *pair, "--guide", guide, *DRAFT)
    assert tree(in_a_folder) == before
