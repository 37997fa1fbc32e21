"""What the tests of batches and of the command line share: sounds, bad files, tiny dictionaries, the command itself."""

import functools
import importlib.metadata
import json
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import typer.testing

from sepdict._core.devices import seeded_generator
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.evaluation.metrics import BssEval
from sepdict.models.network_config import NetworkConfig
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.mask_estimator import MaskEstimator, adapt, adapt_to_residual, train_mask_estimator
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

SAMPLE_RATE = 8000
TINY = TrainingConfig(
    network=NetworkConfig(code_size=2, hidden=(8,)), n_steps=80, learning_rate=0.01, n_checks=4, exemplars_s=0
)
TAPS = {"hiss": [-0.5, 1.0, -0.5], "hum": [1 / 9] * 9}  # two spectra: one rises with frequency, one falls


def sound(
    source: str = "hiss", *, n_samples: int = 6000, n_channels: int = 1, sample_rate: int = SAMPLE_RATE, seed: int = 0
) -> Audio:
    """Noise in the spectrum of a source."""
    noise = 0.1 * torch.randn(n_channels, 1, n_samples, generator=seeded_generator(seed))
    return Audio(torch.nn.functional.conv1d(noise, torch.tensor([[TAPS[source]]]), padding="same")[:, 0], sample_rate)


def mixture(*, seed: int = 0, **shape: int) -> Audio:
    """Both sources at once."""
    hiss, hum = sound("hiss", seed=2 * seed, **shape), sound("hum", seed=2 * seed + 1, **shape)
    return replace(hiss, samples=hiss.samples + hum.samples)


@functools.cache
def trained(source: str) -> Dictionary:
    """Train on seconds for a moment: enough to run everything, not enough to separate well."""
    taps = "hum" if source == "hum" else "hiss"
    dictionary = train_dictionary(sound(taps, n_samples=2 * SAMPLE_RATE, seed=9), TINY, source=taps)
    return Dictionary(replace(dictionary.card, source=source), dictionary.network)  # also a name that training refuses


def train_mask_estimators_briefly(
    patch: pytest.MonkeyPatch, *, n_steps: int, most_adaptation_steps: int = 5, n_everyday_sounds: int = 4
) -> None:
    """Have mask estimators that come from the cache trained with so many steps only, and adapted with few.

    Against a single dictionary only a few everyday sounds are synthesized.
    """

    def train_briefly(dictionaries: Sequence[Dictionary], config: MaskEstimatorConfig, **options: Any) -> MaskEstimator:
        return train_mask_estimator(dictionaries, replace(config, n_steps=n_steps), **options)

    def brief(adapt: Callable[..., MaskEstimator]) -> Callable[..., MaskEstimator]:
        def adapt_briefly(*facts: Any, n_steps: int, **options: Any) -> MaskEstimator:
            return adapt(*facts, n_steps=min(n_steps, most_adaptation_steps), **options)

        return adapt_briefly

    patch.setattr("sepdict.separation.mask_estimator_cache.train_mask_estimator", train_briefly)
    patch.setattr("sepdict.separation.segment.adapt", brief(adapt))
    patch.setattr("sepdict.separation.segment.adapt_to_residual", brief(adapt_to_residual))
    patch.setattr("sepdict.separation.everyday.N_SOUNDS", n_everyday_sounds)


def write_mixtures(folder: Path, *names: str) -> list[Path]:
    """Write different mixtures, ``{name}.wav``."""
    folder.mkdir(exist_ok=True)
    return [write_audio(folder / f"{name}.wav", mixture(seed=seed)) for seed, name in enumerate(names)]


def write_references(folder: Path, *, seed: int = 0, n_samples: int = 6000) -> Path:
    """Write what `mixture` adds up."""
    folder.mkdir(parents=True)
    for offset, source in enumerate(TAPS):
        write_audio(folder / f"{source}.wav", sound(source, seed=2 * seed + offset, n_samples=n_samples))
    return folder


def write_bad(path: Path, what: str) -> Path:
    """Write one of the `BAD` files; ``"missing"`` writes none, ``"damaged FLAC"`` what only reading it shows."""
    path.parent.mkdir(exist_ok=True)
    whole = mixture()
    if what in ("with NaN", "with infinity"):
        samples = whole.samples.clone()
        samples[0, 4000] = float(what.removeprefix("with "))
        soundfile.write(path, samples[0].numpy(), SAMPLE_RATE, subtype="FLOAT")
    elif what == "empty":
        path.touch()
    elif what == "text":
        path.write_text("these are words, no samples\n" * 50)
    elif what == "truncated":
        write_audio(path, whole)
        path.write_bytes(path.read_bytes()[:9000])
    elif what == "cut FLAC":
        soundfile.write(path, whole.samples[0].numpy(), SAMPLE_RATE, format="FLAC")
        path.write_bytes(path.read_bytes()[:6000])
    elif what == "damaged FLAC":
        soundfile.write(path, mixture(n_samples=16_000).samples[0].numpy(), SAMPLE_RATE, format="FLAC")
        content, middle = path.read_bytes(), path.stat().st_size // 2  # of four frames
        path.write_bytes(content[:middle] + bytes(400) + content[middle + 400 :])
    elif what == "without samples":
        soundfile.write(path, whole.samples[0, :0].numpy(), SAMPLE_RATE)
    return path


# soundfile: "is no recording that soundfile or ffmpeg can read" with ffmpeg, "soundfile cannot read it" without
BAD = {  # what is wrong with the file: what the message must say
    "missing": "no such file",
    "empty": "is empty (0 bytes)",
    "text": "soundfile",
    "truncated": "are there; copy it again",
    "cut FLAC": "damaged or cut short: its header promises 0.8 s",
    "without samples": "holds no samples",
    "with NaN": "holds NaN or infinite samples, first at 0.500 s",
    "with infinity": "holds NaN or infinite samples, first at 0.500 s",
}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden files included: the content of files, None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def read_json(text: str | Path) -> Any:
    """Read strict JSON: NaN and infinities are refused."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text.read_text() if isinstance(text, Path) else text, parse_constant=refuse)


def constant_bss_eval(estimates: torch.Tensor, _: torch.Tensor) -> BssEval:
    """Stand in for a computation of seconds, which test_metrics tests."""
    return BssEval(*(torch.full((len(estimates),), ratio) for ratio in (1.0, torch.inf, 3.0)))


def run(*arguments: str | Path) -> typer.testing.Result:
    """Run the installed command in this process."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
    return typer.testing.CliRunner().invoke(script.load(), [str(argument) for argument in arguments])


def be_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the user have no home folder: no variable names one, and no entry of the user is known, as in a container."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def be_a_terminal_of_80(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stdout and stderr be a terminal of 80 columns."""
    run("--version")  # loads the app
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def succeed(*arguments: str | Path) -> list[str]:
    """Run the command and return the lines of its stdout."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def fail(*arguments: str | Path, n_lines: int = 1) -> str:
    """Run the command, see it fail with so many error lines and no result, and return its errors."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    errors = error_lines(result)
    assert len(errors) == n_lines, result.stderr
    return "\n".join(errors)


def error_lines(result: typer.testing.Result) -> Sequence[str]:
    """Take the errors from stderr, and see that there is nothing but those and notes of what starts."""
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("sepdict: ")]
    notes = r"separating |keeping |telling |learning |marked in |heard |with |note: |training |\d+ %: "
    assert all(re.match(rf"sepdict: |{notes}", line) for line in lines)
    return errors
