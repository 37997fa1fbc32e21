"""On the page, whether sources can be told apart, as `sepdict compare` says it."""

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from front_end import SAMPLE_RATE, TINY, sound, trained
from web_client import ended, in_library

from sepdict import compare, train_dictionary

pytest_plugins = ["web_server"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with dictionaries that can be compared, one of another rate, and one without exemplars."""
    folder, config = tmp_path_factory.mktemp("library"), replace(TINY, exemplars_s=2.0)
    for name, rate in {"hiss": SAMPLE_RATE, "hum": SAMPLE_RATE, "slow": SAMPLE_RATE // 2}.items():
        taps = "hum" if name == "hum" else "hiss"
        solo = sound(taps, n_samples=2 * rate, sample_rate=rate, seed=9)
        train_dictionary(solo, config, source=name).save(folder / f"{name}.safetensors")
    trained("hum").renamed("forgetful").save(folder / "forgetful.safetensors")
    return folder


def test_the_page_forecasts_what_the_library_does(client: TestClient, library: Path) -> None:
    session = client.post("/api/sessions").json()["id"]
    request = {"dictionaries": [in_library(client)[name] for name in ("hiss", "hum")]}
    job = client.post("/api/comparisons", params={"session": session}, json=request).json()
    assert (job["kind"], job["request"]) == ("comparison", request)
    done = ended(client, job)
    assert done["state"] == "done", done
    (own,) = compare([library / "hiss.safetensors", library / "hum.safetensors"]).forecasts
    (told,) = done["result"]["forecasts"]
    assert told["sources"] == ["hiss", "hum"]
    assert (told["verdict"], told["sentence"]) == (own.verdict, own.sentence)
    assert told["si_sdr_improvement_db"] == pytest.approx(own.si_sdr_improvement_db, abs=0.1)
    assert [each["id"] for each in client.get(f"/api/sessions/{session}").json()["jobs"]] == [job["id"]]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["hum"], "there is only a dictionary of 'hum'; expected two at least"),
        (["hum", "slow"], "'slow' has 4000; train 'slow' again to match"),
        (["hum", "forgetful"], "dictionary 'forgetful' has no exemplars"),
        (["hum", "hum"], "2 dictionaries are of source 'hum'"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once_in_one_line(
    client: TestClient, names: list[str], said: str
) -> None:
    request = {"dictionaries": [in_library(client)[name] for name in names]}
    refused = client.post("/api/comparisons", json=request)
    assert refused.status_code == 400
    assert said in refused.json()["error"]
    assert "\n" not in refused.json()["error"]
