"""Files that ffmpeg decodes: whole ones are read, cut ones refused by what there is of sound, its failures told."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from sound_files import RATE, ffmpeg_makes, likeness, needs_ffmpeg, noise

from sepdict.audio.io import probe_audio, read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.errors import AudioFileError

PICTURE = ("-f", "lavfi", "-i", "color=black:s=16x16:r=5:d=3")
BOTH = ("-map", "0:v", "-map", "1:a", "-c:v", "mpeg4")


def program(folder: Path, name: str, script: str) -> None:
    """Put a program into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


# --- whole files


@needs_ffmpeg
@pytest.mark.parametrize("extension", [".mkv", ".mp4"])
def test_a_picture_that_is_longer_than_the_sound_cuts_nothing_short(
    tmp_path: Path, generator: torch.Generator, extension: str
) -> None:
    audio = noise(generator)
    path = ffmpeg_makes(tmp_path / f"a{extension}", audio, *BOTH, "-c:a", "aac", before=PICTURE)
    assert read_audio(path).duration_s == pytest.approx(audio.duration_s, abs=0.15)
    assert probe_audio(path).duration_s == pytest.approx(audio.duration_s, abs=0.15)


@needs_ffmpeg
@pytest.mark.parametrize("extension", [".mkv", ".mp4"])
def test_sound_that_begins_late_lines_up_with_the_picture(
    tmp_path: Path, generator: torch.Generator, extension: str
) -> None:
    audio = noise(generator)
    codec = "flac" if extension == ".mkv" else "alac"  # without a delay of their own
    before = (*PICTURE, "-itsoffset", "0.75")
    path = ffmpeg_makes(tmp_path / f"a{extension}", audio, *BOTH, "-c:a", codec, before=before)
    read = read_audio(path)
    n_late = round(0.75 * RATE)
    n_off = max(range(-40, 41), key=lambda n: likeness(Audio(read.samples[:, n_late + n :], RATE), audio))
    assert abs(n_off) <= 0.002 * RATE  # containers count in milliseconds
    assert float(read.samples[:, : n_late - 40].abs().max()) == 0
    assert probe_audio(path).duration_s == pytest.approx(read.duration_s, abs=0.15)


@needs_ffmpeg
def test_sound_by_itself_is_not_delayed(tmp_path: Path, generator: torch.Generator) -> None:
    audio = noise(generator)
    path = ffmpeg_makes(tmp_path / "a.ts", audio, "-c:a", "aac")  # its clock starts at 1.4 s
    assert read_audio(path).duration_s == pytest.approx(audio.duration_s, abs=0.15)


# --- cut files


@needs_ffmpeg
@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize(("name", "arguments"), [("a.mkv", ("-c:a", "flac")), ("a.wv", ()), ("a.tta", ())])
def test_what_ends_before_its_sound_does_is_refused(
    tmp_path: Path, generator: torch.Generator, name: str, arguments: tuple[str, ...], share: float
) -> None:
    path = ffmpeg_makes(tmp_path / name, noise(generator, n_samples=5 * RATE), *arguments)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(AudioFileError, match=r"cut short: its header promises 5\.0 s|soundfile or ffmpeg can read"):
        read_audio(path)


