"""Synthesis: a dictionary by itself sounds like its source and no other, as long and as loud as was asked for."""

from pathlib import Path

import pytest
import torch

from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.synthesis import PEAK, _passages, _walk, _wander, synthesize
from sepdict.errors import ConfigError
from sepdict.separation.config import FitConfig
from sepdict.separation.excitations import fit_excitations
from sepdict.spectral.stft import magnitude, stft

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def violin() -> Dictionary:
    return Dictionary.load(DATA / "violin.safetensors")


@pytest.fixture(scope="module")
def forgetful(violin: Dictionary) -> Dictionary:
    return Dictionary(violin.card, violin.network)


@pytest.mark.parametrize("walk", [False, True])
@pytest.mark.parametrize("duration_s", [0.01, 0.5, 2.0])
def test_it_lasts_as_long_and_is_as_loud_as_said(violin: Dictionary, duration_s: float, walk: bool) -> None:
    sound = synthesize(violin, duration_s, walk=walk)
    assert (sound.n_channels, sound.sample_rate) == (1, violin.card.sample_rate)
    assert sound.duration_s == pytest.approx(duration_s, abs=1 / sound.sample_rate)
    assert float(sound.samples.abs().max()) == pytest.approx(PEAK)


def test_the_same_seed_sounds_the_same_and_the_global_generator_is_left_alone(violin: Dictionary) -> None:
    before = torch.random.get_rng_state()
    one, again, other = (synthesize(violin, 1.0, seed=seed).samples for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert float(torch.cosine_similarity(one, other).abs()) < 0.5
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_is_the_dictionary_that_explains_it_and_no_other(violin: Dictionary) -> None:
    sound = magnitude(stft(synthesize(violin, 3.0).samples, violin.card.stft))
    costs = {
        name: fit_excitations(sound, [Dictionary.load(DATA / f"{name}.safetensors")], FitConfig()).loss_curve[-1]
        for name in ("violin", "piano", "speech")
    }
    assert min(costs, key=costs.__getitem__) == "violin"


def test_without_exemplars_it_wanders_through_its_codes(forgetful: Dictionary) -> None:
    assert float(synthesize(forgetful, 1.0).samples.std()) > 0.01
    code = _wander(4, 4000, torch.Generator().manual_seed(0))
    assert code.mean(dim=1).abs().max() < 0.3
    assert code.diff(dim=1).abs().max() < 0.5  # it never jumps


def test_a_walk_moves_one_dimension_at_a_time() -> None:
    code = _walk(5, 103)
    assert ((code != 0).sum(dim=0) <= 1).all()
    assert torch.equal(code.amax(dim=1), torch.full((5,), 2.0))
    assert torch.equal(code.amin(dim=1), torch.full((5,), -2.0))


def test_passages_are_joined_without_a_jump_and_are_as_many_as_asked_for(violin: Dictionary) -> None:
    for n_frames in (1, 63, 64, 65, 500):
        code, level = _passages(violin, n_frames, torch.Generator().manual_seed(1))
        assert code.shape == (violin.card.network.code_size, n_frames)
        assert level.shape == (n_frames,)
        assert (level >= 0).all()


@pytest.mark.parametrize("duration_s", [0, -1, 601, float("nan"), float("inf")])
def test_durations_that_cannot_be_are_refused(violin: Dictionary, duration_s: float) -> None:
    with pytest.raises(ConfigError, match=f"duration is {duration_s} s; expected more than 0 and at most 600"):
        synthesize(violin, duration_s)
