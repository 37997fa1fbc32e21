"""What a file says beside its sound reaches stems and manifest, and nothing broken in there stands in the way."""

import io
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from front_end import mixture, read_json, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from sepdict.audio.context import NOTHING, Context, Cue, read_context
from sepdict.audio.io import read_audio
from sepdict.audio.riff import MOST_BYTES, chunk, list_chunk
from sepdict.audio.signal import Audio
from sepdict.audio.tags import read_flac_tags
from sepdict.audio.writing import write_audio, writing_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.export import OutputConfig
from sepdict.batch.result import TrackResult
from sepdict.batch.run import separate_files
from sepdict.separation.config import FitConfig, SeparationConfig

RATE = 8000
N_SAMPLES = 6000
NOON = 12 * 3600 * RATE
GUANO = "GUANO|Version: 1.0\nTimestamp: 2024-05-06T22:10:00+02:00\nLength: 0.750\nSpecies Manual ID: Myodau\n"
MASK = 0x60F  # 5.1 with loudspeakers at the sides: not what anyone takes for granted
needs_ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")


def bext(*, reference: int = NOON, version: int = 1, history: bytes = b"A=PCM") -> bytes:
    fields = (b"a wren", b"recorder", b"ref", b"2024-05-06", b"12:00:00", reference, version, b"\7" * 64, b"\1" * 10)
    return struct.pack("<256s32s32s10s8sQH64s10s180x", *fields) + history


def cue(*samples: int) -> bytes:
    entries = [struct.pack("<II4sIII", n, sample, b"data", 0, 0, sample) for n, sample in enumerate(samples, 1)]
    return struct.pack("<I", len(samples)) + b"".join(entries)


LABELS = list_chunk(b"adtl", [(b"labl", struct.pack("<I", 2) + b"here\0"), (b"note", struct.pack("<I", 2) + b"loud\0")])
REGION = list_chunk(b"adtl", [(b"ltxt", struct.pack("<II4s8x", 1, 5000, b"rgn "))])
INFO = list_chunk(b"INFO", {b"INAM": b"Dawn", b"IART": "Zo\u00eb".encode(), b"ISFT": b"Recorder 1", b"IXYZ": b"?"})
CHUNKS = chunk(b"bext", bext()) + chunk(b"cue ", cue(100, 3000, 6000)) + LABELS + chunk(b"guan", GUANO.encode()) + INFO


def write_wav(path: Path, chunks: bytes, *, n_channels: int = 1, mask: int | None = None, form: str = "RIFF") -> Path:
    """Write a WAV of 16 bits with chunks behind its sound, as recorders do."""
    samples = (2**15 * mixture(n_channels=n_channels).samples.T.numpy()).astype("<i2")
    file = io.BytesIO()
    container = {"RIFF": "WAV" if mask is None else "WAVEX", "RF64": "RF64"}[form]
    soundfile.write(file, samples, RATE, format=container, subtype="PCM_16")
    content = bytearray(file.getvalue() + chunks)
    if form == "RIFF":
        struct.pack_into("<I", content, 4, len(content) - 8)
    else:
        struct.pack_into("<Q", content, 20, len(content) - 8)
    if mask is not None:
        struct.pack_into("<I", content, content.index(b"fmt ") + 8 + 20, mask)
    path.write_bytes(content)
    return path


def separated(path: Path, out: Path, *, output: OutputConfig | None = None, **settings: Any) -> TrackResult:
    config = BatchConfig(
        separation=SeparationConfig(FitConfig(n_iterations=1), mask_estimator=None),
        output=output or OutputConfig(),
        **settings,
    )
    (result,) = separate_files([path], [trained("hiss"), trained("hum")], out, config)
    assert result.error is None, result.error
    return result


ALL = Context(
    bext=bext(),
    cues=(Cue(100), Cue(3000, "here", "loud"), Cue(6000)),
    guano=GUANO,
    tags=(("title", "Dawn"), ("artist", "Zo\u00eb"), ("software", "Recorder 1"), ("IXYZ", "?")),
)
CARRIED = replace(ALL, tags=tuple(tag for tag in ALL.tags if tag[0] != "software"))


@pytest.mark.parametrize("form", ["RIFF", "RF64"])
def test_what_a_wav_says_is_read(tmp_path: Path, form: str) -> None:
    assert replace(read_context(write_wav(tmp_path / "a.wav", CHUNKS, form=form)), channel_mask=None) == ALL
    assert read_context(write_wav(tmp_path / "b.wav", b"")) == NOTHING
    region = read_context(write_wav(tmp_path / "c.wav", chunk(b"cue ", cue(100)) + REGION))
    assert region == Context(cues=(Cue(100, n_samples=5000),))


