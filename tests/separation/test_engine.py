"""Separation: stems that sum to the mixture, whatever it is, and that hold what their names say."""

import functools
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import sepdict.separation.segment
from sepdict._core.names import RESIDUAL
from sepdict.audio.discovery import find_audio_files
from sepdict.audio.io import read_audio
from sepdict.audio.overlap_add import OVERLAP_S, fade, spans_of
from sepdict.audio.signal import Audio, peak_exponent, resample, scaled
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError, SepdictError
from sepdict.evaluation.metrics import si_sdr, si_sdr_improvement
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import OnProgress, Progress, ignore_progress
from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.engine import separate, separate_in_blocks
from sepdict.separation.excitations import ExcitationFit, fit_excitations
from sepdict.separation.result import FitSummary, Separation, null_test_db
from sepdict.separation.segment import MASK_EXPONENT
from sepdict.spectral.masks import ratio_masks
from sepdict.spectral.stft import StftConfig, stft
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
DATA = Path(__file__).parents[2] / "data"
TINY = TrainingConfig(
    network=NetworkConfig(code_size=2, hidden=(16, 16)),
    stft=StftConfig(n_fft=256, hop_length=64),
    n_steps=300,
    n_checks=6,
    learning_rate=1e-2,
    exemplars_s=0,
)
STANDARD = SeparationConfig(device="cpu")
BRIEF = replace(STANDARD, fit=FitConfig(n_iterations=4))  # for what holds whether or not the fit has converged
NULL_DB = (
    -110
)  # stems may miss the mixture by float32's rounding of a few additions and transforms, relative to its peak
RATES = [8000, 11025, 16000, 22050, 44100, 192000]


def noise(seconds: float, lowest: float, highest: float, *, seed: int, rate: int = RATE, n_channels: int = 1) -> Tensor:
    """Noise between two frequencies in Hz, with a root mean square near one."""
    white = torch.randn(n_channels, round(seconds * rate), generator=torch.Generator().manual_seed(seed))
    spectrum = torch.fft.rfft(white)
    frequency = torch.linspace(0, rate / 2, spectrum.shape[1])
    band = torch.fft.irfft(spectrum * ((frequency >= lowest) & (frequency <= highest)), n=white.shape[1])
    return band / band.square().mean().sqrt()


def rumble(seconds: float, **settings: Any) -> Tensor:
    return noise(seconds, 0, 1800, **settings)


def hiss(seconds: float, **settings: Any) -> Tensor:
    return noise(seconds, 2200, 4000, **settings)


def bursts(samples: Tensor, *, period_s: float, rate: int = RATE) -> Tensor:
    """Switch a sound softly on and off."""
    time_s = torch.arange(samples.shape[-1]) / rate
    return samples * (0.5 + 0.5 * (2 * torch.pi * time_s / period_s).cos())


@pytest.fixture(scope="module")
def dictionaries() -> list[Dictionary]:
    """One of low noise and one of high noise."""
    return [
        train_dictionary(Audio(rumble(4, seed=1), RATE), TINY, source="rumble", device="cpu"),
        train_dictionary(Audio(hiss(4, seed=2), RATE), TINY, source="hiss", device="cpu"),
    ]


def take_apart(
    samples: Tensor,
    dictionaries: list[Dictionary],
    config: SeparationConfig = STANDARD,
    *,
    rate: int = RATE,
    on_progress: OnProgress = ignore_progress,
    **settings: Any,
) -> Separation:
    return separate(Audio(samples, rate), dictionaries, replace(config, **settings), on_progress=on_progress)


def total(separation: Separation) -> Tensor:
    return torch.stack([stem.samples for stem in separation.stems.values()]).sum(dim=0, dtype=torch.float64)


def error_db(separation: Separation, mixture: Tensor) -> float:
    """The largest difference between the stems' sum and the mixture, relative to its peak."""
    error = (total(separation) - mixture.double()).abs().max() / mixture.double().abs().max()
    return float(20 * error.clamp(min=1e-15).log10())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "dictionaries is None; expected a list of Dictionary, or the path"),
        ("violin.safetensors", "dictionaries is 'violin.safetensors'; expected a list of Dictionary, or the path"),
        ([None], r"dictionaries\[0\] is None; expected Dictionary, or the path"),
        (["violin.safetensors"], "violin.safetensors: cannot be read"),
    ],
)
def test_what_are_no_dictionaries_is_refused_in_one_line(wrong: Any, message: str) -> None:
    with pytest.raises(SepdictError, match=message):
        separate(Audio(torch.rand(1, 800), RATE), wrong)


