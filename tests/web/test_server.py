"""The server of `sepdict serve`: what it does, and what comes back."""

import errno
import io
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, TINY, fail, mixture, read_json, sound, trained, write_bad
from web_client import ADDRESS, LIMITS, SAME_ORIGIN, ended, files_of, in_library, send, service_of, uploaded, wav

from sepdict import Audio, Dictionary
from sepdict._core.fs import sha256_of
from sepdict.dictionaries.library import installed
from sepdict.progress import Progress
from sepdict.web.dictionaries import Library
from sepdict.web.jobs import Job, QueueFullError, ShareTakenError
from sepdict.web.server import Settings, create_app

pytest_plugins = ["web_server"]


def test_the_stems_sum_to_the_mixture(client: TestClient) -> None:
    whole = mixture(n_channels=2, n_samples=9000)
    names = in_library(client)
    request = {"mixture": uploaded(client, "mixture", whole), "dictionaries": [names["hiss"], names["hum"]]}
    job = ended(client, client.post("/api/separations", json=request).json())
    assert job["state"] == "done", job
    assert job["result"]["stems"] == ["hiss", "hum"]
    parts = [client.get(f"/api/jobs/{job['id']}/{number}.wav").content for number in range(2)]
    samples = [torch.from_numpy(soundfile.read(io.BytesIO(part), dtype="float32")[0].T) for part in parts]
    torch.testing.assert_close(sum(samples), whole.samples, rtol=0, atol=1e-6)
    heard = client.get(f"/api/jobs/{job['id']}/mixture.wav").content
    decoded, rate = soundfile.read(io.BytesIO(heard), dtype="float32")
    assert rate == SAMPLE_RATE
    assert torch.equal(torch.from_numpy(decoded.T), whole.samples)
    part = client.get(f"/api/jobs/{job['id']}/mixture.wav?start=4000&stop=5000")
    assert part.headers["content-type"] == "audio/wav"
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(part.content), dtype="float32")[0], decoded[4000:5000])
    beyond = client.get(f"/api/jobs/{job['id']}/mixture.wav?start=4000&stop=9001")
    assert (beyond.status_code, list(beyond.json())) == (404, ["error"])
    tracks = torch.stack([whole.samples, *samples]).double()
    products = torch.einsum("acn,bcn->ab", tracks, tracks)
    torch.testing.assert_close(torch.tensor(job["result"]["products"]).double(), products, rtol=1e-4, atol=1e-4)

    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/stems.zip").content))
    assert archive.namelist() == ["hiss.wav", "hum.wav", "separation.json"]
    assert [archive.read(name) for name in archive.namelist()[:2]] == parts
    about = read_json(archive.read("separation.json").decode())  # how they were made
    assert (about["mixture"], list(about["dictionaries"])) == ("sound.wav", ["hiss", "hum"])
    assert about["explained_energy"] == job["result"]["explained_energy"]
    assert about["settings"]["mask_estimator"]["n_steps"] > 0
    pictures = [client.get(f"/api/jobs/{job['id']}/{name}.png").content for name in ("mixture", "0", "1")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 3
    assert client.get(f"/api/jobs/{job['id']}/2.wav").status_code == 404

    assert client.delete(f"/api/jobs/{job['id']}/result").status_code == 200
    assert client.get(f"/api/jobs/{job['id']}").status_code == 404
    assert not any(path.suffix == ".png" for path in files_of(client))


def test_of_several_mixtures_a_bad_one_fails_alone_and_the_others_are_one_zip(
    client: TestClient, tmp_path: Path
) -> None:
    names = in_library(client)
    bad = write_bad(tmp_path / "x.wav", "damaged FLAC").read_bytes()
    good = wav(mixture())
    contents = {"...wav": good, "bad.wav": bad, "Take.wav": good, "take.flac": good}
    request = {"dictionaries": [names["hiss"], names["hum"]], "quality": "draft"}
    jobs = []
    for name, content in contents.items():
        mixed = send(client, "mixture", name, content).json()["id"]
        jobs.append(client.post("/api/separations", json={"mixture": mixed, **request}).json())
    ends = [ended(client, job) for job in jobs]
    assert [end["state"] for end in ends] == ["done", "failed", "done", "done"]
    assert ends[1]["message"].startswith("bad.wav: damaged or cut short")
    first, bad_one, *more = [end["id"] for end in ends]
    answer = client.get(f"/api/jobs/{first}/stems.zip", params={"more": more})
    assert 'filename="separated.zip"' in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    folders = ["mixture", "Take", "take 2"]  # no name from the browser leads out of the folder it is unpacked in
    inside = ("hiss.wav", "hum.wav", "separation.json")
    assert archive.namelist() == [f"{folder}/{name}" for folder in folders for name in inside]
    assert archive.read("take 2/hum.wav") == client.get(f"/api/jobs/{more[1]}/1.wav").content
    for others in ([bad_one], ["none"], more * 300):
        assert client.get(f"/api/jobs/{first}/stems.zip", params={"more": others}).status_code in (404, 422)


@pytest.mark.parametrize(("form", "exactness"), [("flac", 1e-3), ("mp3", 0.2)])
def test_stems_can_be_had_in_other_formats_which_never_clip(client: TestClient, form: str, exactness: float) -> None:
    whole = mixture(n_samples=9000)
    loud = replace(whole, samples=3 * whole.samples / whole.samples.abs().max())
    request = {"mixture": uploaded(client, "mixture", loud), "dictionaries": list(in_library(client).values())}
    job = ended(client, client.post("/api/separations", json={**request, "quality": "draft"}).json())

    def stems(end: str) -> list[torch.Tensor]:
        files = [client.get(f"/api/jobs/{job['id']}/{number}.{end}").content for number in range(2)]
        return [torch.from_numpy(soundfile.read(io.BytesIO(file), dtype="float32")[0]) for file in files]

    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/stems.zip?form={form}").content))
    assert archive.namelist() == [f"hiss.{form}", f"hum.{form}", "separation.json"]
    assert archive.read(f"hum.{form}") == client.get(f"/api/jobs/{job['id']}/1.{form}").content
    gains = [float(soft @ loud / (loud @ loud)) for soft, loud in zip(stems(form), stems("wav"), strict=True)]
    assert gains[0] == pytest.approx(gains[1], rel=exactness)
    assert gains[0] < 0.7
    assert 0.8 < max(float(stem.abs().max()) for stem in stems(form)) < 1
    assert client.get(f"/api/jobs/{job['id']}/stems.zip?form=aiff").status_code == 422


@pytest.mark.parametrize(("code", "status"), [(errno.ENOSPC, 507), (errno.ENOENT, 404)])
def test_a_zip_that_cannot_be_written_is_said_and_leaves_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, code: int, status: int
) -> None:
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [in_library(client)["hum"]]}
    job = ended(client, client.post("/api/separations", json=request).json())
    before = files_of(client)

    def refuse(*_: object) -> None:
        raise OSError(code, "not now")

    monkeypatch.setattr(zipfile.ZipFile, "write", refuse)
    answer = client.get(f"/api/jobs/{job['id']}/stems.zip")
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert files_of(client) == before


