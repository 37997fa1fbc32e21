"""What the forecast of `sepdict compare` is worth: beside what separation then gained on every scene.

    uv run python tests/benchmarks/forecast.py SCENES_FOLDER DICTIONARIES_FOLDER

SCENES_FOLDER is what `make_scenes.py` wrote. Dictionaries that are not in DICTIONARIES_FOLDER yet are trained by the
default settings and kept there, as {scene}/{source}.safetensors. What was gained is in scenes.jsonl; FORECAST.md is
written. Nothing in the forecast is fitted to what was gained.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
from methods import OURS
from report import HEADLINE, grouped
from rivals import Scene
from scenes import HERE, find_scenes, read_results
from scipy.stats import pearsonr, spearmanr

from sepdict import Dictionary, train_dictionary
from sepdict.evaluation.separability import forecast

HEADING = """# What the forecast is worth

Written by `uv run python tests/benchmarks/forecast.py SCENES_FOLDER DICTIONARIES_FOLDER`. *Forecast* is what
`sepdict compare` expects of a scene's dictionaries, before it has seen the mixture, *gained* the SI-SDR improvement of
sepdict's defaults on it (mean over seeds, RESULTS.md), both in dB."""


def dictionaries_of(scene: Scene, folder: Path) -> list[Dictionary]:
    """Load the dictionaries of a scene, after training those that are not there."""
    found = []
    for source, solos in scene.solos.items():
        path = folder / scene.folder.name / f"{source}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            train_dictionary(list(solos), source=source).save(path)
        found.append(Dictionary.load(path))
    return found


def markdown(forecasts: Mapping[str, float], gained: Mapping[str, float]) -> str:
    """Write FORECAST.md from both by scene; three scenes are the least that a correlation needs."""
    scenes = sorted(forecasts, key=gained.__getitem__)
    rows = [f"| {scene} | {forecasts[scene]:.1f} | {gained[scene]:.1f} |" for scene in scenes]
    x, y = [forecasts[scene] for scene in scenes], [gained[scene] for scene in scenes]
    pearson, spearman = pearsonr(x, y), spearmanr(x, y)
    interval = "" if len(scenes) < 4 else " (95 %: {:.2f} to {:.2f})".format(*pearson.confidence_interval())
    errors = [abs(a - b) for a, b in zip(x, y, strict=True)]
    blind = [abs(b - (sum(y) - b) / (len(y) - 1)) for b in y]  # to expect what the other scenes gained
    sentence = (
        f"Correlation over {len(scenes)} scenes, which are few: Pearson {pearson.statistic:.2f}{interval}, Spearman "
        f"{spearman.statistic:.2f}. The forecast is off by {mean(errors):.1f} dB on average, {max(errors):.1f} at "
        f"most; to expect of each scene the mean of the others would be off by {mean(blind):.1f} and {max(blind):.1f}."
    )
    return "\n\n".join(
        [HEADING, "\n".join(["| scene | forecast | gained |", "| --- | ---: | ---: |", *rows]), sentence, ""]
    )


def main(
    scenes_folder: Annotated[Path, typer.Argument(help="What make_scenes.py wrote.")],
    dictionaries_folder: Annotated[Path, typer.Argument(help="Where dictionaries are kept.")],
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = HERE / "FORECAST.md",
) -> None:
    """Forecast every scene and write the table."""
    runs = grouped(read_results(HERE / "scenes.jsonl"))[OURS]
    gained = {scene: mean(float(run[HEADLINE]) for run in several) for scene, several in runs.items()}
    forecasts = {}
    for scene in find_scenes(scenes_folder):
        dictionaries = dictionaries_of(Scene.read(scenes_folder / scene), dictionaries_folder)
        forecasts[scene] = forecast(dictionaries).si_sdr_improvement_db
        typer.echo(f"{scene}: forecast {forecasts[scene]:.1f} dB, gained {gained[scene]:.1f} dB")
    output.write_text(markdown(forecasts, gained), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