def test_a_mixture_that_is_none_is_refused_with_what_is_expected(dictionaries: list[Dictionary]) -> None:
    with pytest.raises(ConfigError, match=r"mixture is tensor.*; expected Audio, the path"):
        separate(torch.rand(1, 800), dictionaries)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a list of Dictionary, or the path or installed name of one"):
        separate(Audio(torch.rand(1, 800), RATE), dictionaries[0])  # type: ignore[arg-type]


# The sum, the length, the rate and the channels


@pytest.mark.parametrize("residual", [False, True])
@given(n_samples=st.integers(1, 5000), rate=st.sampled_from(RATES), n_channels=st.sampled_from([1, 2, 8]))
@example(n_samples=1, rate=192000, n_channels=1)
@example(n_samples=1, rate=8000, n_channels=8)
@example(n_samples=64, rate=8000, n_channels=2)
@example(n_samples=4999, rate=44100, n_channels=2)
@settings(max_examples=20)
def test_stems_are_as_the_mixture_and_sum_to_it(
    dictionaries: list[Dictionary], residual: bool, n_samples: int, rate: int, n_channels: int
) -> None:
    mixture = torch.randn(n_channels, n_samples, generator=torch.Generator().manual_seed(n_samples))
    result = take_apart(mixture, dictionaries, BRIEF, rate=rate, residual=residual)
    assert list(result.stems) == ["rumble", "hiss"] + [RESIDUAL] * residual
    for name, stem in result.stems.items():
        assert (stem.samples.shape, stem.sample_rate, stem.name) == (mixture.shape, rate, name)
    assert error_db(result, mixture) < NULL_DB
    assert result.null_test_db < NULL_DB
    assert 0 <= result.explained_energy <= 1 or result.fit.silent


@pytest.mark.parametrize("rate", [4000, 6000, 8000, 44100, 192000])
@pytest.mark.parametrize("residual", [False, True])
def test_a_second_of_any_rate_sums_to_the_mixture(dictionaries: list[Dictionary], rate: int, residual: bool) -> None:
    mixture = noise(1, 0, rate / 2, seed=3, rate=rate, n_channels=2)
    result = take_apart(mixture, dictionaries, BRIEF, rate=rate, residual=residual)
    assert result.null_test_db == pytest.approx(error_db(result, mixture), abs=1)
    assert result.null_test_db < NULL_DB


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("level", [1e-25, 1e-4, 1e3, 1e25])
def test_loud_and_tiny_mixtures_are_separated_alike(dictionaries: list[Dictionary], level: float, rate: int) -> None:
    mixture = rumble(0.5, seed=3, rate=rate) + hiss(0.5, seed=4, rate=rate)
    result = take_apart(mixture * level, dictionaries, BRIEF, rate=rate)
    assert error_db(result, mixture * level) < NULL_DB
    plain = take_apart(mixture, dictionaries, BRIEF, rate=rate)
    for name, stem in plain.stems.items():
        torch.testing.assert_close(result.stems[name].samples / level, stem.samples, atol=0.01, rtol=0)
    assert result.explained_energy == pytest.approx(plain.explained_energy, abs=1e-3)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_a_louder_mixture_has_louder_stems(dictionaries: list[Dictionary], factor: float) -> None:
    """Exactly so for powers of two, which round nothing."""
    mixture = rumble(0.5, seed=3, n_channels=2) + hiss(0.5, seed=4, n_channels=2)
    plain, scaled = (take_apart(x, dictionaries, residual=True) for x in (mixture, mixture * factor))
    for name, stem in plain.stems.items():
        assert torch.equal(stem.samples * factor, scaled.stems[name].samples)
    assert plain.null_test_db == scaled.null_test_db


