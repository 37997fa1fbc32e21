"""Resuming a batch: which tracks are there already, made with the same dictionaries and settings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sepdict._core.fs import sha256_of, to_json
from sepdict._core.version import __version__
from sepdict.batch.layout import Track
from sepdict.batch.manifest import read_record
from sepdict.batch.result import TrackResult
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError


def asked_for(dictionaries: Sequence[Dictionary], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect everything beside the mixture on which the stems depend, as JSON holds it."""
    checksums = {dictionary.source: dictionary.sha256 for dictionary in sorted(dictionaries, key=lambda d: d.source)}
    asked = {"dictionaries": checksums, "settings": settings, "sepdict": __version__}
    return dict(json.loads(to_json(asked)))


def order_of(asked: Mapping[str, Any]) -> str:
    """Compute the checksum of what was asked for."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def kept_result(track: Track, order: str) -> TrackResult | None:
    """Return the result of an earlier run, if all files exist, made from this very mixture to the same order."""
    record = read_record(track.manifest)
    if record is None or not all(path.is_file() for path in track.outputs):
        return None
    try:
        if (record.order(), record.mixture_sha256()) != (order, sha256_of(track.mixture)):
            return None
        outcome = record.outcome()
    except (OSError, ConfigError):  # it cannot be read, or is damaged or of another version
        return None
    result = TrackResult(
        track.mixture,
        kept=True,
        stems=track.stems,
        manifest=track.manifest,
        report=track.report,
        labels=track.labels,
        seconds=0.0,
    )
    return replace(result, **vars(outcome))


def differences(track: Track, asked: Mapping[str, Any]) -> list[str]:
    """Return the names of what an earlier run of a track was asked for otherwise; empty if there was none."""
    record = read_record(track.manifest)
    before = None if record is None else record.asked()
    if record is None or before is None:
        return ["another version of sepdict"] if track.manifest.is_file() and not track.is_unfinished else []
    now, then = _flat(asked), _flat(before)
    changed = [_change(name, then.get(name), now.get(name)) for name in sorted(now.keys() | then.keys())]
    named = [change for change in changed if change is not None]
    if not _is_of_same_mixture(track):
        named.append("the mixture has changed")
    if not named and not all(path.is_file() for path in track.outputs):
        named.append("files are missing")
    return named


def _change(name: str, then: Any, now: Any) -> str | None:
    """Describe a value that changed; None if it did not."""
    if then == now:
        return None
    what, _, which = name.partition(" ")
    return f"dictionary {which}" if what == "dictionaries" else f"{name.removeprefix('settings ')} {then}, now {now}"


def _is_of_same_mixture(track: Track) -> bool:
    """Return whether a track's manifest is of the mixture as it is now."""
    record = read_record(track.manifest)
    try:
        return record is not None and record.mixture_sha256() == sha256_of(track.mixture)
    except ConfigError:
        return False


def _flat(facts: Mapping[str, Any], *above: str) -> dict[str, Any]:
    """Return nested values by all the names that lead to them, joined by spaces."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, *above, name) if isinstance(value, Mapping) else {" ".join((*above, name)): value}
    return flat
