"""The options of `sepdict train-dictionary`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from sepdict.spectral.stft import StftConfig
    from sepdict.training.config import TrainingConfig

NETWORK_DEFAULTS = {"code_size": "16", "hidden": "256,256", "activation": "relu", "n_templates": "256"}
DEFAULTS = {"n_steps": "3000", "batch_frames": "256", "divergence": "kl", "seed": "0"}
"""Defaults as the help shows them, for it must not load torch; a test compares them with the settings."""


def _default(name: str) -> str:
    """Format a default for the help: of the network it is that of the dense preset, and others have their own."""
    return f"[default: {DEFAULTS[name]}]" if name in DEFAULTS else f"[default of dense: {NETWORK_DEFAULTS[name]}]"


Solos = Annotated[
    list[str],
    typer.Argument(
        metavar="SOLOS",
        help="Recordings of one source alone: files, folders, globs; or parts of files, such as "
        "concert.wav@0:12-0:22,1:05.5-1:08 (seconds, m:ss or h:mm:ss).",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="NAME.safetensors",
        help="The file to write, or with --each the folder; by default it is written to the library, see sepdict list.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(help="The source's name; by default the output file's, or the folder's.", show_default=False),
]
Each = Annotated[bool, typer.Option("--each", help="Train one dictionary per folder, named after it.")]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="With --each, so many at a time, which share the cores.")
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Continue an interrupted run: keep dictionaries that were trained on the same recordings with the same "
        "settings.",
    ),
]
Network = Annotated[
    Literal["default", "dense", "convolutional", "recurrent", "nonnegative", "linear", "lecture"],
    typer.Option("--network", "--preset", help="The kind of network; default is dense."),
]
CodeSize = Annotated[
    int | None,
    typer.Option(min=1, help=f"Numbers per frame in the excitation.  {_default('code_size')}", show_default=False),
]
Hidden = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help=f"Units of the decoder's hidden layers, from the code outwards.  {_default('hidden')}",
        show_default=False,
    ),
]
Activation = Annotated[
    Literal["relu", "tanh", "softplus", "sigmoid"] | None,
    typer.Option(help=f"Activation of the hidden units.  {_default('activation')}", show_default=False),
]
Templates = Annotated[
    int | None,
    typer.Option(
        min=0, help=f"Spectra that the decoder adds up; 0 for none.  {_default('n_templates')}", show_default=False
    ),
]
Regularize = Annotated[
    list[str] | None,
    typer.Option(
        "--regularize",
        "-r",
        metavar="NAME[=AMOUNT]",
        help="l2, dropout, sparse, activity, noise, masking, others, contractive, variational or adversarial; "
        "may be given several times.",
        show_default=False,
    ),
]
Pretrain = Annotated[
    Literal["autoencoders", "boltzmann"] | None,
    typer.Option(help="Train layer by layer first, as autoencoders or as Boltzmann machines.", show_default=False),
]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment", help="Vary pitch, tempo, color and onset of the solos; useful for less than a minute of them."
    ),
]
Background = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOUNDS",
        help="Other sounds, which --augment mixes in and -r others learns to ignore: a file, a folder or a "
        "'quoted*pattern'; may be given several times.",
        show_default=False,
    ),
]
Divergence = Annotated[
    str | None,
    typer.Option(
        metavar="kl|is|l2|beta=B", help=f"What training minimizes.  {_default('divergence')}", show_default=False
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help=f"Same seed, same machine, same dictionary.  {_default('seed')}", show_default=False),
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help=f"Updates of the weights, at most.  {_default('n_steps')}", show_default=False),
]
NFft = Annotated[
    int | None,
    typer.Option(
        "--n-fft",
        min=4,
        max=2**17,
        help="Samples in a window; all dictionaries of a mixture need the same. By default it depends on the rate, and "
        "is short where most of the sound is above 20 kHz.",
        show_default=False,
    ),
]
BatchFrames = Annotated[
    int | None,
    typer.Option(min=0, help=f"Frames per step; 0 for all of them.  {_default('batch_frames')}", show_default=False),
]


def training_config(
    network: str,
    shape: Mapping[str, Any],
    regularize: Sequence[str],
    settings: Mapping[str, Any],
    *,
    augment: bool,
) -> "TrainingConfig":
    """Change a preset by the options that were given; None stands for those that were not."""
    from sepdict.audio.augmentation import AugmentationConfig
    from sepdict.training.config import PRESETS, regularized

    config, wanted = PRESETS[network], {name: value for name, value in shape.items() if value is not None}
    if "hidden" in wanted:
        wanted["hidden"] = _numbers(wanted["hidden"])
    if config.network.kind == "nonnegative" and "code_size" in wanted:
        wanted.setdefault("n_templates", wanted["code_size"])  # a template for each number
    changed = {name: value for name, value in settings.items() if value is not None}
    changed |= {"augmentation": AugmentationConfig()} if augment else {}
    config = replace(config, network=replace(config.network, **wanted))
    return replace(regularized(config, dict(map(_amount, regularize))), **changed)


def stft_of(n_fft: int) -> "StftConfig":
    """Make an STFT of windows of ``n_fft`` samples, with the default overlap of three quarters."""
    from sepdict.spectral.stft import StftConfig

    return StftConfig(n_fft, max(1, n_fft // 4))


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers between commas."""
    try:
        return tuple(int(number) for number in text.split(",") if number.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is none; expected numbers as in 256,256", param_hint="--hidden") from None


def _amount(text: str) -> tuple[str, float]:
    """Read a regularizer's name, and its amount where one is given."""
    from sepdict.training.config import REGULARIZERS

    name, given, amount = text.partition("=")
    if name not in REGULARIZERS:
        expected = ", ".join(REGULARIZERS)
        raise typer.BadParameter(f"{name!r} is none; expected one of {expected}", param_hint="--regularize")
    try:
        return name, float(amount) if given else REGULARIZERS[name]
    except ValueError:
        raise typer.BadParameter(f"{text!r}: expected a number behind =", param_hint="--regularize") from None
