"""What is checked of a file before it is used: nothing of its end is missing, and it is not silent."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
import torch
from front_end import SAMPLE_RATE, mixture, write_bad

from sepdict import AudioFileError
from sepdict.audio.checks import AT_ONCE, is_silent_file, refuse_cut_file

SAMPLES = mixture(n_samples=6 * SAMPLE_RATE).samples[0].numpy()


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_flac_that_is_cut_is_refused_with_what_its_header_promises_and_what_is_there(
    share: float, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.flac", SAMPLES, SAMPLE_RATE)
    refuse_cut_file(tmp_path / "a.flac")
    with pytest.raises(AudioFileError) as caught:
        refuse_cut_file(cut(tmp_path / "a.flac", share))
    promised_s, there_s = (float(number) for number in re.findall(r"([\d.]+) s\b", str(caught.value)))
    assert promised_s == 6
    assert 6 * share - 1 < there_s < 6
    assert "cut short" in str(caught.value)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_what_only_ffmpeg_reads_is_refused_where_it_is_cut(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, SAMPLE_RATE)
    arguments = ["-v", "error", "-i", tmp_path / "a.wav", "-movflags", "faststart", tmp_path / "a.m4a"]
    subprocess.run(["ffmpeg", *arguments], check=True)
    refuse_cut_file(tmp_path / "a.m4a")
    with pytest.raises(
        AudioFileError, match=r"cut short: its header promises 6\.\d s, [2-4]\.\d s are there; copy it again"
    ):
        refuse_cut_file(cut(tmp_path / "a.m4a", 0.6))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_whole_files_pass_and_only_one_in_which_nothing_sounds_is_silent(name: str, tmp_path: Path) -> None:
    silence = torch.zeros(3 * AT_ONCE)
    late = torch.cat([silence, torch.tensor([0.5, -0.5]).repeat(SAMPLE_RATE // 4)])
    for samples, is_silent in ((silence, True), (late, False)):
        soundfile.write(tmp_path / name, samples.numpy(), SAMPLE_RATE)
        refuse_cut_file(tmp_path / name)
        assert is_silent_file(tmp_path / name) is is_silent


def test_no_more_than_the_beginning_is_read_to_find_that_something_sounds(tmp_path: Path) -> None:
    assert not is_silent_file(write_bad(tmp_path / "a.wav", "damaged FLAC"))
