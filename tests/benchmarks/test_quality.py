"""How well sepdict separates real recordings, and at what cost, beside KL-NMF that learned from the same solos.

    SEPDICT_AUDIO=FOLDER uv run pytest -m benchmark

FOLDER holds solo recordings and `make_scenes.py`, which mixes the scenes from them. The table goes to RESULTS.md.
"""

import itertools
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from sklearn.decomposition import NMF, non_negative_factorization
from threadpoolctl import threadpool_limits
from torch import Tensor

from sepdict import PRESETS, Audio, read_audio, separate, train_dictionary, write_audio
from sepdict.audio import find_audio_files
from sepdict.masks import ratio_masks
from sepdict.metrics import si_sdr_improvement
from sepdict.spectrogram import StftConfig, istft, magnitude, stft

SCENES = ("speech_female_male", "speech_and_dog", "violin_and_speech", "cello_and_bass")
NMF_SIZES = (10, 25, 60)
N_THREADS = 2
RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Scene:
    """A mixture, its true sources and the solos to learn each from."""

    mixture: Audio
    references: dict[str, Audio]
    solos: dict[str, list[Audio]]

    @classmethod
    def read(cls, folder: Path) -> "Scene":
        references = {path.stem: read_audio(path) for path in find_audio_files([folder / "references"])}
        solos = {
            source: [read_audio(path) for path in find_audio_files([folder / "solos" / source])]
            for source in references
        }
        return cls(read_audio(folder / "mixture.wav"), references, solos)

    def improvement_db(self, stems: dict[str, Tensor]) -> float:
        """Mean SI-SDR improvement over the sources."""
        mixture = self.mixture.samples
        gains = [si_sdr_improvement(stems[s], reference.samples, mixture) for s, reference in self.references.items()]
        return float(torch.stack(gains).mean())


@dataclass(frozen=True)
class Run:
    """One method with one seed on one scene."""

    improvement_db: float
    training_s: float  # of one source
    real_time_factor: float


def run_sepdict(scene: Scene, seed: int, preset: str) -> Run:
    config = replace(PRESETS[preset], seed=seed)
    start = time.perf_counter()
    dictionaries = [train_dictionary(solos, config, source=source) for source, solos in scene.solos.items()]
    trained = time.perf_counter()
    stems = {name: stem.samples for name, stem in separate(scene.mixture, dictionaries).stems.items()}
    separated = time.perf_counter()
    return _run(scene, stems, start, trained, separated)


def run_nmf(scene: Scene, seed: int, n_components: int) -> Run:
    """Supervised NMF: components learned from each source's solos, activations from the mixture, ratio masks."""
    config = StftConfig.for_sample_rate(scene.mixture.sample_rate)
    options = {"solver": "mu", "beta_loss": "kullback-leibler", "max_iter": 200, "random_state": seed}
    start = time.perf_counter()
    learned = []
    for solos in scene.solos.values():
        frames = np.concatenate([_sounding_frames(solo, config) for solo in solos])  # (n_frames, n_bins)
        learned.append(NMF(n_components, init="random", **options).fit(frames).components_)
    trained = time.perf_counter()
    spectra = stft(scene.mixture.samples, config)  # (1, n_bins, n_frames)
    observed = magnitude(spectra)[0].T.numpy() + 1e-8
    components = np.concatenate(learned)
    activations, _, _ = non_negative_factorization(
        observed, H=components, n_components=len(components), update_H=False, **options
    )
    parts = [a @ c for a, c in zip(np.split(activations, len(learned), axis=1), learned, strict=True)]
    masks = ratio_masks(torch.from_numpy(np.stack(parts)).transpose(1, 2))  # (n_sources, n_bins, n_frames)
    stems = istft(masks * spectra, config, n_samples=scene.mixture.n_samples)
    separated = time.perf_counter()
    return _run(scene, dict(zip(scene.solos, stems[:, None], strict=True)), start, trained, separated)


def _sounding_frames(solo: Audio, config: StftConfig) -> np.ndarray:
    """Magnitudes (n_frames, n_bins) without the silence that training drops, too."""
    frames = magnitude(stft(solo.samples, config))[0].T
    level = frames.mean(dim=1)
    return (frames[level > level.max() * 1e-3] + 1e-8).numpy()


