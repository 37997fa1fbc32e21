"""The rows of the benchmark, and how one run of one row is measured: in a process of its own.

    python tests/benchmarks/methods.py '{"folder": SCENE_FOLDER, "method": NAME, "seed": 0, "threads": 2}'

prints one line of JSON. `scenes.py` calls it so that the peak of memory is this method's alone.
"""

import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
from sepdict import (
    Audio,
    Dictionary,
    FitConfig,
    SeparationConfig,
    TrainingConfig,
    evaluate,
    read_audio,
    train_dictionary,
    write_audio,
)

OURS = "sepdict, default"
MARKED = "ten marked seconds: sepdict"

NMF_SIZES = (10, 25, 60)
LIBRARIES = ("sepdict", "torch", "numpy", "scikit-learn", "torchnmf", "mir-eval")
SCORES = ("si_sdr_improvement_db", "sdr_db", "sir_db", "sar_db")
CRITIC_WEIGHT = 0.03  # beside the divergence per bin, which is some tenths
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


def sepdict_dictionaries(
    scene: Scene,
    seed: int,
    *,
    config: TrainingConfig,
    with_mask_estimator: bool = True,
    solos_s: float = math.inf,
    prior_weight: float = 0.0,
    critic_weight: float = 0.0,
) -> Separated:
    """Train a dictionary per source and separate; the mask estimator counts as training.

    Without a mask estimator they are fitted without a prior, unless it is asked for, to show what they are alone.
    Where a regularizer needs other sounds, these are the solos of the scene's other sources.
    """
    config = replace(config, seed=seed)
    lessons = {source: beginning(solos, solos_s) for source, solos in scene.solos.items()}
    start = time.perf_counter()
    dictionaries = []
    for source, solos in lessons.items():
        others = [solo for other in lessons if other != source for solo in lessons[other]]
        backgrounds = others if config.regularization.others else []
        dictionaries.append(train_dictionary(solos, config, source=source, backgrounds=backgrounds))
    if with_mask_estimator:
        mask_estimator = sepdict.train_mask_estimator(dictionaries, sepdict.MaskEstimatorConfig(seed=seed))
        separate = partial(sepdict.separate, trained_mask_estimator=mask_estimator)
    else:
        fit = FitConfig(prior_weight=prior_weight, critic_weight=critic_weight)
        separate = partial(sepdict.separate, config=SeparationConfig(fit, mask_estimator=None))
    trained = time.perf_counter()
    stems = separate(scene.mixture, dictionaries).stems
    separated = time.perf_counter()
    samples = torch.cat([stems[source].samples for source in scene.solos])
    return Separated(samples, trained - start, separated - trained)


def sepdict_live(scene: Scene, seed: int) -> Separated:
    """Separate block by block, as a stream, each source kept on its own; what comes out is moved back by its delay."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = [train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()]
    keeping = partial(sepdict.open_live, trained, config=sepdict.MaskEstimatorConfig(seed=seed))
    streams = [keeping(keep=[name]) for name in scene.solos]
    ready = time.perf_counter()
    stems = [streamed(live, scene.mixture.samples) for live in streams]
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(streams))


def streamed(live: sepdict.LiveSeparator, samples: Tensor) -> Tensor:
    """Send samples through block by block, with silence behind, and cut off the delay."""
    n_late = live.n_delayed - live.hop_length
    n_blocks = -(-(samples.shape[1] + n_late) // live.hop_length)
    padded = torch.nn.functional.pad(samples, (0, n_blocks * live.hop_length - samples.shape[1])).numpy()
    blocks = np.split(padded, n_blocks, axis=1)
    out = np.concatenate([live.process(block).copy() for block in blocks], axis=1)
    return torch.from_numpy(out)[:, n_late : n_late + samples.shape[1]]


def sepdict_marked(
    scene: Scene, seed: int, *, marking: sepdict.MarkingConfig | None = None, with_dictionaries: bool = False
) -> Separated:
    """Learn from the marked seconds of one recording, alone or beside dictionaries of the solos, and separate it.

    The mixture is the end of that recording, and only that is scored.
    """
    marking = sepdict.MarkingConfig() if marking is None else marking
    marking = replace(marking, training=replace(marking.training, seed=seed))
    recording, labels = read_audio(scene.folder / "marked" / "recording.wav"), scene.labels()
    start = time.perf_counter()
    solos, default = scene.solos.items() if with_dictionaries else (), replace(DEFAULT, seed=seed)
    dictionaries = [train_dictionary(list(several), default, source=source) for source, several in solos]
    learned = sepdict.learn_from_labels(recording, labels, dictionaries, marking)
    config = marking.fitting(SeparationConfig(), has_dictionaries=with_dictionaries)
    assert config.mask_estimator is not None
    mask_estimator = sepdict.train_mask_estimator(learned, replace(config.mask_estimator, seed=seed))
    trained = time.perf_counter()
    guides = [sepdict.LabelGuide(tuple(labels))]
    stems = sepdict.separate(recording, learned, config, guides=guides, trained_mask_estimator=mask_estimator)
    separated = time.perf_counter()
    samples = torch.cat([stems[source].samples for source in scene.solos])[:, -scene.mixture.n_samples :]
    return Separated(samples, trained - start, separated - trained)


def marked(run: Callable[..., Separated], scene: Scene, seed: int, **options: Any) -> Separated:
    """Run a rival on a scene of which it learns from the marked seconds only."""
    return run(scene.marked(), seed, **options)


def one_unknown(scene: Scene, seed: int, *, background_model: bool) -> Separated:
    """Separate each source while the dictionary of the source after it is missing, and no mask estimator helps."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = {name: train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()}
    ready = time.perf_counter()
    names, stems = list(trained), []
    for source, missing in zip(names, [*names[1:], names[0]], strict=True):
        known = [dictionary for name, dictionary in trained.items() if name != missing]
        alone = SeparationConfig(mask_estimator=None, residual=True, background_model=background_model)
        separation = sepdict.separate(scene.mixture, known, alone)
        stems.append(separation.stems[source].samples)
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(names))


