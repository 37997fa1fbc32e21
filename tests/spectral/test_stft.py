"""Spectrograms: there and back is exact, and frames are where they are said to be."""

import math
from typing import Any

import librosa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sepdict.errors import ConfigError, ShapeError
from sepdict.spectral.stft import WINDOWS, StftConfig, istft, magnitude, stft

SIZES = [(4, 1), (4, 2), (6, 3), (64, 16), (64, 32), (64, 31), (64, 1), (100, 30), (512, 128)]
CONFIGS = [StftConfig(n_fft, hop_length, window) for n_fft, hop_length in SIZES for window in WINDOWS]
configs = st.sampled_from(CONFIGS)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- laws


@given(configs, st.integers(1, 1500), st.integers(1, 3))
def test_there_and_back_is_exact_for_every_length(config: StftConfig, n_samples: int, n_channels: int) -> None:
    samples = noise(n_channels, n_samples, seed=n_samples)
    back = istft(stft(samples, config), config, n_samples=n_samples)
    # float32 rounds at 1e-7; the transforms and the division by the summed windows (0.2 at least) cost a digit
    torch.testing.assert_close(back, samples, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_there_and_back_is_exact_for_the_shortest_lengths(config: StftConfig) -> None:
    hop = config.hop_length
    for n_samples in {1, 2, 3, *range(max(1, hop - 2), hop + 3), *range(2 * hop - 1, 2 * hop + 3)}:
        samples = noise(n_samples, seed=n_samples, dtype=torch.float64)
        back = istft(stft(samples, config), config, n_samples=n_samples)
        torch.testing.assert_close(back, samples, rtol=0, atol=1e-13)  # float64 rounds at 1e-16


def test_loud_and_soft_samples_come_back_as_precisely() -> None:
    config = StftConfig(64, 16)
    for level in (1e-20, 1e20):
        samples = level * noise(2, 1001)
        torch.testing.assert_close(istft(stft(samples, config), config, n_samples=1001) / level, samples / level)


@given(configs, st.integers(1, 500), st.floats(-10, 10))
def test_the_transform_is_linear(config: StftConfig, n_samples: int, gain: float) -> None:
    one, two = noise(2, n_samples, dtype=torch.float64)
    # float64 rounds at 1e-16, sums have at most 512 terms of size 40
    torch.testing.assert_close(
        stft(gain * one + two, config), gain * stft(one, config) + stft(two, config), rtol=0, atol=1e-11
    )


@given(configs, st.integers(1, 2000))
def test_shapes_are_as_documented(config: StftConfig, n_samples: int) -> None:
    spectrogram = stft(torch.ones(n_samples), config)
    assert spectrogram.shape == (config.n_fft // 2 + 1, math.ceil(n_samples / config.hop_length) + 1)
    assert spectrogram.shape[0] == config.n_bins
    assert (spectrogram.shape[1] - 1) * config.hop_length >= n_samples - 1  # the last sample lies before a center


def test_any_axes_may_come_before_the_samples() -> None:
    config, samples = StftConfig(64, 16), noise(2, 3, 5, 333)
    spectrogram = stft(samples, config)
    assert spectrogram.shape == (2, 3, 5, 33, 22)
    torch.testing.assert_close(spectrogram[1, 2, 3], stft(samples[1, 2, 3], config))
    torch.testing.assert_close(istft(spectrogram, config, n_samples=333), samples, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept(dtype: torch.dtype) -> None:
    config, samples = StftConfig(64, 16), noise(100, dtype=dtype)
    assert stft(samples, config).dtype == dtype.to_complex()
    assert istft(stft(samples, config), config, n_samples=100).dtype == dtype


def test_samples_are_not_modified() -> None:
    config, samples = StftConfig(64, 16), noise(100)
    before = samples.clone()
    spectrogram = stft(samples, config)
    whole = spectrogram.clone()
    istft(spectrogram, config, n_samples=100)
    assert torch.equal(samples, before)
    assert torch.equal(spectrogram, whole)


def test_gradients_flow_through() -> None:
    config, samples = StftConfig(64, 16), noise(100, dtype=torch.float64).requires_grad_()
    istft(stft(samples, config), config, n_samples=100).square().sum().backward()  # type: ignore[no-untyped-call]
    assert samples.grad is not None
    torch.testing.assert_close(samples.grad, 2 * samples.detach())


@pytest.mark.parametrize("n_samples", [0, 96, 113, 1000])  # 97 to 112 have 8 frames
def test_a_spectrogram_of_another_length_is_refused(n_samples: int) -> None:
    config = StftConfig(64, 16)
    with pytest.raises(ShapeError, match=f"33 bins and 8 frames do not make {n_samples} samples"):
        istft(stft(noise(100), config), config, n_samples=n_samples)


def test_a_spectrogram_of_other_bins_is_refused() -> None:
    with pytest.raises(ShapeError, match="65 bins"):
        istft(stft(noise(100), StftConfig(128, 16)), StftConfig(64, 16), n_samples=100)


def test_no_samples_have_no_spectrogram() -> None:
    with pytest.raises(ShapeError, match="no samples"):
        stft(torch.zeros(2, 0), StftConfig(64, 16))


# --- frames are centered


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_an_impulse_on_a_frame_center_is_flat_in_that_frame(config: StftConfig) -> None:
    samples = torch.zeros(20 * config.hop_length + 1, dtype=torch.float64)
    samples[7 * config.hop_length] = 1
    flat = magnitude(stft(samples, config))[:, 7]
    torch.testing.assert_close(flat, torch.ones_like(flat), rtol=0, atol=1e-12)  # the window's peak is one


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_frames_see_as_far_ahead_as_behind_and_no_farther(config: StftConfig) -> None:
    half, center = config.n_fft // 2, 10 * config.n_fft // config.hop_length * config.hop_length
    for distance in (0, 1, half // 2, half - 1, half, half + 1):
        samples = torch.zeros(2, 21 * config.n_fft, dtype=torch.float64)
        samples[0, center - distance] = samples[1, center + distance] = 1
        before, after = magnitude(stft(samples, config))[..., center // config.hop_length]
        if distance < half:  # an even window has no partner for its first sample
            torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
        if distance > half:
            assert not before.any()
            assert not after.any()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_tone_stands_in_its_bin_with_half_the_windows_sum(window: str) -> None:
    config = StftConfig(64, 16, window)
    time = torch.arange(640, dtype=torch.float64)
    frames = magnitude(stft(0.5 * torch.cos(2 * torch.pi * 8 / 64 * time), config))[:, 4:-4]  # the inner frames
    assert (frames.argmax(dim=0) == 8).all()
    expected = 0.25 * WINDOWS[window](64, dtype=torch.float64).sum()
    torch.testing.assert_close(frames[8], expected.expand(frames.shape[1]))


# --- settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_fft": 63}, "n_fft is 63"),
        ({"n_fft": 2}, "n_fft is 2"),
        ({"n_fft": 0}, "n_fft is 0"),
        ({"n_fft": -64}, "n_fft is -64"),
        ({"n_fft": 2**18}, "n_fft is 262144"),
        ({"n_fft": 64, "hop_length": 0}, "hop_length is 0"),
        ({"n_fft": 64, "hop_length": -1}, "hop_length is -1"),
        ({"n_fft": 64, "hop_length": 33}, "hop_length is 33; expected 1 to n_fft / 2 = 32"),
        ({"window": "boxcar"}, "window is 'boxcar'; expected one of hann, hamming, blackman"),
        ({"window": ""}, "window is ''"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        StftConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"n_fft": 64.0, "hop_length": 16}, {"n_fft": 64, "hop_length": 16.0}, {"n_fft": "64"}],
    ids=str,
)
def test_settings_of_the_wrong_type_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        StftConfig(**settings)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000])
def test_the_choice_for_a_rate_is_a_power_of_two_near_its_duration(sample_rate: int) -> None:
    config = StftConfig.for_sample_rate(sample_rate)
    duration_s = 0.064 if sample_rate <= 16000 else 0.186
    assert config.n_fft & (config.n_fft - 1) == 0
    assert 2**-0.5 < config.n_fft / sample_rate / duration_s < 2**0.5
    assert config.hop_length * 4 == config.n_fft


@pytest.mark.parametrize("sample_rate", [1, 50, 10**6])
def test_there_is_a_choice_for_the_oddest_rates(sample_rate: int) -> None:
    assert StftConfig.for_sample_rate(sample_rate).n_fft >= 4


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_the_transform_is_that_of_librosa(window: str) -> None:
    samples, config = noise(2, 5000), StftConfig(256, 64, window)
    expected = torch.from_numpy(
        librosa.stft(samples.numpy(), n_fft=256, hop_length=64, window=window, pad_mode="constant")
    )
    found = stft(samples, config)[..., : expected.shape[-1]]  # librosa has no frame behind the last sample
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-5)  # of 33 at most: float32 sums of 256 terms
