"""Beginning layer by layer: autoencoders that learn, machines whose likelihood rises, and what they unroll into."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from real_audio import RATE, SMALL, shapes, solo
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import Autoencoder, build_autoencoder
from sepdict.models.layers import initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.models.optim import Adam
from sepdict.spectral.divergences import beta_divergence
from sepdict.training.config import TrainingConfig
from sepdict.training.pretraining import (
    FAINTEST_ROOT,
    BoltzmannMachine,
    pretrain_by_autoencoders,
    pretrain_by_boltzmann_machines,
)
from sepdict.training.train import train_dictionary

BELIEFS = NetworkConfig(code_size=3, hidden=(6, 10), activation="sigmoid", n_templates=0)
DENSE = NetworkConfig(code_size=3, hidden=(6, 10), activation="relu", n_templates=8)
WIDE = replace(DENSE, code_size=8, hidden=(32, 32))  # in narrow ones what a pair loses adds up
CONVOLUTIONAL = NetworkConfig("convolutional", 3, (6, 10), "tanh", kernel_size=3, n_templates=0)


def network_of(config: NetworkConfig) -> Autoencoder:
    """A small network with drawn weights."""
    network = build_autoencoder(config, SMALL.n_bins)
    initialize(network, seeded_generator(0))
    return network


def same_frames(heard: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """All frames in every step."""
    return itertools.repeat((heard, torch.ones(heard.shape[-1])))


def mean_divergence(observed: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    return (weight * beta_divergence(observed, drawn, beta=1)).sum() / weight.sum() / observed.shape[-2]


# Autoencoders


def loss_of_pair(network: Autoencoder, heard: Tensor, below: Tensor, depth: int) -> float:
    """What a pair of layers loses of what lies below it: of the spectrum, or of features."""
    inwards, outwards = network.encoder.layers[depth], network.decoder.layers[-1 - depth]
    activation = network.encoder.activation
    is_last = depth == len(network.encoder.layers) - 1
    back = outwards(inwards(below) if is_last else activation(inwards(below)))
    if depth == 0:
        return float(mean_divergence(heard, network.mix(back.softmax(dim=-2)), torch.ones(heard.shape[-1])).detach())
    return float((activation(back) - below).detach().square().mean())


@pytest.mark.slow
@pytest.mark.parametrize("config", [DENSE, replace(DENSE, n_templates=0), CONVOLUTIONAL], ids=str)
def test_each_pair_of_layers_learns_to_bring_back_what_lies_below(config: NetworkConfig) -> None:
    heard, network = shapes("speech"), network_of(config)
    if network.templates is not None:
        network.set_templates(heard[:, :8])
    before = network_of(config)
    before.load_state_dict(network.state_dict())
    pretrain_by_autoencoders(network, same_frames(heard), mean_divergence, n_steps=300)
    features = network.features(heard)
    activities = [network.encoder.activation(each) for each in network.encoder.activities(features)]
    for depth, below in enumerate([features, *activities]):
        assert loss_of_pair(network, heard, below, depth) < 0.95 * loss_of_pair(before, heard, below, depth)


# Boltzmann machines


def binary(n_units: int) -> Tensor:
    """All states of binary units, (n_units, 2^n_units)."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_units)), dtype=torch.float64).T


def log_likelihood(machine: BoltzmannMachine, visible: Tensor) -> float:
    """Exact mean log likelihood, over all states of binary units and in closed form over normal ones."""

    def free(seen: Tensor) -> Tensor:
        excited = machine.weight @ seen + machine.hidden_bias
        hidden = excited.square() / 2 if machine.normal_hidden else torch.nn.functional.softplus(excited)
        own = seen.square() / 2 if machine.normal_visible else torch.zeros_like(seen)
        return hidden.sum(dim=0) + (machine.visible_bias * seen - own).sum(dim=0)

    if machine.normal_visible:  # then the hidden units are gone through, and the visible ones integrated
        hidden = binary(len(machine.weight))
        excited = machine.weight.T @ hidden + machine.visible_bias
        log_partition = ((machine.hidden_bias * hidden).sum(dim=0) + excited.square().sum(dim=0) / 2).logsumexp(dim=0)
    else:
        log_partition = free(binary(machine.weight.shape[1])).logsumexp(dim=0)
    return float(free(visible).mean() - log_partition)


@pytest.mark.parametrize("kinds", [(True, False), (False, False), (False, True)], ids=str)
def test_contrastive_divergence_raises_the_exact_likelihood_of_real_frames(kinds: tuple[bool, bool]) -> None:
    """On eight bins in the middle of speech, in deviations from their mean, or whether they are above it."""
    roots = shapes("speech")[4:36:4].double().sqrt()
    visible = (roots - roots.mean(dim=1, keepdim=True)) / roots.std(dim=1, keepdim=True)
    generator = seeded_generator(0)
    visible = visible if kinds[0] else (visible > 0).double()
    weight = 0.01 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
    machine = BoltzmannMachine(weight, torch.zeros(8, 1).double(), torch.zeros(6, 1).double(), *kinds)
    adam = Adam([machine.weight, machine.visible_bias, machine.hidden_bias], step=0.003)
    before = log_likelihood(machine, visible)
    for _ in range(240):
        machine.learn(visible, adam, generator)
    assert log_likelihood(machine, visible) > before + 0.45  # nats; bins by themselves, without ties, would give 0.1


