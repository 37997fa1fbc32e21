"""The manifest of a track: what was separated with what, how it went, and where the stems are.

A `Manifest` is written beside the stems. While a track's files are moved into place, a `Journal` stands in its file.
Either is read back as a `Record`, which may come from another version or be damaged: it checks each fact as it is used.
"""

import json
import math
import os
import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepdict._core.fs import sha256_of, to_json, write_atomically
from sepdict._core.schema import SILENCE_DB, Check, exactly, number, refuse_other_keys, text, whole
from sepdict._core.version import __version__
from sepdict.errors import ConfigError

if TYPE_CHECKING:
    from sepdict.audio.io import AudioReader
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.models.network_config import NetworkConfig
    from sepdict.separation.result import Outcome
    from sepdict.spectral.stft import StftConfig

MOST_BYTES = 2**26  # of a file that may be a manifest
EXPLAINED_STEP_S = 1.0  # of the explained energy over time
UNFINISHED = "unfinished"  # the key by which a journal is known
SHA256 = text(pattern="[0-9a-f]{64}")
COUNT = whole(1, 2**53)
LENGTH_S = number(sys.float_info.min, 2.0**40)
GAIN = number(sys.float_info.min, 1)
NULL_TEST_DB = number(SILENCE_DB, -SILENCE_DB)


@dataclass(frozen=True)
class MixtureFacts:
    """A mixture as it was separated: all of it or, with `Manifest.excerpt`, a part; the checksum is of the file."""

    file: Path
    sha256: str
    sample_rate: int
    n_channels: int
    n_samples: int
    duration_s: float

    @classmethod
    def of(cls, file: Path, sha256: str, audio: "AudioReader") -> "MixtureFacts":
        """Describe an open mixture, whose file has this checksum."""
        duration_s = audio.n_samples / audio.sample_rate
        return cls(file.absolute(), sha256, audio.sample_rate, audio.n_channels, audio.n_samples, duration_s)


@dataclass(frozen=True)
class StemFacts:
    """A stem's file, by its path from the manifest's folder on."""

    file: str
    sha256: str
    n_bytes: int
    n_samples: int
    n_channels: int
    sample_rate: int

    @classmethod
    def of(cls, path: Path, folder: Path) -> "StemFacts":
        """Read a stem that was written."""
        from sepdict.audio.io import open_audio  # here: it loads PyTorch, which the reading of manifests does not need

        with open_audio(path) as stem:
            form = {name: getattr(stem, name) for name in ("n_samples", "n_channels", "sample_rate")}
        return cls(os.path.relpath(path, folder), sha256_of(path), path.stat().st_size, **form)


@dataclass(frozen=True)
class LabelFacts:
    """The file of labels, by its path from the manifest's folder on."""

    file: str
    sha256: str
    n_bytes: int
    n_labels: int
    format: str

    @classmethod
    def of(cls, path: Path, folder: Path, *, n_labels: int, format: str) -> "LabelFacts":
        """Describe a file of labels that was written."""
        return cls(os.path.relpath(path, folder), sha256_of(path), path.stat().st_size, n_labels, format)


