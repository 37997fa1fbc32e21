"""When stems sound, as labels: what goes back to the programs in which people mark sounds."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sepdict._core.settings import checks_types
from sepdict.audio.io import AudioLike, AudioReader, open_sound
from sepdict.audio.labels import Label
from sepdict.audio.signal import Audio
from sepdict.evaluation.config import ActivityConfig
from sepdict.spectral.stft import StftConfig, magnitude, stft

BAND_SHARE = 0.95  # of the energy of a sound that is within its limits of frequency
BLOCK_S = 10.0  # is read at once
WINDOW_S = 0.03  # of the spectra; longer ones resolve low notes that no selection needs


@checks_types
def sounding_labels(stems: Mapping[str, AudioLike], config: ActivityConfig | None = None) -> list[Label]:
    """Find when each stem of a track sounds.

    Files are read block by block.

    Parameters
    ----------
    stems : mapping of name to Audio, path or (samples, sample_rate)
    config : ActivityConfig, optional

    Returns
    -------
    list of Label
        In the order of their starts, with times to the millisecond; for Raven with limits of frequency in Hz.

    Raises
    ------
    AudioError
        If a stem cannot be read.

    Examples
    --------
    >>> hum = torch.zeros(16000)
    >>> hum[4000:8000] = torch.sin(torch.arange(4000) / 4)
    >>> sounding_labels({"hum": Audio(hum, 8000)})
    [Label(start_s=0.5, end_s=1.0, name='hum', low_hz=None, high_hz=None)]
    """
    config = ActivityConfig() if config is None else config
    powers = {}
    for name, stem in stems.items():
        with open_sound(stem, name) as sound:
            powers[name] = _powers(sound, config)
    loudest = max((float(power.max()) for power in powers.values()), default=0.0)
    least = loudest * 10 ** (-config.below_db / 10)
    labels = []
    for name, stem in stems.items():
        with open_sound(stem, name) as sound:
            for span in _spans((powers[name] >= least) & (powers[name] > 0), sound, config):
                start_s, end_s = (round(at / sound.sample_rate, 3) for at in (span.start, span.stop))
                limits = _band(sound, span) if config.format == "raven" else (None, None)
                labels.append(Label(start_s, end_s, name, *limits))
    return sorted(labels, key=lambda label: (label.start_s, label.end_s))


def _blocks(sound: Audio | AudioReader, span: slice, n_block: int) -> Iterator[Tensor]:
    """Read a span of samples in blocks, in double precision."""
    starts = range(span.start, span.stop, n_block)
    for block in sound.blocks(slice(start, min(start + n_block, span.stop)) for start in starts):
        yield block.samples.double()


def _n_step(sound: Audio | AudioReader, config: ActivityConfig) -> int:
    """Return the number of samples of a step."""
    return max(1, round(config.step_s * sound.sample_rate))


def _powers(sound: Audio | AudioReader, config: ActivityConfig) -> Tensor:
    """Compute the mean power of each step, shape (n_steps,)."""
    n_step = _n_step(sound, config)
    n_block = n_step * max(1, round(BLOCK_S / config.step_s))
    powers = []
    for samples in _blocks(sound, slice(0, sound.n_samples), n_block):
        power = samples.square().mean(dim=0)
        steps = torch.nn.functional.pad(power, (0, -len(power) % n_step)).unflatten(0, (-1, n_step))
        powers.append(steps.mean(dim=1))
    return torch.cat(powers)


def _spans(sounding: Tensor, sound: Audio | AudioReader, config: ActivityConfig) -> list[slice]:
    """Join the steps (n_steps,) in which something sounds to spans of samples."""
    n_step = _n_step(sound, config)
    edges = torch.nn.functional.pad(sounding.int(), (1, 1)).diff().nonzero()[:, 0] * n_step
    joined: list[slice] = []
    for start, stop in edges.clamp(max=sound.n_samples).unflatten(0, (-1, 2)).tolist():
        if joined and start - joined[-1].stop < config.pause_s * sound.sample_rate:
            joined[-1] = slice(joined[-1].start, stop)
        else:
            joined.append(slice(start, stop))
    return [span for span in joined if span.stop - span.start >= config.shortest_s * sound.sample_rate]


def _band(sound: Audio | AudioReader, span: slice) -> tuple[float, float]:
    """Find the band that holds most of the energy of a span, with as much of the rest below it as above it."""
    n_fft = 2 ** max(2, round(math.log2(WINDOW_S * sound.sample_rate)))
    config = StftConfig(n_fft, n_fft // 2)
    energy = torch.zeros(config.n_bins, dtype=torch.float64)
    for samples in _blocks(sound, span, max(1, round(BLOCK_S * sound.sample_rate))):
        energy += magnitude(stft(samples, config)).square().sum(dim=(0, 2))
    below = energy.cumsum(0) / energy.sum()
    rest, width_hz = (1 - BAND_SHARE) / 2, sound.sample_rate / n_fft
    low, high = int((below < rest).sum()), int((below < 1 - rest).sum())
    return round(max(low - 0.5, 0) * width_hz, 1), round(min(high + 0.5, n_fft / 2) * width_hz, 1)
