"""The rows of the benchmark, and how one run of one row is measured: in a process of its own.

    python tests/benchmarks/methods.py '{"folder": SCENE_FOLDER, "method": NAME, "seed": 0, "threads": 2}'

prints one line of JSON. `scenes.py` calls it so that the peak of memory is this method's alone.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from ours import (
    AUGMENTED,
    DEFAULT,
    QUICK,
    VARIATIONAL,
    family,
    one_known,
    one_unknown,
    sepdict_dictionaries,
    sepdict_live,
    sepdict_marked,
)
from report import COMMAND
from rivals import (
    Scene,
    Separated,
    convolutive_nmf,
    ideal_masks,
    is_nmf,
    kl_nmf,
    mask_network,
    mixture_itself,
    noise_reduction,
    semi_supervised_nmf,
)
from torch import Tensor

import sepdict  # before torch: it has idle threads sleep
from sepdict import Audio, Dictionary, evaluate, train_dictionary, write_audio

OURS = "sepdict, default"
MARKED = "ten marked seconds: sepdict"

NMF_SIZES = (10, 25, 60)
NOISES = {"chainsaw", "dog_bark", "rain"}  # sources of the scenes that are noise to the others
LIBRARIES = ("sepdict", "torch", "numpy", "scikit-learn", "torchnmf", "mir-eval")
SCORES = ("si_sdr_improvement_db", "sdr_db", "sir_db", "sar_db")
CURVE_S = (15, 30, 60, 120)  # of each source's solos, to see what more of them bring
COMMAND_REPEATS = 4  # the mixture this many times over, so that the start of the command does not hide its speed


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes
    ----------
    run : callable
        ``(scene, seed) -> Separated``; where ``budget`` is set, also with ``budget_s``.
    quick : bool
        Whether it takes a minute or two at most per scene.
    is_random : bool
        Whether another seed gives another result.
    budget : float, optional
        Trains as long as ``budget_of`` did with the same seed on the same scene, times this.
    one_known : bool
        Whether it knows one source at a time: of each it gives two stems, the source and all the rest.
    """

    run: Callable[..., Separated]
    quick: bool = True
    is_random: bool = True
    budget: float | None = None
    budget_of: str = OURS
    one_known: bool = False


def marked(run: Callable[..., Separated], scene: Scene, seed: int, **options: Any) -> Separated:
    """Run a rival on a scene of which it learns from the marked seconds only."""
    return run(scene.marked(), seed, **options)


def gated(scene: Scene, seed: int) -> Separated:
    """Run spectral gating on a scene of two sources, of which one is noise to the other."""
    (noise,) = scene.solos.keys() & NOISES
    known = noise_reduction(replace(scene, solos={noise: scene.solos[noise]}), seed)
    stem, rest = known.stems
    return replace(known, stems=torch.stack([stem if source == noise else rest for source in scene.solos]))


METHODS: Mapping[str, Method] = {
    "floor: the mixture": Method(mixture_itself, is_random=False),
    "ceiling: ideal ratio masks, exponent 1": Method(partial(ideal_masks, exponent=1), is_random=False),
    "ceiling: ideal ratio masks, exponent 2": Method(partial(ideal_masks, exponent=2), is_random=False),
    **{f"KL-NMF, {n} components": Method(partial(kl_nmf, n_components=n)) for n in NMF_SIZES},
    **{f"IS-NMF, {n} components": Method(partial(is_nmf, n_components=n)) for n in NMF_SIZES},
    "convolutive KL-NMF, 25 components of 8 frames": Method(convolutive_nmf),
    OURS: Method(partial(sepdict_dictionaries, config=DEFAULT)),
    "sepdict, dictionaries of 1000 steps, quick": Method(
        partial(sepdict_dictionaries, config=QUICK, quality="quick"), quick=False
    ),
    "sepdict, variational": Method(partial(sepdict_dictionaries, config=VARIATIONAL), quick=False),
    "decoders only, default": Method(partial(sepdict_dictionaries, config=DEFAULT, quality="draft")),
    "mask network, trained as long as sepdict": Method(mask_network, budget=1),
    "mask network, trained ten times as long": Method(mask_network, quick=False, budget=10),
    **{
        f"{OURS}, from {n} s of each source": Method(
            partial(sepdict_dictionaries, config=DEFAULT, solos_s=n), quick=False
        )
        for n in CURVE_S
    },
    "one source unknown: sepdict, residual": Method(partial(one_unknown, background_model=False), quick=False),
    "one source unknown: sepdict, unknown": Method(partial(one_unknown, background_model=True), quick=False),
    "one source unknown: semi-supervised KL-NMF, 60 and 20 components": Method(semi_supervised_nmf, quick=False),
    "one source known: sepdict": Method(one_known, quick=False, one_known=True),
    "one source known: semi-supervised KL-NMF, 60 and 20 components": Method(
        partial(semi_supervised_nmf, one_known=True), quick=False, one_known=True
    ),
    "one source known: noisereduce": Method(noise_reduction, quick=False, is_random=False, one_known=True),
    "sepdict, lecture": Method(partial(sepdict_dictionaries, config=sepdict.PRESETS["lecture"]), quick=False),
    f"{OURS}, from 30 s of each source, augmented": Method(
        partial(sepdict_dictionaries, config=AUGMENTED, solos_s=30), quick=False
    ),
    **{
        f"ten marked seconds: KL-NMF, {n} components": Method(partial(marked, partial(kl_nmf, n_components=n)))
        for n in NMF_SIZES
    },
    "sepdict, live": Method(sepdict_live, quick=False),
    "ten marked seconds: noisereduce": Method(partial(marked, gated), quick=False, is_random=False),
    MARKED: Method(sepdict_marked),
    "ten marked seconds beside dictionaries: sepdict": Method(
        partial(sepdict_marked, with_dictionaries=True), quick=False
    ),
    "ten marked seconds: mask network, trained as long as sepdict": Method(
        partial(marked, mask_network), quick=False, budget=1, budget_of=MARKED
    ),
    **{
        f"decoders only, {name}": Method(
            partial(sepdict_dictionaries, config=config, quality="draft", **options), quick=False
        )
        for name, (config, options) in family().items()
    },
}


