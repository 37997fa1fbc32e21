"""The settings of the separation of many files."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepdict._core.fs import sha256_of
from sepdict._core.settings import refuse_other_types
from sepdict.audio.labels import Label
from sepdict.batch.export import OutputConfig
from sepdict.errors import AudioFileError, ConfigError
from sepdict.evaluation.config import ActivityConfig
from sepdict.separation.config import SeparationConfig

if TYPE_CHECKING:
    from sepdict.audio.io import AudioReader


@dataclass(frozen=True)
class BatchConfig:
    """Settings of the separation of many files.

    Parameters
    ----------
    separation : SeparationConfig
        How each mixture is separated.
    output : OutputConfig
        Which stems are written, under what names, in what format.
    start_s, duration_s : float
        Which part of each mixture is separated, in seconds; by default all of it. A mixture may end before its part
        does.
    n_jobs : int
        How many files are separated at a time, each in a process of its own that has its share of the cores. A program
        with more than one must start below ``if __name__ == "__main__":``, as Python's `multiprocessing` requires.
    overwrite : bool
        Replace files that exist; other files in the same folder are left alone.
    skip_existing : bool
        Keep the tracks of which all files exist, made from the same mixture with the same dictionaries and settings. An
        interrupted run then continues where it stopped.
    references : path of a folder, optional
        The true sources, ``references/{track}/{source}.wav`` or of any other audio format; with a single
        mixture ``references/{source}.wav`` will do. The stems are scored against them.
    report : bool
        Also write ``{track}/report.html``, a page with a player and pictures that needs no other file.
    activity : ActivityConfig, optional
        Also write ``{track}/labels.txt``, which says when each stem sounds.
    labels : tuple of Label
        What is known to sound where in the mixture, of which there is then a single one: within a label there is its
        stem only (see `LabelGuide`). Times are the mixture's own, whatever the start.
    guide_stems : mapping of stem name to Path
        Files of what another tool takes for a stem of the mixture (see `StemGuide`).

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> BatchConfig(SeparationConfig(residual=True), output=OutputConfig(format="flac"), n_jobs=4).output.format
    'flac'
    """

    separation: SeparationConfig = field(default_factory=SeparationConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    start_s: float = 0.0
    duration_s: float = math.inf
    n_jobs: int = 1
    overwrite: bool = False
    skip_existing: bool = False
    references: str | Path | None = None
    report: bool = False
    activity: ActivityConfig | None = None
    labels: tuple[Label, ...] = ()
    guide_stems: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if self.n_jobs < 1:
            raise ConfigError(f"n_jobs is {self.n_jobs}; expected 1 or more")
        if not 0 <= self.start_s < math.inf:
            raise ConfigError(f"the start is at {self.start_s} s; expected 0 or more")
        if not self.duration_s > 0:
            raise ConfigError(f"the duration is {self.duration_s} s; expected more than 0")

    @property
    def stem_settings(self) -> dict[str, Any]:
        """The settings on which the stems and their activity depend, for `order_of`."""
        separation = {name: value for name, value in asdict(self.separation).items() if name != "device"}
        output = asdict(self.output)
        settings = {**separation, "output": output, "start_s": self.start_s, "duration_s": self.duration_s}
        if self.activity:
            settings["activity"] = asdict(self.activity)
        if self.labels:
            settings["labels"] = [asdict(label) for label in self.labels]
        if self.guide_stems:
            settings["guides"] = {name: sha256_of(path) for name, path in self.guide_stems.items()}
        return settings

    def span(self, mixture: "AudioReader") -> slice:
        """Return which samples of a mixture are separated.

        Raises
        ------
        AudioFileError
            If it ends before they begin.
        """
        start = round(self.start_s * mixture.sample_rate)
        if start >= mixture.n_samples:
            lasts = f"lasts {mixture.n_samples / mixture.sample_rate:.1f} s"
            raise AudioFileError(
                f"{mixture.path}: {lasts}; expected more than the start, which is at {self.start_s:g} s"
            )
        n_samples = min(max(1.0, self.duration_s * mixture.sample_rate), mixture.n_samples - start)
        return slice(start, start + round(n_samples))
