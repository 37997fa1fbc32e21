"""Separation of a stream as it comes: a block of samples in, what is kept of a moment before out.

For every hop of new samples, with the frame ``X_t`` of the last ``n_fft`` samples and ``t' = t - n_ahead``:

    m_s,t'   = mask_estimator(|X_t|, |X_t-1|, ...)      sees only so many frames ahead
    kept_t'  = sum over the kept sources s of m_s,t'  X_t'

and the inverse transforms of ``kept_t'`` are overlapped and added. There is no fit and no adaptation to the mixture:
both need what is not there yet.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sepdict._core.names import normalized
from sepdict._core.settings import checks_types
from sepdict.dictionaries.dictionary import refuse_unfit
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import ConfigError, ShapeError
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.mask_estimator import MaskEstimator, sources_of
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.separation.streamed_network import StreamedMaskNetwork
from sepdict.spectral.bands import band_edges, band_widths
from sepdict.spectral.stft import StftConfig, n_infrasonic_bins, window_of

LOUDEST = 1e9  # full scale is one: no sound, and its square is still far from overflowing
MOST_AHEAD = 1  # frames: all three gain 0.2 dB more (seven scenes, one seed), none 0.4 dB less
INFRASOUND_MEMORY_S = 1.0  # the share of infrasound follows the masks above it this slowly: faster could be heard


@checks_types
@closes_progress
def open_live(
    dictionaries: Sequence[DictionaryLike],
    *,
    keep: Sequence[str],
    n_channels: int = 1,
    config: MaskEstimatorConfig | None = None,
    on_progress: OnProgress = ignore_progress,
) -> "LiveSeparator":
    """Prepare the separation of a stream; the mask estimator that it needs is trained once, and cached.

    Parameters
    ----------
    dictionaries : sequence of Dictionary, path or installed name
        Of one rate, which is the stream's, and one STFT. Beside a single one the rest is a source, ``"residual"``.
    keep : sequence of str
        The sources that are to be heard.
    n_channels : int
        Of the stream; each is separated on its own.
    config : MaskEstimatorConfig, optional
        How the mask estimator is trained; it sees one frame ahead at most.
    on_progress : callable
        Called after every step of the training; raising from it cancels.

    Returns
    -------
    LiveSeparator

    Raises
    ------
    ConfigError
        If a dictionary has no exemplars, the dictionaries do not go together, there is nothing to keep, or a source to
        keep is none of theirs.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> hiss, hum = torch.randn(1, 16000), torch.randn(1, 16000).cumsum(1) / 100
    >>> quick = TrainingConfig(n_steps=5)
    >>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
    >>> live = open_live(dictionaries, keep=["hum"], config=MaskEstimatorConfig(n_steps=5))
    >>> live.process(np.zeros((1, live.hop_length), dtype=np.float32)).shape == (1, live.hop_length)
    True
    """
    if n_channels < 1:
        raise ConfigError(f"n_channels is {n_channels}; expected 1 or more")
    loaded = as_dictionaries(dictionaries)
    refuse_unfit(loaded)
    known, keep = sources_of(loaded), list(map(normalized, keep))
    if not keep or not set(keep) <= set(known):
        raise ConfigError(f"keep is {keep}; expected one or more of {', '.join(known)}")
    config = MaskEstimatorConfig() if config is None else config
    config = replace(config, n_ahead=min(config.n_ahead, MOST_AHEAD))
    mask_estimator = cached_mask_estimator(loaded, config, device="cpu", on_progress=on_progress)
    card = loaded[0].card
    return LiveSeparator(mask_estimator, card.stft, card.sample_rate, keep=keep, n_channels=n_channels)


class LiveSeparator:
    """Separates a stream block by block, see `open_live`.

    Attributes
    ----------
    sample_rate : int
        Of the stream, in Hz.
    n_channels : int
    hop_length : int
        Samples in a block.
    n_delayed : int
        How many samples later a sample comes out than it went in, the wait for the rest of its block included.
    n_not_finite : int
        Samples so far that were NaN or infinite, for which zeros were taken.
    """

    def __init__(
        self, mask_estimator: MaskEstimator, stft: StftConfig, sample_rate: int, *, keep: Sequence[str], n_channels: int
    ) -> None:
        self.sample_rate, self.hop_length, self._n_fft = sample_rate, stft.hop_length, stft.n_fft
        n_ahead = mask_estimator.network.n_ahead
        self.n_delayed = stft.n_fft + n_ahead * stft.hop_length
        self.n_channels, self.n_not_finite = n_channels, 0
        self._network = StreamedMaskNetwork(mask_estimator.network, n_channels)
        self._kept = [index for index, source in enumerate(mask_estimator.sources) if source in keep]
        n_infrasonic = n_infrasonic_bins(stft, sample_rate)
        self._infrasound, self._lowest = slice(n_infrasonic), slice(n_infrasonic, 3 * n_infrasonic + 1)
        self._forgotten = min(1.0, stft.hop_length / (INFRASOUND_MEMORY_S * sample_rate))
        *self._edges, _ = band_edges(stft.n_bins)
        self._widths = band_widths(stft.n_bins).numpy().astype(np.float32)
        self._band_of_bin = np.repeat(np.arange(len(self._widths)), self._widths.astype(int))
        window = window_of(stft, torch.empty(0)).numpy()
        self._window, self._synthesis_window = window, window / _overlapped(window**2, stft.hop_length)
        # Every array that a block needs is made here: a stream must not wait for memory.
        self._recent, self._frame, self._overlap = np.zeros((3, n_channels, stft.n_fft), dtype=np.float32)
        self._output = np.zeros((n_channels, stft.hop_length), dtype=np.float32)
        self._finite = np.zeros_like(self._output, dtype=bool)
        self._spectra = list(np.zeros((n_ahead + 1, n_channels, stft.n_bins), dtype=np.complex64))  # the oldest first
        self._power, self._mask = np.zeros((2, n_channels, stft.n_bins), dtype=np.float32)
        self._bands, self._band_mask = np.zeros((2, n_channels, len(self._widths)), dtype=np.float32)
        self._lost, self._part = np.zeros((2, *self._mask[:, self._lowest].shape), dtype=np.float32)
        self._energies = np.zeros((2, n_channels, 1), dtype=np.float32)  # just above infrasound: kept and lost
        self._now = np.zeros((n_channels, 1), dtype=np.float32)

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Separate the next block.

        Parameters
        ----------
        block : array of float32, shape (n_channels, hop_length)

        Returns
        -------
        array of float32, shape (n_channels, hop_length)
            What is kept of the samples that came ``n_delayed - hop_length`` samples before these; overwritten by the
            next call.

        Raises
        ------
        ShapeError
            If the block has another shape.
        """
        if block.shape != self._output.shape:
            expected = f"expected {self._output.shape}, one hop of every channel"
            raise ShapeError(f"the block has shape {block.shape}; {expected}")
        self._take(block)
        self._spectra.append(self._spectra.pop(0))
        np.multiply(self._recent, self._window, out=self._frame)
        np.fft.rfft(self._frame, out=self._spectra[-1])  # type: ignore[arg-type] # NumPy's hints know float64 only
        spectrum, mask = self._spectra[0], self._kept_mask()
        for part in (spectrum.real, spectrum.imag):
            part *= mask
        np.fft.irfft(spectrum, n=self._n_fft, out=self._frame)  # type: ignore[arg-type]
        return self._give()

    def process_whole(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Separate a whole recording as a stream, to try what comes out of one; the delay is taken away again.

        Parameters
        ----------
        samples : array of float32, shape (n_channels, n_samples)

        Returns
        -------
        array of float32, shape (n_channels, n_samples)
            What is kept of these samples.

        Raises
        ------
        ShapeError
            If the samples have another number of channels.
        """
        if samples.ndim != 2 or len(samples) != self.n_channels:
            raise ShapeError(f"the samples have shape {samples.shape}; expected ({self.n_channels}, n_samples)")
        n_late = self.n_delayed - self.hop_length
        n_blocks = -(-(samples.shape[1] + n_late) // self.hop_length)
        padded = np.pad(samples, ((0, 0), (0, n_blocks * self.hop_length - samples.shape[1])))
        for block in np.split(padded, n_blocks, axis=1):
            block[:] = self.process(block)
        return padded[:, n_late : n_late + samples.shape[1]]

    def _take(self, block: NDArray[np.float32]) -> None:
        """Append a block to the recent samples; what is not finite is silenced, what is absurdly loud limited."""
        self._recent[:, : -self.hop_length] = self._recent[:, self.hop_length :]
        newest = self._recent[:, -self.hop_length :]
        np.isfinite(block, out=self._finite)
        self.n_not_finite += self._finite.size - int(np.count_nonzero(self._finite))
        newest[:] = 0
        np.copyto(newest, block, where=self._finite)
        np.clip(newest, -LOUDEST, LOUDEST, out=newest)

    def _give(self) -> NDArray[np.float32]:
        """Add a frame to those before it, and return the samples to which no later one adds anything."""
        self._overlap += np.multiply(self._frame, self._synthesis_window, out=self._frame)
        self._output[:] = self._overlap[:, : self.hop_length]
        self._overlap[:, : -self.hop_length] = self._overlap[:, self.hop_length :]
        self._overlap[:, -self.hop_length :] = 0
        return self._output

    def _kept_mask(self) -> NDArray[np.float32]:
        """Compute the mask of all that is kept of the oldest spectrum, (n_channels, n_bins)."""
        np.abs(self._spectra[-1], out=self._power)
        self._power[:, self._infrasound] = 0
        np.square(self._power, out=self._power)
        np.add.reduceat(self._power, self._edges, axis=1, out=self._bands)
        np.sqrt(np.divide(self._bands, self._widths, out=self._bands), out=self._bands)
        masks = self._network.masks_of(self._bands)  # (n_sources, n_channels, n_bands)
        self._band_mask[:] = 0
        for index in self._kept:
            self._band_mask += masks[index]
        np.take(self._band_mask, self._band_of_bin, axis=1, out=self._mask, mode="clip")  # "raise" would copy
        self._mask[:, self._infrasound] = self._share_of_infrasound()
        return self._mask

    def _share_of_infrasound(self) -> NDArray[np.float32]:
        """Return the share of infrasound that is kept: that of the energy just above it, (n_channels, 1)."""
        spectrum, mask = self._spectra[0][:, self._lowest], self._mask[:, self._lowest]
        for energy, share in zip(self._energies, (mask, np.subtract(1, mask, out=self._lost)), strict=True):
            np.multiply(np.abs(spectrum, out=self._part), share, out=self._part)
            self._follow(energy, self._part)
        np.maximum(np.sum(self._energies, axis=0, out=self._now), 1e-30, out=self._now)
        np.divide(self._energies[0], self._now, out=self._now)
        return self._now

    def _follow(self, energy: NDArray[np.float32], amplitude: NDArray[np.float32]) -> None:
        """Move an average of the energy towards that of the present frame."""
        np.sum(np.square(amplitude, out=amplitude), axis=1, keepdims=True, out=self._now)
        energy += np.multiply(np.subtract(self._now, energy, out=self._now), self._forgotten, out=self._now)


def _overlapped(values: NDArray[np.float32], hop_length: int) -> NDArray[np.float32]:
    """Add up, for each sample of a window, the values of all windows that overlap there."""
    sums = np.bincount(np.arange(len(values)) % hop_length, weights=values)
    return np.resize(sums, len(values)).astype(np.float32)
