"""Batches: every track whole or not at all, one bad file costs its own track only, nothing of anyone's is lost."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from front_end import (
    BAD,
    constant_bss_eval,
    mixture,
    read_json,
    sound,
    trained,
    tree,
    write_bad,
    write_mixtures,
    write_references,
)

import sepdict.audio.writing
import sepdict.batch.guides
import sepdict.batch.manifest
import sepdict.batch.track
from sepdict._core.fs import to_json
from sepdict.audio.io import read_audio
from sepdict.audio.labels import Label
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.run import TrackResult, separate_files, separate_folder
from sepdict.dictionaries import library
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioFileError, ConfigError, SepdictError
from sepdict.evaluation.config import ActivityConfig
from sepdict.separation.config import FitConfig, SeparationConfig

QUICK = SeparationConfig(FitConfig(n_iterations=3))


@pytest.fixture
def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


def test_installed_dictionaries_are_looked_up_once(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    (tmp_path / "library").mkdir()
    for dictionary in pair:
        dictionary.save(tmp_path / "library" / f"{dictionary.source}.safetensors")
    write_mixtures(tmp_path / "in", "a")
    asked, list_installed = list[str](), library.installed

    def watched() -> dict[str, Path]:
        asked.append("installed")
        return list_installed()

    monkeypatch.setattr(library, "installed", watched)
    (result,) = separate_folder(tmp_path / "in", [each.source for each in pair], tmp_path / "out", BatchConfig(QUICK))
    assert len(asked) == len(pair)
    assert result.manifest is not None
    files = [each["file"] for each in read_json(result.manifest)["dictionaries"]]
    assert files == [str(tmp_path / "library" / f"{each.source}.safetensors") for each in pair]


def test_guides_are_read_once(tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch) -> None:
    mixtures, (guide,) = write_mixtures(tmp_path / "in", "song"), write_mixtures(tmp_path, "guide")
    read = list[Path]()
    monkeypatch.setattr(sepdict.batch.guides, "read_audio", lambda path: read.append(path) or read_audio(path))
    config = BatchConfig(QUICK, guide_stems={"hiss": guide}, start_s=0.25, duration_s=0.25)
    (result,) = separate_files(mixtures, pair, tmp_path / "out", config)
    assert result.error is None
    assert read == [guide]


def test_guides_and_labels_name_stems_in_any_form_of_unicode(tmp_path: Path) -> None:
    mixtures, (guide,) = write_mixtures(tmp_path / "in", "song"), write_mixtures(tmp_path, "guide")
    pair, name = [trained("Fl\u00f6te"), trained("hum")], "Flo\u0308te"
    config = BatchConfig(QUICK, guide_stems={name: guide}, labels=(Label(0.1, 0.3, name),))
    (result,) = separate_files(mixtures, pair, tmp_path / "out", config)
    assert result.error is None


def test_a_folder_becomes_a_folder_of_stems_per_file(tmp_path: Path, pair: list[Dictionary]) -> None:
    write_mixtures(tmp_path / "mixtures", "b", "a.live", "c")
    (tmp_path / "mixtures" / "notes.txt").write_text("no audio")
    results = separate_folder(tmp_path / "mixtures", pair, tmp_path / "out", BatchConfig(QUICK))
    assert [result.mixture.name for result in results] == ["a.live.wav", "b.wav", "c.wav"]
    expected = {str(Path(track, *name)) for track in ("a.live", "b", "c") for name in [(), ("hiss.wav",), ("hum.wav",)]}
    assert set(tree(tmp_path / "out")) == expected | {f"{track}/manifest.json" for track in ("a.live", "b", "c")}


def test_the_result_says_what_became_of_a_track(tmp_path: Path, pair: list[Dictionary]) -> None:
    (path,) = write_mixtures(tmp_path, "song")
    (result,) = separate_files([path], pair, tmp_path / "out")
    assert result.error is None
    assert result.mixture == path
    assert result.stems == {name: tmp_path / "out" / "song" / f"{name}.wav" for name in ("hiss", "hum")}
    assert result.manifest == tmp_path / "out" / "song" / "manifest.json"
    assert result.duration_s == 0.75
    assert result.real_time_factor == result.seconds / 0.75 > 0
    assert 0 < result.explained_energy <= 1
    assert result.converged
    assert result.message.startswith("Converged after")
    assert result.null_test_db < -120
    assert result.evaluation is None


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"n_channels": 2},
        {"n_channels": 8},
        {"sample_rate": 192_000, "n_samples": 24_000},
        {"sample_rate": 5512},
        {"n_samples": 300},
        {"n_samples": 1},
        {"n_samples": 1, "sample_rate": 192_000},
        {"n_samples": 1, "n_channels": 8},
    ],
    ids=str,
)
def test_stems_are_float_files_of_the_mixtures_form_that_sum_to_it(
    tmp_path: Path, pair: list[Dictionary], shape: dict[str, int]
) -> None:
    original = mixture(**shape)
    (result,) = separate_files(
        [write_audio(tmp_path / "mix.wav", original)], pair, tmp_path / "out", BatchConfig(QUICK)
    )
    assert result.error is None
    for path in result.stems.values():
        assert soundfile.info(path).subtype == "FLOAT"
    stems = [read_audio(path) for path in result.stems.values()]
    assert {stem.sample_rate for stem in stems} == {original.sample_rate}
    total = torch.stack([stem.samples for stem in stems]).sum(dim=0)
    torch.testing.assert_close(total, original.samples, rtol=0, atol=1e-6)  # -120 dB: float32, added twice


def test_a_silent_mixture_gives_silent_stems(tmp_path: Path, pair: list[Dictionary]) -> None:
    path = write_audio(tmp_path / "mix.wav", Audio(torch.zeros(2, 4000), 8000))
    (result,) = separate_files([path], pair, tmp_path / "out")
    assert result.error is None
    assert not any(read_audio(stem).samples.any() for stem in result.stems.values())
    assert read_json(tmp_path / "out" / "mix" / "manifest.json")["converged"] is True


@pytest.mark.parametrize("names", [["hiss"], ["hiss", "hum"]])
@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_is_written_when_asked_for_or_when_there_is_one_dictionary(
    tmp_path: Path, names: list[str], residual: bool
) -> None:
    paths = write_mixtures(tmp_path, "mix")
    (result,) = separate_files(
        paths, [trained(name) for name in names], tmp_path / "out", BatchConfig(replace(QUICK, residual=residual))
    )
    expected = [*names, "residual"] if residual or len(names) == 1 else names
    assert list(result.stems) == expected
    assert set(tree(tmp_path / "out" / "mix")) == {*(f"{name}.wav" for name in expected), "manifest.json"}


def test_the_manifest_says_what_was_used_and_how_it_went(tmp_path: Path, pair: list[Dictionary]) -> None:
    (path,) = write_mixtures(tmp_path, "mix")
    file = pair[0].save(tmp_path / "hiss.safetensors")
    (result,) = separate_files(
        [path], pair, tmp_path / "out", BatchConfig(SeparationConfig(device="cpu")), dictionary_files={"hiss": file}
    )
    manifest = read_json(tmp_path / "out" / "mix" / "manifest.json")
    assert manifest["mixture"]["file"] == str(path)
    assert manifest["mixture"]["n_samples"] == 6000
    assert [dictionary["source"] for dictionary in manifest["dictionaries"]] == ["hiss", "hum"]
    assert manifest["dictionaries"][0]["file"] == str(file)
    assert len(manifest["dictionaries"][0]["sha256"]) == len(manifest["mixture"]["sha256"]) == 64
    assert "file" not in manifest["dictionaries"][1]
    assert manifest["settings"]["device"] == "cpu"
    assert manifest["settings"]["fit"]["n_iterations"] == FitConfig().n_iterations
    assert manifest["loss"]["first"] == manifest["loss"]["curve"][0]
    assert manifest["loss"]["last"] == manifest["loss"]["curve"][-1] < manifest["loss"]["first"]
    for fact in ("converged", "message", "explained_energy", "null_test_db"):
        assert manifest[fact] == getattr(result, fact)
    assert manifest["stems"] == {name: str(stem) for name, stem in result.stems.items()}
    assert manifest["scores"] is None


def test_json_has_null_for_what_it_lacks_and_text_for_paths() -> None:
    facts = {"nan": float("nan"), "inf": [float("inf"), -float("inf")], "path": Path("/a"), "n": 1.5}
    assert read_json(to_json(facts)) == {"nan": None, "inf": [None, None], "path": "/a", "n": 1.5}


@pytest.mark.parametrize("what", [what for what in BAD if what != "missing"])
def test_a_bad_file_costs_its_own_track_only(tmp_path: Path, pair: list[Dictionary], what: str) -> None:
    write_mixtures(tmp_path / "mixtures", "a", "c")
    bad = write_bad(tmp_path / "mixtures" / "b.wav", what)
    first, failed, last = separate_folder(tmp_path / "mixtures", pair, tmp_path / "out", BatchConfig(QUICK))
    assert first.error is None
    assert last.error is None
    assert failed.error is not None
    assert (failed.mixture, failed.stems, failed.manifest, failed.converged) == (bad, {}, None, False)
    assert failed.error.startswith(f"{bad}: ")
    assert BAD[what] in failed.error
    assert "\n" not in failed.error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c"]


def test_a_missing_file_costs_its_own_track_only(tmp_path: Path, pair: list[Dictionary]) -> None:
    (good,) = write_mixtures(tmp_path, "good")
    results = separate_files([tmp_path / "no.wav", good], pair, tmp_path / "out", BatchConfig(QUICK))
    assert [result.error for result in results] == [f"{tmp_path / 'no.wav'}: no such file", None]


def test_a_manifest_names_the_files_of_dictionaries_that_were_given_by_path(
    tmp_path: Path, pair: list[Dictionary]
) -> None:
    write_mixtures(tmp_path / "in", "a")
    file = pair[0].save(tmp_path / "hiss.safetensors")
    separate_folder(tmp_path / "in", [file, pair[1]], tmp_path / "out", BatchConfig(QUICK))
    first, second = read_json(tmp_path / "out" / "a" / "manifest.json")["dictionaries"]
    assert (first["file"], "file" in second) == (str(file), False)


def test_when_every_track_fails_no_folder_is_left(tmp_path: Path, pair: list[Dictionary]) -> None:
    bad = write_bad(tmp_path / "bad.wav", "text")
    (result,) = separate_files([bad], pair, tmp_path / "new" / "out")
    assert result.error is not None
    assert list(tree(tmp_path)) == ["bad.wav"]


@pytest.mark.parametrize(
    ("folder", "said"),
    [("missing", "no such file or folder"), ("empty", "holds no audio file"), ("file.wav", "is a file")],
)
def test_a_folder_must_be_one_that_holds_audio(tmp_path: Path, pair: list[Dictionary], folder: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.wav").touch()
    before = tree(tmp_path)
    with pytest.raises(AudioFileError, match=said):
        separate_folder(tmp_path / folder, pair, tmp_path / "out")
    assert tree(tmp_path) == before


def test_no_mixtures_are_no_work(tmp_path: Path, pair: list[Dictionary]) -> None:
    assert separate_files([], pair, tmp_path / "out") == []
    assert tree(tmp_path) == {}


def test_tracks_of_one_name_are_refused_before_any_work(tmp_path: Path, pair: list[Dictionary]) -> None:
    (first,) = write_mixtures(tmp_path / "one", "song")
    (second,) = write_mixtures(tmp_path / "two", "song")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=f"^{first} and {second} would both be written to {tmp_path}/out/song"):
        separate_files([first, second], pair, tmp_path / "out")
    assert tree(tmp_path) == before


def test_stems_that_an_earlier_run_left_go_when_it_is_overwritten(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "a")
    separate_files(paths, pair[:1], tmp_path / "out", BatchConfig(QUICK))
    (tmp_path / "out/a/notes.txt").write_text("mine")
    assert (tmp_path / "out/a/residual.wav").exists()
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, overwrite=True))
    assert {path.name for path in (tmp_path / "out/a").iterdir()} == {
        "hiss.wav",
        "hum.wav",
        "manifest.json",
        "notes.txt",
    }


def test_what_somebody_elses_manifest_names_is_not_removed(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths, folder = write_mixtures(tmp_path, "a"), tmp_path / "out/a"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"stems": {"vocals": "vocals.mp3"}}')
    (folder / "vocals.mp3").write_text("theirs")
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, overwrite=True))
    assert (folder / "vocals.mp3").read_text() == "theirs"


def test_a_mixture_among_the_stems_of_an_earlier_run_is_not_removed(tmp_path: Path, pair: list[Dictionary]) -> None:
    (earlier,) = separate_files(write_mixtures(tmp_path, "hum"), pair, tmp_path / "out", BatchConfig(QUICK))
    with pytest.raises(ConfigError, match="is a mixture and would be overwritten"):
        separate_files([earlier.stems["hum"]], pair[:1], tmp_path / "out", BatchConfig(QUICK, overwrite=True))


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("song/hiss.wav", "hiss.wav: exists already; overwrite it"),
        ("song/manifest.json", "manifest.json: exists already"),
        ("song/hum.wav/", "hum.wav: is a folder"),
        ("song", "song: is a file; expected a folder"),
    ],
)
def test_what_is_in_the_way_is_refused_before_any_work(
    tmp_path: Path, pair: list[Dictionary], there: str, said: str
) -> None:
    paths = write_mixtures(tmp_path / "mixtures", "another", "song")
    path = tmp_path / "out" / there
    path.parent.mkdir(parents=True)
    path.mkdir() if there.endswith("/") else path.touch()
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=said):
        separate_files(paths, pair, tmp_path / "out")
    assert tree(tmp_path) == before


def test_how_many_files_exist_is_said(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "song")
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))
    with pytest.raises(ConfigError, match=r"hiss\.wav: exists already \(and 2 more\);"):
        separate_files(paths, pair, tmp_path / "out")


def test_overwriting_replaces_the_stems_and_keeps_other_files(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "song")
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))
    folder = tmp_path / "out" / "song"
    once, heard = tree(folder), read_audio(folder / "hiss.wav")
    (folder / "hiss.wav").write_text("old")
    (folder / "manifest.json").write_text("old")
    (folder / "lyrics.txt").write_text("mine")
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, overwrite=True))
    again = tree(folder)
    assert {*again} == {*once, "lyrics.txt"}
    assert read_json(folder / "manifest.json")["order"] == json.loads(once["manifest.json"])["order"]
    assert again["lyrics.txt"] == b"mine"
    assert torch.equal(read_audio(folder / "hiss.wav").samples, heard.samples)  # its header says when it was written


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_mixture_is_never_overwritten(tmp_path: Path, pair: list[Dictionary], overwrite: bool) -> None:
    folder = tmp_path / "hiss"  # hiss/hiss.wav would become a stem of the track hiss
    (path,) = write_mixtures(folder, "hiss")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="is a mixture and would be overwritten"):
        separate_files([path], pair, tmp_path, BatchConfig(overwrite=overwrite))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_reference_is_never_overwritten(tmp_path: Path, pair: list[Dictionary], overwrite: bool) -> None:
    paths = write_mixtures(tmp_path, "song")
    write_references(tmp_path / "song")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="is a reference and would be overwritten"):
        separate_files(paths, pair, tmp_path, BatchConfig(references=tmp_path, overwrite=overwrite))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/../../b", "/a"])
def test_a_track_that_no_folder_below_the_output_folder_can_be_named_after_is_refused(
    tmp_path: Path, pair: list[Dictionary], name: str
) -> None:
    paths = write_mixtures(tmp_path, "song")
    with pytest.raises(ConfigError, match=f"is called '{name}', and no folder can be"):
        separate_files(dict.fromkeys(paths, name), pair, tmp_path / "out")
    with pytest.raises(ConfigError, match="no folder can be"):
        separate_files([tmp_path / ".." / ".."], pair, tmp_path / "out")


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([], "there are no dictionaries"),
        (["hiss", "hiss"], "2 dictionaries are of source 'hiss'"),
        (["hiss", "residual"], "a source is named 'residual'"),
    ],
)
def test_dictionaries_that_do_not_go_together_are_refused_and_leave_nothing(
    tmp_path: Path, sources: list[str], said: str
) -> None:
    paths = write_mixtures(tmp_path, "mix")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=said):
        separate_files(paths, [trained(source) for source in sources], tmp_path / "out")
    assert tree(tmp_path) == before


def test_an_output_folder_below_a_file_is_refused(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "mix")
    before = tree(tmp_path)
    for out, said in [(paths[0], "is a file"), (paths[0] / "out", "cannot be written to")]:
        with pytest.raises(ConfigError, match=f"^{out}: {said}"):
            separate_files(paths, pair, out)
    assert tree(tmp_path) == before


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "mkdir", "rename"])
def test_a_full_disk_is_each_tracks_error_and_leaves_nothing(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    paths = write_mixtures(tmp_path, "a", "b")
    (tmp_path / "out").mkdir()
    before = tree(tmp_path)
    monkeypatch.setattr(os, step, full_disk)
    results = separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))
    for result, track in zip(results, ["a", "b"], strict=True):
        assert result.error is not None
        assert result.error.startswith(f"{tmp_path / 'out' / track}")
        assert "No space left on device" in result.error
        assert ".tmp" not in result.error  # users know nothing of the temporary folder
    assert tree(tmp_path) == before


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_disk_that_is_full_at_the_end_is_told_of_in_the_users_words(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    paths, fsync, left = write_mixtures(tmp_path, "a"), os.fsync, [2 + n]  # after two stems

    def fill(descriptor: int) -> None:
        left[0] -= 1
        fsync(descriptor) if left[0] else full_disk()

    monkeypatch.setattr(os, "fsync", fill)
    (result,) = separate_files(
        paths, pair, tmp_path / "out", BatchConfig(QUICK, report=True, activity=ActivityConfig())
    )
    file = ["labels.txt", "report.html", "manifest.json"][n - 1]
    assert result.error is not None
    assert result.error.startswith(f"{tmp_path}/out/a/{file}: ")
    assert "No space left on device" in result.error


WHERE_USED = {"writing_audio": sepdict.audio.writing, "write_atomically": sepdict.batch.manifest}


class Interruption:
    """Ctrl-C at the n-th call of a function, which otherwise does what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: str, n: int) -> None:
        self.n_left, module = n, WHERE_USED.get(target, sepdict.batch.track)
        self.original = getattr(module, target)
        monkeypatch.setattr(module, target, self)

    def __call__(self, *args: object, **kwargs: object) -> object:
        self.n_left -= 1
        if self.n_left == 0:
            raise KeyboardInterrupt
        return self.original(*args, **kwargs)


