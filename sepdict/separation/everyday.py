"""Exemplars of everyday sounds, which stand for the residual while nothing is known of it."""

import contextlib
import functools
import math

import torch
from torch import Tensor

from sepdict.audio.everyday_sounds import N_SOUNDS, everyday_sounds, n_everyday_samples
from sepdict.dictionaries.exemplars import encode_exemplars
from sepdict.dictionaries.tensor_cache import cached_tensors, keep_tensors
from sepdict.errors import ConfigError
from sepdict.spectral.bands import n_bands
from sepdict.spectral.stft import StftConfig, audible, magnitude, stft

VERSION = 1  # rises when other sounds are synthesized
MOST_CACHED = 4  # files, of some 6 MiB each, one for every rate and STFT
PREFIX = "everyday_sounds"
SILENCE = 0.03  # of a sound's loudest frame (-30 dB): softer frames are pauses, which teach nothing


@functools.lru_cache(maxsize=2)
def everyday_exemplars(sample_rate: int, config: StftConfig) -> Tensor:
    """Return exemplars of synthesized everyday sounds, from the cache or by some ten seconds of work.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    config : StftConfig

    Returns
    -------
    Tensor of uint8, shape (n_bands, n_frames)
        As by `encode_exemplars`, without pauses; the mean frame of every sound has the same energy.
    """
    n_frames = N_SOUNDS * (math.ceil(n_everyday_samples(sample_rate) / config.hop_length) + 1)
    like = {"exemplars": torch.empty(n_bands(config.n_bins), n_frames, dtype=torch.uint8)}
    key = f"{VERSION}.{N_SOUNDS}.{sample_rate}.{config.n_fft}.{config.hop_length}.{config.window}"
    if kept := cached_tensors(PREFIX, key, like):
        return kept["exemplars"]
    spectrograms = []
    for sound in everyday_sounds(sample_rate, n_sounds=N_SOUNDS):
        spectrogram = audible(magnitude(stft(sound.samples[0], config)), config, sample_rate)
        level = spectrogram.mean(dim=0)
        heard = spectrogram[:, level > SILENCE * level.amax()]
        spectrograms.append(heard / heard.square().sum(dim=0).mean().sqrt())
    joined = torch.cat(spectrograms, dim=1)
    repeated = joined.repeat(1, math.ceil(n_frames / joined.shape[1]))[:, :n_frames]  # as many as are looked for
    exemplars = encode_exemplars(repeated, n_most_frames=n_frames)
    with contextlib.suppress(OSError, ConfigError):  # that the cache cannot be written to is said of the mask estimator
        keep_tensors(PREFIX, key, {"exemplars": exemplars}, n_most=MOST_CACHED)
    return exemplars
