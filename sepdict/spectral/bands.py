"""Bands of a spectrogram's bins: single bins at low frequencies, more bins each at higher ones.

A band ends at ``widening`` times its beginning, or after one bin where that is less. Exemplars are kept in bands, mask
estimators work in them, and excitations are fitted in them: 4097 bins make 301 bands, or 529 narrower ones.
"""

import functools

import torch
from torch import Tensor

COARSE = 1.02  # a band ends at this times its beginning: a third of a semitone


@functools.cache
def band_edges(n_bins: int, widening: float = COARSE) -> tuple[int, ...]:
    """Return the first bin of every band, and at the end ``n_bins``.

    Examples
    --------
    >>> band_edges(107)[-4:]
    (102, 104, 106, 107)
    """
    edges = [0]
    while edges[-1] < n_bins:
        edges.append(min(n_bins, max(edges[-1] + 1, int(edges[-1] * widening))))
    return tuple(edges)


def band_widths(n_bins: int, widening: float = COARSE) -> Tensor:
    """Count the bins of every band, shape (n_bands,)."""
    return torch.tensor(band_edges(n_bins, widening)).diff()


def n_bands(n_bins: int) -> int:
    """Count the bands of a spectrogram."""
    return len(band_edges(n_bins)) - 1


def band_sums(values: Tensor, widening: float = COARSE) -> Tensor:
    """Add up each band's bins: from (..., n_bins, n_frames) to (..., n_bands, n_frames).

    Examples
    --------
    >>> band_sums(torch.ones(107, 1))[-3:, 0]
    tensor([2., 2., 1.])
    """
    widths = band_widths(values.shape[-2], widening).to(values.device)
    sums = values.new_zeros(*values.shape[:-2], len(widths), values.shape[-1])
    return sums.index_add(-2, torch.repeat_interleave(widths), values)


def to_bands(magnitude: Tensor) -> Tensor:
    """Compute the root mean square over each band's bins.

    Parameters
    ----------
    magnitude : Tensor, shape (..., n_bins, n_frames), >= 0

    Returns
    -------
    Tensor, shape (..., n_bands, n_frames), >= 0

    Examples
    --------
    >>> to_bands(torch.ones(513, 10)).shape
    torch.Size([194, 10])
    """
    widths = band_widths(magnitude.shape[-2])[:, None].to(magnitude.device)
    return (band_sums(magnitude.square()) / widths).sqrt()


def to_bins(values: Tensor, n_bins: int) -> Tensor:
    """Repeat the value of a band for each of its bins: from (..., n_bands, n_frames) to (..., n_bins, n_frames)."""
    return values.repeat_interleave(band_widths(n_bins).to(values.device), dim=-2)
