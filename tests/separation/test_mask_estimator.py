"""Laws of the mask estimator: it learns to tell apart the sources of dictionaries that were trained separately."""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from front_end import be_without_home

import sepdict.dictionaries.tensor_cache
import sepdict.separation.mask_estimator_cache
from sepdict._core.cache import cache_folder
from sepdict._core.names import RESIDUAL
from sepdict.audio.labels import Label
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError, SepdictError
from sepdict.evaluation.metrics import si_sdr
from sepdict.models.mask_network import MaskNetwork
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import Progress
from sepdict.separation.config import FitConfig, MaskEstimatorConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.guides import LabelGuide
from sepdict.separation.mask_estimator import (
    MaskEstimator,
    adapt,
    adapt_to_residual,
    exemplars_by_source,
    train_mask_estimator,
)
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.spectral.bands import band_widths, to_bands
from sepdict.spectral.stft import StftConfig, magnitude, stft
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
SMALL = StftConfig(n_fft=256, hop_length=64)
TINY = TrainingConfig(network=NetworkConfig(code_size=2, hidden=(8,)), stft=SMALL, n_steps=60, n_checks=2)
BRIEF = MaskEstimatorConfig(n_steps=40, width=32)


def chirps(seed: int, *, rising: bool) -> torch.Tensor:
    """Two seconds of tones that rise, or fall, from random heights: spectra alike, movement opposite."""
    generator = torch.Generator().manual_seed(seed)
    time_s = torch.arange(RATE // 5) / RATE
    heights_hz = 500 + 2000 * torch.rand(10, 1, generator=generator)
    tones = torch.sin(2 * torch.pi * (heights_hz + (1 if rising else -1) * 1500 * time_s) * time_s)
    return tones.reshape(1, -1)


def learned(source: str, *, rising: bool, exemplars_s: float = 60.0) -> Dictionary:
    audio = Audio(chirps(1, rising=rising), RATE)
    return train_dictionary(audio, replace(TINY, exemplars_s=exemplars_s), source=source)


@pytest.fixture(scope="module")
def pair() -> list[Dictionary]:
    return [learned("up", rising=True), learned("down", rising=False)]


@pytest.fixture(scope="module")
def mask_estimator(pair: list[Dictionary]) -> MaskEstimator:
    return train_mask_estimator(pair, BRIEF)


def masks_of(mask_estimator: MaskEstimator, samples: torch.Tensor, *sources: str) -> torch.Tensor:
    return mask_estimator.masks(magnitude(stft(samples, SMALL)), sources or ("up", "down"))


def test_masks_sum_to_one_at_any_level(mask_estimator: MaskEstimator) -> None:
    samples = torch.randn(2, 3000)
    plain = masks_of(mask_estimator, samples)
    assert plain.shape == (2, 2, 129, 48)
    assert torch.allclose(plain.sum(0), torch.ones(()), atol=1e-5)
    for level in (1e-12, 1e12):
        assert torch.allclose(masks_of(mask_estimator, samples * level), plain, atol=1e-4)
    assert masks_of(mask_estimator, torch.zeros(1, 500)).isfinite().all()


def test_masks_come_in_the_order_asked_for(mask_estimator: MaskEstimator) -> None:
    samples = torch.randn(1, 3000)
    one, other = masks_of(mask_estimator, samples, "down", "up"), masks_of(mask_estimator, samples, "up", "down")
    assert torch.equal(one, other.flip(0))
    assert not torch.equal(one, other)
    with pytest.raises(ConfigError, match="left"):
        masks_of(mask_estimator, samples, "up", "left")


def test_channels_are_heard_one_by_one(mask_estimator: MaskEstimator) -> None:
    samples = torch.randn(2, 3000)
    assert torch.allclose(masks_of(mask_estimator, samples)[:, 1:], masks_of(mask_estimator, samples[1:]), atol=1e-5)


@pytest.mark.slow
def test_sources_that_only_move_differently_are_told_apart_by_the_mask_estimator(pair: list[Dictionary]) -> None:
    up, down = chirps(2, rising=True), chirps(3, rising=False)
    mixture = Audio(up + down, RATE)
    guided = separate(mixture, pair, trained_mask_estimator=train_mask_estimator(pair, replace(BRIEF, n_steps=200)))
    alone = separate(mixture, pair, SeparationConfig(mask_estimator=None))
    scores = [
        float(si_sdr(result.stems["up"].samples[0], up[0]) + si_sdr(result.stems["down"].samples[0], down[0])) / 2
        for result in (guided, alone)
    ]
    assert scores[0] > scores[1] + 2


def test_the_same_seed_trains_the_same_and_the_order_does_not_matter(
    pair: list[Dictionary], mask_estimator: MaskEstimator
) -> None:
    one, other = mask_estimator, train_mask_estimator(pair[::-1], BRIEF)
    assert one.sources == other.sources == ("down", "up")
    for weight, same in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(weight, same)
    different = train_mask_estimator(pair, replace(BRIEF, seed=1))
    assert not torch.equal(different.network.first.weight, one.network.first.weight)


def test_training_a_mask_estimator_leaves_the_dictionaries_as_they_were(pair: list[Dictionary]) -> None:
    before = [dictionary.sha256 for dictionary in pair]
    train_mask_estimator(pair, replace(BRIEF, n_steps=3))
    assert [dictionary.sha256 for dictionary in pair] == before


def test_a_dictionary_without_exemplars_gets_no_mask_estimator_but_separates(pair: list[Dictionary]) -> None:
    forgetful = [pair[0], learned("down", rising=False, exemplars_s=0)]
    with pytest.raises(ConfigError, match="'down' has no exemplars"):
        train_mask_estimator(forgetful, BRIEF)
    assert set(separate(Audio(chirps(2, rising=True), RATE), forgetful).stems) == {"up", "down"}


def test_progress_is_told_and_can_cancel(pair: list[Dictionary]) -> None:
    events: list[Progress] = []
    train_mask_estimator(pair, replace(BRIEF, n_steps=5), on_progress=events.append)
    assert [(event.stage, event.step, event.n_steps) for event in events] == [("estimate", i, 5) for i in range(1, 6)]

    def cancel(_: Progress) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train_mask_estimator(pair, BRIEF, on_progress=cancel)


# --- tuning to one mixture


def sources_of(*samples: torch.Tensor) -> torch.Tensor:
    """The magnitudes of sources, (n_sources, 1, n_bins, n_frames)."""
    return torch.stack([magnitude(stft(source, SMALL)) for source in samples])


@pytest.mark.slow
def test_adapting_to_the_true_sources_brings_the_masks_nearer_to_them(mask_estimator: MaskEstimator) -> None:
    up, down = chirps(2, rising=True), chirps(3, rising=False)
    truth = sources_of(up, down)
    shares = truth.square() / truth.square().sum(dim=0)
    adapted = adapt(mask_estimator, truth, ("up", "down"), n_steps=100)
    before, after = (
        ((masks_of(which, up + down) - shares).abs() * truth).mean() for which in (mask_estimator, adapted)
    )
    assert after < 0.9 * before


@pytest.mark.slow
def test_a_source_that_is_silent_stays_silent_in_adaptation(mask_estimator: MaskEstimator) -> None:
    up = chirps(2, rising=True)
    faint = 1e-3 * sources_of(chirps(3, rising=False), up).sum(dim=0)
    adapted = adapt(mask_estimator, torch.stack([sources_of(up)[0], faint]), ("up", "down"), n_steps=200)
    heard = sources_of(up)[0]
    before, after = ((masks_of(which, up)[1] * heard).sum() for which in (mask_estimator, adapted))
    assert after < 0.2 * before


def test_tuning_does_not_depend_on_level_or_order_and_changes_nothing_it_is_given(
    mask_estimator: MaskEstimator,
) -> None:
    truth, samples = sources_of(chirps(2, rising=True), chirps(3, rising=False)), chirps(4, rising=True)
    kept, plain = truth.clone(), masks_of(mask_estimator, samples)
    adapted = masks_of(adapt(mask_estimator, truth, ("up", "down"), n_steps=10), samples)
    turned = masks_of(adapt(mask_estimator, truth.flip(0), ("down", "up"), n_steps=10), samples)
    louder = masks_of(adapt(mask_estimator, 2.0**80 * truth, ("up", "down"), n_steps=10), samples)
    assert torch.equal(adapted, turned)
    assert torch.allclose(adapted, louder, atol=1e-5)
    assert torch.equal(truth, kept)
    assert torch.equal(masks_of(mask_estimator, samples), plain)
    assert not torch.equal(adapted, plain)


def test_there_is_nothing_to_adapt_to_in_silence_or_without_steps(mask_estimator: MaskEstimator) -> None:
    truth = sources_of(chirps(2, rising=True), chirps(3, rising=False))
    assert adapt(mask_estimator, torch.zeros_like(truth), ("up", "down"), n_steps=10) is mask_estimator
    assert adapt(mask_estimator, truth, ("up", "down"), n_steps=0) is mask_estimator


# --- a single dictionary, and the rest


@pytest.fixture(scope="module")
def of_one(pair: list[Dictionary]) -> Iterator[MaskEstimator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sepdict.separation.everyday.N_SOUNDS", 6)
        yield train_mask_estimator(pair[:1], replace(BRIEF, n_steps=100))


def in_bands(source: torch.Tensor) -> torch.Tensor:
    return to_bands(sources_of(source)[0, 0])


def test_the_mask_estimator_of_a_single_dictionary_knows_the_residual(of_one: MaskEstimator) -> None:
    masks = masks_of(of_one, torch.randn(2, 3000), "up", RESIDUAL)
    assert of_one.sources == ("up", RESIDUAL)
    assert torch.allclose(masks.sum(0), torch.ones(()), atol=1e-5)


def test_everyday_sounds_alone_teach_something_of_what_a_source_is_not(of_one: MaskEstimator) -> None:
    up, noise = chirps(2, rising=True), torch.randn(1, 16000)
    share = {
        name: float((masks_of(of_one, sound, "up", RESIDUAL)[0] * sources_of(sound)[0]).sum() / sources_of(sound).sum())
        for name, sound in (("up", up), ("noise", noise))
    }
    assert share["up"] > 0.6 > 0.4 > share["noise"]


@pytest.mark.slow
def test_what_is_left_of_the_mixture_teaches_the_residual(of_one: MaskEstimator, pair: list[Dictionary]) -> None:
    up, down = chirps(2, rising=True), chirps(3, rising=False)
    exemplars = exemplars_by_source(pair[:1], torch.device("cpu"))
    adapted = adapt_to_residual(of_one, exemplars, sources_of(down)[0], n_steps=200)
    truth = sources_of(up, down)
    shares = truth.square() / truth.square().sum(dim=0)
    before, after = (
        ((masks_of(which, up + down, "up", RESIDUAL) - shares).abs() * truth).mean() for which in (of_one, adapted)
    )
    assert after < 0.9 * before


def test_learning_the_residual_does_not_depend_on_its_level_and_changes_nothing_that_is_given(
    of_one: MaskEstimator,
) -> None:
    rest, samples = sources_of(chirps(3, rising=False))[0], chirps(4, rising=True)
    exemplars = {"up": in_bands(chirps(2, rising=True)), RESIDUAL: in_bands(torch.randn(1, 8000))}
    kept = rest.clone(), {source: each.clone() for source, each in exemplars.items()}
    plain = masks_of(of_one, samples, "up", RESIDUAL)
    one, louder = (
        masks_of(adapt_to_residual(of_one, exemplars, level * rest, n_steps=10), samples, "up", RESIDUAL)
        for level in (1.0, 2.0**80)
    )
    assert torch.allclose(one, louder, atol=1e-5)
    assert not torch.equal(one, plain)
    assert torch.equal(masks_of(of_one, samples, "up", RESIDUAL), plain)
    assert torch.equal(rest, kept[0])
    assert all(torch.equal(exemplars[source], each) for source, each in kept[1].items())


def test_of_a_silent_residual_or_without_steps_nothing_is_learned(of_one: MaskEstimator) -> None:
    rest = sources_of(chirps(3, rising=False))[0]
    assert adapt_to_residual(of_one, {}, torch.zeros_like(rest), n_steps=10) is of_one
    assert adapt_to_residual(of_one, {}, rest, n_steps=0) is of_one


@pytest.mark.slow
def test_one_source_is_told_from_the_rest_better_than_by_its_decoder_alone(
    of_one: MaskEstimator, pair: list[Dictionary]
) -> None:
    up, down = chirps(2, rising=True), chirps(3, rising=False)
    mixture = Audio(up + down, RATE)
    learned, alone = (
        separate(mixture, pair[:1], config, trained_mask_estimator=trained)
        for config, trained in ((None, of_one), (SeparationConfig(mask_estimator=None), None))
    )
    scores = [
        float(si_sdr(result["up"].samples[0], up[0]) + si_sdr(result[RESIDUAL].samples[0], down[0])) / 2
        for result in (learned, alone)
    ]
    assert scores[0] > scores[1] + 2


@pytest.mark.slow
def test_what_is_marked_of_one_source_is_obeyed(of_one: MaskEstimator, pair: list[Dictionary]) -> None:
    mixture = Audio(chirps(2, rising=True) + chirps(3, rising=False), RATE)
    brief = SeparationConfig(FitConfig(n_iterations=10), MaskEstimatorConfig(n_residual_steps=30))
    marked, relative = slice(int(0.6 * RATE), int(0.9 * RATE)), []
    for guides in ([], [LabelGuide((Label(0.5, 1.0, "up"),))]):
        stems = separate(mixture, pair[:1], brief, guides=guides, trained_mask_estimator=of_one).stems
        heard = {name: float(stem.samples[:, marked].norm()) for name, stem in stems.items()}
        relative.append(heard[RESIDUAL] / heard["up"])
    unguided, guided = relative
    assert unguided > 0.5 > 0.1 > guided  # a little is below 20 Hz, and the residual's in any case


# --- how a separation uses them


@pytest.mark.parametrize(
    ("settings", "n_adapted"),
    [({}, 3), ({"residual": True}, 0), ({"mask_estimator": MaskEstimatorConfig(n_adaptation_steps=0)}, 0)],
    ids=["usually", "with a residual", "not wanted"],
)
def test_separation_adapts_where_all_sources_are_known(
    pair: list[Dictionary], mask_estimator: MaskEstimator, settings: dict[str, Any], n_adapted: int
) -> None:
    events: list[Progress] = []
    config = SeparationConfig(FitConfig(n_iterations=2), MaskEstimatorConfig(n_adaptation_steps=3))
    separate(
        Audio(chirps(2, rising=True), RATE),
        pair,
        replace(config, **settings),
        trained_mask_estimator=mask_estimator,
        on_progress=events.append,
    )
    assert sum(event.stage == "adapt" for event in events) == n_adapted


@pytest.fixture
def cached(
    pair: list[Dictionary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[MaskEstimator, int]]:
    """Train by way of an empty cache, and count the steps that were made."""
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path / "cache"))

    def make() -> tuple[MaskEstimator, int]:
        events: list[Progress] = []
        mask_estimator = cached_mask_estimator(pair, replace(BRIEF, n_steps=3), on_progress=events.append)
        return mask_estimator, len(events)

    return make


def test_a_mask_estimator_is_trained_once(cached: Callable[[], tuple[MaskEstimator, int]]) -> None:
    samples = torch.randn(1, 3000)
    (made, n_made), (found, n_found) = cached(), cached()
    assert (n_made, n_found) == (3, 0)
    assert torch.equal(masks_of(made, samples), masks_of(found, samples))
    assert len(list(cache_folder().iterdir())) == 1


def test_other_dictionaries_get_a_mask_estimator_of_their_own(
    cached: Callable[[], tuple[MaskEstimator, int]], pair: list[Dictionary]
) -> None:
    cached()
    events: list[Progress] = []
    cached_mask_estimator([learned("up", rising=False), pair[1]], replace(BRIEF, n_steps=3), on_progress=events.append)
    assert len(events) == 3


def test_a_damaged_or_unwritable_cache_costs_time_only(
    cached: Callable[[], tuple[MaskEstimator, int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached()
    (path,) = cache_folder().iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        assert cached()[1] == 3
        assert cached()[1] == 0
    path.unlink()
    cache_folder().rmdir()
    cache_folder().write_text("in the way")
    assert cached()[1] == 3
    assert "cannot be kept" in caplog.text


def test_who_has_no_home_gets_an_uncached_mask_estimator_and_is_told_how_to_cache_it(
    cached: Callable[[], tuple[MaskEstimator, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SEPDICT_CACHE")
    be_without_home(monkeypatch)
    assert [cached()[1], cached()[1]] == [3, 3]
    notes = [record.getMessage() for record in caplog.records]
    assert len(notes) == 2  # one for each training
    assert all("cannot be kept" in note and "have SEPDICT_CACHE name a folder" in note for note in notes)


@pytest.mark.parametrize("variable", ["SEPDICT_CACHE", "XDG_CACHE_HOME"])
def test_who_names_a_folder_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("SEPDICT_CACHE", raising=False)
    be_without_home(monkeypatch)
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == (tmp_path if variable == "SEPDICT_CACHE" else tmp_path / "sepdict")


def in_the_way(folder: Path, patch: pytest.MonkeyPatch) -> None:
    folder.touch()


def on_a_disk_that_is_read_only(folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    folder.mkdir()
    patch.setattr("tempfile.TemporaryFile", refuse)


def full(folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize(
    ("spoil", "why", "is_seen_before"),
    [
        (in_the_way, "is a file; expected a folder to write to", True),
        (on_a_disk_that_is_read_only, "cannot be written to (Read-only file system)", True),
        (full, "No space left on device", False),
    ],
)
def test_an_unwritable_cache_is_told_of_before_the_training_with_what_would_mend_it(
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
    why: str,
    is_seen_before: bool,
    pair: list[Dictionary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, noted = tmp_path / "cache", list[int]()
    monkeypatch.setenv("SEPDICT_CACHE", str(folder))
    spoil(folder, monkeypatch)
    config = replace(BRIEF, n_steps=3)
    cached_mask_estimator(pair, config, on_progress=lambda _: noted.append(len(caplog.records)))
    assert noted == 3 * [int(is_seen_before)]
    (note,) = (record.getMessage() for record in caplog.records)
    remedy = "have SEPDICT_CACHE name a folder that can be written to"
    assert note == f"the mask estimator cannot be kept, it will be trained again ({folder}: {why}; {remedy})"


def of_nan(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(weight, torch.nan) for name, weight in weights.items()}


def foreign(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"first.weight": torch.zeros(1, 2, 3)}


def doubled(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.double() for name, weight in weights.items()}


def scaled(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"context.0.weight": weights["context.0.weight"] * 1e38}


def of_one_huge_weight(huge: float) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    def edit(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        first = weights["first.weight"].clone()
        first.view(-1)[17] = huge
        return weights | {"first.weight": first}

    return edit


HUGE = [scaled, of_one_huge_weight(3e38), of_one_huge_weight(-3e38)]  # finite, but what they are multiplied with is not


@pytest.mark.parametrize("edit", [of_nan, foreign, doubled, *HUGE, lambda weights: weights | {"more": torch.zeros(1)}])
def test_a_cache_that_cannot_be_used_is_made_anew_though_its_name_is_right(
    cached: Callable[[], tuple[MaskEstimator, int]], edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    cached()
    (path,) = cache_folder().iterdir()
    content = safetensors.torch.save(edit(safetensors.torch.load(path.read_bytes())))
    path.unlink()
    sepdict.dictionaries.tensor_cache._path_of("mask_estimator", path.name.split("-")[1], content).write_bytes(content)
    made, n_made = cached()
    assert n_made == 3
    assert masks_of(made, torch.randn(1, 3000)).isfinite().all()
    assert len(list(cache_folder().iterdir())) == 1  # the useless file is gone
    assert cached()[1] == 0


def test_what_is_no_file_in_the_cache_is_passed_over(cached: Callable[[], tuple[MaskEstimator, int]]) -> None:
    cached()
    (path,) = cache_folder().iterdir()
    path.unlink()
    os.mkfifo(path)
    assert cached()[1] == 3


def test_a_mask_estimator_that_diverged_is_neither_kept_nor_returned(
    cached: Callable[[], tuple[MaskEstimator, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(network: MaskNetwork, *_: object) -> torch.Tensor:
        return torch.stack([torch.nan * weight.sum() for weight in network.parameters()]).sum()

    monkeypatch.setattr(sepdict.separation.mask_estimator, "_cross_entropy", nothing)
    with pytest.raises(SepdictError, match=r"mask estimator diverged \(stage estimate\), its masks are not finite"):
        cached()
    assert not cache_folder().exists()


def test_the_cache_keeps_the_latest_only(
    cached: Callable[[], tuple[MaskEstimator, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sepdict.separation.mask_estimator_cache, "MOST_CACHED", 2)
    cache_folder().mkdir()
    for name in ("mask_estimator-a", "mask_estimator-b", "mask_estimator-c", "violin"):
        (cache_folder() / f"{name}.safetensors").touch()
    cached()
    left = [path.name for path in cache_folder().iterdir()]
    assert sum(name.startswith("mask_estimator-") for name in left) == 2
    assert "violin.safetensors" in left  # not ours to remove


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_steps", 0), ("n_cuts", 0), ("width", 0), ("gain_range_db", -1), ("doubled_share", 1.5), ("learning_rate", 2)],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(SepdictError, match=f"{name} is {value}"):
        MaskEstimatorConfig(**{name: value})


# Settings that were chosen by measuring: what each was chosen for


def error_of(which: MaskEstimator) -> float:
    """Measure how far masks of a mixture are from the true shares."""
    up, down = chirps(2, rising=True), chirps(3, rising=False)
    truth = sources_of(up, down)
    shares = truth.square() / truth.square().sum(dim=0)
    return float(((masks_of(which, up + down) - shares).abs() * truth).sum() / truth.sum())


@pytest.mark.slow
@pytest.mark.parametrize(("order", "least", "most"), [((0, 1), -0.09, -0.015), ((1, 0), 0.0, 0.09)], ids=str)
def test_the_default_adaptation_learns_from_a_mixture_and_does_not_follow_a_wrong_start_far(
    mask_estimator: MaskEstimator, order: tuple[int, int], least: float, most: float
) -> None:
    both = sources_of(chirps(2, rising=True), chirps(3, rising=False))
    names = [("up", "down")[index] for index in order]  # right, or each taken for the other
    adapted = adapt(mask_estimator, both, names, n_steps=MaskEstimatorConfig.n_adaptation_steps)
    assert least < error_of(adapted) - error_of(mask_estimator) < most


def test_adaptation_learns_from_all_channels_at_the_level_that_exemplars_have(
    mask_estimator: MaskEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_from: list[torch.Tensor] = []
    monkeypatch.setattr(
        sepdict.separation.mask_estimator, "_learn", lambda _, exemplars, *rest: learned_from.extend(exemplars)
    )
    magnitudes = 100 * torch.rand(2, 3, 129, 7)  # of two sources on three channels
    adapt(mask_estimator, magnitudes, ["up", "down"], n_steps=1)
    widths = band_widths(129)[:, None]
    assert [tuple(each.shape) for each in learned_from] == 2 * [(len(widths), 3 * 7)]
    energies = torch.stack([(widths * each.square()).sum(dim=0) for each in learned_from])
    assert float(energies.mean()) == pytest.approx(1)


def test_learning_starts_slowly_until_averages_are_full_and_then_goes_at_its_rate(
    pair: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = MaskEstimatorConfig(width=8, n_cuts=1), list[torch.Tensor]()

    def watch(progress: Progress) -> None:
        seen.append(weights[0].detach().clone())
        if progress.step == 40:
            raise InterruptedError

    weights: list[torch.Tensor] = []
    monkeypatch.setattr(MaskNetwork, "forward", recording_weights(MaskNetwork.forward, weights))
    with pytest.raises(InterruptedError):
        train_mask_estimator(pair, config, on_progress=watch)
    moves = [float((after - before).abs().max()) for before, after in itertools.pairwise(seen)]
    assert moves[0] < config.learning_rate / 8  # the second step; Adam's first ones are as long as its rate
    assert max(moves[30:]) > config.learning_rate / 3


def test_the_rate_of_learning_rises_for_thirty_steps_and_falls_to_zero_along_half_a_cosine() -> None:
    rates = [sepdict.separation.mask_estimator._schedule(step, 3000) for step in range(3000)]
    assert rates[:30] == pytest.approx([(step + 1) / 30 for step in range(30)], rel=1e-3)
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[1500] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def recording_weights(forward: Callable[..., torch.Tensor], weights: list[torch.Tensor]) -> Callable[..., torch.Tensor]:
    def record(network: MaskNetwork, bands: torch.Tensor) -> torch.Tensor:
        weights[:] = [network.first.weight]
        return forward(network, bands)

    return record


N_BANDS = 20
WIDTHS = torch.ones(N_BANDS, 1)


def pieces(level_db: float, *, n_cuts: int = 64, **settings: float) -> torch.Tensor:
    """Levels in dB of pieces cut from exemplars that are so much softer than usual, (n_cuts,)."""
    config = MaskEstimatorConfig(n_cuts=n_cuts, **settings)
    exemplars = torch.full((N_BANDS, 64), 10 ** (level_db / 20) / N_BANDS**0.5)
    mixed = sepdict.separation.mask_estimator._mix_pieces(exemplars, WIDTHS, config, torch.Generator().manual_seed(0))
    return 10 * mixed.square().sum(dim=0).reshape(n_cuts, 64).mean(dim=1).log10()


def test_a_soft_piece_is_raised_to_the_usual_level_and_a_pause_stays_one() -> None:
    still = {"gain_range_db": 0.0, "doubled_share": 0.0}
    assert pieces(-14, **still).min() > -1
    assert pieces(-34, **still).max() < -12


def test_by_default_sources_meet_at_levels_up_to_20_db_apart_and_half_of_the_pieces_are_chords() -> None:
    single = pieces(0, doubled_share=0.0)
    assert 16 < float(single.max() - single.min()) < 24
    doubled = pieces(0, gain_range_db=0.0)
    assert 0.4 < float((doubled.abs() > 0.01).float().mean()) < 0.6
