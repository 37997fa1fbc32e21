"""The layers that networks are made of; all map ``(..., n_features, n_frames)``, frame by frame or over time."""

import itertools
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "softplus": nn.functional.softplus,
    "sigmoid": torch.sigmoid,
}
CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Layer(nn.Module):
    """An affine map over features, applied to every frame or to ``kernel_size`` neighboring ones."""

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
    """Layers with an activation between them, none after the last; in training hidden units may be dropped out."""

    def __init__(self, widths: Sequence[int], kernel_sizes: Sequence[int], activation: str) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(Layer(*pair, kernel) for pair, kernel in zip(pairs, kernel_sizes, strict=True))
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(0.0)

    def forward(self, features: Tensor) -> Tensor:
        """Apply one layer after the other."""
        for layer in self.layers[:-1]:
            features = self.dropout(self.activation(layer(features)))
        last: Tensor = self.layers[-1](features)
        return last

    def activities(self, features: Tensor) -> list[Tensor]:
        """Return the input of every hidden unit's activation, (..., n_units, n_frames) per hidden layer."""
        outputs = list[Tensor]()
        for layer in self.layers[:-1]:
            outputs.append(layer(features))
            features = self.activation(outputs[-1])
        return outputs


class RecurrentStack(nn.Module):
    """Recurrent layers, of gated units [1]_ or of long short-term memory [2]_, and an affine last one.

    References
    ----------
    .. [1] Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
    .. [2] Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.
    """

    def __init__(self, widths: Sequence[int], cell: str) -> None:
        super().__init__()
        *inner, last = itertools.pairwise(widths)
        with torch.device("meta"):  # where torch does not draw weights from the caller's random numbers
            cells = nn.ModuleList(CELLS[cell](n_in, n_out, batch_first=True) for n_in, n_out in inner)
        self.cells = cells.to_empty(device=torch.get_default_device())
        self.last = Layer(*last, 1)
        self.dropout = nn.Dropout(0.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map (..., n_in, n_frames) to (..., n_out, n_frames), from the first frame to the last."""
        for cell in self.cells:
            features = self.dropout(_through(cell, features))
        last: Tensor = self.last(features)
        return last

    def activities(self, features: Tensor) -> list[Tensor]:
        """Return the output of every hidden unit, (..., n_units, n_frames) per hidden layer."""
        outputs = list[Tensor]()
        for cell in self.cells:
            features = _through(cell, features)
            outputs.append(features)
        return outputs


def _through(cell: nn.Module, features: Tensor) -> Tensor:
    """Run a recurrent layer over the frames: (..., n_in, n_frames) to (..., n_out, n_frames)."""
    batch = features.shape[:-2]
    frames = features.reshape(-1, *features.shape[-2:]).transpose(1, 2)  # (n_items, n_frames, n_in)
    with torch.backends.cudnn.flags(enabled=cell.training):  # cuDNN passes no gradient through a frozen one
        outputs, _ = cell(frames)
    return cast(Tensor, outputs).transpose(1, 2).reshape(*batch, -1, features.shape[-1])


def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Draw initial weights, the same for the same generator: He's scaling [1]_, biases zero.

    Recurrent layers, which feed on themselves, get a sixth of its variance, as torch has it: no loop begins to ring.

    References
    ----------
    .. [1] He et al., "Delving deep into rectifiers", ICCV 2015, eq. 10.
    """
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel()
        variance = 1 / (3 * parameter.shape[1]) if "weight_hh" in name else 2 / fan_in
        with torch.no_grad():
            if "bias" in name:
                parameter.zero_()
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * variance**0.5)


def is_finite(network: nn.Module) -> bool:
    """Return whether a network is free of NaN and infinities."""
    return all(bool(weight.isfinite().all()) for weight in network.state_dict().values())
