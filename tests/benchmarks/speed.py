"""How fast sepdict is, how much memory it takes, and how both grow, beside NMF and the machine's own matrix product.

    uv run python tests/benchmarks/speed.py SCENES_FOLDER

Every measurement is a process of its own and becomes one entry of speed.json; those that are there already are not
repeated: delete the file, or name one with --only, to measure anew. At the end SPEED.md and growth.svg are written.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from methods import METHODS, surroundings
from rivals import Scene
from speed_report import write_report

import sepdict  # before torch: it has idle threads sleep
from sepdict import (
    Audio,
    Dictionary,
    FitConfig,
    MaskEstimatorConfig,
    SeparationConfig,
    read_audio,
    separate,
    train_dictionary,
    train_mask_estimator,
    write_audio,
)
from sepdict.audio.signal import resample
from sepdict.audio.writing import writing_audio
from sepdict.evaluation.metrics import si_sdr_improvement
from sepdict.models.optim import minimize_adam, minimize_lbfgs
from sepdict.separation.excitations import _Problem
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.spectral.stft import magnitude, stft

HERE = Path(__file__).parent
Facts = dict[str, Any]
PAIR = "violin_and_speech"  # two sources at 16 kHz, minutes of each
MUSIC = "violin_and_piano"  # resampled to 44.1 kHz, on two channels
N_SHORT = (
    100  # steps of a training, of a dictionary or a mask estimator, of which only the speed of what follows counts
)
DURATIONS_S = (10, 30, 60, 180, 600, 1800)
N_SOURCES = range(2, 9)


@cache
def scene(name: str) -> Scene:
    """Read a scene of the folder that this run was given."""
    return Scene.read(Path(os.environ["SCENES"], name))


def trained(
    name: str, *, sample_rate: int | None = None, n_steps: int | None = None, preset: str = "default"
) -> list[Dictionary]:
    """Train the dictionaries of a scene, or take those that another measurement of this run has trained."""
    found = []
    for source, solos in scene(name).solos.items():
        path = Path(os.environ["WORK"], f"{name}-{source}-{sample_rate}-{n_steps}-{preset}.safetensors")
        if not path.exists():
            config = sepdict.PRESETS[preset]
            config = config if n_steps is None else replace(config, n_steps=n_steps)
            heard = [resample(solo, sample_rate or solo.sample_rate) for solo in solos]
            train_dictionary(heard, config, source=source).save(path)
        found.append(Dictionary.load(path))
    return found


def lasting(name: str, duration_s: float, *, sample_rate: int = 16000, n_channels: int = 1) -> Audio:
    """Repeat a scene's mixture; a second channel is softer and a little late."""
    mixture = resample(scene(name).mixture, sample_rate)
    n_samples = round(duration_s * sample_rate)
    samples = mixture.samples.repeat(1, n_samples // mixture.n_samples + 1)[:, :n_samples]
    channels = [0.7**index * samples.roll(30 * index, dims=1) for index in range(n_channels)]
    return Audio(torch.cat(channels), sample_rate)


def clock(work: Callable[[], object]) -> float:
    """Measure in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command(
    dictionaries: Sequence[Dictionary], mixture: Audio, *options: str, n_repeats: int = 1, n_files: int = 1
) -> Facts:
    """Run `sepdict separate` on files that repeat a mixture, after it has trained the mask estimator."""
    with tempfile.TemporaryDirectory(dir=os.environ["WORK"]) as name:
        folder = Path(name)
        files = [folder / f"{index}.wav" for index in range(n_files)]
        form: Any = {"n_channels": mixture.n_channels, "sample_rate": mixture.sample_rate}
        for path in files:
            with writing_audio(path, n_samples=n_repeats * mixture.n_samples, **form) as write:
                for _ in range(n_repeats):
                    write(mixture.samples)
        (beginning,) = mixture.blocks([slice(0, 5 * mixture.sample_rate)])
        short = write_audio(folder / "short.wav", beginning)
        flags = []
        for dictionary in dictionaries:
            flags += ["-d", str(dictionary.save(folder / f"{dictionary.source}.safetensors"))]

        def separate_files(*paths: Path) -> None:
            arguments = ["sepdict", "separate", *map(str, paths), "-q", "-o", str(folder / "out"), *flags, *options]
            subprocess.run([*arguments, "--overwrite"], check=True, stdout=sys.stderr)

        separate_files(short)
        short_s, seconds = clock(lambda: separate_files(short)), clock(lambda: separate_files(*files))
        with next((folder / "out" / "0").glob("*.wav")).open("rb") as stem:
            container = stem.read(4).decode()
    duration_s = n_files * n_repeats * mixture.duration_s
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    facts = {"seconds": seconds, "duration_s": duration_s, "peak_mib": peak_mib, "container": container}
    return facts | {"five_seconds_s": short_s}


def real_time_speech() -> Facts:
    """Two sources at 16 kHz, one channel."""
    return command(trained(PAIR), lasting(PAIR, 180))


def music() -> tuple[list[Dictionary], Audio]:
    """Two sources at 44.1 kHz, a minute on two channels."""
    return trained(MUSIC, sample_rate=44100, n_steps=1000), lasting(MUSIC, 60, sample_rate=44100, n_channels=2)


def real_time_music() -> Facts:
    """Three minutes of that."""
    return command(*music(), n_repeats=3)


def ten_minutes() -> Facts:
    """Ten minutes of that: so much memory should be enough for any duration."""
    return command(*music(), n_repeats=10)


def three_hours() -> Facts:
    """Three hours of that."""
    return command(*music(), n_repeats=180)


def real_time_lecture() -> Facts:
    """The speech with the dictionaries of the lectures, hardly trained: that does not change the speed."""
    return command(trained(PAIR, preset="lecture", n_steps=N_SHORT), lasting(PAIR, 60), "--quality=draft")


def real_time_nmf() -> Facts:
    """The speech with KL-NMF, 60 components a source, to scikit-learn's convergence."""
    played = replace(scene(PAIR), mixture=lasting(PAIR, 60))
    return {"seconds": METHODS["KL-NMF, 60 components"].run(played, 0).separation_s, "duration_s": 60.0}


def jobs() -> Facts:
    """Eight files of half a minute, one after the other and as many at a time as there are threads."""
    one, many = (
        command(trained(PAIR), lasting(PAIR, 30), "-j", str(n_jobs), n_files=8)["seconds"]
        for n_jobs in (1, torch.get_num_threads())
    )
    return {"one_s": one, "many_s": many, "n_jobs": torch.get_num_threads()}


def start_up() -> Facts:
    """Seconds until the command has said how it is used, and the resident memory of the libraries alone."""
    help_s = min(clock(lambda: subprocess.run(["sepdict", "--help"], check=True, stdout=sys.stderr)) for _ in range(3))
    libraries = "import sepdict.batch.run, torch; torch.ones(2048, 2048) @ torch.ones(2048, 2048)"
    library_s = min(clock(lambda: subprocess.run([sys.executable, "-c", libraries], check=True)) for _ in range(3))
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    return {"help_s": help_s, "import_s": library_s, "libraries_mib": peak_mib}


def training() -> Facts:
    """Train on 3.5 minutes of 16 kHz solos, with default steps and five times as many; gain on the pair's scene."""
    facts: Facts = {}
    for factor in (1, 5):
        config = sepdict.PRESETS["default"]
        config = replace(config, n_steps=factor * config.n_steps)
        start = time.perf_counter()
        dictionaries = [train_dictionary(list(s), config, source=name) for name, s in scene(PAIR).solos.items()]
        seconds = (time.perf_counter() - start) / len(dictionaries)
        gain = gain_db(PAIR, separate(scene(PAIR).mixture, dictionaries).stems)
        facts[f"{factor}x"] = {"seconds_a_source": seconds, "gain_db": gain}
    heard = [sum(solo.duration_s for solo in solos) for solos in scene(PAIR).solos.values()]
    return facts | {"heard_s": sum(heard) / len(heard)}


def first_stems() -> Facts:
    """From two folders of solos and a minute of mixture to stems, by commands with nothing cached, and by KL-NMF."""
    ways = {
        "defaults": ([], []),
        "defaults, two dictionaries at a time": (["-j", "2"], []),
        "two at a time, `--steps 1000`, `--quality quick`": (["-j", "2", "--steps", "1000"], ["--quality", "quick"]),
        "two at a time, `--steps 300`, `--quality quick`": (["-j", "2", "--steps", "300"], ["--quality", "quick"]),
        "two at a time, `--steps 300`, `--quality draft`": (["-j", "2", "--steps", "300"], ["--quality", "draft"]),
    }
    mixture = lasting(PAIR, 60)
    played = replace(scene(PAIR), mixture=mixture)
    start = time.perf_counter()
    separated = METHODS["KL-NMF, 25 components"].run(played, 0)
    seconds = time.perf_counter() - start
    stems = {source: Audio(stem[None], 16000) for source, stem in zip(played.solos, separated.stems, strict=True)}
    found = {"KL-NMF of 25 components": {"seconds": seconds, "gain_db": gain_db(PAIR, stems)}}
    for way, (training, separating) in ways.items():
        with tempfile.TemporaryDirectory(dir=os.environ["WORK"]) as name:
            found[way] = _commands(Path(name), mixture, training, separating)
    return {"ways": found}


def _commands(work: Path, mixture: Audio, training: Sequence[str], separating: Sequence[str]) -> Facts:
    """Train dictionaries of the pair, and separate the mixture with them, and measure both."""
    solos = sorted((scene(PAIR).folder / "solos").iterdir())
    write_audio(work / "mixture.wav", mixture)
    dictionaries = [word for solo in solos for word in ("-d", str(work / f"{solo.name}.safetensors"))]
    commands = [
        ["sepdict", "train-dictionary", *map(str, solos), "--each", "-o", str(work), "-q", *training],
        ["sepdict", "separate", str(work / "mixture.wav"), *dictionaries, "-o", str(work / "out"), "-q", *separating],
    ]
    environment = os.environ | {"SEPDICT_CACHE": str(work / "cache")}
    seconds = [
        clock(lambda words=words: subprocess.run(words, check=True, stdout=sys.stderr, env=environment))
        for words in commands
    ]
    stems = {solo.name: read_audio(work / "out" / "mixture" / f"{solo.name}.wav") for solo in solos}
    return {"seconds": sum(seconds), "training_s": seconds[0], "gain_db": gain_db(PAIR, stems)}


def from_marks() -> Facts:
    """From ten marked seconds of each source before a minute of mixture to stems, and again after a mark was moved."""
    recording, (first, second) = read_audio(scene(PAIR).folder / "marked" / "recording.wav"), scene(PAIR).labels()
    moments = recording.samples[:, : -scene(PAIR).mixture.n_samples]
    whole = Audio(torch.cat([moments, lasting(PAIR, 60).samples], dim=1), recording.sample_rate)
    tries = [first, second], [first, replace(second, start_s=second.start_s + 0.5)]
    found = {}
    for quality in ("standard", "quick", "draft"):
        with tempfile.TemporaryDirectory(dir=os.environ["WORK"]) as name:
            work, seconds = Path(name), []
            words = [
                "sepdict",
                "separate",
                str(write_audio(work / "take.wav", whole)),
                "--labels",
                str(work / "take.txt"),
            ]
            words += ["-o", str(work), "--overwrite", "-q", "--quality", quality]
            for labels in tries:
                lines = [f"{label.start_s}\t{label.end_s}\t{label.name}\n" for label in labels]
                (work / "take.txt").write_text("".join(lines))
                environment = os.environ | {"SEPDICT_CACHE": str(work / "cache")}
                seconds.append(clock(partial(subprocess.run, words, check=True, stdout=sys.stderr, env=environment)))
            stems = {source: read_audio(work / "take" / f"{source}.wav") for source in scene(PAIR).solos}
            ends = {source: stem.seconds(moments.shape[1] / 16000, whole.duration_s) for source, stem in stems.items()}
            found[quality] = {"seconds": seconds[0], "again_s": seconds[1], "gain_db": gain_db(PAIR, ends)}
    return {"ways": found}


def gain_db(name: str, stems: Mapping[str, Audio]) -> float:
    """SI-SDR improvement, mean over the sources of a scene whose mixture is repeated."""
    gains = []
    for source, truth in scene(name).references().items():
        stem = stems[source].samples
        n_repeats = math.ceil(stem.shape[1] / truth.n_samples)
        pair = (audio.samples.repeat(1, n_repeats) for audio in (truth, scene(name).mixture))
        gains.append(float(si_sdr_improvement(stem, *(each[:, : stem.shape[1]] for each in pair))))
    return sum(gains) / len(gains)


def shortcuts() -> Facts:
    """What is lost by ending fits early, and by segments: two minutes of scenes at once, fully fitted, in segments."""
    facts: Facts = {}
    for name in (PAIR, "speech_and_dog", MUSIC):
        dictionaries, one = trained(name), scene(name).mixture
        mask_estimator = cached_mask_estimator(dictionaries)
        mixture = replace(one, samples=one.samples.repeat(1, round(120 / one.duration_s)))
        at_once = SeparationConfig(segment_s=200.0)
        cases = {"at once": at_once, "in segments of 10 s": SeparationConfig(segment_s=10.0)}
        converged = FitConfig(guided_tolerance=1e-4, n_iterations=500)
        cases["at once, fits fully converged"] = replace(at_once, fit=converged)
        facts[name] = {
            case: gain_db(name, separate(mixture, dictionaries, config, trained_mask_estimator=mask_estimator).stems)
            for case, config in cases.items()
        }
    return {"gains_db": facts}


def limit() -> Facts:
    """One evaluation of the fit's cost and gradient against the matrix products in it alone."""
    dictionaries = trained(PAIR)
    observed = magnitude(stft(lasting(PAIR, 60).samples, dictionaries[0].card.stft))
    halves = torch.full((2, *observed.shape), 0.5)
    problem = _Problem(observed, dictionaries, FitConfig(), halves, None)
    unknowns = problem.as_blocks(problem.start())
    factors = []
    for dictionary in dictionaries:
        weights = [layer.weight.squeeze(2) for layer in dictionary.network.decoder.layers]
        for weight in (*weights, torch.randn(problem.observed.shape[1], weights[-1].shape[0])):
            into, out = torch.randn(weight.shape[1], unknowns.shape[1]), torch.randn(weight.shape[0], unknowns.shape[1])
            factors.append((weight, into, out))
    n_operations = sum(4 * weight.numel() * into.shape[1] for weight, into, _ in factors)

    def multiply() -> None:
        for weight, into, out in factors:
            weight @ into
            weight.T @ out

    fit_s, products_s = [], []
    for _ in range(15):  # in turn, so that both meet the same machine
        fit_s.append(clock(lambda: problem.cost_and_gradient(unknowns)))
        products_s.append(clock(multiply))
    best_fit_s, best_products_s = min(fit_s), min(products_s)
    return {
        "fit_gflops": n_operations / best_fit_s / 1e9,
        "products_gflops": n_operations / best_products_s / 1e9,
        "share": best_products_s / best_fit_s,
    }


def iterations() -> Facts:
    """Evaluations of the cost until it is within 1 % of the converged one."""
    dictionaries = trained(PAIR)
    observed = magnitude(stft(scene(PAIR).mixture.samples, dictionaries[0].card.stft))
    mask_estimator = train_mask_estimator(dictionaries, MaskEstimatorConfig(n_steps=500))
    masks = mask_estimator.masks(observed, [dictionary.source for dictionary in dictionaries])
    problem = _Problem(observed, dictionaries, FitConfig(), masks, None)
    start = problem.as_blocks(problem.start())
    quiet: Any = {"tolerance": 0.0, "on_step": lambda *_: None}
    block_wise = minimize_lbfgs(problem.cost_and_gradient, start, n_iterations=400, history=10, **quiet).costs

    def all_frames_at_once(unknowns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        costs, gradient = problem.cost_and_gradient(unknowns.reshape(start.shape))
        return costs.sum()[None], gradient.reshape(-1, 1)

    as_one = minimize_lbfgs(all_frames_at_once, start.reshape(-1, 1), n_iterations=1000, history=10, **quiet).costs
    adam = {
        step: minimize_adam(problem.cost_and_gradient, start, n_iterations=1000, step=step, **quiet).costs
        for step in (0.02, 0.05, 0.1)
    }
    aim = 1.01 * min(block_wise)
    count = lambda costs: next((n for n, cost in enumerate(costs) if cost <= aim), None)  # noqa: E731
    tried = {f"Adam, step {step}": count(costs) for step, costs in adam.items()}
    return {
        "evaluations": {"L-BFGS frame by frame": count(block_wise), "L-BFGS over all frames": count(as_one)} | tried
    }


def growth() -> Facts:
    """Seconds of `separate` against duration, and against the number of sources."""
    pair = trained(PAIR)
    mask_estimator = train_mask_estimator(pair, MaskEstimatorConfig(n_steps=N_SHORT))
    by_duration = {
        duration_s: clock(partial(separate, lasting(PAIR, duration_s), pair, trained_mask_estimator=mask_estimator))
        for duration_s in (DURATIONS_S[0], *DURATIONS_S)  # the first run warms up
    }
    joined = [torch.cat([solo.samples for solo in solos], dim=1) for solos in scene(PAIR).solos.values()]
    parts = [
        Audio(samples[:, start : start + 20 * 16000], 16000)
        for start in range(0, 80 * 16000, 20 * 16000)
        for samples in joined
    ]
    config = replace(sepdict.PRESETS["default"], n_steps=N_SHORT)
    many = [train_dictionary(part, config, source=f"source {index}") for index, part in enumerate(parts)]
    by_sources = {}
    for n_sources in N_SOURCES:
        chosen = many[:n_sources]
        estimator = train_mask_estimator(chosen, MaskEstimatorConfig(n_steps=10))
        by_sources[n_sources] = clock(partial(separate, lasting(PAIR, 60), chosen, trained_mask_estimator=estimator))
    return {"by_duration": by_duration, "by_sources": by_sources}


MEASUREMENTS: dict[str, Callable[[], Facts]] = {
    measure.__name__: measure
    for measure in (
        start_up,
        limit,
        iterations,
        real_time_speech,
        real_time_music,
        real_time_lecture,
        real_time_nmf,
        jobs,
        first_stems,
        from_marks,
        growth,
        shortcuts,
        training,
        ten_minutes,
        three_hours,
    )
}


def main(
    scenes_folder: Annotated[Path, typer.Argument(help="What make_scenes.py wrote.")],
    only: Annotated[list[str] | None, typer.Option(help="Measure this anew; may be given several times.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    results: Annotated[Path, typer.Option(help="File of measurements, read and added to.")] = HERE / "speed.json",
    work: Annotated[Path | None, typer.Option(help="Keep dictionaries and mask estimators here.")] = None,
) -> None:
    """Make the measurements that are missing, then write the report."""
    found: Facts = json.loads(results.read_text()) if results.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        folder.mkdir(exist_ok=True)
        threaded = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        places = {"SCENES": str(scenes_folder), "WORK": str(folder), "SEPDICT_CACHE": str(folder)}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = (
            os.environ | threaded | places | {"PATH": path, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
        )
        for name in only or [name for name in MEASUREMENTS if name not in found]:
            call = f"import speed, json; print(json.dumps(speed.measured({name!r}, {threads})))"
            done = subprocess.run(
                [sys.executable, "-c", call], check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
            )
            found[name] = json.loads(done.stdout.splitlines()[-1])
            typer.echo(f"{name}: {found[name]}")
            results.write_text(json.dumps(found, indent=1))
    write_report(found, HERE)


def measured(name: str, threads: int) -> Facts:
    """Make one measurement in this process, and say where."""
    torch.set_num_threads(threads)
    return MEASUREMENTS[name]() | surroundings(threads)


if __name__ == "__main__":
    typer.run(main)
