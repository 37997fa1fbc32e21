"""The files that the page of `sepdict serve` hands out."""

import zipfile
from pathlib import Path

from sepdict import SeparationConfig
from sepdict.web.jobs import Job
from sepdict.web.results import output, stems_zip
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