def test_what_no_dictionary_knows_can_get_one_on_the_spot(client: TestClient) -> None:
    whole = mixture(n_samples=9000)
    request = {"mixture": uploaded(client, "mixture", whole), "dictionaries": [in_library(client)["hum"]]}
    parts = {}
    for background_model in (False, True):
        job = ended(
            client, client.post("/api/separations", json={**request, "background_model": background_model}).json()
        )
        assert job["result"]["stems"] == ["hum", "residual"], job
        files = [client.get(f"/api/jobs/{job['id']}/{number}.wav").content for number in range(2)]
        parts[background_model] = [
            torch.from_numpy(soundfile.read(io.BytesIO(file), dtype="float32")[0]) for file in files
        ]
        torch.testing.assert_close(sum(parts[background_model]), whole.samples[0], rtol=0, atol=1e-6)
    assert not torch.allclose(parts[False][1], parts[True][1], atol=1e-3)


def test_what_kind_of_dictionary_is_trained_can_be_chosen(client: TestClient) -> None:
    solo = uploaded(client, "solo", sound("hiss", n_samples=2 * SAMPLE_RATE))
    for network, kind in {"default": "dense", "nonnegative": "nonnegative", "convolutional": "convolutional"}.items():
        request = {"source": "hiss", "solos": [solo], "network": network}
        job = ended(client, client.post("/api/trainings", json=request).json())
        assert job["result"]["network"] == kind, job
    request = {"source": "hiss", "solos": [solo], "network": "lecture"}
    assert client.post("/api/trainings", json=request).status_code == 422


