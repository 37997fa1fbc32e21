"""The network of the mask estimator: from a mixture's spectrogram to one mask per source."""

import torch
from torch import Tensor, nn

from sepdict.models.layers import Layer
from sepdict.spectral.stft import spectral_shape

CONTEXT_FRAMES = (5, 3)  # frames that the residual layers see: seven together, 160 ms at 16 kHz
N_AROUND = sum(n_frames // 2 for n_frames in CONTEXT_FRAMES)  # of them, frames on either side of the middle one
SMALLEST_SQUARE = 1e-6  # is added to features' mean square, so that no frame is divided by zero
FAINTEST_BAND = 1e-3  # of a frame's mean: the network takes what is 60 dB below it for silence


class MaskNetwork(nn.Module):
    """Estimates which share of every band of a mixture each source has, from the frame and its neighbors.

    Between a first and a last layer that see single frames, residual layers see ``CONTEXT_FRAMES`` frames. The masks
    are those of the middle one, or of a later one, so that only ``n_ahead`` frames come after it.
    """

    def __init__(self, n_sources: int, n_bands: int, width: int, *, n_ahead: int = N_AROUND) -> None:
        super().__init__()
        self.n_sources = n_sources
        self.n_ahead = n_ahead
        self.n_later = N_AROUND - n_ahead  # frames from the middle one to the one whose masks they are
        self.first = Layer(n_bands, width, 1)
        self.context = nn.ModuleList(Layer(width, width, n_frames) for n_frames in CONTEXT_FRAMES)
        self.last = Layer(width, n_sources * n_bands, 1)

    def forward(self, bands: Tensor) -> Tensor:
        """Map magnitudes (..., n_bands, n_frames) to the logarithms of masks (..., n_sources, n_bands, n_frames)."""
        n_frames = bands.shape[-1]
        bands = nn.functional.pad(bands, (self.n_later, 0))
        features = _normalized(torch.relu(self.first((spectral_shape(bands) + FAINTEST_BAND).log())))
        for layer in self.context:
            features = _normalized(features + torch.relu(layer(features)))
        logits: Tensor = self.last(features[..., :n_frames]).unflatten(-2, (self.n_sources, -1))
        return logits.log_softmax(dim=-3)


def _normalized(features: Tensor) -> Tensor:
    """Scale every frame's features to a mean square of one, which keeps deep sums from growing."""
    return features * (features.square().mean(dim=-2, keepdim=True) + SMALLEST_SQUARE).rsqrt()
