"""Audio: samples are kept as they are, and resampling changes nothing but the rate."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sepdict.audio.signal import Audio, peak_exponent, resample, scaled
from sepdict.errors import AudioError

RATE = 16000


@pytest.fixture
def noise(generator: torch.Generator) -> Audio:
    return Audio(torch.randn(2, RATE + 1, generator=generator) / 8, RATE, "noise")


def sine(frequency: float, sample_rate: int, duration_s: float = 1.0) -> Tensor:
    time = torch.arange(round(duration_s * sample_rate), dtype=torch.float64) / sample_rate
    return 0.5 * torch.sin(2 * torch.pi * frequency * time)


# --- another rate


@given(st.integers(1, 2000), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]), st.integers(1, 50000))
def test_resampling_keeps_the_duration(n_samples: int, before: int, after: int) -> None:
    resampled = resample(Audio(torch.ones(2, n_samples), before, "ones"), after)
    assert resampled.samples.shape == (2, max(1, round(n_samples * after / before)))
    assert (resampled.sample_rate, resampled.name) == (after, "ones")


@pytest.mark.parametrize(("before", "after"), [(44100, 16000), (16000, 44100), (48000, 8000), (22050, 24000)])
@pytest.mark.parametrize("frequency", [100, 440, 3000])
def test_a_sine_stays_the_sine_that_it_was(before: int, after: int, frequency: float) -> None:
    resampled = resample(Audio(sine(frequency, before), before), after).samples[0]
    inner = slice(after // 20, -after // 20)  # the filter rings at the ends
    # soxr's high quality is good for 20 bits
    torch.testing.assert_close(resampled[inner].double(), sine(frequency, after)[inner], rtol=0, atol=1e-5)


def test_what_the_lower_rate_cannot_hold_goes_away() -> None:
    resampled = resample(Audio(sine(5000, 44100), 44100), 8000).samples[0, 400:-400]
    assert float(resampled.abs().max()) < 1e-4


def test_silence_stays_silence() -> None:
    assert not resample(Audio(torch.zeros(2, 1000), 44100), 16000).samples.any()


def test_the_same_rate_gives_the_same_audio_and_another_leaves_it_alone(noise: Audio) -> None:
    audio = noise
    before = audio.samples.clone()
    assert resample(audio, RATE) is audio
    resample(audio, 44100)
    assert torch.equal(audio.samples, before)


@pytest.mark.parametrize("sample_rate", [0, -16000])
def test_a_rate_that_is_not_above_zero_is_refused(noise: Audio, sample_rate: int) -> None:
    with pytest.raises(AudioError, match=f"sample rate is {sample_rate} Hz"):
        resample(noise, sample_rate)


# --- samples


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(8, dtype=np.int16), "int16; expected floating point"),
        (torch.zeros(8, dtype=torch.int32), "int32; expected floating point"),
        (np.zeros(8, dtype=bool), "bool; expected floating point"),
        ([1, 2, 3], "int64; expected floating point"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.array(0.5), r"got \(\)"),
        (np.zeros(0), r"got \(1, 0\)"),
        (np.zeros((0, 8)), r"got \(0, 8\)"),
        (np.zeros((8000, 2)), r"\(8000, 2\) would be 8000 channels; expected \(n_channels, n_samples\): transpose"),
        (torch.zeros(1025, 9000), r"would be 1025 channels; .*transpose"),
        (np.array([[0, 0], [0, np.nan]]), r"first at 0\.500 s"),
        (torch.tensor([0, 0, torch.inf]), r"first at 1\.000 s"),
        (torch.tensor([1e300], dtype=torch.float64), "infinite"),  # beyond float32
    ],
)
def test_samples_that_cannot_be_used_are_refused_by_name(samples: Any, said: str) -> None:
    with pytest.raises(AudioError, match=f"mine: .*{said}"):
        Audio(samples, 2, "mine")


@pytest.mark.parametrize("sample_rate", [0, -16000, 16000.5, math.nan, math.inf])
def test_rates_that_cannot_be_are_refused(sample_rate: float) -> None:
    with pytest.raises(AudioError, match=f"sample rate is {sample_rate} Hz"):
        Audio(torch.zeros(8), sample_rate)  # type: ignore[arg-type]


def test_arrays_of_any_layout_are_taken_and_not_written_into() -> None:
    whole = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 12)
    read_only = whole.copy()
    read_only.flags.writeable = False
    for samples in (whole[:, ::-1], whole[::-1, ::2], np.asfortranarray(whole), read_only, whole.astype(">f4")):
        before = samples.copy()
        audio = Audio(samples, RATE)
        assert np.array_equal(audio.samples.numpy(), before)
        audio.samples.zero_()
        assert np.array_equal(samples, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_samples_become_float32_without_a_gradient(dtype: torch.dtype) -> None:
    samples = torch.full((8,), 0.5, dtype=dtype, requires_grad=True)
    audio = Audio(samples, RATE)
    assert audio.samples.dtype == torch.float32
    assert audio.samples.shape == (1, 8)
    assert not audio.samples.requires_grad


def test_audio_tells_its_length_level_and_digest() -> None:
    audio = Audio(torch.tensor([[0.5, -0.5], [0.5, 0.5]]), 4)
    assert (audio.n_channels, audio.n_samples, audio.duration_s) == (2, 2, 0.5)
    assert audio.level_db == pytest.approx(20 * math.log10(0.5))
    assert Audio(torch.zeros(8), 4).level_db == -math.inf
    assert audio.sha256 == hashlib.sha256(np.array([0.5, -0.5, 0.5, 0.5], dtype="<f4").tobytes()).hexdigest()
    assert audio == audio
    assert audio != Audio(audio.samples, 4)  # by identity: samples have no single truth value


def test_a_sound_is_told_in_one_line() -> None:
    assert repr(Audio(torch.zeros(2, 8000), 16000, "a.wav")) == "Audio('a.wav', 2 channel(s), 0.50 s at 16000 Hz)"


@pytest.mark.parametrize("level", [1e-38, 1e-20, 1e20, 1e38])
def test_the_level_is_told_of_any_sound(level: float) -> None:
    audio = Audio(torch.tensor([level, -level]), RATE)
    assert audio.level_db == pytest.approx(20 * math.log10(level), abs=1e-3)


@pytest.mark.parametrize("power", [-110, 119, 126])
def test_resampling_does_not_depend_on_the_level(noise: Audio, power: int) -> None:
    plain = resample(noise, 11025)
    scaled = resample(Audio(noise.samples * 2.0**power, noise.sample_rate), 11025)
    torch.testing.assert_close(scaled.samples * 2.0**-power, plain.samples, rtol=0, atol=1e-7)


def test_scaling_by_powers_of_two_and_back_is_exact() -> None:
    samples = torch.tensor([[1.0, -0.3, 0.0, 2.0**-100]])
    for exponent in (-120, -26, 0, 1, 127):
        assert torch.equal(scaled(scaled(samples[:, :3], exponent), -exponent), samples[:, :3])
    assert peak_exponent(Audio(samples, RATE)) == 1
    assert peak_exponent(Audio(0 * samples, RATE)) == 0


# --- parts and arrays


@given(st.floats(0, 0.999), st.floats(0.001, 3))
def test_seconds_cuts_out_the_samples_of_a_part(start_s: float, length_s: float) -> None:
    ramp = torch.arange(2 * RATE, dtype=torch.float32).reshape(2, RATE)
    end_s = start_s + length_s
    part = Audio(ramp, RATE, "ramp").seconds(start_s, end_s)
    assert torch.equal(part.samples, ramp[:, round(start_s * RATE) : round(end_s * RATE)])
    assert (part.sample_rate, part.name) == (RATE, "ramp")


def test_parts_that_meet_join_to_the_whole(noise: Audio) -> None:
    parts = [noise.seconds(0, 0.3), noise.seconds(0.3, 0.71), noise.seconds(0.71)]
    assert torch.equal(torch.cat([part.samples for part in parts], dim=1), noise.samples)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-1, 2), (2, 3), (0.5, 0.5), (0.6, 0.5), (math.nan, 1), (0, math.nan), (0.5, 0.5 + 1e-9)]
)
def test_a_part_without_samples_is_refused(start_s: float, end_s: float) -> None:
    with pytest.raises(AudioError, match=r"^ones: no part from .* s; it lasts 1 s, and parts begin before they end$"):
        Audio(torch.ones(RATE), RATE, "ones").seconds(start_s, end_s)


def test_an_array_of_a_sound_is_its_samples_and_cannot_be_written_to(noise: Audio) -> None:
    array = np.asarray(noise)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, noise.samples.numpy())
    assert np.shares_memory(array, noise.samples.numpy())
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    own = np.array(noise)
    own[:] = 0
    assert noise.samples.any()
    assert np.asarray(noise, dtype=np.float64).dtype == np.float64


def test_an_array_of_a_sound_makes_the_same_sound_again(noise: Audio) -> None:
    again = Audio(np.asarray(noise), noise.sample_rate)
    assert torch.equal(again.samples, noise.samples)
