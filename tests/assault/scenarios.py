"""The work that the assault disturbs: each a piece of what users do, with the law of what may be there after it."""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
from fastapi import HTTPException
from front_end import SAMPLE_RATE, TINY, constant_bss_eval, mixture, read_json, run, sound, trained, write_references

import sepdict.evaluation.scoring
import sepdict.separation.mask_estimator_cache
from sepdict._core.cache import cache_folder
from sepdict.audio.formats import WRITTEN_FORMATS
from sepdict.audio.labels import read_labels
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.result import TrackResult
from sepdict.batch.run import separate_files
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import SepdictError
from sepdict.evaluation.config import ActivityConfig
from sepdict.separation.config import FitConfig, MaskEstimatorConfig, SeparationConfig
from sepdict.separation.mask_estimator import MaskEstimator, train_mask_estimator
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.training.train import train_dictionary
from sepdict.web.uploads import Limits, Uploads

FIT = SeparationConfig(FitConfig(n_iterations=2), MaskEstimatorConfig(n_adaptation_steps=0))
N_SAMPLES = 2000  # a quarter of a second
REPORT = "report.html"


class FailedError(Exception):
    """What a command or a batch says in words, as an exception."""


@dataclass(frozen=True)
class Scenario:
    """A piece of work in a folder.

    Attributes
    ----------
    name : str
    prepare : callable
        Puts into the folder what the work needs.
    work : callable
        Does it; returns when it claims success, raises `FailedError` or a `SepdictError` when it says why not.
    law : callable
        Asserts, of the folder, that what is there is whole; and given True, that everything is there.
    again : callable
        Does it once more, as a user would after it was disturbed.
    """

    name: str
    prepare: Callable[[Path], None]
    work: Callable[[Path], None]
    law: Callable[[Path, bool], None]
    again: Callable[[Path], None]

    def __str__(self) -> str:
        return self.name


