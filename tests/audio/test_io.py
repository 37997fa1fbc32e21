"""Recordings: what is written is what is read, what is damaged is refused, and a failed write leaves nothing behind."""

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sound_files import RATE, likeness, needs_ffmpeg, noise

import sepdict.audio.io
import sepdict.audio.writing
from sepdict._core.devices import seeded_generator
from sepdict.audio.discovery import find_audio_files
from sepdict.audio.formats import WRITTEN_FORMATS
from sepdict.audio.io import (
    as_audio,
    as_recordings,
    open_audio,
    probe_audio,
    read_audio,
    refuse_not_finite_file,
)
from sepdict.audio.signal import Audio, resample
from sepdict.audio.writing import write_audio, writing_audio
from sepdict.errors import AudioError, AudioFileError, ConfigError

CONTAINERS = {".au": "AU", ".caf": "CAF"}  # read and never written
EXACT = [".wav", ".aif", ".aiff", ".w64", ".rf64"]


def make(path: Path, audio: Audio, *arguments: str) -> Path:
    """Write what write_audio does not: AU and CAF with soundfile, the rest with ffmpeg."""
    if path.suffix in WRITTEN_FORMATS:
        return write_audio(path, audio)
    if path.suffix in CONTAINERS:
        soundfile.write(
            path, audio.samples.T.numpy(), audio.sample_rate, format=CONTAINERS[path.suffix], subtype="FLOAT"
        )
        return path
    wav = write_audio(path.with_suffix(".tmp.wav"), audio)
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, *arguments, path], check=True, stdin=subprocess.DEVNULL)
    wav.unlink()
    return path


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


# --- what is written is what is read


@pytest.mark.parametrize("n_channels", [1, 2, 5])
@pytest.mark.parametrize("extension", EXACT)
def test_formats_of_float_keep_every_bit(
    tmp_path: Path, generator: torch.Generator, extension: str, n_channels: int
) -> None:
    audio = noise(generator, n_channels, peak=3.7)  # beyond full scale, too
    read = read_audio(write_audio(tmp_path / f"a{extension}", audio))
    assert torch.equal(read.samples, audio.samples)
    assert read.samples.dtype == torch.float32
    assert (read.sample_rate, read.name) == (RATE, f"a{extension}")


@pytest.mark.parametrize(
    ("encoding", "step"),  # what one bit is worth; the companded ones have 13 and 12 bits below half of full scale
    [
        ("PCM_U8", 2**-7),
        ("PCM_16", 2**-15),
        ("PCM_24", 2**-23),
        ("PCM_32", 2**-23),  # a float32 has no more bits
        ("FLOAT", 0),
        ("DOUBLE", 0),
        ("ULAW", 2**-4),
        ("ALAW", 2**-4),
    ],
)
def test_every_wav_encoding_is_as_precise_as_its_bits(
    tmp_path: Path, generator: torch.Generator, encoding: str, step: float
) -> None:
    audio = noise(generator, peak=1.0)  # the very edge of what does not clip
    path = write_audio(tmp_path / "a.wav", audio, encoding=encoding)
    assert soundfile.info(path).subtype == encoding.upper()
    torch.testing.assert_close(read_audio(path).samples, audio.samples, rtol=0, atol=step)


@pytest.mark.parametrize("encoding", ["FLOAT", "float", "DOUBLE"])
def test_wav_encodings_of_float_do_not_clip(tmp_path: Path, generator: torch.Generator, encoding: str) -> None:
    audio = noise(generator, peak=3.7)
    assert torch.equal(read_audio(write_audio(tmp_path / "a.wav", audio, encoding=encoding)).samples, audio.samples)


@pytest.mark.parametrize("encoding", ["IMA_ADPCM", "MS_ADPCM"])
def test_wav_encodings_in_blocks_round_the_length_up(tmp_path: Path, generator: torch.Generator, encoding: str) -> None:
    audio = noise(generator)
    read = read_audio(write_audio(tmp_path / "a.wav", audio, encoding=encoding))
    assert audio.n_samples <= read.n_samples < audio.n_samples + 1024
    assert likeness(read, audio) > 0.99  # four bits per sample


@pytest.mark.parametrize(("encoding", "step"), [("PCM_16", 2**-15), (None, 2**-23)])
def test_flac_is_as_precise_as_its_bits(
    tmp_path: Path, generator: torch.Generator, encoding: str | None, step: float
) -> None:
    audio = noise(generator)
    read = read_audio(write_audio(tmp_path / "a.flac", audio, encoding=encoding))
    torch.testing.assert_close(read.samples, audio.samples, rtol=0, atol=step)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("extension", [".ogg", ".opus", ".mp3"])
