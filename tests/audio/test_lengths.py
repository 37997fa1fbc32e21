"""Lengths are found, not believed: a header counts for nothing where the file does not bear it out."""

import contextlib
import logging
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sound_files import RATE, chunk, ffmpeg_makes, needs_ffmpeg, noise, wav_bytes

from sepdict.audio.formats import WRITTEN_FORMATS
from sepdict.audio.io import open_audio, probe_audio, read_audio
from sepdict.audio.lengths import find_data_size
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.errors import AudioFileError

STEP = 2**-15  # what 16 bits round to
LIST = chunk(b"LIST", b"INFOISFT\x04\0\0\0abc\0")


def says_and_holds(path: Path, expected: Audio, *, within: float = STEP) -> None:
    """Probe and read a file that holds a sound and nothing else."""
    info, read = probe_audio(path), read_audio(path)
    assert (info.n_channels, info.sample_rate, info.duration_s) == (read.n_channels, read.sample_rate, read.duration_s)
    assert read.n_samples == expected.n_samples
    torch.testing.assert_close(read.samples, expected.samples, rtol=0, atol=within)


def refused(path: Path, said: str) -> None:
    """Refuse to read, and in one line."""
    with pytest.raises(AudioFileError, match=said) as refusal:
        read_audio(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def with_bytes(path: Path, place: int, content: bytes) -> None:
    """Write over some of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


# --- containers of chunks

N_BYTES = 4 * (RATE + 1)  # of the sound, in 16 bits

WAV_SIZES: dict[
    str, dict[str, Any]
] = {  # what is counted as the file's size and that of its sound, and what stands behind it
    "right": {},
    "right, and a chunk behind": {"behind": LIST},
    "RIFF size 8 too large": {"riff": 36 + N_BYTES + 8},
    "RIFF size of nothing": {"riff": 0},
    "a few bytes too many": {"data": N_BYTES + 16},
    "nothing, as where power was lost": {"riff": 0, "data": 0},
    "all ones, as into a pipe": {"riff": 2**32 - 1, "data": 2**32 - 1},
    "as SoX writes into a pipe": {"riff": 0x7FFFF024, "data": 0x7FFFF000},
    "as ALSA writes into a pipe": {"riff": 0x80000024, "data": 0x80000000},
    "a quarter, as where power was lost": {"data": N_BYTES // 4},
    "a chunk that is cut off behind": {"behind": LIST[:-5]},
    "a chunk most of which is cut off behind": {"behind": chunk(b"LIST", 2000 * b"x", 90_000)},
    "a tag behind": {"behind": b"TAG" + 125 * b"x" + b"ID3" + 4000 * b"\xff"},
    "zeros behind, as where room was kept": {"behind": bytes(5000)},
}


@pytest.mark.parametrize("case", WAV_SIZES)
def test_a_wav_is_read_whole_whatever_its_sizes_say(tmp_path: Path, generator: torch.Generator, case: str) -> None:
    audio, sizes = noise(generator), dict(WAV_SIZES[case])
    behind = sizes.pop("behind", b"")
    (tmp_path / "a.wav").write_bytes(wav_bytes(audio, behind, **sizes))
    says_and_holds(tmp_path / "a.wav", audio)


def test_samples_that_look_like_the_name_of_a_chunk_are_sound(tmp_path: Path, generator: torch.Generator) -> None:
    audio, path = noise(generator), tmp_path / "a.wav"
    letters = torch.frombuffer(bytearray(b"abcdWXYZ"), dtype=torch.int16) / 32768
    audio.samples[:, RATE // 2 : RATE // 2 + 2] = letters.view(2, 2).T  # left and right in turn
    path.write_bytes(wav_bytes(audio, data=N_BYTES // 2 - 2))
    assert path.read_bytes()[44 + N_BYTES // 2 - 2 :].startswith(b"abcdWXYZ")
    says_and_holds(path, audio)


def test_a_count_of_less_than_is_there_is_noted_once(
    tmp_path: Path, generator: torch.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    audio, path = noise(generator), tmp_path / "a.wav"
    path.write_bytes(wav_bytes(audio, data=N_BYTES // 4))
    says_and_holds(path, audio)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"{path}: its header counts {N_BYTES // 4} bytes of sound, and {N_BYTES} are there; all are read"
    ]


@pytest.mark.parametrize("n_missing", [600, N_BYTES // 2, N_BYTES - 4])
@pytest.mark.parametrize("reader", [read_audio, probe_audio], ids=["read", "probe"])
def test_a_wav_that_lacks_some_of_its_sound_is_refused(
    tmp_path: Path, generator: torch.Generator, n_missing: int, reader: type
) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(noise(generator))[:-n_missing])
    with pytest.raises(
        AudioFileError, match=f"cut short: .* promises {N_BYTES} bytes, {N_BYTES - n_missing} are there; copy it again"
    ):
        reader(tmp_path / "a.wav")


def test_a_wav_cut_short_is_refused_however_much_stands_before_its_sound(
    tmp_path: Path, generator: torch.Generator
) -> None:
    content = wav_bytes(noise(generator))
    history = chunk(b"bext", bytes(602) + 20 * b"A=PCM,F=16000,W=16,M=stereo,T=a recorder\r\n")
    comments = b"".join(chunk(b"ICMT", b"what was said of it ") for _ in range(200))
    content = content[:12] + history + chunk(b"LIST", b"INFO" + comments) + content[12:-20000]
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path / "a.wav", "cut short")


@pytest.mark.parametrize("unknown", [0, -1, 2**63 - 25])
@pytest.mark.parametrize("extension", [".aiff", ".au", ".caf", ".rf64", ".w64"])
def test_other_containers_are_read_whole_where_they_do_not_count(
    tmp_path: Path, generator: torch.Generator, extension: str, unknown: int
) -> None:
    audio, path = noise(generator), tmp_path / f"a{extension}"
    soundfile.write(path, audio.samples.T.numpy(), RATE, format=extension[1:].upper(), subtype="FLOAT")
    count = find_data_size(path)
    assert count is not None
    assert not count.is_misread
    n_bytes = struct.calcsize(count.form)
    with_bytes(
        path, count.place, (unknown % 2 ** (8 * n_bytes)).to_bytes(n_bytes, "big" if ">" in count.form else "little")
    )
    says_and_holds(path, audio)


def test_a_file_of_nothing_but_empty_chunks_is_soon_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + 500_000 * b"JUNK\0\0\0\0")
    refused(tmp_path / "a.wav", "a.wav")


def test_an_ordinary_file_is_not_copied(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for extension in (".wav", ".flac", ".aiff", ".w64", ".rf64", ".ogg", ".opus"):
        path = write_audio(tmp_path / f"a{extension}", noise(generator))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        assert read_audio(path).n_samples == RATE + 1
        monkeypatch.setattr("tempfile.tempdir", None)


# --- FLAC


def flac_claiming(path: Path, audio: Audio, n_samples: int) -> Path:
    """Write a FLAC whose header promises so many samples."""
    write_audio(path, audio, encoding="PCM_16")
    place = 4 + 4 + 13  # the stream's mark, the first block's header, and what comes before 36 bits of a length
    (upper,) = path.read_bytes()[place : place + 1]
    with_bytes(path, place, bytes([upper & 0xF0 | n_samples >> 32]) + (n_samples % 2**32).to_bytes(4, "big"))
    return path


@pytest.mark.parametrize("n_samples", [1, 4096, RATE + 1, 70_000])
@pytest.mark.parametrize("promised", [0, 2**36 - 1], ids=["of a pipe", "of more than can be"])
def test_a_flac_is_read_whole_whose_header_does_not_say_its_length(
    tmp_path: Path, generator: torch.Generator, promised: int, n_samples: int
) -> None:
    audio = noise(generator, n_samples=max(n_samples, 8))
    audio = next(iter(audio.blocks([slice(0, n_samples)])))
    says_and_holds(flac_claiming(tmp_path / "a.flac", audio, promised), audio)


def test_a_flac_that_promises_more_than_it_holds_is_refused_without_taking_room_for_it(
    tmp_path: Path, generator: torch.Generator
) -> None:
    path = flac_claiming(tmp_path / "a.flac", noise(generator), 2**27)  # 1 GB that a file of this size might hold
    refused(path, "cut short: it promises 8388.6 s, 1.0 s are there")


@pytest.mark.parametrize(("has_length", "said"), [(True, "its header promises 4.0 s, "), (False, "")])
def test_of_a_cut_flac_is_said_what_it_promises_and_how_much_is_there(
    tmp_path: Path, generator: torch.Generator, has_length: bool, said: str
) -> None:
    audio, path = noise(generator, n_samples=4 * RATE), tmp_path / "a.flac"
    flac_claiming(path, audio, audio.n_samples if has_length else 0)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(AudioFileError) as refusal:
        read_audio(path)
    assert re.fullmatch(
        rf"{path}: damaged or cut short: {said}(1\.[5-9]|2\.0) s can be read; copy it again", str(refusal.value)
    )


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_cut_flac_is_refused_wherever_reading_starts(
    tmp_path: Path, generator: torch.Generator, share: float, has_length: bool
) -> None:
    audio, path = noise(generator, n_samples=4 * RATE), tmp_path / "a.flac"
    flac_claiming(path, audio, audio.n_samples if has_length else 0)
    os.truncate(path, int(share * path.stat().st_size))
    for start in (0, RATE, 3 * RATE):
        with pytest.raises(AudioFileError, match=r"a\.flac: .*cut short"), open_audio(path) as reader:
            list(reader.blocks([slice(start, 4 * RATE)]))


# --- codecs that cannot seek


def test_a_codec_that_cannot_seek_is_read_from_anywhere(tmp_path: Path, generator: torch.Generator) -> None:
    samples = noise(generator, n_channels=1).samples.T.numpy()
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="GSM610")
    whole = read_audio(tmp_path / "a.wav")
    assert whole.n_samples >= RATE + 1
    with open_audio(tmp_path / "a.wav") as reader:
        (late,) = reader.blocks([slice(9000, 12000)])
        (early,) = reader.blocks([slice(10, 500)])
    assert torch.equal(late.samples, whole.samples[:, 9000:12000])
    assert torch.equal(early.samples, whole.samples[:, 10:500])


# --- Ogg


def ogg_pages(content: bytes) -> list[bytes]:
    """Take an Ogg file apart."""
    pages = []
    while content:
        n_segments = content[26]
        n_bytes = 27 + n_segments + sum(content[27 : 27 + n_segments])
        pages.append(content[:n_bytes])
        content = content[n_bytes:]
    return pages


@needs_ffmpeg
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("extension", [".ogg", ".opus"])
def test_streams_one_behind_the_other_are_all_read(
    tmp_path: Path, generator: torch.Generator, extension: str, same: bool
) -> None:
    first = write_audio(tmp_path / f"1{extension}", noise(generator)).read_bytes()
    second = first if same else write_audio(tmp_path / f"2{extension}", noise(generator)).read_bytes()
    path = tmp_path / f"a{extension}"
    path.write_bytes(first + second)
    read = read_audio(path)
    assert read.duration_s == pytest.approx(2 * (RATE + 1) / RATE, abs=0.02)
    assert probe_audio(path).duration_s == read.duration_s


@pytest.mark.parametrize("extension", [".ogg", ".opus"])
def test_without_ffmpeg_streams_one_behind_the_other_are_refused(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    path = write_audio(tmp_path / f"a{extension}", noise(generator))
    path.write_bytes(2 * path.read_bytes())
    monkeypatch.setenv("PATH", "")
    refused(path, r"soundfile cannot read it \(several streams, one behind the other\); .* install ffmpeg")


@pytest.mark.parametrize("extension", [".ogg", ".opus"])
def test_an_ogg_whose_last_page_is_not_whole_is_refused_and_one_without_is_noted(
    tmp_path: Path, generator: torch.Generator, caplog: pytest.LogCaptureFixture, extension: str
) -> None:
    path = write_audio(tmp_path / f"a{extension}", noise(generator, n_samples=5 * RATE))
    pages = ogg_pages(path.read_bytes())
    path.write_bytes(b"".join(pages)[:-10])
    for reader in (read_audio, probe_audio):
        with pytest.raises(AudioFileError, match="cut short: its last page lacks 10 bytes; copy it again"):
            reader(path)
    path.write_bytes(b"".join(pages[:-1]))
    assert probe_audio(path).duration_s == read_audio(path).duration_s < 5
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"{path}: does not say where it ends; it may be cut short"
    ]


# --- MP3


@pytest.fixture
def quiet_end(generator: torch.Generator) -> Audio:
    """A sound of which an MP3's first frames take more room than its last."""
    return Audio(noise(generator, n_samples=8 * RATE).samples * torch.linspace(1, 0, 8 * RATE) ** 8, RATE)


@needs_ffmpeg
@pytest.mark.parametrize("has_ffmpeg", [True, False])
def test_an_mp3_without_a_table_is_read_whole_with_or_without_ffmpeg(
    tmp_path: Path, quiet_end: Audio, monkeypatch: pytest.MonkeyPatch, has_ffmpeg: bool
) -> None:
    path = ffmpeg_makes(tmp_path / "a.mp3", quiet_end, "-q:a", "4", "-write_xing", "0")
    assert soundfile.info(path).duration < 6  # what is to be guarded against
    if not has_ffmpeg:
        monkeypatch.setenv("PATH", "")
    assert probe_audio(path).duration_s == read_audio(path).duration_s == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), b"APETAGEX" + 9000 * b"x"], ids=["ID3v1", "APE"])
