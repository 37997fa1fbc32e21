"""The `sepdict` command as a whole, and `info` and `evaluate`, which only look."""

import importlib.metadata
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forgery import RECORDING
from front_end import (
    TINY,
    be_a_terminal_of_80,
    constant_bss_eval,
    error_lines,
    fail,
    read_json,
    run,
    sound,
    succeed,
    trained,
    tree,
    write_mixtures,
    write_references,
)

from sepdict._core.names import visible
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.training.train import train_dictionary

COMMANDS = ["train-dictionary", "separate", "evaluate", "info", "synthesize", "inspect", "compare"]
ESCAPE = "\x1b"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return trained("hiss").save(tmp_path / "hiss.safetensors")


LOOK = """
import importlib.metadata, sys
(script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
app = script.load()
for arguments in (["--help"], ["--version"], [], *([command, "--help"] for command in sys.argv[1:])):
    try:
        app(arguments)
    except SystemExit:
        pass
print("LOADED", *sorted({module.partition(".")[0] for module in sys.modules}))
"""


def test_help_and_version_load_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK, *COMMANDS], capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert sum(line.startswith("Usage: ") for line in lines) >= 1 + len(COMMANDS)
    heavy = {"torch", "torchaudio", "numpy", "scipy", "librosa", "matplotlib", "soundfile", "soxr", "rich", "sepdict"}
    assert not heavy & set(loaded.split())


def test_the_version_is_the_installed_one() -> None:
    assert succeed("--version") == [f"sepdict {importlib.metadata.version('sepdict')}"]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command(option: str) -> None:
    text = "\n".join(succeed(option))
    assert all(re.search(rf"^  {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert ESCAPE not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_says_what_it_does(command: str) -> None:
    usage, _, *lines = succeed(command, "--help")
    assert usage.startswith(f"Usage: sepdict {command} ")
    assert " ".join(lines[: lines.index("")]).endswith(".")  # the first paragraph


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_nothing_at_all_shows_help_and_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output


@pytest.mark.parametrize("arguments", [["sing"], ["--loud"], ["info"], ["info", "a", "b"], ["evaluate", "a"]])
def test_a_wrong_use_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, "Traceback" in result.output) == (2, False)


@pytest.mark.parametrize("arguments", [["--verbose", "info", "no"], ["info", "no", "-v"], ["-v", "info", "no", "-v"]])
def test_verbose_shows_where_an_error_came_from_wherever_it_stands(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("sepdict: no: no such file, and no dictionary of that name")


def test_an_unexpected_error_says_so_in_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_: Path) -> Dictionary:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(Dictionary, "load", stumble)
    assert fail("info", file) == (
        "sepdict: ZeroDivisionError: division by zero (unexpected; --verbose shows where it came from)"
    )


def test_a_system_error_is_one_line_with_the_files_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(path: Path) -> Dictionary:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Dictionary, "load", stumble)
    assert fail("info", file) == f"sepdict: {file}: Permission denied"


def test_ctrl_c_exits_with_130(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Path) -> Dictionary:
        raise KeyboardInterrupt

    monkeypatch.setattr(Dictionary, "load", interrupt)
    result = run("info", file)
    assert (result.exit_code, result.stdout, error_lines(result)) == (130, "", ["sepdict: interrupted"])


@pytest.mark.parametrize("color", ["FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"])
def test_a_pipe_gets_plain_lines_whatever_the_environment_says_of_colors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, color: str
) -> None:
    monkeypatch.setenv(color, "1")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})
    run("--version")  # loads the app
    monkeypatch.setattr("sepdict_cli.console.SELDOM_S", 0.0)
    write_audio(tmp_path / "solo.wav", sound(n_samples=9000))
    write_mixtures(tmp_path, "song")
    file, out = tmp_path / "hiss.safetensors", tmp_path / "out"
    results = [
        run("train-dictionary", tmp_path / "solo.wav", "-o", file),
        run("info", file),
        run("separate", tmp_path / "song.wav", "-d", file, "-o", out),
    ]
    assert [result.exit_code for result in results] == [0, 0, 0]
    for result in results:
        assert not {ESCAPE, "\r", "━"} & set(result.stdout + result.stderr)
    assert results[2].stdout.splitlines()[1:] == [str(out / "song" / f"{name}.wav") for name in ("hiss", "residual")]
    assert re.findall(r"^(\d+) %: learning, divergence \d", results[0].stderr, re.MULTILINE) == [
        "25",
        "50",
        "75",
        "100",
    ]


