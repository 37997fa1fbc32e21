"""Regularizers: each has its law, measured on real frames where the law is about sound."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from real_audio import RATE, SMALL, shapes, solo
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import Autoencoder, build_autoencoder
from sepdict.models.layers import initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.training.config import PRESETS, REGULARIZERS, TrainingConfig, regularized
from sepdict.training.regularization import (
    CriticTrainer,
    Regularization,
    activity_divergence,
    contraction,
    corrupt,
    penalty,
    prior_divergence,
    sparsity,
)
from sepdict.training.train import train_dictionary

NETWORK = NetworkConfig(code_size=3, hidden=(12,), activation="tanh", n_templates=6, critic=(16,))
TRAINING = TrainingConfig(
    network=replace(NETWORK, critic=()),
    stft=SMALL,
    sample_rate=RATE,
    n_steps=200,
    n_checks=2,
    batch_frames=64,
    learning_rate=1e-2,
    exemplars_s=0,
)


def network_of(config: NetworkConfig = NETWORK) -> Autoencoder:
    """A small network with drawn weights."""
    network = build_autoencoder(config, SMALL.n_bins)
    initialize(network, seeded_generator(0))
    return network


def trained(config: TrainingConfig = TRAINING, *, source: str = "speech", **amounts: float) -> Dictionary:
    """A dictionary of four seconds, regularized."""
    config = regularized(config, amounts)
    return train_dictionary(solo(source), config, source=source, device="cpu", backgrounds=[solo("piano")])


def raw_codes(dictionary: Dictionary, heard: Tensor) -> Tensor:
    """What the encoder says, before codes are standardized."""
    return dictionary.network.encoder(dictionary.network.features(heard))


# Denoising: what the encoder hears


CORRUPTIONS = {"noise": 0.5, "masking": 0.3, "others": 0.5}


@pytest.mark.parametrize("batch", [(), (4,)])
@pytest.mark.parametrize("names", [[name] for name in CORRUPTIONS] + [list(CORRUPTIONS)], ids="+".join)
def test_what_a_denoising_encoder_hears_is_another_spectral_shape(
    names: list[str], batch: tuple[int, ...], generator: torch.Generator
) -> None:
    clean, others = shapes("speech")[:, :100].expand(*batch, -1, -1), shapes("piano").T
    before, others_before = clean.clone(), others.clone()
    heard = corrupt(clean, Regularization(**{name: CORRUPTIONS[name] for name in names}), others, generator)
    assert heard.shape == clean.shape
    assert (heard >= 0).all()
    torch.testing.assert_close(heard.mean(dim=-2), torch.ones(*batch, 100))
    assert ((heard - clean).abs().mean(dim=-2) > 1e-3).float().mean() > 0.95  # nearly every frame is another
    assert torch.equal(clean, before)
    assert torch.equal(others, others_before)


def test_without_corruption_the_encoder_hears_the_sound_itself(generator: torch.Generator) -> None:
    clean = shapes("speech")
    assert corrupt(clean, Regularization(dropout=0.5, sparse=1, contractive=1), None, generator) is clean


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masking_hides_the_stated_share_of_the_bins(share: float, generator: torch.Generator) -> None:
    heard = corrupt(torch.ones(500, 400), Regularization(masking=share), None, generator)
    assert float((heard == 0).float().mean()) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize("loudness", [0.2, 1.0])
def test_other_sounds_are_up_to_so_loud_beside_the_frame(loudness: float, generator: torch.Generator) -> None:
    """A frame in the lowest bin and another in the highest: the second's share is its loudness, evenly drawn."""
    clean, other = torch.zeros(2, 20_000), torch.tensor([[0.0, 2.0]])
    clean[0] = 2.0
    heard = corrupt(clean, Regularization(others=loudness), other, generator)
    louder = heard[1] / heard[0]
    assert 0.99 * loudness < float(louder.max()) <= loudness * 1.0001
    assert float(louder.mean()) == pytest.approx(loudness / 2, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_denoising_encoder_says_of_a_corrupted_frame_more_nearly_what_it_says_of_the_clean_one(name: str) -> None:
    """On sound that neither heard in training, relative to how far codes of different frames are apart."""
    clean = shapes("speech", start_s=6.0)
    heard = corrupt(clean, Regularization(**{name: CORRUPTIONS[name]}), shapes("piano").T, seeded_generator(1))
    errors = []
    for amount in (0.0, CORRUPTIONS[name]):
        encode = trained(replace(TRAINING, n_steps=400), **{name: amount}).network.encode
        errors.append(float((encode(heard) - encode(clean)).square().mean() / encode(clean).var()))
    assert errors[1] < 0.9 * errors[0]


# Penalties on the code


def test_sparsity_is_the_mean_magnitude_where_the_mean_square_is_one(generator: torch.Generator) -> None:
    normal = torch.randn(4, 50_000, generator=generator, dtype=torch.float64)
    assert float(sparsity(normal).mean()) == pytest.approx((2 / math.pi) ** 0.5, rel=0.01)
    rare = normal * (torch.rand(normal.shape, generator=generator) < 0.1)
    assert float(sparsity(rare).mean()) == pytest.approx((2 / math.pi) ** 0.5 * 0.1**0.5, rel=0.02)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_the_scale_of_a_code_does_not_matter_to_its_sparsity(
    batch: tuple[int, ...], generator: torch.Generator
) -> None:
    code = torch.randn(*batch, 4, 50, generator=generator, dtype=torch.float64)
    scales = torch.tensor([[1e-3], [0.1], [1.0], [1e3]])
    torch.testing.assert_close(sparsity(code * scales), sparsity(code))
    assert sparsity(code).shape == (*batch, 50)


@pytest.mark.parametrize("punish", [sparsity, lambda code: activity_divergence(code, 0.1)])
def test_a_code_that_says_nothing_has_a_gradient_without_nan(punish: Any) -> None:
    code = torch.zeros(3, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(punish(code).sum(), code)
    assert gradient.isfinite().all()


@pytest.mark.slow
def test_the_more_sparsity_counts_the_sparser_the_codes_become() -> None:
    heard = shapes("speech")
    found = [float(sparsity(raw_codes(trained(sparse=amount), heard)).mean()) for amount in (0.0, 0.3, 3.0)]
    assert found[0] > 1.02 * found[1] > 1.02**2 * found[2]


@pytest.mark.parametrize("target", [0.05, 0.5])
def test_activity_costs_nothing_where_it_is_the_target_and_something_elsewhere(target: float) -> None:
    there = torch.full((3, 10), math.log(target / (1 - target)), dtype=torch.float64)
    assert float(activity_divergence(there, target).abs().max()) < 1e-12
    for moved in (there - 0.5, there + 0.5):
        assert float(activity_divergence(moved, target).min()) > 1e-3


def test_activity_is_the_divergence_of_two_coins(generator: torch.Generator) -> None:
    code = torch.randn(2, 3, 40, generator=generator, dtype=torch.float64)
    mean = torch.sigmoid(code).mean(dim=(0, 2))
    coins = [torch.distributions.Bernoulli(probs) for probs in (torch.tensor(0.2, dtype=torch.float64), mean)]
    expected = torch.distributions.kl_divergence(*coins).sum()
    torch.testing.assert_close(activity_divergence(code, 0.2), expected.expand(2, 40))


def test_units_come_nearer_to_the_activity_that_is_asked_for() -> None:
    heard, target = shapes("speech"), Regularization().target_activity
    away = [
        float((torch.sigmoid(raw_codes(trained(activity=amount), heard)).mean(dim=1) - target).abs().mean())
        for amount in (0.0, 0.1, 1.0)
    ]
    assert away[0] > 1.5 * away[1]
    assert away[1] > away[2]


# Contraction


def jacobian_norms(network: Autoencoder, features: Tensor) -> Tensor:
    """Squared norms of the Jacobians of the standardized code, frame by frame, as torch has them."""
    deviation = network.encoder(features).std(dim=1, correction=0)[:, None]
    frames = features.T[:, :, None]
    jacobians = [torch.autograd.functional.jacobian(network.encoder, frame)[:, 0, :, 0] for frame in frames]
    return torch.stack([(jacobian / deviation).square().sum() for jacobian in jacobians])


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_the_exact_norm_is_that_of_torchs_jacobian(offset: float) -> None:
    """Wherever the codes lie: where they lie is taken off them after training."""
    network = network_of().double()
    network.encoder.layers[-1].bias.data += offset
    features = network.features(shapes("speech")[:, :30].double())
    norms = contraction(network, features, seeded_generator(0))
    torch.testing.assert_close(norms, jacobian_norms(network, features))


def test_hutchinsons_estimate_has_the_norm_as_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    network, generator = network_of().double(), seeded_generator(0)
    features = network.features(shapes("speech")[:, :40].double())
    monkeypatch.setattr("sepdict.training.regularization.EXACT_CODE_SIZE", 0)
    estimates = torch.stack([contraction(network, features, generator).detach() for _ in range(600)])
    torch.testing.assert_close(estimates.mean(dim=0), jacobian_norms(network, features), rtol=0.15, atol=0)
    assert float(estimates.mean()) == pytest.approx(float(jacobian_norms(network, features).detach().mean()), rel=0.05)


def test_hutchinsons_estimate_also_holds_for_networks_that_see_neighbors() -> None:
    """There the norm of a frame is that of all codes by it."""
    network, generator = network_of(NetworkConfig("recurrent", 2, (5,), n_templates=4)).double(), seeded_generator(0)
    features = network.features(shapes("speech")[:, :6].double())
    deviation = network.encoder(features).std(dim=1, correction=0)[:, None, None, None]
    jacobian = torch.autograd.functional.jacobian(network.encoder, features) / deviation
    expected = jacobian.square().sum(dim=(0, 1, 2))  # (n_frames,)
    estimates = torch.stack([contraction(network, features, generator).detach() for _ in range(600)])
    torch.testing.assert_close(estimates.mean(dim=0), expected, rtol=0.2, atol=0)


@pytest.mark.parametrize("n_exact", [0, 8])
def test_the_scale_of_a_code_does_not_matter_to_its_contraction(n_exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepdict.training.regularization.EXACT_CODE_SIZE", n_exact)
    network = network_of().double()
    features = network.features(shapes("speech")[:, :30].double())
    before = contraction(network, features, seeded_generator(0))
    network.encoder.layers[-1].weight.data *= torch.tensor([1e-2, 1.0, 1e2])[:, None, None]
    torch.testing.assert_close(contraction(network, features, seeded_generator(0)), before)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_few_frames_are_contracted_without_nan(n_frames: int) -> None:
    network = network_of()
    features = network.features(shapes("speech")[:, 20 : 20 + n_frames])
    cost = contraction(network, features, seeded_generator(0)).sum()
    gradients = torch.autograd.grad(cost, list(network.encoder.parameters()), allow_unused=True)
    assert cost.isfinite()
    assert (cost == 0) == (n_frames == 1)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


@pytest.mark.slow
def test_the_more_contraction_counts_the_smaller_the_norm_becomes() -> None:
    found = []
    for amount in (0.0, 0.01, 0.3):
        network = trained(contractive=amount).network.requires_grad_()
        found.append(
            float(contraction(network, network.features(shapes("speech")), seeded_generator(0)).detach().mean())
        )
    assert found[0] > 1.1 * found[1] > 1.1**2 * found[2]


# The prior


def test_the_divergence_from_the_prior_is_torchs(generator: torch.Generator) -> None:
    mean, log_variance = torch.randn(2, 5, 4, 30, generator=generator, dtype=torch.float64)
    normals = torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(*normals).sum(dim=-2)
    torch.testing.assert_close(prior_divergence(mean, log_variance), expected)


@pytest.mark.parametrize("prior_weight", [0.5, 2.0])
def test_a_variational_penalty_is_the_divergence_from_the_prior_per_bin(prior_weight: float) -> None:
    network, heard = network_of(replace(NETWORK, prior_weight=prior_weight)), shapes("speech")
    mean, log_variance = network.posterior(heard)
    assert log_variance is not None
    cost = penalty(network, heard, mean, log_variance, Regularization(), seeded_generator(0))
    torch.testing.assert_close(cost, prior_weight * prior_divergence(mean, log_variance) / SMALL.n_bins)


def test_penalties_add_up(generator: torch.Generator) -> None:
    network, heard = network_of(), shapes("speech")
    code = network.encode(heard)
    parts = [Regularization(sparse=0.3), Regularization(activity=0.2), Regularization(contractive=0.1)]
    costs = [penalty(network, heard, code, None, part, generator) for part in parts]
    together = Regularization(sparse=0.3, activity=0.2, contractive=0.1)
    torch.testing.assert_close(penalty(network, heard, code, None, together, generator), sum(costs))
    assert float(penalty(network, heard, code, None, Regularization(dropout=0.5), generator).abs().sum()) == 0


# The critic


def test_a_critic_learns_to_tell_real_from_drawn() -> None:
    network, heard = network_of(), shapes("speech")
    critic, code, generator = CriticTrainer(network), network.encode(heard).detach(), seeded_generator(0)
    odds = torch.nn.functional.softplus
    losses = []
    for _ in range(150):
        critic.penalty(code, generator)
        losses.append(
            float((odds(-network.criticize(heard)) + odds(network.criticize(critic.decoded))).detach().mean())
        )
        critic.update(heard, torch.ones(heard.shape[1]))
    assert losses[0] > 0.5 * 2 * math.log(2)
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < 0.5 * 2 * math.log(2)  # of a critic that knows nothing


def test_a_step_of_the_critic_changes_the_critic_alone() -> None:
    network, heard = network_of(), shapes("speech")
    critic, before = CriticTrainer(network), {name: value.clone() for name, value in network.state_dict().items()}
    critic.penalty(network.encode(heard), seeded_generator(0))
    critic.update(heard, torch.ones(heard.shape[1]))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("critic.") for name in changed)


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_deceiving_the_critic_moves_decoder_and_encoder(kind: str) -> None:
    network, heard = network_of(replace(NETWORK, kind=kind)), shapes("speech")[:, :32]
    code = network.encode(heard)
    cost = CriticTrainer(network).penalty(code, seeded_generator(0))
    assert cost.shape == (32,)
    halves = [list(network.encoder.parameters()), list(network.decoder.parameters())]
    for half in halves:
        gradients = torch.autograd.grad(cost.sum(), half, retain_graph=True)
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_a_training_that_deceives_leaves_the_critic_to_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CriticTrainer, "update", lambda *_: None)
    config = replace(TRAINING, network=NETWORK, n_steps=10)
    weights = [trained(replace(config, n_steps=n), adversarial=1.0).network.state_dict() for n in (1, 10)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0] if name.startswith("critic."))
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_drawings_lie_between_those_of_two_frames(generator: torch.Generator) -> None:
    """Of two codes, so that all drawings are of one line between them."""
    network = network_of()
    code = torch.stack([torch.zeros(3), torch.ones(3)], dim=1).repeat(1, 50)
    asked: list[Tensor] = []
    network.decode = lambda code: asked.append(code) or torch.ones(SMALL.n_bins, 100)  # type: ignore[method-assign,func-returns-value]
    CriticTrainer(network).penalty(code, generator)
    torch.testing.assert_close(asked[0], asked[0][:1].expand(3, -1))
    assert 0 <= float(asked[0].min()) < 0.1
    assert 0.9 < float(asked[0].max()) <= 1
    assert 0.2 < float(((asked[0] > 0.01) & (asked[0] < 0.99)).float().mean()) < 0.8  # half are between two of a kind


