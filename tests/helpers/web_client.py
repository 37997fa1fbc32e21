"""How the tests of the page's server ask it."""

import io
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import soundfile
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sepdict import Audio
from sepdict.web.uploads import Limits

ADDRESS = "http://localhost"
SAME_ORIGIN = {"origin": ADDRESS}
LIMITS = Limits(file_bytes=400_000, total_bytes=2_000_000, n_files=6, mixture_s=20, solos_s=30, n_waiting=3, share=1)


def asking(app: FastAPI, machine: str = "127.0.0.1") -> TestClient:
    """Let a machine ask an application."""
    address = (machine, 50000)
    return TestClient(app, ADDRESS, headers=SAME_ORIGIN, raise_server_exceptions=False, client=address)


def service_of(client: TestClient) -> Any:
    return client.app.state.service  # type: ignore[attr-defined]


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
    return {path for path in service_of(client).store.folder.rglob("*") if path.is_file()}