def test_a_terminal_gets_a_bar_and_a_pipe_beside_it_the_paths(tmp_path: Path, file: Path) -> None:
    write_mixtures(tmp_path, "a", "b")
    terminal, its_end = pty.openpty()
    script = Path(sys.executable).with_name("sepdict")
    command = [str(script), "separate", "a.wav", "b.wav", "-d", str(file)]
    environment = os.environ | {"TERM": "xterm", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=its_end, text=True
    ) as process:
        os.close(its_end)
        shown = b"".join(_read_all(terminal)).decode()
        stdout, _ = process.communicate()
    assert process.returncode == 0
    assert ESCAPE in shown
    assert re.search(
        r"separating (a\.wav \(1|b\.wav \(2) of 2\)", shown
    )  # a quick machine is done before a bar is drawn
    assert ESCAPE not in stdout
    assert [line for line in stdout.splitlines() if line.startswith("/")] == [
        str(tmp_path / "separated" / track / f"{name}.wav") for track in ("a", "b") for name in ("hiss", "residual")
    ]


def _read_all(terminal: int) -> Iterator[bytes]:
    """Read what is written to a terminal until the other end is closed."""
    with open(terminal, "rb", buffering=0) as file:
        while True:
            try:
                chunk = file.read(4096)
            except OSError:  # EIO: how Linux says that no one writes any more
                return
            if not chunk:
                return
            yield chunk


def test_a_table_on_a_terminal_shows_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--version")  # loads the app
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    sys.modules["sepdict_cli.console"].print_table("[bold]", ["stem", "[dB]"], [["take [1]", "2.00"]])
    shown = re.sub(rf"{ESCAPE}\[[\d;]*m", "", capsys.readouterr().out)
    assert [line.split() for line in shown.splitlines() if "─" not in line and line.strip()] == [
        ["[bold]"],
        ["stem", "[dB]"],
        ["take", "[1]", "2.00"],
    ]


