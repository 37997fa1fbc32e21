"""Checks of solo recordings before a training: how much sound there is, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepdict.audio.offset import offset_of
from sepdict.audio.signal import Audio, at_peak_of_one
from sepdict.errors import AudioError
from sepdict.training.data import FrameConfig, extract_frames, stft_for

ENOUGH_S = 120.0  # of sound; with half of it violin and voice gained half a dB less, with a quarter 1.6 dB
LITTLE_S = 30.0
MOST_SILENCE = 0.5  # of a recording
CLIPPED_RUN = 3  # samples in a row at the very peak: what is merely loud touches it once
FAINTEST_DB = -60.0  # below the loudest of the mean spectrum there is no band
NARROW = 0.75  # of what the rate could hold
SAME = 0.995  # correlation of two recordings' levels over time, and of their spectra, from which they are the same
ENVELOPE_FRAMES = 400  # of every recording, stretched to so many


@dataclass(frozen=True)
class RecordingSummary:
    """The amount of sound in solo recordings, and what is wrong with them.

    Attributes
    ----------
    n_recordings : int
    duration_s : float
        Of all of them together.
    sound_s : float
        Of that, what is not silence.
    clipped : tuple of str
        Names of recordings that were cut off at their peaks.
    offsets : mapping of str to float
        The constant offset of recordings that have one, by name: in the channel where it is largest.
    bandwidth_hz : float
        The highest frequency at which there is sound, by the mean spectrum down to 60 dB below its peak.
    sample_rates : tuple of int
        Of the recordings, in Hz; the dictionary will have the lowest.
    twins : tuple of pairs of str
        Names of recordings that sound the same: what is held out must not be what was learned.
    """

    n_recordings: int
    duration_s: float
    sound_s: float
    clipped: tuple[str, ...]
    offsets: Mapping[str, float]
    bandwidth_hz: float
    sample_rates: tuple[int, ...]
    twins: tuple[tuple[str, str], ...]

    @property
    def sample_rate(self) -> int:
        """The dictionary's sample rate, in Hz."""
        return self.sample_rates[0]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Advice before training, one sentence each; none when all is well."""
        remarks = []
        if self.sound_s < LITTLE_S:
            remarks.append(f"{self.sound_s:.0f} s of sound is little; two or three minutes are better")
        elif self.sound_s < ENOUGH_S:
            remarks.append(f"{self.sound_s:.0f} s of sound will do; two or three minutes are better")
        if self.sound_s < (1 - MOST_SILENCE) * self.duration_s:
            remarks.append(f"{100 * (1 - self.sound_s / self.duration_s):.0f} % is silence, and is not learned")
        if self.clipped:
            remarks.append(f"clipped, so that distortion is learned, too: {', '.join(self.clipped)}")
        if self.offsets:
            remarks.append(_remark_on_offsets(self.offsets))
        if len(self.sample_rates) > 1:
            rates = " and ".join(map(str, self.sample_rates))
            remarks.append(f"there are rates of {rates} Hz, and the lowest will be the dictionary's")
        if self.bandwidth_hz < NARROW * self.sample_rate / 2:
            remarks.append(
                f"there is no sound above {self.bandwidth_hz:.0f} Hz, though {self.sample_rate} Hz could hold "
                f"{self.sample_rate // 2}: what a mixture has there will be given to others"
            )
        if self.twins:
            more = f" (and {len(self.twins) - 1} more pairs)" if len(self.twins) > 1 else ""
            remarks.append(f"{' and '.join(self.twins[0])}{more} sound the same; leave one of them out")
        return tuple(remarks)


def check_recordings(recordings: Sequence[Audio]) -> RecordingSummary:
    """Check recordings of one source before training on them.

    Raises
    ------
    AudioError
        If there are none.

    Examples
    --------
    >>> noise = Audio(torch.randn(1, 80000) / 10, 8000, "noise.wav")
    >>> check_recordings([noise]).remarks
    ('10 s of sound is little; two or three minutes are better',)
    """
    if not recordings:
        raise AudioError("there are no recordings; expected one at least")
    sample_rate = min(recording.sample_rate for recording in recordings)
    leveled = at_peak_of_one(recordings)
    frame_config = FrameConfig(sample_rate, stft_for(leveled, sample_rate), silence_db=-60.0, n_gap_frames=0)
    sound_s, spectrum, outlines = 0.0, torch.zeros(frame_config.stft.n_bins), list[tuple[Tensor, Tensor]]()
    for recording in leveled:
        sound = extract_frames(recording, frame_config)
        sound_s += float(sound.active.float().mean()) * recording.duration_s
        spectrum += sound.magnitude.square().sum(dim=1)
        outlines.append(_outline(sound.magnitude))
    heard = (spectrum >= spectrum.max() * 10 ** (FAINTEST_DB / 10)).nonzero()
    return RecordingSummary(
        n_recordings=len(recordings),
        duration_s=sum(recording.duration_s for recording in recordings),
        sound_s=sound_s,
        clipped=tuple(recording.name for recording in recordings if _is_clipped(recording.samples)),
        offsets={recording.name: offset for recording in recordings if (offset := _offset(recording))},
        bandwidth_hz=float(heard.max()) * sample_rate / frame_config.stft.n_fft,
        sample_rates=tuple(sorted({recording.sample_rate for recording in recordings})),
        twins=_twins(recordings, outlines),
    )


def _outline(magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Compute level over time, stretched to one length, and mean spectrum of magnitudes (n_bins, n_frames)."""
    level = magnitude.mean(dim=0)[None, None]
    level = torch.nn.functional.interpolate(level, size=ENVELOPE_FRAMES, mode="linear")[0, 0]
    return _standardized(level), _standardized(magnitude.mean(dim=1))


