"""Sound as samples: every other module takes and returns ``Audio``."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import soxr
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from sepdict._core.notebook import ShownInNotebooks
from sepdict._core.on_demand import load
from sepdict._core.settings import checks_types, refuse_other_type
from sepdict.errors import AudioError

Samples: TypeAlias = NDArray[np.floating[Any]] | Tensor

MOST_CHANNELS = 1024  # libsndfile allows no more in a file; more are samples in need of a transpose


@dataclass(frozen=True, eq=False, repr=False)
class Audio(ShownInNotebooks):
    """Samples and their rate.

    ``np.asarray(audio)`` gives the samples as a NumPy array, shape (n_channels, n_samples), that cannot be written to.

    Parameters
    ----------
    samples : array or Tensor, shape (n_channels, n_samples) or (n_samples,)
        Floating point, full scale at -1 and 1 (larger values are kept, never clipped). Becomes a float32 tensor
        of shape (n_channels, n_samples).
    sample_rate : int
        In Hz.
    name : str
        Name in records and messages, such as the file's.

    Raises
    ------
    AudioError
        If there are no samples, some are integers, NaN or infinite, or there are more than `MOST_CHANNELS` channels.

    Examples
    --------
    >>> audio = Audio(np.zeros(16000), 8000)
    >>> audio.samples.shape, audio.duration_s, audio.seconds(0.5, 1.5).duration_s
    (torch.Size([1, 16000]), 2.0, 1.0)
    """

    samples: Tensor
    sample_rate: int
    name: str = "audio"

    if TYPE_CHECKING:  # arrays are given as well, but a tensor is what one finds

        def __init__(self, samples: Samples, sample_rate: int, name: str = "audio") -> None: ...

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

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        array = self.samples.cpu().numpy().view()
        array.flags.writeable = False  # it shares its memory with the samples
        return np.array(array, dtype=dtype, copy=copy)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.samples.shape[0]

    @property
    def n_samples(self) -> int:
        """Number of samples in each channel."""
        return self.samples.shape[1]

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def level_db(self) -> float:
        """Root mean square over all channels in dB relative to full scale; minus infinity for silence."""
        rms = float(torch.linalg.vector_norm(self.samples, dtype=torch.float64)) / math.sqrt(self.samples.numel())
        return 20 * math.log10(rms) if rms > 0 else -math.inf

    @property
    def sha256(self) -> str:
        """SHA-256 of the little-endian float32 samples, channel after channel."""
        return hashlib.sha256(self.samples.cpu().numpy().astype("<f4").tobytes()).hexdigest()

    @checks_types
    def seconds(self, start_s: float, end_s: float = math.inf) -> "Audio":
        """Cut out a part.

        Parameters
        ----------
        start_s, end_s : float
            In seconds from the beginning; an end beyond the last sample stands for the last sample.

        Returns
        -------
        Audio
            Samples from ``round(start_s * sample_rate)`` up to, not including, ``round(end_s * sample_rate)``.

        Raises
        ------
        AudioError
            If the part holds no sample of the sound.

        Examples
        --------
        >>> Audio(np.zeros(16000), 8000).seconds(1.5)
        Audio('audio', 1 channel(s), 0.50 s at 8000 Hz)
        """
        span = [
            round(min(at_s, self.duration_s) * self.sample_rate) for at_s in (start_s, end_s) if 0 <= start_s < end_s
        ]
        if not span or span[0] == span[1]:
            lasts = f"it lasts {self.duration_s:g} s"
            raise AudioError(
                f"{self.name}: no part from {start_s:g} to {end_s:g} s; {lasts}, and parts begin before they end"
            )
        return replace(self, samples=self.samples[:, slice(*span)])

    def blocks(self, spans: Iterable[slice]) -> Iterator["Audio"]:
        """Cut out spans of samples."""
        for span in spans:
            yield replace(self, samples=self.samples[:, span])


def refuse_not_finite(samples: Tensor, name: str, sample_rate: int, *, start: int = 0) -> None:
    """Refuse NaN and infinite samples, given (n_channels, n_samples) from sample number ``start`` of the sound on."""
    finite = torch.isfinite(samples).all(dim=0)
    if not finite.all():
        first_s = (start + int(torch.argmin(finite.to(torch.uint8)))) / sample_rate
        raise AudioError(f"{name}: holds NaN or infinite samples, first at {first_s:.3f} s; repair the audio")


def peak_exponent(*sounds: Audio) -> int:
    """Return the exponent of the smallest power of two above every sample of these sounds; 0 for silence."""
    return math.frexp(max((float(sound.samples.abs().max()) for sound in sounds), default=0.0))[1]


def at_peak_of_one(sounds: Sequence[Audio]) -> list[Audio]:
    """Scale all sounds by one power of two, so that the largest sample of all lies between a half and one."""
    exponent = peak_exponent(*sounds)
    return [replace(sound, samples=scaled(sound.samples, -exponent)) for sound in sounds]


def scaled(samples: Tensor, exponent: int) -> Tensor:
    """Multiply by two to the power of the exponent; exact unless the result falls below float32's normal range.

    Multiplies in two steps, because the factor itself may exceed float32.
    """
    half = exponent // 2
    return samples * 2.0**half * 2.0 ** (exponent - half) if exponent else samples


def resample(audio: Audio, sample_rate: int) -> Audio:
    """Change the sample rate, by soxr's high quality on the CPU and by torchaudio's Kaiser filter on a GPU.

    Returns
    -------
    Audio
        With ``round(n_samples * sample_rate / audio.sample_rate)`` samples, at least one.

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
        # (n_samples, n_channels), a contiguous copy: before NumPy 2.4, soxr refuses a single sample of several channels
        rows = np.array(given.T.numpy(), order="C")
        resampled = soxr.resample(rows, audio.sample_rate, sample_rate)
        samples = torch.from_numpy(np.ascontiguousarray(resampled.T))
    n_samples = max(1, round(audio.n_samples * sample_rate / audio.sample_rate))
    samples = torch.nn.functional.pad(samples, (0, max(0, n_samples - samples.shape[1])))[:, :n_samples]
    return replace(audio, samples=scaled(samples, exponent), sample_rate=sample_rate)
