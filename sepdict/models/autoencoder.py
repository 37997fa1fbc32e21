"""The networks that map spectral shapes to codes and back.

Every network works on ``(..., n_features, n_frames)``. A *spectral shape* is a frame freed of its level:
it averages one over its bins. Level is a separate number per frame (see `sepdict.dictionaries.dictionary`), so that
no capacity is spent on drawing the same sound at many levels, and silence is simply level zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sepdict._core.settings import refuse_other_types
from sepdict.errors import ConfigError
from sepdict.models.layers import ACTIVATIONS, CELLS, Layer, RecurrentStack, Stack
from sepdict.spectral.bands import band_sums

KINDS = ("dense", "convolutional", "recurrent", "nonnegative", "linear")
SHALLOW = ("nonnegative", "linear")
PATCH_FRAMES = 32  # length of the pieces that a network with time context is trained on
MAX_WIDTH = 2**14  # units; a dictionary file that asks for more is refused before anything is allocated
MAX_LAYERS = 32
TEMPLATE_SCALE = 16.0  # nepers per unit of a template's parameters, which so move as fast as they must under Adam
FAINTEST_PARTIAL = 0.01  # of a frame's mean (-40 dB): what templates begin with where a frame has less
FAINTEST_AMOUNT = 1e-6  # of a template: some of each is always there, so that amounts can be divided by their sum
BEND = 0.02  # of a frame's mean: below it what a linear network draws is bent to stay positive
FAINTEST_REAL = 1e-9  # of a frame's mean: what a critic hears where there is nothing, for the root's slope is finite
CONTEXT_FRAMES = (5, 3)  # frames that a mask network's residual layers see: seven together, 160 ms at 16 kHz
FAINTEST_BAND = 1e-3  # of a frame's mean: 60 dB below it a mask network hears silence


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an autoencoder.

    Parameters
    ----------
    kind : str
        ``"dense"`` draws each frame from its own code; ``"convolutional"`` from the codes of ``kernel_size``
        neighboring frames; ``"recurrent"`` from those of all frames so far. ``"nonnegative"`` adds up templates by
        non-negative amounts, as NMF does; ``"linear"``, with L2 as divergence, is PCA.
    code_size : int
        Numbers per frame in the excitation. A decoder that can draw anything also draws the other source.
    hidden : tuple of int
        Units of the decoder's hidden layers, from the code outwards; the encoder mirrors them. Nonnegative and linear
        networks are shallow and have none.
    activation : str
        ``"relu"``, ``"tanh"``, ``"softplus"`` or ``"sigmoid"``; a nonnegative network makes its code an amount by it.
    kernel_size : int
        Frames that a convolutional decoder sees; odd. All others have 1.
    n_templates : int
        Spectral shapes that the decoder adds up, as NMF does; what it learned of single notes then also holds for
        chords. With 0 it draws the logarithm of every bin instead. Nonnegative networks have one for each number
        of the code, linear ones none.
    cell : str
        What a recurrent network remembers by: ``"gru"`` or ``"lstm"``.
    prior_weight : float
        Above 0 the network is variational: its encoder says a mean and a variance, and the prior that codes are normal
        counts so much, in training and in separation. 1 takes a bin's mean magnitude for one count of a Poisson
        variable.
    critic : tuple of int
        Units of the hidden layers of a critic that tells what the decoder draws from real spectra; without any, none.

    Raises
    ------
    ConfigError
        If one of them is out of range, or they do not go together.
    """

    kind: str = "dense"
    code_size: int = 16
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    kernel_size: int = 1
    n_templates: int = 256
    cell: str = "gru"
    prior_weight: float = 0.0
    critic: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        refuse_other_types(self)
        for name, value, expected in (
            ("network kind", self.kind, KINDS),
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("cell", self.cell, tuple(CELLS)),
        ):
            if value not in expected:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(expected)}")
        widths = (self.code_size, *self.hidden, *self.critic)
        if not all(isinstance(width, int) and 1 <= width <= MAX_WIDTH for width in widths):
            raise ConfigError(f"widths are {widths}; expected 1 to {MAX_WIDTH} units each")
        if not 0 <= self.n_templates <= MAX_WIDTH:
            raise ConfigError(f"n_templates is {self.n_templates}; expected 0 to {MAX_WIDTH}")
        if max(len(self.hidden), len(self.critic)) >= MAX_LAYERS:
            raise ConfigError(f"there are {len(self.hidden)} hidden layers; expected fewer than {MAX_LAYERS}")
        if not 0 <= self.prior_weight <= 1e6:
            raise ConfigError(f"prior_weight is {self.prior_weight}; expected 0 to 1e6")
        self._refuse_what_its_kind_has_not()

    def _refuse_what_its_kind_has_not(self) -> None:
        """Refuse a shape that another kind of network has."""
        if self.kind != "convolutional" and self.kernel_size != 1:
            raise ConfigError(
                f"kernel_size is {self.kernel_size}; {self.kind} networks see 1 frame, convolutional more"
            )
        if self.kind == "convolutional" and self.kernel_size not in range(3, 65, 2):
            raise ConfigError(f"kernel_size is {self.kernel_size}; expected an odd number of frames from 3 to 63")
        if self.kind in SHALLOW and self.hidden:
            raise ConfigError(f"hidden is {self.hidden}; {self.kind} networks are shallow: expected ()")
        if self.kind == "recurrent" and not self.hidden:
            raise ConfigError("hidden is (); a recurrent network remembers in hidden layers: expected one or more")
        if self.kind == "nonnegative" and self.activation == "tanh":
            raise ConfigError("activation is 'tanh'; a nonnegative network's amounts need relu, softplus or sigmoid")
        n_expected = {"nonnegative": self.code_size, "linear": 0}.get(self.kind, self.n_templates)
        if self.n_templates != n_expected:
            raise ConfigError(f"n_templates is {self.n_templates}; expected {n_expected} of this {self.kind} network")

    @property
    def sees_neighbors(self) -> bool:
        """Whether frames are drawn together, for one depends on others."""
        return self.kernel_size > 1 or self.kind == "recurrent"

    @property
    def n_learned_frames(self) -> int:
        """Frames of the pieces that training cuts recordings into: one where the network sees no more."""
        return PATCH_FRAMES if self.sees_neighbors else 1


