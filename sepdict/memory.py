"""Row 2: what a dictionary remembers of what it heard: a coarse spectrogram, a byte per band and frame.

Bands are as narrow as the bins where bins are wider than a fiftieth of their frequency, and a fiftieth wide above: a
third of a semitone. A band's magnitude is the root mean square over its bins. That is enough to draw new mixtures
of the sources from (see :mod:`sepdict.composition`), and far too little to make a recording of again.
"""

import functools

import torch
from torch import Tensor

NARROW_BINS = 100  # bins from zero up that are bands of their own
WIDENING = 1.02  # above those, each band ends at this times its beginning
PASSAGE_FRAMES = 64  # frames that stay together where not all are kept: several notes or syllables
STEPS_PER_DB = 2  # half a decibel a step, so that a byte spans 127 dB


@functools.cache
def band_edges(n_bins: int) -> tuple[int, ...]:
    """Number the first bin of every band, and at the end ``n_bins``.

    Examples
    --------
    >>> band_edges(107)[-4:]
    (102, 104, 106, 107)
    """
    edges = list(range(min(NARROW_BINS, n_bins) + 1))
    while edges[-1] < n_bins:
        edges.append(min(n_bins, max(edges[-1] + 1, int(edges[-1] * WIDENING))))
    return tuple(edges)


def band_widths(n_bins: int) -> Tensor:
    """Count the bins of every band, shape (n_bands,)."""
    return torch.tensor(band_edges(n_bins)).diff()


def n_bands(n_bins: int) -> int:
    """Count the bands of a spectrogram."""
    return len(band_edges(n_bins)) - 1


def to_bands(magnitude: Tensor) -> Tensor:
    """Take the root mean square over each band's bins.

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
    widths = band_widths(magnitude.shape[-2]).to(magnitude.device)
    band_of_bin = torch.repeat_interleave(widths)
    power = magnitude.new_zeros(*magnitude.shape[:-2], len(widths), magnitude.shape[-1])
    power.index_add_(-2, band_of_bin, magnitude.square())
    return (power / widths[:, None]).sqrt()


def to_bins(values: Tensor, n_bins: int) -> Tensor:
    """Give every bin the value of its band: from (..., n_bands, n_frames) to (..., n_bins, n_frames)."""
    return values.repeat_interleave(band_widths(n_bins).to(values.device), dim=-2)


def remember(magnitude: Tensor, *, n_most_frames: int) -> Tensor:
    """Write a spectrogram as bytes: half decibels below the loudest, which a memory forgets.

    Parameters
    ----------
    magnitude : Tensor, shape (n_bins, n_frames), >= 0
    n_most_frames : int
        Of more frames, passages spread evenly over all of them are kept.

    Returns
    -------
    Tensor of uint8, shape (n_bands, at most n_most_frames)

    Examples
    --------
    >>> remember(torch.rand(513, 1000), n_most_frames=640).shape
    torch.Size([194, 640])
    """
    passages = magnitude.split(PASSAGE_FRAMES, dim=1)
    n_kept = min(len(passages), n_most_frames // PASSAGE_FRAMES)
    kept = [passages[index * len(passages) // n_kept] for index in range(n_kept)]
    bands = to_bands(torch.cat([magnitude[:, :0], *kept], dim=1))
    below_db = -20 * torch.log10(bands / bands.amax().clamp(min=1e-30)) if bands.numel() else bands
    return (STEPS_PER_DB * below_db).round().clamp(max=255).to(torch.uint8)  # infinite where silent: 255


def recall(memory: Tensor) -> Tensor:
    """Read magnitudes from bytes, relative to the loudest: to 2 % (a quarter of a decibel) of what was remembered."""
    return 10 ** (memory.float() / (-20 * STEPS_PER_DB))
