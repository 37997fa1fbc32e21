"""Marks on the page: previews of a mixture to mark it by, labels to and from files, and what is learned from them."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, mixture, read_json, sound, write_bad
from PIL import Image
from web_client import LIMITS, ended, files_of, in_library, send, service_of, uploaded

from sepdict import Audio
from sepdict.web.previews import N_COLUMNS
from sepdict.web.uploads import Limits

pytest_plugins = ["web_server"]

DATA = Path(__file__).parents[2] / "data"
HISS, HUM = {"start_s": 0.0, "end_s": 2.0, "name": "hiss"}, {"start_s": 2.0, "end_s": 4.0, "name": "hum"}


def recording() -> Audio:
    """Two seconds of hiss, two of hum, then both."""
    parts = [sound("hiss", n_samples=2 * SAMPLE_RATE, seed=5), sound("hum", n_samples=2 * SAMPLE_RATE, seed=6)]
    both = mixture(n_samples=2 * SAMPLE_RATE)
    return replace(both, samples=torch.cat([each.samples for each in (*parts, both)], dim=1))


def separated(client: TestClient, whole: Audio, **request: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Separate a recording; return the end of the job, and its stems."""
    mixed = uploaded(client, "mixture", whole)
    job = ended(client, client.post("/api/separations", json={"mixture": mixed, **request}).json())
    files = [client.get(f"/api/jobs/{job['id']}/{number}.wav") for number in range(len(job["result"].get("stems", ())))]
    stems = [torch.from_numpy(soundfile.read(io.BytesIO(file.content), dtype="float32")[0]) for file in files]
    return job, dict(zip(job["result"].get("stems", ()), stems, strict=True))


