"""`sepdict train-dictionary`: from solo recordings to a dictionary file."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .console import ProgressReport, find_audio, note, report_error, report_failures, say
from .options.common import Cluster, Device, Json, Overwrite, Quiet, Recursive, Verbose
from .options.training import (
    Activation,
    Augment,
    Background,
    BatchFrames,
    CodeSize,
    Divergence,
    Each,
    Hidden,
    Jobs,
    Name,
    Network,
    NFft,
    Output,
    Pretrain,
    Regularize,
    Seed,
    SkipExisting,
    Solos,
    Steps,
    Templates,
    stft_of,
    training_config,
)
from .train_several import train_several

if TYPE_CHECKING:
    from sepdict.audio.parts import Part
    from sepdict.audio.signal import Audio
    from sepdict.batch.training import TrainingTask
    from sepdict.dictionaries.card import Card
    from sepdict.training.config import TrainingConfig

log = logging.getLogger("sepdict.cli")

ENDINGS = {
    "finished": "all steps done",
    "early": "stopped early, for the validation divergence no longer fell",
    "diverged": "diverged; the best weights before that were kept: try another --seed, or fewer --steps",
    "interrupted": "interrupted; the best weights so far were kept",
}


@dataclass(frozen=True)
class _Order:
    """One dictionary to be trained."""

    source: str
    solos: Sequence[str]
    output: Path
    which: str = ""  # of several
    skip_existing: bool = False
    overwrite: bool = False

    def task(self, found: Mapping[str, Sequence["Part"]]) -> "TrainingTask":
        """Return it as a task, which remembers the file that is there now."""
        from sepdict.batch.training import TrainingTask

        how = {"skip_existing": self.skip_existing, "overwrite": self.overwrite}
        return TrainingTask.planned(self.source, _each_once(self.solos, found), self.output, **how)


@dataclass(frozen=True)
class _Trained:
    """A trained and saved dictionary."""

    file: Path
    card: "Card"
    seconds: float
    kept: bool = False

    @property
    def divergence(self) -> float:
        """The lowest validation divergence."""
        return min(self.card.curves["validation"], default=float("nan"))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        facts = {"file": self.file, "source": self.card.source, "sample_rate": self.card.sample_rate}
        facts |= {"n_recordings": len(self.card.heard), "trained_s": self.card.trained_s, "seconds": self.seconds}
        facts |= {"divergence": self.divergence, "stopped": self.card.training["stopped"]}
        return facts | {"kept": self.kept}


def train_dictionary(
    solos: Solos,
    output: Output = None,
    name: Name = None,
    each: Each = False,
    recursive: Recursive = False,
    network: Network = "default",
    code_size: CodeSize = None,
    hidden: Hidden = None,
    activation: Activation = None,
    templates: Templates = None,
    regularize: Regularize = None,
    pretrain: Pretrain = None,
    augment: Augment = False,
    background: Background = None,
    steps: Steps = None,
    batch_frames: BatchFrames = None,
    n_fft: NFft = None,
    divergence: Divergence = None,
    seed: Seed = None,
    device: Device = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn a source from recordings of it alone.

    Ctrl-C ends the training and keeps the best weights so far; a second one keeps nothing.
    """
    is_several = cluster is not None or jobs > 1
    if is_several and not each:
        hint = "--jobs" if cluster is None else "--cluster"
        raise typer.BadParameter("it trains a dictionary per task; give --each", param_hint=hint)
    if cluster is not None and jobs > 1:
        raise typer.BadParameter("a cluster has as many as its workers; leave it out", param_hint="--jobs")
    sounds = [*solos, *(background or [])]
    found = _find_recordings(sounds, recursive=recursive)  # before torch is loaded, which takes seconds
    orders = [
        replace(order, skip_existing=skip_existing, overwrite=overwrite)
        for order in _orders(solos, output, name, each=each)
    ]
    for order in orders:
        _refuse_output(order.output, may_exist=overwrite or skip_existing)
    shape = {"code_size": code_size, "hidden": hidden, "activation": activation, "n_templates": templates}
    settings = {"n_steps": steps, "batch_frames": batch_frames, "divergence": divergence, "seed": seed}
    stft = None if n_fft is None else stft_of(n_fft)
    config = training_config(
        network, shape, regularize or [], settings | {"pretraining": pretrain, "stft": stft}, augment=augment
    )
    if background and not (config.augmentation or config.regularization.others):
        raise typer.BadParameter("nothing uses it; give --augment, or -r others", param_hint="--background")
    backgrounds, n_unread = _read_all(background or [], found)
    report_failures(n_unread, n_unread + len(backgrounds), stops=True)
    if backgrounds and not quiet:
        note(f"with {len(backgrounds)} background{'s' if len(backgrounds) > 1 else ''}")
    n_files = n_failed = 0
    plan = {order.source: {"train": 1.0} for order in orders}
    with _json_at_the_end(as_json) as made, ProgressReport(quiet=quiet, plan=plan) as report:

        def tell(trained: _Trained) -> None:
            made.append(trained)
            if not as_json:
                say(str(trained.file) if quiet else f"{trained.file}\n{_outcome(trained)}")

        if is_several:
            n_failed = _train_several(cluster, jobs, orders, found, background or [], config, device, report, tell)
            n_files = n_failed + sum(len(trained.card.heard) for trained in made)
        for order in () if is_several else orders:
            trained, n_not_read = _carry_out(order, found, config, backgrounds, device, report, alone=len(orders) == 1)
            report.job_progress.end(order.source, well=trained is not None)
            n_files, n_failed = n_files + n_not_read, n_failed + n_not_read
            if trained is None:
                continue
            n_files += len(trained.card.heard)
            tell(trained)
            if trained.card.training["stopped"] == "interrupted" and order is not orders[-1]:
                raise KeyboardInterrupt  # what comes after it is not wanted, either
    report_failures(n_failed, n_files)


