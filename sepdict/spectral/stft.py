"""From samples to spectrograms and back, exactly.

Spectrograms have shape ``(..., n_bins, n_frames)`` with ``n_bins = n_fft // 2 + 1``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sepdict._core.settings import refuse_other_types
from sepdict.errors import ConfigError, ShapeError

SPEECH_RATE = 16000  # Hz; up to here recordings are mostly speech
SPEECH_WINDOW_S = 0.064  # seconds: resolves a voice's harmonics and still follows its syllables
MUSIC_WINDOW_S = 0.186  # seconds: resolves neighboring low notes; 1.1 dB better than half of it, on four scenes

ULTRASOUND_WINDOW_S = 0.0064  # seconds: a bat's call lasts some five milliseconds
ULTRASOUND_HZ = 20_000.0  # above it nobody hears
LONGEST_WINDOW = 2**15  # samples; the longest default window: bounds the size of a dictionary to some 40 MB
INFRASOUND_HZ = 20.0  # below it nobody hears: there are offsets of converters, wind and rumble

WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, "blackman": torch.blackman_window}


@dataclass(frozen=True)
class StftConfig:
    """Settings of a short-time Fourier transform, in samples at the dictionary's rate.

    Parameters
    ----------
    n_fft : int
        Samples in a window; even.
    hop_length : int
        Samples from one window to the next; at most half of ``n_fft``, so that windows overlap
        and reconstruction stays well conditioned.
    window : str
        ``"hann"``, ``"hamming"`` or ``"blackman"``, used for analysis and synthesis alike.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    n_fft: int = 1024
    hop_length: int = 256
    window: str = "hann"

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if not 4 <= self.n_fft <= 2**17 or self.n_fft % 2:
            raise ConfigError(f"n_fft is {self.n_fft}; expected an even number from 4 to {2**17}")
        if not 1 <= self.hop_length <= self.n_fft // 2:
            raise ConfigError(f"hop_length is {self.hop_length}; expected 1 to n_fft / 2 = {self.n_fft // 2}")
        if self.window not in WINDOWS:
            raise ConfigError(f"window is {self.window!r}; expected one of {', '.join(WINDOWS)}")

    @classmethod
    def for_sample_rate(cls, sample_rate: int, *, ultrasonic: bool = False) -> "StftConfig":
        """Choose a window of a power of two: near 64 ms for rates up to 16 kHz, near 186 ms above; hops are a quarter.

        For ultrasound it is near 6 ms. It never has more than 32768 samples.

        Examples
        --------
        >>> StftConfig.for_sample_rate(44100)
        StftConfig(n_fft=8192, hop_length=2048, window='hann')
        """
        window_s = SPEECH_WINDOW_S if sample_rate <= SPEECH_RATE else MUSIC_WINDOW_S
        window_s = ULTRASOUND_WINDOW_S if ultrasonic else window_s
        n_fft = min(max(2 ** round(math.log2(sample_rate * window_s)), 4), LONGEST_WINDOW)
        return cls(n_fft=n_fft, hop_length=n_fft // 4)

    @property
    def n_bins(self) -> int:
        """Number of frequencies of a frame."""
        return self.n_fft // 2 + 1


def stft(samples: Tensor, config: StftConfig) -> Tensor:
    """Short-time Fourier transform, frames centered on every ``hop_length``-th sample.

    Parameters
    ----------
    samples : Tensor, shape (..., n_samples), any length from one up
    config : StftConfig

    Returns
    -------
    Tensor, complex, shape (..., n_bins, ceil(n_samples / hop_length) + 1)
        The last frame is centered on or behind the last sample, so that every sample lies
        between two frame centers and :func:`istft` is exact for every length.

    Raises
    ------
    ShapeError
        If there are no samples.
    """
    *batch, n_samples = samples.shape
    if n_samples == 0:
        raise ShapeError("there are no samples; expected one at least")
    to_last_center = -n_samples % config.hop_length
    padded = torch.nn.functional.pad(samples, (config.n_fft // 2, config.n_fft // 2 + to_last_center))
    spectrogram = torch.stft(
        padded.reshape(-1, padded.shape[-1]),
        config.n_fft,
        config.hop_length,
        window=window_of(config, samples),
        center=False,
        return_complex=True,
    )
    return spectrogram.reshape(*batch, *spectrogram.shape[-2:])


def istft(spectrogram: Tensor, config: StftConfig, *, n_samples: int) -> Tensor:
    """Inverse of :func:`stft`: least-squares overlap-add [1]_.

    Parameters
    ----------
    spectrogram : Tensor, complex, shape (..., n_bins, n_frames)
    config : StftConfig
    n_samples : int
        Number of samples of the result.

    Returns
    -------
    Tensor, shape (..., n_samples)

    Raises
    ------
    ShapeError
        If the spectrogram is not one of ``n_samples`` samples.

    References
    ----------
    .. [1] Griffin and Lim, "Signal estimation from modified short-time Fourier transform",
       IEEE TASSP 32(2), 1984, eq. 6.

    Examples
    --------
    >>> x = torch.randn(2, 1001)
    >>> config = StftConfig(n_fft=64, hop_length=16)
    >>> torch.allclose(istft(stft(x, config), config, n_samples=1001), x, atol=1e-6)
    True
    """
    *batch, n_bins, n_frames = spectrogram.shape
    if n_bins != config.n_bins or n_frames != -(-n_samples // config.hop_length) + 1:
        raise ShapeError(f"{n_bins} bins and {n_frames} frames do not make {n_samples} samples with {config}")
    samples = torch.istft(
        spectrogram.reshape(-1, n_bins, n_frames),
        config.n_fft,
        config.hop_length,
        window=window_of(config, spectrogram.real),
        center=True,  # drops the half window that stft padded in front
        length=n_samples,
    )
    return samples.reshape(*batch, n_samples)


def magnitude(spectrogram: Tensor) -> Tensor:
    """Linear amplitude of a complex spectrogram, same shape."""
    return spectrogram.abs()


def spectral_shape(magnitude: Tensor) -> Tensor:
    """Divide every frame by its mean over the bins, so that its level does not matter; a silent frame stays zero."""
    level = magnitude.mean(dim=-2, keepdim=True)
    return magnitude / torch.where(level > 0, level, 1)


def n_infrasonic_bins(config: StftConfig, sample_rate: int) -> int:
    """Count the bins below 20 Hz, the first of which holds a constant offset.

    Rates below 8 kHz are not for human ears: there it counts the bins below a 400th of the rate.

    Examples
    --------
    >>> n_infrasonic_bins(StftConfig.for_sample_rate(16000), 16000)
    2
    """
    lowest_hz = min(INFRASOUND_HZ, sample_rate / 400)
    return math.ceil(lowest_hz * config.n_fft / sample_rate)


def audible(magnitude: Tensor, config: StftConfig, sample_rate: int) -> Tensor:
    """Set the infrasonic bins of magnitudes (..., n_bins, n_frames) to zero."""
    heard = torch.arange(magnitude.shape[-2], device=magnitude.device) >= n_infrasonic_bins(config, sample_rate)
    return magnitude * heard[:, None]


def window_of(config: StftConfig, like: Tensor) -> Tensor:
    """Make the window on the signal's device and in its precision."""
    return WINDOWS[config.window](config.n_fft, dtype=like.dtype, device=like.device)