@pytest.mark.parametrize("rate", [RATE, 11025])
@pytest.mark.parametrize("background_model", [False, True])
@pytest.mark.parametrize("power", [-100, 119])
def test_separation_does_not_depend_on_the_level_as_far_as_float32_holds_it(
    dictionaries: list[Dictionary], power: int, background_model: bool, rate: int
) -> None:
    mixture = 0.3 * (rumble(0.5, seed=3, rate=rate) + hiss(0.5, seed=4, rate=rate))
    plain, scaled = (
        take_apart(x, dictionaries, BRIEF, rate=rate, background_model=background_model)
        for x in (mixture, mixture * 2.0**power)
    )
    for name, stem in plain.stems.items():
        torch.testing.assert_close(scaled.stems[name].samples * 2.0**-power, stem.samples, rtol=0, atol=1e-6)
    assert scaled.explained_energy == pytest.approx(plain.explained_energy)
    assert scaled.null_test_db == pytest.approx(plain.null_test_db)
    torch.testing.assert_close(scaled.timeline.gains * 2.0**-power, plain.timeline.gains)


@pytest.mark.parametrize("residual", [False, True])
def test_one_broken_sample_of_1e36_leaves_every_stem_finite(dictionaries: list[Dictionary], residual: bool) -> None:
    mixture = long_mixture(3.5)
    mixture[:, 20000] = 1e36
    result = take_apart(mixture, dictionaries, BRIEF, residual=residual, segment_s=3.0)
    assert all(stem.samples.isfinite().all() for stem in result.stems.values())
    assert error_db(result, mixture) < NULL_DB
    assert result.null_test_db < NULL_DB


def test_stems_that_are_no_sound_are_refused_and_never_handed_over(
    dictionaries: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Tensor] = []
    monkeypatch.setattr(sepdict.separation.segment, "ratio_masks", lambda magnitudes, **_: magnitudes * torch.nan)
    with pytest.raises(AudioError, match=r"^song\.wav: its stems would hold NaN or infinite samples; [^\n]*$"):
        separate_in_blocks(Audio(rumble(0.5, seed=3), RATE, "song.wav"), dictionaries, handed.append, BRIEF)
    assert not handed


@pytest.mark.parametrize("misses", [[(math.nan, 1.0)], [(0.1, 1.0), (math.nan, 1.0)], [(1.0, math.inf)]])
def test_the_null_test_of_what_is_not_finite_is_no_number(misses: list[tuple[float, float]]) -> None:
    assert math.isnan(null_test_db(misses))


def test_a_silent_segment_counts_for_nothing_among_others(dictionaries: list[Dictionary]) -> None:
    sound = long_mixture(3.0)
    alone = take_apart(sound, dictionaries, BRIEF)
    padded = take_apart(torch.cat([sound, torch.zeros(1, 8 * RATE)], dim=1), dictionaries, BRIEF, segment_s=3.0)
    assert padded.n_segments > 3
    assert not padded.fit.silent
    assert padded.fit.message == alone.fit.message
    assert padded.fit.loss_curve[0] == pytest.approx(alone.fit.loss_curve[0], rel=0.3)
    assert padded.explained_energy == pytest.approx(alone.explained_energy, abs=0.05)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("n_samples", [1, 3000])
def test_silence_gives_silent_stems(dictionaries: list[Dictionary], rate: int, n_samples: int) -> None:
    result = take_apart(torch.zeros(2, n_samples), dictionaries, rate=rate, residual=True)
    assert all(torch.equal(stem.samples, torch.zeros(2, n_samples)) for stem in result.stems.values())
    assert math.isnan(result.explained_energy)
    assert (result.fit.silent, result.fit.message) == (True, "The mixture is silent: there was nothing to fit.")
    assert result.null_test_db == -300


@pytest.mark.parametrize("n_dictionaries", [1, 2])
def test_the_mixture_is_not_written_into(dictionaries: list[Dictionary], n_dictionaries: int) -> None:
    samples = 1000 * rumble(0.3, seed=3)
    copy = samples.clone()
    result = take_apart(samples, dictionaries[:n_dictionaries], BRIEF, residual=True)
    for stem in result.stems.values():
        stem.samples.zero_()  # nor is it what the stems are made of
    assert torch.equal(samples, copy)


def test_separating_twice_gives_the_same_and_touches_no_random_state(dictionaries: list[Dictionary]) -> None:
    mixture = rumble(0.5, seed=3) + hiss(0.5, seed=4)
    before = torch.get_rng_state()
    one, other = take_apart(mixture, dictionaries), take_apart(mixture, dictionaries)
    assert all(torch.equal(one.stems[name].samples, other.stems[name].samples) for name in one.stems)
    assert torch.equal(torch.get_rng_state(), before)


