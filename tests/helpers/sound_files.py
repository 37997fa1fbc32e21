"""Sound files that tests make for themselves."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import torch

from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio

RATE = 16000
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg is not installed"
)


def noise(generator: torch.Generator, n_channels: int = 2, n_samples: int = RATE + 1, peak: float = 0.9) -> Audio:
    """A second and one sample of noise without the treble that lossy formats leave out."""
    spectrum = torch.fft.rfft(torch.randn(n_channels, n_samples, generator=generator))
    spectrum[:, n_samples // 8 :] = 0
    samples = torch.fft.irfft(spectrum, n_samples)
    return Audio(peak * samples / samples.abs().max(), RATE, "noise")


def likeness(one: Audio, other: Audio) -> float:
    """Cosine between two sounds that may differ in length, one for equal ones; a late one is not alike."""
    n_samples = min(one.n_samples, other.n_samples)
    return float(
        torch.cosine_similarity(one.samples[:, :n_samples].flatten(), other.samples[:, :n_samples].flatten(), dim=0)
    )


def ffmpeg_makes(path: Path, audio: Audio, *arguments: str | Path, before: tuple[str, ...] = ()) -> Path:
    """Have ffmpeg write a file; arguments before the sound may name a picture."""
    wav = write_audio(path.with_name(f"{path.name}.source.wav"), audio)
    command = ["ffmpeg", "-nostdin", "-v", "error", *before, "-i", wav, *arguments, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    wav.unlink()
    return path


def chunk(name: bytes, content: bytes, counted: int | None = None) -> bytes:
    """Put together a chunk of a WAV file, which may count something else than what it holds."""
    return name + struct.pack("<I", len(content) if counted is None else counted) + content


def wav_bytes(audio: Audio, *behind: bytes, riff: int | None = None, data: int | None = None) -> bytes:
    """Write 16 bits with sizes as wanted, and chunks or anything else behind the sound."""
    samples = (audio.samples.T * 32768).round().short().numpy().tobytes()
    n_channels, width = audio.n_channels, 2 * audio.n_channels
    form = struct.pack("<HHIIHH", 1, n_channels, audio.sample_rate, width * audio.sample_rate, width, 16)
    content = b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", samples, data) + b"".join(behind)
    return chunk(b"RIFF", content, riff)
