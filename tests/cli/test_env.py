"""`sepdict env` loads what it lists and runs what it names: what is broken is said, and ends nothing else."""

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from front_end import succeed
from sepdict_cli import env
from sepdict_cli.app import app

from sepdict.errors import LibraryError

ROOT = Path(__file__).parents[2]
BROKEN = {  # what a library does when it loads, and what is to be said of it
    "fine": ("print('of no interest'); x = 1", None),
    "symbol": ("raise OSError('Could not load') from OSError('undefined symbol: f')", "OSError: undefined symbol: f"),
    "lacking": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    "aborts": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ends Python with SIGSEGV"),
    "leaves": ("import os; os._exit(3)", "ends Python with exit code 3"),
    "quits": ("raise SystemExit(4)", "SystemExit: 4"),
    "last": ("", None),
}


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, (program, _) in BROKEN.items():
        (tmp_path / f"sepdict_test_{name}.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return [f"sepdict_test_{name}" for name in BROKEN]


def test_every_library_is_loaded_whatever_the_others_do(libraries: list[str]) -> None:
    answers = dict(env.load_apart(libraries))
    assert list(answers) == libraries
    assert list(answers.values()) == [fault for _, fault in BROKEN.values()]


def test_a_name_in_a_library_is_loaded_too(libraries: list[str]) -> None:
    answers = dict(env.load_apart(["sepdict_test_fine:x", "sepdict_test_fine:y"]))
    assert answers["sepdict_test_fine:x"] is None
    assert "has no attribute 'y'" in answers["sepdict_test_fine:y"]


def test_a_library_that_never_ends_to_load_is_left(libraries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "PATIENCE_S", 0.0)
    assert list(env.load_apart(["sepdict_test_fine"])) == [("sepdict_test_fine", "loads for more than 0 s")]


def test_an_answer_comes_before_the_next_library_is_loaded(libraries: list[str], tmp_path: Path) -> None:
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go on')!r}).exists(): time.sleep(0.01)"
    (tmp_path / "sepdict_test_waits.py").write_text(waits)
    answers = env.load_apart(["sepdict_test_fine", "sepdict_test_waits"])
    assert next(answers) == ("sepdict_test_fine", None)
    (tmp_path / "go on").touch()
    assert list(answers) == [("sepdict_test_waits", None)]


def test_each_library_is_shown_as_soon_as_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def load(modules: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for module in modules[:-1]:
            yield module, None
            shown.append((tmp_path / "out").read_text().splitlines()[-1].split(":")[0])
        yield modules[-1], {"device": "cpu"}

    monkeypatch.setattr(env, "load_apart", load)
    monkeypatch.setattr(env, "PACKAGES", {"numpy": "numpy", "torch": "torch"})
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        env.env()
    assert shown == ["numpy", "torch"]


@pytest.fixture
def few(libraries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command list one library that loads and two that do not, and load none that takes long."""
    load_apart = env.load_apart
    monkeypatch.setattr(
        env, "load_apart", lambda modules: [*load_apart(modules[:-1]), (modules[-1], {"device": "cpu"})]
    )
    monkeypatch.setattr(
        env, "PACKAGES", {"numpy": "sepdict_test_fine", "torchaudio": "sepdict_test_symbol", "x": "sepdict_test_aborts"}
    )


def test_what_does_not_load_is_named_with_the_reason_and_fails_the_command(few: None) -> None:
    result = typer.testing.CliRunner().invoke(app, ["env"])
    assert result.exit_code == 1
    assert result.stderr.startswith("sepdict: torchaudio, x do not load; ")
    assert len(result.stderr.splitlines()) == 1


def test_the_facts_are_there_beside_what_failed(few: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LibraryError):
        env.env()
    facts = dict(line.split(":", 1) for line in capfd.readouterr().out.splitlines())
    assert facts["torchaudio"].endswith("; does not load: OSError: undefined symbol: f")
    assert facts["x"].endswith("not installed; does not load: ends Python with SIGSEGV")
    assert "load" not in facts["numpy"]
    assert {"platform", "Python", "device", "ffmpeg", "ffprobe"} <= set(facts)


def test_json_holds_the_same(few: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LibraryError):
        env.env(as_json=True)
    assert {"torchaudio": "OSError: undefined symbol: f", "x": "ends Python with SIGSEGV"}.items() <= json.loads(
        capfd.readouterr().out
    )["problems"].items()


@pytest.mark.parametrize(
    ("program", "fact", "fault"),
    [
        ("echo 'ffmpeg version 7.1 Copyright (c)'", r"7\.1, .*/ffmpeg", None),
        ("echo 'libx.so.5: cannot open shared object file' >&2; exit 127", ".*/ffmpeg", "libx.so.5: cannot open"),
        ("exit 2", ".*/ffmpeg", "exit status 2"),
        (None, "not found: m4a and video cannot be read", None),
    ],
)
def test_ffmpeg_is_run_and_not_only_found(
    program: str | None, fact: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program is not None:
        (tmp_path / "ffmpeg").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = env.find_program("ffmpeg")
    assert re.fullmatch(fact, found.text)
    assert (found.problem is None) == (fault is None)
    assert (fault or "") in (found.problem or "")


def test_a_missing_or_broken_ffmpeg_fails_nothing(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "PACKAGES", {"numpy": "sepdict_test_fine"})
    (tmp_path / "ffprobe").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "ffprobe").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = dict(line.split(":", 1) for line in succeed("env"))
    assert facts["ffmpeg"].strip().startswith("not found")
    assert facts["ffprobe"].endswith("does not run: exit status 1")


def test_every_dependency_is_loaded() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=!~\[; ]", each)[0] for each in asked} | {"sepdict"} == set(env.PACKAGES)