def _run(scene: Scene, stems: dict[str, Tensor], start: float, trained: float, separated: float) -> Run:
    training_s = (trained - start) / len(scene.solos)
    return Run(scene.improvement_db(stems), training_s, (separated - trained) / scene.mixture.duration_s)


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    run: Callable[[Scene, int], Run]
    seeds: range


METHODS = {
    **{f"KL-NMF, {k} components": Method(partial(run_nmf, n_components=k), range(3)) for k in NMF_SIZES},
    "sepdict, default": Method(partial(run_sepdict, preset="default"), range(3)),
    "sepdict, convolutional": Method(partial(run_sepdict, preset="convolutional"), range(1)),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    audio = os.environ.get("SEPDICT_AUDIO")
    if audio is None:
        pytest.skip("SEPDICT_AUDIO names no folder with recordings and make_scenes.py")
    folder = tmp_path_factory.mktemp("scenes")
    subprocess.run([sys.executable, Path(audio, "make_scenes.py"), folder, "--only", *SCENES], check=True)
    return {name: Scene.read(folder / name) for name in SCENES}


@pytest.mark.benchmark
@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_sepdict_separates_at_least_as_well_as_the_best_single_size_of_nmf(
    scenes: dict[str, Scene], tmp_path: Path
) -> None:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    with threadpool_limits(N_THREADS):
        rate = _matmul_rate()
        runs = {
            (name, scene_name): [method.run(scene, seed) for seed in method.seeds]
            for (name, method), (scene_name, scene) in itertools.product(METHODS.items(), scenes.items())
        }
    torch.set_num_threads(n_threads)
    lines = [_table(runs), _command_cost(next(iter(scenes.values())), tmp_path), _machine(rate)]
    RESULTS.write_text("\n\n".join([HEADING, *lines]) + "\n", encoding="utf-8")
    means = {method: _mean_db(runs, method) for method in METHODS}
    assert means["sepdict, default"] >= max(means[method] for method in METHODS if "NMF" in method)


HEADING = f"""# Results

Written by `uv run pytest -m benchmark`. SI-SDR improvement over the mixture in dB, mean over the sources of a scene;
mean over three seeds and their standard deviation, or one seed. All rows share solos, mixture, STFT, ratio masks and
{N_THREADS} threads. *Training* is seconds per source, *separation* seconds per second of mixture, both means over the
scenes."""


def _table(runs: dict[tuple[str, str], list[Run]]) -> str:
    rows = [["method", *SCENES, "mean", "training, s", "separation"]]
    for method in METHODS:
        every = [run for name in SCENES for run in runs[method, name]]
        cells = [_spread([run.improvement_db for run in runs[method, name]]) for name in SCENES]
        cost = f"{mean(run.training_s for run in every):.1f}", f"{mean(run.real_time_factor for run in every):.3f}"
        rows.append([method, *cells, f"**{_mean_db(runs, method):.2f}**", *cost])
    rows.insert(1, ["---"] + ["---:"] * (len(rows[0]) - 1))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean_db(runs: dict[tuple[str, str], list[Run]], method: str) -> float:
    return mean(run.improvement_db for name in SCENES for run in runs[method, name])


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _command_cost(scene: Scene, folder: Path) -> str:
    """Time the whole command in a process of its own, and read the peak of its memory."""
    mixture = scene.mixture.samples.repeat(1, 4)
    write_audio(folder / "mixture.wav", Audio(mixture, scene.mixture.sample_rate))
    command = ["sepdict", "separate", folder / "mixture.wav", "-o", folder / "out", "--quiet"]
    for source, solos in scene.solos.items():
        train_dictionary(solos, source=source).save(folder / f"{source}.safetensors")
        command += ["-d", folder / f"{source}.safetensors"]
    start = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(N_THREADS)})
    seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    duration_s = mixture.shape[1] / scene.mixture.sample_rate
    return (
        f"`sepdict separate` as a command, start included, on {duration_s:.0f} s of mono at "
        f"{scene.mixture.sample_rate} Hz with {len(scene.solos)} dictionaries: {seconds:.1f} s, "
        f"real-time factor {seconds / duration_s:.2f}, peak memory {peak_mib:.0f} MiB."
    )


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


def _machine(rate: float) -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in ("sepdict", "torch", "scikit-learn"))
    return (
        f"Commit {commit or 'unknown'}, {date.today()}; {versions}; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, a float32 matrix product of "
        f"2048 x 2048 runs at {rate:.0f} GFLOP/s on {N_THREADS} of them."
    )
