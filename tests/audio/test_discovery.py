"""Which files of a folder are taken, and that what is passed over is told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from front_end import write_mixtures

from sepdict.audio.discovery import AUDIO_EXTENSIONS, NO_SOUND, find_audio_files
from sepdict.audio.io import read_audio
from sepdict.batch.layout import find_mixtures
from sepdict.errors import AudioFileError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture, **options: bool) -> list[str]:
    """Search a folder, and return what is said of it."""
    caplog.clear()
    find_audio_files([folder], **options)
    return [record.getMessage().removeprefix(f"{folder}: passed over ") for record in caplog.records]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.wav", "b.mid"], ["1 file (b.mid)"]),
        (["a.wav", "c.mod", "b.mid"], ["2 files (b.mid, c.mod)"]),
        (["a.wav", *(f"{n}.xyz" for n in range(9)), "noext"], ["10 files (0.xyz, 1.xyz, 2.xyz and 7 more)"]),
        (["a.wav", "in/b.wav"], ["1 folder with sound, which --recursive searches (in)"]),
        (
            ["a.wav", "b.mid", "in/deep/b.wav", "of/c.wav"],
            ["1 file (b.mid) and 2 folders with sound, which --recursive searches (in, of)"],
        ),
        (["a.wav", "in/notes.txt", "manifest.json", "cover.PNG", ".hidden", "in/.b.wav", ".in/b.wav"], []),
        (["a.wav"], []),
    ],
    ids=str,
)
def test_one_line_counts_and_names_what_a_folder_holds_besides_sound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], said: list[str]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert warnings_of(tmp_path, caplog) == said


@pytest.mark.parametrize("name", ["gone.wav", "gone.xyz", "gone"])
def test_links_that_lead_nowhere_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / name).symlink_to("nowhere")
    assert warnings_of(tmp_path, caplog) == [f"1 file ({name})"]
    (tmp_path / "a.wav").unlink()
    with pytest.raises(AudioFileError, match=rf"holds no audio file .*; it holds 1 file \({name}\)$"):
        find_audio_files([tmp_path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_a_pipe_called_like_sound_is_named_and_not_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.wav").touch()
    os.mkfifo(tmp_path / "b.wav")
    assert warnings_of(tmp_path, caplog) == ["1 file (b.wav)"]


def test_a_recursive_search_names_what_it_passes_over_deep_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ["in/a.wav", "in/b.mid"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert warnings_of(tmp_path, caplog, recursive=True) == [f"1 file ({Path('in', 'b.mid')})"]


def test_the_folder_of_stems_is_neither_searched_nor_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = write_mixtures(tmp_path, "a")
    write_mixtures(tmp_path / "out", "b")
    for recursive in (False, True):
        assert list(find_mixtures(tmp_path, out=tmp_path / "out", recursive=recursive)) == [(path, "a")]
    assert not caplog.records
    assert list(find_mixtures(tmp_path / "out", out=tmp_path)) == [(tmp_path / "out" / "b.wav", "b")]


def test_files_come_in_the_order_of_their_paths_however_deep_they_are(tmp_path: Path) -> None:
    for name in ["b.wav", "a/z.wav", "a.wav", "a-b/c.wav", "a/b/c.wav", "a/b.wav", "B.wav", "a/.b/c.wav", "a b/c.wav"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c").symlink_to(tmp_path / "a")
    found = find_audio_files([tmp_path], recursive=True)
    assert found == sorted(path for path in tmp_path.rglob("*.wav") if ".b" not in path.parts)
    assert len(found) == 8


def test_no_extension_is_both_sound_and_none() -> None:
    assert not AUDIO_EXTENSIONS & NO_SOUND
    assert all(each == each.lower() and each.startswith(".") for each in AUDIO_EXTENSIONS | NO_SOUND)


OF_FFMPEG = "wv tta oga:flac aifc:aiff mka avi ac3 3gp"  # a few, for each costs two processes
OF_SOUNDFILE = {
    **{"snd": "AU", "sph": "NIST", "nist": "NIST", "paf": "PAF", "pvf": "PVF", "avr": "AVR", "sds": "SDS"},
    **{"8svx": "SVX", "svx": "SVX", "sf": "IRCAM", "wve": "WVE", "wave": "WAV", "bwf": "WAV"},
}


@pytest.mark.parametrize("extension", OF_SOUNDFILE)
def test_what_libsndfile_writes_under_an_extension_is_found_and_read(tmp_path: Path, extension: str) -> None:
    path, noise = tmp_path / f"a.{extension}", read_audio(write_mixtures(tmp_path / "in", "a")[0])
    container = OF_SOUNDFILE[extension]
    subtype = "ALAW" if container == "WVE" else None
    soundfile.write(path, noise.samples[0].numpy(), noise.sample_rate, format=container, subtype=subtype)
    assert find_audio_files([tmp_path]) == [path]
    assert read_audio(path).duration_s == pytest.approx(noise.duration_s, abs=0.05)


@needs_ffmpeg
def test_what_ffmpeg_writes_under_an_extension_is_found_and_read(tmp_path: Path) -> None:
    noise = write_mixtures(tmp_path / "in", "a")[0]
    paths, outputs = [], []
    for form in OF_FFMPEG.split():
        extension, _, container = form.partition(":")
        paths.append(tmp_path / f"a.{extension}")
        codec = {"oga": "flac", "3gp": "aac"}.get(extension)
        outputs += ["-ar", "44100", *(["-c:a", codec] if codec else []), "-strict", "-2"]
        outputs += ["-f", "ogg" if extension == "oga" else container, paths[-1]] if container else [paths[-1]]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", noise, *outputs], check=True)
    assert find_audio_files([tmp_path]) == sorted(paths)
    for path in paths:
        assert read_audio(path).duration_s == pytest.approx(0.75, abs=0.15), path


@pytest.mark.parametrize("url", ["s3://bucket/recordings/", "gs://bucket/a.wav", "https://example.org/a.wav"])
def test_a_url_is_refused_as_one(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (url, Path(url)):
        with pytest.raises(AudioFileError) as refusal:
            find_audio_files([path])
        expected = f"{url.rstrip('/')}: is a URL; expected a file or folder: mount"
        assert str(refusal.value).startswith(expected)
    (file,) = write_mixtures(tmp_path / "s3:", "a")
    assert find_audio_files(["s3:/a.wav"]) == [Path("s3:/a.wav")] == [file.relative_to(tmp_path)]
