"""What every command has in common: wrong uses, exit codes, results that cannot be printed, completion in shells."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest
import typer.testing
from front_end import run, succeed, trained

from sepdict.reports.plots import PICTURE_FORMATS
from sepdict.training.config import TrainingConfig

SCRIPT = Path(sys.executable).with_name("sepdict")
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize(
    ("arguments", "said", "command"),
    [
        (["sing"], ["no such command 'sing'"], "sepdict"),
        (["separat"], ["'separat'", "Did you mean 'separate'?"], "sepdict"),
        (["train"], ["no such command 'train'. Did you mean 'train-dictionary'?"], "sepdict"),
        (["dictionary"], ["no such command 'dictionary'. Did you mean 'train-dictionary'?"], "sepdict"),
        (["help", "sing"], ["no such command 'sing'"], "sepdict"),
        (["--loud", "list"], ["--loud"], "sepdict"),
        (["-v"], ["missing command"], "sepdict"),
        (["separate", "x.wav"], ["'--dictionary' / '-d': missing", "--labels"], "sepdict separate"),
        (
            ["separate", "x.wav", "--keep", "-d", "a"],
            ["nothing to keep without --labels"],
            "sepdict separate",
        ),
        (["separate", "x.wav", "-d", "a", "--guide", "x"], ["'x'; expected NAME=FILE"], "sepdict separate"),
        (["separate", "x", "-d", "a", "--guide", "a=x", "--guide", "a=y"], ["one guide for each"], "sepdict separate"),
        (["separate", "-d", "x"], ["missing argument 'MIX'"], "sepdict separate"),
        (["separate", "x.wav", "-d"], ["'-d' requires an argument"], "sepdict separate"),
        (["-v", "separate", "x.wav", "-d", "a", "--job", "2"], ["--job", "--jobs"], "sepdict separate"),
        (["inspect", "x", "--format", "gif"], ["'--format'", "'png', 'svg'", "'gif'"], "sepdict inspect"),
        (["info", "a", "b"], ["unexpected", "b"], "sepdict info"),
        (["train-dictionary", __file__, "-o", "a.safetensors", "-r", "x"], ["'x' is none"], "sepdict train-dictionary"),
    ],
)
def test_a_wrong_use_is_one_line_that_says_where_to_read_on(
    arguments: list[str], said: list[str], command: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("sepdict: ")
    assert line.endswith(f" see {command} --help")
    assert all(part in line for part in said), line


MIX = ["separate", "x.wav", "-d", "a"]
TIMES = "is no time; expected seconds, m:ss or h:mm:ss, as in 90, 1:30 or 0:01:30.5;"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*MIX, "--start", "half"], f"'--start': 'half' {TIMES}"),
        ([*MIX, "--start", "-1"], f"'--start': '-1' {TIMES}"),
        ([*MIX, "--duration", "1:60"], f"'--duration': '1:60' {TIMES}"),
        ([*MIX, "--segment", "2.5"], "'--segment': '2.5'; expected 3 or more;"),
        ([*MIX, "--segment", "long"], "'--segment': 'long'; expected a number;"),
        ([*MIX, "--jobs", "0"], "'--jobs' / '-j': '0'; expected 1 or more;"),
        ([*MIX, "--jobs", "2.5"], "'--jobs' / '-j': '2.5'; expected a whole number;"),
        ([*MIX, "--format", "gif"], "'--format': 'gif' is not one of 'wav', 'flac', 'mp3', 'ogg';"),
        ([*MIX, "--bit-depth", "12"], "'--bit-depth': '12' is not one of '16', '24', 'float';"),
        ([*MIX, "--residual", "-q"], "'--residual': '-q' stands where a name was expected, such as rest;"),
        (["train-dictionary", "a", "--steps", "0"], "'--steps': '0'; expected 1 or more;"),
        (["train-dictionary", "a", "--code-size", "many"], "'--code-size': 'many'; expected a whole number;"),
        (["train-dictionary", "a", "--templates", "-1"], "'--templates': '-1'; expected 0 or more;"),
        (["train-dictionary", "a", "--batch-frames", "1e3"], "'--batch-frames': '1e3'; expected a whole number;"),
        (["train-dictionary", "a", "--seed", "-1"], "'--seed': '-1'; expected 0 or more;"),
        (["compare", "a", "b", "--seed", "x"], "'--seed': 'x'; expected a whole number;"),
        (["synthesize", "a", "--seconds", "long"], "'--seconds': 'long'; expected a number;"),
        (["serve", "--port", "http"], "'--port': 'http'; expected a whole number;"),
        (["serve", "--port", "99999"], "'--port': '99999'; expected 65535 or less;"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_value_is_refused_by_name_in_our_own_words(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sepdict: invalid value for {said} see sepdict {arguments[0]} --help")
    assert not {"Input should", "Value error", "parse string"} & set(re.findall(r"\w+ \w+", result.stderr))


PATHS = [
    *(("MIX", ["separate", "", "-d", "a"]), ("--dictionary", ["separate", "x.wav", "-d", ""])),
    *(
        (option, ["separate", "x.wav", "-d", "a", option, ""])
        for option in ("--corrections", "--guide", "--references")
    ),
    ("--labels", ["separate", "x.wav", "--labels="]),
    ("--output", ["separate", "x.wav", "-d", "a", "-o", ""]),
    ("--labels", ["separate", "x.wav", "--labels", "song.txt", "--labels", ""]),
    *(("SOLOS", ["train-dictionary", "x.wav", ""]), ("--output", ["train-dictionary", "x.wav", "-o", ""])),
    ("--background", ["train-dictionary", "x.wav", "-o", "a.safetensors", "--augment", "--background", ""]),
    *(("ESTIMATES", ["evaluate", "", "x"]), ("REFERENCES", ["evaluate", "x", ""])),
    *((option, ["evaluate", "x", "x", option, ""]) for option in ("--mixture", "--report")),
    *(("FILE|NAME", [command, ""]) for command in ("info", "inspect", "synthesize", "compare")),
    *(("--output", [command, "a", "--output", ""]) for command in ("inspect", "synthesize")),
    *(("--learning-curve", ["inspect", "a", "--learning-curve", ""]), ("DIR", ["check", ""])),
]


@pytest.mark.parametrize(("name", "arguments"), PATHS, ids=str)
def test_an_empty_path_is_refused_by_name_and_does_not_stand_for_the_present_folder(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert result.stderr.startswith(f"sepdict: invalid value for '{name}'")
    assert re.search(rf": it is empty; expected \S+; see sepdict {arguments[0]} --help\n$", result.stderr)


@pytest.mark.parametrize("arguments", [["help"], ["-v", "help"], ["help", "separate"], ["help", "list"]])
def test_help_is_a_command_too(arguments: list[str]) -> None:
    *_, last = arguments
    assert succeed(*arguments) == succeed(*([] if last == "help" else [last]), "--help")


def test_every_command_is_summed_up_in_one_whole_line() -> None:
    lines = succeed("--help")
    summaries = lines[lines.index("Commands:") + 1 :]
    assert [line.split()[0] for line in summaries] == list(commands())
    assert all(line.endswith(".") and not line.endswith("...") for line in summaries)


def commands() -> dict[str, Callable[..., None]]:
    """The functions behind the commands."""
    run("--version")  # loads the app
    found: dict[str, Callable[..., None]] = sys.modules["sepdict_cli.app"].COMMANDS
    return found


def test_every_command_can_be_quiet_and_print_json() -> None:
    lacking = {name: {"quiet", "as_json", "verbose"} - set(signature(f).parameters) for name, f in commands().items()}
    assert {name: options for name, options in lacking.items() if options} == {}


@pytest.mark.parametrize("command", ["train-dictionary", "separate", "compare", "evaluate", "info"])
def test_help_does_not_name_types_of_arguments_in_words_of_python(command: str) -> None:
    arguments = "\n".join(succeed(command, "--help")).partition("Arguments:")[2].partition("Options:")[0]
    assert arguments.strip()
    assert "<" not in arguments


def test_what_the_help_of_training_shows_as_defaults_are_those_of_the_settings() -> None:
    run("--version")
    options, config = sys.modules["sepdict_cli.options.training"], TrainingConfig()
    text = " ".join(" ".join(succeed("train-dictionary", "--help")).split())
    for defaults, settings in [(options.DEFAULTS, config), (options.NETWORK_DEFAULTS, config.network)]:
        for name, shown in defaults.items():
            value = getattr(settings, name)
            assert shown == (",".join(map(str, value)) if isinstance(value, tuple) else str(value)), name
            assert f": {shown}]" in text


@pytest.mark.slow
def test_the_installed_command_says_the_same() -> None:
    arguments = ["separate", "x.wav", "-d"]
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", run(*arguments).stderr)


def test_a_program_that_calls_the_command_gets_its_errors() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
    assert script.load()(["--version"], standalone_mode=False) == 0
    with pytest.raises(Exception, match="sing"):
        script.load()(["sing"], standalone_mode=False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is always full")
@pytest.mark.parametrize(("command", "unbuffered"), [("list", ""), ("--version", ""), ("--version", "1")])
def test_results_that_cannot_be_printed_are_one_line_and_a_failure(command: str, unbuffered: str) -> None:
    environment = BUFFERED | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [SCRIPT, command], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    assert (done.returncode, done.stderr) == (1, "sepdict: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is always full")
def test_words_that_cannot_be_printed_change_no_exit_code() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([SCRIPT, "sing"], stdout=subprocess.PIPE, stderr=full, env=BUFFERED, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "--help"])
def test_a_reader_who_has_gone_gets_no_more_words(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([SCRIPT, command], stdout=writing, stderr=subprocess.PIPE, env=BUFFERED, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three dictionaries, one of them with a name that shells would have to quote."""
    folder = tmp_path / "library"
    monkeypatch.setenv("SEPDICT_LIBRARY", str(folder))
    folder.mkdir()
    for name in ("viola", "violin", "violin two"):
        trained("hiss").save(folder / f"{name}.safetensors")
    return folder


