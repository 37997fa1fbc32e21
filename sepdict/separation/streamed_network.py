"""The network of a mask estimator over a stream: one frame in, the masks of one a little before out.

Convolutions over time remember the frames that they need, so that each frame is computed once. NumPy computes, in
arrays that are made at the beginning: a stream must not wait for memory.
"""

from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sepdict.models.layers import Layer
from sepdict.models.mask_network import FAINTEST_BAND, SMALLEST_SQUARE, MaskNetwork

Floats: TypeAlias = NDArray[np.float32]


class StreamedMaskNetwork:
    """Gives the same masks as a `MaskNetwork`, frame by frame, ``n_ahead`` frames late."""

    def __init__(self, network: MaskNetwork, n_channels: int) -> None:
        n_bands = network.first.weight.shape[1]
        self._shape, self._level = _zeros(n_channels, n_bands), _zeros(n_channels, 1)
        self._first = _Affine(network.first, n_channels)
        self._context = [_Context(cast(Layer, layer), n_channels) for layer in network.context]
        self._last = _Affine(network.last, n_channels)
        self._logits = np.moveaxis(self._last.output.reshape(n_channels, network.n_sources, n_bands), 1, 0)
        self._masks, self._total = _zeros(network.n_sources, n_channels, n_bands), _zeros(1, n_channels, n_bands)
        for _ in range(network.n_later):  # silence before the first frame, as the network has it
            self.masks_of(_zeros(n_channels, n_bands))

    def masks_of(self, bands: Floats) -> Floats:
        """Take the next frame, and estimate the masks of the one that came ``n_ahead`` frames before.

        Parameters
        ----------
        bands : array of float32, shape (n_channels, n_bands), >= 0

        Returns
        -------
        array of float32, shape (n_sources, n_channels, n_bands)
            Summing to one; overwritten by the next call.
        """
        np.mean(bands, axis=1, keepdims=True, out=self._level)
        self._level[self._level == 0] = 1
        np.divide(bands, self._level, out=self._shape)
        np.log(np.add(self._shape, FAINTEST_BAND, out=self._shape), out=self._shape)
        self._first.apply(self._shape)
        features = self._first.rectify().normalize()
        for layer in self._context:
            features = layer.push(features)
        self._last.apply(features)
        np.subtract(self._logits, np.max(self._logits, axis=0, keepdims=True, out=self._total), out=self._masks)
        np.exp(self._masks, out=self._masks)
        return np.divide(self._masks, np.sum(self._masks, axis=0, keepdims=True, out=self._total), out=self._masks)


class _Affine:
    """An affine map of frames (n_channels, n_in), and what follows it in a network, in arrays of its own."""

    def __init__(self, layer: Layer, n_channels: int) -> None:
        weight = layer.weight.detach().numpy()  # (n_out, n_in, n_frames)
        self._weights = [np.ascontiguousarray(weight[..., frame].T) for frame in range(weight.shape[2])]
        self._bias = layer.bias.detach().numpy().T
        self.output = _zeros(n_channels, len(weight))
        self._product, self._scale = np.zeros_like(self.output), _zeros(n_channels, 1)

    def apply(self, *frames: Floats) -> None:
        """Map as many frames as the layer sees, the oldest first."""
        self.output[:] = self._bias
        for weight, frame in zip(self._weights, frames, strict=True):
            self.output += np.matmul(frame, weight, out=self._product)

    def rectify(self) -> "_Affine":
        """Set what is negative to zero."""
        np.maximum(self.output, 0, out=self.output)
        return self

    def normalize(self) -> Floats:
        """Scale the output to a mean square of one."""
        np.mean(np.square(self.output, out=self._product), axis=1, keepdims=True, out=self._scale)
        self._scale += SMALLEST_SQUARE
        return np.divide(self.output, np.sqrt(self._scale, out=self._scale), out=self.output)


class _Context:
    """A residual layer that sees the last few frames; what it gives belongs to the middle one of them."""

    def __init__(self, layer: Layer, n_channels: int) -> None:
        self._affine = _Affine(layer, n_channels)
        _, n_in, n_frames = layer.weight.shape
        self._frames = [_zeros(n_channels, n_in) for _ in range(n_frames)]
        self._n_missing = n_frames // 2  # frames that must come before there is a middle one

    def push(self, features: Floats) -> Floats:
        """Take the next frame, and return the output for the middle one; before there is one, zeros."""
        self._frames.append(self._frames.pop(0))
        self._frames[-1][:] = features
        self._affine.apply(*self._frames)
        if self._n_missing:
            self._n_missing -= 1
            self._affine.output[:] = 0
            return self._affine.output
        self._affine.rectify().output += self._frames[len(self._frames) // 2]
        return self._affine.normalize()


def _zeros(*shape: int) -> Floats:
    return np.zeros(shape, dtype=np.float32)
