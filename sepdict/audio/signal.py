"""Sound as samples: ``Audio`` is what every other module takes and returns."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import soxr
import torch
from torch import Tensor

from sepdict._core.on_demand import load
from sepdict._core.settings import refuse_other_type
from sepdict.errors import AudioError

MOST_CHANNELS = 1024  # that a file can have, says libsndfile; more are samples that should be transposed


@dataclass(frozen=True, eq=False, repr=False)
class Audio:
    """Samples and their rate.

    Parameters
    ----------
    samples : array or Tensor, shape (n_channels, n_samples) or (n_samples,)
        Floating point, full scale at -1 and 1 (more is kept, never clipped). Becomes a float32 tensor
        of shape (n_channels, n_samples).
    sample_rate : int
        In Hz.
    name : str
        Where the sound came from, for records and messages.

    Raises
    ------
    AudioError
        If there are no samples, some are integers, NaN or infinite, or there are more than `MOST_CHANNELS` channels.

    Examples
    --------
    >>> Audio(np.zeros(8000), 16000).samples.shape
    torch.Size([1, 8000])
    """

    samples: Tensor
    sample_rate: int
    name: str = "audio"

    def __post_init__(self) -> None:
        samples = self.samples if isinstance(self.samples, Tensor) else np.asarray(self.samples)
        if not (samples.is_floating_point() if isinstance(samples, Tensor) else samples.dtype.kind == "f"):
            raise AudioError(f"{self.name}: samples are {samples.dtype}; expected floating point, full scale at 1")
        if isinstance(samples, Tensor):
            samples = samples.detach().to(torch.float32)
        else:
            samples = torch.from_numpy(np.array(samples, dtype=np.float32, order="C"))  # a copy: any layout will do
        samples = samples[None] if samples.ndim == 1 else samples  # (n_channels, n_samples)
        if samples.ndim != 2 or samples.numel() == 0:
            raise AudioError(f"{self.name}: expected (n_channels, n_samples), got {tuple(samples.shape)}")
        if samples.shape[0] > MOST_CHANNELS:
            what = f"{tuple(samples.shape)} would be {samples.shape[0]} channels"
            raise AudioError(f"{self.name}: {what}; expected (n_channels, n_samples): transpose the array")
        refuse_other_type("sample_rate", self.sample_rate, float)
        if not float(self.sample_rate).is_integer() or self.sample_rate <= 0:
            raise AudioError(f"{self.name}: sample rate is {self.sample_rate} Hz; expected a whole number above 0")
        refuse_not_finite(samples, self.name, self.sample_rate)
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    def __repr__(self) -> str:
        return f"Audio({self.name!r}, {self.n_channels} channel(s), {self.duration_s:.2f} s at {self.sample_rate} Hz)"

    @property
    def n_channels(self) -> int:
        """How many channels there are."""
        return self.samples.shape[0]

    @property
    def n_samples(self) -> int:
        """How many samples each channel has."""
        return self.samples.shape[1]

    @property
    def duration_s(self) -> float:
        """How long the sound lasts, in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def level_db(self) -> float:
        """Root mean square over all channels, in dB relative to full scale; minus infinity for silence."""
        rms = float(torch.linalg.vector_norm(self.samples, dtype=torch.float64)) / math.sqrt(self.samples.numel())
        return 20 * math.log10(rms) if rms > 0 else -math.inf

    @property
    def sha256(self) -> str:
        """SHA-256 of the little-endian float32 samples, channel after channel."""
        return hashlib.sha256(self.samples.cpu().numpy().astype("<f4").tobytes()).hexdigest()

    def blocks(self, spans: Iterable[slice]) -> Iterator["Audio"]:
        """Cut out spans of samples."""
        for span in spans:
            yield replace(self, samples=self.samples[:, span])


def refuse_not_finite(samples: Tensor, name: str, sample_rate: int, *, start: int = 0) -> None:
    """Refuse samples (n_channels, n_samples), the first of which is the file's ``start``-th, that are no sound."""
    finite = torch.isfinite(samples).all(dim=0)
    if not finite.all():
        first_s = (start + int(torch.argmin(finite.to(torch.uint8)))) / sample_rate
        raise AudioError(f"{name}: holds NaN or infinite samples, first at {first_s:.3f} s; mend the audio")


def peak_exponent(*sounds: Audio) -> int:
    """Find the power of two that is just above every sample of these sounds; 0 for silence."""
    return math.frexp(max((float(sound.samples.abs().max()) for sound in sounds), default=0.0))[1]


def at_peak_of_one(sounds: Sequence[Audio]) -> list[Audio]:
    """Scale sounds alike, by a power of two, so that the loudest sample of all is from a half to one."""
    exponent = peak_exponent(*sounds)
    return [replace(sound, samples=scaled(sound.samples, -exponent)) for sound in sounds]


def scaled(samples: Tensor, exponent: int) -> Tensor:
    """Multiply by a power of two, which is exact as long as the result is no smaller than float32 can hold exactly.

    In two steps, since the factor itself may be beyond float32.
    """
    half = exponent // 2
    return samples * 2.0**half * 2.0 ** (exponent - half) if exponent else samples


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Change the rate: soxr's high quality on the CPU, torchaudio's Kaiser filter on a GPU.

    Returns
    -------
    Audio
        With ``round(n_samples * sample_rate / audio.sample_rate)`` samples, one at least.

    Raises
    ------
    AudioError
        If the rate is not above 0.
    """
    if sample_rate <= 0:
        raise AudioError(f"sample rate is {sample_rate} Hz; expected more than 0")
    if sample_rate == audio.sample_rate:
        return audio
    exponent = peak_exponent(audio)
    given = scaled(audio.samples, -exponent)  # filters overflow near the end of float32
    if audio.samples.is_cuda:
        resample_on_gpu = load("torchaudio.functional", "resample")
        kaiser = {"lowpass_filter_width": 64, "rolloff": 0.9476, "resampling_method": "sinc_interp_kaiser"}
        samples = resample_on_gpu(given, audio.sample_rate, sample_rate, **kaiser)
    else:
        # (n_samples, n_channels), laid out anew: before NumPy 2.4, soxr refuses a single sample of several channels
        rows = np.array(given.T.numpy(), order="C")
        resampled = soxr.resample(rows, audio.sample_rate, sample_rate)
        samples = torch.from_numpy(np.ascontiguousarray(resampled.T))
    n_samples = max(1, round(audio.n_samples * sample_rate / audio.sample_rate))
    samples = torch.nn.functional.pad(samples, (0, max(0, n_samples - samples.shape[1])))[:, :n_samples]
    return replace(audio, samples=scaled(samples, exponent), sample_rate=sample_rate)
