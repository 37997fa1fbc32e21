"""Learning before a separation: sources from labels, and to tell sources apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .console import note

if TYPE_CHECKING:
    from sepdict.audio.labels import Label
    from sepdict.batch.config import BatchConfig
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.progress import OnProgress

LITTLE_S = 5.0  # marked of a source: with less, more gains the most


def names_of(labels: Sequence["Label"]) -> list[str]:
    """Return the names in labels, each once, in their order."""
    return list(dict.fromkeys(label.name for label in labels))


def learn(
    recording: Path,
    labels: Sequence["Label"],
    dictionaries: Sequence["Dictionary"],
    config: "BatchConfig",
    *,
    keep: bool,
    quiet: bool,
    report: "OnProgress",
) -> tuple[list["Dictionary"], "BatchConfig"]:
    """Learn the sources that labels mark in a recording; return all dictionaries, and the settings that fit them."""
    from sepdict.dictionaries.library import EXTENSION, library_folder
    from sepdict.marking.learning import MarkingConfig, learn_from_labels

    given = [dictionary.source for dictionary in dictionaries]
    files = {name: library_folder() / f"{name}{EXTENSION}" for name in names_of(labels) if keep and name not in given}
    if not quiet:
        durations_s = {name: [label.duration_s for label in labels if label.name == name] for name in names_of(labels)}
        note("\n".join([f"marked in {recording}: {_amounts(durations_s)}", *_advice(durations_s, given)]))
    marking = MarkingConfig()
    device = config.separation.device
    learned = learn_from_labels(recording, labels, dictionaries, marking, device=device, on_progress=report)
    for dictionary in learned:
        if dictionary.source in files:
            _keep(dictionary, files[dictionary.source], overwrite=config.overwrite)
    return learned, replace(config, separation=marking.fitting(config.separation, has_dictionaries=bool(given)))


def _keep(dictionary: "Dictionary", file: Path, *, overwrite: bool) -> None:
    """Put a dictionary into the library, unless it is there already."""
    from sepdict._core.fs import refuse_existing
    from sepdict.dictionaries.dictionary import Dictionary

    if file.exists() and not overwrite:
        if Dictionary.load(file).sha256 == dictionary.sha256:
            return
        refuse_existing(file, option="or do without --keep")
    file.parent.mkdir(parents=True, exist_ok=True)
    dictionary.save(file)


def _amounts(durations_s: Mapping[str, Sequence[float]]) -> str:
    """Describe how much is marked of each source, given the durations of its moments."""
    amounts = []
    for name, moments_s in durations_s.items():
        moments = f" in {len(moments_s)} moments" if len(moments_s) > 1 else ""
        amounts.append(f"{name} {sum(moments_s):.1f} s{moments}")
    return ", ".join(amounts)


def _advice(durations_s: Mapping[str, Sequence[float]], given: Sequence[str]) -> list[str]:
    """Advise where there is little to learn from."""
    little = [name for name, moments_s in durations_s.items() if sum(moments_s) < LITTLE_S and name not in given]
    advice = [f"note: that is little of {', '.join(little)}; ten seconds give clearly better stems"] if little else []
    if len({*durations_s, *given}) == 1:
        advice.append("note: one source is known; all else goes to one other stem")
    return advice


def telling_apart(sources: Sequence[str]) -> str:
    """Describe the training of a mask estimator."""
    *first, last = sources if len(sources) > 1 else [*sources, "other sounds"]
    return f"telling {', '.join(first)} and {last} apart (once, then it is remembered)"
