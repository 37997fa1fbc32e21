"""The report that the player is tried in, and what can be seen of the player."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from front_end import mixture, trained

from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.run import separate_files
from sepdict.separation.config import FitConfig, SeparationConfig

DURATION_S = 6.0
COMMAND = [
    "sepdict",
    "separate",
    "some where/song.wav",
    "--dictionary",
    "hiss",
    "--residual",
    "--quality=draft",
    "--report",
]
SIZES = {"laptop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def report_in(folder: Path, *, residual: bool) -> Path:
    path = write_audio(folder / "song.wav", mixture(n_samples=round(8000 * DURATION_S), n_channels=2))
    sources = [trained("hiss"), trained("hum")]
    config = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)
    options = BatchConfig(replace(config, residual=residual), report=True)
    (result,) = separate_files([path], sources, folder / "out", options, command=COMMAND)
    assert result.report is not None
    return result.report


def time_s(page: Any) -> float:
    """Where the player stands."""
    return float(page.get_by_role("slider", name="Position").get_attribute("aria-valuenow"))


def state(page: Any) -> str:
    return str(page.locator("#player").get_attribute("data-state"))


def play(page: Any) -> None:
    page.get_by_role("button", name="Play").click()
    page.locator("#player[data-state=playing]").wait_for()


def audible(page: Any) -> list[str]:
    """The names of the tracks that can be heard."""
    heard = page.locator(".player-track[data-audible=true]")
    return [str(name) for name in heard.evaluate_all("tracks => tracks.map((track) => track.ariaLabel)")]


def pressed(page: Any, name: str) -> bool:
    return bool(page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true")
