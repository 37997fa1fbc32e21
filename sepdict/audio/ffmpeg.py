"""An installed ffmpeg program, for what libsndfile cannot read: m4a, the sound of a video.

A failure of the program is not one of the file: a program that fails is asked for its version.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sepdict.errors import AudioFileError

MOST_ANSWER_BYTES = 2**20  # of tags; a longer answer is cut, and then not read at all
PATIENCE_S = 30.0  # for a program to print its version
LOCAL_FILES = ("-protocol_whitelist", "file,pipe")  # a playlist must not make it open addresses
LATE_S = 0.1  # seconds: a codec's delay is less
FROM_THE_START = f"aresample=first_pts=0:min_comp={LATE_S}:min_hard_comp=1000000000"  # and nothing after that


class _BrokenProgramError(AudioFileError):
    """A program that does not run, whatever the file."""


@dataclass(frozen=True)
class SoundTrack:
    """The facts that ffprobe finds of a sound track.

    Attributes
    ----------
    n_channels, sample_rate : int
    sound_ends_s : float or None
        When the sound ends, if its own stream has a duration; counted from the start of the file.
    ends_s : float or None
        The same, or the duration of the file if this is its only stream.
    """

    n_channels: int
    sample_rate: int
    sound_ends_s: float | None
    ends_s: float | None


def decode(path: Path, target: Path, *, reason: Exception) -> str:
    """Decode the first sound track into a WAV file of 32-bit floats, or an RF64 file where that would be too long.

    Sound that starts late in its file starts equally late in the decoded one, after silence.

    Returns
    -------
    str
        The last line of ffmpeg's warnings; empty where there are none.

    Raises
    ------
    AudioFileError
        If ffmpeg is not installed, does not start or cannot read the file. ``reason`` is why soundfile does not do.
    """
    arguments = ["-nostdin", "-i", f"file:{path}", "-map", "0:a:0", "-af", FROM_THE_START, "-c:a", "pcm_f32le"]
    done = _run("ffmpeg", [*arguments, "-f", "wav", "-rf64", "auto", f"file:{target}"], path=path, reason=reason)
    return _last_line(done.stderr, path)


def probe(path: Path, *, reason: Exception) -> SoundTrack | None:
    """Ask ffprobe for facts of the first sound track; return None if that program is missing or does not start.

    Raises
    ------
    AudioFileError
        If ffmpeg is not installed, or cannot read the file.
    """
    if shutil.which("ffprobe") is None and shutil.which("ffmpeg") is not None:
        return None
    entries = "stream=sample_rate,channels,duration,start_time:stream_tags:format=duration,start_time,nb_streams"
    arguments = ["-select_streams", "a:0", "-show_entries", entries, "-of", "json", f"file:{path}"]
    try:
        done = _run("ffprobe", arguments, path=path, reason=reason)
    except _BrokenProgramError:
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
    """Add the start of a stream and its duration, if it has one."""
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


@dataclass(frozen=True)
class Program:
    """An installed program.

    Attributes
    ----------
    path : str or None
        None if it is not installed.
    version : str
        As the program gives it; may be empty.
    fault : str or None
        Why it does not run; None if it does.
    """

    path: str | None
    version: str = ""
    fault: str | None = None


def find_program(name: str) -> Program:
    """Find ``ffmpeg`` or ``ffprobe``, and run it once for its version."""
    found = shutil.which(name)
    if found is None:
        return Program(None)
    try:
        done = _call(found, ["-version"], timeout_s=PATIENCE_S)
    except OSError as error:
        return Program(found, fault=error.strerror)
    except subprocess.TimeoutExpired:
        return Program(found, fault=f"no answer within {PATIENCE_S:g} s")
    if done.returncode:
        return Program(found, fault=_last_line(done.stderr) or _exit_of(done))
    words = done.stdout.decode(errors="replace").split()  # "ffmpeg version 5.1.6 Copyright ..."
    return Program(found, words[2] if len(words) > 2 else "")


def layout_and_tags(path: Path) -> tuple[str, dict[str, str]]:
    """Ask ffprobe for the channel layout of the first sound track, and for tags; empty where it does not answer."""
    entries = "stream=channel_layout:stream_tags:format_tags"
    arguments = ["-v", "error", *LOCAL_FILES, "-select_streams", "a:0", "-show_entries", entries]
    try:
        done = _call(shutil.which("ffprobe") or "", [*arguments, "-of", "json", f"file:{path}"])
        answer = json.loads(done.stdout[:MOST_ANSWER_BYTES])
        stream = answer["streams"][0]
        tags = {**stream.get("tags", {}), **answer.get("format", {}).get("tags", {})}
    except (OSError, ValueError, LookupError):
        return "", {}
    return stream.get("channel_layout", ""), {name.lower(): _unicode(value) for name, value in tags.items()}


def _unicode(text: str) -> str:
    """Replace lone surrogates."""
    return text.encode(errors="replace").decode()


def _run(program: str, arguments: list[str], *, path: Path, reason: Exception) -> subprocess.CompletedProcess[bytes]:
    """Run a program on a local file; where it fails, raise an error that tells a broken program from a broken file."""
    found = shutil.which(program)
    if found is None:
        what = f"soundfile cannot read it ({str(reason).rsplit(': ', 1)[-1].rstrip('.')})"
        raise AudioFileError(f"{path}: {what}; if it is sound, install ffmpeg") from reason
    level = "warning" if program == "ffprobe" else "error"
    try:
        done = _call(found, ["-v", level, *LOCAL_FILES, *arguments])
    except OSError as error:
        raise _BrokenProgramError(f"{path}: {program} does not start ({error.strerror}); mend that program") from reason
    if done.returncode == 0:
        return done
    if fault := find_program(program).fault:
        raise _BrokenProgramError(f"{path}: {program} does not start ({fault}); mend that program") from reason
    said = _last_line(done.stderr, path) or _exit_of(done)
    what = f"is no recording that soundfile or ffmpeg can read ({said}); expected an audio or video file"
    raise AudioFileError(f"{path}: {what}") from reason


def _call(
    program: str, arguments: Sequence[str], *, timeout_s: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that reads nothing from this process, and keep what it prints."""
    return subprocess.run(
        [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=timeout_s
    )


def _exit_of(done: subprocess.CompletedProcess[bytes]) -> str:
    """Describe how a program ended that printed nothing."""
    return f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"


def _last_line(output: bytes, path: Path | None = None) -> str:
    """Return the last line that a program printed, without the file's name and without control characters."""
    lines = output.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    for name in (f"file:{path}: ", f"{path}: "):
        last = last.removeprefix(name)
    last = re.sub(r"^\[([\w,]+) @ 0x[0-9a-f]+\] ", r"\1: ", last)  # not where in memory
    return "".join(letter if letter.isprintable() else "?" for letter in last)
