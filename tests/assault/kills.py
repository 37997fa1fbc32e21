"""Kill every piece of work at every call of the file system, and go on with it.

    uv run python tests/assault/kills.py --seconds 300 [--only TEXT]

Each round is a process forked from this one, which has loaded everything, and ended as SIGKILL ends it. Afterwards what
is there must be whole, the next run must finish the work, and nothing may be left over. Exits with 1 if a round failed.
"""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import torch
from moments import Moments, die
from scenarios import SAID, SCENARIOS, Scenario, leftovers

KILLED = 137


def killed_at(at: int, scenario: Scenario, folder: Path) -> str | None:
    """Work in a process of its own that dies before its n-th call; return which call that was, None if it ended."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            moments = Moments(at, lambda what: _tell(theirs, what))
            with moments.watched(), contextlib.suppress(*SAID):
                scenario.work(folder)
            code = 0
        os._exit(code)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"ended with {code}"
    assert (code == KILLED) == bool(said)
    return said or None


def _tell(pipe: int, what: str, write: Callable[[int, bytes], int] = os.write) -> None:
    """Name what was about to be done to the parent, and die; ``write`` is the real one, which nobody counts."""
    write(pipe, what.encode())
    die(what)


def survive(at: int, scenario: Scenario, prepared: Path, folder: Path) -> str | None:
    """Kill, look at what is there, and go on; return which call it was."""
    shutil.copytree(prepared, folder)
    what = killed_at(at, scenario, folder)
    scenario.law(folder, what is None)
    scenario.again(folder)
    scenario.law(folder, True)
    assert leftovers(folder) == [], f"left over after a kill at {what}"
    return what


@dataclass
class Count:
    """How many rounds there were, and which failed."""

    n_rounds: int = 0
    failed: list[str] = field(default_factory=list)


def assault(scenarios: Iterable[Scenario], *, seconds: float, seed: int) -> Count:
    """Kill at every call of every scenario, in random order, for so long."""
    count, end, rng = Count(), time.monotonic() + seconds, random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as top:
        rounds = []
        for number, scenario in enumerate(scenarios):
            prepared = Path(top, f"{number}")
            prepared.mkdir()
            scenario.prepare(prepared)
            with Moments().watched() as moments:
                scenario.work(Path(shutil.copytree(prepared, Path(top, f"{number}-undisturbed"))))
            rounds += [(scenario, prepared, at) for at in range(1, len(moments.seen) + 1)]
        rng.shuffle(rounds)
        print(f"{len(rounds)} rounds")
        for scenario, prepared, at in rounds:
            if time.monotonic() > end:
                break
            folder = Path(top, "round")
            try:
                survive(at, scenario, prepared, folder)
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                count.failed.append(f"{scenario}, killed at call {at}: {type(error).__name__} {error} ({last.name})")
                print(count.failed[-1], flush=True)
            shutil.rmtree(folder)
            count.n_rounds += 1
    return count


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the rounds")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a forked torch with more may hang
    start = time.monotonic()
    count = assault([each for each in SCENARIOS if given.only in each.name], seconds=given.seconds, seed=given.seed)
    print(f"{count.n_rounds} kills in {time.monotonic() - start:.0f} s, {len(count.failed)} failed")
    sys.exit(bool(count.failed))


if __name__ == "__main__":
    main()
