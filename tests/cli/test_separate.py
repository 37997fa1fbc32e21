"""`sepdict separate`: from mixtures to stems, with the paths on stdout and everything else on stderr."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from front_end import (
    BAD,
    SAMPLE_RATE,
    TINY,
    constant_bss_eval,
    error_lines,
    fail,
    mixture,
    read_json,
    run,
    sound,
    succeed,
    train_mask_estimators_briefly,
    trained,
    tree,
    write_bad,
    write_mixtures,
    write_references,
)

import sepdict.audio.writing
import sepdict.batch.track
from sepdict.audio.io import read_audio
from sepdict.audio.labels import read_labels
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.evaluation.config import ActivityConfig
from sepdict.training.train import train_dictionary


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder beside the one with the dictionaries."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """The options that name two dictionaries."""
    paths = [trained(source).save(tmp_path / f"{source}.safetensors") for source in ("hiss", "hum")]
    return ["-d", str(paths[0]), "-d", str(paths[1])]


def test_stems_go_to_a_folder_per_track_and_their_paths_to_stdout(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    result = run("separate", "song.wav", *pair)
    assert result.exit_code == 0
    title, *paths = result.stdout.splitlines()
    assert re.fullmatch(
        r"song\.wav: 0\.8 s in \d+\.\d s \(real-time factor \d+\.\d\d\), explained energy \d+\.\d %, "
        r"null test -1\d\d dB, converged",
        title,
    )
    assert paths == [str(here / "separated" / "song" / f"{source}.wav") for source in ("hiss", "hum")]
    assert result.stderr == "separating song.wav (1 of 1)\n"
    stems = [read_audio(path) for path in paths]
    total = stems[0].samples + stems[1].samples
    torch.testing.assert_close(total, mixture().samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("label_format", ["audacity", "raven"])
def test_labels_are_written_beside_the_stems_and_printed_last(here: Path, pair: list[str], label_format: str) -> None:
    write_mixtures(here, "song")
    *stems, labels = succeed("separate", "song.wav", *pair, "-q", "--write-labels", label_format)
    assert labels == str(here / "separated" / "song" / "labels.txt")
    found = read_labels(labels)
    assert {label.name for label in found} == {Path(stem).stem for stem in stems}
    assert all((label.high_hz is None) == (label_format == "audacity") for label in found)
    succeed("check", "separated")
    again = succeed("separate", "song.wav", *pair, "-q", "--write-labels", label_format, "--skip-existing")
    assert again == [*stems, labels]


def test_the_help_states_the_threshold_of_the_labels() -> None:
    said = " ".join(run("separate", "--help").stdout.replace("\u2502", " ").split())
    assert f"less than {ActivityConfig().below_db:g} dB below the loudest 20 ms of all stems" in said


def test_quiet_prints_the_paths_only(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "a", "b")
    result = run("separate", ".", *pair, "-o", "out", "--quiet")
    assert result.stdout.splitlines() == [
        str(here / "out" / track / f"{source}.wav") for track in ("a", "b") for source in ("hiss", "hum")
    ]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("named", "tracks"),
    [
        (["a.wav"], ["a"]),
        (["b.wav", "a.wav"], ["b", "a"]),
        (["."], ["a", "b"]),
        (["*.wav"], ["a", "b"]),
        (["[b-z].wav", "more"], ["b", "c"]),
        (["a.wav", ".", "./a.wav", "../here/b.wav"], ["a", "b"]),
    ],
)
def test_mixtures_are_files_folders_and_patterns_each_once(
    here: Path, pair: list[str], named: list[str], tracks: list[str]
) -> None:
    write_mixtures(here, "a", "b")
    write_mixtures(here / "more", "c")
    paths = succeed("separate", *named, *pair, "-q")
    assert [Path(path).parent.name for path in paths[::2]] == tracks


def test_a_track_is_called_as_where_it_was_named_first(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "take")
    write_mixtures(here / "monday", "take")
    succeed("separate", ".", "monday", "--recursive", *pair, "-o", "../out", "--quality=draft")
    tracks = sorted(path.parent for path in (here / "../out").rglob("manifest.json"))
    assert tracks == [here / "../out/monday/take", here / "../out/take"]


@pytest.mark.parametrize(
    "name", ["take [1].wav", "two  spaces.wav", "-dash.wav", "Ωμέγα.wav", "no extension", ".hidden.wav"]
)
def test_unusual_file_names_work(here: Path, pair: list[str], name: str) -> None:
    write_mixtures(here, "song")[0].rename(here / name)
    paths = succeed("separate", *pair, "-q", "--", name)
    track = name.removesuffix(".wav")
    if not Path(name).suffix:
        track = name
    assert paths == [str(here / "separated" / track / f"{source}.wav") for source in ("hiss", "hum")]
    assert all(Path(path).is_file() for path in paths)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="soundfile reads no such name, ffmpeg is not installed")
def test_a_file_name_that_is_no_unicode_works(here: Path, pair: list[str]) -> None:
    name = os.fsdecode(b"\xff.wav")
    write_mixtures(here, "song")[0].rename(here / name)
    succeed("separate", "--quiet", name, *pair)
    assert set(tree(here / "separated")) >= {os.fsdecode(b"\xff/hiss.wav"), os.fsdecode(b"\xff/hum.wav")}
    assert read_json(here / "separated" / os.fsdecode(b"\xff") / "manifest.json")["converged"] is True


def test_the_manifest_names_the_dictionary_files(here: Path, tmp_path: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    succeed("separate", "song.wav", *pair, "--device", "cpu")
    manifest = read_json(here / "separated" / "song" / "manifest.json")
    files = [dictionary["file"] for dictionary in manifest["dictionaries"]]
    assert files == [str(tmp_path / f"{source}.safetensors") for source in ("hiss", "hum")]
    assert manifest["settings"]["device"] == "cpu"


def test_a_residual_is_written_when_asked_for(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    names = [Path(path).name for path in succeed("separate", "song.wav", *pair, "--residual", "rest", "-q")]
    assert names == ["hiss.wav", "hum.wav", "rest.wav"]


def test_references_are_scored_in_a_table(here: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_mixtures(here, "song", "other")
    for seed, track in enumerate(["song", "other"]):
        write_references(here / "truth" / track, seed=seed)
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    lines = succeed("separate", "song.wav", "other.wav", *pair, "--references", "truth", "--residual", "rest")
    assert len(lines) == 2 * 6 + 1  # per track a title, the columns, three stems, their mean; then what they mean
    assert lines[1].split() == ["stem", "SI-SDR", "gain", "SDR", "SIR", "SAR"]
    assert [line.split()[0] for line in lines[2:6]] == [
        *(str(here / "separated" / "song" / f"{source}.wav") for source in ("hiss", "hum", "rest")),
        "mean",
    ]
    assert lines[2].split()[3:] == ["1.00", "inf", "3.00"]
    assert lines[4].split()[1:] == []  # a residual has no reference
    assert lines[5].split()[3:] == ["1.00", "inf", "3.00"]
    assert "BSS Eval" in lines[-1]
    scores = read_json(here / "separated" / "song" / "manifest.json")["scores"]
    assert lines[3].split()[1] == f"{scores['sources'][1]['si_sdr_db']:.2f}"


def test_scores_are_printed_with_quiet_too(here: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_mixtures(here, "song")
    write_references(here / "truth")
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    title, columns, *rows = succeed("separate", "song.wav", *pair, "--references", "truth", "--quality=draft", "-q")
    assert title == "song.wav"
    assert columns.split() == ["stem", "SI-SDR", "gain", "SDR", "SIR", "SAR"]
    paths = [str(here / "separated" / "song" / f"{source}.wav") for source in ("hiss", "hum")]
    assert [row.split()[0] for row in rows] == [*paths, "mean"]
    assert all(row.split()[3:] == ["1.00", "inf", "3.00"] for row in rows)


def test_existing_stems_need_overwrite(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    succeed("separate", "song.wav", *pair)
    (here / "separated" / "song" / "hum.wav").write_text("precious")
    before = tree(here)
    said = fail("separate", "song.wav", *pair)
    assert said.startswith(f"sepdict: {here}/separated/song/hiss.wav: exists already (and 2 more); overwrite it, or")
    assert tree(here) == before
    succeed("separate", "song.wav", *pair, "--overwrite")
    assert read_audio(here / "separated" / "song" / "hum.wav").n_samples == 6000


def test_a_note_is_printed_once(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    (here / "gone.wav").symlink_to("nowhere")
    done = run("separate", ".", *pair)
    assert done.stderr.count("passed over 1 file (gone.wav)") == 1


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_alone_is_one_line_and_leaves_nothing(here: Path, pair: list[str], what: str) -> None:
    path = write_bad(here / "song.wav", what)
    before = tree(here)
    said = fail("separate", path, *pair)
    assert said.startswith(f"sepdict: {path}: ")
    assert BAD[what] in said
    assert tree(here) == before


@pytest.mark.parametrize("named", ["folder/*.wav", "folder", "missing", "a" * 300])
def test_an_argument_without_audio_is_one_line_and_leaves_nothing(here: Path, pair: list[str], named: str) -> None:
    (here / "folder").mkdir()
    assert fail("separate", named, *pair).startswith(f"sepdict: {named}: ")
    assert list(tree(here)) == ["folder"]


def test_bad_files_are_skipped_and_the_rest_goes_on(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "a", "c")
    write_bad(here / "b.wav", "truncated")
    result = run("separate", ".", *pair, "-q")
    assert result.exit_code == 3
    assert [Path(path).parent.name for path in result.stdout.splitlines()[::2]] == ["a", "c"]
    truncated, summary = error_lines(result)
    assert truncated.startswith("sepdict: b.wav: cut short")
    assert summary == "sepdict: 1 of 3 files failed"


def test_a_silent_mixture_is_no_error(here: Path, pair: list[str]) -> None:
    write_audio(here / "song.wav", Audio(torch.zeros(2, 4000), 8000))
    title, *paths = succeed("separate", "song.wav", *pair)
    assert title.endswith("silent, there was nothing to separate")
    assert not any(read_audio(path).samples.any() for path in paths)
    assert read_json(here / "separated" / "song" / "manifest.json")["explained_energy"] is None
    (again,) = json.loads("".join(succeed("separate", "song.wav", *pair, "--skip-existing", "--json")))
    assert (again["kept"], again["explained_energy"]) == (True, None)


@pytest.mark.parametrize(
    "shape",
    [{"n_samples": 1}, {"n_samples": 300}, {"n_channels": 8}, {"sample_rate": 192_000, "n_samples": 24_000}],
    ids=str,
)
def test_short_wide_and_fast_mixtures_work(here: Path, pair: list[str], shape: dict[str, int]) -> None:
    original = mixture(**shape)
    write_audio(here / "song.wav", original)
    for path in succeed("separate", "song.wav", *pair, "-q"):
        stem = read_audio(path)
        assert (stem.samples.shape, stem.sample_rate) == (original.samples.shape, original.sample_rate)


def test_mixtures_of_one_name_are_refused(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    write_mixtures(here / "live", "song")
    before = tree(here)
    said = fail("separate", "song.wav", "live", *pair)
    assert said.startswith(f"sepdict: song.wav and live/song.wav would both be written to {here}/separated/song/hiss")
    assert tree(here) == before


def test_an_unwritable_output_folder_is_one_line(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    before = tree(here)
    said = fail("separate", "song.wav", *pair, "-o", "song.wav/out")
    assert said == f"sepdict: {here}/song.wav/out: cannot be written to (Not a directory)"
    assert tree(here) == before


def test_a_full_disk_is_one_line_and_leaves_nothing(
    here: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_mixtures(here, "song")
    before = tree(here)
    monkeypatch.setattr(os, "fsync", full_disk)
    said = fail("separate", "song.wav", *pair)
    assert said.startswith(f"sepdict: {here}/separated/song/hum.wav: cannot be written (No space left on device)")
    assert tree(here) == before


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot be read (No such file or directory)"),
    "a folder": (replace_by_folder, "cannot be read (Is a directory)"),
    "empty": (lambda path: path.write_bytes(b""), "no dictionary file"),
    "text": (lambda path: path.write_text("words"), "is no dictionary"),
    "audio": (lambda path: write_audio(path.with_suffix(".wav"), sound()).rename(path), "is no dictionary"),
    "foreign": (lambda path: safetensors.torch.save_file({"w": torch.ones(1)}, path), "holds something else"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "truncated or damaged"),
    "flipped": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "damaged"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_dictionary_is_one_line_and_leaves_nothing(
    here: Path, tmp_path: Path, pair: list[str], damage: str
) -> None:
    write_mixtures(here, "song")
    break_it, said = DAMAGE[damage]
    break_it(tmp_path / "hum.safetensors")
    before = tree(here)
    message = fail("separate", "song.wav", *pair)
    assert message.startswith(f"sepdict: {tmp_path / 'hum.safetensors'}: ")
    assert said in message
    assert tree(here) == before


@pytest.mark.parametrize("copied", [True, False])
def test_the_same_dictionary_twice_or_two_sources_of_one_name_are_refused(
    here: Path, tmp_path: Path, copied: bool
) -> None:
    write_mixtures(here, "song")
    first = trained("hum").save(tmp_path / "hum.safetensors")
    second = Path(shutil.copy(first, tmp_path / "other.safetensors")) if copied else first
    before = tree(here)
    said = fail("separate", "song.wav", "-d", first, "-d", second)
    assert said.startswith("sepdict: 2 dictionaries are of source 'hum'; ")
    assert tree(here) == before


def test_dictionaries_of_other_rates_are_refused(here: Path, tmp_path: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    hum = trained("hum")
    Dictionary(replace(hum.card, sample_rate=16_000), hum.network).save(tmp_path / "hum.safetensors")
    before = tree(here)
    assert "'hiss' has sample_rate 8000, 'hum' has 16000; " in fail("separate", "song.wav", *pair)
    assert tree(here) == before


def test_an_unknown_device_is_one_line(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    said = fail("separate", "song.wav", *pair, "--device", "abacus")
    assert said.startswith("sepdict: device 'abacus' cannot be used here; expected auto or cpu")


def test_files_are_separated_several_at_a_time_and_printed_in_order(
    here: Path, pair: list[str], two_threads: None
) -> None:
    write_mixtures(here, "a", "b", "c")
    write_bad(here / "bad.wav", "empty")
    result = run("separate", ".", *pair, "-j", "2", "-q")
    assert result.exit_code == 3
    first, last = error_lines(result)
    assert first == "sepdict: bad.wav: is empty (0 bytes); expected an audio file"
    assert last == "sepdict: 1 of 4 files failed"
    tracks = [here / "separated" / track for track in "abc"]
    assert result.stdout.splitlines() == [str(folder / f"{name}.wav") for folder in tracks for name in ("hiss", "hum")]


def test_short_segments_and_a_dictionary_of_the_unknown_are_made_on_request(here: Path, pair: list[str]) -> None:
    write_audio(here / "song.wav", mixture(n_samples=4 * SAMPLE_RATE))
    succeed("separate", "song.wav", *pair[:2], "--segment", "3", "--background-model")
    folder = here / "separated" / "song"
    assert {path.name for path in folder.iterdir()} == {"hiss.wav", "residual.wav", "manifest.json"}
    settings = read_json(folder / "manifest.json")["settings"]
    assert (settings["segment_s"], settings["background_model"], settings["mask_estimator"]) == (3.0, True, None)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_program_told_to_end_clears_up(here: Path, pair: list[str], jobs: str) -> None:
    for name in ("a", "b"):
        write_audio(here / f"{name}.wav", mixture(n_samples=300 * SAMPLE_RATE))
    command = [Path(sys.executable).with_name("sepdict"), "separate", "a.wav", "b.wav", *pair, "-j", jobs]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=here) as process:
        while not list(here.glob("separated/.sepdict-*.tmp/*/.sepdict-*")):  # until stems are being written
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.splitlines()[-1] == "sepdict: terminated"
    assert "Traceback" not in errors
    assert output == ""
    assert not (here / "separated").exists()


def test_segments_too_short_are_refused(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    result = run("separate", "song.wav", *pair, "--segment", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'--segment': '2'; expected 3 or more;" in result.stderr
    assert not (here / "separated").exists()


@pytest.mark.parametrize("arguments", [["song.wav"], ["-d", "x.safetensors"], ["song.wav", "-d"], ["--loud"]])
def test_a_wrong_use_exits_with_2(arguments: list[str]) -> None:
    result = run("separate", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("sepdict: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("function", ["open_audio", "separate_in_blocks", "writing_audio"])
def test_ctrl_c_keeps_finished_tracks_prints_them_and_leaves_no_half_written_one(
    here: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    write_mixtures(here, "a", "b", "c")
    module = sepdict.audio.writing if function == "writing_audio" else sepdict.batch.track
    original, n_left = getattr(module, function), 3 if function == "writing_audio" else 2

    def interrupt(*args: object, **kwargs: object) -> object:
        nonlocal n_left
        n_left -= 1
        if n_left == 0:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(module, function, interrupt)
    result = run("separate", ".", *pair)
    assert result.exit_code == 130
    assert error_lines(result) == ["sepdict: interrupted"]
    assert result.stdout.splitlines()[1:] == [str(here / "separated" / "a" / f"{name}.wav") for name in ("hiss", "hum")]
    assert set(tree(here / "separated")) == {"a", "a/hiss.wav", "a/hum.wav", "a/manifest.json"}


@pytest.mark.slow
def test_a_mask_estimator_is_trained_once_and_not_at_all_on_request(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path / "cache"))
    train_mask_estimators_briefly(monkeypatch, n_steps=3)
    options = []
    for name in ("hiss", "hum"):
        config = replace(TINY, exemplars_s=60.0)
        dictionary = train_dictionary(sound(name, n_samples=2 * SAMPLE_RATE), config, source=name).save(
            tmp_path / f"{name}-remembers.safetensors"
        )
        options += ["-d", str(dictionary)]
    write_mixtures(here, "song", "air")
    late = run("separate", "song.wav", *options, "--start", "0:30")
    assert late.stderr.splitlines()[-1].startswith("sepdict: song.wav: lasts 0.8 s; expected more than the start")
    assert "telling" not in late.stderr
    plain = run("separate", "song.wav", *options, "-o", "plain", "--quality=draft")
    assert plain.stderr == "separating song.wav (1 of 1)\n"
    assert not (tmp_path / "cache").exists()
    first = run("separate", "song.wav", "air.wav", *options)
    assert first.stderr.splitlines()[0] == "telling hiss and hum apart (once, then it is remembered)"
    assert [line.split()[0] for line in first.stderr.splitlines()] == ["telling", "separating", "separating"]
    again = run("separate", "song.wav", *options, "--overwrite")
    assert again.stderr == "separating song.wav (1 of 1)\n"
    stems = [read_audio(here / folder / "song/hiss.wav").samples for folder in ("plain", "separated")]
    assert not torch.equal(*stems)


def test_verbose_tells_how_each_segment_went_and_where_an_error_came_from(here: Path, pair: list[str]) -> None:
    write_mixtures(here, "song")
    (here / "text.wav").write_text("no sound " * 50)
    result = run("separate", "song.wav", "text.wav", *pair, "--quality=draft", "-v")
    assert result.exit_code == 3
    assert "sepdict.separation.engine: segment 1 of 1: " in result.stderr
    assert "Traceback" in result.stderr
