"""`sepdict train-dictionary`: from solo recordings to a dictionary file."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import ProgressReport, find_audio, note, report_error, report_failures, say
from .options import Device, Overwrite, Quiet, Verbose
from .training_options import (
    Activation,
    Augment,
    Background,
    BatchFrames,
    CodeSize,
    Hidden,
    Network,
    Pretrain,
    Regularise,
    Steps,
    Templates,
    training_config,
)

if TYPE_CHECKING:
    from sepdict.audio import Audio
    from sepdict.dictionary import Card

EXTENSION = ".safetensors"
ENDINGS = {
    "finished": "all steps done",
    "early": "stopped early, for the validation divergence no longer fell",
    "interrupted": "interrupted; the best weights so far were kept",
}


def train_dictionary(
    solos: Annotated[
        list[str],
        typer.Argument(metavar="SOLOS", help="Recordings of one source alone: files, folders, globs."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NAME.safetensors", help="The file to write.")],
    name: Annotated[
        str | None, typer.Option(help="The source's name; by default the output file's.", show_default=False)
    ] = None,
    network: Network = None,
    code_size: CodeSize = None,
    hidden: Hidden = None,
    activation: Activation = None,
    templates: Templates = None,
    regularise: Regularise = None,
    pretrain: Pretrain = None,
    augment: Augment = False,
    background: Background = None,
    steps: Steps = None,
    batch_frames: BatchFrames = None,
    divergence: Annotated[
        str | None,
        typer.Option(metavar="kl|is|l2|beta=B", help="What training minimises.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same machine, same dictionary.", show_default=False)
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn what a source sounds like from recordings of it alone.

    Ctrl-C ends the training and keeps the best weights so far; a second one gives up.
    """
    from sepdict import training
    from sepdict.devices import AUTO
    from sepdict.files import writable_folder

    output = output.absolute()
    _refuse_output(output, overwrite)
    shape = {"code_size": code_size, "hidden": hidden, "activation": activation, "n_templates": templates}
    settings = {"n_steps": steps, "batch_frames": batch_frames, "divergence": divergence, "seed": seed}
    config = training_config(network, shape, regularise or [], settings | {"pretraining": pretrain}, augment=augment)
    with writable_folder(output.parent), ProgressReport(quiet=quiet, steps_in_pipes=True) as report:
        recordings, n_failed = _read_all(solos)
        backgrounds, n_failed_backgrounds = _read_all(background) if background else ([], 0)
        n_failed += n_failed_backgrounds
        if recordings:
            if not quiet:
                note(f"heard {_heard(recordings)}")
            report.begin("training")
            start = time.perf_counter()
            dictionary = training.train_dictionary(
                recordings,
                config,
                source=output.stem if name is None else name,
                backgrounds=backgrounds,
                device=AUTO if device is None else device,
                on_progress=report.step,
            )
            seconds = time.perf_counter() - start
            path = dictionary.save(output)
    if recordings:
        say(str(path))
        if not quiet:
            say(_outcome(dictionary.card, seconds))
    report_failures(n_failed, n_failed + len(recordings) + len(backgrounds))


def _refuse_output(output: Path, overwrite: bool) -> None:
    """Find out before the training, not after it, that the file cannot be written."""
    from sepdict.errors import ConfigError

    if output.suffix != EXTENSION:
        raise ConfigError(f"{output}: a dictionary's name ends in {EXTENSION}; add that")
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; expected a file or nothing there")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output}: exists already; choose another name, or give --overwrite")


def _read_all(solos: list[str]) -> tuple[list["Audio"], int]:
    """Read what can be read; report what cannot, and count it."""
    from sepdict.errors import AudioError, AudioFileError
    from sepdict.recordings import read_audio

    paths, n_failed = find_audio(solos)
    recordings = []
    for path in paths:
        try:
            recording = read_audio(path)
            if not recording.samples.any():
                raise AudioFileError(f"{path}: is digital silence; expected the sound to learn")
            recordings.append(recording)
        except (AudioError, OSError) as error:
            report_error(str(error))
            n_failed += 1
    return recordings, n_failed


def _heard(recordings: list["Audio"]) -> str:
    """Count recordings and minutes."""
    minutes = sum(recording.duration_s for recording in recordings) / 60
    return f"{len(recordings)} recording{'s' if len(recordings) > 1 else ''}, {minutes:.1f} minutes"


def _outcome(card: "Card", seconds: float) -> str:
    """Say how the training went."""
    best = min(card.curves["validation"], default=float("nan"))
    ending = ENDINGS.get(card.training["stopped"], card.training["stopped"])
    return f"trained in {seconds:.1f} s, validation divergence {best:.4g}; {ending}"
