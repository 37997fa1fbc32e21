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
from sepdict.errors import AudioFileError, ConfigError, explain
from sepdict.progress import OnProgress
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

if TYPE_CHECKING:
    from sepdict.dictionaries.card import Card

log = logging.getLogger(__name__)


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
    """

    source: str
    parts: Sequence[Part]
    output: Path
    found: str | None = None

    @classmethod
    def planned(cls, source: str, parts: Sequence[Part], output: Path) -> "TrainingTask":
        """Return a task that remembers the file that is there now."""
        return cls(source, parts, output, sha256_of(output) if output.is_file() else None)

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
    seconds : float
        The time that the training took.
    """

    task: TrainingTask
    card: "Card | None" = None
    errors: Sequence[str] = field(default_factory=tuple)
    seconds: float = 0.0


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
    start = time.perf_counter()
    try:
        dictionary = train_dictionary(
            recordings,
            config,
            source=task.source,
            backgrounds=read_recordings(background_parts)[0],
            device=AUTO if device is None else device,
            on_progress=on_progress,
        )
        with only_one(task.output.parent, task.output.name):
            if not task.is_done:
                dictionary.save(task.output)
    except ConfigError:
        raise
    except Exception as error:
        log.debug("%s: failed", task.source, exc_info=error)
        failed = [explain(task.parts[0], error)] * len(recordings)
        return Trained(task, errors=[*errors, *failed])
    return Trained(task, dictionary.card, errors, time.perf_counter() - start)


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