def test_lossy_formats_keep_the_length_the_place_and_nearly_the_sound(
    tmp_path: Path, generator: torch.Generator, extension: str, n_channels: int
) -> None:
    audio = noise(generator, n_channels)
    read = read_audio(write_audio(tmp_path / f"a{extension}", audio))
    assert read.samples.shape == audio.samples.shape
    assert likeness(read, audio) > 0.9  # two samples late would be 0.64


@pytest.mark.parametrize("extension", CONTAINERS)
def test_other_containers_are_read(tmp_path: Path, generator: torch.Generator, extension: str) -> None:
    audio = noise(generator)
    assert torch.equal(read_audio(make(tmp_path / f"a{extension}", audio)).samples, audio.samples)


@pytest.mark.parametrize("extension", [*WRITTEN_FORMATS, *CONTAINERS])
def test_a_probe_agrees_with_reading_and_does_not_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, extension: str
) -> None:
    path = make(tmp_path / f"a{extension}", noise(generator))
    read = read_audio(path)
    for module, name in [(soundfile.SoundFile, "read"), (sepdict.audio.ffmpeg, "decode")]:
        monkeypatch.setattr(module, name, fail_with(AssertionError("decoded")))
    info = probe_audio(path)
    assert (info.n_channels, info.sample_rate, info.duration_s) == (2, RATE, read.duration_s)


def test_extensions_are_read_in_any_case_and_paths_may_be_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    audio = noise(generator)
    assert write_audio("a.WAV", audio) == tmp_path / "a.WAV"
    assert torch.equal(read_audio("a.WAV").samples, audio.samples)


def test_a_wav_too_long_for_its_header_is_written_as_rf64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    audio = noise(generator)
    monkeypatch.setattr(sepdict.audio.writing, "WAV_LIMIT_BYTES", 8 * audio.samples.numel() - 1)
    path = write_audio(tmp_path / "a.wav", audio)
    assert path.read_bytes()[:4] == b"RF64"
    assert torch.equal(read_audio(path).samples, audio.samples)


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9.wav"), "音 🎻.wav", "-i.wav", "a:b.wav", "%d [x]*.wav"])
def test_names_may_be_anything_that_the_file_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, name: str
) -> None:
    if not name.isprintable() and shutil.which("ffmpeg") is None:
        pytest.skip("soundfile takes no name that is not UTF-8, and ffmpeg is not installed")
    monkeypatch.chdir(tmp_path)
    audio = noise(generator)
    write_audio(name, audio)
    assert torch.equal(read_audio(name).samples, audio.samples)
    assert probe_audio(name).n_channels == 2
    assert find_audio_files([name]) == [Path(name)]


# --- block by block

SPANS = [slice(0, 7000), slice(6000, 7500), slice(6400, 12000), slice(12000, 16001)]


@pytest.mark.parametrize("extension", [*WRITTEN_FORMATS, *CONTAINERS, pytest.param(".m4a", marks=needs_ffmpeg)])
def test_blocks_that_overlap_are_parts_of_the_whole(tmp_path: Path, generator: torch.Generator, extension: str) -> None:
    path = make(tmp_path / f"a{extension}", noise(generator))
    whole = read_audio(path)
    with open_audio(path) as reader:
        assert (reader.n_channels, reader.n_samples, reader.sample_rate) == (2, whole.n_samples, whole.sample_rate)
        blocks = list(reader.blocks(SPANS))
    for block, expected in zip(blocks, whole.blocks(SPANS), strict=True):
        assert torch.equal(block.samples, expected.samples)


