"""A track's files appear together; whatever interrupts their moves, the next run goes on and nobody's file goes."""

import contextlib
import errno
import itertools
import json
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from front_end import read_json, trained, tree, write_mixtures

from sepdict._core.fs import only_one, sha256_of, to_json, writable_folder
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.layout import Track, refuse_existing
from sepdict.batch.publishing import DoneMeanwhileError, publishing
from sepdict.batch.run import separate_files
from sepdict.errors import AudioFileError, ConfigError
from sepdict.separation.config import FitConfig, SeparationConfig

OWN_FOLDER, BY_SOURCE, FLAT = "{track}/{source}.{ext}", "{source}/{track}.{ext}", "{track}_{source}.{ext}"
TEMPLATES = [OWN_FOLDER, BY_SOURCE, FLAT]


def track_in(out: Path, filename: str, *, names: tuple[str, ...] = ("hiss", "hum")) -> Track:
    return Track.of(Path("song.wav"), out, names, output=OutputConfig(filename=filename), report=True)


def publish(track: Track, said: str, **options: bool) -> None:
    """Write files that all say the same."""
    with publishing(track, **options) as hidden:
        for path in hidden.outputs[:-1]:
            path.write_text(said)
        hidden.manifest.write_text(to_json({"sepdict": "0", "said": said, "stems": track.stems, "report": True}))


def contents(track: Track) -> set[str]:
    said = [read_json(path)["said"] if path == track.manifest else path.read_text() for path in track.outputs]
    return set(said)


def files(folder: Path) -> dict[str, bytes]:
    """All that a user sees."""
    found = {name: content for name, content in tree(folder).items() if content is not None}
    return {name: content for name, content in found.items() if not name.startswith(".sepdict-")}


def in_a_process_that_dies(work: Callable[[], object]) -> bool:
    """Do something in a copy of this process; tell whether it came to a sudden end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the copy does not use
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_at(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Have the process killed as it is about to rename for the n-th time."""
    n_left, originals = [n], {name: getattr(os, name) for name in ("replace", "rename")}

    def counting(name: str) -> Callable[..., Any]:
        def move(*paths: Any) -> Any:
            n_left[0] -= 1
            if n_left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return originals[name](*paths)

        return move

    for name in originals:
        monkeypatch.setattr(os, name, counting(name))


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("filename", TEMPLATES)
def test_wherever_a_process_is_killed_among_its_moves_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str, overwrite: bool
) -> None:
    for n in range(1, 20):
        out = tmp_path / str(n)
        out.mkdir()
        track = track_in(out, filename)
        if overwrite:  # what is replaced has one stem more
            publish(track_in(out, filename, names=("hiss", "hum", "rest")), "old")
        before = files(out)
        with monkeypatch.context() as patch:
            kill_at(patch, n)
            killed = in_a_process_that_dies(partial(publish, track, "new", overwrite=overwrite))
        if not killed:
            break
        if files(out) == before or "said" in read_json(track.manifest):
            overwritten = overwrite  # nothing was touched, or all is done
        else:
            overwritten = False
            with pytest.raises(ConfigError, match=r"exists already.*go on where a run was interrupted"):
                refuse_existing([(track, {})], overwrite=False, resumes=False)
            refuse_existing([(track, {})], overwrite=False, resumes=True)
        with writable_folder(out):
            publish(track, "again", overwrite=overwritten, resumes=True)
        assert not list(out.glob(".sepdict-*"))
        assert contents(track) == {"again"}
        assert set(files(out)) == {str(path.relative_to(out)) for path in track.outputs}
    assert n > (7 if overwrite else 1 if filename == OWN_FOLDER else 5)  # it died, again and again, among the moves
    assert not killed


@pytest.mark.parametrize("overwrite", [False, True])
def test_where_moves_fail_and_cannot_be_undone_either_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    replace, failed = os.replace, True
    for n in itertools.count(1):
        out = tmp_path / str(n)
        out.mkdir()
        track = track_in(out, BY_SOURCE)
        if overwrite:
            publish(track, "old")
        before, calls = files(out), itertools.count(1)

        def fail(source: Path, target: Path, calls: Iterator[int] = calls, n: int = n) -> None:
            if next(calls) >= n:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            try:
                publish(track, "new", overwrite=overwrite)
                failed = False
            except (AudioFileError, OSError):
                failed = True
        untouched = files(out) == before or not failed
        refuse_existing([(track, {})], overwrite=(overwrite and untouched) or not failed, resumes=True)
        publish(track, "again", overwrite=(overwrite and untouched) or not failed, resumes=True)
        assert contents(track) == {"again"}
        if not failed:
            break
    assert n > 4


