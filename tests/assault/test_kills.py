"""Killed at any call of the file system, work leaves what is whole, and the next run finishes it and tidies up.

Some kills in each run of the tests; `kills.py` kills at every call.
"""

import random
import sys
from pathlib import Path

import pytest
from kills import survive
from moments import Moments
from scenarios import SCENARIOS, Scenario

N_KILLS = 5
KILLED = ("a dictionary over an older one", "a sound as flac", "a track", "tracks side by side", "a mask estimator")


@pytest.mark.skipif(sys.platform != "linux", reason="a forked torch is known to work on Linux only")
@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.name in KILLED], ids=str)
def test_killed_anywhere_what_is_there_is_whole_and_the_next_run_finishes_and_tidies_up(
    tmp_path: Path, scenario: Scenario
) -> None:
    (tmp_path / "prepared").mkdir()
    scenario.prepare(tmp_path / "prepared")
    (tmp_path / "undisturbed").mkdir()
    scenario.prepare(tmp_path / "undisturbed")
    with Moments().watched() as moments:
        scenario.work(tmp_path / "undisturbed")
    points = random.Random(scenario.name).sample(range(1, len(moments.seen) + 1), N_KILLS)
    for at in points:
        assert survive(at, scenario, tmp_path / "prepared", tmp_path / str(at)), "it was not killed"
