"""What a dictionary remembers of what it heard: a coarse spectrogram, a byte per band and frame.

A band's magnitude is the root mean square over its bins. That is enough to draw new mixtures of the sources from (see
:mod:`sepdict.separation.mask_estimator`); and though it is no recording, what was played or said can be made out
from it.
"""

import torch
from torch import Tensor

from sepdict.spectral.bands import to_bands

PASSAGE_FRAMES = 64  # frames that stay together where not all are kept: several notes or syllables
HELD_OUT_FRAMES = "held_out_frames"  # in a card's training: so many at the end of the exemplars were not learned from
STEPS_PER_DB = 2  # half a decibel a step, so that a byte spans 127 dB


def encode_exemplars(magnitude: Tensor, *, n_most_frames: int) -> Tensor:
    """Write a spectrogram as bytes: half decibels below the loudest, which the exemplars forgets.

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
    >>> encode_exemplars(torch.rand(513, 1000), n_most_frames=640).shape
    torch.Size([194, 640])
    """
    frames = exemplar_frames(magnitude.shape[1], n_most_frames=n_most_frames)
    bands = to_bands(magnitude[:, frames.to(magnitude.device)])
    below_db = -20 * torch.log10(bands / bands.amax().clamp(min=1e-30)) if bands.numel() else bands
    return (STEPS_PER_DB * below_db).round().clamp(max=255).to(torch.uint8)  # infinite where silent: 255


def exemplar_frames(n_frames: int, *, n_most_frames: int) -> Tensor:
    """Number those of so many frames that `remember` keeps."""
    passages = torch.arange(n_frames).split(PASSAGE_FRAMES)
    n_kept = min(len(passages), n_most_frames // PASSAGE_FRAMES)
    kept = [passages[index * len(passages) // n_kept] for index in range(n_kept)]
    return torch.cat([torch.arange(0), *kept])


def decode_exemplars(exemplars: Tensor) -> Tensor:
    """Read magnitudes from bytes, relative to the loudest: to 2 % (a quarter of a decibel) of what was remembered."""
    return 10 ** (exemplars.float() / (-20 * STEPS_PER_DB))
