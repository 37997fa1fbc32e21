"""What dictionaries do not hear, and to whom it goes, so that stems sum to all of the mixture.

Left out are a constant offset, which is taken off the samples lest it click where they end, what else is in infrasonic
bins, and what is above the dictionaries' band. All of it goes to the residual where there is one.
"""

import torch
from torch import Tensor

from sepdict.audio.offset import offset_of
from sepdict.audio.signal import Audio, resample


def with_infrasound(masks: Tensor, magnitude: Tensor, n_infrasonic: int, *, has_residual: bool) -> Tensor:
    """Share out the infrasonic bins, so many, for good: a share that moves could be heard.

    Without a residual every stem gets what it has of the sound just above them, up to three times their frequency.

    Parameters
    ----------
    masks : Tensor, shape (n_stems, n_channels, n_bins, n_frames)
    magnitude : Tensor, shape (n_channels, n_bins, n_frames), >= 0

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_bins, n_frames)
    """
    lowest = slice(n_infrasonic, 3 * n_infrasonic + 1)
    owned = (masks[:, :, lowest] * magnitude[:, lowest]).square().sum(dim=(2, 3))  # (n_stems, n_channels)
    shares = _residual_alone(owned) if has_residual else _shares_of(owned)
    infrasound = shares[:, :, None, None].expand(*masks.shape[:2], n_infrasonic, masks.shape[3])
    return torch.cat([infrasound, masks[:, :, n_infrasonic:]], dim=2)


def given_back(stems: Tensor, mixture: Audio, masks: Tensor, *, has_residual: bool) -> Tensor:
    """Add to stems (n_stems, n_channels, n_samples) what they miss of the mixture: its offset, and what is above.

    Without a residual every stem gets as much of the offset as any other, which is the same in all segments.
    """
    offset = offset_of(mixture)
    equal = torch.full((len(stems), 1), 1 / len(stems))
    shares = _residual_alone(equal) if has_residual else equal
    stems = stems + shares[..., None] * offset
    above = shares_above(masks, has_residual=has_residual, n_samples=mixture.n_samples)
    return stems + above * (mixture.samples - stems.sum(dim=0))


def _residual_alone(amounts: Tensor) -> Tensor:
    """Give everything to the last stem."""
    alone = torch.zeros_like(amounts)
    alone[-1] = 1
    return alone


def _shares_of(amounts: Tensor) -> Tensor:
    """Make amounts shares that sum to one over the first axis; equal ones where there is nothing."""
    total = amounts.sum(dim=0)
    return torch.where(total > 0, amounts / total, 1 / len(amounts))


def at_rate_of(mixture: Audio, samples: Tensor, sample_rate: int) -> Tensor:
    """Resample stems (n_stems, n_channels, n_samples) to the mixture's rate and exact length."""
    if mixture.sample_rate == sample_rate:
        return samples
    stems = [resample(Audio(stem, sample_rate), mixture.sample_rate).samples for stem in samples]
    n_missing = mixture.n_samples - stems[0].shape[1]  # rounding there and back may lose or gain a few
    return torch.stack([torch.nn.functional.pad(stem, (0, n_missing)) for stem in stems])


def shares_above(masks: Tensor, *, has_residual: bool, n_samples: int) -> Tensor:
    """Decide who gets what is above the dictionaries' band: the last stem if it is the residual, or each its share.

    The share of a stem is its mean mask over the top quarter of the band, drawn out smoothly over the samples.

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_samples), summing to one over the stems
    """
    if has_residual:
        return _residual_alone(torch.zeros(len(masks), 1, 1))
    top = masks[:, :, -(masks.shape[2] // 4 + 1) :].mean(dim=2)  # (n_stems, n_channels, n_frames)
    return torch.nn.functional.interpolate(top, size=n_samples, mode="linear", align_corners=True)
