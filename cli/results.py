"""Results of tracks, printed when all are done: they wait in a temporary file, for there may be a million."""

import math
import os
import pickle
import tempfile
import textwrap
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .console import print_table, say
from .scores import SCORE_COLUMNS, score_cells, standard

if TYPE_CHECKING:
    from sepdict.batch.result import TrackResult

NOT_THERE = -1


class Results:
    """Results by the numbers of their tracks, as a context manager.

    Parameters
    ----------
    n_tracks : int

    Attributes
    ----------
    n_there, n_failed : int
        The number of results, and that of errors among them.
    """

    def __init__(self, n_tracks: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end of the with block
        self._places = array("q", [NOT_THERE]) * n_tracks
        self._first_missing = self.n_there = self.n_failed = 0

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the results."""
        self._file.close()

    def put(self, number: int, result: "TrackResult") -> None:
        """Put a result away."""
        self._places[number] = self._file.seek(0, 2)
        pickle.dump(result, self._file)
        self.n_there += 1
        self.n_failed += result.error is not None

    def __contains__(self, number: int) -> bool:
        return self._places[number] != NOT_THERE

    def __getitem__(self, number: int) -> "TrackResult":
        self._file.seek(self._places[number])
        result: TrackResult = pickle.load(self._file)
        return result

    @property
    def first_missing(self) -> int:
        """The number of the first track without a result."""
        while self._first_missing in self:
            self._first_missing += 1
        return self._first_missing


def print_results(results: Iterable["TrackResult"], *, as_json: bool, quiet: bool) -> None:
    """Print results of tracks."""
    if as_json:
        print_json(results)
    else:
        _print_tables((result for result in results if result.error is None), quiet=quiet)


def print_json(results: Iterable["TrackResult"]) -> None:
    """Print all that is known of every track, failed ones included, as a list."""
    from sepdict._core.fs import to_json

    before = "["
    for result in results:
        say(f"{before}\n{textwrap.indent(to_json(result.as_dict()), ' ')}", end="")
        before = ","
    say("[]" if before == "[" else "\n]")


def _print_tables(results: Iterable["TrackResult"], *, quiet: bool) -> None:
    """Print where the stems are and how good they are; unless quiet, with how each track went."""
    has_scores = False
    for result in results:
        title = str(result.mixture) if quiet else _title(result)
        pages = [str(page) for page in (result.report, result.labels) if page is not None]
        folder = os.path.commonpath([path.parent for path in result.stems.values()])
        if result.evaluation is not None:
            has_scores = True
            scores = {score.source: score_cells(score) for score in result.evaluation.scores}
            no_score = [""] * len(SCORE_COLUMNS)
            rows = [[str(path), *scores.get(source, no_score)] for source, path in result.stems.items()]
            mean = ["mean", *score_cells(result.evaluation.mean)]
            rows = [*rows, mean, *([page, *no_score] for page in pages)]
            print_table(title, ["stem", *SCORE_COLUMNS], rows, folder=folder)
            continue
        paths = [*map(str, result.stems.values()), *pages]
        if quiet:
            say("\n".join(paths))
        else:
            print_table(title, ["stem"], [[path] for path in paths], folder=folder)
    if has_scores and not quiet:
        say(standard())


def _how(result: "TrackResult") -> str:
    """Describe how a fit ended, or that the mixture is silent."""
    if math.isnan(result.explained_energy):
        return "silent, there was nothing to separate"
    return (
        f"explained energy {100 * result.explained_energy:.1f} %, null test {result.null_test_db:.0f} dB, "
        f"{'converged' if result.converged else result.message}"
    )


def _title(result: "TrackResult") -> str:
    """Describe how a track was separated."""
    if result.kept:
        return f"{result.mixture}: kept, its stems were there already"
    softer = f", all stems {-20 * math.log10(result.gain):.1f} dB softer, lest one clips" if result.gain < 1 else ""
    return (
        f"{result.mixture}: {result.duration_s:.1f} s in {result.seconds:.1f} s "
        f"(real-time factor {result.real_time_factor:.2f}), "
        f"{_how(result)}{softer}"
    )