def test_a_table_on_a_narrow_terminal_has_the_folder_once_and_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    be_a_terminal_of_80(monkeypatch)
    folder = "/a/long/way/" + "down/" * 20 + "separated/song"
    numbers = ["12.34", "-5.67", "12.34", "inf", "0.12"]
    rows = [[f"{folder}/{name}.wav", *numbers] for name in ("violin", "piano")]
    columns = ["stem", "SI-SDR", "gain", "SDR", "SIR", "SAR"]
    sys.modules["sepdict_cli.console"].print_table(
        "song.wav: 4.0 s", columns, [*rows, ["mean", *numbers]], folder=folder
    )
    lines = [re.sub(rf"{ESCAPE}\[[\d;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["song.wav: 4.0 s", folder]
    assert [line.split() for line in lines[2:] if "─" not in line and line.strip()] == [
        columns,
        *([f"{name}.wav", *numbers] for name in ("violin", "piano")),
        ["mean", *numbers],
    ]


def test_info_shows_the_card(file: Path) -> None:
    lines = succeed("info", file)
    assert lines[0] == str(file)
    shown = lines[1 : lines.index("")]
    assert max(map(len, shown)) <= 100
    facts = dict(line.split(":", 1) for line in "\n".join(shown).replace(f"\n{' ' * 12}", " ").splitlines())
    assert {name: text.strip() for name, text in facts.items()} | {"trained": "", "divergence": ""} == {
        "source": "hiss",
        "rate": "8000 Hz",
        "STFT": "hann window of 512 samples (64.0 ms), hop of 128 samples (16.0 ms)",
        "network": "dense, relu, decoder 2 - 8 - 256 - 257",
        "weights": str(sum(weight.numel() for weight in trained("hiss").network.parameters())),
        "exemplars": "0.0 s",
        "trained": "",
        "divergence": "",
    }
    assert lines[lines.index("") + 1] == "heard 0.0 minutes"
    assert lines[-1].split()[:3] == ["audio", "2.0", "0.0"]


def test_info_prints_strict_json(file: Path) -> None:
    facts = read_json(succeed_json("info", file))
    assert (facts["file"], facts["source"], facts["sample_rate"]) == (str(file), "hiss", 8000)
    assert facts["trained_s"] == facts["heard"][0]["duration_s"] == 2.0
    assert facts["network"]["hidden"] == [8]
    assert facts["n_weights"] > 0


def test_every_command_that_makes_or_lists_something_prints_strict_json(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path))
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})
    monkeypatch.setattr(
        "sepdict.reports.dictionary_report.inspect_dictionary", lambda *_, **__: [tmp_path / "code.png"]
    )
    solo, made, heard = tmp_path / "solo.wav", tmp_path / "new.safetensors", tmp_path / "heard.wav"
    write_audio(solo, sound(n_samples=9000))
    (new,) = read_json(succeed_json("train-dictionary", solo, "-o", made))
    assert (new["file"], new["source"], new["n_recordings"]) == (str(made), "new", 1)
    assert {"divergence", "stopped", "seconds", "trained_s", "sample_rate"} <= set(new)
    written = read_json(succeed_json("synthesize", file, "-o", heard, "--seconds", "0.5"))
    assert written == {"file": str(heard), "source": "hiss", "duration_s": 0.5, "sample_rate": 8000}
    assert read_json(succeed_json("inspect", file)) == [{"source": "hiss", "files": [str(tmp_path / "code.png")]}]
    assert set(read_json(succeed_json("list"))["dictionaries"]) == {"hiss", "new"}


def succeed_json(*arguments: str | Path) -> str:
    return "\n".join(succeed(*arguments, "--json"))


