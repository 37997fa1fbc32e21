"""Exemplars: a coarse spectrogram of the training sound, kept in the dictionary file, a byte per band and frame.

A band's magnitude is the root mean square over its bins. That is enough to make new mixtures of the sources (see
:mod:`sepdict.separation.mask_estimator`). It is no recording, but what was played or said can be made out from it.
"""

import torch
from torch import Tensor

from sepdict.spectral.bands import to_bands

PASSAGE_FRAMES = 64  # where not all frames are kept, passages of this length are: several notes or syllables
HELD_OUT_FRAMES = "held_out_frames"  # a card's count of the frames at the exemplars' end that were held out
STEPS_PER_DB = 2  # half a decibel a step, so that a byte spans 127 dB


def encode_exemplars(magnitude: Tensor, *, n_most_frames: int) -> Tensor:
    """Encode a spectrogram as bytes: half decibels below its loudest band, whose level is not kept.

    Parameters
    ----------
    magnitude : Tensor, shape (n_bins, n_frames), >= 0
    n_most_frames : int
        Where there are more frames, evenly spread passages of them are kept.

    Returns
    -------
    Tensor of uint8, shape (n_bands, at most n_most_frames)

    Examples
    --------
    >>> encode_exemplars(torch.rand(513, 1000), n_most_frames=640).shape
    torch.Size([194, 640])
    """
    frames = exemplar_frames(magnitude.shape[1], n_most_frames=n_most_frames)
    return _quantized(to_bands(magnitude[:, frames.to(magnitude.device)]))


def _quantized(bands: Tensor) -> Tensor:
    """Round the magnitudes of bands to bytes."""
    below_db = -20 * torch.log10(bands / bands.amax().clamp(min=1e-30)) if bands.numel() else bands
    return (STEPS_PER_DB * below_db).round().clamp(max=255).to(torch.uint8)  # infinite where silent: 255


def exemplar_frames(n_frames: int, *, n_most_frames: int) -> Tensor:
    """Return the indices of the frames that `encode_exemplars` keeps, of ``n_frames``."""
    if n_frames <= n_most_frames:
        return torch.arange(n_frames)
    passages = torch.arange(n_frames).split(PASSAGE_FRAMES)
    n_kept = min(len(passages), n_most_frames // PASSAGE_FRAMES)
    kept = [passages[index * len(passages) // n_kept] for index in range(n_kept)]
    return torch.cat([torch.arange(0), *kept])


def decode_exemplars(exemplars: Tensor) -> Tensor:
    """Decode bytes to magnitudes relative to the loudest, within 2 % (a quarter of a decibel) of the original ones."""
    return 10 ** (exemplars.float() / (-20 * STEPS_PER_DB))


def join_exemplars(exemplars: Tensor, others: Tensor, *, share: float) -> Tensor:
    """Put exemplars before others, as loud as these on average, and repeat them until they make up a share of all.

    Parameters
    ----------
    exemplars, others : Tensor of uint8, shape (n_bands, any number of frames)
        Each as by `encode_exemplars`, of one STFT.
    share : float
        From 0 to less than 1; the exemplars are there once at least.

    Returns
    -------
    Tensor of uint8, shape (n_bands, n_frames)
        The others stay at the end, where a card counts those that were held out.

    Examples
    --------
    >>> join_exemplars(torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3, 9, dtype=torch.uint8), share=0.5).shape
    torch.Size([3, 17])
    """
    n_times = max(1, round(share / (1 - share) * others.shape[1] / exemplars.shape[1]))
    first, last = (decode_exemplars(each) for each in (exemplars, others))
    first = first * (last.square().mean() / first.square().mean()).sqrt()
    return _quantized(torch.cat([first.repeat(1, n_times), last], dim=1))
