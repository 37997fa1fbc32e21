"""Pretraining of one layer at a time, from the spectrum inwards, before the whole network is trained.

Each layer of the encoder and its mirror image in the decoder learn to reconstruct the output of the layers outside
them: as an autoencoder of their own, or as a restricted Boltzmann machine, a stack of which is a deep belief net that
is then unrolled [1]_.

References
----------
.. [1] Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from sepdict.errors import ConfigError
from sepdict.models.autoencoder import DeepAutoencoder
from sepdict.models.layers import Layer, Stack
from sepdict.models.network_config import NetworkConfig
from sepdict.models.optim import Adam

PRETRAININGS = ("none", "autoencoders", "boltzmann")
RATE = 1e-3  # Adam's, constant
STANDARD_FRAMES = 256  # that Boltzmann machines' mean and deviation are known from: to a tenth of the deviation
SMALLEST_DEVIATION = 1e-3  # of the mean: the deviation of a sound that does not change
FAINTEST_ROOT = 0.1  # of the mean: below it roots are not turned into logarithms but along the tangent

Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Observed shapes, decoded shapes and weights of the frames to the mean divergence."""


def refuse_unpretrainable(way: str, network: NetworkConfig) -> None:
    """Refuse networks without layers that mirror each other, or units that are no Boltzmann machine's.

    Raises
    ------
    ConfigError
    """
    if way not in PRETRAININGS:
        raise ConfigError(f"pretraining is {way!r}; expected one of {', '.join(PRETRAININGS)}")
    if way != "none" and network.kind not in ("dense", "convolutional"):
        raise ConfigError(f"a {network.kind} network cannot be pretrained by {way}; expected dense or convolutional")
    if way != "none" and network.prior_weight:
        raise ConfigError(f"a variational network cannot be pretrained by {way}; expected prior_weight 0")
    boltzmann = (network.kind, network.activation, network.n_templates) == ("dense", "sigmoid", 0) and network.hidden
    if way == "boltzmann" and not boltzmann:
        raise ConfigError(
            f"a {network.kind} network of {network.activation} units and {network.n_templates} templates cannot be "
            "pretrained by boltzmann machines; expected dense, activation sigmoid, 0 templates, and hidden layers"
        )


@torch.enable_grad()
def pretrain_by_autoencoders(
    network: DeepAutoencoder, frames: Iterator[tuple[Tensor, Tensor]], divergence: Divergence, *, n_steps: int
) -> None:
    """Train each pair of layers, in place, as a shallow autoencoder of the outputs of the pairs outside it.

    Parameters
    ----------
    network : DeepAutoencoder
        Dense or convolutional.
    frames : iterator of (Tensor, Tensor)
        Spectral shapes (..., n_bins, n_frames) and their weights, without end.
    divergence : callable
        Of the outermost pair, which reconstructs spectra; the others reconstruct features in the mean square.
    n_steps : int
        Updates of each pair.
    """
    encoder, decoder = _stacks(network)
    pairs = list(zip(_layers(encoder), _layers(decoder)[::-1], strict=True))  # from the spectrum inwards
    for depth, (inwards, outwards) in enumerate(pairs):
        parameters: list[Tensor] = [*inwards.parameters(), *outwards.parameters()]
        if depth == 0 and network.templates is not None:
            parameters.append(network.templates)
        adam = Adam(parameters, step=RATE)
        for _, (shape, weight) in zip(range(n_steps), frames, strict=False):
            below = _below(network, shape, depth)
            output = inwards(below)
            back = outwards(output if depth == len(pairs) - 1 else encoder.activation(output))
            if depth == 0:
                loss = divergence(shape, network.mix(back.softmax(dim=-2)), weight)
            else:
                loss = (encoder.activation(back) - below).square().mean()
            adam.update(torch.autograd.grad(loss, parameters))


def _below(network: DeepAutoencoder, shape: Tensor, depth: int) -> Tensor:
    """Return the output of the layers outside a depth for spectral shapes."""
    features, (encoder, _) = network.features(shape), _stacks(network)
    with torch.no_grad():
        return features if depth == 0 else encoder.activation(encoder.activities(features)[depth - 1])


def _stacks(network: DeepAutoencoder) -> tuple[Stack, Stack]:
    """Return the layers of the encoder and of the decoder, which mirror each other."""
    return cast(Stack, network.encoder), cast(Stack, network.decoder)


def _layers(stack: Stack) -> list[Layer]:
    """Return the layers under their class, which a ModuleList does not know."""
    return [cast(Layer, layer) for layer in stack.layers]