def test_stems_are_separated_also_with_gradients_switched_off(dictionaries: list[Dictionary]) -> None:
    with torch.no_grad():
        stems = take_apart(hiss(0.2, seed=3), dictionaries, BRIEF).stems
        assert all(stem.samples.isfinite().all() for stem in stems.values())


# What the stems hold


@pytest.mark.parametrize("rate", [8000, 22050])
def test_sources_in_bands_of_their_own_are_pulled_apart(dictionaries: list[Dictionary], rate: int) -> None:
    low = bursts(rumble(2, seed=11, rate=rate), period_s=0.6, rate=rate)
    high = bursts(hiss(2, seed=12, rate=rate), period_s=0.45, rate=rate)
    result = take_apart(low + high, dictionaries, rate=rate)
    for name, source in (("rumble", low), ("hiss", high)):
        assert float(si_sdr_improvement(result.stems[name].samples[0], source[0], (low + high)[0])) > 10
    assert result.explained_energy > 0.5


@pytest.mark.parametrize("panning", [(1.0, 0.25), (0.0, 1.0), (1.0, -1.0)])
def test_a_panned_source_stays_where_it_was(dictionaries: list[Dictionary], panning: tuple[float, float]) -> None:
    low = torch.tensor(panning)[:, None] * rumble(1, seed=11)
    for residual in (False, True):
        for stem in take_apart(low, dictionaries, residual=residual).stems.values():
            left, right = stem.samples
            torch.testing.assert_close(left * panning[1], right * panning[0], atol=0.02, rtol=0)


def test_sources_panned_apart_stay_apart(dictionaries: list[Dictionary]) -> None:
    low = torch.tensor([1.0, 0.3])[:, None] * rumble(1, seed=11)
    high = torch.tensor([0.1, 0.9])[:, None] * hiss(1, seed=12)
    stems = take_apart(low + high, dictionaries).stems
    loudness = {name: stem.samples.square().mean(dim=1).sqrt() for name, stem in stems.items()}
    assert float(loudness["rumble"][1] / loudness["rumble"][0]) == pytest.approx(0.3, abs=0.15)
    assert float(loudness["hiss"][0] / loudness["hiss"][1]) == pytest.approx(0.1 / 0.9, abs=0.15)


def test_a_single_dictionary_leaves_the_rest_as_the_residual(dictionaries: list[Dictionary]) -> None:
    low, high = rumble(1, seed=11), hiss(1, seed=12)
    result = take_apart(low + high, dictionaries[:1])
    assert list(result.stems) == ["rumble", RESIDUAL]
    assert error_db(result, low + high) < NULL_DB
    for name, source in (("rumble", low), (RESIDUAL, high)):
        assert float(si_sdr_improvement(result.stems[name].samples[0], source[0], (low + high)[0])) > 3


def test_what_no_dictionary_explains_goes_to_the_residual(dictionaries: list[Dictionary]) -> None:
    """A tone is nothing that two dictionaries of noise can draw."""
    tone = 30 * (torch.arange(RATE) * 2.5).sin()[None]
    mixture = rumble(1, seed=11) + hiss(1, seed=12) + tone
    shared, apart = (take_apart(mixture, dictionaries, residual=residual) for residual in (False, True))
    energy = {name: float(stem.samples.square().sum()) for name, stem in apart.stems.items()}
    assert energy[RESIDUAL] > 0.5 * sum(energy.values())
    assert RESIDUAL not in shared.stems
    assert shared.explained_energy < 0.5


def above_the_band(separation: Separation, name: str) -> float:
    """Energy above the dictionaries' 4 kHz, with room for the resampler's slope."""
    stem = separation.stems[name]
    spectrum = torch.fft.rfft(stem.samples)
    frequency = torch.linspace(0, stem.sample_rate / 2, spectrum.shape[1])
    return float(spectrum[:, frequency > 4400].abs().square().sum())


def test_what_lies_above_the_band_goes_to_the_residual_if_there_is_one(dictionaries: list[Dictionary]) -> None:
    mixture = noise(1, 0, 22050, seed=3, rate=44100)
    result = take_apart(mixture, dictionaries, rate=44100, residual=True)
    energy = {name: above_the_band(result, name) for name in result.stems}
    assert energy["rumble"] + energy["hiss"] < 1e-4 * energy[RESIDUAL]


