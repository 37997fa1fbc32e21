"""Laws of the synthesized everyday sounds."""

import numpy as np
import pytest
import torch

from sepdict.audio.everyday_sounds import KINDS, everyday_sounds, n_everyday_samples
from sepdict.audio.everyday_sounds import _Studio as Studio


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_every_sound_is_mono_four_seconds_long_and_peaks_at_one(sample_rate: int) -> None:
    for sound in everyday_sounds(sample_rate, n_sounds=12):
        assert sound.sample_rate == sample_rate
        assert sound.samples.shape == (1, 4 * sample_rate) == (1, n_everyday_samples(sample_rate))
        assert float(sound.samples.abs().max()) == pytest.approx(1)


def test_the_same_seed_gives_the_same_sounds_and_another_one_others() -> None:
    one, same, other = (list(everyday_sounds(8000, n_sounds=3, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a.samples, b.samples) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a.samples, b.samples) for a, b in zip(one, other, strict=True))


def test_more_sounds_begin_with_the_same_ones() -> None:
    few, more = (list(everyday_sounds(8000, n_sounds=n_sounds)) for n_sounds in (2, 4))
    assert all(torch.equal(a.samples, b.samples) for a, b in zip(few, more, strict=False))


@pytest.mark.parametrize(("sample_rate", "like"), [(96_000, 48_000), (250_000, 48_000), (1000, 8000)])
def test_at_rates_that_are_not_for_human_ears_the_same_sounds_are_played_at_another_speed(
    sample_rate: int, like: int
) -> None:
    (played,), (rendered,) = (everyday_sounds(rate, n_sounds=1) for rate in (sample_rate, like))
    assert torch.equal(played.samples, rendered.samples)
    assert played.sample_rate == sample_rate


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_sounds_whatever_is_drawn(kind: object) -> None:
    assert callable(kind)
    for seed in range(20):
        samples = kind(Studio(np.random.default_rng(seed), 8000, 16_000))
        assert samples.shape == (16_000,)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() > 0