def _standardized(values: Tensor) -> Tensor:
    """Bring values (n,) to mean zero and norm one, so that products are correlations."""
    centered: Tensor = values - values.mean()
    scaled: Tensor = centered / torch.linalg.vector_norm(centered).clamp(min=1e-12)
    return scaled


def _remark_on_offsets(offsets: Mapping[str, float]) -> str:
    """Name recordings with an offset."""
    *names, last = offsets
    largest = max(map(abs, offsets.values()))
    if not names:
        return f"{last} has a DC offset of {largest:.2g}; it is left out"
    return f"{', '.join(names)} and {last} have DC offsets of up to {largest:.2g}; they are left out"


def _offset(recording: Audio) -> float:
    """Measure a recording's constant offset, in the channel where it is largest."""
    return float(max(offset_of(recording).flatten(), key=abs))


def _is_clipped(samples: Tensor) -> bool:
    """Return whether samples (n_channels, n_samples) stay at their peak, several in a row and again and again."""
    peaks = samples.abs() >= samples.abs().max() * (1 - 1e-4)
    if not samples.any() or samples.shape[1] < CLIPPED_RUN:
        return False
    runs = peaks.unfold(1, CLIPPED_RUN, 1).all(dim=2)
    return int(runs.sum()) >= CLIPPED_RUN


def _twins(recordings: Sequence[Audio], outlines: Sequence[tuple[Tensor, Tensor]]) -> tuple[tuple[str, str], ...]:
    """Pair recordings of one length whose levels rise and fall alike, and whose spectra are alike, too."""
    duration_s = torch.tensor([recording.duration_s for recording in recordings], dtype=torch.float64)
    alike = (duration_s[:, None] - duration_s).abs() < 0.01 * duration_s[:, None]
    for values in map(torch.stack, zip(*outlines, strict=True)):  # (n_recordings, n_values), level and spectrum
        alike &= values @ values.T > SAME
    return tuple((recordings[one].name, recordings[other].name) for one, other in alike.triu(1).nonzero().tolist())