def test_a_source_that_was_trained_here_can_be_used_kept_and_taken_home(client: TestClient, library: Path) -> None:
    solo = uploaded(client, "solo", sound("hiss", n_samples=2 * SAMPLE_RATE), "<b>take 1.wav")
    job = ended(client, client.post("/api/trainings", json={"source": "rain & wind", "solos": [solo]}).json())
    assert job["state"] == "done", job
    file = client.get(f"/api/dictionaries/{job['result']['id']}")
    assert "rain%20%26%20wind.safetensors" in file.headers["content-disposition"]
    kept = client.post(f"/api/dictionaries/{job['result']['id']}/keep").json()["id"]
    assert client.post(f"/api/dictionaries/{job['result']['id']}/keep").json()["id"] == kept
    assert in_library(client)["rain & wind"] == kept
    path = Library(library).path(kept)
    assert path is not None
    assert path.name == "rain-wind.safetensors"  # letters and digits, and nothing else that came from the browser
    assert path.read_bytes() == file.content
    assert [recording["name"] for recording in Dictionary.load(path).card.heard] == ["<b>take 1.wav"]

    again = send(client, "dictionary", "rain.safetensors", file.content).json()
    assert again["source"] == "rain & wind"
    alone = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [again["id"]]}
    assert ended(client, client.post("/api/separations", json=alone).json())["result"]["stems"][-1] == "residual"
    path.unlink()


def test_two_dictionaries_of_one_name_are_both_kept(tmp_path: Path) -> None:
    one = trained("hiss")
    other = Dictionary(replace(one.card, training={"seed": 1}), one.network)
    library = Library(tmp_path / "new")
    assert len({library.keep(each) for each in (one, other, one, other)}) == 2
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [f"hiss-{other.sha256[:16]}.safetensors", "hiss.safetensors"]
    odd = Dictionary(replace(one.card, source="鳥"), one.network)
    assert library.path(library.keep(odd)) == tmp_path / "new" / "dictionary.safetensors"


def test_a_job_that_is_cancelled_ends_at_once_and_leaves_nothing(client: TestClient) -> None:
    service = service_of(client)
    service.training = replace(TINY, n_steps=600_000, n_checks=60_000, patience=10**6)
    try:
        hum = sound("hum", n_samples=2 * SAMPLE_RATE)
        solo = uploaded(client, "solo", replace(hum, samples=hum.samples - hum.samples.mean()))  # it has no offset
        before = files_of(client)
        jobs = [client.post("/api/trainings", json={"source": "hum", "solos": [solo]}).json() for _ in range(2)]
        while "stage" not in (report := client.get(f"/api/jobs/{jobs[0]['id']}").json()):
            assert report["state"] in ("waiting", "running"), report
            time.sleep(0.05)
        assert report["warnings"] == ["2 s of sound is little; two or three minutes are better"]  # while it trains
        assert client.get(f"/api/jobs/{jobs[1]['id']}").json()["n_before"] == 1
        assert client.delete(f"/api/jobs/{jobs[0]['id']}/result").status_code == 200  # nothing yet
        assert client.get(f"/api/jobs/{jobs[0]['id']}").json()["state"] == "running"
        for job in reversed(jobs):
            assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "canceled"
        assert [ended(client, job)["state"] for job in jobs] == ["canceled", "canceled"]
        time.sleep(0.2)
        assert files_of(client) == before
    finally:
        service.training = TINY
    names = in_library(client)
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [names["hum"]]}
    assert ended(client, client.post("/api/separations", json=request).json())["state"] == "done"


def test_a_dictionary_can_be_heard_alone(client: TestClient) -> None:
    answers = [client.get(f"/api/dictionaries/{in_library(client)['hum']}/sound.wav") for _ in range(2)]
    assert {(answer.status_code, answer.headers["content-type"]) for answer in answers} == {(200, "audio/wav")}
    assert answers[0].content == answers[1].content
    samples, rate = soundfile.read(io.BytesIO(answers[0].content))
    assert (rate, len(samples)) == (SAMPLE_RATE, 5 * SAMPLE_RATE)
    assert 0.4 < abs(samples).max() <= 0.5
    assert client.get("/api/dictionaries/none/sound.wav").status_code == 404