@contextlib.contextmanager
def _json_at_the_end(wanted: bool) -> Iterator[list["_Trained"]]:
    """Collect what was trained, and print it when the work inside ends, also by Ctrl-C."""
    from sepdict._core.fs import to_json

    made: list[_Trained] = []
    try:
        yield made
    finally:
        if wanted:
            say(to_json([trained.as_dict() for trained in made]))


def _orders(solos: Sequence[str], output: Path | None, name: str | None, *, each: bool) -> list[_Order]:
    """List the dictionaries to be trained, and their files."""
    from sepdict._core.names import normalized, refusal_of_url, refuse_unwritable
    from sepdict.dictionaries.library import EXTENSION, library_folder
    from sepdict.errors import ConfigError

    if output is not None and (why := refusal_of_url(output)):
        raise ConfigError(why)
    if not each:
        if output is None and name is None and len(solos) == 1 and not Path(solos[0]).exists():
            raise ConfigError(
                f"{solos[0]}: is no file or folder that could name the source; check it, or give a --name"
            )
        if output is None and name is None and len(solos) > 1:
            raise ConfigError("several recordings name no source; give it a --name, or an output (-o), or use --each")
        named = Path(solos[0]).absolute() if output is None else output
        source = normalized(name if name is not None else named.name if named.is_dir() else named.stem)
        refuse_unwritable(source, "source name")
        file = library_folder() / f"{source}{EXTENSION}" if output is None else output
        return [_Order(source, solos, file.absolute())]
    if name is not None:
        raise ConfigError(f"--name is {name!r}; with --each every folder names its source: leave one of them out")
    folder = library_folder() if output is None else output.absolute()
    sources = [normalized(Path(solo).absolute().name) for solo in solos]
    for solo, source in zip(solos, sources, strict=True):
        if not Path(solo).is_dir():
            raise ConfigError(f"{solo}: is not a folder; with --each every source has one")
        if sources.count(source) > 1:
            raise ConfigError(f"{solo}: another folder is named {source!r}, too; rename one")
        refuse_unwritable(source, "source name")
    files = [folder / f"{source}{EXTENSION}" for source in sources]
    whole = zip(sources, [[solo] for solo in solos], files, strict=True)
    return [_Order(*facts, f" ({n} of {len(sources)})") for n, facts in enumerate(whole, start=1)]


def _carry_out(
    order: _Order,
    found: Mapping[str, Sequence["Part"]],
    config: "TrainingConfig",
    backgrounds: Sequence["Audio"],
    device: str | None,
    report: ProgressReport,
    *,
    alone: bool,
) -> tuple["_Trained | None", int]:
    """Train one dictionary, if any of its recordings can be read; count those that cannot."""
    from sepdict._core.fs import writable_folder
    from sepdict.batch.training import ExistsError, card_if_kept
    from sepdict.errors import ConfigError, explain

    is_new_folder = not order.output.parent.exists()
    with writable_folder(order.output.parent):
        recordings, n_failed = _read_all(order.solos, found)
        if not recordings:
            return None, n_failed
        try:
            kept = card_if_kept(order.task(found), recordings, backgrounds, config)
            if kept is not None:
                return _Trained(order.output, kept, 0.0, kept=True), n_failed
            return _train(order, recordings, config, backgrounds, device, report, is_new_folder=is_new_folder), n_failed
        except Exception as error:
            if alone or isinstance(error, ConfigError):  # which fails every training alike
                raise
            log.debug("%s: failed", order.source, exc_info=error)
            report_error(str(error) if isinstance(error, ExistsError) else explain(order.solos[0], error))
            return None, n_failed + len(recordings)


