"""From the lines of the results file to the tables of RESULTS.md."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

COMMAND = "the command"  # the method of the records that are a sentence and no row
HEADLINE = "si_sdr_improvement_db"
N_SCENES = 12  # that make_scenes.py writes
BEYOND_DB = 100.0  # a ratio above it is a rounding error's
Record = Mapping[str, Any]
Runs = Mapping[str, Mapping[str, Sequence[Record]]]  # by method, by scene

BY_SCENE = "SI-SDR improvement by scene in dB, mean over the seeds ± standard deviation; - is a run not made:"

HEADING = """# Results

Written by `uv run python tests/benchmarks/scenes.py SCENES_FOLDER`, where SCENES_FOLDER is what `make_scenes.py` wrote,
from the runs in its results file. Every run is a process of its own. All methods get the same mixture, the same solos
and the same STFT, and keep the mixture's phase; only the ceilings see the true sources, and nothing is chosen by a
score. The methods, with their sources, are in `rivals.py` beside this file."""

COLUMNS = """SI-SDR improvement over the mixture, and SDR, SIR and SAR (BSS Eval v3 as mir_eval computes it), in dB, are
means over the sources of a scene, then over its seeds, then over the scenes; ± is the standard deviation over seeds of
the mean over scenes, from the seeds that all scenes of the row have. *Training* is seconds per scene, all sources
together; sepdict's includes the mask estimator's. *RTF* is seconds of separation per second of mixture.
*Peak* is the resident memory of the whole process up to the stems, with Python, libraries and solos: the largest of the
row's runs. **A row with fewer scenes than another has its means over other scenes: compare them by scene, below.**"""


def markdown(records: Iterable[Record], methods: Sequence[str]) -> str:
    """Write RESULTS.md.

    Parameters
    ----------
    records : iterable of mapping
        Lines of the results file.
    methods : sequence of str
        The rows, in order; other methods' runs are left out.
    """
    records = list(records)
    rows = [record for record in records if record["method"] in methods]
    runs = grouped(rows)
    methods = [method for method in methods if method in runs]
    parts = [HEADING]
    if rows:
        parts += [
            COLUMNS,
            methods_table(runs, methods),
            BY_SCENE,
        ]
        parts += [scenes_table(runs, methods)]
    parts += [_command_sentence(record) for record in records if record["method"] == COMMAND]
    parts += [_surroundings(records)] if records else []
    return "\n\n".join(parts) + "\n"


def grouped(records: Iterable[Record]) -> Runs:
    """Sort runs by method and scene."""
    runs: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        runs[record["method"]][record["scene"]].append(record)
    return runs


def methods_table(runs: Runs, methods: Sequence[str]) -> str:
    """A row per method: means over the scenes, and the cost."""
    rows = [["method", "SI-SDR improvement", "SDR", "SIR", "SAR", "training, s", "RTF", "peak, MiB", "scenes", "seeds"]]
    for method in methods:
        scenes = runs[method]
        quality, *others = (mean_over_scenes(scenes, name) for name in (HEADLINE, "sdr_db", "sir_db", "sar_db"))
        peak = max(run["peak_mib"] for several in scenes.values() for run in several)
        rows.append(
            [
                method,
                f"**{_db(quality, 2)}**" + _plus_minus(spread_over_seeds(scenes, HEADLINE)),
                *(_db(value, 1) for value in others),
                f"{mean_over_scenes(scenes, 'training_s'):.1f}",
                f"{mean_over_scenes(scenes, 'real_time_factor'):.3f}",
                f"{peak:.0f}",
                f"{len(scenes)} of {max(N_SCENES, len(scenes))}",
                _range(len(several) for several in scenes.values()),
            ]
        )
    return _table(rows)


def scenes_table(runs: Runs, methods: Sequence[str]) -> str:
    """A row per method, a column per scene: the headline."""
    scenes = sorted({scene for method in methods for scene in runs[method]})
    rows = [["method", *scenes]]
    for method in methods:
        values = [[float(run[HEADLINE]) for run in runs[method].get(scene, [])] for scene in scenes]
        cells = [_db(mean(x), 2) + _plus_minus(stdev(x) if len(x) > 1 else None) if x else "-" for x in values]
        rows.append([method, *cells])
    return _table(rows)


def mean_over_scenes(scenes: Mapping[str, Sequence[Record]], name: str) -> float:
    """Mean over the scenes of the mean over each one's seeds; a ratio that is not defined (null) is left out."""
    means = []
    for several in scenes.values():
        values = [float(run[name]) for run in several if run[name] is not None]
        means += [mean(values)] if values else []
    return mean(means) if means else math.nan


def spread_over_seeds(scenes: Mapping[str, Sequence[Record]], name: str) -> float | None:
    """Standard deviation over the seeds that all scenes have of the mean over the scenes; None with fewer than two."""
    by_seed = [{run["seed"]: float(run[name]) for run in several} for several in scenes.values()]
    common = set.intersection(*(set(values) for values in by_seed))
    return stdev(mean(values[seed] for values in by_seed) for seed in common) if len(common) > 1 else None


def _command_sentence(record: Record) -> str:
    return (
        f"`sepdict separate` as a command, start included, on {record['duration_s']:.0f} s of mono at "
        f"{record['sample_rate']} Hz (the mixture of {record['scene']}, repeated) with {record['n_dictionaries']} "
        f"dictionaries: {record['first_s']:.1f} s the first time, when it trains their mask estimator, "
        f"{record['again_s']:.1f} s from then on (real-time factor {record['again_s'] / record['duration_s']:.2f}), "
        f"peak memory {record['peak_mib']:.0f} MiB."
    )


def _surroundings(records: Sequence[Record]) -> str:
    """Say on what the runs were made; where they were not all made on one thing, name every one."""

    def every(of: Callable[[Record], str]) -> str:
        counts: dict[str, int] = defaultdict(int)
        for record in records:
            counts[of(record)] += 1
        return " or ".join(f"{x} ({n} runs)" for x, n in counts.items()) if len(counts) > 1 else next(iter(counts))

    rates = sorted(record["matmul_gflops"] for record in records)
    dates = sorted(record["date"] for record in records)
    versions = every(lambda record: ", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    return (
        f"{len(records)} runs, {dates[0]} to {dates[-1]}. Commit {every(lambda record: record['commit'])}. "
        f"{versions}. {every(lambda record: record['machine'])}, "
        f"{every(lambda record: str(record['threads']))} threads a run. "
        f"After each run a float32 matrix product of 2048 x 2048 ran at {rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s, "
        f"median {rates[len(rates) // 2]:.0f}; where it is low others used the machine, and times are long. "
        "Mask networks learn for a time and not for a number of steps: theirs vary with the machine's speed."
    )


def _db(value: float, digits: int) -> str:
    return f"> {BEYOND_DB:.0f}" if value > BEYOND_DB else f"{value:.{digits}f}"


def _plus_minus(spread: float | None) -> str:
    return "" if spread is None else f" ± {spread:.2f}"


def _range(counts: Iterable[int]) -> str:
    least, *_, most = sorted([*counts] * 2)
    return f"{least}" if least == most else f"{least} to {most}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    ruled = [rows[0], ["---"] + ["---:"] * (len(rows[0]) - 1), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
