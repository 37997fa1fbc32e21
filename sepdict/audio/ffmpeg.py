"""An installed ffmpeg program, for what libsndfile cannot read: m4a, the sound of a video.

A failure of the program is not one of the file: a program that fails is asked for its version.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sepdict.errors import AudioFileError

MOST_ANSWER_BYTES = 2**20  # a longer answer is cut, and so is none
LATE_S = 0.1  # seconds: a codec's delay is less
FROM_THE_START = f"aresample=first_pts=0:min_comp={LATE_S}:min_hard_comp=1000000000"  # and nothing after that


class _DoesNotRunError(AudioFileError):
    """A program that fails whatever the file."""


@dataclass(frozen=True)
class SoundTrack:
    """What ffprobe says of a sound track.

    Attributes
    ----------
    n_channels, sample_rate : int
    sound_ends_s : float or None
        When the sound ends, as far as its own stream says so, silence in front of a late one included.
    ends_s : float or None
        The same, or if only one stream is there how long the file lasts.
    """

    n_channels: int
    sample_rate: int
    sound_ends_s: float | None
    ends_s: float | None


def decode(path: Path, target: Path, *, reason: Exception) -> str:
    """Decode the first sound track into a WAV file of 32-bit floats, or where that would be too long an RF64.

    Sound that begins later than the picture is preceded by so much silence.

    Returns
    -------
    str
        The last of what ffmpeg remarked on, if anything.

    Raises
    ------
    AudioFileError
        If ffmpeg is not installed, does not start or cannot read the file; ``reason`` is why it was asked.
    """
    arguments = ["-nostdin", "-i", f"file:{path}", "-map", "0:a:0", "-af", FROM_THE_START, "-c:a", "pcm_f32le"]
    done = _run("ffmpeg", [*arguments, "-f", "wav", "-rf64", "auto", f"file:{target}"], path=path, reason=reason)
    return _last_line(done.stderr, path)


def probe(path: Path, *, reason: Exception) -> SoundTrack | None:
    """Ask ffprobe for the first sound track; None if that program is not there or does not start.

    Raises
    ------
    AudioFileError
        If ffmpeg is not installed, or the file is none that it reads.
    """
    if shutil.which("ffprobe") is None and shutil.which("ffmpeg") is not None:
        return None
    entries = "stream=sample_rate,channels,duration,start_time:stream_tags:format=duration,start_time,nb_streams"
    arguments = ["-select_streams", "a:0", "-show_entries", entries, "-of", "json", f"file:{path}"]
    try:
        done = _run("ffprobe", arguments, path=path, reason=reason)
    except _DoesNotRunError:
        return None
    answer = json.loads(done.stdout or b"{}")
    if not answer.get("streams"):
        raise AudioFileError(f"{path}: has no sound track")
    stream, container = answer["streams"][0], answer.get("format", {})
    is_estimate = b"Estimating duration from bitrate" in done.stderr
    sound_ends_s = None if is_estimate else _sound_ends_s(stream, container)
    alone_s = None if is_estimate or container.get("nb_streams") != 1 else _seconds(container.get("duration"))
    channels, sample_rate = int(stream["channels"]), int(stream["sample_rate"])
    return SoundTrack(channels, sample_rate, sound_ends_s, alone_s if sound_ends_s is None else sound_ends_s)


def _sound_ends_s(stream: dict[str, Any], container: dict[str, Any]) -> float | None:
    """Add up how late a stream begins and how long it says itself that it lasts."""
    duration_s = _seconds(stream.get("duration"))
    starts_s, first_s = (_seconds(each.get("start_time")) or 0.0 for each in (stream, container))
    late_s = starts_s - first_s if starts_s - first_s > LATE_S else 0.0
    if duration_s is not None:
        return duration_s + late_s
    tags = {name.upper(): value for name, value in stream.get("tags", {}).items()}
    return next((_seconds(value) for name, value in tags.items() if name.startswith("DURATION")), None)


def _seconds(text: str | None) -> float | None:
    """Read seconds as ffprobe writes them, or as Matroska's tags do: ``00:00:04.5``."""
    if text is None or not re.fullmatch(r"-?(\d+:)*\d+(\.\d+)?", text):
        return None
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def why_not(program: str) -> str | None:
    """Find out why ``ffmpeg`` or ``ffprobe`` does not run; None if it does."""
    found = shutil.which(program)
    if found is None:
        return "is not installed"
    try:
        done = subprocess.run([found, "-version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        return f"does not start ({error.strerror})"
    return f"does not start ({_last_line(done.stderr) or _ended(done)})" if done.returncode else None


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


def _run(program: str, arguments: list[str], *, path: Path, reason: Exception) -> subprocess.CompletedProcess[bytes]:
    """Run a program on a local file, and say in one line why nothing could read it."""
    found = shutil.which(program)
    if found is None:
        what = f"soundfile cannot read it ({str(reason).rsplit(': ', 1)[-1].rstrip('.')})"
        raise AudioFileError(f"{path}: {what}; if it is sound, install ffmpeg") from reason
    level = "warning" if program == "ffprobe" else "error"
    command = [found, "-v", level, "-protocol_whitelist", "file,pipe", *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise _DoesNotRunError(f"{path}: {program} does not start ({error.strerror}); mend that program") from reason
    if done.returncode == 0:
        return done
    if broken := why_not(program):
        raise _DoesNotRunError(f"{path}: {program} {broken}; mend that program") from reason
    said = _last_line(done.stderr, path) or _ended(done)
    what = f"is no recording that soundfile or ffmpeg can read ({said}); expected an audio or video file"
    raise AudioFileError(f"{path}: {what}") from reason


def _ended(done: subprocess.CompletedProcess[bytes]) -> str:
    """Say how a program ended that said nothing."""
    return f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"


def _last_line(output: bytes, path: Path | None = None) -> str:
    """Take the last line of what a program said, without the file's name and what no terminal should see."""
    lines = output.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    for name in (f"file:{path}: ", f"{path}: "):
        last = last.removeprefix(name)
    last = re.sub(r"^\[([\w,]+) @ 0x[0-9a-f]+\] ", r"\1: ", last)  # not where in memory
    return "".join(letter if letter.isprintable() else "?" for letter in last)