def test_what_is_wrong_inside_a_sound_is_said_in_one_line_with_its_own_name(client: TestClient, tmp_path: Path) -> None:
    content = write_bad(tmp_path / "x.wav", "damaged FLAC").read_bytes()
    request = {
        "mixture": send(client, "mixture", "<img src=x onerror=alert(1)>.wav", content).json()["id"],
        "dictionaries": [in_library(client)["hum"]],
    }
    job = ended(client, client.post("/api/separations", json=request).json())
    assert job["state"] == "failed"
    name = "<img src=x onerror=alert(1)>.wav"
    assert job["message"].startswith(f"{name}: damaged or cut short: its header promises 2.0 s")
    assert "\n" not in job["message"]
    silence = uploaded(client, "solo", Audio(torch.zeros(2 * SAMPLE_RATE), SAMPLE_RATE), "silence.wav")
    job = ended(client, client.post("/api/trainings", json={"source": "none", "solos": [silence]}).json())
    assert job["state"] == "failed"
    assert "digital silence" in job["message"]
    assert "\n" not in job["message"]


def test_the_line_has_an_end(client: TestClient) -> None:
    solo = uploaded(client, "solo", sound("hum", n_samples=2 * SAMPLE_RATE))
    jobs = [client.post("/api/trainings", json={"source": "hum", "solos": [solo]})]
    while jobs[-1].status_code == 200 and len(jobs) < 100:  # some may have ended meanwhile
        jobs.append(client.post("/api/trainings", json={"source": "hum", "solos": [solo]}))
    assert jobs[-1].status_code == 503
    assert len(jobs) > LIMITS.n_waiting + 1
    assert "jobs are waiting already" in jobs[-1].json()["error"]
    for job in jobs:
        if job.status_code == 200:
            client.delete(f"/api/jobs/{job.json()['id']}")


@pytest.mark.parametrize(("error", "status"), [(QueueFullError, 503), (ShareTakenError, 429)])
def test_a_full_queue_is_the_servers_matter_and_a_share_that_is_taken_the_clients(
    error: type[QueueFullError], status: int, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Job) -> None:
        raise error("3 jobs are waiting already")

    monkeypatch.setattr(service_of(client).queue, "submit", refuse)
    solo = uploaded(client, "solo", sound(n_samples=2 * SAMPLE_RATE))
    answer = client.post("/api/trainings", json={"source": "hum", "solos": [solo]})
    assert (answer.status_code, answer.json()) == (status, {"error": "3 jobs are waiting already"})


