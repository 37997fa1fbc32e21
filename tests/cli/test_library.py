"""`sepdict list`, `env`, and dictionaries that are installed and found by name."""

import importlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from forgery import at, forge, nested
from front_end import TINY, error_lines, fail, mixture, read_json, run, sound, succeed, trained, tree

from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.web.dictionaries import Library

complete_dictionary = importlib.import_module("sepdict_cli.options.completion").complete_dictionary


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})
    return tmp_path / "library"


@pytest.fixture
def solos(tmp_path: Path) -> list[Path]:
    """Folders of two sources."""
    folders = [tmp_path / "solos" / "violin", tmp_path / "solos" / "piano"]
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        write_audio(folder / "take.wav", sound(n_samples=16000, seed=seed))
    return folders


def test_without_an_output_the_library_gets_the_dictionary(solos: list[Path], library: Path) -> None:
    path, _ = succeed("train-dictionary", solos[0])
    assert path == str(library / "violin.safetensors")
    assert Dictionary.load(path).source == "violin"
    assert "exists already" in fail("train-dictionary", solos[0])


def test_a_folder_gives_its_whole_name(solos: list[Path], library: Path) -> None:
    folder = solos[0].rename(solos[0].with_name("violin.2nd"))
    assert succeed("train-dictionary", folder, "-q") == [str(library / "violin.2nd.safetensors")]


def test_the_name_given_is_the_name_installed(solos: list[Path], library: Path) -> None:
    succeed("train-dictionary", solos[0], "--name", "fiddle")
    assert [path.name for path in library.iterdir()] == ["fiddle.safetensors"]


@pytest.mark.parametrize("given", [True, False])
def test_each_folder_becomes_a_dictionary_named_after_it(
    solos: list[Path], library: Path, tmp_path: Path, given: bool
) -> None:
    folder = tmp_path / "dictionaries" if given else library
    lines = succeed("train-dictionary", *solos, "--each", "-q", *(["-o", folder] if given else []))
    assert lines == [str(folder / "violin.safetensors"), str(folder / "piano.safetensors")]
    assert [Dictionary.load(line).source for line in lines] == ["violin", "piano"]


def test_each_is_refused_before_the_first_training_where_it_cannot_be(solos: list[Path], tmp_path: Path) -> None:
    before = tree(tmp_path)
    assert "is not a folder" in fail("train-dictionary", *solos, solos[0] / "take.wav", "--each")
    assert "another folder is named 'violin'" in fail("train-dictionary", *solos, solos[0], "--each")
    assert "--name is 'x'" in fail("train-dictionary", *solos, "--each", "--name", "x")
    assert tree(tmp_path) == before
    succeed("train-dictionary", solos[1])
    assert "piano.safetensors: exists already" in fail("train-dictionary", *solos, "--each")


def test_an_interrupted_run_goes_on_with_the_dictionaries_that_are_missing(solos: list[Path], library: Path) -> None:
    words = ["train-dictionary", *solos, "--each", "--skip-existing"]
    violin, piano = (Path(path) for path in succeed(*words, "-q"))
    before = violin.read_bytes()
    piano.unlink()
    assert [each["kept"] for each in read_json("".join(succeed(*words, "--json")))] == [True, False]
    assert violin.read_bytes() == before
    assert succeed(*words)[:2] == [str(violin), "kept, it was there already"]


def test_several_at_a_time_become_the_same_dictionaries_with_the_same_remarks(
    solos: list[Path], library: Path, tmp_path: Path
) -> None:
    words = ["train-dictionary", *solos, "--each"]
    one_by_one, together = (run(*words, "-o", tmp_path / f"{jobs} jobs", "-j", jobs) for jobs in ("1", "2"))
    assert [one_by_one.exit_code, together.exit_code] == [0, 0]
    assert tree(tmp_path / "2 jobs") == tree(tmp_path / "1 jobs")
    remarks = [line.removeprefix("note: ") for line in one_by_one.stderr.splitlines() if "is little" in line]
    assert remarks
    assert sorted(line for line in together.stderr.splitlines() if "is little" in line) == [
        f"note: {source}: {remark}" for source, remark in zip(("piano", "violin"), remarks, strict=True)
    ]
    assert "give --each" in run("train-dictionary", solos[0], "-j", "2").stderr
    nowhere = run("train-dictionary", *solos, "--each", "-j", "2", "--cluster", "tcp://127.0.0.1:1")
    assert "as many as its workers" in nowhere.stderr  # before any is looked for


@pytest.mark.parametrize("what", ["other settings", "another recording", "damage"])
def test_a_dictionary_that_was_trained_otherwise_is_neither_kept_nor_overwritten_unasked(
    solos: list[Path], library: Path, what: str
) -> None:
    words = ["train-dictionary", *solos, "--each"]
    violin, _ = (Path(path) for path in succeed(*words, "-q"))
    words += ["--skip-existing", *(["--seed", "1"] if what == "other settings" else [])]
    if what == "another recording":
        write_audio(solos[0] / "take.wav", sound(n_samples=16000, seed=7))
    if what == "damage":
        violin.write_bytes(violin.read_bytes()[:-9])
    before, n_changed = violin.read_bytes(), 2 if what == "other settings" else 1
    result = run(*words)
    assert result.exit_code == (1 if n_changed == 2 else 3)
    said = f"sepdict: {violin}: was interrupted, or trained otherwise; train it anew with --overwrite, or move it"
    assert error_lines(result)[0] == said
    assert violin.read_bytes() == before
    again = read_json("".join(succeed(*words, "--overwrite", "--json")))
    assert [each["kept"] for each in again] == [False, n_changed == 1]
    assert violin.read_bytes() != before