# Settings


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name not in ("l2", "variational")])
@pytest.mark.parametrize("amount", [-0.1, math.nan, math.inf])
def test_amounts_out_of_range_are_refused_by_name(name: str, amount: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {amount}; expected 0 to"):
        Regularization(**{name: amount})


@pytest.mark.parametrize("name", ["dropout", "masking"])
def test_a_share_of_all_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 1.0; expected 0 to 0.95"):
        Regularization(**{name: 1.0})


@pytest.mark.parametrize("name", ["sparse", "activity", "contractive"])
def test_what_compares_frames_is_refused_where_a_step_sees_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"batch_frames is 1; {name} compares frames"):
        regularized(replace(TRAINING, batch_frames=1), {name: 1.0})
    regularized(replace(PRESETS["recurrent"], batch_frames=1), {name: 1.0})  # it learns from pieces


def test_regularizers_go_by_name_to_where_they_stand() -> None:
    config = regularized(TrainingConfig(), {"l2": 0.5, "variational": 2.0, "adversarial": 0.1, "noise": 0.2})
    assert config.weight_decay == 0.5
    assert config.network.prior_weight == 2.0
    assert config.network.critic
    assert config.regularization == Regularization(adversarial=0.1, noise=0.2)
    assert regularized(TrainingConfig(), {}) == TrainingConfig()
    with pytest.raises(ConfigError, match="regularizer is 'silence'; expected one of l2, dropout"):
        regularized(TrainingConfig(), {"silence": 1.0})


def test_a_critic_is_needed_to_deceive_one() -> None:
    with pytest.raises(ConfigError, match=r"adversarial is 0\.1; expected a network with a critic"):
        TrainingConfig(regularization=Regularization(adversarial=0.1))
