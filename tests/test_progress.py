"""How far a whole job is: never backwards, at one in the end, and right about the time left where all goes on alike."""

import itertools
import re
from collections.abc import Mapping
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepdict.progress import PHASES, JobProgress, Progress, progress_of_part
from sepdict.separation.config import MaskEstimatorConfig, SeparationConfig
from sepdict.separation.plan import plan_separation

DURATIONS = st.dictionaries(st.text(max_size=3), st.none() | st.floats(0.1, 1e5), min_size=1, max_size=4)
EVENTS = st.tuples(st.sampled_from(sorted(PHASES)), st.integers(0, 9), st.sampled_from(["step", "well", "badly"]))


def step(stage: str, done: int, of: int = 10) -> Progress:
    return Progress(stage, done, of, 0.5)


@given(
    durations_s=DURATIONS,
    with_mask_estimator=st.booleans(),
    residual=st.booleans(),
    background_model=st.booleans(),
    n_dictionaries=st.integers(1, 3),
    events=st.lists(EVENTS, max_size=30),
)
def test_the_fraction_never_falls_whatever_happens_and_is_one_when_all_has_ended(
    durations_s: Mapping[str, float | None],
    with_mask_estimator: bool,
    residual: bool,
    background_model: bool,
    n_dictionaries: int,
    events: list[tuple[str, int, str]],
) -> None:
    job_progress = JobProgress(
        plan_separation(
            durations_s,
            SeparationConfig(
                mask_estimator=MaskEstimatorConfig() if with_mask_estimator else None,
                residual=residual,
                background_model=background_model,
            ),
            n_dictionaries=n_dictionaries,
        )
    )
    names = ["mask estimator", *durations_s]
    fractions = [job_progress.fraction]
    for stage, number, what in events:
        if what == "step":
            job_progress.advance(step(stage, number, 9))
        else:
            job_progress.end(names[number % len(names)], well=what == "well")
        fractions.append(job_progress.fraction)
    job_progress.end("mask estimator")
    for name in durations_s:
        job_progress.end(name)
        fractions.append(job_progress.fraction)
    assert fractions[0] == 0
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(fractions))
    assert max(fractions) <= 1 + 1e-12
    if not any(what == "badly" for *_, what in events):
        assert fractions[-1] == pytest.approx(1)


def test_the_time_left_is_right_at_a_constant_rate() -> None:
    job_progress = JobProgress({"mask estimator": {"estimate": 30.0}, "song": {"fit": 50.0, "adapt": 20.0}})
    seconds = 0.0
    for stage, cost in [("estimate", 30), ("fit", 50), ("adapt", 20)]:
        for number in range(1, cost + 1):
            job_progress.advance(step(stage, number, cost))
            seconds += 2.0
            assert job_progress.left_s(seconds) == pytest.approx(200 - seconds, abs=1e-9)
    assert job_progress.fraction == pytest.approx(1)


def test_nothing_is_said_of_the_time_left_before_anything_is_done() -> None:
    job_progress = JobProgress({"song": {"fit": 1.0}})
    assert (job_progress.fraction, job_progress.left_s(60.0)) == (0, None)


def test_a_mask_estimator_from_the_cache_takes_no_time() -> None:
    job_progress = JobProgress(plan_separation({"song": 60.0}, SeparationConfig(residual=True), n_dictionaries=2))
    job_progress.advance(step("fit", 5))
    assert job_progress.fraction == 0.5
    assert job_progress.left_s(10.0) == 10.0


def test_a_file_that_failed_takes_no_time() -> None:
    job_progress = JobProgress({name: {"fit": 1.0} for name in "abc"})
    job_progress.advance(step("fit", 10))
    job_progress.end("a")
    job_progress.end("b", well=False)
    assert job_progress.left_s(10.0) == pytest.approx(10.0)


def test_a_stage_that_ends_early_has_done_what_it_was_to_do() -> None:
    job_progress = JobProgress({name: {"train": 1.0} for name in "ab"})
    job_progress.advance(step("train", 2))
    job_progress.end("a")
    assert job_progress.fraction == 0.5


def test_segments_that_are_fitted_and_tuned_in_turn_bring_the_whole_forward() -> None:
    job_progress, fractions = JobProgress({"song": {"fit": 2.0, "adapt": 1.0}}), []
    for stage, number in [("fit", 3), ("adapt", 5), ("fit", 6), ("adapt", 10)]:
        job_progress.advance(step(stage, number))
        fractions.append(job_progress.fraction)
    assert fractions == pytest.approx([0.2, 0.5, 1.7 / 3, 1])


def test_files_that_end_out_of_order_count_with_their_lengths() -> None:
    durations_s = {"short": 60.0, "long": 120.0, "unheard": None}
    job_progress = JobProgress(plan_separation(durations_s, SeparationConfig(), n_dictionaries=2))
    fractions = []
    for number, name in enumerate(["long", "unheard", "short"]):
        job_progress.advance(step("tracks", number, 3))
        job_progress.end(name)
        fractions.append(job_progress.fraction)
    assert fractions == pytest.approx([2 / 4.5, 3.5 / 4.5, 1])


def test_a_step_costs_no_more_where_there_are_many_parts() -> None:
    def seconds(n_parts: int) -> float:
        job_progress, start = (
            JobProgress({name: {"tracks": 0.0, "fit": 1.0} for name in range(n_parts)}),
            process_time(),
        )
        for name in reversed(range(n_parts)):
            job_progress.end(name)
            job_progress.advance(step("tracks", n_parts - name, n_parts))
            assert job_progress.left_s(1.0) is not None
        return process_time() - start

    few_s, many_s = (min(seconds(n_parts) for _ in range(3)) for n_parts in (100, 2000))
    assert many_s < 100 * few_s  # at 20 times the parts; it would be 400 if each step went through all


def test_steps_of_parts_are_steps_of_the_whole() -> None:
    events: list[Progress] = []
    for index in range(3):
        report = progress_of_part(events.append, index, 3)
        report(step("fit", 1, 4))
        report(step("fit", 4, 4))
    assert [event.share for event in events] == pytest.approx([1 / 12, 4 / 12, 5 / 12, 8 / 12, 9 / 12, 1])


def test_every_stage_has_a_name() -> None:
    assert sorted(PHASES) == sorted(re.findall(r'``"(\w+)"``', Progress.__doc__ or ""))


def test_a_part_that_is_skipped_costs_nothing_and_stages_cost_what_their_parts_do() -> None:
    plan = {"estimator": {"estimate": 9.0}, "song": {"fit": 2.0, "adapt": 1.0}, "talk": {"fit": 3.0}}
    job_progress = JobProgress(plan)
    assert job_progress.costs == {"estimate": 9.0, "fit": 5.0, "adapt": 1.0}
    job_progress.advance(step("fit", 1))
    assert job_progress.costs == {"estimate": 0.0, "fit": 5.0, "adapt": 1.0}