@pytest.mark.parametrize(
    ("target", "n"),
    [("open_audio", 2), ("separate_in_blocks", 2), ("writing_audio", 3), ("writing_audio", 4), ("write_atomically", 2)],
)
def test_ctrl_c_keeps_finished_tracks_and_leaves_no_half_written_one(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, target: str, n: int
) -> None:
    paths = write_mixtures(tmp_path, "a", "b", "c")
    done: list[TrackResult] = []
    Interruption(monkeypatch, target, n)
    with pytest.raises(KeyboardInterrupt):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), on_track=done.append)
    assert [result.mixture for result in done] == paths[:1]
    assert set(tree(tmp_path / "out")) == {"a", "a/hiss.wav", "a/hum.wav", "a/manifest.json"}


@pytest.mark.parametrize(("target", "n"), [("writing_audio", 2), ("write_atomically", 1)])
def test_ctrl_c_while_overwriting_keeps_the_older_files(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, target: str, n: int
) -> None:
    paths = write_mixtures(tmp_path, "a")
    separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK))
    before = tree(tmp_path)
    write_audio(paths[0], mixture(seed=7))
    Interruption(monkeypatch, target, n)
    with pytest.raises(KeyboardInterrupt):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK, overwrite=True))
    assert {name: content for name, content in tree(tmp_path).items() if name != "a.wav"} == {
        name: content for name, content in before.items() if name != "a.wav"
    }