def measure(folder: Path, method: str, seed: int, threads: int, budget_s: float | None = None) -> dict[str, Any]:
    """Run a method in this process and say how well it did, at what cost, and where.

    Returns
    -------
    dict
        One record of the results file. ``peak_mib`` is of the whole process up to the stems, libraries and solos
        included, scoring excluded.
    """
    torch.set_num_threads(threads)
    scene = Scene.read(folder)
    row = METHODS[method]
    separated = row.run(scene, seed) if budget_s is None else row.run(scene, seed, budget_s=budget_s)
    peak_mib = _peak_mib(resource.RUSAGE_SELF)
    cases = scored(scene, separated.stems, one_known=row.one_known)
    score = {name: sum(case[name] for case in cases.values()) / len(cases) for name in SCORES}
    return {
        "scene": folder.name,
        "method": method,
        "seed": seed,
        **score,
        **({"cases_db": {source: case[SCORES[0]] for source, case in cases.items()}} if row.one_known else {}),
        "training_s": separated.training_s,
        "real_time_factor": separated.separation_s / scene.mixture.duration_s,
        "peak_mib": peak_mib,
        **surroundings(threads),
    }


def scored(scene: Scene, stems: Tensor, *, one_known: bool) -> dict[str, dict[str, float]]:
    """Score the stems of a scene together, or where one source was known at a time each with the rest beside it."""
    references, rate = scene.references(), scene.mixture.sample_rate

    def mean(true: Mapping[str, Audio], estimates: Tensor) -> dict[str, float]:
        estimated = {name: Audio(stem[None], rate) for name, stem in zip(true, estimates, strict=True)}
        score = evaluate(estimated, true, mixture=scene.mixture).mean.as_dict()
        return {name: score[name] for name in SCORES}

    if not one_known:
        return {"all": mean({source: references[source] for source in scene.solos}, stems)}
    pairs = {
        source: {source: references[source], "rest": Audio(scene.mixture.samples - references[source].samples, rate)}
        for source in scene.solos
    }
    return {source: mean(pair, two) for (source, pair), two in zip(pairs.items(), stems.split(2), strict=True)}


def measure_command(folder: Path, threads: int) -> dict[str, Any]:
    """Time ``sepdict separate`` in processes of its own, first with nothing cached and then again."""
    torch.set_num_threads(threads)
    scene = Scene.read(folder)
    work = Path(os.environ["SEPDICT_CACHE"], "command")
    work.mkdir()
    mixture = Audio(scene.mixture.samples.repeat(1, COMMAND_REPEATS), scene.mixture.sample_rate)
    write_audio(work / "mixture.wav", mixture)
    arguments = []
    for source, solos in scene.solos.items():
        dictionary: Dictionary = train_dictionary(list(solos), source=source)
        dictionary.save(work / f"{source}.safetensors")
        arguments += ["-d", work / f"{source}.safetensors"]
    seconds = []
    for attempt in ("first", "again"):
        start = time.perf_counter()
        command = ["sepdict", "separate", work / "mixture.wav", "-o", work / attempt, "--quiet", *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds.append(time.perf_counter() - start)
    return {
        "scene": folder.name,
        "method": COMMAND,
        "seed": 0,
        "first_s": seconds[0],
        "again_s": seconds[1],
        "duration_s": mixture.duration_s,
        "sample_rate": mixture.sample_rate,
        "n_dictionaries": len(scene.solos),
        "peak_mib": _peak_mib(resource.RUSAGE_CHILDREN),
        **surroundings(threads),
    }


def surroundings(threads: int) -> dict[str, Any]:
    """The machine, how fast it is just now, and what runs on it."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": threads,
        "matmul_gflops": _matmul_rate(),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _matmul_rate() -> float:
    """Billions of float32 operations a second of the machine's matrix product, best of ten."""
    n = 2048
    matrix = torch.randn(n, n)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds) / 1e9


def _peak_mib(who: int) -> float:
    """Largest resident memory so far; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _commit() -> str:
    """Name the commit, marked where the code, not the results, differs from it."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)

    commit = git("rev-parse", "--short", "HEAD").stdout.strip()
    changed = git("status", "--porcelain", "--", "sepdict", "cli", "pyproject.toml", "tests/benchmarks/*.py").stdout
    return (commit or "unknown") + ("-dirty" if changed else "")


def main(order: str) -> None:
    """Carry out one order and print the record."""
    wanted = json.loads(order)
    folder = Path(wanted.pop("folder"))
    is_command = wanted["method"] == COMMAND
    print(json.dumps(measure_command(folder, wanted["threads"]) if is_command else measure(folder, **wanted)))


if __name__ == "__main__":
    main(sys.argv[1])
