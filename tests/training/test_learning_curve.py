"""Learning curves: the more was heard, the better is drawn what was not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from front_end import TINY, sound

from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import Progress
from sepdict.training.config import PRESETS, TrainingConfig
from sepdict.training.learning_curve import SHARES, _cut, learning_curve, reconstruction_divergence, training_config_of
from sepdict.training.train import train_dictionary

DATA = Path(__file__).parents[2] / "data"
SMALL = TrainingConfig(network=NetworkConfig(code_size=4, hidden=(32,), n_templates=32), n_steps=120, n_checks=4)


@pytest.mark.slow
def test_more_of_a_violin_draws_the_rest_of_it_better() -> None:
    solos = [read_audio(path) for path in sorted((DATA / "solos/violin").iterdir())]
    events = list[Progress]()
    curve = learning_curve(solos, SMALL, source="violin", on_progress=events.append)
    whole = 0.9 * sum(solo.duration_s for solo in solos) / 60
    assert curve.minutes == pytest.approx([share * whole for share in SHARES], rel=1e-3)
    assert curve.divergences[-1] < 0.8 * curve.divergences[0]
    steps = [event.step for event in events]
    assert steps == sorted(set(steps))
    assert events[-1].n_steps == 4 * SMALL.n_steps
    assert events[-1].step <= 4 * SMALL.n_steps


def test_the_divergence_of_all_that_was_held_out_is_that_of_the_training() -> None:
    noise = sound("hiss", n_samples=40000)
    trained = train_dictionary(noise, replace(TINY, validation_share=0.5), source="hiss")
    first, last = (reconstruction_divergence(trained, [_cut(noise, *part)], TINY) for part in ((0, 0.5), (0.5, 1)))
    assert last == pytest.approx(min(trained.card.curves["validation"]), rel=0.05)
    assert first != last


def test_level_and_silence_change_nothing() -> None:
    noise = sound("hiss", n_samples=16000)
    trained = train_dictionary(noise, TINY, source="hiss")
    expected = reconstruction_divergence(trained, [noise], TINY)
    quieter = replace(noise, samples=noise.samples / 8)
    assert reconstruction_divergence(trained, [quieter], TINY) == pytest.approx(expected, rel=1e-4)
    silence = Audio(torch.zeros(1, 8000), noise.sample_rate)
    assert reconstruction_divergence(trained, [noise, silence], TINY) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(AudioError, match="the end of each recording of 'hiss' is silent"):
        reconstruction_divergence(trained, [silence], TINY)


def test_soft_frames_count_less_as_in_training() -> None:
    hiss, hum = sound("hiss", n_samples=16000), sound("hum", n_samples=16000)
    trained = train_dictionary(hiss, TINY, source="hiss")
    soft_hum = [hiss, replace(hum, samples=hum.samples / 100)]
    own, *mixed = (
        reconstruction_divergence(trained, sounds, replace(TINY, level_exponent=exponent))
        for sounds, exponent in (([hiss], 0.5), (soft_hum, 1.0), (soft_hum, 0.5), (soft_hum, 0.0))
    )
    assert own < mixed[0] < mixed[1] < mixed[2]


def test_parts_fit_together_and_are_never_empty() -> None:
    noise = sound("hiss", n_samples=1001)
    parts = [_cut(noise, 0, 0.3), _cut(noise, 0.3, 0.9), _cut(noise, 0.9, 1)]
    assert torch.equal(torch.cat([part.samples for part in parts], dim=1), noise.samples)
    assert _cut(replace(noise, samples=noise.samples[:, :1]), 0.9, 1).n_samples == 1


def test_the_card_says_how_it_was_trained() -> None:
    card = Dictionary.load(DATA / "violin.safetensors").card
    config = training_config_of(card)
    assert replace(config, stft=None, sample_rate=None) == PRESETS["default"]
    assert (config.stft, config.sample_rate) == (card.stft, card.sample_rate)
    assert training_config_of(replace(card, training={"seed": 3})).seed == 3
    with pytest.raises(ConfigError, match="regularization has no sparse"):
        training_config_of(replace(card, training={"regularisation": {"dropout": 0.1}}))


def test_too_little_for_an_eighth_is_refused() -> None:
    with pytest.raises(AudioError, match=r"'hiss' last 5.0 s; a learning curve, .* takes 8.9 s at least"):
        learning_curve([sound("hiss", n_samples=40000)], TINY, source="hiss")
