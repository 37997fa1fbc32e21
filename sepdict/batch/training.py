"""Many dictionaries, each a task: recordings of one source in, a dictionary file out, whole or not at all."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sepdict._core.devices import AUTO
from sepdict._core.fs import only_one, sha256_of
from sepdict.audio.io import read_part
from sepdict.audio.parts import Part
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioFileError, ConfigError, DictionaryFileError, explain
from sepdict.progress import OnProgress
from sepdict.training.config import TrainingConfig
from sepdict.training.recording_checks import check_recordings
from sepdict.training.train import is_trained_alike, train_dictionary

if TYPE_CHECKING:
    from sepdict.dictionaries.card import Card

log = logging.getLogger(__name__)


class ExistsError(DictionaryFileError):
    """A dictionary file that is there already, and other than what is asked for."""


@dataclass(frozen=True)
class TrainingTask:
    """A dictionary to be trained.

    Attributes
    ----------
    source : str
    parts : sequence of Part
        The recordings, or parts of them.
    output : Path
        Of the dictionary file.
    found : str or None
        The checksum of the file that was there when the work was planned; None if there was none.
    skip_existing, overwrite : bool
        Whether the file that is there is kept if it was trained alike, and replaced otherwise.
    """

    source: str
    parts: Sequence[Part]
    output: Path
    found: str | None = None
    skip_existing: bool = False
    overwrite: bool = False

    @classmethod
    def planned(cls, source: str, parts: Sequence[Part], output: Path, **how: bool) -> "TrainingTask":
        """Return a task that remembers the file that is there now."""
        return cls(source, parts, output, sha256_of(output) if output.is_file() else None, **how)

    @property
    def is_done(self) -> bool:
        """Return whether another attempt has written the file since the task was planned."""
        return self.output.is_file() and sha256_of(self.output) != self.found


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes
    ----------
    task : TrainingTask
    card : Card or None
        The dictionary's; None if there is none.
    errors : sequence of str
        One of each recording that could not be used, each in one line.
    remarks : sequence of str
        On the recordings that could be used.
    seconds : float
        The time that the training took.
    kept : bool
        Whether the dictionary was there already.
    """

    task: TrainingTask
    card: "Card | None" = None
    errors: Sequence[str] = field(default_factory=tuple)
    remarks: Sequence[str] = field(default_factory=tuple)
    seconds: float = 0.0
    kept: bool = False


def train_one(
    config: TrainingConfig,
    background_parts: Sequence[Part],
    device: str | None,
    on_progress: OnProgress,
    task: TrainingTask,
) -> Trained:
    """Train a dictionary and save it, and turn whatever goes wrong with it into a result.

    What another attempt wrote since the task was planned is kept.

    Raises
    ------
    ConfigError
        If the settings cannot work, which fails every training alike.
    """
    if task.is_done:
        return Trained(task, Dictionary.load(task.output).card)
    recordings, errors = read_recordings(task.parts)
    if not recordings:
        return Trained(task, errors=errors)
    backgrounds = read_recordings(background_parts)[0]
    start = time.perf_counter()
    try:
        kept = card_if_kept(task, recordings, backgrounds, config)
        if kept is not None:
            return Trained(task, kept, errors, kept=True)
        remarks = check_recordings(recordings).remarks
        dictionary = train_dictionary(
            recordings,
            config,
            source=task.source,
            backgrounds=backgrounds,
            device=AUTO if device is None else device,
            on_progress=on_progress,
        )
        with only_one(task.output.parent, task.output.name):
            if not task.is_done:
                dictionary.save(task.output)
    except ConfigError:
        raise
    except ExistsError as error:
        return Trained(task, errors=[*errors, *[str(error)] * len(recordings)])
    except Exception as error:
        log.debug("%s: failed", task.source, exc_info=error)
        failed = [explain(task.parts[0], error)] * len(recordings)
        return Trained(task, errors=[*errors, *failed])
    return Trained(task, dictionary.card, errors, remarks, time.perf_counter() - start)


def card_if_kept(
    task: TrainingTask, recordings: Sequence[Audio], backgrounds: Sequence[Audio], config: TrainingConfig
) -> "Card | None":
    """Return the card of the dictionary that is there and was trained alike; None if one is to be trained.

    Raises
    ------
    ExistsError
        If another file is there, and is not to be replaced.
    """
    if not task.skip_existing or not task.output.exists():
        return None
    try:
        card = Dictionary.load(task.output).card
        if is_trained_alike(card, recordings, config, source=task.source, backgrounds=backgrounds):
            return card
    except DictionaryFileError as error:
        log.debug("%s: cannot be kept", task.output, exc_info=error)
    if task.overwrite:
        return None
    raise ExistsError(
        f"{task.output}: was interrupted, or trained otherwise; train it anew with --overwrite, or move it"
    )


def read_recordings(parts: Sequence[Part]) -> tuple[list[Audio], list[str]]:
    """Read recordings, and return those that can be used, and an error of each other one."""
    recordings, errors = list[Audio](), list[str]()
    for part in parts:
        try:
            recording = read_part(part)
            if not recording.samples.any():
                raise AudioFileError(f"{part}: is digital silence; expected the sound to learn")
            recordings.append(recording)
        except Exception as error:
            log.debug("%s: cannot be read", part, exc_info=error)
            errors.append(explain(part, error))
    return recordings, errors
