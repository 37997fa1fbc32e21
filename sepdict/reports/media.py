"""Spectrograms of sounds as pictures, and small copies of them to embed in a page.

Files are read block by block. Of long sounds only the beginning is shown.
"""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import torch
from torch import Tensor

from sepdict.audio.io import open_audio
from sepdict.audio.overlap_add import Mixture
from sepdict.audio.signal import resample
from sepdict.audio.writing import AT_ONCE
from sepdict.spectral.pooling import Columns
from sepdict.spectral.stft import StftConfig, magnitude, stft

Key = TypeVar("Key")

SHOWN_S = 300.0  # of longer files, the beginning: a song, and no more than a browser can hold decoded
N_COLUMNS = 1200  # of a picture: what a laptop's screen is wide
N_ROWS = 128  # of a picture
LOWEST_HZ, HIGHEST_HZ = 50.0, 16000.0  # where music and speech are; the player marks what is in between
WINDOW_S = 0.064  # seconds: shows harmonics and onsets alike
BLOCK_FRAMES = 1024  # read and transformed at once
FAINTEST_DB = -75.0  # below the mixture's loudest: black in spectrograms and masks
CLIPPED = 0.99  # peaks of embedded copies
LOUDEST = 0.999  # of all points of a spectrogram are softer than white
LOSSLESS_BYTES = 12_000_000  # of 16-bit samples in one page; beyond, they are compressed as MP3
N_COLOURS = 128  # of a picture, and black
BLACK = bytes(3)
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz; all that there are
MP3_COMPRESSION = 0.5  # of 1, at a variable bit rate: some 65 kbit/s for a channel of music at 44.1 kHz


@dataclass(frozen=True, eq=False)
class Look:
    """A file's spectrogram, pooled to the size of a picture, and its peak.

    Attributes
    ----------
    energy : Tensor, shape (N_ROWS, n_columns), >= 0
        Mean squared magnitude in bands of equal width in octaves, the lowest first.
    peak : float
        The largest sample's magnitude.
    shown_s : float
        How much of the file was looked at, in seconds.
    """

    energy: Tensor
    peak: float
    shown_s: float

    def softened(self, gain: float) -> "Look":
        """Look at the same with all samples multiplied by a gain."""
        return replace(self, energy=gain**2 * self.energy, peak=gain * self.peak)


def look_at(path: Path, *, shown_s: float | None = None, n_columns: int = N_COLUMNS) -> Look:
    """Compute the spectrogram of the first ``shown_s`` seconds of a file.

    Raises
    ------
    AudioFileError
        As `open_audio` does.
    """
    with open_audio(path) as reader:
        return look(reader, shown_s=shown_s, n_columns=n_columns)


