"""Row 2: the networks that map spectral shapes to codes and back.

Every network works on ``(..., n_features, n_frames)``. A *spectral shape* is a frame freed of its level:
it averages one over its bins. Level is a separate number per frame (see :mod:`sepdict.dictionary`), so that no
capacity is spent on drawing the same sound at many levels, and silence is simply level zero.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sepdict.bands import band_sums
from sepdict.errors import ConfigError

KINDS = ("dense", "convolutional")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "softplus": nn.functional.softplus,
    "sigmoid": torch.sigmoid,
}
MAX_WIDTH = 2**14  # units; a dictionary file that asks for more is refused before anything is allocated
MAX_LAYERS = 32
TEMPLATE_SCALE = 16.0  # nepers per unit of a template's parameters, which so move as fast as they must under Adam
FAINTEST_PARTIAL = 0.01  # of a frame's mean (-40 dB): what templates begin with where a frame has less
CONTEXT_FRAMES = (5, 3)  # frames that a mask network's residual layers see: seven together, 160 ms at 16 kHz
FAINTEST_BAND = 1e-3  # of a frame's mean: 60 dB below it a mask network hears silence


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an autoencoder.

    Parameters
    ----------
    kind : str
        ``"dense"`` draws each frame from its own code; ``"convolutional"`` draws it from the codes
        of ``kernel_size`` neighbouring frames.
    code_size : int
        Numbers per frame in the excitation. A decoder that can draw anything also draws the other source.
    hidden : tuple of int
        Units of the decoder's hidden layers, from the code outwards; the encoder mirrors them.
    activation : str
        ``"relu"``, ``"tanh"``, ``"softplus"`` or ``"sigmoid"``.
    kernel_size : int
        Frames that a convolutional decoder sees; odd. A dense one has 1.
    n_templates : int
        Spectral shapes that the decoder adds up, as NMF does; what it learned of single notes then also holds for
        chords. With 0 it draws the logarithm of every bin instead.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    kind: str = "dense"
    code_size: int = 16
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    kernel_size: int = 1
    n_templates: int = 256

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"network kind is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {self.activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if not all(isinstance(width, int) and 1 <= width <= MAX_WIDTH for width in (self.code_size, *self.hidden)):
            raise ConfigError(f"widths are {(self.code_size, *self.hidden)}; expected 1 to {MAX_WIDTH} units each")
        if not isinstance(self.n_templates, int) or not 0 <= self.n_templates <= MAX_WIDTH:
            raise ConfigError(f"n_templates is {self.n_templates}; expected 0 to {MAX_WIDTH}")
        if len(self.hidden) >= MAX_LAYERS:
            raise ConfigError(f"there are {len(self.hidden)} hidden layers; expected fewer than {MAX_LAYERS}")
        if self.kind == "dense" and self.kernel_size != 1:
            raise ConfigError(f"kernel_size is {self.kernel_size}; dense networks see 1 frame, convolutional more")
        odd = isinstance(self.kernel_size, int) and self.kernel_size in range(3, 65, 2)
        if self.kind == "convolutional" and not odd:
            raise ConfigError(f"kernel_size is {self.kernel_size}; expected an odd number of frames from 3 to 63")


class Layer(nn.Module):
    """An affine map over features, applied to every frame or to ``kernel_size`` neighbouring ones."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in, kernel_size))
        self.bias = nn.Parameter(torch.empty(n_out, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., n_in, n_frames) to (..., n_out, n_frames); beyond the ends the features are zero."""
        n_out, n_in, kernel_size = self.weight.shape
        if kernel_size > 1:
            around = nn.functional.pad(features, (kernel_size // 2, kernel_size // 2)).unfold(-1, kernel_size, 1)
            # (..., n_in, n_frames, kernel_size) to (..., n_in * kernel_size, n_frames): one matrix product does all
            features = around.transpose(-1, -2).reshape(*features.shape[:-2], n_in * kernel_size, -1)
        return self.weight.reshape(n_out, -1) @ features + self.bias


class Stack(nn.Module):
    """Layers with an activation between them, none after the last."""

    def __init__(self, widths: tuple[int, ...], kernel_sizes: tuple[int, ...], activation: str) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(Layer(*pair, kernel) for pair, kernel in zip(pairs, kernel_sizes, strict=True))
        self.activation = ACTIVATIONS[activation]

    def forward(self, features: Tensor) -> Tensor:
        """Apply one layer after the other."""
        for layer in self.layers[:-1]:
            features = self.activation(layer(features))
        last: Tensor = self.layers[-1](features)
        return last


class Autoencoder(nn.Module):
    """Encoder and decoder of one source.

    Time context sits next to the code, where it is cheap: the encoder's last layer and the decoder's first
    see ``kernel_size`` frames. The decoder's last layer either says how much of every template there is, or draws
    the bins' logarithms.
    """

    def __init__(self, config: NetworkConfig, n_bins: int) -> None:
        super().__init__()
        inner, kernels = (config.code_size, *config.hidden), (config.kernel_size, *(1 for _ in config.hidden))
        self.encoder = Stack((n_bins, *inner[::-1]), kernels[::-1], config.activation)
        self.decoder = Stack((*inner, config.n_templates or n_bins), kernels, config.activation)
        self.templates = nn.Parameter(torch.empty(n_bins, config.n_templates)) if config.n_templates else None

    def encode(self, shape: Tensor) -> Tensor:
        """Map spectral shapes (..., n_bins, n_frames) to codes (..., code_size, n_frames)."""
        codes: Tensor = self.encoder(shape.sqrt())  # the root brings loud and soft partials nearer to each other
        return codes

    def decode(self, code: Tensor) -> Tensor:
        """Draw spectral shapes (..., n_bins, n_frames), averaging one over the bins, from codes."""
        shares: Tensor = self.decoder(code).softmax(dim=-2)
        return shares * shares.shape[-2] if self.templates is None else self._template_shapes() @ shares

    def in_bands(self, n_heard_bins: int | None, widening: float) -> Callable[[Tensor], Tensor]:
        """Make a decoder that draws sums over the bands of the lowest bins; its templates are added up only once."""
        if self.templates is None:
            return lambda code: band_sums(self.decode(code)[..., :n_heard_bins, :], widening)
        summed = band_sums(self._template_shapes()[:n_heard_bins], widening)  # (n_bands, n_templates)
        return lambda code: summed @ self.decoder(code).softmax(dim=-2)

    @torch.no_grad()
    def set_templates(self, shapes: Tensor, *, faintest: float = FAINTEST_PARTIAL) -> None:
        """Make the templates, in place, these spectral shapes (n_bins, n_templates)."""
        assert self.templates is not None
        self.templates.copy_((shapes + faintest).log() / TEMPLATE_SCALE)

    def _template_shapes(self) -> Tensor:
        """Make templates spectral shapes, (n_bins, n_templates), each averaging one over the bins."""
        assert self.templates is not None
        return (TEMPLATE_SCALE * self.templates).softmax(dim=0) * len(self.templates)


class MaskNetwork(nn.Module):
    """Says which source owns how much of every band of a mixture, from the frame and its neighbours.

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
        features = _normalised(torch.relu(self.first((spectral_shape(bands) + FAINTEST_BAND).log())))
        for layer in self.context:
            features = _normalised(features + torch.relu(layer(features)))
        logits: Tensor = self.last(features).unflatten(-2, (self.n_sources, -1))
        return logits.log_softmax(dim=-3)


def spectral_shape(magnitude: Tensor) -> Tensor:
    """Free every frame of its level: divide by its mean over the bins; a silent frame stays zero."""
    level = magnitude.mean(dim=-2, keepdim=True)
    return magnitude / torch.where(level > 0, level, 1)


def _normalised(features: Tensor) -> Tensor:
    """Scale every frame's features to a mean square of one, which keeps deep sums from growing."""
    return features * (features.square().mean(dim=-2, keepdim=True) + 1e-6).rsqrt()


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw initial weights, the same for the same generator: He's scaling [1]_, biases zero.

    References
    ----------
    .. [1] He et al., "Delving deep into rectifiers", ICCV 2015, eq. 10.
    """
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel()
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5)


@torch.no_grad()
def begin_from(network: Autoencoder, shapes: Tensor, weights: Tensor, generator: torch.Generator) -> None:
    """Set the templates, in place, to some of these spectral shapes (n_frames, n_bins), drawn by weight (n_frames,)."""
    if network.templates is not None:
        n_templates = network.templates.shape[1]
        frames = torch.multinomial(weights.cpu(), n_templates, replacement=True, generator=generator)
        network.set_templates(shapes[frames.to(shapes.device)].T)


@torch.no_grad()
def standardise_codes(network: Autoencoder, codes: Tensor) -> None:
    """Rescale the code, in place, so that these codes (code_size, n_frames) get mean zero and variance one.

    What the network draws stays the same: the encoder's last layer takes on the scaling, the decoder's first undoes
    it; only at its outermost frames a convolutional one sees zeros beyond the ends, which now are the mean code.
    One unit then means the same in every dimension of every dictionary, which is what a fit needs.
    """
    mean, deviation = codes.mean(dim=1, keepdim=True), codes.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
    last, first = cast(Layer, network.encoder.layers[-1]), cast(Layer, network.decoder.layers[0])
    last.weight.div_(deviation[..., None])
    last.bias.sub_(mean).div_(deviation)
    first.bias.add_((first.weight * mean[None]).sum(dim=(1, 2))[:, None])
    first.weight.mul_(deviation[None])
