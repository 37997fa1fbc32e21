"""The tasks of jobs, each in a process of its own; messages have the page's file names."""

import contextlib
import logging
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Protocol

from sepdict import (
    Audio,
    Dictionary,
    Label,
    LabelGuide,
    MarkingConfig,
    SeparationConfig,
    SepdictError,
    TrainingConfig,
    __version__,
    compare,
    learn_from_labels,
    read_audio,
    train_dictionary,
)
from sepdict._core.cache import cache_folder
from sepdict._core.fs import to_json, write_atomically
from sepdict._core.names import RESIDUAL
from sepdict.audio.io import open_audio
from sepdict.audio.writing import copy_audio, writing_stems
from sepdict.dictionaries.library import library_folder
from sepdict.errors import ConfigError
from sepdict.progress import OnProgress, Plan, Progress
from sepdict.reports.media import look_at, loudest, mask_picture, masks_of, spectrogram
from sepdict.separation.engine import separate_in_blocks, stem_names
from sepdict.separation.plan import plan_separation
from sepdict.separation.result import Outcome
from sepdict.training.recording_checks import check_recordings
from sepdict.web.dictionaries import describe
from sepdict.web.loudness import Products
from sepdict.web.reports import ReportFacts

log = logging.getLogger(__name__)

DICTIONARY = "dictionary.safetensors"
LEARNED = "learned-{}.safetensors"  # the dictionaries of what is marked, by number
RECORD = "separation.json"  # how the stems were made
START, REST = r"""(?<![^\s('"])""", r"""[^\s:;,()'"]*"""  # of a path from the root on
WRITING_S = 0.2  # of a minute of a mixture and two stems, in the measure of the plan's other costs
MIXTURE = "mixture.wav"  # decoded for the player: browsers do not read every format that we do


class Task(Protocol):
    """A training, a separation or a comparison."""

    @property
    def plan(self) -> Plan:
        """The stages and their costs."""

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Perform it, write the files into a folder, and return the result as JSON can hold it."""

    def named(self, message: str) -> str:
        """Replace paths in a message by the page's file names."""


@dataclass(frozen=True)
class NamedFile:
    """A file, and its name on the page."""

    path: Path
    name: str


@dataclass(frozen=True)
class Training:
    """A training of a dictionary, `DICTIONARY`, on solo recordings."""

    source: str
    solos: Sequence[NamedFile]
    config: TrainingConfig

    @property
    def plan(self) -> Plan:
        """The stages and their costs."""
        return {"training": {"train": 1.0}}

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Train, save and describe the dictionary; remarks on the solos are logged first."""
        recordings = [self._read(solo) for solo in self.solos]
        for remark in check_recordings(recordings).remarks:
            log.warning("%s", remark)
        dictionary = train_dictionary(recordings, self.config, source=self.source, on_progress=on_progress)
        dictionary.save(output / DICTIONARY)
        return describe(dictionary)

    def named(self, message: str) -> str:
        """Replace paths in a message by the page's file names."""
        return name_files(message, self.solos)

    def _read(self, solo: NamedFile) -> Audio:
        """Read a recording under the name that the card is to show."""
        return replace(read_audio(solo.path), name=solo.name)


