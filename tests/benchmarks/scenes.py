"""How well sepdict separates, and at what cost, beside its rivals, on every scene that `make_scenes.py` writes.

    uv run python tests/benchmarks/scenes.py SCENES_FOLDER

Every run of a method on a scene with a seed is a process of its own (`methods.py`) and becomes one line of the results
file. Runs that are there already are not repeated, whatever commit they are of: delete the file, or lines of it, to
measure anew. An interruption loses only the run that it hits. At the end RESULTS.md is written from all lines.

No method sees a scene's true sources but the ceilings, and nothing is chosen by a score.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from methods import METHODS
from report import COMMAND, markdown

HERE = Path(__file__).parent
Record = dict[str, Any]
Key = tuple[str, str, int]


@dataclass(frozen=True, order=True)
class Order:
    """One run that is wanted; ``budget_s`` is the training time of the methods that are given one."""

    scene: str
    method: str
    seed: int
    budget_s: float | None = None

    @property
    def key(self) -> Key:
        """What makes it the same run as another."""
        return self.scene, self.method, self.seed


def read_results(path: Path) -> list[Record]:
    """Read the runs that were made; a last line that an interruption cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def append_result(path: Path, record: Record) -> None:
    """Add one run, in the place of a last line that was cut short."""
    with path.open("a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def plan(scenes: Sequence[str], methods: Iterable[str], n_seeds: int) -> list[Order]:
    """List all runs, so that an early end leaves whole rounds: seed by seed, method by method, scene by scene."""
    chosen = [name for name in METHODS if name in set(methods)]
    orders = [
        Order(scene, method, seed)
        for seed in range(n_seeds)
        for method in chosen
        for scene in scenes
        if seed == 0 or METHODS[method].is_random
    ]
    return orders + ([Order(scenes[0], COMMAND, 0)] if COMMAND in set(methods) else [])


def complete(
    orders: Iterable[Order], path: Path, run: Callable[[Order], Record], on_run: Callable[[str], None] = print
) -> list[str]:
    """Make the runs that are not in the results file yet; return what failed.

    A method that trains as long as another has that run made first where it is missing.
    """
    failed = []
    for order in orders:
        done = {(record["scene"], record["method"], record["seed"]): record for record in read_results(path)}
        if order.key in done:
            continue
        try:
            budget = None if order.method == COMMAND else METHODS[order.method].budget
            if budget is not None:
                ours = Order(order.scene, METHODS[order.method].budget_of, order.seed)
                if ours.key not in done:
                    done[ours.key] = run(ours)
                    append_result(path, done[ours.key])
                    on_run(_line(done[ours.key]))
                order = Order(*order.key, budget_s=budget * done[ours.key]["training_s"])
            record = run(order)
        except (subprocess.CalledProcessError, json.JSONDecodeError, IndexError) as error:
            failed.append(f"{order.scene}, {order.method}, seed {order.seed}: {error}")
            on_run(f"FAILED {failed[-1]}")
            continue
        append_result(path, record)
        on_run(_line(record))
    return failed


def run_apart(order: Order, folder: Path, threads: int) -> Record:
    """Make one run in a fresh process with an empty cache of mask estimators."""
    wanted = {"folder": str(folder / order.scene), "method": order.method, "seed": order.seed, "threads": threads}
    if order.budget_s is not None:
        wanted["budget_s"] = order.budget_s
    command = [sys.executable, str(HERE / "methods.py"), json.dumps(wanted)]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {
            "SEPDICT_CACHE": cache,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "1000",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    record: Record = json.loads(finished.stdout.splitlines()[-1])
    return record


def find_scenes(folder: Path) -> list[str]:
    """Name the scenes in a folder."""
    return sorted(path.parent.name for path in folder.glob("*/mixture.wav"))


def _line(record: Record) -> str:
    """Say in a line how a run went."""
    about = f"{record['scene']}, {record['method']}, seed {record['seed']}: "
    if record["method"] == COMMAND:
        return about + f"{record['first_s']:.1f} s, again {record['again_s']:.1f} s"
    return about + f"{float(record['si_sdr_improvement_db']):.2f} dB, trained in {record['training_s']:.0f} s"


def _require_known(given: Sequence[str], known: Sequence[str], what: str) -> None:
    """Refuse a name that is none."""
    for name in given:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of the {what}s: {'; '.join(known)}")


def main(
    scenes_folder: Annotated[Path | None, typer.Argument(help="What make_scenes.py wrote.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this row; may be given several times.")] = None,
    scene: Annotated[list[str] | None, typer.Option(help="Only this scene; may be given several times.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the methods that are random.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every run.")] = 2,
    results: Annotated[Path, typer.Option(help="File of runs, read and added to.")] = HERE / "scenes.jsonl",
    table: Annotated[bool, typer.Option("--table", help="Only write the tables from the runs there are.")] = False,
    output: Annotated[Path, typer.Option(help="Where the tables go.")] = HERE / "RESULTS.md",
) -> None:
    """Make the runs that are missing, then write the tables."""
    failed: list[str] = []
    if not table:
        if scenes_folder is None or not (found := find_scenes(scenes_folder)):
            raise typer.BadParameter(f"{scenes_folder} holds no scenes; give the folder that make_scenes.py wrote")
        folder = scenes_folder
        _require_known(method or [], [*METHODS, COMMAND], "method")
        _require_known(scene or [], found, "scene")
        orders = plan(scene or found, method or [*METHODS, COMMAND], seeds)
        failed = complete(orders, results, lambda order: run_apart(order, folder, threads), typer.echo)
    output.write_text(markdown(read_results(results), list(METHODS)), encoding="utf-8")
    typer.echo(f"{output} written" + "".join(f"\nFAILED {line}" for line in failed))
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