def _train_several(
    cluster: str | None,
    n_jobs: int,
    orders: Sequence[_Order],
    found: Mapping[str, Sequence["Part"]],
    background: Sequence[str],
    config: "TrainingConfig",
    device: str | None,
    report: ProgressReport,
    tell: Callable[[_Trained], None],
) -> int:
    """Train all dictionaries, several at a time, and count the recordings that failed."""
    return train_several(
        cluster,
        n_jobs,
        [order.task(found) for order in orders],
        config,
        _each_once(background, found),
        device,
        report,
        lambda trained, card: tell(_Trained(trained.task.output, card, trained.seconds, trained.kept)),
    )


def _train(
    order: _Order,
    recordings: list["Audio"],
    config: "TrainingConfig",
    backgrounds: Sequence["Audio"],
    device: str | None,
    report: ProgressReport,
    *,
    is_new_folder: bool,
) -> _Trained:
    """Check the recordings, train on them, and save the dictionary."""
    from sepdict._core.devices import AUTO
    from sepdict.training.data import LEAST_SOUND_S
    from sepdict.training.recording_checks import LITTLE_S, check_recordings
    from sepdict.training.train import train_dictionary as train

    found = check_recordings(recordings)
    if not report.quiet and found.sound_s >= LEAST_SOUND_S:  # what is refused next needs no advice
        note(
            "\n".join(
                [f"training on {_count_recordings(recordings)}", *(f"note: {remark}" for remark in found.remarks)]
            )
        )
        if found.sound_s < LITTLE_S and not config.augmentation:
            note("note: --augment varies what little there is")
        if is_new_folder:
            note(f"note: the folder {order.output.parent} is new")
    report.begin(f"training {order.source}{order.which}")
    start = time.perf_counter()
    dictionary = train(
        recordings,
        config,
        source=order.source,
        backgrounds=backgrounds,
        device=AUTO if device is None else device,
        on_progress=report.step,
    )
    seconds = time.perf_counter() - start
    return _Trained(dictionary.save(order.output), dictionary.card, seconds)


def _refuse_output(output: Path, *, may_exist: bool) -> None:
    """Refuse, before the training, a file that cannot be written."""
    from sepdict.dictionaries.library import EXTENSION
    from sepdict.errors import ConfigError

    if output.suffix != EXTENSION:
        raise ConfigError(f"{output}: a dictionary's name ends in {EXTENSION}; add that")
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; expected a file or nothing there")
    if output.exists() and not may_exist:
        raise ConfigError(f"{output}: exists already; choose another name, or give --overwrite or --skip-existing")


def _read_all(arguments: Sequence[str], found: Mapping[str, Sequence["Part"]]) -> tuple[list["Audio"], int]:
    """Read the recordings that were found for arguments; report and count those that cannot be read."""
    from sepdict.batch.training import read_recordings

    recordings, errors = read_recordings(_each_once(arguments, found))
    for error in errors:
        report_error(error)
    return recordings, len(errors)


def _find_recordings(arguments: Sequence[str], *, recursive: bool) -> dict[str, list["Part"]]:
    """Find the recordings, whole or in parts, that each argument names."""
    from sepdict.audio.discovery import find_audio_files
    from sepdict.audio.parts import Part, find_parts, refuse_overlaps

    of_files: dict[Path, list[Part]] = {}

    def find(argument: str) -> list[Part]:
        parts = find_parts(argument)
        if parts:
            of_file = of_files.setdefault(parts[0].path.resolve(), [])
            of_file += parts
            refuse_overlaps(of_file)
        return parts or [Part(file) for file in find_audio_files([argument], recursive=recursive)]

    return find_audio(arguments, find=find)


def _each_once(arguments: Sequence[str], found: Mapping[str, Sequence["Part"]]) -> list["Part"]:
    """List what was found for arguments; of a file that is named whole and in parts, the whole counts."""
    of_files: dict[Path, list[Part]] = {}
    for part in (part for argument in dict.fromkeys(arguments) for part in found[argument]):
        of_files.setdefault(part.path.resolve(), []).append(part)
    whole = {file: [part for part in parts if part.is_whole][:1] for file, parts in of_files.items()}
    return [part for file, parts in of_files.items() for part in whole[file] or parts]


def _count_recordings(recordings: list["Audio"]) -> str:
    """Return how many recordings there are, and their duration, in words."""
    total_s = sum(recording.duration_s for recording in recordings)
    how_long = f"{total_s:.1f} s" if total_s < 60 else f"{total_s / 60:.1f} minutes"
    return f"{len(recordings)} recording{'s' if len(recordings) > 1 else ''}, {how_long}"


def _outcome(trained: _Trained) -> str:
    """Describe how the training went."""
    if trained.kept:
        return "kept, it was there already"
    stopped = trained.card.training["stopped"]
    how = f"trained in {trained.seconds:.1f} s, validation divergence {trained.divergence:.4g}"
    return f"{how}; {ENDINGS.get(stopped, stopped)}"
