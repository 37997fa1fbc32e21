"""What the server of `sepdict serve` does not take, in one line, and from whom it takes nothing."""

import errno
import itertools
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import soundfile
from fastapi.testclient import TestClient
from front_end import BAD, SAMPLE_RATE, mixture, sound, trained, write_bad
from web_client import ADDRESS, LIMITS, files_of, in_library, send, service_of, uploaded, wav
from web_page import Server

from sepdict import SepdictError, TrainingConfig
from sepdict.errors import AudioFileError
from sepdict.web.tasks import NamedFile, Training, explain

pytest_plugins = ["web_server"]


FULL = "cannot be written (No space left on device)"
KEPT = "cannot be read (Permission denied); have SEPDICT_LIBRARY name the folder of dictionaries"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("{web}/4e1f/0.wav: " + FULL, "0.wav: " + FULL),
        ("{web}/4e1f/dictionary.safetensors: " + FULL, "dictionary.safetensors: " + FULL),
        ("{web}/ab12.wav: holds NaN samples", "take 1.wav: holds NaN samples"),
        ("{library}: " + KEPT, "my dictionaries: " + KEPT),
        ("{library}/hum.safetensors: damaged", "hum.safetensors: damaged"),
        ("/var/cache/sepdict: the mask estimator cannot be kept", "sepdict: the mask estimator cannot be kept"),
        ("2 files ('/home/me/a.wav', \"/home/me/b.wav\") differ", "2 files ('a.wav', \"b.wav\") differ"),
        ("1/2 of 44100/48000 Hz, see http://127.0.0.1/help", "1/2 of 44100/48000 Hz, see http://127.0.0.1/help"),
    ],
)
@pytest.mark.parametrize("kind", [SepdictError, AudioFileError, "OSError", "warning"])
def test_what_the_page_is_told_does_not_say_where_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, shown: str, kind: Any
) -> None:
    web, library = Path(tempfile.gettempdir(), ".sepdict-x.tmp"), tmp_path / "my dictionaries"
    monkeypatch.setenv("SEPDICT_LIBRARY", str(library))
    said = said.format(web=web, library=library)
    task = Training("hum", [NamedFile(web / "ab12.wav", "take 1.wav")], TrainingConfig())
    file, _, what = said.partition(": ")
    if kind == "warning":
        told = task.named(said)
    elif kind == "OSError" and what:
        told = explain(OSError(errno.EIO, what, file), task)
    else:
        told = explain(SepdictError(said) if kind == "OSError" else kind(said), task)
    assert told == shown


def test_the_servers_own_refusals_do_not_say_where_files_are(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SepdictError(f"{tmp_path}/x/library: cannot be read")

    monkeypatch.setattr(service_of(client), "separate", fail)
    answer = client.post("/api/separations", json={"mixture": "x", "dictionaries": ["y"]})
    assert (answer.status_code, answer.json()) == (400, {"error": "library: cannot be read"})


@pytest.mark.parametrize("what", [what for what in BAD if what != "missing"])
@pytest.mark.parametrize("kind", ["mixture", "solo"])
def test_what_is_no_sound_is_refused_in_one_line_and_leaves_nothing(
    what: str, kind: str, client: TestClient, tmp_path: Path
) -> None:
    answer = send(client, kind, "take.wav", write_bad(tmp_path / "x.wav", what).read_bytes())
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.startswith("take.wav: ")
    assert BAD[what] in error
    assert str(service_of(client).store.folder) not in error
    assert files_of(client) == set()


@pytest.mark.parametrize("kind", ["mixture", "solo"])
def test_what_was_cut_short_on_its_way_is_refused_with_what_is_missing(
    kind: str, client: TestClient, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "x.flac", mixture(n_samples=4 * SAMPLE_RATE).samples[0].numpy(), SAMPLE_RATE)
    content = (tmp_path / "x.flac").read_bytes()
    answer = send(client, kind, "take.flac", content[: len(content) * 3 // 4])
    assert answer.status_code == 400
    assert re.match(r"take\.flac: .*cut short: its header promises 4\.0 s, [23]\.\d s", answer.json()["error"])
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
    service_of(client).store.remove(next(iter(service_of(client).store.uploads)))
    uploaded(client, "solo", sound())
    for upload in service_of(client).store.uploads.values():
        upload.n_bytes = LIMITS.total_bytes // LIMITS.n_files
    service_of(client).store.remove(next(iter(service_of(client).store.uploads)))
    assert send(client, "solo", "more.wav", wav(sound(n_samples=95_000))).status_code == 413


def test_what_is_too_long_is_refused(client: TestClient) -> None:
    answer = send(client, "mixture", "long.wav", wav(sound(n_samples=25 * 1000, sample_rate=1000)))
    assert answer.status_code == 400
    assert "long.wav: lasts 0.4 minutes; expected 0.333333 at most" in answer.json()["error"]
    solos = [uploaded(client, "solo", sound(n_samples=25 * 1000, sample_rate=1000)) for _ in range(2)]
    answer = client.post("/api/trainings", json={"source": "s", "solos": solos})
    assert "together" in answer.json()["error"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\duet.wav", "duet.wav"),
        ("<script>alert(1)</script>.wav", "script>.wav"),
        ("a\r\nset-cookie: b.wav", "aset-cookie: b.wav"),
        ("/", "a file without name"),
        ("x" * 255 + ".wav", "x" * 251 + ".wav"),
        ("x" * 251 + ".wav", "x" * 251 + ".wav"),
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
    assert "add" not in client.get("/api/jobs/none").json()["error"]  # nobody can add a job


def test_a_surprise_says_nothing_of_its_inside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_of(client), "limits", "no limits")
    answer = client.get("/api/limits")
    assert (answer.status_code, answer.json()) == (500, {"error": "something unexpected went wrong (TypeError)"})


def test_an_upload_that_is_not_whole_when_the_server_ends_is_answered_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(tmp_path)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as stalling:
            host = f"127.0.0.1:{server.port}"
            head = "POST /api/uploads?kind=mixture&name=a.wav HTTP/1.1", f"Host: {host}", f"Origin: http://{host}"
            stalling.sendall("\r\n".join([*head, "Content-Length: 1000", "", "RIFF"]).encode())
            while not list(service_of(server).store.folder.iterdir()):
                time.sleep(0.01)
            server.end()
            answer = stalling.makefile("rb").read()
    finally:
        server.end()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b'{"error":"the server ends"}')
    assert "Traceback" not in capfd.readouterr().err
