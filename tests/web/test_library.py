"""The user's library on the page: how its dictionaries are renamed, removed and put back."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from front_end import mixture, trained, tree
from web_client import asking, ended, in_library, service_of, uploaded

from sepdict import Dictionary
from sepdict.dictionaries.library import find_dictionary

pytest_plugins = ["web_server"]


@pytest.fixture(autouse=True)
def whole(library: Path) -> Iterator[None]:
    """Have the library after each test as it was before it."""
    yield
    for path in library.iterdir():
        path.unlink()
    for source in ("hiss", "hum"):
        trained(source).save(library / f"{source}.safetensors")


def rename(client: TestClient, identifier: str, name: str) -> Any:
    return client.put(f"/api/dictionaries/{identifier}/name", json={"name": name})


@pytest.mark.parametrize("name", ["Gro\u00dfes Summen", "HUM", "hum", "e\u0301"])
def test_a_renamed_dictionary_is_found_by_its_name_here_and_by_the_command(
    client: TestClient, library: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = Dictionary.load(library / "hum.safetensors")
    answer = rename(client, in_library(client)["hum"], name)
    assert answer.status_code == 200, answer.text
    composed = before.renamed(name)
    assert in_library(client) == {composed.source: answer.json()["id"], "hiss": in_library(client)["hiss"]}
    monkeypatch.setenv("SEPDICT_LIBRARY", str(library))
    assert Dictionary.load(find_dictionary(name)).sha256 == composed.sha256 == answer.json()["sha256"]
    names = {path.name for path in library.iterdir()} - {"broken.safetensors"}
    assert names == {"hiss.safetensors", f"{composed.source}.safetensors"}
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [answer.json()["id"]]}
    job = ended(client, client.post("/api/separations", json={**request, "quality": "draft"}).json())
    assert job["result"]["stems"] == [composed.source, "residual"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "expected a name that can be a file's"),
        (" ", "expected a name that can be a file's"),
        ("../hum", "expected a name that can be a file's"),
        (".hidden", "expected a name that can be a file's"),
        ("con", "Windows keeps for a device"),
        ("a:b", "expected one that every system takes, such as 'a_b'"),
        ("a\u202eb", "characters that cannot be seen"),
        ("x" * 81, "the name has 81 letters; expected 80 at most"),
        ("\u9ce5" * 80, "is too long"),
        ("Residual", "the name of what no dictionary explains"),
        ("hiss", "is the name of another dictionary"),
        ("HISS", "is the name of another dictionary"),
    ],
)
def test_a_name_that_cannot_be_or_is_taken_is_refused_in_one_line(
    client: TestClient, library: Path, name: str, said: str
) -> None:
    before = tree(library)
    answer = rename(client, in_library(client)["hum"], name)
    assert answer.status_code in (400, 422)
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert tree(library) == before


def test_the_name_of_another_source_is_taken_whatever_its_file_is_called(client: TestClient, library: Path) -> None:
    (library / "hiss.safetensors").rename(library / "other.safetensors")
    assert "another dictionary" in rename(client, in_library(client)["hum"], "hiss").json()["error"]
    assert "another dictionary" in rename(client, in_library(client)["hum"], "other").json()["error"]


def test_a_removed_dictionary_is_gone_until_it_is_put_back(client: TestClient, library: Path) -> None:
    before, hum = tree(library), in_library(client)["hum"]
    removed = client.delete(f"/api/dictionaries/{hum}").json()["removed"]
    assert "hum" not in in_library(client)
    assert "hum.safetensors" not in tree(library)
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [hum]}
    refused = client.post("/api/separations", json=request)
    assert (refused.status_code, "it was removed, renamed" in refused.json()["error"]) == (404, True)
    for path in (hum, removed):
        assert client.delete(f"/api/dictionaries/{path}").status_code == 404
        assert rename(client, path, "x").status_code == 404
    restored = client.post(f"/api/dictionaries/{removed}/restore").json()
    assert (restored["id"], restored["source"]) == (hum, "hum")
    assert tree(library) == before
    assert client.post(f"/api/dictionaries/{removed}/restore").status_code == 404


def test_what_has_the_name_of_a_removed_dictionary_by_now_stays(client: TestClient, library: Path) -> None:
    removed = client.delete(f"/api/dictionaries/{in_library(client)['hum']}").json()["removed"]
    rename(client, in_library(client)["hiss"], "hum")
    before = tree(library)
    refused = client.post(f"/api/dictionaries/{removed}/restore")
    assert (refused.status_code, "another dictionary has this name by now" in refused.json()["error"]) == (400, True)
    assert tree(library) == before
    rename(client, in_library(client)["hum"], "hiss")
    assert client.post(f"/api/dictionaries/{removed}/restore").status_code == 200


def test_a_job_goes_on_with_the_dictionaries_that_it_was_asked_for_with(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, gate = service_of(client).queue._worker, threading.Event()
    perform = worker.perform
    monkeypatch.setattr(worker, "perform", lambda job: gate.wait(60) and perform(job))
    names = in_library(client)
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [names["hiss"], names["hum"]]}
    jobs = [client.post("/api/separations", json={**request, "quality": "draft"}).json() for _ in range(2)]
    assert len([each for each in service_of(client).store.uploads.values() if each.kind == "dictionary"]) == 2
    rename(client, names["hiss"], "rain")
    client.delete(f"/api/dictionaries/{names['hum']}")
    gate.set()
    ends = [ended(client, job) for job in jobs]
    assert [(end["state"], end["message"]) for end in ends] == [("done", "")] * 2
    assert ends[1]["result"]["stems"] == ["hiss", "hum"]
    assert ends[1]["request"]["dictionaries"] == request["dictionaries"]


def test_a_page_that_asks_hears_of_every_change_of_the_library(client: TestClient, library: Path) -> None:
    path = f"/api/sessions/{client.post('/api/sessions').json()['id']}"
    first = client.get(path).json()
    assert {each["source"]: each["id"] for each in first["library"]["dictionaries"]} == in_library(client)
    asked = {"seen": first["revision"], "library": first["library"]["state"]}
    assert client.get(path, params=asked).json() == {"revision": first["revision"]}
    shutil.copy(library / "hum.safetensors", library / "copied by hand.safetensors")
    changed = client.get(path, params=asked).json()["library"]
    assert len(changed["dictionaries"]) == 3
    assert changed["state"] != asked["library"]


def test_only_the_machine_that_serves_changes_its_library(client: TestClient, library: Path) -> None:
    before, hum = tree(library), in_library(client)["hum"]
    assert client.get("/api/limits").json()["changes_library"] is True
    other = asking(client.app, "192.0.2.7")  # type: ignore[arg-type]
    assert other.get("/api/limits").json()["changes_library"] is False
    for answer in (rename(other, hum, "x"), other.delete(f"/api/dictionaries/{hum}")):
        assert (answer.status_code, "on the machine that serves this page" in answer.json()["error"]) == (403, True)
    assert tree(library) == before