@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\0\x7f\x7f" + 16383 * b"\xff"], ids=["", "ID3v2"])
def test_tags_around_an_mp3_are_no_sound_and_nothing_is_decoded_to_probe_it(
    tmp_path: Path, quiet_end: Audio, monkeypatch: pytest.MonkeyPatch, before: bytes, behind: bytes
) -> None:
    path = write_audio(tmp_path / "a.mp3", quiet_end)
    path.write_bytes(before + path.read_bytes() + behind)
    monkeypatch.setenv("PATH", "")
    assert read_audio(path).n_samples == quiet_end.n_samples
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    assert probe_audio(path).duration_s == quiet_end.duration_s


@needs_ffmpeg
def test_an_mp3_behind_another_is_read_too(tmp_path: Path, quiet_end: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "a.mp3", quiet_end)
    path.write_bytes(2 * path.read_bytes())
    assert probe_audio(path).duration_s == read_audio(path).duration_s == pytest.approx(16, abs=0.3)
    monkeypatch.setenv("PATH", "")
    refused(path, "soundfile leaves .* bytes of it unread; install ffmpeg")


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_an_mp3_is_refused_that_ends_before_its_table_says(tmp_path: Path, quiet_end: Audio, share: float) -> None:
    path = write_audio(tmp_path / "a.mp3", quiet_end)
    os.truncate(path, int(share * path.stat().st_size))
    for reader in (read_audio, probe_audio):
        with pytest.raises(AudioFileError, match=r"cut short: .*; copy it again"):
            reader(path)


# --- what is not there takes no room


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".w64", ".caf", ".au"])
def test_any_byte_of_a_header_may_be_wrong(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    monkeypatch.setenv("PATH", "")
    path, audio = tmp_path / f"a{extension}", noise(generator, n_samples=4000)
    form = WRITTEN_FORMATS.get(extension, (extension[1:].upper(), "FLOAT"))
    soundfile.write(path, audio.samples.T.numpy(), RATE, format=form[0], subtype=form[1])
    content, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        place, value = int(random.integers(4, 100)), random.choice([0, 0x7F, 0x80, 0xFF])
        path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
        for reader in (probe_audio, read_audio):
            with contextlib.suppress(AudioFileError):
                reader(path)