def test_stems_of_a_wav_say_what_their_mixture_says(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", CHUNKS)
    result = separated(path, tmp_path / "out")
    for stem in result.stems.values():
        assert read_context(stem) == CARRIED
        assert soundfile.info(stem).subtype == "FLOAT"
    facts = read_json(result.manifest)["context"]
    assert facts["broadcast"]["time_reference"] == NOON
    assert facts["broadcast"]["originator"] == "recorder"
    assert facts["cues"][1] == {"sample": 3000, "label": "here", "note": "loud", "n_samples": 0}
    assert facts["guano"] == GUANO
    assert facts["tags"] == {"title": "Dawn", "artist": "Zo\u00eb", "software": "Recorder 1", "IXYZ": "?"}
    assert result.null_test_db < -120
    total = torch.stack([read_audio(stem).samples for stem in result.stems.values()]).sum(dim=0)
    torch.testing.assert_close(total, read_audio(path).samples, rtol=0, atol=1e-6)
    again = separated(path, tmp_path / "out", skip_existing=True)
    assert again.kept


def test_of_a_part_times_are_shifted_and_marks_outside_it_dropped(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", CHUNKS)
    result = separated(path, tmp_path / "out", start_s=0.25, duration_s=0.25)
    found = read_context(result.stems["hum"])
    assert found.cues == (Cue(1000, "here", "loud"),)
    assert found.guano == GUANO.replace("22:10:00", "22:10:00.250000").replace("0.750", "0.250")
    assert read_json(result.manifest)["context"]["broadcast"]["time_reference"] == NOON + 2000
    assert found.bext == bext(reference=NOON + 2000)


@pytest.mark.parametrize(
    ("context", "span", "expected"),
    [
        (Context(cues=(Cue(0), Cue(10), Cue(11))), slice(0, 10), Context(cues=(Cue(0), Cue(10)))),
        (Context(cues=(Cue(7, "a", n_samples=9),)), slice(5, 10), Context(cues=(Cue(2, "a", n_samples=3),))),
        (Context(guano="Timestamp: dusk\nA: b\n"), slice(5, 10), Context(guano="A: b\n")),
        (Context(guano="A: b\n"), slice(5, 10), Context(guano="A: b\n")),
        (Context(bext=bext(reference=2**64 - 2)), slice(5, 10), Context(bext=bext(reference=2**64 - 1))),
        (Context(tags=(("time_reference", "9"),)), slice(5, 10), Context(tags=(("time_reference", "14"),))),
        (Context(tags=(("time_reference", "x"),)), slice(5, 10), Context(tags=(("time_reference", "x"),))),
    ],
    ids=str,
)
def test_a_part_of_a_context_is_that_of_the_part(context: Context, span: slice, expected: Context) -> None:
    assert context.of_span(span, RATE) == expected
    assert context.of_span(slice(0, 10**6), RATE) == context


def test_a_stem_does_not_claim_the_loudness_of_its_mixture(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", chunk(b"bext", bext(version=2)))
    stem = read_context(separated(path, tmp_path / "out").stems["hum"])
    assert stem.bext[412:422] == b"\xff\x7f" * 5
    assert stem.bext[:412] + stem.bext[422:] == bext(version=2)[:412] + bext(version=2)[422:]


@pytest.mark.parametrize(
    ("settings", "container"),
    [({}, "WAVEX"), ({"bit_depth": "16"}, "WAVEX"), ({"bit_depth": "24"}, "WAVEX"), ({"format": "flac"}, "FLAC")],
    ids=str,
)
@pytest.mark.parametrize("mask", [MASK, 0])
def test_channels_keep_their_loudspeakers(tmp_path: Path, settings: dict[str, str], container: str, mask: int) -> None:
    path = write_wav(tmp_path / "a.wav", CHUNKS, n_channels=6, mask=mask)
    result = separated(path, tmp_path / "out", output=OutputConfig(**settings))
    assert read_json(result.manifest)["context"]["channel_mask"] == mask
    for stem in result.stems.values():
        assert soundfile.info(stem).format == container
        assert read_context(stem).channel_mask == mask
    assert result.null_test_db < (-80 if settings.get("bit_depth") == "16" else -110)


def test_stems_of_files_without_loudspeakers_stay_as_they_were(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", mixture(n_channels=4))
    stem = separated(path, tmp_path / "out").stems["hum"]
    assert soundfile.info(stem).format == "WAV"
    assert read_context(stem) == NOTHING
    assert read_json(stem.with_name("manifest.json"))["context"] == {}


def test_a_flac_file_has_the_loudspeakers_of_its_standard_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.flac", mixture(n_channels=6))
    assert read_context(path).channel_mask == 0x3F
    assert read_context(separated(path, tmp_path / "out").stems["hum"]).channel_mask == 0x3F


def test_where_samples_are_too_many_for_wav_the_rest_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepdict.audio.writing.WAV_LIMIT_BYTES", 1000)
    path = write_wav(tmp_path / "a.wav", CHUNKS, n_channels=6, mask=MASK)
    stem = separated(path, tmp_path / "out").stems["hum"]
    assert soundfile.info(stem).format == "RF64"
    assert read_context(stem) == replace(CARRIED, channel_mask=MASK)
    assert read_audio(stem).n_samples == N_SAMPLES


def test_flac_stems_say_in_comments_what_wav_says_in_chunks(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", CHUNKS)
    result = separated(path, tmp_path / "out", output=OutputConfig("flac"), start_s=0.25)
    stem = result.stems["hum"]
    said = dict(read_flac_tags(stem) or ())
    assert said["title"] == "Dawn"
    assert said["artist"] == "Zo\u00eb"
    assert said["time_reference"] == str(NOON + 2000)
    assert said["coding_history"] == "A=PCM"
    assert said["chapter001"] == "00:00:00.125"
    found = read_context(stem)
    assert found.cues == (Cue(1000, "here"), Cue(4000))
    assert found.guano.startswith("GUANO|Version: 1.0")
    assert soundfile.SoundFile(stem).title == "Dawn"
    later = separated(stem, tmp_path / "again", start_s=0.0625)
    facts = read_json(later.manifest)["context"]
    assert facts["tags"]["time_reference"] == str(NOON + 2500)
    assert [mark["sample"] for mark in facts["cues"]] == [500, 3500]
    assert facts["cues"][0]["label"] == "here"


@pytest.mark.parametrize(
    ("extension", "audio_format"),
    [("wav", "wav"), ("wav", "flac"), ("wav", "mp3"), ("wav", "ogg"), ("flac", "wav"), ("ogg", "wav"), ("ogg", "flac")],
)
def test_tags_go_from_every_format_into_every_other(tmp_path: Path, extension: str, audio_format: str) -> None:
    path, noise = tmp_path / f"a.{extension}", mixture(sample_rate=16000)
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        file.title, file.artist, file.date, file.genre = "Dawn \u2603", "Zo\u00eb", "2024", "Birds"
        file.write(noise.samples[0].numpy())
    result = separated(path, tmp_path / "out", output=OutputConfig(audio_format))
    expected = {"title": "Dawn \u2603", "artist": "Zo\u00eb", "date": "2024", "genre": "Birds"}
    assert read_json(result.manifest)["context"]["tags"].items() >= expected.items()
    stem = result.stems["hum"]
    assert dict(read_context(stem).tags).items() >= expected.items()
    assert read_audio(stem).n_samples == noise.n_samples


@needs_ffprobe
@pytest.mark.parametrize("audio_format", ["wav", "flac", "mp3", "ogg"])
def test_others_read_the_stems_without_complaint(tmp_path: Path, audio_format: str) -> None:
    path = write_wav(tmp_path / "a.wav", CHUNKS)
    stem = separated(path, tmp_path / "out", output=OutputConfig(audio_format)).stems["hum"]
    command = ["ffprobe", "-v", "warning", "-show_entries", "format_tags:stream_tags", "-of", "default", stem]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "title=dawn" in done.stdout.lower()
    if audio_format != "ogg":  # into which libsndfile puts its ten tags only
        assert f"time_reference={NOON}" in done.stdout.lower()


@needs_ffprobe
def test_files_that_only_ffmpeg_reads_keep_tags_and_loudspeakers(tmp_path: Path) -> None:
    wav, path = write_wav(tmp_path / "a.wav", b"", n_channels=6, mask=0x3F), tmp_path / "a.m4a"
    tags = ["-metadata", "title=Dawn \u2603", "-metadata", "track=7"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, "-c:a", "aac", *tags, path], check=True)
    context = read_context(path)
    assert context.channel_mask == 0x3F
    assert dict(context.tags).items() >= {"title": "Dawn \u2603", "tracknumber": "7"}.items()
    stem = read_context(separated(path, tmp_path / "out").stems["hum"])
    assert stem == replace(context, tags=(("title", "Dawn \u2603"), ("tracknumber", "7")))


def test_without_ffprobe_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.m4a").write_bytes(b"no sound")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_context(tmp_path / "a.m4a") == NOTHING


HOSTILE = {
    "a chunk of most of the file's claims": b"bext" + struct.pack("<I", 2**31) + bext(),
    "a chunk of more than all": chunk(b"INFO", b"x") + b"cue " + struct.pack("<I", 2**32 - 1),
    "too much of it": chunk(b"guan", b"x" * (MOST_BYTES + 1)),
    "a bext that is too short": chunk(b"bext", b"short"),
    "no number of cues": chunk(b"cue ", b"\1"),
    "more cues than there is room for": chunk(b"cue ", struct.pack("<I", 2**32 - 1)),
    "words of no cue": list_chunk(b"adtl", [(b"labl", b"\1"), (b"ltxt", struct.pack("<I", 1))]),
    "a list that does not end": chunk(b"LIST", b"INFOINAM" + struct.pack("<I", 2**32 - 1) + b"Dawn"),
    "lists in lists": chunk(b"LIST", b"INFO" + chunk(b"LIST", b"INFO" + chunk(b"LIST", b"INFO"))),
    "a list of nothing": chunk(b"LIST", b""),
    "many chunks of nothing": chunk(b"junk", b"") * 3000,
    "no letters": chunk(b"guan", b"\xff\xfe\0\x1b[31m") + list_chunk(b"INFO", {b"INAM": b"\xff\x1b[2J"}),
}


def rewritten(context: Context, folder: Path) -> None:
    """Write files that say it, and read them again."""
    for name in ("stem.wav", "stem.flac", "stem.mp3"):
        form: dict[str, Any] = {"n_channels": 1, "sample_rate": RATE, "n_samples": 100, "context": context}
        with writing_audio(folder / name, **form) as write:
            write(torch.full((1, 100), 0.5))
        if name != "stem.mp3":  # which costs a process
            assert read_audio(folder / name).n_samples == 100
        assert (folder / name).stat().st_size < 100_000
        read_context(folder / name)


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_broken_beside_the_sound_costs_the_sound(tmp_path: Path, what: str) -> None:
    path = write_wav(tmp_path / "a.wav", HOSTILE[what])
    assert read_audio(path).n_samples == N_SAMPLES
    rewritten(read_context(path).of_span(slice(10, 3000), RATE), tmp_path)


def test_a_chunk_that_is_cut_short_is_not_taken(tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", chunk(b"guan", GUANO.encode())).read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-20])
    assert read_context(tmp_path / "a.wav") == NOTHING


@pytest.mark.parametrize("what", ["a bext that is too short", "more cues than there is room for", "too much of it"])
def test_what_is_left_out_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    result = separated(write_wav(tmp_path / "a.wav", HOSTILE[what]), tmp_path / "out")
    (note,) = read_json(result.manifest)["context"]["not_read"]
    assert f"{tmp_path / 'a.wav'}: {note}; the stems go without it" in caplog.text


@settings(max_examples=40)
@given(st.data())
def test_broken_chunks_are_read_and_written_on(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    content = bytearray(CHUNKS)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    path = write_wav(folder / "fuzzed.wav", bytes(content[: data.draw(st.integers(0, len(content)))]))
    rewritten(read_context(path).of_span(slice(1000, 3000), RATE), folder)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_broken_comments_are_read_without_a_crash(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.flac"
    form: dict[str, Any] = {"n_channels": 1, "sample_rate": RATE, "n_samples": 100, "context": CARRIED}
    with writing_audio(path, **form) as write:
        write(torch.full((1, 100), 0.5))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 300))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    read_context(path)


def test_a_long_file_is_moved_and_not_lost_when_its_comments_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.audio.tags.AT_ONCE", 1000)
    noise = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 20_000)).astype("f4"), RATE)
    form: dict[str, Any] = {"n_channels": 1, "sample_rate": RATE, "n_samples": 20_000}
    for context in (NOTHING, CARRIED, replace(CARRIED, guano="x" * 5000)):
        for name in ("a.flac", "a.mp3"):
            with writing_audio(tmp_path / name, **form, context=context) as write:
                write(noise.samples)
        torch.testing.assert_close(read_audio(tmp_path / "a.flac").samples, noise.samples, rtol=0, atol=2**-23)
        assert read_audio(tmp_path / "a.mp3").n_samples == 20_000
