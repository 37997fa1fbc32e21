"""Collisions: mixtures whose files would overwrite or obstruct each other."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sepdict._core.names import normalized
from sepdict.batch.export import MIXTURE_EXTENSION
from sepdict.batch.layout import Track
from sepdict.errors import ConfigError


def collisions(tracks: Sequence[Track]) -> dict[Path, str]:
    """Find mixtures whose files would overwrite or obstruct each other, with the reason for each.

    Names that differ only in how letters and accents are put together count as the same.

    Raises
    ------
    ConfigError
        If that leaves none.
    """
    suspects = _suspects(tracks)
    owner: dict[str, Track] = {}
    found: list[dict[Path, str]] = []
    for track in suspects:
        for path in track.outputs:
            other = owner.setdefault(normalized(str(path)), track)
            if other is not track:
                found.append(_clash(f"would both be written to {path}; {_how_apart(other, track)}", other, track))
    for track in suspects:
        for path in track.earlier_files:
            other = owner.get(normalized(str(path)), track)
            if other is not track:
                what = f"{path}: is a stem of {track.mixture} by its manifest, and would be one of {other.mixture}"
                why = f"{what}; separate them into different folders"
                found.append(dict.fromkeys((other.mixture, track.mixture), why))
        for folder in track.folders:
            if above := owner.get(normalized(folder)):
                what = f"{above.mixture} would be written to {folder}, and {track.mixture} into it"
                why = f"{what}; rename one, or separate them into different folders"
                found.append(dict.fromkeys((above.mixture, track.mixture), why))
    first = {mixture: why for clash in reversed(found) for mixture, why in clash.items()}  # what was found first stays
    if first and len(suspects) == len(tracks) and len(first) == len({track.mixture for track in suspects}):
        raise ConfigError(next(iter(first.values())))
    return first


def _clash(what: str, first: Track, second: Track) -> dict[Path, str]:
    """Describe a clash to both of two mixtures, each with itself first."""
    return {
        one.mixture: f"{one.mixture} and {other.mixture} {what}" for one, other in [(first, second), (second, first)]
    }


def _how_apart(first: Track, second: Track) -> str:
    """Advise on what keeps the files of two mixtures apart."""
    how = "rename one, or separate them into different folders"
    if "{track}" not in first.output.filename:
        how += ", or have {track} in --filename"
    elif first.mixture.suffix != second.mixture.suffix:
        how += f", or have {{{MIXTURE_EXTENSION}}} in --filename"
    return how


def _suspects(tracks: Sequence[Track]) -> list[Track]:
    """Return all tracks that may meet another, and as good as no others: eight bytes stand for each path."""
    written, read, last = array("q"), array("q"), set[int]()
    for track in tracks:
        written.extend(_hashes(track.outputs))
        around = {*_hashes(track.earlier_files), *_hashes(track.folders)}
        read.extend(around - last)
        last = around
    hashes, counts = np.unique(np.frombuffer(written, np.int64), return_counts=True)
    met = {*hashes[counts > 1].tolist(), *np.intersect1d(hashes, np.frombuffer(read, np.int64)).tolist()}

    def meets(track: Track) -> bool:
        return not met.isdisjoint(_hashes([*track.outputs, *track.earlier_files, *map(Path, track.folders)]))

    return list(filter(meets, tracks)) if met else []


def _hashes(paths: Iterable[str | Path]) -> Iterator[int]:
    """Hash paths as they are compared."""
    return (hash(normalized(str(path))) for path in paths)