def test_a_file_can_be_read_again_from_its_beginning(tmp_path: Path, generator: torch.Generator) -> None:
    path = write_audio(tmp_path / "a.flac", noise(generator))
    with open_audio(path) as reader:
        first, second = ([block.samples for block in reader.blocks(SPANS)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_file_is_read_no_further_than_asked(tmp_path: Path, generator: torch.Generator) -> None:
    samples = noise(generator).samples.numpy().T.copy()
    samples[12000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with open_audio(tmp_path / "a.wav") as reader:
        blocks = reader.blocks(SPANS)
        assert [next(blocks).n_samples for _ in range(3)] == [7000, 1500, 5600]
        with pytest.raises(AudioFileError, match=r"a\.wav: holds NaN or infinite samples, first at 0\.750 s"):
            next(blocks)


@pytest.mark.parametrize("extension", WRITTEN_FORMATS)
def test_what_is_written_in_blocks_is_what_is_written_at_once(
    tmp_path: Path, generator: torch.Generator, extension: str
) -> None:
    audio = noise(generator)
    whole = read_audio(write_audio(tmp_path / f"whole{extension}", audio))
    path = tmp_path / f"blocks{extension}"
    with writing_audio(path, n_channels=2, sample_rate=RATE, n_samples=audio.n_samples) as write:
        for samples in audio.samples.split(5000, dim=1):
            write(samples)
            assert not path.exists()
    written = read_audio(path)
    assert written.n_samples == whole.n_samples
    assert likeness(written, whole) > 0.999  # lossy encoders look ahead as far as they are given


def test_what_fails_between_blocks_leaves_nothing(tmp_path: Path, generator: torch.Generator) -> None:
    def fail(error: BaseException) -> None:
        with writing_audio(tmp_path / "a.wav", n_channels=2, sample_rate=RATE, n_samples=RATE) as write:
            write(noise(generator).samples)
            raise error

    for error in (OSError(errno.EIO, "elsewhere"), ValueError("elsewhere"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised:
            fail(error)
        assert raised.value is error  # not taken for an error of this file
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bit_rate", [["-b:a", "64k"], ["-q:a", "4"]])
@needs_ffmpeg
def test_an_mp3_without_a_table_of_contents_is_read_to_its_end(
    tmp_path: Path, generator: torch.Generator, bit_rate: list[str]
) -> None:
    samples = noise(generator, n_samples=10 * RATE).samples * torch.linspace(0, 1, 10 * RATE)  # few bits come first
    wav, path = write_audio(tmp_path / "a.wav", Audio(samples, RATE)), tmp_path / "a.mp3"
    arguments = ["-write_xing", "0", *bit_rate, "-y", path]
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, *arguments], check=True, stdin=subprocess.DEVNULL)
    assert read_audio(path).duration_s == pytest.approx(10, abs=0.2)


@needs_ffmpeg
def test_a_full_folder_for_temporary_files_is_not_taken_for_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    path = make(tmp_path / "a.m4a", noise(generator))
    decode = sepdict.audio.ffmpeg.decode

    def half(path: Path, target: Path, **options: Exception) -> None:
        decode(path, target, **options)
        os.truncate(target, target.stat().st_size // 2)

    monkeypatch.setattr(sepdict.audio.ffmpeg, "decode", half)
    refuse(path, f"no room to decode it in {tempfile.gettempdir()}")


@pytest.mark.parametrize("extension", WRITTEN_FORMATS)
def test_without_ffmpeg_the_same_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, extension: str
) -> None:
    path = write_audio(tmp_path / f"a{extension}", noise(generator))
    with_ffmpeg = read_audio(path)
    monkeypatch.setenv("PATH", "")
    torch.testing.assert_close(read_audio(path).samples, with_ffmpeg.samples, rtol=0, atol=1e-5)


# --- what cannot be read


def refuse(path: str | Path, said: str) -> None:
    with pytest.raises(AudioFileError, match=said) as refusal:
        read_audio(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("extension", [*EXACT, ".flac", *CONTAINERS])
def test_a_file_cut_short_is_refused(tmp_path: Path, generator: torch.Generator, extension: str, share: float) -> None:
    path = make(tmp_path / f"a{extension}", noise(generator))
    os.truncate(path, int(share * path.stat().st_size))
    refuse(path, "cut short")


@needs_ffmpeg
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_an_m4a_cut_short_is_refused(tmp_path: Path, generator: torch.Generator, share: float) -> None:
    path = make(tmp_path / "a.m4a", noise(generator, n_samples=5 * RATE), "-movflags", "+faststart")
    os.truncate(path, int(share * path.stat().st_size))  # the header, in front, is whole
    refuse(path, "cut short|can read it")


def test_a_wav_recorded_to_a_pipe_is_not_taken_for_cut_short(tmp_path: Path, generator: torch.Generator) -> None:
    audio, path = noise(generator), tmp_path / "a.wav"
    content = bytearray(write_audio(path, audio, encoding="PCM_16").read_bytes())
    for place in (4, content.index(b"data") + 4):  # the sizes of the file and of its samples
        content[place : place + 4] = b"\xff" * 4
    path.write_bytes(content)
    torch.testing.assert_close(read_audio(path).samples, audio.samples, rtol=0, atol=2**-15)


@pytest.mark.parametrize("ffmpeg", [pytest.param("there", marks=needs_ffmpeg), "absent"])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "a.raw", "a"])
def test_what_is_no_audio_is_refused_with_or_without_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ffmpeg: str
) -> None:
    if ffmpeg == "absent":
        monkeypatch.setenv("PATH", "")
    (tmp_path / name).write_text("this is not audio at all\n" * 100)
    refuse(tmp_path / name, "soundfile or ffmpeg can read" if ffmpeg == "there" else "install ffmpeg")
    with pytest.raises(AudioFileError, match=name):
        probe_audio(tmp_path / name)


@pytest.mark.parametrize("reader", [read_audio, probe_audio])
def test_what_is_not_there_or_not_a_file_or_empty_is_refused(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to("nowhere")
    for name, said in [
        ("missing.wav", "no such file"),
        ("link.wav", "no such file"),
        ("a" * 300, "no such file"),
        ("folder.wav", "is not a file"),
        ("empty.wav", "is empty"),
    ]:
        with pytest.raises(AudioFileError, match=f"{name}: {said}"):
            reader(tmp_path / name)


@pytest.mark.parametrize("reader", [read_audio, probe_audio])
def test_what_never_ends_is_refused(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(AudioFileError, match="is not a file"):
            reader(path)


@pytest.mark.parametrize("extension", EXACT)
def test_a_file_of_no_samples_is_refused(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a{extension}"
    soundfile.write(path, np.zeros((0, 2)), RATE, format=WRITTEN_FORMATS[extension][0])
    refuse(path, "holds no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_file_with_samples_that_are_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    samples = np.zeros((RATE, 2), dtype=np.float32)
    samples[4000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    refuse(tmp_path / "a.wav", "NaN or infinite samples, first at 0.250 s")


@pytest.mark.parametrize("encoding", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [-np.inf, np.inf], [3e38, 3e38, np.nan]])
def test_a_look_at_a_file_refuses_what_reading_it_does(tmp_path: Path, encoding: str, values: list[float]) -> None:
    path, n_before = tmp_path / "a.wav", sepdict.audio.io.PIECE + 4000
    soundfile.write(path, np.r_[np.zeros(n_before), values], RATE, subtype=encoding)
    with pytest.raises(AudioFileError) as read:
        read_audio(path)
    with pytest.raises(AudioFileError, match=re.escape(str(read.value))):
        refuse_not_finite_file(path)


def test_a_look_at_a_file_takes_what_is_finite_and_reads_none_without_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "huge.wav", np.full(100, 3e38), RATE, subtype="FLOAT")
    refuse_not_finite_file(tmp_path / "huge.wav")
    monkeypatch.setattr(sepdict.audio.io, "read_block", fail_with(AssertionError("was read")))
    soundfile.write(tmp_path / "a.flac", np.zeros(100), RATE)
    refuse_not_finite_file(tmp_path / "a.flac")
    (tmp_path / "a.txt").write_text("what only ffmpeg might read")
    refuse_not_finite_file(tmp_path / "a.txt")


# --- what only ffmpeg can read


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("-a:b.m4a", []),
        ("a.mkv", ["-c:a", "flac"]),
        ("a.webm", ["-c:a", "libopus", "-ar", "48000"]),
        ("video.mp4", ["-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=1", "-c:a", "aac"]),
    ],
)
def test_ffmpeg_reads_what_soundfile_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator, name: str, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    audio = noise(generator)
    make(tmp_path / name, audio, *arguments)
    read, info = read_audio(name), probe_audio(name)
    assert read.samples.dtype == torch.float32
    assert (info.n_channels, info.sample_rate) == (read.n_channels, read.sample_rate)
    assert info.duration_s == pytest.approx(read.duration_s, abs=0.1)  # a codec pads to whole frames
    assert read.duration_s == pytest.approx(audio.duration_s, abs=0.1)
    assert likeness(resample(read, RATE), audio) > 0.9


@needs_ffmpeg
def test_a_webm_recorded_to_a_pipe_tells_its_duration(tmp_path: Path, generator: torch.Generator) -> None:
    wav, path = write_audio(tmp_path / "a.wav", noise(generator)), tmp_path / "a.webm"
    command = ["ffmpeg", "-v", "error", "-i", wav, "-c:a", "libopus", "-f", "webm", "pipe:1"]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout)
    assert probe_audio(path).duration_s == read_audio(path).duration_s == pytest.approx(1, abs=0.1)


@needs_ffmpeg
def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=1"]
    subprocess.run(["ffmpeg", "-v", "error", *source, tmp_path / "a.mp4"], check=True, stdin=subprocess.DEVNULL)
    refuse(tmp_path / "a.mp4", "soundfile or ffmpeg can read")
    with pytest.raises(AudioFileError, match="no sound track"):
        probe_audio(tmp_path / "a.mp4")


# --- what cannot be written


@pytest.mark.parametrize(
    ("name", "encoding", "said"),
    [
        ("a.m4a", None, r"unknown extension '\.m4a'; expected one of \.wav"),
        ("a", None, "unknown extension ''"),
        ("a.wav", "PCM_99", "WAV PCM_99 cannot hold 2 channels at 16000 Hz"),
        ("a.flac", "FLOAT", "FLAC FLOAT cannot hold"),
        ("missing/a.wav", None, r"cannot be written \(No such file"),
    ],
)
def test_what_cannot_be_written_is_said(
    tmp_path: Path, generator: torch.Generator, name: str, encoding: str | None, said: str
) -> None:
    with pytest.raises(AudioFileError, match=said):
        write_audio(tmp_path / name, noise(generator), encoding=encoding)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "encoding"), [("a.wav", "PCM_16"), ("a.flac", None), ("a.ogg", None), ("a.mp3", None)]
)
def test_what_would_clip_is_not_written(
    tmp_path: Path, generator: torch.Generator, name: str, encoding: str | None
) -> None:
    with pytest.raises(AudioFileError, match=r"peak is 1\.001 and .* clips above 1"):
        write_audio(tmp_path / name, noise(generator, peak=1.001), encoding=encoding)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module_and_step", [(os, "fsync"), (os, "replace"), (soundfile.SoundFile, "write")], ids=str)
