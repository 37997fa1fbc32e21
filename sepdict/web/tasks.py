"""What a job does, in a process of its own: read, train or separate, write; every name in messages is the page's."""

import contextlib
import logging
import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, Protocol

from sepdict import Audio, Dictionary, SeparationConfig, SepdictError, TrainingConfig, read_audio, train_dictionary
from sepdict._core.fs import to_json, write_atomically
from sepdict.audio.io import copy_audio, open_audio, writing_stems
from sepdict.dictionaries.library import library_folder
from sepdict.errors import ConfigError
from sepdict.progress import OnProgress, Plan
from sepdict.reports.media import look_at, loudest, spectrogram
from sepdict.separation.engine import separate_in_blocks, stem_names
from sepdict.separation.mask_estimator_cache import cache_folder
from sepdict.separation.plan import plan_separation
from sepdict.training.recording_checks import check_recordings
from sepdict.web.dictionaries import describe

log = logging.getLogger(__name__)

DICTIONARY = "dictionary.safetensors"
ABOUT = "separation.json"  # how stems were made, for those who find them later
START, REST = r"""(?<![^\s('"])""", r"""[^\s:;,()'"]*"""  # of a path from the root on
MIXTURE = "mixture.wav"  # decoded for the player: browsers do not read every format that we do


class Task(Protocol):
    """Something to be done."""

    @property
    def plan(self) -> Plan:
        """What its stages cost."""

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Do it, write into a folder, and say what came of it, as JSON can hold it."""

    def named(self, message: str) -> str:
        """Call files in a message what the page calls them."""


@dataclass(frozen=True)
class Sound:
    """An audio file, and what the page calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Training:
    """Solo recordings to become a dictionary, `DICTIONARY`."""

    source: str
    solos: Sequence[Sound]
    config: TrainingConfig

    @property
    def plan(self) -> Plan:
        """What its stages cost."""
        return {"training": {"train": 1.0}}

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Train, save, and describe the dictionary; what there is to think of the solos is said first."""
        recordings = [self._read(solo) for solo in self.solos]
        for remark in check_recordings(recordings).remarks:
            log.warning("%s", remark)
        dictionary = train_dictionary(recordings, self.config, source=self.source, on_progress=on_progress)
        dictionary.save(output / DICTIONARY)
        return describe(dictionary)

    def named(self, message: str) -> str:
        """Call files in a message what the page calls them."""
        return name_files(message, self.solos)

    def _read(self, solo: Sound) -> Audio:
        """Read a recording under the name that the card will have."""
        return replace(read_audio(solo.path), name=solo.name)


@dataclass(frozen=True)
class Separating:
    """A mixture to become stems, ``{number}.wav`` in the order of `stem_names`, and pictures of them."""

    mixture: Sound
    dictionaries: Sequence[Sound]
    config: SeparationConfig
    duration_s: float

    @property
    def plan(self) -> Plan:
        """What its stages cost."""
        with_mask_estimator = self.config.trains_mask_estimator(len(self.dictionaries))
        durations_s = {self.mixture.name: self.duration_s}
        return plan_separation(
            durations_s,
            with_mask_estimator=with_mask_estimator,
            residual=self.config.residual,
            background_model=self.config.background_model,
        )

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Separate block by block, and describe the stems and how it went."""
        dictionaries = [Dictionary.load(dictionary.path) for dictionary in self.dictionaries]
        names = stem_names(dictionaries, self.config)
        paths = [output / f"{number}.wav" for number in range(len(names))]
        with open_audio(self.mixture.path) as mixture, writing_stems(paths, like=mixture) as write:
            outcome = separate_in_blocks(mixture, dictionaries, write, self.config, on_progress=on_progress)
        copy_audio(self.mixture.path, output / MIXTURE)
        _draw([output / MIXTURE, *paths])
        is_silent, explained = outcome.fit.silent, outcome.explained_energy
        about = self._about(dictionaries) | {"explained_energy": explained}
        write_atomically(output / ABOUT, to_json(about).encode())
        return {
            "stems": names,
            "is_silent": is_silent,
            "has_residual": len(names) > len(dictionaries),
            "duration_s": mixture.n_samples / mixture.sample_rate,
            "sample_rate": mixture.sample_rate,
            "explained_energy": None if is_silent else explained,
            "message": outcome.fit.message,
        }

    def named(self, message: str) -> str:
        """Call files in a message what the page calls them."""
        return name_files(message, [self.mixture, *self.dictionaries])

    def _about(self, dictionaries: Sequence[Dictionary]) -> dict[str, Any]:
        """Say what was separated by what, with which settings, and when."""
        return {
            "sepdict": version("sepdict"),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "mixture": self.mixture.name,
            "dictionaries": {each.source: {"sha256": each.sha256} for each in dictionaries},
            "settings": asdict(self.config),
        }


def name_files(message: str, sounds: Sequence[Sound]) -> str:
    """Replace paths in a message by the page's names of the files, and other paths by their last part.

    Examples
    --------
    >>> name_files("/tmp/.sepdict-x.tmp/4e/0.wav: cannot be written (No space left on device)", [])
    '0.wav: cannot be written (No space left on device)'
    """
    for sound in sounds:
        message = message.replace(str(sound.path), sound.name).replace(sound.path.name, sound.name)
    folders = [Path(tempfile.gettempdir())]  # these may have spaces in their names
    for find in (library_folder, cache_folder):
        with contextlib.suppress(ConfigError):  # a user without a home folder has none of these
            folders.append(find())
    for place in (*(re.escape(str(folder)) + REST for folder in folders), rf"{START}/{REST}/{REST}"):
        message = re.sub(place, lambda found: PurePath(found.group()).name, message)
    return message


def explain(error: Exception, task: Task) -> str:
    """Put an error into one line; one that is not for users to mend says so."""
    if isinstance(error, SepdictError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        log.error("a job failed", exc_info=error)
        text = f"something unexpected went wrong ({type(error).__name__}); the terminal that serves this page says more"
    return " ".join(task.named(text).split())


def _draw(paths: Sequence[Path]) -> None:
    """Draw spectrograms beside files, all at the scale of the first."""
    looks = [look_at(path, shown_s=math.inf) for path in paths]
    reference = loudest(looks[0].energy)
    for path, look in zip(paths, looks, strict=True):
        write_atomically(path.with_suffix(".png"), spectrogram(look.energy, reference))