def test_what_another_run_wrote_meanwhile_is_not_replaced(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "a")
    others: list[TrackResult] = []

    def meanwhile(_: object) -> None:
        if not (tmp_path / "out/a").exists():
            others.extend(separate_files(paths, pair[:1], tmp_path / "out", BatchConfig(QUICK)))

    (result,) = separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), on_progress=meanwhile)
    assert result.error == f"{tmp_path}/out/a/hiss.wav: was written meanwhile; choose another output folder"
    assert set(tree(tmp_path / "out")) == {"a", "a/hiss.wav", "a/manifest.json", "a/residual.wav"}
    assert read_json(tmp_path / "out/a/manifest.json")["explained_energy"] == others[0].explained_energy


def test_what_a_listener_raises_ends_the_batch_and_reaches_the_caller(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "a", "b")

    def cancel(_: object) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        separate_files(paths, pair, tmp_path / "out", on_progress=cancel)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RuntimeError, match="enough"):
        separate_files(paths, pair, tmp_path / "out", BatchConfig(QUICK), on_track=cancel)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a"]


def test_several_at_a_time_become_what_one_after_the_other_does(
    tmp_path: Path, pair: list[Dictionary], two_threads: None
) -> None:
    paths = write_mixtures(tmp_path / "mixtures", "a", "b", "c")
    write_bad(tmp_path / "mixtures" / "bad.wav", "truncated")
    paths.insert(1, tmp_path / "mixtures" / "bad.wav")
    told: list[TrackResult] = []
    one, two = (
        separate_files(paths, pair, tmp_path / f"out{n}", BatchConfig(QUICK, n_jobs=n), on_track=told.append)
        for n in (1, 2)
    )
    assert [result.mixture for result in two] == paths
    assert sorted(result.mixture for result in told[4:]) == sorted(paths)
    assert [result.error for result in two] == [result.error for result in one]
    assert [result.error is None for result in two] == [True, False, True, True]
    for first, second in zip(one, two, strict=True):
        for name in first.stems:
            stems = [read_audio(result.stems[name]).samples for result in (first, second)]
            torch.testing.assert_close(*stems, rtol=0, atol=1e-5)  # threads add up in another order