def test_what_lies_above_the_band_is_else_shared_as_its_top_was(dictionaries: list[Dictionary]) -> None:
    """Where low noise alone is followed by high noise alone, the highest frequencies follow the latter."""
    result = take_apart(
        rumble(1, seed=3, rate=44100) + noise(1, 2200, 22050, seed=4, rate=44100), dictionaries, rate=44100
    )
    assert above_the_band(result, "hiss") > 3 * above_the_band(result, "rumble")


@pytest.mark.parametrize("rate", [4000, 6000])
def test_a_mixture_of_a_lower_rate_than_the_dictionaries_is_separated(
    dictionaries: list[Dictionary], rate: int
) -> None:
    low = bursts(noise(1, 0, 1800, seed=11, rate=rate), period_s=0.6, rate=rate)
    result = take_apart(low, dictionaries, rate=rate)
    energy = {name: float(stem.samples.square().sum()) for name, stem in result.stems.items()}
    assert energy["rumble"] > 20 * energy["hiss"]


def test_bins_beyond_the_mixtures_own_rate_are_not_fitted(
    dictionaries: list[Dictionary], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the hiss cannot be there at 6 kHz; its other half is no softer for that."""
    mixture, fits = noise(1, 2200, 3000, seed=12, rate=6000), []
    mixture = scaled(mixture, -peak_exponent(Audio(mixture, 6000)))  # as it is fitted

    def kept(*arguments: Any, **options: Any) -> ExcitationFit:
        fits.append(fit_excitations(*arguments, **options))
        return fits[-1]

    monkeypatch.setattr(sepdict.separation.segment, "fit_excitations", kept)
    take_apart(mixture, dictionaries, rate=6000)
    (fit,) = fits
    heard = slice(129 * 2300 // 4000, 129 * 2900 // 4000)
    stft_config = dictionaries[0].card.stft
    observed = stft(resample(Audio(mixture, 6000), RATE).samples, stft_config).abs()[:, heard].mean()
    assert float(fit.magnitudes[1, :, heard].mean() / observed) == pytest.approx(1, abs=0.2)


def test_a_mixture_without_one_of_the_sources_leaves_its_stem_nearly_empty(dictionaries: list[Dictionary]) -> None:
    result = take_apart(hiss(1, seed=12), dictionaries)
    energy = {name: float(stem.samples.square().sum()) for name, stem in result.stems.items()}
    assert energy["hiss"] > 20 * energy["rumble"]


def test_stems_follow_the_dictionaries_order(dictionaries: list[Dictionary]) -> None:
    mixture = rumble(0.5, seed=3) + hiss(0.5, seed=4)
    one, other = (take_apart(mixture, order) for order in (dictionaries, dictionaries[::-1]))
    assert list(other.stems) == list(one.stems)[::-1]
    for name, stem in one.stems.items():
        assert (other.stems[name].samples - stem.samples).abs().mean() < 0.02 * mixture.abs().mean()


# Long mixtures, in segments


def long_mixture(seconds: float, **settings: Any) -> Tensor:
    return bursts(rumble(seconds, seed=3, **settings), period_s=0.7) + bursts(
        hiss(seconds, seed=4, **settings), period_s=1.1
    )


@pytest.fixture(scope="module")
def whole(dictionaries: list[Dictionary]) -> Separation:
    return take_apart(long_mixture(7.3, n_channels=2), dictionaries)


@pytest.mark.parametrize("segment_s", [3.0, 3.1, 5.0])
def test_stems_of_segments_sum_to_the_mixture_and_are_nearly_those_of_the_whole(
    dictionaries: list[Dictionary], whole: Separation, segment_s: float
) -> None:
    parts = take_apart(long_mixture(7.3, n_channels=2), dictionaries, segment_s=segment_s)
    assert parts.null_test_db < NULL_DB
    assert parts.explained_energy == pytest.approx(whole.explained_energy, abs=0.01)
    for name, stem in whole.stems.items():
        error = (parts.stems[name].samples - stem.samples).square().sum() / stem.samples.square().sum()
        assert 0 < error < 1e-2


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("seconds", [0.01, OVERLAP_S, 1.5, 2.99, 3.0, 3.01, 7.3, 31.0])
def test_segments_are_no_longer_than_asked_and_fade_into_each_other(rate: int, seconds: float) -> None:
    mixture = Audio(torch.zeros(1, round(seconds * rate)), rate)
    spans = spans_of(mixture, 3.0)
    assert all(span.stop - span.start <= 3.0 * rate for span in spans)
    assert (len(spans) == 1) is (seconds <= 3.0)
    total, heard = torch.zeros(mixture.n_samples), torch.zeros(mixture.n_samples)
    for index, span in enumerate(spans):
        weights = fade(spans, index)
        assert 0 < weights.min() <= weights.max() <= 1
        total[span] += weights
        heard[span] += 1
    torch.testing.assert_close(total, torch.ones_like(total))
    assert heard.max() <= 2


def test_a_mixture_that_fits_a_segment_is_separated_as_a_whole(dictionaries: list[Dictionary]) -> None:
    mixture = long_mixture(2.5)
    one, other = (take_apart(mixture, dictionaries, BRIEF, segment_s=seconds) for seconds in (3.0, float("inf")))
    assert all(torch.equal(one.stems[name].samples, other.stems[name].samples) for name in one.stems)


def test_progress_counts_through_the_segments(dictionaries: list[Dictionary]) -> None:
    seen: list[Progress] = []
    take_apart(long_mixture(6.0), dictionaries, BRIEF, segment_s=3.0, on_progress=seen.append)
    assert [(progress.step, progress.n_steps) for progress in seen] == [(step, 12) for step in range(1, 13)]


@pytest.mark.parametrize("segment_s", [2.9, 0.0, -1.0, float("nan")])
def test_segments_too_short_to_fade_are_refused(dictionaries: list[Dictionary], segment_s: float) -> None:
    with pytest.raises(ConfigError, match=f"segments are of {segment_s} s; expected 3 s or more"):
        take_apart(hiss(0.2, seed=3), dictionaries, segment_s=segment_s)


def test_a_summary_tells_of_the_segment_that_did_not_converge() -> None:
    well, badly = FitSummary(True, "well", (4.0, 2.0, 1.0)), FitSummary(False, "badly", (8.0, 6.0))
    silent = FitSummary(True, "silent", (0.0,), silent=True)
    assert FitSummary.of([well, badly]) == FitSummary(False, "badly", (6.0, 4.0, 3.5))
    assert FitSummary.of([silent, well]) == FitSummary(True, "well", (4.0, 2.0, 1.0))
    assert FitSummary.of([silent, silent]) == silent


# Progress, and what is refused


def test_progress_reports_the_fit(dictionaries: list[Dictionary]) -> None:
    seen: list[Progress] = []
    result = take_apart(rumble(0.3, seed=3), dictionaries, BRIEF, on_progress=seen.append)
    assert [progress.step for progress in seen] == [1, 2, 3, 4]
    assert seen[-1].divergence == result.fit.loss_curve[-1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("enough")])
def test_an_exception_from_the_callback_cancels(dictionaries: list[Dictionary], error: BaseException) -> None:
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        raise error

    with pytest.raises(type(error)):
        take_apart(rumble(0.3, seed=3), dictionaries, on_progress=stop)
    assert len(seen) == 1


def renamed(dictionary: Dictionary, **fields: Any) -> Dictionary:
    return Dictionary(replace(dictionary.card, **fields), dictionary.network)


def check_refused(dictionaries: list[Dictionary], *words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        take_apart(rumble(0.1, seed=3), dictionaries)
    for word in words:
        assert word in str(refused.value)


def test_unfit_dictionaries_are_refused_with_the_reason(dictionaries: list[Dictionary]) -> None:
    low, high = dictionaries
    check_refused([], "no dictionaries")
    check_refused([low, low], "2", "'rumble'", "nothing tells apart")
    check_refused([low, high, renamed(high, source="rumble")], "2", "'rumble'", "under its own name")
    check_refused([low, renamed(high, source=RESIDUAL)], "'residual'", "rename it")
    check_refused([low, renamed(high, sample_rate=16000)], "'rumble' has sample_rate 8000", "'hiss' has", "16000")
    other_stft = StftConfig(n_fft=256, hop_length=128)
    check_refused([low, renamed(high, stft=other_stft)], "'rumble' has stft", "hop_length=64", "hop_length=128")


def test_an_unknown_device_is_refused_by_name(dictionaries: list[Dictionary]) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        separate(Audio(rumble(0.1, seed=3), RATE), dictionaries, SeparationConfig(device="abacus"))


# Real sound: SEPDICT_AUDIO names a folder of sources, each with recordings under train/ and test/


@pytest.mark.slow
@pytest.mark.skipif("SEPDICT_AUDIO" not in os.environ, reason="SEPDICT_AUDIO names no folder of real recordings")
@pytest.mark.parametrize("sources", [("speech/libri4406_M", "environment/rain"), ("music/violin", "environment/rain")])
def test_real_sources_are_pulled_apart(sources: tuple[str, str]) -> None:
    folders = [Path(os.environ["SEPDICT_AUDIO"]) / source for source in sources]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip(f"{' and '.join(map(str, folders))} are not there")
    config = replace(TINY, network=NetworkConfig(code_size=8, hidden=(64, 64)), stft=None, n_steps=600)

    def excerpt(folder: Path, seconds: float) -> Tensor:
        heard = [resample(read_audio(path), RATE).samples for path in find_audio_files([folder])]
        return torch.cat(heard, dim=1)[:, : round(seconds * RATE)]

    real = [
        train_dictionary(Audio(excerpt(folder / "train", 30), RATE), config, source=folder.name, device="cpu")
        for folder in folders
    ]
    references = torch.cat([excerpt(folder / "test", 4) for folder in folders])  # (n_sources, n_samples)
    references = references / references.square().mean(dim=1, keepdim=True).sqrt()
    mixture = references.sum(dim=0)
    result = take_apart(mixture, real)
    estimates = torch.cat([stem.samples for stem in result.stems.values()])
    assert float(si_sdr_improvement(estimates, references, mixture).mean()) > 1


# Settings that were chosen by measuring: what each was chosen for


@pytest.mark.parametrize("other", [MASK_EXPONENT / 2, 2 * MASK_EXPONENT])
def test_sources_that_are_known_roughly_are_best_shared_by_amplitude(other: float, generator: torch.Generator) -> None:
    """Spectra that differ by some 6 dB from bin to bin, and are known as well as that."""
    levels = 10 ** (6 / 20 * torch.randn(2, 200, 50, generator=generator))
    sources = levels * torch.randn(2, 200, 50, generator=generator, dtype=torch.complex64)
    estimates = levels * 10 ** (6 / 20 * torch.randn(2, 200, 50, generator=generator))

    def error(exponent: float) -> float:
        stems = ratio_masks(estimates, exponent=exponent) * sources.sum(dim=0)
        return float((stems - sources).abs().square().sum())

    assert error(MASK_EXPONENT) < 0.98 * error(other)


DUET = ("violin", "piano")


@functools.cache
def duet_of(prior_weight: float, tolerance: float) -> tuple[float, int]:
    """Take three seconds of the demo apart by its dictionaries alone: the stems' mean ratio in dB, and iterations."""
    demo = [read_audio(DATA / name) for name in ("duet.flac", *(f"duet_references/{source}.flac" for source in DUET))]
    mixture, *sources = (replace(each, samples=each.samples[:, 144_000:192_000]) for each in demo)
    fit = FitConfig(prior_weight=prior_weight, tolerance=tolerance)
    config = SeparationConfig(fit, mask_estimator=None, device="cpu")
    result = separate(mixture, [Dictionary.load(DATA / f"{source}.safetensors") for source in DUET], config)
    ratios = [si_sdr(result.stems[each].samples, x.samples) for each, x in zip(DUET, sources, strict=True)]
    return float(torch.stack(ratios).mean()), len(result.fit.loss_curve) - 1


@pytest.mark.slow
def test_by_default_the_prior_saves_iterations_and_costs_next_to_nothing() -> None:
    usual, n_usual = duet_of(FitConfig.prior_weight, FitConfig.tolerance)
    free, n_free = duet_of(0.0, FitConfig.tolerance)
    assert n_usual < 0.9 * n_free
    assert usual > free - 0.4


def test_by_default_a_fit_ends_early_and_is_as_good_as_one_that_goes_on() -> None:
    usual, n_usual = duet_of(FitConfig.prior_weight, FitConfig.tolerance)
    thorough, n_thorough = duet_of(FitConfig.prior_weight, 1e-3)
    assert n_thorough <= FitConfig.n_iterations
    assert n_usual < 0.7 * n_thorough
    assert usual > thorough - 0.2
