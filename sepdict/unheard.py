"""Row 2: what dictionaries do not hear of a mixture, and to whom it goes, so that stems sum to all of it."""

import torch
from torch import Tensor

from sepdict.audio import Audio, resample


def at_rate_of(mixture: Audio, samples: Tensor, sample_rate: int) -> Tensor:
    """Resample stems (n_stems, n_channels, n_samples) to the mixture's rate and exact length."""
    if mixture.sample_rate == sample_rate:
        return samples
    stems = [resample(Audio(stem, sample_rate), mixture.sample_rate).samples for stem in samples]
    n_missing = mixture.n_samples - stems[0].shape[1]  # rounding there and back may lose or gain a few
    return torch.stack([torch.nn.functional.pad(stem, (0, n_missing)) for stem in stems])


def shares_above(masks: Tensor, *, has_residual: bool, n_samples: int) -> Tensor:
    """Decide who gets what the dictionaries did not hear: the last stem if it is the residual, or each its share.

    The share of a stem is its mean mask over the top quarter of the band, drawn out smoothly over the samples.

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_samples), summing to one over the stems
    """
    if has_residual:
        last = torch.zeros(len(masks), 1, 1)
        last[-1] = 1
        return last
    top = masks[:, :, -(masks.shape[2] // 4 + 1) :].mean(dim=2)  # (n_stems, n_channels, n_frames)
    return torch.nn.functional.interpolate(top, size=n_samples, mode="linear", align_corners=True)
