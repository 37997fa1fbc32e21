"""Before the training: what is said of recordings is true of them."""

from dataclasses import replace

import pytest
import torch

from sepdict.audio.signal import Audio, resample
from sepdict.errors import AudioError
from sepdict.training.recording_checks import check_recordings

RATE = 16000


def sound(seconds: float, *, seed: int = 0, level: float = 0.1, name: str = "take.wav") -> Audio:
    """Noise whose loudness wanders, so that no two seeds rise and fall alike."""
    generator = torch.Generator().manual_seed(seed)
    n_samples = round(seconds * RATE)
    wander = torch.nn.functional.interpolate(torch.rand(1, 1, 40, generator=generator), size=n_samples, mode="linear")
    samples = torch.randn(1, n_samples, generator=generator) * (0.1 + wander[0])
    return Audio(level * samples / samples.abs().max(), RATE, name)


def test_nothing_is_remarked_of_minutes_of_clean_sound() -> None:
    found = check_recordings([sound(70, seed=seed, name=f"{seed}.wav") for seed in range(2)])
    assert found.remarks == ()
    assert (found.n_recordings, found.duration_s, found.sample_rate) == (2, 140, RATE)
    assert found.sound_s == pytest.approx(140, rel=0.01)
    assert found.bandwidth_hz == pytest.approx(RATE / 2, rel=0.01)


@pytest.mark.parametrize(("seconds", "said"), [(10, "10 s of sound is little"), (60, "60 s of sound will do")])
def test_too_little_sound_is_remarked(seconds: float, said: str) -> None:
    assert any(said in remark for remark in check_recordings([sound(seconds)]).remarks)


def test_silence_does_not_count_as_sound() -> None:
    take = sound(50)
    padded = Audio(torch.cat([take.samples, torch.zeros(1, 150 * RATE)], dim=1), RATE)
    found = check_recordings([padded])
    assert found.sound_s == pytest.approx(50, abs=0.5)
    assert any(remark.startswith("75 % is silence") for remark in found.remarks)


def test_clipping_is_noticed_and_loudness_is_not() -> None:
    loud = sound(20, level=1.0, name="loud.wav")
    clipped = Audio((4 * loud.samples).clamp(-0.9, 0.9), RATE, "clipped.wav")
    assert check_recordings([loud, clipped]).clipped == ("clipped.wav",)


def test_a_band_that_ends_early_is_noticed() -> None:
    narrow = resample(resample(sound(20), 6000), RATE)
    found = check_recordings([narrow])
    assert found.bandwidth_hz == pytest.approx(3000, rel=0.1)
    assert any("no sound above" in remark for remark in found.remarks)


def test_the_same_take_twice_is_noticed_at_any_level_and_rate() -> None:
    take = sound(20, name="a.wav")
    again = Audio(0.3 * resample(take, 11025).samples, 11025, "b.wav")
    assert check_recordings([take, again, sound(20, seed=1, name="c.wav")]).twins == (("a.wav", "b.wav"),)


def test_short_silent_and_single_samples_are_looked_at_without_nan() -> None:
    found = check_recordings([Audio(torch.zeros(1, 100), RATE, "z"), Audio(torch.ones(1, 1), RATE, "o"), sound(2)])
    assert found.clipped == found.twins == ()
    assert found.sound_s == pytest.approx(2, abs=0.1)


def test_no_recordings_are_refused() -> None:
    with pytest.raises(AudioError, match="no recordings"):
        check_recordings([])


def test_sounds_that_only_fade_alike_are_not_taken_for_the_same() -> None:
    time_s = torch.arange(3 * RATE) / RATE
    notes = [Audio((-2 * time_s).exp() * (2 * torch.pi * hz * time_s).sin(), RATE, f"{hz}.wav") for hz in (220, 370)]
    assert check_recordings(notes).twins == ()
    assert check_recordings([notes[0], Audio(0.1 * notes[0].samples, RATE, "again.wav")]).twins == (
        ("220.wav", "again.wav"),
    )


def test_different_rates_are_remarked(generator: torch.Generator) -> None:
    recordings = [Audio(torch.randn(1, 5 * rate, generator=generator) / 10, rate, f"{rate}") for rate in (16000, 8000)]
    found = check_recordings(recordings)
    assert found.sample_rate == 8000
    assert "there are rates of 8000 and 16000 Hz, and the lowest will be the dictionary's" in found.remarks


@pytest.mark.parametrize("level", [0.1, 1e20])
def test_an_offset_is_noticed_where_it_is_large_beside_the_sound(level: float) -> None:
    clean, takes = sound(20, name="clean.wav"), [sound(20, seed=seed, name=f"{seed}.wav") for seed in (1, 2)]
    shifted = [
        Audio(10 * level * (take.samples + offset), RATE, take.name)
        for take, offset in zip(takes, (0.05, -0.3), strict=True)
    ]
    assert check_recordings([clean]).offsets == {}
    assert check_recordings([clean, shifted[0]]).offsets == pytest.approx({"1.wav": 0.5 * level}, rel=0.01)
    if level == 0.1:
        assert "1.wav has a DC offset of 0.05; it is left out" in check_recordings([clean, shifted[0]]).remarks
        assert (
            "1.wav and 2.wav have DC offsets of up to 0.3; they are left out"
            in check_recordings([clean, *shifted]).remarks
        )


@pytest.mark.parametrize("power", [-110, 119])
def test_what_is_said_does_not_depend_on_the_level(power: int) -> None:
    takes = [sound(20, seed=seed, name=f"{seed}.wav") for seed in range(2)]
    louder = [replace(take, samples=take.samples * 2.0**power) for take in takes]
    assert check_recordings(louder) == check_recordings(takes)
