"""From speed.json to SPEED.md and growth.svg."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

Facts = Mapping[str, Any]

HEADING = """# Speed and memory

Written by `uv run python tests/benchmarks/speed.py SCENES_FOLDER`, where SCENES_FOLDER is what `make_scenes.py` wrote.
*RTF*, the real-time factor, is seconds of work per second of mixture, start of the program and reading and writing of
files included; the mask estimator has been trained before."""

REAL_TIME = {
    "real_time_speech": "two sources, 16 kHz, one channel",
    "real_time_music": "two sources, 44.1 kHz, two channels",
    "real_time_lecture": "the same as the first, `lecture` preset, no mask estimator",
    "real_time_nmf": "the same as the first, KL-NMF of 60 components a source (scikit-learn, its own convergence)",
    "ten_minutes": "as the second, ten minutes",
    "three_hours": "as the second, three hours",
}


def write_report(found: Facts, folder: Path) -> None:
    """Write the page, and the figure beside it if there is one."""
    parts = [HEADING, _real_time(found)]
    parts += [sentence(found[name]) for name, sentence in SENTENCES.items() if name in found]
    if "growth" in found:
        _draw_growth(found["growth"], folder / "growth.svg")
        parts.append("![Seconds against duration and number of sources](growth.svg)")
    parts.append(_surroundings(found))
    (folder / "SPEED.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _real_time(found: Facts) -> str:
    """A row per kind of mixture."""
    lines = ["| | mixture, s | work, s | RTF | peak, MiB | stems are |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for name, what in REAL_TIME.items():
        if name in found:
            facts = found[name]
            factor = facts["seconds"] / facts["duration_s"]
            peak = f"{facts['peak_mib']:.0f}" if "peak_mib" in facts else "-"
            times = f"{facts['duration_s']:.0f} | {facts['seconds']:.1f} | **{factor:.3f}**"
            lines.append(f"| {what} | {times} | {peak} | {facts.get('container', '-')} |")
    return "\n".join(lines)


def _limit(facts: Facts) -> str:
    return (
        f"**Close to the limit.** One evaluation of the fit's cost and gradient multiplies at "
        f"{facts['fit_gflops']:.0f} GFLOP/s, the same products alone at {facts['products_gflops']:.0f}: "
        f"{facts['share']:.0%} (best of 15, in turn)."
    )


def _iterations(facts: Facts) -> str:
    counts = "; ".join(f"{name} {n or 'not in 1000'}" for name, n in facts["evaluations"].items())
    return f"**Iterations** until the cost is within 1 % of the converged one: {counts}."


def _jobs(facts: Facts) -> str:
    return (
        f"**Many files.** Eight of half a minute take {facts['one_s']:.1f} s one after the other and "
        f"{facts['many_s']:.1f} s with `-j {facts['n_jobs']}`: "
        f"{facts['one_s'] / facts['many_s']:.2f} times the throughput."
    )


def _start_up(facts: Facts) -> str:
    return (
        f"**Start.** `sepdict --help` takes {facts['help_s']:.2f} s, "
        f"importing all that separates {facts['import_s']:.2f} s (most of it PyTorch), "
        f"which then holds {facts['libraries_mib']:.0f} MiB."
    )


def _training(facts: Facts) -> str:
    once, long = facts["1x"], facts["5x"]
    return (
        f"**Training** on {facts['heard_s'] / 60:.1f} minutes of solos takes {once['seconds_a_source']:.0f} s a source "
        f"and gains {once['gain_db']:.2f} dB, "
        f"five times as many steps {long['seconds_a_source']:.0f} s and {long['gain_db']:.2f} dB."
    )


def _first_stems(facts: Facts) -> str:
    ways = facts["ways"]
    fastest_s = min(way["seconds"] for name, way in ways.items() if "NMF" in name)
    lines = ["| from two folders of solos to the stems of a minute | s | times KL-NMF's | gain, dB |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {way['seconds']:.0f} | {way['seconds'] / fastest_s:.1f} | {way['gain_db']:.2f} |"
        for name, way in ways.items()
    ]
    return "\n".join(lines)


def _from_marks(facts: Facts) -> str:
    lines = [
        "| from two marks of ten seconds to the stems of a minute | s | again, after a mark was moved, s | gain, dB |"
    ]
    lines += ["| --- | ---: | ---: | ---: |"]
    lines += [
        f"| `--quality {quality}` | {way['seconds']:.0f} | {way['again_s']:.0f} | {way['gain_db']:.2f} |"
        for quality, way in facts["ways"].items()
    ]
    return "\n".join(lines)


def _shortcuts(facts: Facts) -> str:
    scenes = facts["gains_db"]
    cases = list(next(iter(scenes.values())))
    lines = ["| gain in dB on two minutes of | " + " | ".join(cases) + " |", "| --- |" + " ---: |" * len(cases)]
    lines += [
        f"| {name} | " + " | ".join(f"{gains[case]:.2f}" for case in cases) + " |" for name, gains in scenes.items()
    ]
    return "\n".join(lines)


SENTENCES = {
    "limit": _limit,
    "iterations": _iterations,
    "jobs": _jobs,
    "first_stems": _first_stems,
    "from_marks": _from_marks,
    "start_up": _start_up,
    "training": _training,
    "shortcuts": _shortcuts,
}


def _draw_growth(facts: Facts, path: Path) -> None:
    """Plot seconds against duration and against sources, each beside a straight line through its middle."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = {"seconds of mixture": facts["by_duration"], "sources": facts["by_sources"]}
    for axes, (what, measured) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        amounts, seconds = [float(amount) for amount in measured], list(measured.values())
        slope = seconds[-1] / amounts[-1]
        axes.plot(amounts, [slope * amount for amount in amounts], color="0.7", label="proportional to the last")
        axes.plot(amounts, seconds, "o-", label="measured")
        axes.set(xlabel=what, ylabel="seconds of work", ylim=(0, None))
        axes.legend(frameon=False)
    with rc_context({"svg.hashsalt": "growth"}):  # the same file from the same measurements
        figure.savefig(path, metadata={"Date": None})


def _surroundings(found: Facts) -> str:
    """Where and when."""
    commits = ", ".join(sorted({facts["commit"] for facts in found.values()}))
    rates = [facts["matmul_gflops"] for facts in found.values()]
    last = list(found.values())[-1]
    return (
        f"{last['machine']}, {last['threads']} threads; "
        f"after each measurement a float32 matrix product of 2048 x 2048 ran at {min(rates):.0f} to {max(rates):.0f} "
        f"GFLOP/s. Commit {commits}, {last['date']}."
    )
