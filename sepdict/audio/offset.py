"""The constant offset of a recording, which no dictionary hears: found, and taken off the samples."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sepdict.audio.signal import Audio

LEAST_OFFSET = 0.02  # of the root mean square of all else (-34 dB); what is softer clicks nowhere


def offset_of(sound: Audio) -> Tensor:
    """Average every channel's samples, shape (n_channels, 1); what any sound may happen to average is no offset: 0."""
    offset = sound.samples.mean(dim=1, keepdim=True, dtype=torch.float64)
    rest = sound.samples - offset.float()
    rms = torch.linalg.vector_norm(rest, dim=1, keepdim=True, dtype=torch.float64) / math.sqrt(sound.n_samples)
    return torch.where(offset.abs() > LEAST_OFFSET * rms, offset, 0).float()


def centered(sound: Audio) -> Audio:
    """Take the offset off every channel.

    Examples
    --------
    >>> centered(Audio(torch.tensor([1.25, 1.75]), 8000)).samples
    tensor([[-0.2500,  0.2500]])
    """
    return replace(sound, samples=sound.samples - offset_of(sound))
