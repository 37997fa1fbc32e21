"""Very many mixtures: what a run keeps of each is its path and a few numbers."""

import json
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pytest
from front_end import trained
from sepdict_cli.results import Results, print_results

from sepdict.batch.config import BatchConfig
from sepdict.batch.executors import LocalProcesses
from sepdict.batch.layout import find_mixtures
from sepdict.batch.plan import BatchPlan, plan_batch
from sepdict.batch.result import TrackResult
from sepdict.batch.resume import Tracks

N_CALLS = 12  # deep, at most, until memory is allocated
MOST_BYTES = 400  # of a mixture, whose path has some 100 letters in the tests; its track would take 1,500 more


def write_empty(folder: Path, n_files: int) -> Path:
    for number in range(n_files):
        file = folder / str(number % 7) / f"{number:06}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def test_of_a_mixture_that_waits_little_more_than_its_path_is_kept(tmp_path: Path) -> None:
    dictionaries = [trained("hiss")]

    def planned(n_files: int) -> BatchPlan:
        mixtures = find_mixtures(write_empty(tmp_path / str(n_files), n_files), recursive=True)
        return plan_batch(Tracks(mixtures, tmp_path / "out", ["hiss", "hum"], BatchConfig()), dictionaries)

    def kept_bytes(n_files: int) -> int:
        tracemalloc.start(N_CALLS)
        plan = planned(n_files)
        own = tracemalloc.Filter(inclusive=True, filename_pattern=__file__, all_frames=True)  # not of other threads
        kept = tracemalloc.take_snapshot().filter_traces([own])
        tracemalloc.stop()
        assert len(plan.pairs) == n_files
        return sum(trace.size for trace in kept.traces)

    planned(10)  # what is loaded and cached at first
    more, fewer = (min(kept_bytes(n_files) for _ in range(2)) for n_files in (500, 100))  # Python's own table of names,
    assert more - fewer < 400 * MOST_BYTES  # which is of megabytes after many other tests, may have to grow, but once


class Outcome:
    """A result, which a set of weak references may hold."""


def test_a_result_is_let_go_when_it_has_been_told(tmp_path: Path) -> None:
    alive: weakref.WeakSet[Outcome] = weakref.WeakSet()
    most = 0

    def work(_: Any, __: int) -> Outcome:
        alive.add(outcome := Outcome())
        return outcome

    def look(_: int, __: Outcome) -> None:
        nonlocal most
        most = max(most, len(alive))

    LocalProcesses().carry_out(
        work, range(20), tmp_path, died=lambda *_: Outcome(), on_result=look, on_progress=lambda _: None
    )
    assert 0 < most <= 2


def test_results_come_back_by_number_in_whatever_order_they_were_put_away() -> None:
    with Results(4) as results:
        for number in (2, 0, 3):
            results.put(number, TrackResult(Path(f"{number}.wav"), "bad" if number == 3 else None))
        assert [number in results for number in range(4)] == [True, False, True, True]
        assert (results.n_there, results.n_failed, results.first_missing) == (3, 1, 1)
        assert [results[number].mixture for number in (0, 2, 3)] == [Path("0.wav"), Path("2.wav"), Path("3.wav")]
        results.put(1, TrackResult(Path("1.wav")))
        assert results[1].mixture == Path("1.wav")


@pytest.mark.parametrize("n_results", [0, 1, 3])
def test_json_that_is_printed_piece_by_piece_is_the_whole_list(
    capsys: pytest.CaptureFixture[str], n_results: int
) -> None:
    results = [TrackResult(Path(f"{number}.wav"), 'two\nlines, "quoted"') for number in range(n_results)]
    print_results(iter(results), as_json=True, quiet=True)
    printed = capsys.readouterr().out
    facts = [json.loads(json.dumps(result.as_dict(), default=str), parse_constant=lambda _: None) for result in results]
    assert printed == json.dumps(facts, indent=1) + "\n"