def test_info_of_a_dictionary_that_never_heard_anything_works(tmp_path: Path) -> None:
    bare = trained("hiss")
    card = replace(bare.card, training={}, heard=(RECORDING | {"level_db": None},), curves={})
    file = Dictionary(card, bare.network).save(tmp_path / "bare.safetensors")
    lines = succeed("info", file)
    assert "trained:    not at all" in lines
    assert "divergence: not measured" in lines
    assert lines[-1].split() == ["a.wav", "1.5", "0.5", "0.2", "-"]
    assert read_json(succeed_json("info", file))["curves"] == {}


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "no dictionary file"),
        (b"x" * 100, "is no dictionary"),
    ],
)
def test_info_of_no_dictionary_is_one_line(
    tmp_path: Path, content: bytes | None, said: str, options: list[str]
) -> None:
    path = tmp_path / "no.safetensors"
    if content is not None:
        path.write_bytes(content)
    message = fail("info", path, *options)
    assert message.startswith(f"sepdict: {path}: ")
    assert said in message


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Estimates with a tenth of the other source in each, and references."""
    monkeypatch.setattr("sepdict.evaluation.scoring.bss_eval", constant_bss_eval)
    references = write_references(tmp_path / "references")
    estimates = tmp_path / "estimates"
    estimates.mkdir()
    hiss, hum = sound("hiss", seed=0), sound("hum", seed=1)
    write_audio(estimates / "hiss.flac", replace(hiss, samples=hiss.samples + 0.1 * hum.samples))
    write_audio(estimates / "hum.wav", replace(hum, samples=hum.samples + 0.1 * hiss.samples))
    return estimates, references


def test_evaluate_prints_a_table(folders: tuple[Path, Path]) -> None:
    before = tree(folders[0].parent)
    title, columns, hiss, hum, mean, standard = succeed("evaluate", *folders)
    assert title == f"{folders[0]} against {folders[1]}"
    assert columns.split() == ["source", "SI-SDR", "gain", "SDR", "SIR", "SAR"]
    assert [row.split()[0] for row in (hiss, hum, mean)] == ["hiss", "hum", "mean"]
    assert float(hum.split()[2]) == pytest.approx(20, abs=0.5)  # the other's leak fell to a tenth
    assert hum.split()[3:] == ["1.00", "inf", "3.00"]
    assert standard.startswith("in dB; gain: SI-SDR improvement over the mixture; SDR, SIR, SAR: BSS Eval v3, mir_eval")
    assert tree(folders[0].parent) == before


def test_evaluate_prints_the_same_as_strict_json(folders: tuple[Path, Path]) -> None:
    scores = read_json(succeed_json("evaluate", *folders))
    assert [source["source"] for source in scores["sources"]] == ["hiss", "hum"]
    assert scores["mean"]["sdr_db"] == 1.0
    assert scores["mean"]["sir_db"] == "inf"
    assert f"{scores['sources'][1]['si_sdr_db']:.2f}" == succeed("evaluate", *folders)[3].split()[1]
    assert set(scores["metrics"]) == {"si_sdr_db", "sdr_db, sir_db, sar_db"}


def test_a_silent_reference_has_no_scores(folders: tuple[Path, Path]) -> None:
    write_audio(folders[1] / "hum.wav", Audio(torch.zeros(1, 6000), 8000))
    assert read_json(succeed_json("evaluate", *folders))["sources"][1]["si_sdr_db"] is None


def test_the_mixture_may_be_given(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (mixture,) = write_mixtures(tmp_path, "mix")
    assert succeed("evaluate", *folders, "--mixture", mixture) == succeed("evaluate", *folders)
    assert fail("evaluate", *folders, "--mixture", tmp_path / "no.wav").endswith("no.wav: no such file or folder")


def test_folders_that_cannot_be_compared_are_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    estimates, references = folders
    (tmp_path / "empty").mkdir()
    assert "missing: no such file or folder" in fail("evaluate", tmp_path / "missing", references)
    assert "empty: holds no audio file" in fail("evaluate", estimates, tmp_path / "empty")
    assert "is not a folder" in fail("evaluate", estimates / "hum.wav", references)
    write_audio(estimates / "hum.wav", sound("hum", n_samples=5999))
    assert "samples" in fail("evaluate", estimates, references)
    (estimates / "hum.wav").write_text("words")
    assert f"{estimates / 'hum.wav'}: " in fail("evaluate", estimates, references)
    (estimates / "hum.wav").unlink()
    assert "no estimate for reference 'hum'" in fail("evaluate", estimates, references)


def test_a_dictionary_is_heard_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dictionary = str(trained("hiss").save(tmp_path / "hiss.safetensors"))
    assert succeed("synthesize", dictionary, "--seconds", "0.5") == [str(tmp_path / "hiss.wav")]
    assert read_audio("hiss.wav").duration_s == 0.5
    assert "hiss.wav: exists already; overwrite it" in fail("synthesize", dictionary)
    succeed("synthesize", dictionary, "--seconds", "0.25", "--walk", "--overwrite")
    assert read_audio("hiss.wav").duration_s == 0.25
    assert "duration is 0.0 s" in fail("synthesize", dictionary, "--seconds", "0", "-o", "other.wav")
    assert {path.name for path in tmp_path.iterdir()} == {"hiss.safetensors", "hiss.wav"}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two dictionaries that remember, quickly compared."""
    monkeypatch.setattr("sepdict.evaluation.separability.N_STEPS", 5)
    monkeypatch.setattr("sepdict.evaluation.separability.N_PIECES", 4)
    return [Path(__file__).parents[2] / "data" / f"{name}.safetensors" for name in ("violin", "piano")]