def completed(*words: str) -> list[str]:
    """Complete the last word as bash would have it completed."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
    environment = {
        "_SEPDICT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["sepdict", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = typer.testing.CliRunner().invoke(script.load(), [], env=environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


def test_commands_options_and_choices_complete() -> None:
    assert completed("se") == ["separate", "serve"]
    assert completed("separate", "--ref") == ["--references"]
    assert completed("inspect", "x", "--format", "") == list(PICTURE_FORMATS)
    assert completed("separate", "x.wav", "--device", "c") == ["cpu", "cuda"]


@pytest.mark.parametrize("command", ["info", "compare", "synthesize", "inspect"])
def test_dictionaries_complete_by_name(library: Path, command: str) -> None:
    assert completed(command, "vi") == ["viola", "violin"]


@pytest.mark.parametrize("word", ["data/", "piano", "/"])
def test_what_no_dictionary_begins_with_is_left_to_the_shell_as_a_file(library: Path, word: str) -> None:
    assert completed("info", word) == completed("separate", word) == []


def test_a_library_that_cannot_be_looked_into_completes_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "file"))
    assert completed("info", "") == []


def test_completing_a_dictionary_loads_no_torch(library: Path) -> None:
    program = (
        "import sys; from sepdict_cli.options.completion import complete_dictionary; "
        "print(*complete_dictionary('violi'), *{'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["violin"]


BASH = """
eval "$(_SEPDICT_COMPLETE=source_bash sepdict)"
COMP_WORDS=(sepdict info violi)
COMP_CWORD=2
_sepdict_completion sepdict
echo "${COMPREPLY[@]}"
complete -p sepdict
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_the_script_that_it_is_given(library: Path) -> None:
    environment = os.environ | {"PATH": f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", BASH], capture_output=True, text=True, env=environment, check=True)
    names, rule = done.stdout.splitlines()
    assert names == "violin"
    assert "-o default" in rule  # file names, where nothing else fits


@pytest.mark.parametrize("module", ["sepdict", "sepdict_cli"])
def test_the_command_is_also_a_module(module: str) -> None:
    arguments = [sys.executable, "-m", module, "separate", "--nonsense"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("; see sepdict separate --help\n")