def interrupted(monkeypatch: pytest.MonkeyPatch, track: Track, *, n: int = 4) -> None:
    """Leave what a process leaves that is killed when some files are moved and others are not."""
    with monkeypatch.context() as patch:
        kill_at(patch, n)
        assert in_a_process_that_dies(lambda: publish(track, "new"))
    assert any(path.exists() for path in track.stems.values())
    assert not all(path.exists() for path in track.outputs)


@pytest.mark.parametrize("arrived", [0, -2])
def test_what_somebody_put_there_since_is_refused_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrived: int
) -> None:
    track = track_in(tmp_path, BY_SOURCE)
    interrupted(monkeypatch, track)
    theirs = track.outputs[arrived]  # one that was moved already, or one that was not yet
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("precious")
    with pytest.raises(ConfigError, match=f"{theirs}: exists already"):
        refuse_existing([(track, {})], overwrite=False, resumes=True)
    with pytest.raises(AudioFileError, match=f"{theirs}: was written meanwhile"):
        publish(track, "again", resumes=True)
    assert theirs.read_text() == "precious"


def test_files_without_any_manifest_are_nobody_knows_whose_and_stay(tmp_path: Path) -> None:
    track = track_in(tmp_path, BY_SOURCE)
    track.stems["hum"].parent.mkdir()
    track.stems["hum"].write_text("precious")
    with pytest.raises(ConfigError, match="exists already; overwrite it, or"):
        refuse_existing([(track, {})], overwrite=False, resumes=True)


@pytest.mark.parametrize(
    "unfinished",
    [
        None,
        [],
        "hum.wav",
        {"../../precious": ["{}"]},
        {"/precious.wav": ["{}"]},
        {"../precious.wav": ["{}"]},
        {"hum.wav": "{}"},
        {"hum.wav": None},
        {"hum.wav": ["0" * 64]},
        {"hum.wav": [["{}"]]},
        {"": ["{}"]},
        {"hum.wav\0": ["{}"]},
    ],
    ids=str,
)
def test_a_journal_that_is_forged_or_damaged_gives_no_file_away(tmp_path: Path, unfinished: object) -> None:
    track = track_in(tmp_path / "out", OWN_FOLDER)
    track.manifest.parent.mkdir(parents=True)
    for path in (tmp_path / "precious", track.stems["hum"]):
        path.write_text("theirs")
    theirs = sha256_of(tmp_path / "precious")
    journal = json.dumps({"sepdict": "0", "unfinished": unfinished}).replace("{}", theirs)
    track.manifest.write_text(journal)
    assert set(track.leftovers) <= {track.manifest}
    assert not track.earlier_files


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("filename", TEMPLATES)
@pytest.mark.parametrize("step", ["replace", "rename", "mkdir"])
def test_an_error_at_any_step_takes_all_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str, overwrite: bool, step: str
) -> None:
    if overwrite:
        publish(track_in(tmp_path, filename, names=("hiss", "hum", "rest")), "old")
    before, track, original = tree(tmp_path), track_in(tmp_path, filename), getattr(os, step)
    for n in range(1, 20):
        n_left = [n]

        def fail(*paths: Any, n_left: list[int] = n_left, **options: Any) -> Any:
            n_left[0] -= 1
            if n_left[0] == 0:
                raise OSError(errno.EIO, "Input/output error")
            return original(*paths, **options)

        monkeypatch.setattr(os, step, fail)
        with contextlib.suppress(AudioFileError):
            publish(track, "new", overwrite=overwrite)
            break
        assert tree(tmp_path) == before
    assert contents(track) == {"new"}


