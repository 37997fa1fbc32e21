"""What no dictionary draws gets a dictionary of its own, and the known sources are better for it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sepdict._core.names import RESIDUAL
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.evaluation.metrics import si_sdr
from sepdict.models.network_config import NetworkConfig
from sepdict.separation.background_model import N_TEMPLATES, _dictionary_of, _update, fit_with_background_model
from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.excitations import fit_excitations
from sepdict.spectral.stft import StftConfig, magnitude, stft
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
SMALL = StftConfig(n_fft=256, hop_length=64)
TINY = TrainingConfig(
    network=NetworkConfig(code_size=4, hidden=(32,), n_templates=16),
    stft=SMALL,
    n_steps=300,
    n_checks=6,
    learning_rate=1e-2,
    exemplars_s=0,
)
CONFIG = SeparationConfig(mask_estimator=None)


def notes(pitches: list[float], *, seed: int, seconds: float = 4.0) -> Tensor:
    """Tones with harmonics, a fifth of a second each, in random order with pauses."""
    generator = torch.Generator().manual_seed(seed)
    n_note = RATE // 5
    time_s = torch.arange(n_note) / RATE
    fade = torch.sin(torch.pi * torch.arange(n_note) / n_note)
    played = []
    for choice in torch.randint(len(pitches) + 1, (round(5 * seconds),), generator=generator):
        pitch = [*pitches, 0.0][int(choice)]
        played.append(sum(fade * torch.sin(2 * torch.pi * k * pitch * time_s) / k for k in (1, 2, 3)))
    return torch.cat(played)[None]


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return train_dictionary(Audio(notes([220, 330, 440, 550], seed=1), RATE), TINY, source="organ", device="cpu")


@pytest.fixture
def sources() -> tuple[Tensor, Tensor]:
    """The organ, and bells that nobody has told of."""
    return notes([220, 330, 440, 550], seed=2), notes([523, 747, 1130], seed=3)


@pytest.mark.slow
def test_a_known_source_comes_out_cleaner_where_the_unknown_has_a_model(
    dictionary: Dictionary, sources: tuple[Tensor, Tensor]
) -> None:
    mixture = Audio(sum(sources), RATE)
    plain, learned = (
        si_sdr(
            separate(mixture, [dictionary], replace(CONFIG, background_model=background_model)).stems["organ"].samples,
            sources[0],
        ).mean()
        for background_model in (False, True)
    )
    assert float(learned) > float(plain) + 1  # dB


@pytest.mark.parametrize("n_channels", [1, 2])
def test_stems_and_residual_sum_to_the_mixture(
    dictionary: Dictionary, sources: tuple[Tensor, Tensor], n_channels: int
) -> None:
    samples = torch.cat([sum(sources), 0.3 * sources[0]])[:n_channels]
    result = separate(
        Audio(samples, RATE), [dictionary], SeparationConfig(FitConfig(n_iterations=3), background_model=True)
    )
    assert list(result.stems) == ["organ", RESIDUAL]
    torch.testing.assert_close(sum(stem.samples for stem in result.stems.values()), samples, rtol=0, atol=1e-5)
    assert 0 <= result.explained_energy <= 1


@pytest.mark.slow
def test_silence_and_what_is_known_entirely_are_taken_too(dictionary: Dictionary) -> None:
    silent = separate(
        Audio(torch.zeros(1, RATE), RATE),
        [dictionary],
        SeparationConfig(FitConfig(n_iterations=3), background_model=True),
    )
    assert not any(stem.samples.any() for stem in silent.stems.values())
    alone = notes([220, 330, 440, 550], seed=4)
    stem = separate(Audio(alone, RATE), [dictionary], replace(CONFIG, background_model=True)).stems["organ"].samples
    assert float(si_sdr(stem, alone).mean()) > 3  # dB: the unknown takes its share even of what is known


@pytest.mark.slow
def test_the_unknown_is_the_last_source_and_the_dictionaries_stay_as_they_are(
    dictionary: Dictionary, sources: tuple[Tensor, Tensor]
) -> None:
    observed, before = magnitude(stft(sum(sources), SMALL)), dictionary.sha256
    copy = observed.clone()
    fit = fit_with_background_model(observed, [dictionary], CONFIG.fit)
    assert fit.magnitudes.shape == (2, *observed.shape)
    assert fit.excitations[-1].shape == (N_TEMPLATES, observed.shape[-1])
    assert dictionary.sha256 == before
    assert torch.equal(observed, copy)
    alone = fit_excitations(observed, [dictionary], CONFIG.fit)
    assert fit.loss_curve[-1] < alone.loss_curve[-1]  # two explain more than one


def test_updates_never_make_it_worse_and_leave_templates_that_sum_to_one(generator: torch.Generator) -> None:
    heard, known = torch.rand(2, 129, 50, generator=generator)
    templates, amounts = torch.rand(129, 5, generator=generator), torch.rand(5, 50, generator=generator)
    templates = templates / templates.sum(dim=0)

    def divergence(templates: Tensor, amounts: Tensor) -> float:
        model = known + templates @ amounts
        return float((heard * (heard / model).log() - heard + model).sum())

    costs = [divergence(templates, amounts)]
    for _ in range(5):
        templates, amounts = _update(heard, known, templates, amounts)
        torch.testing.assert_close(templates.sum(dim=0), torch.ones(5))
        costs.append(divergence(templates, amounts))
    assert costs == sorted(costs, reverse=True)


def test_templates_become_a_dictionary_that_draws_them(dictionary: Dictionary, generator: torch.Generator) -> None:
    templates = torch.rand(129, N_TEMPLATES, generator=generator)
    templates = templates / templates.sum(dim=0)
    drawer: Callable[[Tensor], Tensor] = _dictionary_of(templates, like=dictionary).decode
    alone = 100 * torch.eye(N_TEMPLATES)  # the code of frame n says that there is nothing but template n
    torch.testing.assert_close(drawer(alone), templates / templates.mean(dim=0), rtol=1e-3, atol=1e-3)


def test_progress_never_goes_back(dictionary: Dictionary, sources: tuple[Tensor, Tensor]) -> None:
    shares = []
    observed = magnitude(stft(sum(sources), SMALL))
    quick = FitConfig(n_iterations=3)
    fit_with_background_model(
        observed, [dictionary], quick, on_progress=lambda now: shares.append(now.step / now.n_steps)
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1