def test_no_jobs_are_refused(tmp_path: Path, pair: list[Dictionary]) -> None:
    with pytest.raises(ConfigError, match="n_jobs is 0; expected 1 or more"):
        separate_files([], pair, tmp_path / "out", BatchConfig(n_jobs=0))


@pytest.mark.parametrize("removed", [False, True])
def test_a_mixture_that_changes_while_it_is_read_is_its_tracks_error_and_one_removed_is_not(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    (path,) = write_mixtures(tmp_path, "song")
    separate = sepdict.batch.track.separate_in_blocks

    def meanwhile(*args: object, **options: object) -> object:
        outcome = separate(*args, **options)
        path.unlink() if removed else path.write_bytes(path.read_bytes() + b"more")
        return outcome

    monkeypatch.setattr(sepdict.batch.track, "separate_in_blocks", meanwhile)
    (result,) = separate_files([path], pair, tmp_path / "out", BatchConfig(QUICK))
    assert result.error == (None if removed else f"{path}: was changed while it was read; separate it again")
    assert (tmp_path / "out" / "song").exists() == removed


def test_a_file_is_never_held_whole(tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch) -> None:
    sound = mixture(n_samples=10 * 8000)
    path = write_audio(tmp_path / "long.wav", sound)
    longest = []
    read = soundfile.SoundFile.read

    def watch(file: soundfile.SoundFile, frames: int, **options: object) -> object:
        longest.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", watch)
    separate_files([path], pair, tmp_path / "out", BatchConfig(replace(QUICK, segment_s=3.0)))
    reading = [n for n in longest if n > 1]  # the last sample of a written stem is read to see that it is there
    assert sum(reading) == sound.n_samples
    assert max(longest) <= 3 * 8000
    stems = [read_audio(tmp_path / "out" / "long" / f"{name}.wav").samples for name in ("hiss", "hum")]
    torch.testing.assert_close(sum(stems), sound.samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("nested", [True, False])
def test_stems_are_scored_against_references(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch, nested: bool
) -> None:
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    paths = write_mixtures(tmp_path, "song")
    write_references(tmp_path / "truth" / "song" if nested else tmp_path / "truth")
    (result,) = separate_files(paths, pair, tmp_path / "out", BatchConfig(references=tmp_path / "truth"))
    assert result.evaluation is not None
    assert [score.source for score in result.evaluation.scores] == ["hiss", "hum"]
    assert result.evaluation.mean.si_sdr_improvement_db == pytest.approx(
        np.mean([score.si_sdr_improvement_db for score in result.evaluation.scores])
    )
    assert read_json(tmp_path / "out" / "song" / "manifest.json")["scores"] == result.evaluation.as_dict()


def test_a_mixture_among_its_references_is_not_taken_for_one(
    tmp_path: Path, pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_references(tmp_path / "song")
    (path,) = write_mixtures(folder, "mix")
    seen: list[set[str]] = []
    monkeypatch.setattr(sepdict.batch.track, "evaluate", lambda _, references, **__: seen.append(set(references)))
    separate_files([path], pair, tmp_path / "out", BatchConfig(QUICK, references=folder))
    assert seen == [{"hiss", "hum"}]


def test_references_that_do_not_exist_or_fit_no_stem_are_refused_before_any_work(
    tmp_path: Path, pair: list[Dictionary]
) -> None:
    paths = write_mixtures(tmp_path, "song")
    truth = write_references(tmp_path / "truth" / "song")
    (tmp_path / "empty").mkdir()
    (paired,) = write_mixtures(tmp_path / "alone", "song")

    def refuse(folder: Path, said: str, mixtures: list[Path] = paths) -> None:
        with pytest.raises(SepdictError, match=said):
            separate_files(mixtures, pair, tmp_path / "out", BatchConfig(references=folder))
        assert not (tmp_path / "out").exists()

    refuse(tmp_path / "missing", "missing: no such file or folder")
    refuse(tmp_path / "empty", "empty: holds no audio file")
    refuse(paired.parent, "holds no reference", [paired])
    write_audio(truth / "hum.flac", sound("hum"))
    refuse(tmp_path / "truth", "stand for the same source")
    (truth / "hum.flac").rename(truth / "flute.flac")
    refuse(tmp_path / "truth", r"flute\.flac: there is no stem to compare with it, only hiss, hum; rename")


def test_a_reference_of_another_length_is_its_tracks_error(tmp_path: Path, pair: list[Dictionary]) -> None:
    paths = write_mixtures(tmp_path, "song")
    folder = write_references(tmp_path / "truth" / "song", n_samples=5999)
    (result,) = separate_files(paths, pair, tmp_path / "out", BatchConfig(references=tmp_path / "truth"))
    assert result.error == (
        f"{folder / 'hiss.wav'}: has 5999 samples on 1 channel(s) at 8000 Hz; "
        "expected 6000 samples on 1 channel(s) at 8000 Hz, as in its mixture"
    )
    assert not (tmp_path / "out").exists()
