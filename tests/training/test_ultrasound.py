"""Bats: windows follow their calls, and a dictionary of any rate stays small."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from front_end import fail, succeed

from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import PASSAGE_FRAMES
from sepdict.errors import ConfigError
from sepdict.separation.engine import separate
from sepdict.spectral.stft import StftConfig
from sepdict.training.config import TrainingConfig
from sepdict.training.data import FrameConfig, collect_exemplars, extract_frames, stft_for
from sepdict.training.train import train_dictionary

BAT_RATE = 384_000
BRIEF = TrainingConfig(n_steps=1, n_checks=1)


def bat(seconds: float = 1.1, *, rate: int = BAT_RATE, seed: int = 0, level: float = 0.3) -> Audio:
    """Calls of 5 ms, ten a second, that fall from 80 to 30 kHz, in the noise of a recorder."""
    generator = torch.Generator().manual_seed(seed)
    n_samples, n_call = round(seconds * rate), round(0.005 * rate)
    call_s = torch.arange(n_call) / rate
    call = level * torch.hann_window(n_call) * (2 * torch.pi * (80e3 * call_s - 5e6 * call_s.square())).sin()
    samples = 0.002 * torch.randn(n_samples, generator=generator)
    for start in range(0, n_samples - n_call, rate // 10):
        samples[start : start + n_call] += call
    return Audio(samples, rate, "bat.wav")


def bird(seconds: float = 1.1, *, rate: int = BAT_RATE) -> Audio:
    """A whistle at 3 kHz, in the noise of a recorder."""
    time_s = torch.arange(round(seconds * rate)) / rate
    noise = torch.randn(len(time_s), generator=torch.Generator().manual_seed(1))
    return Audio(0.1 * (2 * torch.pi * 3000 * time_s).sin() + 0.002 * noise, rate, "bird.wav")


@pytest.mark.parametrize("rate", [192_000, 250_000, 384_000, 500_000])
def test_windows_of_bats_are_about_as_long_as_their_calls(rate: int) -> None:
    chosen = stft_for([bat(rate=rate)], rate)
    assert 0.005 <= chosen.n_fft / rate <= 0.01
    assert chosen.hop_length == chosen.n_fft // 4


def test_wind_and_an_offset_do_not_hide_a_bat() -> None:
    calls = bat()
    wind = 0.5 * (2 * torch.pi * 30 * torch.arange(calls.n_samples) / BAT_RATE).sin()
    assert stft_for([replace(calls, samples=calls.samples + wind + 0.3)], BAT_RATE) == stft_for([calls], BAT_RATE)


@pytest.mark.parametrize("rate", [96_000, 192_000, 384_000])
def test_what_is_heard_keeps_a_long_window_at_any_rate(rate: int) -> None:
    chosen = stft_for([bird(rate=rate)], rate)
    assert chosen == StftConfig.for_sample_rate(rate)
    assert chosen.n_fft / rate > 0.08
    assert chosen.n_fft <= 2**15


@pytest.mark.parametrize(
    ("rate", "n_fft"), [(8000, 512), (16000, 1024), (22050, 4096), (32000, 8192), (44100, 8192), (48000, 8192)]
)
def test_rates_of_speech_and_music_keep_their_windows_whatever_sounds(rate: int, n_fft: int) -> None:
    hiss = Audio(torch.randn(1, rate, generator=torch.Generator().manual_seed(0)).diff(), rate)
    assert stft_for([hiss], rate) == StftConfig(n_fft, n_fft // 4)


def test_a_dictionary_of_bats_is_small(tmp_path: Path) -> None:
    file = train_dictionary(bat(), BRIEF, source="bat", device="cpu").save(tmp_path / "bat.safetensors")
    assert file.stat().st_size < 4e6


def test_exemplars_of_short_frames_are_no_larger_than_those_of_long_ones() -> None:
    short, long = (
        FrameConfig(8000, StftConfig(n_fft, n_fft // 4), silence_db=-60.0, n_gap_frames=0) for n_fft in (64, 512)
    )
    solo = bat(rate=8000, seconds=4.2, level=0.0)
    sizes = [
        collect_exemplars([extract_frames(solo, frame_config)], frame_config, 2.1)[0].shape[1]
        for frame_config in (short, long)
    ]
    assert sizes[0] == sizes[1] == 2 * PASSAGE_FRAMES


def test_a_bat_and_a_bird_are_told_how_they_go_together(tmp_path: Path) -> None:
    config = replace(BRIEF, exemplars_s=0.0)
    pair = [train_dictionary(solo, config, source=solo.name, device="cpu") for solo in (bat(), bird())]
    with pytest.raises(ConfigError, match=r"train 'bird.wav' again to match \(--n-fft 2048\)$"):
        separate(bat(), pair)
    write_audio(tmp_path / "bird.wav", bird())
    file = tmp_path / "bird.safetensors"
    succeed("train-dictionary", tmp_path / "bird.wav", "-o", file, "--n-fft", 2048, "--steps", 1)
    assert Dictionary.load(file).card.stft == pair[0].card.stft
    assert "n_fft is 7; expected an even number" in fail(
        "train-dictionary", tmp_path / "bird.wav", "-o", file, "--n-fft", 7, "--overwrite"
    )
