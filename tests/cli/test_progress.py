"""How far a command is: a bar on a terminal, few lines in a pipe, of the whole job; the clock is made in the tests."""

import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import rich.console
from front_end import TINY, be_a_terminal_of_80, run, sound, trained, write_bad, write_mixtures
from sepdict_cli.console import ProgressReport

from sepdict.audio.writing import write_audio
from sepdict.progress import Progress


class Clock:
    """Tells the time that a test gives it."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def console() -> Any:
    run("--version")  # loads the app
    return sys.modules["sepdict_cli.console"]


def lines_of(stderr: str) -> list[str]:
    return [re.sub(", about .* left", "", line) for line in stderr.splitlines()]


def fractions_in(stderr: str) -> list[int]:
    return [int(percent) for percent in re.findall(r"^(\d+) %: ", stderr, re.MULTILINE)]


def drawn(report: Any) -> str:
    shown = io.StringIO()
    rich.console.Console(width=80, file=shown, force_terminal=True).print(report.bar.get_renderable())
    (line,) = re.sub("\x1b" + r"\[[\d;]*m", "", shown.getvalue()).splitlines()
    return line


def test_on_a_narrow_terminal_the_description_shrinks_and_phase_bar_and_time_left_stay(
    console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_a_terminal_of_80(monkeypatch)
    clock = Clock()
    plan = {"mask estimator": {"estimate": 90.0}, "song": {"fit": 8.0, "adapt": 2.0}}
    report = console.ProgressReport(quiet=False, plan=plan, clock=clock)
    report.begin(f"separating {'a very long way down/' * 5}song.wav (1 of 20)")
    assert re.search(r"━{20} 0 % -:--:--$", drawn(report))
    report.step(Progress("estimate", 10, 10, 0.5))
    clock.now_s += 3600
    report.step(Progress("adapt", 50, 100, 0.5))
    line = drawn(report)
    assert line.startswith("separating a very")
    assert len(line) <= 80
    assert re.search(r" adapting to the mixture [━╺╸]{20} 95 % 0:03:10$", line)
    clock.now_s += 70
    assert drawn(report).endswith(" 0:02:00")  # it is counted down between steps


def test_a_pipe_hears_of_what_begins_and_else_twice_a_minute_at_most(
    console: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    report = console.ProgressReport(quiet=False, plan={"a": {"fit": 1.0}, "b": {"fit": 1.0}}, clock=clock)
    for name in "ab":
        report.begin(f"separating {name}")
        for step in range(1, 101):
            clock.now_s += 0.5
            report.step(Progress("fit", step, 100, 0.5))
        report.job_progress.end(name)
    assert capsys.readouterr().err.splitlines() == [
        "separating a",
        "30 %: finding the sources, about 70 s left",
        "separating b",
        "80 %: finding the sources, about 20 s left",
    ]


@pytest.mark.parametrize(
    ("elapsed_s", "left"), [(1.0, "4 s"), (20.0, "80 s"), (60.0, "4 min"), (900.0, "60 min"), (3600.0, "4.0 h")]
)
def test_the_time_left_is_rounded_as_an_estimate_deserves(
    console: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    elapsed_s: float,
    left: str,
) -> None:
    monkeypatch.setattr(console, "SELDOM_S", 0.0)
    clock = Clock()
    report = console.ProgressReport(quiet=False, plan={"all": {"compare": 1.0}}, clock=clock)
    clock.now_s += elapsed_s
    report.step(Progress("compare", 1, 5, float("nan")))
    assert capsys.readouterr().err == f"20 %: comparing, about {left} left\n"


def test_quiet_is_silent_however_long_it_takes(console: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with console.ProgressReport(quiet=True, plan={"all": {"compare": 1.0}}, clock=clock) as report:
        report.begin("comparing")
        clock.now_s += 1e6
        report.step(Progress("compare", 1, 5, float("nan")))
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Any) -> list[str]:
    """The options that name two dictionaries, in a folder with recordings, where a pipe hears of every step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "SELDOM_S", 0.0)
    options = [["-d", str(trained(source).save(tmp_path / f"{source}.safetensors"))] for source in ("hiss", "hum")]
    return options[0] + options[1]


def test_a_batch_goes_from_nothing_to_all_of_it_through_its_files(tmp_path: Path, pair: list[str]) -> None:
    write_mixtures(tmp_path, "a", "c")
    write_bad(tmp_path / "b.wav", "text")
    result = run("separate", "a.wav", "b.wav", "c.wav", *pair)
    assert result.exit_code == 3
    fractions = fractions_in(result.stderr)
    assert fractions == sorted(fractions)
    assert fractions[0] < 10
    told = lines_of(result.stderr)
    begun = [index for index, line in enumerate(told) if line.startswith("separating ")]
    assert [told[index] for index in begun] == ["separating a.wav (1 of 3)", "separating c.wav (3 of 3)"]
    assert {line.partition(": ")[2] for line in told if "%" in line} == {"finding the sources"}
    again = run("separate", "a.wav", "c.wav", *pair, "--skip-existing")
    assert again.stderr == ""


def one_after_another_from_the_last(
    work: Callable[[Any], Any], tasks: Sequence[Any], *, on_result: Callable[[int, Any], None], **_: Any
) -> None:
    """Do what `in_processes` does, in this one, and end in another order."""
    results = [work(task) for task in reversed(tasks)]
    for number, result in zip(reversed(range(len(tasks))), results, strict=True):
        on_result(number, result)


def test_several_at_a_time_count_when_they_are_done(
    tmp_path: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.batch.executors.in_processes", one_after_another_from_the_last)
    write_mixtures(tmp_path, "a", "c", "d")
    write_bad(tmp_path / "b.wav", "text")
    result = run("separate", "a.wav", "b.wav", "c.wav", "d.wav", *pair, "-j", "2")
    assert [line for line in lines_of(result.stderr) if not line.startswith("sepdict: ")] == [
        "separating 4 files, several at a time",
        "0 %: 0 of 4 done",
        "25 %: 1 of 4 done",
        "50 %: 2 of 4 done",
        "67 %: 3 of 4 done, 1 failed",  # the one that failed counts no more
        "100 %: 4 of 4 done, 1 failed",
    ]


def test_many_files_show_how_many_failed_and_after_a_while_the_pace(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with ProgressReport(quiet=False, plan={"a": {"fit": 1.0}, "b": {"fit": 1.0}}, clock=lambda: now[0]) as report:
        for now[0], part, duration_s in [(40.0, "a", 600.0), (80.0, "b", None)]:
            report.count(part, duration_s)
            report.step(Progress("tracks", 1, 2, float("nan")))
    assert capsys.readouterr().err.splitlines() == [
        "50 %: 1 of 2 done, 15 hours of audio an hour, about 40 s left",
        "100 %: 1 of 2 done, 1 failed, 7.5 hours of audio an hour, about 0 s left",
    ]


def test_each_training_is_a_part_of_the_whole(tmp_path: Path, pair: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})
    for name in ("violin", "silence", "piano"):
        (tmp_path / name).mkdir()
        write_audio(tmp_path / name / "solo.wav", sound(n_samples=9000))
    write_bad(tmp_path / "silence" / "solo.wav", "text")
    result = run("train-dictionary", "--each", "violin", "silence", "piano", "-o", "made")
    assert result.exit_code == 3
    assert fractions_in(result.stderr) == [8, 17, 25, 33, 62, 75, 88, 100]
    assert re.search(r"^training violin \(1 of 3\)\n8 %: learning, divergence 0", result.stderr, re.MULTILINE)