@pytest.mark.parametrize("existed", [True, False])
def test_a_full_disk_leaves_nothing_behind_and_the_older_file_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    generator: torch.Generator,
    module_and_step: tuple[Any, str],
    existed: bool,
) -> None:
    path = tmp_path / "a.wav"
    if existed:
        path.write_bytes(b"old")
    monkeypatch.setattr(*module_and_step, fail_with(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(AudioFileError, match=r"a\.wav: cannot be written \(No space left on device\)"):
        write_audio(path, noise(generator))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({"a.wav": b"old"} if existed else {})


@pytest.mark.parametrize("extension", WRITTEN_FORMATS)
def test_a_disk_that_fills_at_any_moment_lets_no_file_appear_that_is_not_whole(
    tmp_path: Path, generator: torch.Generator, extension: str
) -> None:
    resource = pytest.importorskip("resource")  # which makes the system refuse what a full disk would
    audio = noise(generator, n_samples=8000)
    size = write_audio(tmp_path / f"whole{extension}", audio).stat().st_size
    (tmp_path / f"whole{extension}").unlink()
    path, limits = tmp_path / f"a{extension}", resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in sorted({size - 1, size - 100, size - 1000, size - 3000, *(size * part // 8 for part in range(1, 8))}):
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(room, 1), limits[1]))
        try:
            with pytest.raises(AudioFileError, match=rf"a{extension}: cannot be written"):
                write_audio(path, audio)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("extension", WRITTEN_FORMATS)
def test_what_is_not_finite_is_not_written(
    tmp_path: Path, generator: torch.Generator, extension: str, value: float
) -> None:
    audio = noise(generator)
    audio.samples[1, 4000] = value
    with pytest.raises(AudioFileError, match=rf"a{extension}: holds NaN or infinite samples, first at 0\.250 s"):
        write_audio(tmp_path / f"a{extension}", audio)
    assert not list(tmp_path.iterdir())


# --- finding files


def test_folders_files_and_patterns_are_expanded_in_order_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ["in/b.wav", "in/a.FLAC", "in/c.m4a", "in/notes.txt", "in/.hidden.wav", "in/deeper/d.wav", "x.dat"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    inside = [Path("in/a.FLAC"), Path("in/b.wav"), Path("in/c.m4a")]
    assert find_audio_files(["in"]) == inside
    assert find_audio_files(["x.dat", "in"]) == [Path("x.dat"), *inside]  # a file named by hand may be called anything
    assert find_audio_files(["in/b.wav", "in", "in/*.wav"]) == [Path("in/b.wav"), Path("in/a.FLAC"), Path("in/c.m4a")]
    assert find_audio_files([Path("in/?.[wm]*")]) == inside[1:]
    assert find_audio_files([]) == []


def test_folders_and_dangling_links_inside_a_folder_are_no_audio(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to("nowhere")
    with pytest.raises(AudioFileError, match="holds no audio file"):
        find_audio_files([tmp_path])
    (tmp_path / "a.wav").touch()
    assert find_audio_files([tmp_path]) == [tmp_path / "a.wav"]


@pytest.mark.parametrize("name", ["missing.wav", "*.wav", "a" * 300])
def test_what_matches_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioFileError, match="no such file or folder"):
        find_audio_files([tmp_path / name])


@pytest.mark.parametrize("extension", ["wav", "flac", "aiff"])
@pytest.mark.parametrize("n_bits", [16, 24])
def test_samples_are_rounded_to_the_nearest_step(tmp_path: Path, extension: str, n_bits: int) -> None:
    samples = torch.rand(1, 20_000, generator=seeded_generator(0), dtype=torch.float64) * 1.8 - 0.9
    path = write_audio(tmp_path / f"a.{extension}", Audio(samples, RATE), encoding=f"PCM_{n_bits}")
    read = torch.from_numpy(soundfile.read(path, dtype="float64")[0])
    error = 2 ** (n_bits - 1) * (read - samples[0].float().double())
    assert float(error.abs().max()) <= 0.5
    assert abs(float(error.mean())) < 0.01


def test_full_scale_is_kept_within_a_step(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", Audio(torch.tensor([[-1.0, 1.0, 0.0]]), RATE), encoding="PCM_16")
    assert soundfile.read(path, dtype="int16")[0].tolist() == [-(2**15), 2**15 - 1, 0]


# --- a sound, however it is given


def test_a_path_a_pair_and_an_audio_are_the_same_sound(tmp_path: Path, generator: torch.Generator) -> None:
    audio = noise(generator)
    path = write_audio(tmp_path / "noise.wav", audio)
    before = audio.samples.clone()
    array = audio.samples.numpy()
    for given in (audio, path, str(path), (audio.samples, audio.sample_rate), (array, audio.sample_rate)):
        same = as_audio(given)
        assert torch.equal(same.samples, audio.samples)
        assert same.sample_rate == audio.sample_rate
    assert as_audio(audio) is audio
    assert as_audio((array, RATE)).samples.data_ptr() != array.ctypes.data  # nobody writes into the caller's array
    assert torch.equal(audio.samples, before)


def test_a_pair_is_written_like_the_audio_that_it_makes(tmp_path: Path, generator: torch.Generator) -> None:
    audio = noise(generator)
    paths = [write_audio(tmp_path / "a.wav", audio), write_audio(tmp_path / "b.wav", (np.asarray(audio), RATE))]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_folder_stands_for_its_recordings_and_one_sound_for_a_list_of_one(
    tmp_path: Path, generator: torch.Generator
) -> None:
    audio = noise(generator)
    paths = [write_audio(tmp_path / name, audio) for name in ("b.wav", "a.wav")]
    assert [each.name for each in as_recordings(tmp_path)] == ["a.wav", "b.wav"]
    assert [each.name for each in as_recordings([tmp_path, str(paths[0]), (audio.samples, RATE)])] == [
        *("a.wav", "b.wav", "b.wav", "recordings[2]")
    ]
    assert [each.name for each in as_recordings(tuple(paths))] == ["b.wav", "a.wav"]  # two paths are no pair
    assert as_recordings(audio) == [audio]
    assert len(as_recordings((audio.samples, RATE))) == 1
    assert as_recordings(()) == []


@pytest.mark.parametrize("given", [None, 3, (), (np.zeros(8),), ("a.wav", "b.wav"), [np.zeros(8), RATE], {"a": 1}])
def test_what_is_no_sound_is_refused_by_name(given: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^reference is .*; expected Audio, the path of a file or \(samples, sample_r"
    ):
        as_audio(given, "reference")


def test_a_pair_in_the_wrong_order_is_refused() -> None:
    with pytest.raises((AudioError, ConfigError), match=r"^mixture: "):
        as_audio((RATE, np.zeros(8)), "mixture")  # type: ignore[arg-type]