def leftovers(folder: Path) -> list[str]:
    """List hidden and temporary files and folders."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.startswith(".") or path.suffix == ".tmp"
    )


def said_in_one_line(error: object) -> None:
    """Hold that a message is what one expects of it."""
    assert str(error)
    assert "\n" not in str(error)


# --- a dictionary


@functools.cache
def learned(source: str) -> Dictionary:
    """Train with the exemplars, which a mask estimator learns from."""
    config = replace(TINY, n_steps=3, exemplars_s=2)
    return train_dictionary(sound(source, n_samples=2 * SAMPLE_RATE, seed=9), config, source=source)


def _save_dictionary(folder: Path) -> None:
    learned("hum").save(folder / "d.safetensors")


def _dictionary_law(folder: Path, done: bool) -> None:
    path = folder / "d.safetensors"
    if path.exists():
        there = Dictionary.load(path).sha256
        assert there in {learned(source).sha256 for source in ("hiss", "hum")}
        assert not done or there == learned("hum").sha256
    assert path.exists() or not done


def _dictionary(*, older: bool) -> Scenario:
    def prepare(folder: Path) -> None:
        if older:
            learned("hiss").save(folder / "d.safetensors")

    def law(folder: Path, done: bool) -> None:
        _dictionary_law(folder, done)
        assert (folder / "d.safetensors").exists() or not older, "the older one is lost"

    name = "a dictionary over an older one" if older else "a dictionary"
    return Scenario(name, prepare, _save_dictionary, law, _save_dictionary)


# --- a sound


def same_sound(path: Path, other: Path) -> bool:
    """Compare what two files decode to."""
    one, two = (soundfile.read(each) for each in (path, other))
    return one[1] == two[1] and np.array_equal(one[0], two[0])


def _audio(extension: str) -> Scenario:
    rate = 48_000 if extension in (".opus", ".mp3", ".ogg") else SAMPLE_RATE
    name = f"a{extension}"

    def prepare(folder: Path) -> None:
        (folder / "whole").mkdir()
        write_audio(folder / "whole" / name, sound(n_samples=20_000, n_channels=2, sample_rate=rate))

    def work(folder: Path) -> None:
        write_audio(folder / name, sound(n_samples=20_000, n_channels=2, sample_rate=rate))

    def law(folder: Path, done: bool) -> None:
        if (folder / name).exists():
            assert same_sound(folder / name, folder / "whole" / name)
        assert (folder / name).exists() or not done

    return Scenario(f"a sound as {extension[1:]}", prepare, work, law, work)


# --- mixtures


def pair() -> list[Dictionary]:
    return [trained("hiss"), trained("hum")]


def _explained(results: Sequence[TrackResult]) -> None:
    """Raise what a batch says of tracks that failed."""
    if errors := [result.error for result in results if result.error is not None]:
        said_in_one_line("; ".join(errors))
        raise FailedError("; ".join(errors))


def _separation(
    name: str, tracks: Sequence[str], config: BatchConfig, *, older: bool = False, overwrite_again: bool = False
) -> Scenario:
    """Separate mixtures, perhaps where another order was carried out before."""

    def separated(folder: Path, out: str, config: BatchConfig) -> list[TrackResult]:
        mixtures = [folder / f"{track}.wav" for track in tracks]
        return separate_files(mixtures, pair(), folder / out, config)

    def prepare(folder: Path) -> None:
        for seed, track in enumerate(tracks):
            write_audio(folder / f"{track}.wav", mixture(n_samples=N_SAMPLES, seed=seed))
        _explained(separated(folder, "whole", config))
        if older:
            earlier = replace(config, separation=replace(FIT, fit=FitConfig(n_iterations=1)), overwrite=False)
            _explained(separated(folder, "older", earlier))
            _explained(separated(folder, "out", earlier))

    def work(folder: Path) -> None:
        results = separated(folder, "out", config)
        for result in results:
            if result.error is None:
                _whole_track(folder, result.mixture.stem, config, older=False, done=True)
        _explained(results)

    def law(folder: Path, done: bool) -> None:
        for track in tracks:
            _whole_track(folder, track, config, older=older, done=done)

    def go_on(folder: Path) -> None:
        _explained(
            separated(folder, "out", replace(config, overwrite=overwrite_again, skip_existing=not overwrite_again))
        )

    return Scenario(name, prepare, work, law, go_on)


def _whole_track(folder: Path, track: str, config: BatchConfig, *, older: bool, done: bool) -> None:
    """Assert that a track's files are whole, and belong together where its manifest is there."""
    names = {source: config.output.path(track, source) for source in ("hiss", "hum")}
    manifest = config.output.path(track, "manifest", ext="json")
    report, labels = (config.output.path(track, of, ext=ext) for of, ext in (("report", "html"), ("labels", "txt")))
    runs = ["whole", "older"] if older else ["whole"]
    from_run = {}
    for name in names.values():
        path = folder / "out" / name
        if path.exists():
            from_run[name] = [run for run in runs if same_sound(path, folder / run / name)]
            assert from_run[name], f"{name} is neither the new nor the older one"
    said = read_json(folder / "out" / manifest) if (folder / "out" / manifest).exists() else {}
    if "order" in said:  # else it says itself that the files are being moved
        assert set(from_run) == set(names.values()), "a manifest without its stems"
        (made,) = [run for run in runs if read_json(folder / run / manifest)["order"] == said["order"]]
        assert all(made in runs_of for runs_of in from_run.values()), "a manifest of other stems"
        assert not config.report or (folder / "out" / report).read_bytes().rstrip().endswith(b"</html>")
        assert not config.activity or len(read_labels(folder / "out" / labels)) == said["labels"]["n_labels"]
        assert not done or made == "whole"
    assert not done or "order" in said


# --- a mask estimator


def _train_quickly(dictionaries: Sequence[Dictionary], *_: Any, **__: Any) -> MaskEstimator:
    return train_mask_estimator(dictionaries, MaskEstimatorConfig(n_steps=1))


@contextlib.contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    with (
        patch.dict(os.environ, {"SEPDICT_CACHE": str(folder / "cache")}),
        patch.object(sepdict.separation.mask_estimator_cache, "train_mask_estimator", _train_quickly),
    ):
        yield


def _estimate(folder: Path) -> None:
    with cache_in(folder):
        mask_estimator = cached_mask_estimator([learned("hiss"), learned("hum")])
        assert all(weight.isfinite().all() for weight in mask_estimator.network.state_dict().values())


def _cache_law(folder: Path, done: bool) -> None:
    """Hold that what is in the cache is whole; a cache that cannot be written to is no failure."""

    def refuse(*_: Any, **__: Any) -> MaskEstimator:
        raise FailedError("trained again")

    del done
    with cache_in(folder), patch.object(sepdict.separation.mask_estimator_cache, "train_mask_estimator", refuse):
        if list(cache_folder().glob("mask_estimator-*.safetensors")):
            _estimate(folder)


