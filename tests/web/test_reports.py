"""The reports and masks of what the page of `sepdict serve` has separated."""

import io
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, mixture
from PIL import Image
from web_client import ended, files_of, in_library, service_of, uploaded

pytest_plugins = ["web_server"]

MARK = {"start_s": 0.0, "end_s": 1.5, "name": "tick"}


@pytest.fixture
def job(client: TestClient) -> dict[str, Any]:
    """A separation by a dictionary and a mark, with what is left."""
    request = {
        "mixture": uploaded(client, "mixture", mixture(n_samples=2 * SAMPLE_RATE), "my <i>take.wav"),
        "dictionaries": [in_library(client)["hum"]],
        "labels": [MARK],
        "quality": "draft",
        "residual": True,
    }
    return ended(client, client.post("/api/separations", json=request).json())


def test_the_report_is_made_when_it_is_asked_for_and_goes_with_the_result(
    client: TestClient, job: dict[str, Any]
) -> None:
    assert not [path for path in files_of(client) if path.suffix == ".html"]
    answers = [client.get(f"/api/jobs/{job['id']}/report.html") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].text == answers[1].text
    said = answers[0].headers["content-disposition"]
    assert said.startswith("attachment")  # its scripts are not to run as the page's
    assert "take" in said
    text = answers[0].text
    assert "<h1>my &lt;i&gt;take.wav</h1>" in text
    assert text.count('"mask":') == text.count('"url":') - 1 == 3  # of all tracks but the mixture
    assert text.count('"excitation":') == 2
    assert "How the fit went" in text
    client.delete(f"/api/jobs/{job['id']}/result")
    assert client.get(f"/api/jobs/{job['id']}/report.html").status_code == 404
    assert not [path for path in files_of(client) if path.suffix in (".html", ".pickle")]


def test_a_report_does_not_say_where_files_are(client: TestClient, job: dict[str, Any]) -> None:
    text = re.sub(r"data:[^\"]*", "", client.get(f"/api/jobs/{job['id']}/report.html").text)
    for place in (service_of(client).store.folder, tempfile.gettempdir(), Path.home(), Path.cwd()):
        assert str(place) not in text
    assert not re.search(r'(?<=[\s">])/\w+/\w+', text)


def test_what_is_no_separation_that_is_done_has_no_report(client: TestClient, job: dict[str, Any]) -> None:
    solo = uploaded(client, "solo", mixture(n_samples=2 * SAMPLE_RATE))
    training = ended(client, client.post("/api/trainings", json={"source": "x", "solos": [solo]}).json())
    assert client.get(f"/api/jobs/{training['id']}/report.html").status_code == 404


def test_the_masks_of_all_stems_add_up_to_white(client: TestClient, job: dict[str, Any]) -> None:
    answers = [client.get(f"/api/jobs/{job['id']}/{number}.mask.png") for number in range(3)]
    pictures = [np.asarray(Image.open(io.BytesIO(each.content)).convert("L"), dtype=float) for each in answers]
    heard = sum(pictures) > 0  # black is what is silent
    assert heard.mean() > 0.9
    assert np.abs(sum(pictures)[heard] - 255).max() <= 6  # of three that are rounded
    assert client.get(f"/api/jobs/{job['id']}/mixture.mask.png").status_code == 404