def one_known(scene: Scene, seed: int) -> Separated:
    """Separate each source from all the rest by its dictionary alone."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = [train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()]
    estimators = [sepdict.train_mask_estimator([each], sepdict.MaskEstimatorConfig(seed=seed)) for each in trained]
    ready = time.perf_counter()
    stems = [
        stem.samples
        for dictionary, estimator in zip(trained, estimators, strict=True)
        for stem in sepdict.separate(scene.mixture, [dictionary], trained_mask_estimator=estimator).stems.values()
    ]
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(trained))


def beginning(recordings: Sequence[Audio], duration_s: float) -> list[Audio]:
    """Keep so many seconds, from the first recording on."""
    kept = []
    for recording in recordings:
        if duration_s > 0:
            n_samples = round(min(duration_s, recording.duration_s) * recording.sample_rate)
            kept.append(Audio(recording.samples[:, :n_samples], recording.sample_rate, recording.name))
            duration_s -= recording.duration_s
    return kept


DEFAULT = sepdict.PRESETS["default"]
VARIATIONAL = sepdict.regularized(DEFAULT, {"variational": sepdict.REGULARIZERS["variational"]})
AUGMENTED = replace(DEFAULT, augmentation=sepdict.AugmentationConfig())


def family() -> dict[str, tuple[TrainingConfig, dict[str, Any]]]:
    """All kinds of dictionaries and ways to train them by name, each with options of the separation."""
    rows = {name: sepdict.PRESETS[name] for name in ("linear", "nonnegative", "convolutional", "recurrent", "lecture")}
    rows["recurrent, LSTM"] = _with_network(rows["recurrent"], cell="lstm")
    rows |= {name: sepdict.regularized(DEFAULT, {name: amount}) for name, amount in sepdict.REGULARIZERS.items()}
    rows["one frame a step, 30000 steps"] = replace(DEFAULT, batch_frames=1, n_steps=30000)
    rows["all frames a step, 150 steps"] = replace(DEFAULT, batch_frames=0, n_steps=150, learning_rate=5e-3)
    rows["pretrained by autoencoders"] = replace(DEFAULT, pretraining="autoencoders")
    rows["sigmoid, no templates"] = _with_network(DEFAULT, activation="sigmoid", n_templates=0)
    rows["the same, pretrained by Boltzmann machines"] = replace(rows["sigmoid, no templates"], pretraining="boltzmann")
    members: dict[str, tuple[TrainingConfig, dict[str, Any]]] = {name: (config, {}) for name, config in rows.items()}
    members["default, the prior in the fit"] = DEFAULT, {"prior_weight": FitConfig().prior_weight}
    members["adversarial, the critic in the fit"] = rows["adversarial"], {"critic_weight": CRITIC_WEIGHT}
    members["from 30 s of each source"] = DEFAULT, {"solos_s": 30}
    members["from 30 s of each source, augmented"] = AUGMENTED, {"solos_s": 30}
    return members


def _with_network(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    """Change something in the network."""
    return replace(config, network=replace(config.network, **changes))


METHODS: Mapping[str, Method] = {
    "floor: the mixture": Method(mixture_itself, is_random=False),
    "ceiling: ideal ratio masks, exponent 1": Method(partial(ideal_masks, exponent=1), is_random=False),
    "ceiling: ideal ratio masks, exponent 2": Method(partial(ideal_masks, exponent=2), is_random=False),
    **{f"KL-NMF, {n} components": Method(partial(kl_nmf, n_components=n)) for n in NMF_SIZES},
    **{f"IS-NMF, {n} components": Method(partial(is_nmf, n_components=n)) for n in NMF_SIZES},
    "convolutive KL-NMF, 25 components of 8 frames": Method(convolutive_nmf),
    OURS: Method(partial(sepdict_dictionaries, config=DEFAULT)),
    "sepdict, variational": Method(partial(sepdict_dictionaries, config=VARIATIONAL), quick=False),
    "decoders only, default": Method(partial(sepdict_dictionaries, config=DEFAULT, with_mask_estimator=False)),
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
    MARKED: Method(sepdict_marked),
    "ten marked seconds beside dictionaries: sepdict": Method(
        partial(sepdict_marked, with_dictionaries=True), quick=False
    ),
    "ten marked seconds: mask network, trained as long as sepdict": Method(
        partial(marked, mask_network), quick=False, budget=1, budget_of=MARKED
    ),
    **{
        f"decoders only, {name}": Method(
            partial(sepdict_dictionaries, config=config, with_mask_estimator=False, **options), quick=False
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