@dataclass(frozen=True)
class Separating:
    """A separation into stems, ``{number}.wav`` in the order of `stem_names`, with spectrograms.

    ``n_to_learn`` sources are learned from what labels mark in the mixture. Corrections say whose parts of it are.
    """

    mixture: NamedFile
    dictionaries: Sequence[NamedFile]
    config: SeparationConfig
    duration_s: float
    labels: tuple[Label, ...] = ()
    corrections: tuple[Label, ...] = ()
    marking: MarkingConfig = field(default_factory=MarkingConfig)
    n_to_learn: int = 0

    @property
    def plan(self) -> Plan:
        """The stages and their costs."""
        durations_s = {"mixture": self.duration_s}
        n_dictionaries = len(self.dictionaries) + self.n_to_learn
        plan = plan_separation(durations_s, self.config, n_dictionaries=n_dictionaries, n_to_learn=self.n_to_learn)
        return {**plan, "files": {"write": WRITING_S * self.duration_s / 60}}

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Learn what is marked, separate block by block, and describe the stems and how it went."""
        dictionaries, config = self._dictionaries(on_progress)
        known = (*self.labels, *self.corrections)
        guides = [LabelGuide(known)] if known else []
        names = stem_names(dictionaries, config)
        paths, products = [output / f"{number}.wav" for number in range(len(names))], Products(len(names))
        with open_audio(self.mixture.path) as mixture, writing_stems(paths, like=mixture) as write:
            listening = products.listening(write)
            outcome = separate_in_blocks(
                mixture, dictionaries, listening, config, guides=guides, on_progress=on_progress
            )
        learned = dictionaries[len(self.dictionaries) :]
        for number, dictionary in enumerate(learned):
            dictionary.save(output / LEARNED.format(number))
        on_progress(Progress("write", 0, 1, math.nan))
        copy_audio(self.mixture.path, output / MIXTURE)
        _draw([output / MIXTURE, *paths])
        is_silent, explained = outcome.fit.silent, outcome.explained_energy
        record = self._record(dictionaries) | {"explained_energy": explained}
        write_atomically(output / RECORD, to_json(record).encode())
        stems = dict(zip(names, (path.name for path in paths), strict=True))
        form = {"sample_rate": mixture.sample_rate, "n_channels": mixture.n_channels}
        form["duration_s"] = mixture.n_samples / mixture.sample_rate
        manifest = self._manifest(record, outcome, form, stems)
        ReportFacts(manifest, tuple(each.card for each in dictionaries), outcome.timeline).leave(output)
        return {
            "stems": names,
            "is_silent": is_silent,
            "has_residual": len(names) > len(dictionaries),
            **form,
            "explained_energy": None if is_silent else explained,
            "message": outcome.fit.message,
            "products": products.values.tolist(),
            "learned": [describe(dictionary) for dictionary in learned],
        }

    def named(self, message: str) -> str:
        """Replace paths in a message by the page's file names."""
        return name_files(message, [self.mixture, *self.dictionaries])

    def _dictionaries(self, on_progress: OnProgress) -> tuple[list[Dictionary], SeparationConfig]:
        """Load the dictionaries, learn those of the labels, and fit the settings to how they were learned."""
        loaded = [Dictionary.load(dictionary.path) for dictionary in self.dictionaries]
        if not self.labels:
            return loaded, self.config
        config = self.marking.fitting(self.config, has_dictionaries=bool(loaded))
        learned = learn_from_labels(
            self.mixture.path, self.labels, loaded, self.marking, device=config.device, on_progress=on_progress
        )
        return learned, config

    def _record(self, dictionaries: Sequence[Dictionary]) -> dict[str, Any]:
        """Return what was separated with which dictionaries and settings, and when."""
        return {
            "sepdict": __version__,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "mixture": self.mixture.name,
            "dictionaries": {each.source: {"sha256": each.sha256} for each in dictionaries},
            "labels": [asdict(label) for label in self.labels],
            "corrections": [asdict(label) for label in self.corrections],
            "settings": asdict(self.config),
        }

    def _manifest(
        self, record: Mapping[str, Any], outcome: Outcome, form: Mapping[str, float], stems: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return what is recorded as a report takes it, and what else it says."""
        has_rest = len(stems) > len(record["dictionaries"])
        how = {"n_segments": outcome.n_segments, "residual": has_rest, "residual_name": RESIDUAL}
        return {
            **record,
            "mixture": {"file": self.mixture.name, **form},
            "dictionaries": [{"source": source, **facts} for source, facts in record["dictionaries"].items()],
            "settings": record["settings"] | how,
            "message": outcome.fit.message,
            "loss": {"curve": outcome.fit.loss_curve},
            "null_test_db": outcome.null_test_db,
            "stems": stems,
            "scores": None,
            "command": [],
        }


@dataclass(frozen=True)
class Comparing:
    """A comparison, which says of dictionaries whether their sources can be told apart."""

    dictionaries: Sequence[NamedFile]

    @property
    def plan(self) -> Plan:
        """The stages and their costs."""
        return {"comparison": {"compare": 1.0}}

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        """Compare the dictionaries."""
        return compare([each.path for each in self.dictionaries], on_progress=on_progress).as_dict()

    def named(self, message: str) -> str:
        """Replace paths in a message by the page's file names."""
        return name_files(message, self.dictionaries)


def name_files(message: str, sounds: Sequence[NamedFile]) -> str:
    """Replace paths in a message by the page's names of the files, and other paths by their last part.

    Examples
    --------
    >>> name_files("/tmp/.sepdict-x.tmp/4e/0.wav: cannot be written (No space left on device)", [])
    '0.wav: cannot be written (No space left on device)'
    """
    for sound in sounds:
        message = message.replace(str(sound.path), sound.name).replace(sound.path.name, sound.name)
    folders = list[Path]()  # these may have spaces in their names
    for find in (library_folder, cache_folder):
        with contextlib.suppress(ConfigError):  # a user without a home folder has none of these
            folders.append(find())
    folders.append(Path(tempfile.gettempdir()))  # last: the others may be in it
    for place in (*(re.escape(str(folder)) + REST for folder in folders), rf"{START}/{REST}/{REST}"):
        message = re.sub(place, lambda found: PurePath(found.group()).name, message)
    return message


def explain(error: Exception, task: Task) -> str:
    """Describe an error in one line; an unexpected one is logged and refers to the terminal."""
    if isinstance(error, SepdictError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        log.error("a job failed", exc_info=error)
        text = f"something unexpected went wrong ({type(error).__name__}); the terminal that serves this page says more"
    return " ".join(task.named(text).split())


def _draw(paths: Sequence[Path]) -> None:
    """Draw spectrograms beside files, all at the scale of the first, the mixture's; and masks beside those of stems."""
    looks = [look_at(path, shown_s=math.inf) for path in paths]
    reference = loudest(looks[0].energy)
    for path, look in zip(paths, looks, strict=True):
        write_atomically(path.with_suffix(".png"), spectrogram(look.energy, reference))
    stems = {path: look.energy for path, look in zip(paths[1:], looks[1:], strict=True)}
    for path, mask in masks_of(stems, looks[0].energy).items():
        write_atomically(path.with_suffix(".mask.png"), mask_picture(mask))
