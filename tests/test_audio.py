"""Audio: what is written is what is read, what is damaged is refused, and a failed write leaves nothing behind."""

import errno
import hashlib
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import sepdict.audio
from sepdict.audio import WRITTEN_FORMATS, Audio, find_audio_files, probe_audio, read_audio, resample, write_audio
from sepdict.errors import AudioError, AudioFileError

RATE = 16000
CONTAINERS = {".au": "AU", ".caf": "CAF"}  # read and never written
EXACT = [".wav", ".aif", ".aiff", ".w64", ".rf64"]
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg is not installed"
)


def noise(generator: torch.Generator, n_channels: int = 2, n_samples: int = RATE + 1, peak: float = 0.9) -> Audio:
    """A second and one sample of noise without the treble that lossy formats leave out."""
    spectrum = torch.fft.rfft(torch.randn(n_channels, n_samples, generator=generator))
    spectrum[:, n_samples // 8 :] = 0
    samples = torch.fft.irfft(spectrum, n_samples)
    return Audio(peak * samples / samples.abs().max(), RATE, "noise")


def sine(frequency: float, sample_rate: int, duration_s: float = 1.0) -> Tensor:
    time = torch.arange(round(duration_s * sample_rate), dtype=torch.float64) / sample_rate
    return 0.5 * torch.sin(2 * torch.pi * frequency * time)


def likeness(one: Audio, other: Audio) -> float:
    """Cosine between two sounds that may differ in length, one for equal ones; a late one is not alike."""
    n_samples = min(one.n_samples, other.n_samples)
    return float(
        torch.cosine_similarity(one.samples[:, :n_samples].flatten(), other.samples[:, :n_samples].flatten(), dim=0)
    )


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
    for module, name in [(soundfile, "read"), (sepdict.audio, "_decode_with_ffmpeg")]:
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
    monkeypatch.setattr(sepdict.audio, "WAV_LIMIT_BYTES", 8 * audio.samples.numel() - 1)
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
    refuse(tmp_path / name, "neither soundfile nor ffmpeg" if ffmpeg == "there" else "install ffmpeg")
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
    refuse(tmp_path / "a.mp4", "can read it")
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


@pytest.mark.parametrize("module_and_step", [(os, "fsync"), (os, "replace"), (soundfile, "write")], ids=str)
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


# --- another rate


@given(st.integers(1, 2000), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]), st.integers(1, 50000))
def test_resampling_keeps_the_duration(n_samples: int, before: int, after: int) -> None:
    resampled = resample(Audio(torch.ones(2, n_samples), before, "ones"), after)
    assert resampled.samples.shape == (2, max(1, round(n_samples * after / before)))
    assert (resampled.sample_rate, resampled.name) == (after, "ones")


@pytest.mark.parametrize(("before", "after"), [(44100, 16000), (16000, 44100), (48000, 8000), (22050, 24000)])
@pytest.mark.parametrize("frequency", [100, 440, 3000])
def test_a_sine_stays_the_sine_that_it_was(before: int, after: int, frequency: float) -> None:
    resampled = resample(Audio(sine(frequency, before), before), after).samples[0]
    inner = slice(after // 20, -after // 20)  # the filter rings at the ends
    # soxr's high quality is good for 20 bits
    torch.testing.assert_close(resampled[inner].double(), sine(frequency, after)[inner], rtol=0, atol=1e-5)


def test_what_the_lower_rate_cannot_hold_goes_away() -> None:
    resampled = resample(Audio(sine(5000, 44100), 44100), 8000).samples[0, 400:-400]
    assert float(resampled.abs().max()) < 1e-4


def test_silence_stays_silence() -> None:
    assert not resample(Audio(torch.zeros(2, 1000), 44100), 16000).samples.any()


def test_the_same_rate_gives_the_same_audio_and_another_leaves_it_alone(generator: torch.Generator) -> None:
    audio = noise(generator)
    before = audio.samples.clone()
    assert resample(audio, RATE) is audio
    resample(audio, 44100)
    assert torch.equal(audio.samples, before)


@pytest.mark.parametrize("sample_rate", [0, -16000])
def test_a_rate_that_is_not_above_zero_is_refused(generator: torch.Generator, sample_rate: int) -> None:
    with pytest.raises(AudioError, match=f"sample rate is {sample_rate} Hz"):
        resample(noise(generator), sample_rate)


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


# --- samples


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(8, dtype=np.int16), "int16; expected floating point"),
        (torch.zeros(8, dtype=torch.int32), "int32; expected floating point"),
        (np.zeros(8, dtype=bool), "bool; expected floating point"),
        ([1, 2, 3], "int64; expected floating point"),
        (np.zeros((1, 2, 3)), r"got \(1, 2, 3\)"),
        (np.array(0.5), r"got \(\)"),
        (np.zeros(0), r"got \(1, 0\)"),
        (np.zeros((0, 8)), r"got \(0, 8\)"),
        (np.array([[0, 0], [0, np.nan]]), r"first at 0\.500 s"),
        (torch.tensor([0, 0, torch.inf]), r"first at 1\.000 s"),
        (torch.tensor([1e300], dtype=torch.float64), "infinite"),  # beyond float32
    ],
)
def test_samples_that_cannot_be_used_are_refused_by_name(samples: Any, said: str) -> None:
    with pytest.raises(AudioError, match=f"mine: .*{said}"):
        Audio(samples, 2, "mine")


@pytest.mark.parametrize("sample_rate", [0, -16000, 16000.5])
def test_rates_that_cannot_be_are_refused(sample_rate: float) -> None:
    with pytest.raises(AudioError, match=f"sample rate is {sample_rate} Hz"):
        Audio(torch.zeros(8), sample_rate)  # type: ignore[arg-type]


def test_arrays_of_any_layout_are_taken_and_not_written_into() -> None:
    whole = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 12)
    read_only = whole.copy()
    read_only.flags.writeable = False
    for samples in (whole[:, ::-1], whole[::-1, ::2], np.asfortranarray(whole), read_only, whole.astype(">f4")):
        before = samples.copy()
        audio = Audio(samples, RATE)
        assert np.array_equal(audio.samples.numpy(), before)
        audio.samples.zero_()
        assert np.array_equal(samples, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_samples_become_float32_without_a_gradient(dtype: torch.dtype) -> None:
    samples = torch.full((8,), 0.5, dtype=dtype, requires_grad=True)
    audio = Audio(samples, RATE)
    assert audio.samples.dtype == torch.float32
    assert audio.samples.shape == (1, 8)
    assert not audio.samples.requires_grad


def test_audio_tells_its_length_level_and_digest() -> None:
    audio = Audio(torch.tensor([[0.5, -0.5], [0.5, 0.5]]), 4)
    assert (audio.n_channels, audio.n_samples, audio.duration_s) == (2, 2, 0.5)
    assert audio.level_db == pytest.approx(20 * math.log10(0.5))
    assert Audio(torch.zeros(8), 4).level_db == -math.inf
    assert audio.sha256 == hashlib.sha256(np.array([0.5, -0.5, 0.5, 0.5], dtype="<f4").tobytes()).hexdigest()
    assert audio == audio
    assert audio != Audio(audio.samples, 4)  # by identity: samples have no single truth value
