"""Autoencoders, one class per kind: an encoder from spectral shapes to codes, and a decoder back.

    Autoencoder                         what all kinds share: the encoder, standardized codes, the critic
        LinearAutoencoder               PCA
        TemplateAutoencoder             adds up templates by their shares of the frame
            NonnegativeAutoencoder      shares from the code itself, as in NMF
            DeepAutoencoder             shares from a stack of layers
                DenseAutoencoder
                ConvolutionalAutoencoder
                RecurrentAutoencoder

Every network works on ``(..., n_features, n_frames)``. A *spectral shape* (`sepdict.spectral.stft.spectral_shape`) is a
frame without its level: it averages one over its bins. Level is a separate number per frame, so that no capacity is
spent on the same sound at many levels, and silence is simply level zero.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from sepdict.models.layers import ACTIVATIONS, Layer, RecurrentStack, Stack
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.bands import band_sums
from sepdict.spectral.stft import spectral_shape

TEMPLATE_SCALE = 16.0  # nepers per unit of a template's parameters, which so move as fast as they must under Adam
FAINTEST_PARTIAL = 0.01  # of a frame's mean (-40 dB): what templates begin with where a frame has less
FAINTEST_AMOUNT = 1e-6  # of a template: some of each is always there, so that amounts can be divided by their sum
BEND = 0.02  # of a frame's mean: below it the output of a linear network is bent to stay positive
FAINTEST_REAL = 1e-9  # of a frame's mean: the least that a critic is given, so that the root's slope is finite


class Autoencoder(nn.Module, ABC):
    """The encoder and the decoder of one source.

    A variational network's encoder also computes the logarithms of the codes' variances. A network with a critic can
    tell decoded spectra from real ones. Any kind can be either, or both.

    Parameters
    ----------
    config : NetworkConfig
    n_bins : int
        Of the spectral shapes.

    Attributes
    ----------
    encoder : Stack or RecurrentStack
    critic : Stack, optional
    code_mean, code_deviation : Tensor, shape (code_size, 1)
        What `standardize_codes` frees codes of.
    """

    code_mean: Tensor
    code_deviation: Tensor

    def __init__(self, config: NetworkConfig, n_bins: int) -> None:
        super().__init__()
        self.config, self.n_bins = config, n_bins
        n_outputs = config.code_size * (2 if config.prior_weight else 1)  # mean, and the variance's logarithm
        self.encoder = self._make_encoder((n_bins, *config.hidden[::-1], n_outputs))
        self._add_decoder(n_bins)  # before the critic: weights are initialized in the order of the modules
        ones = (1,) * (len(config.critic) + 1)
        self.critic = Stack((n_bins, *config.critic, 1), ones, "relu") if config.critic else None
        self.register_buffer("code_mean", torch.zeros(config.code_size, 1))
        self.register_buffer("code_deviation", torch.ones(config.code_size, 1))

    def _make_encoder(self, widths: tuple[int, ...]) -> Stack | RecurrentStack:
        """Make the layers from the spectrum to the code."""
        return Stack(widths, (1,) * (len(widths) - 1), self.config.activation)

    @abstractmethod
    def _add_decoder(self, n_bins: int) -> None:
        """Add the decoder's parameters."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Map codes (..., code_size, n_frames) to spectral shapes (..., n_bins, n_frames), > 0, averaging one."""

    def band_decoder(self, n_bins: int | None, widening: float) -> Callable[[Tensor], Tensor]:
        """Make a function from codes to the decoded sums over bands of the lowest ``n_bins`` bins."""
        return lambda code: band_sums(self.decode(code)[..., :n_bins, :], widening)

    @abstractmethod
    def start_from(self, shapes: Tensor, weights: Tensor, generator: torch.Generator) -> None:
        """Set the decoder, in place, by spectral shapes (n_frames, n_bins) that count by weight (n_frames,)."""

    def encode(self, shape: Tensor) -> Tensor:
        """Map spectral shapes (..., n_bins, n_frames) to codes (..., code_size, n_frames)."""
        return self.posterior(shape)[0]

    def posterior(self, shape: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map spectral shapes to codes and, where the network is variational, to the logarithms of their variances."""
        outputs: Tensor = self.encoder(self.features(shape))
        if not self.config.prior_weight:
            return (outputs - self.code_mean) / self.code_deviation, None
        means, log_variance = outputs.split(self.config.code_size, dim=-2)
        return (means - self.code_mean) / self.code_deviation, log_variance

    def features(self, shape: Tensor) -> Tensor:
        """Compute the encoder's input from spectral shapes."""
        return shape.sqrt()  # the root brings loud and soft partials nearer to each other

    def reconstruct(self, code: Tensor) -> Tensor:
        """Decode codes for training with L2: as `decode`, but for a linear network, which see."""
        return self.decode(code)

    def template_shapes(self) -> Tensor:
        """Return the templates as spectral shapes, (n_bins, n_templates); none by default."""
        return self.code_mean.new_zeros(self.n_bins, 0)

    def set_dropout(self, share: float) -> None:
        """Set the share of hidden units that training drops out."""
        self.encoder.dropout.p = share

    def criticize(self, shape: Tensor) -> Tensor:
        """Return the critic's log odds (..., n_frames) that spectral shapes (..., n_bins, n_frames) are real."""
        assert self.critic is not None
        odds: Tensor = self.critic(shape.clamp(min=FAINTEST_REAL).sqrt())
        return odds.squeeze(-2)

    @torch.no_grad()
    def standardize_codes(self, codes: Tensor) -> None:
        """Rescale the code, in place, so that these codes (code_size, n_frames) get mean zero and variance one.

        What the network decodes stays the same. One unit then means the same in every dimension of every dictionary,
        which is what a fit needs. A variational network's codes stay as they are: its prior is normal already.
        """
        if self.config.prior_weight:
            return
        mean, deviation = codes.mean(dim=1, keepdim=True), codes.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
        self.code_mean.add_(self.code_deviation * mean)
        self.code_deviation.mul_(deviation)

    def _unstandardized(self, code: Tensor) -> Tensor:
        """Give codes back the mean and deviation that they were freed of."""
        return code * self.code_deviation + self.code_mean


class LinearAutoencoder(Autoencoder):
    """Principal components: the decoder is the encoder's transpose, and both are centered on the mean spectrum.

    Its output can be negative: `reconstruct` returns it as it is, for training with L2, and `decode` makes it positive.
    """

    def _add_decoder(self, n_bins: int) -> None:
        self.decoder_bias = nn.Parameter(torch.zeros(n_bins, 1))

    def features(self, shape: Tensor) -> Tensor:
        """Center spectral shapes on the mean spectrum."""
        return shape - self.decoder_bias

    def reconstruct(self, code: Tensor) -> Tensor:
        """Add up the components by the code: (..., n_bins, n_frames), of any sign and mean."""
        weight = cast(Layer, cast(Stack, self.encoder).layers[0]).weight.squeeze(2)
        components = weight[: self.config.code_size]  # (code_size, n_bins); the rows below are for variances
        return components.T @ self._unstandardized(code) + self.decoder_bias

    def decode(self, code: Tensor) -> Tensor:
        """Decode as `reconstruct` does, bent smoothly to where magnitudes are: ``(x + sqrt(x^2 + b^2)) / 2``."""
        output = self.reconstruct(code)
        high = ((output.square() + BEND**2).sqrt() + output.abs()) / 2
        bent = torch.where(output > 0, high, BEND**2 / (4 * high))  # below zero the same, where it would cancel
        return spectral_shape(bent)

    @torch.no_grad()
    def start_from(self, shapes: Tensor, weights: Tensor, generator: torch.Generator) -> None:
        """Set the center to the mean of these spectral shapes."""
        self.decoder_bias.copy_((weights @ shapes / weights.sum())[:, None])


class TemplateAutoencoder(Autoencoder):
    """A decoder that computes shares which sum to one, and adds up templates by them.

    Without templates (``n_templates`` 0) the shares are those of the bins.
    """

    templates: nn.Parameter | None

    def _add_decoder(self, n_bins: int) -> None:
        n_templates = self.config.n_templates
        self.templates = nn.Parameter(torch.empty(n_bins, n_templates)) if n_templates else None

    @abstractmethod
    def shares(self, code: Tensor) -> Tensor:
        """Map codes to the shares of a frame that each template, or bin, has: (..., n_templates, n_frames)."""

    def decode(self, code: Tensor) -> Tensor:
        """Add up the templates by their shares."""
        return self.mix(self.shares(code))

    def mix(self, shares: Tensor) -> Tensor:
        """Add up templates, or bins, by their shares (..., n_templates, n_frames) of a frame."""
        return shares * shares.shape[-2] if self.templates is None else self.template_shapes() @ shares

    def band_decoder(self, n_bins: int | None, widening: float) -> Callable[[Tensor], Tensor]:
        """Make the function, which adds up sums over the bands of the templates: they are computed only once."""
        if self.templates is None:
            return super().band_decoder(n_bins, widening)
        summed = band_sums(self.template_shapes()[:n_bins], widening)  # (n_bands, n_templates)
        return lambda code: summed @ self.shares(code)

    def template_shapes(self) -> Tensor:
        """Return the templates as spectral shapes, (n_bins, n_templates), each averaging one over the bins."""
        if self.templates is None:
            return super().template_shapes()
        return (TEMPLATE_SCALE * self.templates).softmax(dim=0) * len(self.templates)

    @torch.no_grad()
    def set_templates(self, shapes: Tensor, *, faintest: float = FAINTEST_PARTIAL) -> None:
        """Make these spectral shapes (n_bins, n_templates) the templates, in place."""
        assert self.templates is not None
        self.templates.copy_((shapes + faintest).log() / TEMPLATE_SCALE)

    def start_from(self, shapes: Tensor, weights: Tensor, generator: torch.Generator) -> None:
        """Set the templates to some of these spectral shapes, drawn by weight."""
        if self.templates is None:
            return
        frames = torch.multinomial(weights.cpu(), self.config.n_templates, replacement=True, generator=generator)
        self.set_templates(shapes[frames.to(shapes.device)].T)


class NonnegativeAutoencoder(TemplateAutoencoder):
    """A decoder that is its templates alone, as in NMF [1]_: the activated code is the amount of each.

    References
    ----------
    .. [1] Smaragdis and Venkataramani, "A neural network alternative to non-negative audio models", ICASSP 2017.
    """

    def shares(self, code: Tensor) -> Tensor:
        """Make amounts of the code, and divide them by their sum."""
        amounts = ACTIVATIONS[self.config.activation](self._unstandardized(code)) + FAINTEST_AMOUNT
        return amounts / amounts.sum(dim=-2, keepdim=True)


class DeepAutoencoder(TemplateAutoencoder):
    """A decoder of layers that mirror the encoder's; a softmax makes shares of what the last one returns.

    Time context sits next to the code, where it is cheap.
    """

    def _add_decoder(self, n_bins: int) -> None:
        super()._add_decoder(n_bins)
        config = self.config
        self.decoder = self._make_decoder((config.code_size, *config.hidden, config.n_templates or n_bins))

    @abstractmethod
    def _make_decoder(self, widths: tuple[int, ...]) -> Stack | RecurrentStack:
        """Make the layers from the code to the templates or bins."""

    def shares(self, code: Tensor) -> Tensor:
        """Run the decoder's layers."""
        logits: Tensor = self.decoder(self._unstandardized(code))
        return logits.softmax(dim=-2)

    def set_dropout(self, share: float) -> None:
        """Set the share of hidden units that training drops out, in the encoder and in the decoder."""
        super().set_dropout(share)
        self.decoder.dropout.p = share


class DenseAutoencoder(DeepAutoencoder):
    """Encodes and decodes each frame by itself."""

    def _make_decoder(self, widths: tuple[int, ...]) -> Stack:
        return Stack(widths, (1,) * (len(widths) - 1), self.config.activation)


class ConvolutionalAutoencoder(DeepAutoencoder):
    """Sees ``kernel_size`` frames in the encoder's last layer and in the decoder's first."""

    def _make_encoder(self, widths: tuple[int, ...]) -> Stack:
        return Stack(widths, (*(1 for _ in widths[2:]), self.config.kernel_size), self.config.activation)

    def _make_decoder(self, widths: tuple[int, ...]) -> Stack:
        return Stack(widths, (self.config.kernel_size, *(1 for _ in widths[2:])), self.config.activation)


class RecurrentAutoencoder(DeepAutoencoder):
    """Sees the frames so far, through recurrent layers in the encoder and in the decoder."""

    def _make_encoder(self, widths: tuple[int, ...]) -> RecurrentStack:
        return RecurrentStack(widths, self.config.cell)

    def _make_decoder(self, widths: tuple[int, ...]) -> RecurrentStack:
        return RecurrentStack(widths, self.config.cell)


AUTOENCODERS: Mapping[str, type[Autoencoder]] = MappingProxyType(
    {
        "dense": DenseAutoencoder,
        "convolutional": ConvolutionalAutoencoder,
        "recurrent": RecurrentAutoencoder,
        "nonnegative": NonnegativeAutoencoder,
        "linear": LinearAutoencoder,
    }
)
"""The class of each kind of network."""


def build_autoencoder(config: NetworkConfig, n_bins: int) -> Autoencoder:
    """Build the network that settings describe, its weights uninitialized.

    Examples
    --------
    >>> type(build_autoencoder(NetworkConfig("recurrent"), n_bins=257)).__name__
    'RecurrentAutoencoder'
    """
    return AUTOENCODERS[config.kind](config, n_bins)