class Autoencoder(nn.Module):
    """Encoder and decoder of one source, of any kind.

    Time context sits next to the code, where it is cheap: a convolutional encoder's last layer and the decoder's first
    see ``kernel_size`` frames. The decoder says how much of every template there is, or draws the bins' logarithms;
    that of a nonnegative network [1]_ is its templates alone, and a linear network draws by its encoder's transpose.

    References
    ----------
    .. [1] Smaragdis and Venkataramani, "A neural network alternative to non-negative audio models", ICASSP 2017.
    """

    code_mean: Tensor
    code_deviation: Tensor

    def __init__(self, config: NetworkConfig, n_bins: int) -> None:
        super().__init__()
        self.config = config
        n_said = config.code_size * (2 if config.prior_weight else 1)  # mean, and the variance's logarithm
        self.encoder = _stack(config, (n_bins, *config.hidden[::-1], n_said), outwards=False)
        outer = (config.code_size, *config.hidden, config.n_templates or n_bins)
        self.decoder = None if config.kind in SHALLOW else _stack(config, outer, outwards=True)
        self.templates = nn.Parameter(torch.empty(n_bins, config.n_templates)) if config.n_templates else None
        self.decoder_bias = nn.Parameter(torch.zeros(n_bins, 1)) if config.kind == "linear" else None
        ones = (1,) * (len(config.critic) + 1)
        self.critic = Stack((n_bins, *config.critic, 1), ones, "relu") if config.critic else None
        self.register_buffer("code_mean", torch.zeros(config.code_size, 1))
        self.register_buffer("code_deviation", torch.ones(config.code_size, 1))

    def encode(self, shape: Tensor) -> Tensor:
        """Map spectral shapes (..., n_bins, n_frames) to codes (..., code_size, n_frames)."""
        return self.posterior(shape)[0]

    def posterior(self, shape: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map spectral shapes to codes and, where the network is variational, the logarithms of their variances."""
        said: Tensor = self.encoder(self.features(shape))
        means, log_variance = said.split(self.config.code_size, dim=-2) if self.config.prior_weight else (said, None)
        return (means - self.code_mean) / self.code_deviation, log_variance

    def features(self, shape: Tensor) -> Tensor:
        """What the encoder sees of spectral shapes."""
        if self.decoder_bias is not None:
            return shape - self.decoder_bias
        return shape.sqrt()  # the root brings loud and soft partials nearer to each other

    def decode(self, code: Tensor) -> Tensor:
        """Draw spectral shapes (..., n_bins, n_frames), averaging one over the bins, from codes."""
        drawn = self.reconstruct(code)
        return drawn if self.decoder_bias is None else _positive_shape(drawn)

    def reconstruct(self, code: Tensor) -> Tensor:
        """Draw as `decode` does; but what a linear network draws is neither positive nor of mean one yet."""
        if self.decoder_bias is not None:
            weight = cast(Layer, cast(Stack, self.encoder).layers[0]).weight.squeeze(2)
            means = weight[: self.config.code_size]  # (code_size, n_bins); below them a variational one's variances
            return means.T @ self._unscaled(code) + self.decoder_bias
        return self.mix(self._shares(code))

    def mix(self, shares: Tensor) -> Tensor:
        """Add up templates, or bins, by their shares (..., n_templates, n_frames) of a frame."""
        return shares * shares.shape[-2] if self.templates is None else self.template_shapes() @ shares

    def in_bands(self, n_heard_bins: int | None, widening: float) -> Callable[[Tensor], Tensor]:
        """Make a decoder that draws sums over the bands of the lowest bins; its templates are added up only once."""
        if self.templates is None:
            return lambda code: band_sums(self.decode(code)[..., :n_heard_bins, :], widening)
        summed = band_sums(self.template_shapes()[:n_heard_bins], widening)  # (n_bands, n_templates)
        return lambda code: summed @ self._shares(code)

    def criticize(self, shape: Tensor) -> Tensor:
        """How real the critic takes spectral shapes for: log odds (..., n_frames)."""
        assert self.critic is not None
        odds: Tensor = self.critic(shape.clamp(min=FAINTEST_REAL).sqrt())
        return odds.squeeze(-2)

    @torch.no_grad()
    def set_templates(self, shapes: Tensor, *, faintest: float = FAINTEST_PARTIAL) -> None:
        """Make the templates, in place, these spectral shapes (n_bins, n_templates)."""
        assert self.templates is not None
        self.templates.copy_((shapes + faintest).log() / TEMPLATE_SCALE)

    def template_shapes(self) -> Tensor:
        """Make templates spectral shapes, (n_bins, n_templates), each averaging one over the bins."""
        assert self.templates is not None
        return (TEMPLATE_SCALE * self.templates).softmax(dim=0) * len(self.templates)

    def _unscaled(self, code: Tensor) -> Tensor:
        """Give codes back the mean and deviation that they were freed of."""
        return code * self.code_deviation + self.code_mean

    def _shares(self, code: Tensor) -> Tensor:
        """What each template, or bin, has of a frame: (..., n_templates, n_frames), summing to one."""
        if self.decoder is not None:
            logits: Tensor = self.decoder(self._unscaled(code))
            return logits.softmax(dim=-2)
        amounts = ACTIVATIONS[self.config.activation](self._unscaled(code)) + FAINTEST_AMOUNT
        return amounts / amounts.sum(dim=-2, keepdim=True)


def _stack(config: NetworkConfig, widths: tuple[int, ...], *, outwards: bool) -> Stack | RecurrentStack:
    """Make the layers between the spectrum and the code, or outwards from the code."""
    if config.kind == "recurrent":
        return RecurrentStack(widths, config.cell)
    kernels = (config.kernel_size, *(1 for _ in widths[2:]))
    return Stack(widths, kernels if outwards else kernels[::-1], config.activation)


def _positive_shape(drawn: Tensor) -> Tensor:
    """Bend what is drawn to where magnitudes are, smoothly: ``(x + sqrt(x^2 + b^2)) / 2``, then scaled to mean one."""
    high = ((drawn.square() + BEND**2).sqrt() + drawn.abs()) / 2
    return spectral_shape(torch.where(drawn > 0, high, BEND**2 / (4 * high)))  # the same, where it would cancel


class MaskNetwork(nn.Module):
    """Says which source owns how much of every band of a mixture, from the frame and its neighbors.

    Between a first and a last layer that see single frames, residual layers look ``CONTEXT_FRAMES`` around.
    """

    def __init__(self, n_sources: int, n_bands: int, width: int) -> None:
        super().__init__()
        self.n_sources = n_sources
        self.first = Layer(n_bands, width, 1)
        self.context = nn.ModuleList(Layer(width, width, n_frames) for n_frames in CONTEXT_FRAMES)
        self.last = Layer(width, n_sources * n_bands, 1)

    def forward(self, bands: Tensor) -> Tensor:
        """Map magnitudes (..., n_bands, n_frames) to the logarithms of masks (..., n_sources, n_bands, n_frames)."""
        features = _normalized(torch.relu(self.first((spectral_shape(bands) + FAINTEST_BAND).log())))
        for layer in self.context:
            features = _normalized(features + torch.relu(layer(features)))
        logits: Tensor = self.last(features).unflatten(-2, (self.n_sources, -1))
        return logits.log_softmax(dim=-3)


def spectral_shape(magnitude: Tensor) -> Tensor:
    """Free every frame of its level: divide by its mean over the bins; a silent frame stays zero."""
    level = magnitude.mean(dim=-2, keepdim=True)
    return magnitude / torch.where(level > 0, level, 1)


def _normalized(features: Tensor) -> Tensor:
    """Scale every frame's features to a mean square of one, which keeps deep sums from growing."""
    return features * (features.square().mean(dim=-2, keepdim=True) + 1e-6).rsqrt()


@torch.no_grad()
def begin_from(network: Autoencoder, shapes: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    """Begin, in place, from these spectral shapes (n_frames, n_bins), which count by weight (n_frames,).

    Templates are set to some of them, drawn by weight; a linear network's center is set to their mean.
    """
    if network.templates is not None:
        n_templates = network.templates.shape[1]
        frames = torch.multinomial(weights.cpu(), n_templates, replacement=True, generator=generator)
        network.set_templates(shapes[frames.to(shapes.device)].T)
    if network.decoder_bias is not None:
        network.decoder_bias.copy_((weights @ shapes / weights.sum())[:, None])


@torch.no_grad()
def standardize_codes(network: Autoencoder, codes: Tensor) -> None:
    """Rescale the code, in place, so that these codes (code_size, n_frames) get mean zero and variance one.

    What the network draws stays the same. One unit then means the same in every dimension of every dictionary, which
    is what a fit needs. A variational network's codes stay as they are: its prior is normal already.
    """
    if network.config.prior_weight:
        return
    mean, deviation = codes.mean(dim=1, keepdim=True), codes.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
    network.code_mean.add_(network.code_deviation * mean)
    network.code_deviation.mul_(deviation)
