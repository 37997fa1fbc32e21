"""The files that the page of `sepdict serve` hands out."""

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi import HTTPException
from front_end import SAMPLE_RATE, mixture

from sepdict import SeparationConfig
from sepdict.web.jobs import Job
from sepdict.web.results import MOST_IN_A_PART, output, part, stems_zip
from sepdict.web.tasks import MIXTURE, RECORD, NamedFile, Separating


def done(folder: Path, mixture: str, stems: list[str]) -> Job:
    """A separation that is done, with files that hold their own names."""
    job = Job(Separating(NamedFile(folder / "x", mixture), [], SeparationConfig(), 1.0), frozenset(), folder / "output")
    job.output.mkdir(parents=True)
    for name in (MIXTURE, RECORD, *(f"{number}.wav" for number in range(len(stems)))):
        (job.output / name).write_text(name)
    job.state, job.result = "done", {"stems": stems}
    return job


def test_stems_and_folders_in_a_zip_have_names_that_every_system_takes(tmp_path: Path) -> None:
    one = done(tmp_path / "1", "con.wav", ["who?", "Who_", "aux.1", "residual"])
    other = done(tmp_path / "2", "CON.flac", ["hum"])
    stems = ["who_.wav", "Who_ 2.wav", "_aux.1.wav", "residual.wav", "separation.json"]
    path, name = stems_zip([one])
    assert name == "_con.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == stems
        assert archive.read("Who_ 2.wav") == b"1.wav"
    assert output(one, "2.wav") == (one.output / "2.wav", "_aux.1.wav")
    with zipfile.ZipFile(stems_zip([one, other])[0]) as archive:
        others = ["_CON 2/hum.wav", "_CON 2/separation.json"]
        assert archive.namelist() == [f"_con/{stem}" for stem in stems] + others


def test_parts_of_a_sound_are_it_sample_by_sample_and_there_are_none_beside(tmp_path: Path) -> None:
    job = done(tmp_path, "mix.wav", ["hum"])
    whole = mixture(n_samples=10_007, n_channels=2).samples.T.numpy()
    for name in (MIXTURE, "0.wav"):
        soundfile.write(job.output / name, whole, SAMPLE_RATE, subtype="FLOAT")
    for name in ("mixture.wav", "0.wav"):
        bounds = [0, 1, 4000, 8000, 10_007]
        parts = [part(job, name, start, stop) for start, stop in itertools.pairwise(bounds)]
        sounds = [soundfile.read(io.BytesIO(each), dtype="float32", always_2d=True) for each in parts]
        np.testing.assert_array_equal(np.concatenate([samples for samples, _ in sounds]), whole)
        assert {rate for _, rate in sounds} == {SAMPLE_RATE}
    for name, start, stop, status in [
        ("0.wav", 0, 10_008, 404),
        ("0.wav", 10_007, 10_008, 404),
        ("0.wav", 5, 5, 404),
        ("0.wav", -5, 5, 404),
        ("1.wav", 0, 5, 404),
        ("0.png", 0, 5, 404),
        ("0.wav", 0, MOST_IN_A_PART + 1, 422),
    ]:
        with pytest.raises(HTTPException) as refused:
            part(job, name, start, stop)
        assert refused.value.status_code == status
    (job.output / "0.wav").unlink()  # forgotten meanwhile
    with pytest.raises(HTTPException, match="404"):
        part(job, "0.wav", 0, 5)
