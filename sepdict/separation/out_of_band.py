"""Sound outside the dictionaries' band, shared among the stems so that they sum to the whole mixture.

It has three parts: a constant offset, which is subtracted from the samples before the STFT so that it does not click at
their ends; infrasound, in the bins below 20 Hz; and frequencies above the dictionaries' band. All three go to the
residual if there is one; only the last where the residual is learned, and as much of a source as the others.
"""

import torch
from torch import Tensor

from sepdict.audio.offset import offset_of
from sepdict.audio.signal import Audio, resample


def with_infrasound(masks: Tensor, magnitude: Tensor, n_infrasonic: int, *, to_residual: bool) -> Tensor:
    """Replace the masks of the lowest ``n_infrasonic`` bins by shares that do not change over time.

    Shares that change could be heard. Each stem gets its share of the energy just above these bins, up to three times
    their frequency, or the last stem gets it all: a residual of which nothing is known but that it is the rest.

    Parameters
    ----------
    masks : Tensor, shape (n_stems, n_channels, n_bins, n_frames)
    magnitude : Tensor, shape (n_channels, n_bins, n_frames), >= 0

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_bins, n_frames)
    """
    lowest = slice(n_infrasonic, 3 * n_infrasonic + 1)
    energies = (masks[:, :, lowest] * magnitude[:, lowest]).square().sum(dim=(2, 3))  # (n_stems, n_channels)
    shares = _residual_alone(energies) if to_residual else _shares_of(energies)
    infrasound = shares[:, :, None, None].expand(*masks.shape[:2], n_infrasonic, masks.shape[3])
    return torch.cat([infrasound, masks[:, :, n_infrasonic:]], dim=2)


def with_rest(stems: Tensor, mixture: Audio, masks: Tensor, *, has_residual: bool, offset_to_residual: bool) -> Tensor:
    """Add the mixture's offset and the frequencies above the band to stems (n_stems, n_channels, n_samples).

    Unless the offset is the residual's, the stems get equal parts of it, so that it does not change from segment to
    segment.
    """
    offset = offset_of(mixture)
    equal = torch.full((len(stems), 1), 1 / len(stems))
    shares = _residual_alone(equal) if offset_to_residual else equal
    stems = stems + shares[..., None] * offset
    above = shares_above(masks, has_residual=has_residual, n_samples=mixture.n_samples)
    return stems + above * (mixture.samples - stems.sum(dim=0))


def _residual_alone(amounts: Tensor) -> Tensor:
    """Return shares that give everything to the last stem."""
    alone = torch.zeros_like(amounts)
    alone[-1] = 1
    return alone


def _shares_of(amounts: Tensor) -> Tensor:
    """Divide amounts by their sum over the first axis; where it is zero, return equal shares."""
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
    """Compute the shares of the frequencies above the band: all to the residual, or to each stem its share.

    The share of a stem is its mean mask over the top quarter of the band, interpolated over the samples.

    Returns
    -------
    Tensor, shape (n_stems, n_channels, n_samples), summing to one over the stems
    """
    if has_residual:
        return _residual_alone(torch.zeros(len(masks), 1, 1))
    top = masks[:, :, -(masks.shape[2] // 4 + 1) :].mean(dim=2)  # (n_stems, n_channels, n_frames)
    return torch.nn.functional.interpolate(top, size=n_samples, mode="linear", align_corners=True)