# --- commands


def _run(*arguments: str | Path) -> None:
    result = run(*arguments)
    if result.exit_code == 0:
        return
    assert result.exit_code in (1, 3), result.output
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("sepdict: ")]
    assert lines, result.stderr
    raise FailedError(lines[-1])


def _prepare_training(folder: Path) -> None:
    (folder / "solos").mkdir()
    write_audio(folder / "solos" / "a.wav", sound("hum", n_samples=2 * SAMPLE_RATE))


def _train(folder: Path, *more: str) -> None:
    target = folder / "out" / "hum.safetensors"
    _run("train-dictionary", folder / "solos", "-o", target, "--steps", "2", "--hidden", "4", "-q", *more)


def _training_law(folder: Path, done: bool) -> None:
    path = folder / "out" / "hum.safetensors"
    if path.exists():
        assert Dictionary.load(path).source == "hum" or Dictionary.load(path).source == "solos"
    assert path.exists() or not done


def _prepare_evaluation(folder: Path) -> None:
    write_references(folder / "stems", n_samples=N_SAMPLES)
    write_references(folder / "truth", n_samples=N_SAMPLES)


def _evaluate(folder: Path, *more: str) -> None:
    with patch.object(sepdict.evaluation.scoring, "bss_eval", constant_bss_eval):
        _run("evaluate", folder / "stems", folder / "truth", "--report", folder / REPORT, *more)


def _report_law(folder: Path, done: bool) -> None:
    path = folder / REPORT
    assert path.exists() or not done
    assert not path.exists() or path.read_bytes().rstrip().endswith(b"</html>")


# --- the page


def _receive(folder: Path) -> None:
    content = bytes(range(256)) * 40

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 4096):
            yield content[start : start + 4096]

    with patch("sepdict.web.uploads.scratch_folder", lambda: contextlib.nullcontext(folder)):
        store = Uploads(Limits())
    try:
        n_bytes = asyncio.run(store.receive(pieces(), folder / "upload", n_promised=len(content)))
    except HTTPException as error:
        _nothing_arrived(store, folder, error)
        raise FailedError(error.detail) from error
    assert n_bytes == len(content) == (folder / "upload").stat().st_size


def _nothing_arrived(store: Uploads, folder: Path, refusal: HTTPException) -> None:
    assert refusal.status_code == 507
    said_in_one_line(refusal.detail)
    assert store._arrivals == []
    assert not (folder / "upload").exists()


def _receive_again(folder: Path) -> None:
    (folder / "upload").unlink(missing_ok=True)  # each upload has a name of its own
    _receive(folder)


def _upload_law(folder: Path, done: bool) -> None:
    assert not done or (folder / "upload").stat().st_size == 256 * 40


QUICK = BatchConfig(FIT)
SIDE_BY_SIDE = OutputConfig(filename="{source}/{track}.{ext}", format="flac")

SEPARATIONS = [
    _separation("a track", ["a"], QUICK),
    _separation("a track with a report and labels", ["a"], replace(QUICK, report=True, activity=ActivityConfig())),
    _separation("a part of a track", ["a"], replace(QUICK, start_s=0.05, duration_s=0.1)),
    _separation("tracks side by side", ["a", "b"], replace(QUICK, output=SIDE_BY_SIDE)),
    _separation("a track over an older one", ["a"], replace(QUICK, overwrite=True), older=True, overwrite_again=True),
    _separation("two tracks", ["a", "b"], QUICK),
]
SCENARIOS = [
    _dictionary(older=False),
    _dictionary(older=True),
    *map(_audio, WRITTEN_FORMATS),
    *SEPARATIONS,
    Scenario("a mask estimator", lambda _: None, _estimate, _cache_law, _estimate),
    Scenario("a training", _prepare_training, _train, _training_law, lambda f: _train(f, "--overwrite")),
    Scenario("scores as a page", _prepare_evaluation, _evaluate, _report_law, lambda f: _evaluate(f, "--overwrite")),
    Scenario("an upload", lambda _: None, _receive, _upload_law, _receive_again),
]
SAID = (SepdictError, FailedError)
