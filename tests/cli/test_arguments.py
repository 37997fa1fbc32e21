"""Arguments that stand for nothing: the whole command does nothing, at once, and asks what may be meant."""

import subprocess
import sys
from pathlib import Path

import pytest
from front_end import fail, read_json, run, trained, tree, write_mixtures


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where there is a mixture, a folder without sound and a library with a hum."""
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    (tmp_path / "library").mkdir()
    trained("hum").save(tmp_path / "library" / "hum.safetensors")
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    write_mixtures(tmp_path / "here", "song")
    trained("hiss").save("hiss.safetensors")
    write_mixtures(tmp_path / "here" / "more", "solo")
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["separate", "song.wav", "hum", "-d", "hiss.safetensors"],
            "hum: no such file or folder; did you mean -d hum?",
        ),
        (
            ["separate", "song.wav", "hiss.safetensors", "-d", "hum"],
            "hiss.safetensors: is a dictionary's name; expected recordings; did you mean -d hiss.safetensors?",
        ),
        (["separate", "song.wav", "sing.wav", "-d", "hum"], "sing.wav: no such file or folder"),
        (["separate", "song.wav", "*.flac", "-d", "hum"], "*.flac: no such file or folder"),
        (["separate", "song.wav", "empty", "-d", "hum"], "empty: holds no audio file (subfolders aside)"),
        (["separate", "song.wav", "-d", "hum", "-d", "hiss"], "hiss: no such file, and no dictionary of that name"),
        (["separate", "song.wav", "-d", "hum", "--references", "truth"], "truth: no such file or folder"),
        (["train-dictionary", "song.wav", "sing.wav", "-o", "x.safetensors"], "sing.wav: no such file or folder"),
        (["train-dictionary", "song.wav", "hum", "-o", "x.safetensors"], "hum: no such file or folder"),
        (["train-dictionary", "--each", "empty", "more"], "empty: holds no audio file (subfolders aside)"),
        (
            ["train-dictionary", "song.wav", "-o", "x.safetensors", "--augment", "--background", "rain"],
            "rain: no such file or folder",
        ),
        (["inspect", "hum", "hiss.safetensors", "viola"], "viola: no such file, and no dictionary of that name"),
        (["inspect", "hum", "--learning-curve", "sing.wav"], "sing.wav: no such file or folder"),
        (["evaluate", "song", "truth"], "song: no such file or folder"),
        (["compare", "hum", "viola"], "viola: no such file, and no dictionary of that name"),
        (["synthesize", "viola.safetensors"], "viola.safetensors: cannot be read (No such file or directory)"),
        (["info", "viola"], "viola: no such file, and no dictionary of that name"),
    ],
    ids=" ".join,
)
def test_an_argument_that_stands_for_nothing_stops_the_command_before_it_does_anything(
    here: Path, arguments: list[str], said: str
) -> None:
    before = tree(here.parent)
    lines = fail(*arguments, n_lines=2 if arguments[0] == "evaluate" else 1).splitlines()
    assert lines[0].startswith(f"sepdict: {said}")
    assert tree(here.parent) == before


def test_as_json_files_that_fail_before_the_separation_are_named_too(here: Path) -> None:
    missing = run("separate", "song.wav", "sing.wav", "*.flac", "-d", "hum", "--json")
    assert missing.exit_code == 1
    assert {each["mixture"]: each["error"] for each in read_json(missing.stdout)} == {
        "sing.wav": "sing.wav: no such file or folder",
        "*.flac": "*.flac: no such file or folder",
    }
    (here / "separated" / "song").mkdir(parents=True)
    (here / "separated" / "song" / "hum.wav").touch()
    refused = run("separate", "song.wav", "more/solo.wav", "-d", "hum", "--json")
    assert refused.exit_code == 1
    errors = {each["mixture"]: each["error"] for each in read_json(refused.stdout)}
    assert set(errors) == {"song.wav", "more/solo.wav"}
    assert all("hum.wav: exists already" in error for error in errors.values())


REFUSED = """
import importlib.metadata, sys
(script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
app = script.load()
for line in sys.argv[1:]:
    try:
        app(line.split())
    except SystemExit as ended:
        print(ended.code, line, "loads torch" if "torch" in sys.modules else "is quick")
"""


def test_what_is_missing_is_refused_before_torch_loads(here: Path) -> None:
    uses = [
        "separate nosuch.wav -d hum",
        "separate song.wav -d nosuch",
        "separate song.wav -d nosuch.safetensors",
        "train-dictionary nosuch.wav -o x.safetensors",
        "evaluate nosuch nosuch",
        "inspect nosuch",
        "inspect hum --learning-curve nosuch",
        "info nosuch",
        "compare hum nosuch.safetensors",
        "synthesize nosuch",
    ]
    done = subprocess.run([sys.executable, "-c", REFUSED, *uses], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"1 {use} is quick" for use in uses]