@dataclass
class BoltzmannMachine:
    """A restricted Boltzmann machine: visible and hidden units, and symmetric weights between them.

    Its energy is ``E(v, h) = -h^T W v - b^T v - c^T h``, with ``|v|^2 / 2`` more where visible units are normal of
    variance one instead of binary, and ``|h|^2 / 2`` more where the hidden ones are.

    Attributes
    ----------
    weight : Tensor, shape (n_hidden, n_visible)
    visible_bias : Tensor, shape (n_visible, 1)
    hidden_bias : Tensor, shape (n_hidden, 1)
    normal_visible, normal_hidden : bool
    """

    weight: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    normal_visible: bool = False
    normal_hidden: bool = False

    def hidden_means(self, visible: Tensor) -> Tensor:
        """Expect the hidden units, (n_hidden, n_frames), given the visible ones."""
        excited = self.weight @ visible + self.hidden_bias
        return excited if self.normal_hidden else excited.sigmoid()

    def visible_means(self, hidden: Tensor) -> Tensor:
        """Expect the visible units, (n_visible, n_frames), given the hidden ones."""
        excited = self.weight.T @ hidden + self.visible_bias
        return excited if self.normal_visible else excited.sigmoid()

    def learn(self, visible: Tensor, adam: Adam, generator: torch.Generator) -> None:
        """Take a step of contrastive divergence [1]_: towards the data, away from their reconstruction.

        References
        ----------
        .. [1] Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14,
           2002.
        """
        hidden = self.hidden_means(visible)
        noise = torch.randn if self.normal_hidden else torch.rand
        random = noise(hidden.shape, generator=generator).to(hidden)
        sampled = hidden + random if self.normal_hidden else (random < hidden).to(hidden)
        seen = self.visible_means(sampled)
        imagined = self.hidden_means(seen)
        n_frames = visible.shape[1]
        adam.update(
            [
                (imagined @ seen.T - hidden @ visible.T) / n_frames,
                (seen - visible).mean(dim=1, keepdim=True),
                (imagined - hidden).mean(dim=1, keepdim=True),
            ]
        )


@torch.no_grad()
def pretrain_by_boltzmann_machines(
    network: DeepAutoencoder, frames: Iterator[tuple[Tensor, Tensor]], generator: torch.Generator, *, n_steps: int
) -> None:
    """Train a deep belief net, layer by layer, and unroll it into the network, in place.

    The visible units of the first machine are the roots of the spectral shapes, standardized as one; the hidden ones
    of the last are the code. The outermost layer decodes the logarithm of the spectrum: there ``log r^2`` of the
    machine's reconstruction ``r`` is replaced by its tangent at the mean root.

    Parameters
    ----------
    network : DeepAutoencoder
        Dense, of sigmoid units, without templates.
    frames : iterator of (Tensor, Tensor)
        Spectral shapes (n_bins, n_frames) and their weights, without end.
    generator : torch.Generator
    n_steps : int
        Updates of each machine.
    """
    encoder, decoder = _stacks(network)
    mean, deviation = _standard(network, frames)
    inner = list(zip(_layers(encoder), _layers(decoder)[::-1], strict=True))
    for depth, (inwards, outwards) in enumerate(inner):
        last = depth == len(inner) - 1
        weight = inwards.weight.squeeze(2) * 0.1  # machines begin with weak ties
        biases = torch.zeros_like(weight[:1].T), torch.zeros_like(weight[:, :1])
        machine = BoltzmannMachine(weight, *biases, normal_visible=depth == 0, normal_hidden=last)
        adam = Adam([machine.weight, machine.visible_bias, machine.hidden_bias], step=RATE)
        for _, (shape, _) in zip(range(n_steps), frames, strict=False):
            below = _below(network, shape, depth)
            machine.learn((below - mean) / deviation if depth == 0 else below, adam, generator)
        if depth == 0:
            _unroll_first(machine, inwards, outwards, mean, deviation)
        else:
            _set(inwards, machine.weight, machine.hidden_bias)
            _set(outwards, machine.weight.T, machine.visible_bias)


def _standard(network: DeepAutoencoder, frames: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Compute the mean (n_bins, 1) and one deviation of the encoder's input over ``STANDARD_FRAMES`` frames or so."""
    seen = [network.features(next(frames)[0])]
    while sum(features.shape[1] for features in seen) < STANDARD_FRAMES:
        seen.append(network.features(next(frames)[0]))
    roots = torch.cat(seen, dim=1)
    return roots.mean(dim=1, keepdim=True), roots.std(dim=1).mean().clamp(min=SMALLEST_DEVIATION)


def _unroll_first(machine: BoltzmannMachine, inwards: Layer, outwards: Layer, mean: Tensor, deviation: Tensor) -> None:
    """Give the outermost layers the first machine, whose visible units are standardized roots."""
    weight = machine.weight / deviation
    _set(inwards, weight, machine.hidden_bias - weight @ mean)
    root = mean.clamp(min=FAINTEST_ROOT)
    slope = 2 * deviation / root
    at_mean = 2 * root.log() + 2 * (mean - root) / root
    _set(outwards, slope * machine.weight.T, at_mean + slope * machine.visible_bias)


def _set(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    """Give a layer that sees single frames a weight (n_out, n_in) and a bias (n_out, 1)."""
    layer.weight.copy_(weight[..., None])
    layer.bias.copy_(bias)