def test_compare_prints_who_explains_whom_and_what_to_expect(demo: list[Path]) -> None:
    title, columns, violin, piano, about, sentence = succeed("compare", *demo)
    assert title == "share of each source that each dictionary alone explains, in %"
    assert columns.split() == ["dictionary", "violin", "piano"]
    (own, other), (its_other, its_own) = [list(map(int, row.split()[1:])) for row in (violin, piano)]
    assert min(own, its_own) > max(other, its_other)
    assert about.endswith("measured on the training sound of violin, piano")
    assert re.fullmatch(r"violin and piano: .*told apart.*; expect about -?\d+ dB", sentence)


@pytest.mark.slow
def test_compare_prints_the_same_as_strict_json(demo: list[Path]) -> None:
    facts = read_json(succeed_json("compare", *demo, "--quiet"))
    assert (facts["sources"], facts["held_out"]) == (["violin", "piano"], [False, False])
    assert f"{100 * facts['explained'][0][1]:.0f}" == succeed("compare", *demo)[2].split()[2]
    assert facts["forecasts"][0]["sentence"] == succeed("compare", *demo)[-1]


def test_what_cannot_be_compared_is_one_line(file: Path, demo: list[Path]) -> None:
    assert "there is only a dictionary of 'violin'" in fail("compare", demo[0], "--quiet")
    assert "'violin' has sample_rate" in fail("compare", demo[0], file, "--quiet")
    bare = trained("hum").save(file.with_name("hum.safetensors"))
    assert "dictionary 'hiss' has no exemplars" in fail("compare", file, bare, "--quiet")


WICKED = "take\x1b]0;owned\x07\x9b2J\u202e\u2028.wav"
ESCAPED = r"take\x1b]0;owned\x07\x9b2J\u202e\u2028.wav"


def test_nothing_that_is_printed_steers_the_terminal(tmp_path: Path, file: Path) -> None:
    folder = tmp_path / "so\x1b[31mlos"
    folder.mkdir()
    (folder / WICKED).write_text("no sound")
    write_mixtures(tmp_path, "song")[0].rename(tmp_path / WICKED)
    results = [
        run("separate", tmp_path / WICKED, "-d", file, "-o", tmp_path / "out", "--quality=draft"),
        run("separate", folder / WICKED, "-d", file, "-o", tmp_path / "other"),
        run("train-dictionary", folder, "--name", "x"),
        run("train-dictionary", folder),
        run("info", WICKED),
        run("evaluate", WICKED, "out"),
        run("separate", "--no-such\x1b[2J"),
    ]
    for result in results:
        printed = (result.stdout + result.stderr).replace("\n", "")
        assert printed.isprintable(), ascii(printed)
    assert ESCAPED.removesuffix(".wav") in results[0].stdout
    assert ESCAPED in results[1].stderr
    assert ESCAPED in results[4].stderr


def test_a_recordings_name_is_written_into_the_card_so_that_it_can_be_shown(tmp_path: Path) -> None:
    for name in (WICKED, os.fsdecode(b"\xff.wav")):
        recording = replace(sound(n_samples=16000), name=name)
        card = train_dictionary(recording, TINY, source="hiss", backgrounds=[]).card
        assert card.heard[0]["name"] == visible(name) != name
    saved = Dictionary(card, trained("hiss").network).save(tmp_path / "odd.safetensors")
    assert any(line.startswith(r"\udcff.wav ") for line in succeed("info", saved))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_table_shows_what_is_hidden_in_its_cells(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "200")
    sys.modules["sepdict_cli.console"].print_table(WICKED, ["stem\x07"], [[f"{WICKED}\n"]])
    shown = re.sub(rf"{ESCAPE}\[[\d;]*m", "", capsys.readouterr().out)
    assert shown.replace("\n", "").isprintable()
    assert shown.count(ESCAPED) == 2
    assert rf"{ESCAPED}\n" in shown
