"""The constant offset (DC) of a recording, which dictionaries do not model."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sepdict.audio.signal import Audio

LEAST_OFFSET = 0.02  # of the root mean square of all else (-34 dB); what is softer clicks nowhere


def offset_of(sound: Audio) -> Tensor:
    """Return every channel's mean, shape (n_channels, 1); 0 where it is small enough to be chance."""
    offset = sound.samples.mean(dim=1, keepdim=True, dtype=torch.float64)
    rest = sound.samples - offset.float()
    rms = torch.linalg.vector_norm(rest, dim=1, keepdim=True, dtype=torch.float64) / math.sqrt(sound.n_samples)
    return torch.where(offset.abs() > LEAST_OFFSET * rms, offset, 0).float()


def centered(sound: Audio) -> Audio:
    """Subtract the offset from every channel.

    Examples
    --------
    >>> centered(Audio(torch.tensor([1.25, 1.75]), 8000)).samples
    tensor([[-0.2500,  0.2500]])
    """
    return replace(sound, samples=sound.samples - offset_of(sound))