@dataclass(frozen=True)
class DictionaryFacts:
    """A dictionary, and the file that it was loaded from, if that is known."""

    source: str
    sample_rate: int
    trained_s: float
    stft: "StftConfig"
    network: "NetworkConfig"
    file: Path | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, dictionary: "Dictionary", files: Mapping[str, Path]) -> "DictionaryFacts":
        """Describe a dictionary; ``files`` are the known ones, by source."""
        card, file = dictionary.card, files.get(dictionary.source)
        facts = cls(card.source, card.sample_rate, card.trained_s, card.stft, card.network)
        return facts if file is None else replace(facts, file=file.absolute(), sha256=sha256_of(file))

    def as_dict(self) -> dict[str, Any]:
        """Return everything that is known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Loss:
    """The cost of the fit: at the start, at the end, and after each iteration."""

    first: float
    last: float
    curve: tuple[float, ...]


@dataclass(frozen=True)
class ExplainedOverTime:
    """The explained energy, 0 to 1, in steps of equal length; nan where the mixture is silent."""

    step_s: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Excerpt:
    """The part of a mixture that was separated, in seconds."""

    start_s: float
    duration_s: float


@dataclass(frozen=True)
class RunFacts:
    """Facts that all tracks of a run share.

    Attributes
    ----------
    command : tuple of str
        The words of the command that asked for it, if one did.
    order : str
        The checksum of ``asked``.
    asked : mapping
        What the stems depend on beside the mixture: dictionaries, settings and version.
    dictionaries : tuple of DictionaryFacts
    mask_estimator_s : float
        The time that the mask estimator took, in seconds.
    """

    command: tuple[str, ...]
    order: str
    asked: Mapping[str, Any]
    dictionaries: tuple[DictionaryFacts, ...]
    mask_estimator_s: float


@dataclass(frozen=True)
class Manifest:
    """Everything that is known of a track's separation."""

    run: RunFacts
    seconds: float
    mixture: MixtureFacts
    excerpt: Excerpt | None
    settings: Mapping[str, Any]
    context: Mapping[str, Any]
    outcome: "Outcome"
    gain: float
    stems: Mapping[str, Path]
    files: Mapping[str, StemFacts]
    report: Path | None
    labels: LabelFacts | None
    scores: Mapping[str, Any] | None
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as `to_json` writes it."""
        fit = self.outcome.fit
        step_s, shares = self.outcome.timeline.explained(EXPLAINED_STEP_S)
        over_time = ExplainedOverTime(step_s, tuple(round(share, 4) for share in shares.tolist()))
        return {
            **vars(self.run),
            "dictionaries": [each.as_dict() for each in self.run.dictionaries],
            "sepdict": __version__,
            "date": self.date,
            "seconds": round(self.seconds, 3),
            "mixture": asdict(self.mixture),
            "excerpt": None if self.excerpt is None else asdict(self.excerpt),
            "settings": self.settings,
            "context": self.context,
            "converged": fit.converged,
            "message": fit.message,
            "loss": asdict(Loss(fit.loss_curve[0], fit.loss_curve[-1], fit.loss_curve)),
            "explained_energy": self.outcome.explained_energy,
            "explained_over_time": asdict(over_time),
            "null_test_db": self.outcome.null_test_db,
            "gain": self.gain,
            "stems": self.stems,
            "files": {name: asdict(facts) for name, facts in self.files.items()},
            "report": self.report,
            "labels": None if self.labels is None else asdict(self.labels),
            "scores": self.scores,
        }

    def write(self, file: Path) -> None:
        """Write the manifest."""
        write_atomically(file, to_json(self.as_dict()).encode())


@dataclass(frozen=True)
class Journal:
    """The files of a track that are being moved, by name, each with the checksums by which it is known."""

    mixture: Path
    unfinished: Mapping[str, Sequence[str]]

    def write(self, file: Path) -> None:
        """Write the journal."""
        mixture = {"file": self.mixture.absolute()}
        facts = {"sepdict": __version__, "mixture": mixture, UNFINISHED: self.unfinished}
        write_atomically(file, to_json(facts).encode())


@dataclass(frozen=True)
class KeptOutcome:
    """The outcome of a separation as a manifest has it."""

    duration_s: float
    explained_energy: float
    converged: bool
    message: str
    null_test_db: float
    gain: float


@dataclass(frozen=True)
class Record:
    """A manifest or a journal as it was read, of any version, damaged or not.

    What is asked of it is checked then. The methods raise `ConfigError` if a fact is missing, of another type or out of
    range.
    """

    facts: Mapping[str, Any]

    @property
    def is_journal(self) -> bool:
        """Return whether a run was interrupted while it moved the track's files."""
        return UNFINISHED in self.facts

    @property
    def has_stems(self) -> bool:
        """Return whether it belongs to a track: other files may name a sepdict, too."""
        return self.is_journal or "stems" in self.facts

    @property
    def has_report(self) -> bool:
        """Return whether a report was written."""
        return bool(self.facts.get("report"))

    @property
    def has_labels(self) -> bool:
        """Return whether labels were written."""
        return bool(self.facts.get("labels"))

    def checksums(self) -> dict[str, tuple[str, ...]]:
        """Return the checksums by which a journal knows each file; empty for a manifest or a damaged journal."""
        unfinished = self.facts.get(UNFINISHED)
        known = unfinished if isinstance(unfinished, Mapping) else {}
        return {name: tuple(sums) if isinstance(sums, list) else () for name, sums in known.items()}

    def stem_files(self) -> list[str]:
        """Return the names of the stems' files, ``{source}.{ext}``; empty for a damaged manifest.

        By name, not by path: a manifest that was moved must not point at other files.
        """
        stems = self.facts.get("stems")
        paths = stems if isinstance(stems, Mapping) else {}
        if not all(isinstance(path, str) for path in paths.values()):
            return []
        return [f"{Path(name).name}{Path(path).suffix}" for name, path in paths.items()]

    def order(self) -> str:
        """Return the checksum of what was asked for."""
        return str(_checked(self.facts, "order", text()))

    def asked(self) -> Mapping[str, Any] | None:
        """Return what was asked for; None if it is missing, as in manifests of other versions."""
        asked = self.facts.get("asked")
        return asked if isinstance(asked, Mapping) and isinstance(self.facts.get("mixture"), Mapping) else None

    def mixture_sha256(self) -> str:
        """Return the checksum of the mixture's file."""
        return str(_checked(_section(self.facts, "mixture"), "sha256", SHA256))

    def mixture_file(self) -> Path:
        """Return the path of the mixture's file."""
        return Path(_checked(_section(self.facts, "mixture"), "file", _any_text))

    def start_sample(self) -> int:
        """Return the first sample of the mixture that was separated."""
        if self.facts.get("excerpt") is None:
            return 0
        start_s: float = _checked(_section(self.facts, "excerpt"), "start_s", number(0, 2.0**40))
        sample_rate: int = _checked(_section(self.facts, "mixture"), "sample_rate", COUNT)
        return round(start_s * sample_rate)

    def gain(self) -> float:
        """Return the gain of all stems."""
        return float(_checked(self.facts, "gain", GAIN))

    def null_test_db(self) -> float:
        """Return the result of the null test, in dB."""
        return float(_checked(self.facts, "null_test_db", NULL_TEST_DB))

    def files(self) -> dict[str, StemFacts]:
        """Return the stems' files by the names of the stems."""
        checks: dict[str, Check] = {"file": _any_text, "sha256": SHA256}
        checks |= dict.fromkeys(("n_bytes", "n_samples", "n_channels", "sample_rate"), COUNT)
        found = {}
        for name, facts in _section(self.facts, "files").items():
            refuse_other_keys(facts, f"files.{name}", required=checks, known=checks)
            found[name] = StemFacts(**{key: check(facts[key], key) for key, check in checks.items()})
        return found

    def label_file(self) -> tuple[str, str] | None:
        """Return the path of the file of labels and its checksum; None if none was written."""
        if not self.has_labels:
            return None
        labels = _section(self.facts, "labels")
        return _checked(labels, "file", _any_text), _checked(labels, "sha256", SHA256)

    def outcome(self) -> KeptOutcome:
        """Return how the separation went."""
        return KeptOutcome(
            duration_s=_checked(_section(self.facts, "mixture"), "duration_s", LENGTH_S),
            explained_energy=self._explained_energy(),
            converged=_checked(self.facts, "converged", exactly(True, False)),
            message=_checked(self.facts, "message", text()),
            null_test_db=self.null_test_db(),
            gain=self.gain(),
        )

    def _explained_energy(self) -> float:
        """Return the explained energy; null stands for nan, which only a mixture has that is silent throughout."""
        shares = _section(self.facts, "explained_over_time").get("shares")
        if not isinstance(shares, list):
            raise ConfigError("explained_over_time.shares is no list; expected one of numbers")
        is_silent = all(share is None for share in shares)
        share = _checked(self.facts, "explained_energy", exactly(None) if is_silent else number(0, 1))
        return math.nan if share is None else float(share)


def read_record(file: Path) -> Record | None:
    """Read a manifest or a journal; None if there is none, or the file is something else."""
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        facts = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):  # the last for brackets nested without end
        return None
    return Record(facts) if isinstance(facts, dict) and "sepdict" in facts else None


def _any_text(value: Any, name: str) -> str:
    """Expect text; paths may hold letters that do not print."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {reprlib.repr(value)}; expected text")
    return value


def _section(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a mapping within facts."""
    section = facts.get(name)
    if not isinstance(section, Mapping):
        raise ConfigError(f"the manifest has no sound {name}; expected names and values")
    return section


def _checked(facts: Mapping[str, Any], name: str, check: Check) -> Any:
    """Return a fact that passes a check."""
    if name not in facts:
        raise ConfigError(f"the manifest has no {name}")
    return check(facts[name], name)
