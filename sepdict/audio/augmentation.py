"""Variations of training recordings, so that a dictionary learns the source and not the take.

    recording -> starts later -> other pitch -> other tempo -> a background -> another microphone -> other level

Every step is a function of its own, by an amount that is given; :func:`augment` draws the amounts and takes all steps.
All channels of a recording are treated alike. Sound is never wrapped around, and silence stays silence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.audio.signal import Audio, resample
from sepdict.errors import ConfigError

LOWEST_GAIN_HZ = 50.0  # of a microphone's random gains: below, few sources have anything
TAPS_S = 0.064  # length of a microphone's filter: a window's, and its impulse response is over long before


@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of random variations of a recording; amounts are uniform in their ranges, and 0 changes nothing.

    Parameters
    ----------
    level_db : float
        Up or down, in dB, 0 to 60. Six are half or twice the distance to the microphone.
    pitch_percent : float
        Up or down, 0 to 50. Three are half a semitone: another tuning, or another throat, but not yet another source.
        Pitch is shifted by playing faster or slower, which is exact but changes the tempo, too, unless
        ``stretch_percent`` is above 0.
    stretch_percent : float
        Longer or shorter at the same pitch, 0 to 50; above 0 it alone decides on the tempo. Five are about what takes
        differ by; it is the one step that is not exact, for onsets are blurred a little.
    shift_s : float
        The sound starts up to so many seconds later (what was before is cut off; half of the recording at most),
        0 to 10, so that frames fall elsewhere. A twentieth of a second is about a hop of the longest default windows.
    background_snr_db : pair of float
        Lowest and highest level above the background's, in dB, -60 to 120: from a loud background to one that is
        hardly heard.
    filter_db : float
        Largest change of any frequency by another microphone, up or down, in dB, 0 to 40. Simple microphones and
        places in a room differ by six.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    level_db: float = 6.0
    pitch_percent: float = 3.0
    stretch_percent: float = 5.0
    shift_s: float = 0.05
    background_snr_db: tuple[float, float] = (10.0, 30.0)
    filter_db: float = 6.0

    def __post_init__(self) -> None:
        refuse_other_types(self)
        most = {"level_db": 60, "pitch_percent": 50, "stretch_percent": 50, "shift_s": 10, "filter_db": 40}
        refuse_out_of_range(self, {name: (0, amount) for name, amount in most.items()})
        snrs_db = tuple(self.background_snr_db)
        if len(snrs_db) != 2 or not -60 <= snrs_db[0] <= snrs_db[1] <= 120:
            raise ConfigError(f"background_snr_db is {snrs_db}; expected lowest and highest, from -60 to 120")


def augment(
    recording: Audio, config: AugmentationConfig, generator: torch.Generator, *, backgrounds: Sequence[Audio] = ()
) -> Audio:
    """Vary a recording, every amount at random within its range.

    Parameters
    ----------
    recording : Audio
        On the CPU, as are the backgrounds.
    config : AugmentationConfig
    generator : torch.Generator
        On the CPU; the same state gives the same rendition. What one amount draws does not depend on the others.
    backgrounds : sequence of Audio
        One of them, chosen at random, is mixed in (see :func:`add_background`); with none there is no background.

    Returns
    -------
    Audio
        At the recording's rate, with as many channels, and longer or shorter by what was drawn.

    Examples
    --------
    >>> recording = Audio(torch.randn(2, 16000), 8000)
    >>> rendition = augment(recording, AugmentationConfig(), torch.Generator().manual_seed(0))
    >>> rendition.n_channels, rendition.sample_rate, 1.8 < rendition.duration_s < 2.2
    (2, 8000, True)
    """
    n_gains = 1 + max(0, math.ceil(math.log2(recording.sample_rate / 2 / LOWEST_GAIN_HZ)))  # one an octave
    level, pitch, tempo, start, snr, which = torch.rand(6, generator=generator).tolist()
    gains_db = config.filter_db * (2 * torch.rand(n_gains, generator=generator) - 1)
    pitch_percent = config.pitch_percent * (2 * pitch - 1)
    duration = 1 + config.stretch_percent * (2 * tempo - 1) / 100
    n_late = int(start * (min(config.shift_s * recording.sample_rate, recording.n_samples // 2) + 1))
    sound = shift_pitch(replace(recording, samples=recording.samples[:, n_late:]), pitch_percent)
    if config.stretch_percent:
        sound = stretch(sound, 100 * (duration * (1 + pitch_percent / 100) - 1))
    if backgrounds:
        lowest_db, highest_db = config.background_snr_db
        background = backgrounds[int(which * len(backgrounds))]
        sound = add_background(sound, background, lowest_db + snr * (highest_db - lowest_db), generator)
    sound = color(sound, gains_db)
    return replace(sound, samples=sound.samples * 10 ** (config.level_db * (2 * level - 1) / 20))


def shift_pitch(recording: Audio, percent: float) -> Audio:
    """Raise every frequency by a percentage (negative ones lower it), playing faster as a tape does.

    The recording is resampled to ``sample_rate / (1 + percent / 100)``, in whole Hz, and played at the rate it had.

    Examples
    --------
    >>> shift_pitch(Audio(torch.randn(8000), 8000), 25).duration_s
    0.8
    """
    slower = round(recording.sample_rate / (1 + percent / 100))
    return replace(resample(recording, slower), sample_rate=recording.sample_rate)


def stretch(recording: Audio, percent: float) -> Audio:
    """Make a recording longer by a percentage (negative ones shorten it) at the same pitch.

    Done by Signalsmith Stretch [1]_, a phase vocoder that keeps neighboring bins in step. Plain ones do not: they
    lose several decibels, now more, now less. Channels stay in step, too.

    References
    ----------
    .. [1] Luff, "The Design of Signalsmith Stretch", 2023.

    Examples
    --------
    >>> stretch(Audio(torch.randn(8000), 8000), -10).duration_s
    0.9
    """
    n_samples = max(1, round(recording.n_samples * (1 + percent / 100)))
    if n_samples == recording.n_samples:
        return recording
    from python_stretch.Signalsmith import Stretch  # here: it is compiled, and its binary may not load everywhere

    vocoder = Stretch(seed=0)  # of the phases that it makes up where a sound becomes more than twice as long
    vocoder.preset(recording.n_channels, recording.sample_rate)
    vocoder.timeFactor = recording.n_samples / n_samples  # in single precision: over hours, a sample more or less
    made = torch.from_numpy(vocoder.process(recording.samples.contiguous().numpy()))  # it takes no heed of strides
    return replace(recording, samples=torch.nn.functional.pad(made, (0, n_samples - made.shape[1])))  # negative: cut


def add_background(recording: Audio, background: Audio, snr_db: float, generator: torch.Generator) -> Audio:
    """Mix a random piece of a background into a recording.

    Parameters
    ----------
    recording : Audio
    background : Audio
        At any rate; the mean of its channels goes to all channels alike. A shorter one sounds once, somewhere.
    snr_db : float
        The recording's level above the piece's, each over its own duration. Where either is silent nothing is added.
    generator : torch.Generator

    Returns
    -------
    Audio
        As long as the recording.

    Examples
    --------
    >>> recording, noise = Audio(torch.ones(4), 8000), Audio(torch.ones(9), 8000)
    >>> add_background(recording, noise, 20, torch.Generator()).samples
    tensor([[1.1000, 1.1000, 1.1000, 1.1000]])
    """
    n_wanted = math.ceil(recording.n_samples * background.sample_rate / recording.sample_rate)
    start = _random_below(background.n_samples - n_wanted, generator)
    heard = background.samples[:, start : start + n_wanted].mean(dim=0)
    resampled = resample(replace(background, samples=heard), recording.sample_rate)
    piece = replace(resampled, samples=resampled.samples[:, : recording.n_samples])
    n_silent = recording.n_samples - piece.n_samples
    n_before = _random_below(n_silent, generator)
    if not math.isfinite(recording.level_db) or not math.isfinite(piece.level_db):
        return recording
    gain = 10 ** ((recording.level_db - snr_db - piece.level_db) / 20)
    placed = torch.nn.functional.pad(piece.samples, (n_before, n_silent - n_before))
    return replace(recording, samples=recording.samples + gain * placed)


def color(recording: Audio, gains_db: Tensor) -> Audio:
    """Filter a recording as another microphone would.

    Between the gains the response runs straight, in dB over the logarithm of frequency, and below the lowest it is
    flat. The filter has zero phase: nothing is moved. Its taps are a triangle wide, so that the response is a mean of
    the one asked for (Fejér's), and nowhere beyond the least and the greatest gain.

    Parameters
    ----------
    recording : Audio
    gains_db : Tensor, shape (n_gains,)
        An octave apart, the last at half the sample rate.

    Returns
    -------
    Audio
        As long as the recording.

    Examples
    --------
    >>> recording = Audio(torch.ones(8000), 8000)
    >>> round(color(recording, torch.tensor([20.0, 0.0])).samples[0, 4000].item(), 1)
    10.0
    """
    if not gains_db.any():
        return recording
    from scipy.signal import oaconvolve  # here: it takes a moment to load

    n_taps = 2 * max(1, round(TAPS_S / 2 * recording.sample_rate))
    octaves = np.log2(np.maximum(np.linspace(0, 1, n_taps // 2 + 1), 2.0 ** -len(gains_db)))  # (n_taps / 2 + 1,)
    response = 10 ** (np.interp(octaves, np.arange(1 - len(gains_db), 1), gains_db.numpy()) / 20)
    impulse = np.roll(np.fft.irfft(response), n_taps // 2)[1:] * np.bartlett(n_taps + 1)[1:-1]  # the peak in the middle
    filtered = oaconvolve(recording.samples.numpy(), impulse[None].astype(np.float32), mode="same", axes=-1)
    return replace(recording, samples=torch.from_numpy(filtered))


def _random_below(n_most: int, generator: torch.Generator) -> int:
    """Draw a whole number from 0 to ``n_most``, which is 0 where it is negative."""
    return int(torch.randint(max(0, n_most) + 1, (), generator=generator))
