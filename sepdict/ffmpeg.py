"""Row 0: an installed ffmpeg program, for what libsndfile cannot read: m4a, the sound of a video."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from sepdict.errors import AudioFileError

MOST_ANSWER_BYTES = 2**20  # a longer answer is cut, and so is none


def is_installed() -> bool:
    """Tell whether there is such a program."""
    return shutil.which("ffmpeg") is not None


def decode(path: Path, target: Path, *, reason: Exception) -> None:
    """Decode the first sound track into a WAV file of 32-bit floats, or where that would be too long an RF64.

    Raises
    ------
    AudioFileError
        If ffmpeg is not installed or cannot read the file; ``reason`` is why it was asked.
    """
    arguments = ["-nostdin", "-i", f"file:{path}", "-map", "0:a:0", "-c:a", "pcm_f32le"]
    _run("ffmpeg", [*arguments, "-f", "wav", "-rf64", "auto", f"file:{target}"], path=path, reason=reason)


def probe(path: Path, *, reason: Exception) -> dict[str, Any]:
    """Ask for the first sound track's ``channels``, ``sample_rate`` and ``duration_s``, None where unknown.

    Raises
    ------
    AudioFileError
        As `decode` does.
    """
    entries = "stream=sample_rate,channels,duration:format=duration"
    arguments = ["-select_streams", "a:0", "-show_entries", entries, "-of", "json", f"file:{path}"]
    answer = json.loads(_run("ffprobe", arguments, path=path, reason=reason) or b"{}")
    if not answer.get("streams"):
        raise AudioFileError(f"{path}: has no sound track")
    stream: dict[str, Any] = answer["streams"][0]
    duration_s = stream.get("duration") or answer.get("format", {}).get("duration")
    return stream | {"duration_s": None if duration_s is None else float(duration_s)}


def beside_the_sound(path: Path) -> tuple[str, dict[str, str]]:
    """Ask ffprobe how the first sound track lays its channels out, and for tags; nothing where it does not answer."""
    found = shutil.which("ffprobe")
    entries = "stream=channel_layout:stream_tags:format_tags"
    command = [found or "", "-v", "error", "-protocol_whitelist", "file,pipe", "-select_streams", "a:0"]
    command += ["-show_entries", entries, "-of", "json", f"file:{path}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        answer = json.loads(done.stdout[:MOST_ANSWER_BYTES])
        stream = answer["streams"][0]
        tags = {**stream.get("tags", {}), **answer.get("format", {}).get("tags", {})}
    except (OSError, ValueError, LookupError):
        return "", {}
    return stream.get("channel_layout", ""), {name.lower(): _unicode(value) for name, value in tags.items()}


def _unicode(text: str) -> str:
    """Replace what is no letter but half of one."""
    return text.encode(errors="replace").decode()


def _run(program: str, arguments: list[str], *, path: Path, reason: Exception) -> bytes:
    """Run a program on a local file, and say in one line why nothing could read it."""
    found = shutil.which(program)
    if found is None:
        raise AudioFileError(f"{path}: soundfile cannot read it; if it is sound, install ffmpeg") from reason
    command = [found, "-v", "error", "-protocol_whitelist", "file,pipe", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        what = "is no recording that soundfile or ffmpeg can read; expected an audio or video file"
        raise AudioFileError(f"{path}: {what}") from reason
    return done.stdout
