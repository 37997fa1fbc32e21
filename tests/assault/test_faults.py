"""Whatever fails, outputs are whole or absent, nobody claims a success that is none, and the next run is fine.

A few points of every piece of work in each run of the tests; every single one with ``-m assault``.
"""

import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from moments import CLEANING, Calls, Moments, fail
from scenarios import SAID, SCENARIOS, Scenario, leftovers, said_in_one_line

N_POINTS = 4  # of every piece of work, in each run of the tests
OF_EACH_KIND = (
    "a dictionary",
    "a sound as wav",
    "a track",
    "two tracks",
    "a mask estimator",
    "a training",
    "an upload",
)
PARTS = ["once", "from then on"]


@pytest.fixture
def prepared(tmp_path: Path, scenario: Scenario) -> Path:
    folder = tmp_path / "prepared"
    folder.mkdir()
    scenario.prepare(folder)
    return folder


def spread(n: int, n_points: int = N_POINTS) -> list[int]:
    """Choose points from 1 to n, the first and the last among them."""
    return sorted({round(1 + (n - 1) * point / (n_points - 1)) for point in range(n_points)})


def disturbed(folder: Path, scenario: Scenario, trouble: AbstractContextManager[object]) -> bool:
    """Work while something goes wrong; return whether success was claimed, of which the law must then hold."""
    done = True
    with trouble:
        try:
            scenario.work(folder)
        except SAID as error:
            done = False
            said_in_one_line(error)
        except MemoryError:  # as it is, where a single thing was asked for
            done = False
    scenario.law(folder, done)
    return done


def recovered(folder: Path, scenario: Scenario) -> None:
    """Work once more, as a user would."""
    scenario.again(folder)
    scenario.law(folder, True)
    assert leftovers(folder) == []


def n_moments(prepared: Path, scenario: Scenario) -> int:
    """Count, undisturbed, how often there is something that can fail."""
    folder = shutil.copytree(prepared, prepared.with_name("undisturbed"))
    with Moments().watched() as moments:
        scenario.work(folder)
    scenario.law(folder, True)
    assert leftovers(folder) == []
    return len(moments.seen)


def fail_at(points: Sequence[int], prepared: Path, scenario: Scenario, *, lasting: bool) -> None:
    for at in points:
        folder = shutil.copytree(prepared, prepared.with_name(str(at)))
        moments = Moments(at, fail, lasting=lasting)
        done = disturbed(folder, scenario, moments.watched())
        where = f"call {at} of {scenario}: {moments.happened}, {'done' if done else 'failed'}"
        assert moments.happened, where
        assert moments.happened in CLEANING or leftovers(folder) == [], where
        recovered(folder, scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_whichever_call_fails_outputs_are_whole_or_absent_and_the_next_run_recovers(
    prepared: Path, scenario: Scenario
) -> None:
    fail_at(spread(n_moments(prepared, scenario)), prepared, scenario, lasting=False)


@pytest.mark.assault
@pytest.mark.parametrize("lasting", [False, True], ids=PARTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_single_call_may_fail(prepared: Path, scenario: Scenario, lasting: bool) -> None:
    fail_at(range(1, 1 + n_moments(prepared, scenario)), prepared, scenario, lasting=lasting)


# --- a disk that is full, as libsndfile itself meets it


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let the operating system refuse what would make any file longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_at(sizes: Sequence[int], prepared: Path, scenario: Scenario) -> None:
    for n_bytes in sizes:
        folder = shutil.copytree(prepared, prepared.with_name(f"{n_bytes} bytes"))
        disturbed(folder, scenario, files_of_at_most(n_bytes))
        assert leftovers(folder) == [], f"{n_bytes} bytes of {scenario}"
        recovered(folder, scenario)


def largest(folder: Path) -> int:
    return max((path.stat().st_size for path in folder.rglob("*") if path.is_file()), default=0)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_wherever_the_disk_is_full_outputs_are_whole_or_absent(prepared: Path, scenario: Scenario) -> None:
    n_moments(prepared, scenario)
    size = largest(prepared.with_name("undisturbed"))
    fill_at([0, size // 2, size - 1], prepared, scenario)


@pytest.mark.assault
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_disk_may_be_full_at_any_byte(prepared: Path, scenario: Scenario) -> None:
    n_moments(prepared, scenario)
    size = largest(prepared.with_name("undisturbed"))
    fill_at(sorted({0, 1, 43, size - 1, *range(0, size, max(1, size // 60))}), prepared, scenario)


# --- memory that runs out, in any of the package's functions


def n_calls(prepared: Path, scenario: Scenario) -> int:
    folder = shutil.copytree(prepared, prepared.with_name("counted"))
    with Calls(0, MemoryError()).watched() as calls:
        scenario.work(folder)
    return calls.n_seen


def run_out_at(points: Sequence[int], prepared: Path, scenario: Scenario, error: BaseException) -> None:
    for at in points:
        folder = shutil.copytree(prepared, prepared.with_name(f"call {at}"))
        disturbed(folder, scenario, Calls(at, error).watched())
        recovered(folder, scenario)


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.name in OF_EACH_KIND], ids=str)
def test_wherever_memory_runs_out_outputs_are_whole_or_absent(prepared: Path, scenario: Scenario) -> None:
    n = n_calls(prepared, scenario)
    run_out_at(spread(n), prepared, scenario, MemoryError("out of memory"))


# Python reports what is raised while a generator is closed, and goes on: nothing more can be done there
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.assault
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_memory_may_run_out_anywhere(prepared: Path, scenario: Scenario) -> None:
    n = n_calls(prepared, scenario)
    run_out_at(range(1, n + 1, max(1, n // 200)), prepared, scenario, MemoryError("out of memory"))
