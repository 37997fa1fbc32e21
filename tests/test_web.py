"""The server of `sepdict serve`: what it takes, what it refuses, and what comes back."""

import io
import itertools
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx2 as httpx
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from front_end import BAD, SAMPLE_RATE, TINY, fail, mixture, sound, trained, write_bad

from sepdict import Audio, Dictionary
from sepdict.files import sha256_of
from sepdict.library import installed
from sepdict.web.library import Library
from sepdict.web.server import STATIC, Settings, create_app
from sepdict.web.store import Limits

ADDRESS = "http://localhost"
SAME_ORIGIN = {"origin": ADDRESS}
LIMITS = Limits(file_bytes=400_000, total_bytes=2_000_000, n_files=6, mixture_s=20, solos_s=30, n_waiting=3)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for source in ("hiss", "hum"):
        trained(source).save(folder / f"{source}.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no dictionary")
    return folder


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[TestClient]:
    """One server for all tests of the module, for its process takes seconds to start."""
    app = create_app(Settings(library=library, limits=LIMITS, training=TINY))
    with TestClient(app, base_url=ADDRESS, headers=SAME_ORIGIN, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(server: TestClient) -> Iterator[TestClient]:
    """The server, from which what a test has uploaded and made is taken away afterwards."""
    yield server
    desk = desk_of(server)
    for identifier in list(desk.store.uploads):
        desk.store.remove(identifier)
    desk.queue.kept_s = -1.0
    desk.queue.sweep()
    desk.queue.kept_s = LIMITS.kept_s


def desk_of(client: TestClient) -> Any:
    return client.app.state.desk  # type: ignore[attr-defined]


def send(client: TestClient, kind: str, name: str, content: bytes) -> httpx.Response:
    return client.post("/api/uploads", params={"kind": kind, "name": name}, content=content)


def wav(audio: Audio) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio.samples.T.numpy(), audio.sample_rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def uploaded(client: TestClient, kind: str, audio: Audio, name: str = "sound.wav") -> str:
    answer = send(client, kind, name, wav(audio))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def ended(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(1200):
        job = client.get(f"/api/jobs/{job['id']}").json()
        if job["state"] not in ("waiting", "running"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"does not end: {job}")


def in_library(client: TestClient) -> dict[str, str]:
    return {each["source"]: each["id"] for each in client.get("/api/dictionaries").json()}


def files_of(client: TestClient) -> set[Path]:
    return {path for path in desk_of(client).store.folder.rglob("*") if path.is_file()}


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

    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/stems.zip").content))
    assert {name: archive.read(name) for name in archive.namelist()} == dict(
        zip(["hiss.wav", "hum.wav"], parts, strict=True)
    )
    pictures = [client.get(f"/api/jobs/{job['id']}/{name}.png").content for name in ("mixture", "0", "1")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == 3
    assert client.get(f"/api/jobs/{job['id']}/2.wav").status_code == 404


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
    desk = desk_of(client)
    desk.training = replace(TINY, n_steps=10**6, n_checks=10**5, patience=10**6)
    try:
        solo = uploaded(client, "solo", sound("hum", n_samples=2 * SAMPLE_RATE))
        before = files_of(client)
        jobs = [client.post("/api/trainings", json={"source": "hum", "solos": [solo]}).json() for _ in range(2)]
        while "step" not in (report := client.get(f"/api/jobs/{jobs[0]['id']}").json()):
            assert report["state"] in ("waiting", "running"), report
            time.sleep(0.05)
        assert client.get(f"/api/jobs/{jobs[1]['id']}").json()["n_before"] == 1
        for job in reversed(jobs):
            assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
        assert [ended(client, job)["state"] for job in jobs] == ["cancelled", "cancelled"]
        time.sleep(0.2)
        assert files_of(client) == before
    finally:
        desk.training = TINY
    names = in_library(client)
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [names["hum"]]}
    assert ended(client, client.post("/api/separations", json=request).json())["state"] == "done"


def test_what_is_wrong_inside_a_sound_is_said_in_one_line_with_its_own_name(client: TestClient, tmp_path: Path) -> None:
    content = write_bad(tmp_path / "x.wav", "with NaN").read_bytes()
    request = {
        "mixture": send(client, "mixture", "<img src=x onerror=alert(1)>.wav", content).json()["id"],
        "dictionaries": [in_library(client)["hum"]],
    }
    job = ended(client, client.post("/api/separations", json=request).json())
    assert (job["state"], job["message"]) == (
        "failed",
        "<img src=x onerror=alert(1)>.wav: holds NaN or infinite samples, first at 0.500 s; mend the audio",
    )
    silence = uploaded(client, "solo", Audio(torch.zeros(2 * SAMPLE_RATE), SAMPLE_RATE), "silence.wav")
    job = ended(client, client.post("/api/trainings", json={"source": "none", "solos": [silence]}).json())
    assert job["state"] == "failed"
    assert "digital silence" in job["message"]
    assert "\n" not in job["message"]


@pytest.mark.parametrize("what", ["empty", "text", "without samples"])
def test_what_is_no_sound_is_refused_in_one_line_and_leaves_nothing(
    what: str, client: TestClient, tmp_path: Path
) -> None:
    answer = send(client, "mixture", "take.wav", write_bad(tmp_path / "x.wav", what).read_bytes())
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.startswith("take.wav: ")
    assert BAD[what] in error
    assert str(desk_of(client).store.folder) not in error
    assert files_of(client) == set()


def test_what_is_no_dictionary_is_refused(client: TestClient) -> None:
    answer = send(client, "dictionary", "d.safetensors", b"x" * 100)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("d.safetensors: ")
    assert files_of(client) == set()


def test_dictionaries_that_do_not_go_together_are_refused_at_once(client: TestClient, tmp_path: Path) -> None:
    hum = in_library(client)["hum"]
    file = trained("hum").save(tmp_path / "hum.safetensors").read_bytes()
    other = send(client, "dictionary", "h.safetensors", file).json()["id"]
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [hum, other]}
    answer = client.post("/api/separations", json=request)
    assert answer.status_code == 400
    assert "2 dictionaries are of source 'hum'" in answer.json()["error"]


def test_what_is_too_large_is_refused_before_it_is_read(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        raise AssertionError("was read")
        yield b""

    length = {"content-length": str(LIMITS.file_bytes + 1)}
    answer = client.post("/api/uploads?kind=mixture&name=x.wav", content=body(), headers=length)
    assert answer.status_code == 413
    assert "too large" in answer.json()["error"]
    answer = client.post("/api/separations", content=b"[" * 100_000, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_what_is_longer_than_announced_is_counted_while_it_arrives(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        yield from itertools.repeat(bytes(50_000), 20)

    answer = client.post("/api/uploads?kind=mixture&name=x.wav", content=body(), headers={"content-length": "10"})
    assert answer.status_code == 413
    assert files_of(client) == set()


def test_a_request_must_say_how_long_it_is(client: TestClient) -> None:
    answer = client.post("/api/uploads?kind=mixture&name=x.wav", content=iter([b"x"]))
    assert answer.status_code == 411


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "9" * 500])
def test_a_length_that_is_none_is_refused(length: str, client: TestClient) -> None:
    headers = {"content-length": length.encode()}
    answer = client.post("/api/uploads?kind=mixture&name=x.wav", content=iter([b"x"]), headers=headers)
    assert answer.status_code in (400, 413)


def test_too_many_files_and_too_many_bytes_are_refused(client: TestClient) -> None:
    for _ in range(LIMITS.n_files):
        uploaded(client, "solo", sound(n_samples=100))
    answer = send(client, "solo", "more.wav", wav(sound()))
    assert (answer.status_code, "6 files already" in answer.text) == (413, True)
    desk_of(client).store.remove(next(iter(desk_of(client).store.uploads)))
    uploaded(client, "solo", sound())
    for upload in desk_of(client).store.uploads.values():
        upload.n_bytes = LIMITS.total_bytes // LIMITS.n_files
    desk_of(client).store.remove(next(iter(desk_of(client).store.uploads)))
    assert send(client, "solo", "more.wav", wav(sound(n_samples=95_000))).status_code == 413


def test_what_is_too_long_is_refused(client: TestClient) -> None:
    answer = send(client, "mixture", "long.wav", wav(sound(n_samples=25 * 1000, sample_rate=1000)))
    assert answer.status_code == 400
    assert "long.wav: lasts 0.4 minutes; expected 0.333333 at most" in answer.json()["error"]
    solos = [uploaded(client, "solo", sound(n_samples=25 * 1000, sample_rate=1000)) for _ in range(2)]
    answer = client.post("/api/trainings", json={"source": "s", "solos": solos})
    assert "together" in answer.json()["error"]


def test_the_line_has_an_end(client: TestClient) -> None:
    solo = uploaded(client, "solo", sound("hum", n_samples=2 * SAMPLE_RATE))
    jobs = [client.post("/api/trainings", json={"source": "hum", "solos": [solo]}) for _ in range(LIMITS.n_waiting + 2)]
    assert jobs[-1].status_code == 400
    assert "jobs are waiting already" in jobs[-1].json()["error"]
    for job in jobs:
        if job.status_code == 200:
            client.delete(f"/api/jobs/{job.json()['id']}")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\duet.wav", "duet.wav"),
        ("<script>alert(1)</script>.wav", "script>.wav"),
        ("a\r\nset-cookie: b.wav", "aset-cookie: b.wav"),
        ("/", "a file without name"),
        ("x" * 900, "x" * 200),
        ("évil.wav\0.flac", "évil.wav.flac"),
    ],
)
def test_no_name_from_the_browser_reaches_the_disk(name: str, shown: str, client: TestClient) -> None:
    answer = send(client, "mixture", name, wav(sound()))
    assert answer.json()["name"] == shown
    (path,) = files_of(client)
    assert re.fullmatch(r"[0-9a-f]{32}(\.wav|\.flac)?", path.name)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/static/../../server.py",
        "/%2e%2e%2f%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/....//server.py",
        "//etc/passwd",
        "/%00",
        "/api/dictionaries/..%2f..%2fetc%2fpasswd",
        "/api/dictionaries/hum.safetensors",
        "/api/jobs/x/..%2f..%2fstems.zip",
        "/api/uploads/..",
        "/docs",
        "/openapi.json",
    ],
)
def test_probes_find_nothing(path: str, client: TestClient) -> None:
    answer = client.get(httpx.URL(ADDRESS + path))
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/limits", "/api/jobs/none", "/nothing"])
def test_every_answer_tells_the_browser_to_stay_within(path: str, client: TestClient) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["localhost", "localhost:8042", "127.0.0.1", "[::1]", "[::1]:8042", "LOCALHOST"])
def test_this_machine_is_known_by_its_names(host: str, client: TestClient) -> None:
    assert client.get("/api/limits", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.a.example", "a@localhost"])
def test_names_of_others_that_lead_here_are_refused(host: str, client: TestClient) -> None:
    assert client.get("/api/limits", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["", "null", "http://evil.example", "http://localhost:1", "file://localhost", "http://localhost.evil.example"],
)
def test_other_pages_cannot_change_anything(origin: str, client: TestClient) -> None:
    upload = uploaded(client, "solo", sound())
    for method, path in [("POST", "/api/uploads?kind=solo&name=x"), ("DELETE", f"/api/uploads/{upload}")]:
        assert client.request(method, path, content=b"", headers={"origin": origin}).status_code == 403
    assert client.get(f"/api/uploads/{upload}").status_code == 200


@pytest.mark.parametrize(
    "request_", [b"", b"no json", b"[]", b"{}", b'{"source": "x", "solos": [1]}', b'{"source": "", "solos": ["a"]}']
)
def test_requests_that_make_no_sense_are_refused_in_one_line(request_: bytes, client: TestClient) -> None:
    answer = client.post("/api/trainings", content=request_, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "\n" not in answer.json()["error"]


def test_a_source_with_a_name_that_no_file_can_have_is_refused_in_one_line(client: TestClient) -> None:
    solo = uploaded(client, "solo", sound(n_samples=2 * SAMPLE_RATE))
    job = ended(client, client.post("/api/trainings", json={"source": "../x", "solos": [solo]}).json())
    assert job["state"] == "failed"
    assert "expected a name that can be a file's" in job["message"]


def test_what_is_gone_says_so(client: TestClient) -> None:
    for answer in (
        client.get("/api/jobs/none"),
        client.get("/api/uploads/none"),
        client.get("/api/dictionaries/none"),
        client.post("/api/separations", json={"mixture": "none", "dictionaries": ["none"]}),
        client.post("/api/trainings", json={"source": "s", "solos": ["none"]}),
    ):
        assert answer.status_code == 404
        assert "is no longer here" in answer.json()["error"]


def test_a_surprise_says_nothing_of_its_inside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_of(client), "limits", "no limits")
    answer = client.get("/api/limits")
    assert (answer.status_code, answer.json()) == (500, {"error": "something unexpected went wrong (TypeError)"})


def test_a_part_of_a_sound_can_be_asked_for(client: TestClient) -> None:
    names = in_library(client)
    answer = client.get(f"/api/dictionaries/{names['hum']}", headers={"range": "bytes=0-7"})
    assert (answer.status_code, len(answer.content)) == (206, 8)


def test_everything_is_deleted_at_the_end(library: Path) -> None:
    before = sha256_of(library / "hum.safetensors")
    with TestClient(create_app(Settings(library=library)), base_url=ADDRESS, headers=SAME_ORIGIN) as client:
        uploaded(client, "mixture", mixture())
        folder = desk_of(client).store.folder
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


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_the_page_is_made_of_what_is_served_here_only(path: Path) -> None:
    addresses = set(re.findall(r"\b(?:https?:)?//[\w.-]+\.[a-z]+[\w./-]*", path.read_text(encoding="utf-8")))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}  # names, never fetched
    if path.suffix == ".js":
        assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", path.read_text())


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