def test_the_icon_of_the_tab_is_there(client: TestClient) -> None:
    (icon,) = re.findall(r'rel="icon" href="([^"]+)"', client.get("/").text)
    answer = client.get(f"/{icon}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


def test_a_source_with_a_name_that_no_file_can_have_is_refused_in_one_line(client: TestClient) -> None:
    solo = uploaded(client, "solo", sound(n_samples=2 * SAMPLE_RATE))
    answer = client.post("/api/trainings", json={"source": "../x", "solos": [solo]})
    assert answer.status_code == 400  # before anything is learned
    assert "expected a name that can be a file's" in answer.json()["error"]


def test_of_silence_it_is_said_that_it_is_silent(client: TestClient) -> None:
    silence = uploaded(client, "mixture", Audio(torch.zeros(SAMPLE_RATE), SAMPLE_RATE))
    faint = uploaded(client, "mixture", Audio(1e-6 * sound(n_samples=SAMPLE_RATE).samples, SAMPLE_RATE))
    for upload, is_silent in ((silence, True), (faint, False)):
        request = {"mixture": upload, "dictionaries": [in_library(client)["hum"]]}
        job = ended(client, client.post("/api/separations", json=request).json())
        assert job["result"]["is_silent"] is is_silent


def test_files_of_the_same_content_are_known_by_it(client: TestClient, tmp_path: Path) -> None:
    one, other = wav(sound()), wav(sound(seed=1))
    sums = [
        send(client, "solo", name, content).json()["sha256"] for name, content in (("a", one), ("b", one), ("a", other))
    ]
    assert sums[0] == sums[1] != sums[2]
    file = trained("hum").save(tmp_path / "hum.safetensors").read_bytes()
    sha256 = send(client, "dictionary", "h.safetensors", file).json()["sha256"]
    assert [each["sha256"] for each in client.get("/api/dictionaries").json()].count(sha256) == 1


def test_a_part_of_a_sound_can_be_asked_for(client: TestClient) -> None:
    names = in_library(client)
    answer = client.get(f"/api/dictionaries/{names['hum']}", headers={"range": "bytes=0-7"})
    assert (answer.status_code, len(answer.content)) == (206, 8)


def test_an_upload_gets_the_process_for_jobs_ready(library: Path) -> None:
    with TestClient(create_app(Settings(library=library)), base_url=ADDRESS, headers=SAME_ORIGIN) as client:
        jobs = service_of(client).queue._worker
        assert jobs._worker is None
        uploaded(client, "mixture", mixture())
        assert jobs._worker.is_alive


def test_everything_is_deleted_at_the_end(library: Path) -> None:
    before = sha256_of(library / "hum.safetensors")
    with TestClient(create_app(Settings(library=library)), base_url=ADDRESS, headers=SAME_ORIGIN) as client:
        uploaded(client, "mixture", mixture())
        folder = service_of(client).store.folder
        assert files_of(client)
        assert folder.stat().st_mode & 0o077 == 0  # nobody else's business
    assert not folder.exists()
    assert sha256_of(library / "hum.safetensors") == before


def test_a_library_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert Library(tmp_path / "none").facts() == {}


def test_the_page_finds_the_dictionaries_that_the_command_finds(library: Path, tmp_path: Path) -> None:
    for name in ("hum", ".hidden"):
        shutil.copy(library / "hum.safetensors", tmp_path / f"{name}.safetensors")
    found = Library(tmp_path)
    assert [found.path(identifier) for identifier in found.facts()] == list(installed(tmp_path).values())
    assert list(installed(tmp_path)) == ["hum"]


def test_the_page_has_words_for_every_stage() -> None:
    stages = re.findall(r'``"(\w+)"``', Progress.__doc__ or "")
    words = re.search(
        r"const STAGES = \{(.*?)\};", (resources.files("sepdict.web") / "static" / "progress.js").read_text(), re.DOTALL
    )
    assert words
    assert sorted(re.findall(r"^ +(\w+): \"", words[1], re.MULTILINE)) == sorted(stages)


SERVED = [Path(str(resources.files(package) / "static")) for package in ("sepdict.web", "sepdict.reports")]


@pytest.mark.parametrize(
    "path", [path for folder in SERVED for path in sorted(folder.iterdir())], ids=lambda path: path.name
)
def test_the_page_is_made_of_what_is_served_here_only(path: Path) -> None:
    addresses = set(re.findall(r"\b(?:https?:)?//[\w.-]+\.[a-z]+[\w./-]*", path.read_text(encoding="utf-8")))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}  # names, never fetched
    if path.suffix == ".js":
        assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", path.read_text())


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_end(library: Path, tmp_path: Path) -> None:
    command = "import sys; from importlib.metadata import entry_points as e; sys.argv[0] = 'sepdict'; "
    command += "e(group='console_scripts', name='sepdict')['sepdict'].load()()"
    arguments = [sys.executable, "-c", command, "serve", "--port", "0", "--no-open"]
    environment = {"SEPDICT_LIBRARY": str(library), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(arguments, env=environment, stdout=PIPE, stderr=PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stderr is not None
        line = serving.stdout.readline()
        address = re.fullmatch(r"listening at (http://127\.0\.0\.1:(\d+)/) \(Ctrl-C ends it\)\n", line)
        assert address
        with urllib.request.urlopen(address[1]) as page:
            assert b"sepdict" in page.read()
        assert list(tmp_path.iterdir())
        assert f"cannot listen at 127.0.0.1, port {address[2]} " in fail("serve", "--no-open", "--port", address[2])
        serving.terminate()
        assert serving.wait(20) == 0
        assert serving.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
