"""How far a whole job is: never backwards, at one in the end, and right about the time left where all goes on alike."""

import itertools
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepdict._core.course import PHASES, Course, plan_separation
from sepdict.progress import Progress

DURATIONS = st.dictionaries(st.text(max_size=3), st.none() | st.floats(0.1, 1e5), min_size=1, max_size=4)
EVENTS = st.tuples(st.sampled_from(sorted(PHASES)), st.integers(0, 9), st.sampled_from(["step", "well", "badly"]))


def step(stage: str, done: int, of: int = 10) -> Progress:
    return Progress(stage, done, of, 0.5)


@given(
    durations_s=DURATIONS,
    composes=st.booleans(),
    residual=st.booleans(),
    unknown=st.booleans(),
    events=st.lists(EVENTS, max_size=30),
)
def test_the_fraction_never_falls_whatever_happens_and_is_one_when_all_has_ended(
    durations_s: Mapping[str, float | None],
    composes: bool,
    residual: bool,
    unknown: bool,
    events: list[tuple[str, int, str]],
) -> None:
    course = Course(plan_separation(durations_s, composes=composes, residual=residual, unknown=unknown))
    names = ["composing", *durations_s]
    fractions = [course.fraction]
    for stage, number, what in events:
        if what == "step":
            course.hear(step(stage, number, 9))
        else:
            course.end(names[number % len(names)], well=what == "well")
        fractions.append(course.fraction)
    course.end("composing")
    for name in durations_s:
        course.end(name)
        fractions.append(course.fraction)
    assert fractions[0] == 0
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(fractions))
    assert max(fractions) <= 1 + 1e-12
    if not any(what == "badly" for *_, what in events):
        assert fractions[-1] == pytest.approx(1)


def test_the_time_left_is_right_at_a_constant_rate() -> None:
    course, seconds = Course({"composing": {"compose": 30.0}, "song": {"fit": 50.0, "tune": 20.0}}), 0.0
    for stage, cost in [("compose", 30), ("fit", 50), ("tune", 20)]:
        for number in range(1, cost + 1):
            course.hear(step(stage, number, cost))
            seconds += 2.0
            assert course.left_s(seconds) == pytest.approx(200 - seconds, abs=1e-9)
    assert course.fraction == pytest.approx(1)


def test_nothing_is_said_of_the_time_left_before_anything_is_done() -> None:
    course = Course({"song": {"fit": 1.0}})
    assert (course.fraction, course.left_s(60.0)) == (0, None)


def test_composing_that_is_remembered_takes_no_time() -> None:
    course = Course(plan_separation({"song": 60.0}, composes=True, residual=True, unknown=False))
    course.hear(step("fit", 5))
    assert course.fraction == 0.5
    assert course.left_s(10.0) == 10.0


def test_a_file_that_failed_takes_no_time() -> None:
    course = Course({name: {"fit": 1.0} for name in "abc"})
    course.hear(step("fit", 10))
    course.end("a")
    course.end("b", well=False)
    assert course.left_s(10.0) == pytest.approx(10.0)


def test_a_stage_that_ends_early_has_done_what_it_was_to_do() -> None:
    course = Course({name: {"train": 1.0} for name in "ab"})
    course.hear(step("train", 2))
    course.end("a")
    assert course.fraction == 0.5


def test_segments_that_are_fitted_and_tuned_in_turn_bring_the_whole_forward() -> None:
    course, fractions = Course({"song": {"fit": 2.0, "tune": 1.0}}), []
    for stage, number in [("fit", 3), ("tune", 5), ("fit", 6), ("tune", 10)]:
        course.hear(step(stage, number))
        fractions.append(course.fraction)
    assert fractions == pytest.approx([0.2, 0.5, 1.7 / 3, 1])


def test_files_that_end_out_of_order_count_with_their_lengths() -> None:
    durations_s = {"short": 60.0, "long": 120.0, "unheard": None}
    course = Course(plan_separation(durations_s, composes=True, residual=False, unknown=False))
    fractions = []
    for number, name in enumerate(["long", "unheard", "short"]):
        course.hear(step("tracks", number, 3))
        course.end(name)
        fractions.append(course.fraction)
    assert fractions == pytest.approx([2 / 4.5, 3.5 / 4.5, 1])


def test_every_stage_has_a_name() -> None:
    assert sorted(PHASES) == sorted(re.findall(r'``"(\w+)"``', Progress.__doc__ or ""))