def test_independent_bins_are_imagined_at_their_means() -> None:
    """Without ties the likelihood is highest where biases are means, or their log odds."""
    roots = shapes("speech")[4:36:4].double().sqrt()
    visible = (roots > roots.mean(dim=1, keepdim=True)).double()
    machine = BoltzmannMachine(*(torch.zeros(shape).double() for shape in ((6, 8), (8, 1), (6, 1))))
    adam, generator = Adam([machine.visible_bias], step=0.02), seeded_generator(0)
    adam_of_biases = type("", (), {"update": lambda _, gradients: adam.update(gradients[1:2])})()
    for _ in range(300):
        machine.learn(visible, adam_of_biases, generator)
    means = machine.visible_means(torch.zeros(6, 1).double())
    torch.testing.assert_close(means, visible.mean(dim=1, keepdim=True), atol=1e-3, rtol=0)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> list[BoltzmannMachine]:
    """The machines that a pretraining makes, from the spectrum inwards."""
    made: list[BoltzmannMachine] = []

    class Recorded(BoltzmannMachine):
        def __init__(self, *settings: Tensor, **kinds: bool) -> None:
            super().__init__(*settings, **kinds)
            made.append(self)

    monkeypatch.setattr("sepdict.training.pretraining.BoltzmannMachine", Recorded)
    return made


def test_machines_unroll_into_the_network_that_expects_what_they_do(machines: list[BoltzmannMachine]) -> None:
    heard, network = shapes("speech", duration_s=6.0), network_of(BELIEFS)
    pretrain_by_boltzmann_machines(network, same_frames(heard), seeded_generator(1), n_steps=30)
    assert [(each.normal_visible, each.normal_hidden) for each in machines] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    roots = heard.sqrt()
    assert heard.shape[1] >= 256  # as many as the mean is taken over
    mean, deviation = roots.mean(dim=1, keepdim=True), roots.std(dim=1).mean()
    expected = [(roots - mean) / deviation]
    for machine in machines:
        expected.append(machine.hidden_means(expected[-1]))
    heard_by_layer = [excited.sigmoid() for excited in network.encoder.activities(roots)]
    torch.testing.assert_close([*heard_by_layer, network.encode(heard)], expected[1:], atol=1e-4, rtol=1e-4)
    # and outwards again, up to the layer that draws
    features = expected[-1]
    for machine, layer in zip(machines[:0:-1], network.decoder.layers, strict=False):
        torch.testing.assert_close(layer(features).sigmoid(), machine.visible_means(features), atol=1e-4, rtol=1e-4)
        features = machine.visible_means(features)
    imagined = mean + deviation * machines[0].visible_means(features)
    touched = mean.clamp(min=FAINTEST_ROOT)
    assert (mean < FAINTEST_ROOT).any()
    assert (mean > FAINTEST_ROOT).any()
    tangent = 2 * touched.log() + 2 * (imagined - touched) / touched  # of log r^2
    torch.testing.assert_close(network.decoder.layers[-1](features), tangent, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("n_batch", [1, 7])
def test_machines_learn_from_batches_of_few_frames_too(n_batch: int) -> None:
    network, parts = network_of(BELIEFS), shapes("speech").split(n_batch, dim=1)
    frames = ((part, torch.ones(part.shape[1])) for part in itertools.cycle(parts))
    pretrain_by_boltzmann_machines(network, frames, seeded_generator(0), n_steps=5)
    assert all(weight.isfinite().all() for weight in network.parameters())


# In training


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "network"), [("autoencoders", WIDE), ("autoencoders", CONVOLUTIONAL), ("boltzmann", BELIEFS)], ids=str
)
def test_what_was_pretrained_begins_nearer_to_the_sound(
    way: str, network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.training.trainer.PRETRAINING_SHARE", 200)
    config = TrainingConfig(network, SMALL, RATE, n_steps=2, n_checks=1, learning_rate=0, exemplars_s=0)
    curves = [
        train_dictionary(solo("speech"), replace(config, pretraining=each), source="speech", device="cpu").card.curves
        for each in ("none", way)
    ]
    assert curves[1]["validation"][0] < 0.95 * curves[0]["validation"][0]


@pytest.mark.parametrize(
    ("way", "network", "said"),
    [
        ("some", DENSE, "pretraining is 'some'; expected one of none, autoencoders, boltzmann"),
        ("autoencoders", NetworkConfig("recurrent"), "a recurrent network cannot be pretrained by autoencoders"),
        ("autoencoders", NetworkConfig("linear", 3, (), n_templates=0), "a linear network cannot"),
        ("autoencoders", replace(DENSE, prior_weight=1.0), "a variational network cannot be pretrained"),
        ("boltzmann", DENSE, "relu units and 8 templates cannot be pretrained by boltzmann machines"),
        (
            "boltzmann",
            replace(BELIEFS, hidden=()),
            "expected dense, activation sigmoid, 0 templates, and hidden layers",
        ),
        ("boltzmann", replace(CONVOLUTIONAL, activation="sigmoid"), "a convolutional network of sigmoid units"),
    ],
)
def test_what_cannot_be_pretrained_so_is_refused(way: str, network: NetworkConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainingConfig(network, pretraining=way)