def test_marked_moments_are_learned_and_the_stems_sum_to_the_mixture(client: TestClient) -> None:
    whole = recording()
    job, stems = separated(client, whole, labels=[HISS, HUM])
    assert job["state"] == "done", job
    assert list(stems) == ["hiss", "hum"]
    torch.testing.assert_close(sum(stems.values()), whole.samples[0], rtol=0, atol=1e-6)
    marked = whole.samples[0, SAMPLE_RATE // 2 : SAMPLE_RATE]
    torch.testing.assert_close(stems["hiss"][SAMPLE_RATE // 2 : SAMPLE_RATE], marked, rtol=0, atol=1e-4)


def test_a_separation_names_its_stages_and_goes_through_to_the_last(client: TestClient) -> None:
    job, _ = separated(client, recording(), labels=[HISS, HUM], quality="draft")
    assert (job["stages"], job["stage"], job["fraction"]) == (["train", "fit", "write"], "write", 1)


def test_what_was_learned_from_marks_can_be_kept_and_used_again(client: TestClient) -> None:
    known = [in_library(client)["hiss"]]
    job, _ = separated(client, recording(), labels=[HUM], dictionaries=known)
    (learned,) = job["result"]["learned"]
    assert (learned["source"], learned["name"]) == ("hum", "hum.safetensors")
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/stems.zip").content))
    assert read_json(archive.read("separation.json").decode())["labels"] == [HUM | {"low_hz": None, "high_hz": None}]
    request = {"mixture": uploaded(client, "mixture", mixture()), "dictionaries": [*known, learned["id"]]}
    again = ended(client, client.post("/api/separations", json=request).json())
    assert (again["result"]["stems"], again["result"]["learned"]) == (["hiss", "hum"], [])
    client.delete(f"/api/jobs/{job['id']}/result")
    assert client.get(f"/api/dictionaries/{learned['id']}").status_code == 200


def test_what_is_corrected_sounds_in_one_stem_only_and_is_recorded(client: TestClient) -> None:
    whole, correction = mixture(n_samples=2 * SAMPLE_RATE), {"start_s": 0.5, "end_s": 1.5, "name": "hum"}
    request = {"dictionaries": list(in_library(client).values()), "quality": "draft"}
    (_, before), (job, after) = (separated(client, whole, **request, corrections=each) for each in ([], [correction]))
    torch.testing.assert_close(sum(after.values()), whole.samples[0], rtol=0, atol=1e-6)
    within, outside = slice(6 * SAMPLE_RATE // 10, 14 * SAMPLE_RATE // 10), slice(SAMPLE_RATE // 4)
    assert after["hiss"][within].square().sum() < 1e-4 * before["hiss"][within].square().sum()
    torch.testing.assert_close(after["hiss"][outside], before["hiss"][outside], rtol=0, atol=1e-4)
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job['id']}/stems.zip").content))
    recorded = [correction | {"low_hz": None, "high_hz": None}]
    assert read_json(archive.read("separation.json").decode())["corrections"] == recorded


@pytest.mark.parametrize(
    ("correction", "words"),
    [
        ({"name": "rain"}, "a correction at 0.5 s is of 'rain'; expected one of the stems hi"),
        ({"end_s": 60.0}, "correction 'hum' goes from 0.5 to 60 s, but the mixture lasts 2.0 s"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused_before_anything_is_done(
    client: TestClient, correction: dict[str, Any], words: str
) -> None:
    mixed = uploaded(client, "mixture", mixture(n_samples=2 * SAMPLE_RATE))
    corrections = [{"start_s": 0.5, "end_s": 1.5, "name": "hum"} | correction]
    request = {"mixture": mixed, "dictionaries": list(in_library(client).values()), "corrections": corrections}
    answer = client.post("/api/separations", json=request)
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


def test_one_name_leaves_the_residual_and_a_dictionary_can_stand_beside_marks(client: TestClient) -> None:
    assert list(separated(client, recording(), labels=[HUM])[1]) == ["hum", "residual"]
    known = [in_library(client)["hiss"]]
    assert list(separated(client, recording(), labels=[HUM], dictionaries=known)[1]) == ["hiss", "hum"]
    assert list(separated(client, recording(), labels=[HISS], dictionaries=known)[1]) == ["hiss", "residual"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "expected one at least"),
        ([HISS, HISS | {"name": "hum"}], "overlap"),
        ([HISS | {"end_s": 60.0}], "sound.wav"),
        ([HISS | {"end_s": 0.0}], "goes from 0 to 0 s"),
        ([HISS | {"name": " "}], "has no name"),
        ([HISS | {"name": "a/b"}], "a/b"),
    ],
    ids=["none at all", "two sources at once", "after the end", "of no length", "without name", "of a folder"],
)
def test_marks_that_cannot_be_learned_from_are_refused_at_once(
    client: TestClient, labels: list[dict[str, Any]], words: str
) -> None:
    mixed = uploaded(client, "mixture", recording())
    answer = client.post("/api/separations", json={"mixture": mixed, "labels": labels})
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert str(service_of(client).store.folder) not in answer.text


def test_a_mixture_can_be_heard_and_seen_before_it_is_separated(client: TestClient) -> None:
    whole = mixture(n_channels=2, n_samples=3 * SAMPLE_RATE)
    mixed = uploaded(client, "mixture", whole)
    heard = client.get(f"/api/uploads/{mixed}/sound.wav", headers={"range": "bytes=0-99"})
    assert (heard.status_code, len(heard.content)) == (206, 100)  # a browser asks for what it plays, not for all
    samples, rate = soundfile.read(io.BytesIO(client.get(f"/api/uploads/{mixed}/sound.wav").content), dtype="float32")
    assert rate == SAMPLE_RATE
    assert torch.equal(torch.from_numpy(samples.T), whole.samples)
    pictures = [client.get(f"/api/uploads/{mixed}/spectrogram.png").content for _ in range(2)]
    assert pictures[0] == pictures[1]
    with Image.open(io.BytesIO(pictures[0])) as picture:
        assert 100 < picture.width < N_COLUMNS  # no more columns than there are frames
    assert client.get(f"/api/uploads/{mixed}/other.wav").status_code == 404

    assert len(files_of(client)) == 3
    client.delete(f"/api/uploads/{mixed}")
    assert not files_of(client)


def test_what_cannot_be_previewed_is_said_by_name_and_leaves_nothing(client: TestClient, tmp_path: Any) -> None:
    bad = write_bad(tmp_path / "x.wav", "damaged FLAC").read_bytes()
    mixed = send(client, "mixture", "my take.wav", bad).json()["id"]
    answer = client.get(f"/api/uploads/{mixed}/spectrogram.png")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("my take.wav: ")
    assert len(files_of(client)) == 1


def test_the_beginning_of_a_solo_can_be_heard_and_goes_with_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sound(n_channels=2, n_samples=3 * SAMPLE_RATE)
    monkeypatch.setattr(service_of(client).store, "limits", replace(LIMITS, solo_preview_s=1.0))
    for name, n_heard in {"short.wav": SAMPLE_RATE // 2, "long.wav": SAMPLE_RATE}.items():
        some = replace(whole, samples=whole.samples[:, : SAMPLE_RATE // 2]) if name == "short.wav" else whole
        solo = uploaded(client, "solo", some, name)
        heard = client.get(f"/api/uploads/{solo}/sound.wav").content
        samples = torch.from_numpy(soundfile.read(io.BytesIO(heard), dtype="float32")[0].T)
        assert torch.equal(samples, whole.samples[:, :n_heard])
        assert len(files_of(client)) == 2
        assert client.get(f"/api/uploads/{solo}/spectrogram.png").status_code == 404
        client.delete(f"/api/uploads/{solo}")
        assert not files_of(client)


@pytest.mark.parametrize("kind", ["mixture", "solo"])
def test_previews_count_as_bytes_and_one_without_room_is_refused_before_it_is_made(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = service_of(client).store
    identifier = uploaded(client, kind, sound(n_samples=2 * SAMPLE_RATE))
    before = store.uploads[identifier].n_bytes
    monkeypatch.setattr(store, "limits", replace(LIMITS, total_bytes=before + 4 * 2 * SAMPLE_RATE - 1))
    refused = client.get(f"/api/uploads/{identifier}/sound.wav")
    assert (refused.status_code, "remove some" in refused.json()["error"]) == (413, True)
    assert len(files_of(client)) == 1
    monkeypatch.setattr(store, "limits", LIMITS)
    for _ in range(2):
        n_bytes = len(client.get(f"/api/uploads/{identifier}/sound.wav").content)
        assert store.uploads[identifier].n_bytes == before + n_bytes


def test_a_preview_of_what_is_removed_meanwhile_does_not_stay(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    solo = uploaded(client, "solo", sound())

    def remove_first(source: Path, target: Path, **_: Any) -> None:
        target.write_bytes(source.read_bytes())
        client.delete(f"/api/uploads/{solo}")
        target.write_bytes(b"")

    monkeypatch.setattr("sepdict.web.previews.copy_audio", remove_first)
    assert client.get(f"/api/uploads/{solo}/sound.wav").status_code == 404
    assert not files_of(client)


@pytest.mark.parametrize("form", ["audacity", "raven"])
def test_labels_go_into_a_file_and_come_back(client: TestClient, form: str) -> None:
    labels = [HISS | {"low_hz": None, "high_hz": 2000.0}, HUM | {"low_hz": None, "high_hz": None}]
    text = client.post(f"/api/labels/{form}", json={"labels": labels}).json()["text"]
    read = client.post("/api/labels", params={"name": "labels.txt"}, content=text.encode()).json()
    times = [{key: each[key] for key in ("start_s", "end_s", "name")} for each in read]
    assert times == [HISS, HUM]
    assert read[0]["high_hz"] == 2000.0


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"these are words"], ids=["nothing", "no text", "no labels"])
def test_a_file_without_labels_is_refused_by_name(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/labels", params={"name": "/home/me/labels.txt"}, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("labels.txt: ")
    assert client.post("/api/labels/praat", json={"labels": []}).status_code == 422


def test_a_label_whose_name_no_session_can_keep_is_refused_with_its_time(client: TestClient) -> None:
    content = f"1.5\t2\t{80 * 'a'}\n3\t4\t{81 * 'b'}\n".encode()
    answer = client.post("/api/labels", params={"name": "labels.txt"}, content=content)
    told = "labels.txt: the name of the label at 3 s has 81 letters; expected 80 at most"
    assert (answer.status_code, answer.json()["error"]) == (400, told)


def test_the_demo_is_taken_in_like_an_upload_and_comes_with_its_labels(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = client.post("/api/sessions").json()["id"]
    refused = client.post("/api/demo", params={"session": session})  # its size counts as that of any file
    assert (refused.status_code, files_of(client)) == (413, set())
    service = service_of(client)
    for part in (service, service.store):
        monkeypatch.setattr(part, "limits", Limits())
    demo = client.post("/api/demo", params={"session": session}).json()
    assert client.get(f"/api/sessions/{session}").json()["uploads"] == [demo["upload"]]
    content = (DATA / "reading.flac").read_bytes()
    assert demo["upload"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert [(each["name"], each["end_s"]) for each in demo["labels"]] == [("piano", 5.512), ("speech", 12.677)]