@pytest.mark.parametrize("filename", TEMPLATES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_among_the_moves_is_heard_when_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str, number: signal.Signals
) -> None:
    track, replace, heard = track_in(tmp_path, filename), os.replace, list[set[str]]()
    publish(track, "old")

    def move(source: Path, target: Path) -> None:
        if target == track.stems["hum"]:
            signal.raise_signal(number)
        replace(source, target)

    def hear(*_: object) -> None:
        heard.append(contents(track))
        raise SystemExit

    monkeypatch.setattr(os, "replace", move)
    before = signal.signal(number, hear)
    try:
        with pytest.raises(SystemExit):
            publish(track, "new", overwrite=True)
    finally:
        signal.signal(number, before)
    assert heard == [{"new"}]
    assert contents(track) == {"new"}
    assert set(files(tmp_path)) == {str(path.relative_to(tmp_path)) for path in track.outputs}


def test_a_batch_goes_on_where_it_was_killed_among_the_moves_of_a_track(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, pair = write_mixtures(tmp_path / "in", "a", "b"), [trained("hiss"), trained("hum")]
    output = OutputConfig(filename=BY_SOURCE)
    config = BatchConfig(SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None), output, skip_existing=True)
    replace = os.replace

    def die(source: Path, target: Path) -> None:
        if target == tmp_path / "out/hum/b.wav":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        assert in_a_process_that_dies(partial(separate_files, paths, pair, tmp_path / "out", config))
    assert list((tmp_path / "out").glob(".sepdict-*.tmp"))
    assert (tmp_path / "out/hiss/b.wav").exists()
    results = separate_files(paths, pair, tmp_path / "out", config)
    assert [(result.error, result.kept) for result in results] == [(None, True), (None, False)]
    assert set(files(tmp_path / "out")) == {f"{n}/{t}" for n in ("hiss", "hum") for t in ("a.wav", "b.wav")} | {
        "manifest/a.json",
        "manifest/b.json",
    }


def attempt(track: Track, said: str, *, order: str = "a", overwrite: bool = False) -> Iterator[None]:
    """Write files, pause before they are published, and then publish them: an attempt that may come back late."""
    with publishing(track, overwrite=overwrite) as hidden:
        for path in hidden.outputs[:-1]:
            path.write_text(said)
        facts = {"sepdict": "0", "said": said, "stems": track.stems, "report": True}
        hidden.manifest.write_text(to_json({**facts, "order": order, "mixture": {"sha256": "5" * 64}}))
        yield


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("filename", TEMPLATES)
def test_an_attempt_that_comes_back_late_changes_nothing_of_its_successors_work(
    tmp_path: Path, filename: str, overwrite: bool
) -> None:
    if overwrite:
        publish(track_in(tmp_path, filename), "old")
    track = track_in(tmp_path, filename).planned()
    late, successor = (attempt(track, said, overwrite=overwrite) for said in ("late", "successor"))
    next(late)
    next(successor)
    assert next(successor, "ended") == "ended"
    before = tree(tmp_path)
    with pytest.raises(DoneMeanwhileError):
        next(late)
    assert contents(track) == {"successor"}
    assert files(tmp_path) == {name: content for name, content in before.items() if name in files(tmp_path)}
    assert not list(tmp_path.glob(".sepdict-*"))


@pytest.mark.parametrize("filename", [BY_SOURCE, FLAT])
def test_a_second_attempt_goes_on_where_the_first_was_killed_among_its_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filename: str
) -> None:
    track = track_in(tmp_path, filename).planned()
    with monkeypatch.context() as patch:
        kill_at(patch, 4)
        assert in_a_process_that_dies(lambda: list(attempt(track, "killed")))
    assert track.is_unfinished
    list(attempt(track, "second"))
    assert contents(track) == {"second"}


def test_moves_of_one_track_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = track_in(tmp_path, FLAT).planned()
    with only_one(tmp_path, FLAT.format(track="song", source="manifest", ext="json")):
        monkeypatch.setattr("sepdict._core.fs.LOCK_PATIENCE_S", 0.0)
        with pytest.raises(AudioFileError, match="another process is writing there"):
            list(attempt(track, "second"))
    list(attempt(track, "second"))
    assert contents(track) == {"second"}
    assert not list(tmp_path.glob(".sepdict-*"))
