"""Row 1: sound as samples, in memory and in files.

``Audio`` is what every other module takes and returns. Files go through soundfile; what that cannot
read (m4a, the sound of a video) goes through an installed ffmpeg program.
"""

import glob
import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from sepdict.errors import AudioError, AudioFileError
from sepdict.files import write_atomically

AUDIO_EXTENSIONS = {
    *(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".au", ".caf"),  # soundfile's
    *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mov"),  # ffmpeg's
}
"""What a folder is searched for; a file named one by one may have any extension."""

WRITTEN_FORMATS = {  # extension: (libsndfile's name of the container, of its most faithful encoding)
    ".wav": ("WAV", "FLOAT"),
    ".flac": ("FLAC", "PCM_24"),
    ".aif": ("AIFF", "FLOAT"),
    ".aiff": ("AIFF", "FLOAT"),
    ".w64": ("W64", "FLOAT"),
    ".rf64": ("RF64", "FLOAT"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
WAV_LIMIT_BYTES = 2**32 - 2**16  # a WAV header counts bytes in 32 bits; beyond, libsndfile loses samples silently
NOT_FOR_SOUNDFILE = (soundfile.LibsndfileError, TypeError, UnicodeEncodeError)  # TypeError: raw samples, no header
MALFORMED = 3  # libsndfile's code for a container that it knows, but not like this
UNKNOWN_SIZE = 0x7FFF0000  # a header that claims this much or more was written to a pipe: its size means nothing


@dataclass(frozen=True, eq=False)
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
        If there are no samples, or some are integers, NaN or infinite.

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
        if int(self.sample_rate) != self.sample_rate or self.sample_rate <= 0:
            raise AudioError(f"{self.name}: sample rate is {self.sample_rate} Hz; expected a whole number above 0")
        finite = torch.isfinite(samples).all(dim=0)
        if not finite.all():
            first_s = int(torch.argmin(finite.to(torch.uint8))) / self.sample_rate
            raise AudioError(f"{self.name}: holds NaN or infinite samples, first at {first_s:.3f} s; mend the audio")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

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
        rms = float(self.samples.square().mean().sqrt())
        return 20 * math.log10(rms) if rms > 0 else -math.inf

    @property
    def sha256(self) -> str:
        """SHA-256 of the little-endian float32 samples, channel after channel."""
        return hashlib.sha256(self.samples.cpu().numpy().astype("<f4").tobytes()).hexdigest()


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says of itself, known without decoding it."""

    n_channels: int
    sample_rate: int
    duration_s: float


def read_audio(path: str | Path) -> Audio:
    """Read a whole audio file.

    Returns
    -------
    Audio
        float32 at the file's own rate, all its channels; ``name`` is the file's name.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, cut short (MP3 and Ogg cannot tell), or holds NaN or infinite samples.
    """
    path = _existing_file(path)
    try:
        info = soundfile.info(path)
    except NOT_FOR_SOUNDFILE as error:
        if path.suffix.lower() == ".caf" and getattr(error, "code", 0) == MALFORMED:  # ffmpeg would read what is left
            raise AudioFileError(f"{path}: damaged or cut short ({_said(error)}); expected a whole file") from error
        samples, sample_rate = _decode_with_ffmpeg(path, reason=error)
    else:
        _refuse_truncated(path, info)
        try:
            samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{path}: damaged or cut short ({_said(error)}); expected a whole file") from error
    if samples.shape[0] == 0:
        raise AudioFileError(f"{path}: holds no samples")
    try:
        return Audio(torch.from_numpy(np.ascontiguousarray(samples.T)), sample_rate, path.name)
    except AudioError as error:
        raise AudioFileError(f"{path.parent / str(error)}") from error


def probe_audio(path: str | Path) -> AudioInfo:
    """Look at a file's channels, rate and duration without decoding it.

    Raises
    ------
    AudioFileError
        If the file is missing, empty or not audio.
    """
    path = _existing_file(path)
    try:
        info = soundfile.info(path)
        return AudioInfo(info.channels, info.samplerate, info.frames / info.samplerate)
    except NOT_FOR_SOUNDFILE as error:
        stream = _probe_with_ffmpeg(path, reason=error)
    if stream["duration_s"] is None:  # a stream recorded to a pipe: only decoding tells
        audio = read_audio(path)
        return AudioInfo(audio.n_channels, audio.sample_rate, audio.duration_s)
    return AudioInfo(int(stream["channels"]), int(stream["sample_rate"]), stream["duration_s"])


def write_audio(path: str | Path, audio: Audio, *, encoding: str | None = None) -> Path:
    """Write an audio file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Its extension chooses the format: wav, flac, aiff, w64, rf64, ogg, opus or mp3.
    audio : Audio
    encoding : str, optional
        libsndfile's name, such as ``"PCM_16"``; by default the most faithful one of the format
        (32-bit float for WAV). A WAV too long for its 32-bit header is written as RF64.

    Returns
    -------
    Path
        The absolute path of the file written.

    Raises
    ------
    AudioFileError
        If the extension is unknown, the samples would clip, or the file cannot be written.
    """
    path = Path(path).absolute()
    if path.suffix.lower() not in WRITTEN_FORMATS:
        raise AudioFileError(f"{path}: unknown extension {path.suffix!r}; expected one of {', '.join(WRITTEN_FORMATS)}")
    container, faithful = WRITTEN_FORMATS[path.suffix.lower()]
    encoding = (encoding or faithful).upper()
    peak = float(audio.samples.abs().max())
    if encoding not in ("FLOAT", "DOUBLE") and peak > 1:
        raise AudioFileError(f"{path}: peak is {peak:.3f} and {encoding} clips above 1; write 32-bit float, or scale")
    if container == "WAV" and audio.samples.numel() * 8 > WAV_LIMIT_BYTES:  # 8 bytes: the widest encoding
        container = "RF64"
    content = io.BytesIO()
    try:
        samples = audio.samples.T.cpu().numpy()  # (n_samples, n_channels)
        soundfile.write(content, samples, audio.sample_rate, format=container, subtype=encoding)
        write_atomically(path, content.getvalue())
    except (soundfile.LibsndfileError, ValueError) as error:
        what = f"{audio.n_channels} channels at {audio.sample_rate} Hz"
        raise AudioFileError(f"{path}: {container} {encoding} cannot hold {what} ({_said(error)})") from error
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    return path


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
    if audio.samples.is_cuda:
        from torchaudio.functional import resample as resample_on_gpu  # here: its binary may not load everywhere

        kaiser = {"lowpass_filter_width": 64, "rolloff": 0.9476, "resampling_method": "sinc_interp_kaiser"}
        samples = resample_on_gpu(audio.samples, audio.sample_rate, sample_rate, **kaiser)
    else:
        resampled = soxr.resample(audio.samples.T.numpy(), audio.sample_rate, sample_rate)  # (n_samples, n_channels)
        samples = torch.from_numpy(np.ascontiguousarray(resampled.T))
    n_samples = max(1, round(audio.n_samples * sample_rate / audio.sample_rate))
    samples = torch.nn.functional.pad(samples, (0, max(0, n_samples - samples.shape[1])))[:, :n_samples]
    return replace(audio, samples=samples, sample_rate=sample_rate)


def find_audio_files(paths: Iterable[str | Path]) -> list[Path]:
    """Expand folders (not their subfolders) and patterns such as ``"*.wav"`` to audio files, in name order.

    Raises
    ------
    AudioFileError
        If a path does not exist, a folder holds no audio, or a pattern matches nothing.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if os.path.isdir(path):  # unlike Path.is_dir, also False for a name no file can have
            inside = sorted(file for file in path.iterdir() if _is_audio_by_name(file))
            if not inside:
                raise AudioFileError(f"{path}: holds no audio file; expected wav, flac, mp3, ogg, m4a or the like")
            found += inside
        elif os.path.exists(path):
            found.append(path)
        elif matches := sorted(glob.glob(str(path))):
            found += map(Path, matches)
        else:
            raise AudioFileError(f"{path}: no such file or folder")
    return list(dict.fromkeys(found))


def _is_audio_by_name(path: Path) -> bool:
    """Tell whether a folder's entry is worth reading; hidden files are not."""
    return path.suffix.lower() in AUDIO_EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _existing_file(path: str | Path) -> Path:
    """Refuse what is not a file with something in it."""
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, also False for a name no file can have
        raise AudioFileError(f"{path}: no such file")
    if not path.is_file():
        raise AudioFileError(f"{path}: is not a file; expected an audio file")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes); expected an audio file")
    return path


def _refuse_truncated(path: Path, info: Any) -> None:
    """Compare the data size that a header claims with what is there; libsndfile reads such files without a word."""
    for promised, there in re.findall(r":\s*(\d+) \(should be (\d+)\)", info.extra_info):
        if int(there) < int(promised) < UNKNOWN_SIZE:
            raise AudioFileError(f"{path}: cut short: its header promises {promised} bytes, {there} are there")


def _decode_with_ffmpeg(path: Path, *, reason: Exception) -> tuple[np.ndarray, int]:
    """Decode the first sound track to float32, (n_samples, n_channels), and its rate."""
    arguments = ["-nostdin", "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    decoded = _run_ffmpeg("ffmpeg", arguments, path=path, reason=reason)
    samples, sample_rate = soundfile.read(io.BytesIO(decoded), dtype="float32", always_2d=True)
    promised_s, there_s = _probe_with_ffmpeg(path, reason=reason)["duration_s"], len(samples) / sample_rate
    if promised_s is not None and there_s < promised_s - 0.5:  # half a second: more than any codec's padding
        raise AudioFileError(f"{path}: cut short: its header promises {promised_s:.1f} s, {there_s:.1f} s are there")
    return samples, sample_rate


def _probe_with_ffmpeg(path: Path, *, reason: Exception) -> dict[str, Any]:
    """Ask for the first sound track's ``channels``, ``sample_rate`` and ``duration_s``, None where unknown."""
    entries = "stream=sample_rate,channels,duration:format=duration"
    arguments = ["-select_streams", "a:0", "-show_entries", entries, "-of", "json", f"file:{path}"]
    answer = json.loads(_run_ffmpeg("ffprobe", arguments, path=path, reason=reason))
    if not answer.get("streams"):
        raise AudioFileError(f"{path}: has no sound track")
    stream: dict[str, Any] = answer["streams"][0]
    duration_s = stream.get("duration") or answer.get("format", {}).get("duration")
    return stream | {"duration_s": None if duration_s is None else float(duration_s)}


def _run_ffmpeg(program: str, arguments: list[str], *, path: Path, reason: Exception) -> bytes:
    """Run ffmpeg or ffprobe on a local file, and say in one line why nothing could read it."""
    found = shutil.which(program)
    if found is None:
        raise AudioFileError(f"{path}: soundfile cannot read it; if it is sound, install ffmpeg") from reason
    command = [found, "-v", "error", "-protocol_whitelist", "file,pipe", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0 or not done.stdout:
        raise AudioFileError(f"{path}: neither soundfile nor ffmpeg can read it; expected an audio file") from reason
    return done.stdout


def _said(error: Exception) -> str:
    """Strip libsndfile's prefixes from its message."""
    return str(error).rsplit("Error : ", 1)[-1].rsplit(": ", 1)[-1].strip()