def test_the_list_shows_what_is_installed(library: Path) -> None:
    assert succeed("list") == [f"{library}: no dictionaries yet; sepdict train-dictionary without -o puts them there"]
    library.mkdir()
    trained("hiss").save(library / "hiss.safetensors")
    title, _, row = succeed("list")
    assert title == str(library)
    assert row.split() == ["hiss", "8000", "512", "0.0", "dense"]
    shown = json.loads("\n".join(succeed("list", "--json")))
    assert shown["folder"] == str(library)
    facts = shown["dictionaries"]["hiss"]
    assert list(shown["dictionaries"]) == ["hiss"]
    assert (facts["sample_rate"], facts["n_fft"], facts["network"]) == (8000, 512, "dense")
    assert facts["trained_s"] == trained("hiss").card.trained_s


def test_a_library_that_is_a_file_is_not_an_empty_one(library: Path) -> None:
    library.touch()
    said = f"sepdict: {library}: cannot be read (Not a directory); have SEPDICT_LIBRARY name the folder of dictionaries"
    assert [fail("list"), fail("list", "--json"), fail("info", "violin")] == [said] * 3


def test_a_damaged_dictionary_in_the_library_is_named_and_the_others_are_shown(library: Path) -> None:
    library.mkdir()
    trained("hiss").save(library / "hiss.safetensors")
    (library / "broken.safetensors").write_bytes(b"broken")
    result = run("list")
    assert result.exit_code == 3
    assert "hiss" in result.stdout
    assert "broken.safetensors" in result.stderr
    assert "Traceback" not in result.stderr


FORGED = {
    "nan": at("curves", "training", value=[float("nan")]),
    "nested": at("training", "backgrounds", value=nested(600)),
    "surrogate": at("source", value="\ud800"),
    "escape": at("heard", 0, "name", value="\x1b]0;owned\x07"),
    "huge": at("heard", 0, "duration_s", value=10**400),
    "words": at("training", "seed", value="seven"),
}


def test_no_forged_dictionary_ends_a_list_of_many(library: Path) -> None:
    library.mkdir()
    trained("hiss").save(library / "hiss.safetensors")
    for name, edit in FORGED.items():
        forge(library / f"{name}.safetensors", edit)
    forge(library / "memory.safetensors", tensors={"memory": torch.zeros((), dtype=torch.uint8)})
    os.mkfifo(library / "pipe.safetensors")
    (library / "zero.safetensors").symlink_to("/dev/zero")
    result = run("list")
    assert result.exit_code == 3
    assert "\nhiss " in result.stdout
    *lines, summary = result.stderr.splitlines()
    assert sorted(re.findall(r"library/(\w+)\.safetensors: (?:damaged|holds)", "\n".join(lines))) == sorted(
        [*FORGED, "memory"]
    )
    assert summary == "sepdict: 7 of 8 files failed"
    assert all(line.isprintable() for line in lines)
    facts = Library(library).facts()
    assert [each["source"] for each in facts.values()] == ["hiss"]
    for name in (*FORGED, "memory"):
        assert f"{name}.safetensors: " in fail("info", name)
        assert f"{name}.safetensors: " in fail("compare", "hiss", name)


def test_a_source_is_found_by_its_name_in_either_form_of_unicode(
    solos: list[Path], library: Path, tmp_path: Path
) -> None:
    composed, decomposed = "Fl\u00f6te", "Flo\u0308te"
    folder = solos[0].rename(tmp_path / decomposed)
    assert succeed("train-dictionary", folder, "-q") == [str(library / f"{composed}.safetensors")]
    for name in (composed, decomposed):
        assert f"source:     {composed}" in succeed("info", name)
    assert complete_dictionary("Fl") == [composed]


def test_installed_dictionaries_separate_by_name(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    library.mkdir()
    for source in ("hiss", "hum"):
        trained(source).save(library / f"{source}.safetensors")
    path = write_audio(tmp_path / "mix.wav", mixture(n_samples=8000))
    succeed("separate", path, "-d", "hiss", "-d", "hum", "-o", tmp_path / "out", "--quality=draft")
    manifest = json.loads((tmp_path / "out" / "mix" / "manifest.json").read_text())
    assert [entry["file"] for entry in manifest["dictionaries"]] == [
        str(library / "hiss.safetensors"),
        str(library / "hum.safetensors"),
    ]
    assert "installed are: hiss, hum" in fail("separate", path, "-d", "viola")


@pytest.mark.slow
def test_env_says_what_a_bug_report_needs(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sepdict_cli.env.PACKAGES", {"sepdict": "sepdict.dictionaries.library", "soundfile": "soundfile"}
    )
    facts = json.loads("\n".join(succeed("env", "--json")))
    assert {"platform", "Python", "sepdict", "soundfile", "device", "cache"} <= set(facts)
    assert facts["library"] == str(library)
    assert not {"sepdict", "soundfile"} & set(facts["problems"])