@needs_ffmpeg
@pytest.mark.parametrize("has_probe", [True, False])
def test_what_promises_nothing_is_refused_where_ffmpeg_finds_it_cut_short(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, has_probe: bool
) -> None:
    path = tmp_path / "a.mkv"
    arguments = ("-c:a", "flac", *(("-f", "matroska", "-live", "1") if has_probe else ()))
    ffmpeg_makes(path, noise(generator, n_samples=5 * RATE), *arguments)
    os.truncate(path, path.stat().st_size // 2)
    if not has_probe:
        ffmpeg = shutil.which("ffmpeg")
        assert ffmpeg
        program(tmp_path / "bin", "ffmpeg", f'exec {ffmpeg} "$@"')
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(AudioFileError, match="cut short") as refusal:
        read_audio(path)
    assert "@ 0x" not in str(refusal.value)


@needs_ffmpeg
def test_a_picture_cut_short_behind_the_end_of_the_sound_cuts_no_sound(
    tmp_path: Path, generator: torch.Generator
) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=4")
    path = ffmpeg_makes(tmp_path / "a.mkv", noise(generator), *BOTH, "-c:a", "flac", before=picture)
    os.truncate(path, path.stat().st_size - 3000)
    assert read_audio(path).duration_s == pytest.approx(1, abs=0.05)


# --- a program that fails

MISSING_LIBRARY = "echo 'ffmpeg: error while loading shared libraries: libx.so.5' >&2; exit 127"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder of an ffmpeg and an ffprobe that cannot start."""
    for name in ("ffmpeg", "ffprobe"):
        program(tmp_path / "broken", name, MISSING_LIBRARY)
    return tmp_path / "broken"


@needs_ffmpeg
@pytest.mark.parametrize("reader", [read_audio, probe_audio])
def test_an_ffmpeg_that_does_not_start_is_told_from_a_bad_file(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, broken: Path, reader: type
) -> None:
    path = ffmpeg_makes(tmp_path / "a.m4a", noise(generator))
    monkeypatch.setenv("PATH", str(broken))
    said = r"a\.m4a: ffmpeg does not start \(.*loading shared libraries: libx\.so\.5\); mend that program"
    with pytest.raises(AudioFileError, match=said):
        reader(path)


@needs_ffmpeg
def test_a_program_that_is_none_is_told_from_a_bad_file(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, broken: Path
) -> None:
    path = ffmpeg_makes(tmp_path / "a.m4a", noise(generator))
    for name in ("ffmpeg", "ffprobe"):
        (broken / name).write_bytes(b"\x7fELF" + bytes(100))
    monkeypatch.setenv("PATH", str(broken))
    with pytest.raises(AudioFileError, match=r"a\.m4a: ffmpeg does not start \(.*\); mend that program"):
        read_audio(path)


@pytest.mark.parametrize("extension", [".mp3", ".wav", ".flac", ".ogg", ".opus"])
def test_what_soundfile_reads_does_not_need_a_program_that_starts(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, broken: Path, extension: str
) -> None:
    path = write_audio(tmp_path / f"a{extension}", noise(generator))
    monkeypatch.setenv("PATH", str(broken))
    assert read_audio(path).n_samples == RATE + 1
    assert probe_audio(path).duration_s == read_audio(path).duration_s


@needs_ffmpeg
def test_an_mp3_without_a_table_does_not_need_a_program_that_starts(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, broken: Path
) -> None:
    path = ffmpeg_makes(tmp_path / "a.mp3", noise(generator), "-write_xing", "0")
    with_ffmpeg = read_audio(path)
    monkeypatch.setenv("PATH", str(broken))
    torch.testing.assert_close(read_audio(path).samples, with_ffmpeg.samples, rtol=0, atol=1e-5)


@needs_ffmpeg
@pytest.mark.parametrize("state", ["missing", "broken"])
def test_ffprobe_may_be_missing(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, broken: Path, state: str
) -> None:
    audio = noise(generator)
    path = ffmpeg_makes(tmp_path / "a.m4a", audio)
    program(broken, "ffmpeg", f'exec {shutil.which("ffmpeg")} "$@"')
    if state == "missing":
        (broken / "ffprobe").unlink()
    monkeypatch.setenv("PATH", str(broken))
    assert probe_audio(path).duration_s == read_audio(path).duration_s == pytest.approx(audio.duration_s, abs=0.15)


@needs_ffmpeg
def test_what_ffmpeg_cannot_read_is_told_in_its_own_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_text("this is not audio at all\n" * 100)
    said = r"a\.m4a: is no recording that soundfile or ffmpeg can read \(Invalid data found .*\); expected an audio"
    with pytest.raises(AudioFileError, match=said):
        read_audio(path)
