"""What the server of `sepdict serve` keeps of pages."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, mixture, sound
from web_client import ended, in_library, service_of, uploaded, wav
from web_page import make_endless

from sepdict.web.sessions import DOCUMENT_BYTES, Document, Sessions
from sepdict.web.uploads import Limits

pytest_plugins = ["web_server"]

MARK = {"start_s": 0.5, "end_s": 1.0, "name": "hum", "low_hz": None, "high_hz": None}


@pytest.fixture
def session(client: TestClient) -> str:
    return begun(client)


def begun(client: TestClient) -> str:
    return str(client.post("/api/sessions").json()["id"])


def seen(client: TestClient, session: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/sessions/{session}").json()
    return found


def added(client: TestClient, kind: str, session: str, seed: int = 0) -> str:
    sounding = (mixture if kind == "mixture" else sound)(n_samples=2 * SAMPLE_RATE, seed=seed)
    asked = {"kind": kind, "name": f"{kind}.wav", "session": session}
    return str(client.post("/api/uploads", params=asked, content=wav(sounding)).json()["id"])


def test_a_session_has_what_was_added_and_asked_for_in_it(client: TestClient, session: str) -> None:
    upload = added(client, "mixture", session)
    hum = in_library(client)["hum"]
    request = {"mixture": upload, "dictionaries": [hum], "labels": [{**MARK, "name": "hiss", "end_s": 1.7}]}
    request |= {"corrections": [], "residual": True, "background_model": False, "quality": "draft"}
    request |= {"preliminary": False}
    job = client.post("/api/separations", params={"session": session}, json=request).json()
    here = seen(client, session)
    assert [each["id"] for each in here["uploads"]] == [upload]
    assert [(each["id"], each["kind"], each["request"]) for each in here["jobs"]] == [
        (job["id"], "separation", request)
    ]
    assert here["jobs"][0]["name"] == here["uploads"][0]["name"] == "mixture.wav"
    done = ended(client, job)
    assert done["ended"]
    here = seen(client, session)  # what was learned is in it, too
    assert [(each["kind"], each["name"]) for each in here["uploads"][1:]] == [("dictionary", "hiss.safetensors")]
    assert here["jobs"][0]["result"]["stems"] == ["hum", "hiss", "residual"]

    other = begun(client)
    empty = seen(client, other)
    assert (empty["revision"], empty["uploads"], empty["jobs"]) == (0, [], [])
    client.delete(f"/api/jobs/{job['id']}/result")
    client.delete(f"/api/uploads/{upload}")
    here = seen(client, session)
    assert ([each["kind"] for each in here["uploads"]], here["jobs"]) == (["dictionary"], [])


def test_what_is_learned_twice_from_the_same_marks_is_in_a_session_once(client: TestClient, session: str) -> None:
    upload = added(client, "mixture", session)
    request = {"mixture": upload, "labels": [{**MARK, "name": "hiss", "end_s": 1.7}], "quality": "draft"}
    asked = [{**request, "residual": residual} for residual in (True, False)]
    jobs = [
        ended(client, client.post("/api/separations", params={"session": session}, json=each).json()) for each in asked
    ]
    first, second = (job["result"]["learned"] for job in jobs)
    assert [each["id"] for each in first] == [each["id"] for each in second]
    assert [each["kind"] for each in seen(client, session)["uploads"]] == ["mixture", "dictionary"]


def test_a_dictionary_that_was_trained_in_a_session_is_in_it_with_whether_it_is_kept(
    client: TestClient, session: str, library: Path
) -> None:
    solo = added(client, "solo", session)
    request = {"source": "rain", "solos": [solo]}
    job = ended(client, client.post("/api/trainings", params={"session": session}, json=request).json())
    assert seen(client, session)["jobs"][0]["request"] == {**request, "network": "default"}
    before = seen(client, session)
    kept = client.post(f"/api/dictionaries/{job['result']['id']}/keep").json()["id"]
    assert client.get(f"/api/sessions/{session}?seen={before['revision']}").json()["uploads"][1]["kept"] == kept
    (library / "rain.safetensors").unlink()
    assert seen(client, session)["uploads"][1]["kept"] is None


def test_of_two_pages_none_overwrites_what_the_other_has_set(client: TestClient, session: str) -> None:
    path = f"/api/sessions/{session}"
    first = client.put(path, json={"revision": 0, "document": {"source": "hum", "marks": {"a": [MARK]}}})
    assert first.json() == {"revision": 1}
    late = client.put(path, json={"revision": 0, "document": {"source": "hiss"}})
    assert (late.status_code, "another page" in late.json()["error"]) == (409, True)
    here = seen(client, session)
    assert (here["document"]["source"], here["document"]["marks"]) == ("hum", {"a": [MARK]})
    added(client, "solo", session)  # which changes no document
    assert client.put(path, json={"revision": here["revision"], "document": {"source": "hiss"}}).json()["revision"] == 3
    assert client.get(f"{path}?seen=3").json() == {"revision": 3}
    assert seen(client, session)["document"]["source"] == "hiss"


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": 1},
        {"source": "x" * 81},
        {"chosen": ["x" * 65]},
        {"chosen": ["x"] * 501},
        {"marks": {"a": [{**MARK, "more": 1}]}},
        {"marks": {"a": [{**MARK, "start_s": -1}]}},
        {"levels": {"a": {"tracks": {"0": {"gain_db": 13}}}}},
        {"levels": {"a": {"master_db": -61}}},
        {"timings": {"a": {"zoom": 0.5}}},
        {"timings": {"a": {"loop": {"start_s": 0, "end_s": -1}}}},
        {"opened": ["listen"]},
        [],
    ],
)
def test_a_document_of_another_kind_is_refused_in_one_line(client: TestClient, session: str, document: Any) -> None:
    answer = client.put(f"/api/sessions/{session}", json={"revision": 0, "document": document})
    assert answer.status_code == 422
    assert "\n" not in answer.json()["error"]
    assert seen(client, session)["revision"] == 0


def test_a_document_has_bounds(client: TestClient, session: str) -> None:
    marks = {str(index): [MARK] * 499 for index in range(10)}
    content = json.dumps({"revision": 0, "document": {"marks": marks}})
    assert 64 * 2**10 < len(content) < DOCUMENT_BYTES
    json_ = {"content-type": "application/json"}
    assert client.put(f"/api/sessions/{session}", content=content, headers=json_).status_code == 200
    larger = client.put(f"/api/sessions/{session}", content=content + " " * DOCUMENT_BYTES, headers=json_)
    assert (larger.status_code, "0.5 MiB" in larger.json()["error"]) == (413, True)
    endless = content.replace("1.0", "1e999", 1)
    assert client.put(f"/api/sessions/{session}", content=endless, headers=json_).status_code == 422


def test_a_session_that_is_gone_is_said_and_nothing_is_taken_for_it(client: TestClient) -> None:
    asked = {"session": "none"}
    answers = [
        client.get("/api/sessions/none"),
        client.put("/api/sessions/none", json={"revision": 0, "document": {}}),
        client.post("/api/uploads", params={"kind": "solo", "name": "x.wav", **asked}, content=wav(sound())),
        client.post("/api/trainings", params=asked, json={"source": "s", "solos": ["x"]}),
        client.post("/api/separations", params=asked, json={"mixture": "x"}),
    ]
    assert {(answer.status_code, "the session is no longer here" in answer.text) for answer in answers} == {(404, True)}
    assert not service_of(client).store.uploads


def test_everything_of_a_session_is_in_use_while_a_page_asks_for_it(
    client: TestClient, session: str, clock: Any
) -> None:
    upload, job = separated(client, session)
    alone = uploaded(client, "solo", sound())
    for _ in range(3):
        clock.now += 3000
        client.get(f"/api/sessions/{session}?seen=2")
        service_of(client).sweep()
    assert client.get(f"/api/uploads/{alone}").status_code == 404
    assert [each["id"] for each in seen(client, session)["uploads"]] == [upload]
    assert client.get(f"/api/jobs/{job}/0.wav").status_code == 200
    clock.now += 3700
    service_of(client).sweep()
    for path in (f"/api/sessions/{session}", f"/api/uploads/{upload}", f"/api/jobs/{job}"):
        assert client.get(path).status_code == 404


def test_the_last_result_of_each_mixture_stays_and_of_earlier_ones_the_last_few(
    client: TestClient, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_of(client)
    monkeypatch.setattr(service, "limits", Limits(n_earlier=1))
    upload, first = separated(client, session)
    jobs = [first, *(separated(client, session, upload)[1] for _ in range(2))]
    _, other = separated(client, session, seed=1)
    with monkeypatch.context() as patch:
        make_endless(service.queue, patch)
        canceled = ask(client, session, upload)["id"]
    client.delete(f"/api/jobs/{canceled}")
    service.sweep()
    assert [each["id"] for each in seen(client, session)["jobs"]] == [*jobs[1:], other, canceled]  # `jobs[2]` is heard
    last = separated(client, session, upload)[1]
    service.sweep()
    assert [each["id"] for each in seen(client, session)["jobs"]] == [jobs[2], other, last]
    assert client.get(f"/api/jobs/{first}").status_code == 404


def test_a_preliminary_result_stays_until_another_has_taken_its_place(client: TestClient, session: str) -> None:
    service = service_of(client)
    upload, first = separated(client, session, preliminary=True)
    with pytest.MonkeyPatch.context() as patch:
        make_endless(service.queue, patch)
        canceled = ask(client, session, upload)["id"]
    client.delete(f"/api/jobs/{canceled}")
    service.sweep()
    assert [each["id"] for each in seen(client, session)["jobs"]] == [first, canceled]
    _, last = separated(client, session, upload)
    service.sweep()
    assert [each["id"] for each in seen(client, session)["jobs"]] == [last]


def test_too_many_pages_are_refused_and_those_with_nothing_in_them_make_room(clock: Any) -> None:
    sessions = Sessions(Limits(n_sessions=2), clock)
    first, second = sessions.create(), sessions.create()
    sessions.save(first, Document(), seen=0)
    third = sessions.create()
    with pytest.raises(HTTPException, match="404"):
        sessions.find(second)
    sessions.save(third, Document(), seen=0)
    with pytest.raises(HTTPException, match="503: 2 pages are open already"):
        sessions.create()


def ask(client: TestClient, session: str, upload: str, **more: Any) -> dict[str, Any]:
    request = {"mixture": upload, "dictionaries": [in_library(client)["hum"]], "quality": "draft", **more}
    job: dict[str, Any] = client.post("/api/separations", params={"session": session}, json=request).json()
    return job


def separated(
    client: TestClient, session: str, upload: str = "", seed: int = 0, *, preliminary: bool = False
) -> tuple[str, str]:
    upload = upload or added(client, "mixture", session, seed)
    job = ended(client, ask(client, session, upload, preliminary=preliminary))
    assert job["state"] == "done", job
    return upload, str(job["id"])


@pytest.fixture
def clock(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The time of everything that the server keeps, which a test can set forward."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return time.monotonic() + self.now

    clock, service = Clock(), service_of(client)
    for each in (service.store, service.queue, service.sessions):
        monkeypatch.setattr(each, "clock", clock)
    return clock


def test_with_a_mixture_its_separations_end_and_no_others(
    client: TestClient, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(service_of(client).queue, monkeypatch)
    gone, stays = (added(client, "mixture", session, seed) for seed in (1, 2))
    hum = in_library(client)["hum"]
    asked = [{"mixture": mixed, "dictionaries": [hum]} for mixed in (gone, stays, gone)]
    jobs = [client.post("/api/separations", params={"session": session}, json=each).json()["id"] for each in asked]
    client.delete(f"/api/uploads/{gone}")
    one, other, third = (client.get(f"/api/jobs/{job}").json() for job in jobs)
    client.delete(f"/api/jobs/{jobs[1]}")
    assert (one["state"], third["state"]) == ("canceled", "canceled")
    assert one["message"] == "its mixture was removed"
    assert other["state"] in ("waiting", "running")
    assert [each["id"] for each in seen(client, session)["uploads"]] == [stays]