def look(sound: Mixture, *, shown_s: float | None = None, n_columns: int = N_COLUMNS) -> Look:
    """Compute the spectrogram of the first ``shown_s`` seconds of a sound, block by block, in at most ``n_columns``."""
    n_shown = _n_shown(sound, shown_s)
    config = _stft_config(sound.sample_rate)
    hop, n_new = config.hop_length, BLOCK_FRAMES * config.hop_length
    starts = range(0, n_shown, n_new)
    # one window more on both sides makes the frames complete; it is a multiple of the hop
    spans = [slice(max(0, s - config.n_fft), min(n_shown, s + n_new + config.n_fft)) for s in starts]
    rows = _rows(config, sound.sample_rate)
    columns = Columns(n_shown / sound.sample_rate, min(n_columns, max(1, n_shown // hop)))
    peak = 0.0
    for start, span, block in zip(starts, spans, sound.blocks(spans), strict=True):
        peak = max(peak, float(block.samples.abs().max()))
        energy = magnitude(stft(block.samples.cpu(), config)).square().mean(dim=0)  # (n_bins, n_frames)
        first = (start - span.start) // hop
        energy = rows @ energy[:, first : first + BLOCK_FRAMES]  # (N_ROWS, n_new_frames)
        columns.add((start + hop * torch.arange(energy.shape[1])) / sound.sample_rate, energy)
    return Look(columns.means(), peak, n_shown / sound.sample_rate)


def is_lossless(n_files: int, sound: Mixture) -> bool:
    """Return True if ``n_files`` of this form are small enough to be embedded in 16 bits without compression."""
    n_channels = sound.n_channels if sound.n_channels <= 2 else 1
    return 2 * n_files * n_channels * _n_shown(sound) <= LOSSLESS_BYTES


def embedded_rate(sample_rate: int) -> int:
    """Return the rate of an embedded copy in Hz: the file's own or the next lower one that every browser takes."""
    return max((rate for rate in MP3_RATES if rate <= sample_rate), default=MP3_RATES[0])


def sound_url(path: Path, *, gain: float, lossless: bool) -> str:
    """Copy the beginning of a file, up to `SHOWN_S`, into a data URL, as `encode_sound` does."""
    with open_audio(path) as reader:
        return encode_sound(reader, gain=gain, lossless=lossless)


def encode_sound(sound: Mixture, *, gain: float, lossless: bool, shown_s: float | None = None) -> str:
    """Copy the first ``shown_s`` seconds of a sound into a data URL.

    Parameters
    ----------
    sound : Mixture
    gain : float
        Factor of all samples: these formats clip above 1.
    lossless : bool
        FLAC of 16 bits, or else MP3.
    shown_s : float, optional
        By default `SHOWN_S`.

    Returns
    -------
    str
        At `embedded_rate`; more than two channels are mixed to one.
    """
    (audio,) = sound.blocks([slice(0, _n_shown(sound, shown_s))])
    audio = resample(audio, embedded_rate(audio.sample_rate))
    samples = audio.samples if audio.n_channels <= 2 else audio.samples.mean(dim=0, keepdim=True)
    samples = (gain * samples).clamp(-1, 1).cpu()  # resampling may exceed the peak
    form: dict[str, Any] = {"samplerate": audio.sample_rate, "channels": len(samples)}
    if lossless:
        form |= {"format": "FLAC", "subtype": "PCM_16"}
    else:
        form |= {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE"}
        form |= {"compression_level": MP3_COMPRESSION}
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", **form) as file:
        for block in samples.split(AT_ONCE, dim=1):
            file.write(block.T.numpy())
    return _data_url("audio/flac" if lossless else "audio/mpeg", content.getvalue())


def loudest(energy: Tensor) -> float:
    """Find the energy that hardly any point of a spectrogram exceeds; 1 in silence."""
    return float(energy.flatten().quantile(LOUDEST)) or float(energy.max()) or 1.0


def spectrogram(energy: Tensor, reference: float) -> bytes:
    """Draw a spectrogram as a PNG, from black to white where it is as loud as the reference energy."""
    return picture(10 * torch.log10(energy / reference), "magma", lowest=FAINTEST_DB, highest=0)


def masks_of(energies: Mapping[Key, Tensor], mixture: Tensor) -> dict[Key, Tensor]:
    """Compute each stem's share of every bin from the stems' energies; nan where the mixture is silent."""
    total = sum(energy.sqrt() for energy in energies.values())
    audible = mixture > loudest(mixture) * 10 ** (FAINTEST_DB / 10)
    return {key: torch.where(audible, energy.sqrt() / total, torch.nan) for key, energy in energies.items()}


def mask_picture(mask: Tensor) -> bytes:
    """Draw a mask as a PNG, white where a stem has all of the mixture."""
    return picture(mask, "gray", lowest=0, highest=1)


def picture(values: Tensor, colors: str, *, lowest: float, highest: float) -> bytes:
    """Draw values (n_rows, n_columns), the first row at the bottom, as a PNG; nan is black.

    ``colors`` is the name of one of matplotlib's color maps, which spans from the lowest to the highest value.
    """
    from matplotlib import colormaps
    from PIL import Image  # matplotlib's own writer takes three times the room

    palette = colormaps[colors](np.linspace(0, 1, N_COLOURS), bytes=True)[:, :3]
    shares = ((values - lowest) / (highest - lowest)).clamp(0, 1).flipud()
    indices = torch.where(shares.isnan(), N_COLOURS, (shares * (N_COLOURS - 1)).round()).to(torch.uint8)
    image = Image.fromarray(indices.numpy(), mode="P")
    image.putpalette(palette.tobytes() + BLACK)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


def picture_url(content: bytes) -> str:
    """Put a PNG into a data URL."""
    return _data_url("image/png", content)


def _data_url(kind: str, content: bytes) -> str:
    """Write a file's content as a URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _n_shown(sound: Mixture, shown_s: float | None = None) -> int:
    """Return the number of samples in the first ``shown_s`` seconds, by default `SHOWN_S`, at most all."""
    return round(min(sound.n_samples, max(1.0, (SHOWN_S if shown_s is None else shown_s) * sound.sample_rate)))


def _stft_config(sample_rate: int) -> StftConfig:
    """Choose a power of two near `WINDOW_S`, three quarters overlapping."""
    n_fft = min(max(2 ** round(math.log2(sample_rate * WINDOW_S)), 16), 2**17)
    return StftConfig(n_fft=n_fft, hop_length=n_fft // 4)


def _rows(config: StftConfig, sample_rate: int) -> Tensor:
    """Average bins into rows of equal width in octaves, or where they are narrower than a bin take the nearest.

    Returns
    -------
    Tensor, shape (N_ROWS, n_bins), each row summing to one
    """
    highest_hz = min(HIGHEST_HZ, sample_rate / 2)
    lowest_hz = min(LOWEST_HZ, highest_hz / 8)
    edges_hz = torch.logspace(math.log10(lowest_hz), math.log10(highest_hz), N_ROWS + 1, dtype=torch.float64)
    bin_hz = torch.arange(config.n_bins) * sample_rate / config.n_fft
    inside = (bin_hz >= edges_hz[:-1, None]) & (bin_hz < edges_hz[1:, None])  # (N_ROWS, n_bins)
    centers_hz = (edges_hz[:-1] * edges_hz[1:]).sqrt()
    nearest = torch.nn.functional.one_hot((bin_hz - centers_hz[:, None]).abs().argmin(dim=1), config.n_bins)
    weights = torch.where(inside.any(dim=1, keepdim=True), inside.long(), nearest).float()
    return weights / weights.sum(dim=1, keepdim=True)
