"""What dictionaries do not hear: an offset and infrasound change nothing, and are given back."""

from dataclasses import replace

import pytest
import torch
from front_end import TINY, mixture, sound, trained
from torch import Tensor

from sepdict._core.names import RESIDUAL
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio
from sepdict.evaluation.metrics import si_sdr
from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.result import Separation
from sepdict.spectral.stft import StftConfig, audible, n_infrasonic_bins
from sepdict.training.train import train_dictionary

RATE = 8000
BRIEF = SeparationConfig(FitConfig(n_iterations=20), mask_estimator=None)
OFFSETS = [0.05, 0.3, -2.0]
ROUNDING = 1e-6  # float32 beside the largest offset


def take_apart(samples: Tensor, *, rate: int = RATE, residual: bool = False, segment_s: float = 60.0) -> Separation:
    sources = [trained("hiss"), trained("hum")]
    return separate(Audio(samples, rate), sources, replace(BRIEF, residual=residual, segment_s=segment_s))


def free_of_offset(samples: Tensor) -> Tensor:
    return samples - samples.mean(dim=1, keepdim=True)


def swell(n_samples: int, *, level: float) -> Tensor:
    """Wind: a wave of 4 Hz, which is far below what is heard."""
    return level * (2 * torch.pi * 4 * torch.arange(n_samples) / RATE).sin()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("rate", [RATE, 11025])
@pytest.mark.parametrize("offset", OFFSETS)
def test_an_offset_changes_nothing_but_the_offset_of_stems(offset: float, rate: int, residual: bool) -> None:
    samples = mixture(n_channels=2, sample_rate=rate).samples
    shifted = samples + torch.tensor([[offset], [0.0]])  # in one channel alone
    plain, offset_one = (take_apart(x, rate=rate, residual=residual) for x in (samples, shifted))
    for name, stem in plain.stems.items():
        found, expected = free_of_offset(offset_one.stems[name].samples), free_of_offset(stem.samples)
        assert si_sdr(found, expected).min() > 50  # a gain of 10 dB is the same to a thousandth
    total = torch.stack([stem.samples for stem in offset_one.stems.values()]).sum(dim=0)
    torch.testing.assert_close(total, shifted, rtol=0, atol=ROUNDING)
    assert offset_one.explained_energy == pytest.approx(plain.explained_energy, abs=1e-4)
    assert offset_one.null_test_db < -110


def test_the_offset_goes_to_the_residual_or_to_all_alike() -> None:
    samples = mixture().samples + 0.3
    shared = take_apart(samples)
    assert [float(stem.samples.mean()) for stem in shared.stems.values()] == pytest.approx([0.15, 0.15], abs=1e-3)
    apart = take_apart(samples, residual=True)
    means = {name: float(stem.samples.mean()) for name, stem in apart.stems.items()}
    assert means == pytest.approx({"hiss": 0, "hum": 0, RESIDUAL: 0.3}, abs=1e-3)


def test_segments_of_a_mixture_with_an_offset_are_as_the_whole() -> None:
    samples = mixture(n_samples=7 * RATE).samples + 0.3
    whole, parts = take_apart(samples), take_apart(samples, segment_s=3.0)
    assert parts.n_segments == 3
    for name, stem in whole.stems.items():
        assert si_sdr(free_of_offset(parts.stems[name].samples), free_of_offset(stem.samples)).min() > 15
        spread = parts.stems[name].samples.unflatten(1, (7, -1)).mean(dim=2)
        assert (spread - 0.15).abs().max() < 0.005  # the offset does not wander from segment to segment


@pytest.mark.parametrize("residual", [False, True])
def test_infrasound_is_not_explained_and_not_lost(residual: bool) -> None:
    samples = mixture(n_samples=16000).samples
    windy = samples + swell(16000, level=0.5)
    plain, blown = (take_apart(x, residual=residual) for x in (samples, windy))
    total = torch.stack([stem.samples for stem in blown.stems.values()]).sum(dim=0)
    torch.testing.assert_close(total, windy, rtol=0, atol=ROUNDING)
    assert blown.explained_energy == pytest.approx(plain.explained_energy, abs=0.15)
    if residual:
        assert blown.stems["hum"].samples.abs().max() < 0.5 * blown.stems[RESIDUAL].samples.abs().max()


def test_a_mixture_that_is_but_an_offset_is_silent() -> None:
    result = take_apart(torch.full((1, 4000), 0.3))
    assert result.fit.silent
    for stem in result.stems.values():
        torch.testing.assert_close(stem.samples, torch.full((1, 4000), 0.15))


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_dictionary_does_not_depend_on_an_offset_of_its_solos(offset: float) -> None:
    config = replace(TINY, n_steps=8, n_checks=2, exemplars_s=10.0)
    solo = sound("hum", n_samples=16000)
    plain, shifted = (
        train_dictionary(Audio(solo.samples + by, RATE), config, source="hum", device="cpu") for by in (0, offset)
    )
    for name, weight in plain.network.state_dict().items():
        torch.testing.assert_close(shifted.network.state_dict()[name], weight, rtol=0, atol=2e-3)
    steps = (shifted.exemplars.int() - plain.exemplars.int()).abs()
    assert steps[n_infrasonic_bins(plain.card.stft, RATE) :].max() <= 1  # half a decibel
    assert (plain.exemplars[: n_infrasonic_bins(plain.card.stft, RATE)] == 255).all()


@pytest.mark.parametrize("rate", [100, 8000, 16000, 22050, 44100, 48000, 96000, 384000])
def test_infrasonic_bins_are_those_below_20_hz_and_never_many(rate: int) -> None:
    config = StftConfig.for_sample_rate(rate)
    n_bins = n_infrasonic_bins(config, rate)
    highest_hz = (n_bins - 1) * rate / config.n_fft
    assert highest_hz < 20 <= n_bins * rate / config.n_fft or rate == 100
    assert 1 <= n_bins < 0.02 * config.n_bins + 1
    kept = audible(torch.ones(config.n_bins, 3), config, rate)
    assert not kept[:n_bins].any()
    assert kept[n_bins:].eq(1).all()


def test_what_a_sound_happens_to_average_is_no_offset_and_what_clicks_is(generator: torch.Generator) -> None:
    """Where it ends an offset of 5 % of the sound would be heard to click; noise of a second averages below 1 %."""
    noise = torch.randn(1, RATE, generator=generator)
    noise = noise / noise.square().mean().sqrt()
    noise = noise - noise.mean()
    assert torch.equal(centered(Audio(noise + 0.008, RATE)).samples, noise + 0.008)
    assert float(centered(Audio(noise + 0.05, RATE)).samples.mean().abs()) < 1e-6
