"""`sepdict train-dictionary`: from solo recordings to a dictionary file, or to one clear line."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from front_end import BAD, TINY, error_lines, fail, mixture, run, sound, succeed, tree, write_bad
from sepdict_cli.options import training as training_options

from sepdict.audio import discovery
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.audio.io import read_audio
from sepdict.audio.parts import Part
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import SepdictError
from sepdict.models.network_config import NetworkConfig
from sepdict.training.config import PRESETS, REGULARIZERS, regularized
from sepdict.training.trainer import Trainer


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    presets = {"default": TINY, "lecture": replace(TINY, n_steps=4)}
    monkeypatch.setattr("sepdict.training.config.PRESETS", presets)


@pytest.fixture
def solos(tmp_path: Path) -> Path:
    """Two recordings in a folder."""
    folder = tmp_path / "solos"
    folder.mkdir()
    for seed in range(2):
        write_audio(folder / f"{seed}.wav", sound(n_samples=8000, seed=seed))
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "violin.safetensors"


def test_each_folder_is_searched_once(
    solos: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rain = shutil.copytree(solos, tmp_path / "rain")
    searched, search = [], discovery._search

    def watched(folder: Path, **options: Any) -> list[Path]:
        searched.append(folder)
        return search(folder, **options)

    monkeypatch.setattr(discovery, "_search", watched)
    succeed("train-dictionary", solos, "-o", output, "--augment", "--background", rain)
    assert searched == [solos, rain]


def test_solos_become_a_dictionary_file(solos: Path, output: Path) -> None:
    result = run("train-dictionary", solos, "-o", output)
    assert result.exit_code == 0
    path, outcome = result.stdout.splitlines()
    assert path == str(output)
    assert outcome.startswith("trained in ")
    assert outcome.endswith("; all steps done")
    assert error_lines(result) == []
    assert result.stderr.splitlines()[:4] == [
        "training on 2 recordings, 2.0 s",
        "note: 2 s of sound is little; two or three minutes are better",
        "note: --augment varies what little there is",
        "training violin",
    ]
    card = Dictionary.load(output).card
    assert card.source == "violin"  # the file's name, for none was given
    assert [recording["name"] for recording in card.heard] == ["0.wav", "1.wav"]


def test_a_relative_output_is_printed_absolute(solos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert succeed("train-dictionary", "solos", "-o", "v.safetensors", "-q") == [str(tmp_path / "v.safetensors")]


def test_quiet_prints_the_path_only(solos: Path, output: Path) -> None:
    result = run("train-dictionary", solos, "-o", output, "--quiet")
    assert (result.stdout, result.stderr) == (f"{output}\n", "")


@pytest.mark.parametrize("named", ["file", "folder", "pattern", "twice"])
def test_solos_are_files_folders_and_patterns(solos: Path, output: Path, named: str) -> None:
    files = [solos / "0.wav", solos / "1.wav"]
    arguments = {"file": files, "folder": [solos], "pattern": [solos / "*.wav"], "twice": [*files, solos]}[named]
    succeed("train-dictionary", *arguments, "-o", output)
    assert [recording["name"] for recording in Dictionary.load(output).card.heard] == ["0.wav", "1.wav"]


def heard(output: Path) -> list[tuple[str, float]]:
    return [(recording["name"], recording["duration_s"]) for recording in Dictionary.load(output).card.heard]


def test_parts_of_files_are_recordings_of_their_own(solos: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(solos)
    succeed("train-dictionary", "0.wav@0.1-0:00.6,0.75-1.03", "./0.wav@0:00:00.6-0.7", "1.wav@.5-1", "-o", output)
    parts = [("0.wav@0:00.1-0:00.6", 0.5), ("0.wav@0:00.75-0:01.03", 0.25), ("0.wav@0:00.6-0:00.7", 0.1)]
    assert heard(output) == [*parts, ("1.wav@0:00.5-0:01", 0.5)]


def test_a_part_holds_the_samples_that_it_names(solos: Path, output: Path) -> None:
    succeed("train-dictionary", f"{solos / '0.wav'}@0.25-0.5", solos / "1.wav", "-o", output)
    expected = [read_audio(solos / "0.wav").seconds(0.25, 0.5).sha256, read_audio(solos / "1.wav").sha256]
    assert [recording["sha256"] for recording in Dictionary.load(output).card.heard] == expected


def test_of_a_file_that_is_named_whole_and_in_parts_the_whole_counts(solos: Path, output: Path) -> None:
    succeed("train-dictionary", f"{solos / '0.wav'}@0-0.5", solos, "-o", output)
    assert [name for name, _ in heard(output)] == ["0.wav", "1.wav"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["take@home.wav", "take.wav@0-0.5", "@"])
def test_a_file_with_an_at_sign_in_its_name_is_itself(solos: Path, output: Path, name: str) -> None:
    file = (solos / "0.wav").rename(solos / name)
    succeed("train-dictionary", file, "-o", output)
    assert heard(output) == [(name, 1.0)]
    succeed("train-dictionary", f"{file}@0-0.5", solos / "1.wav", "-o", output, "--overwrite")
    assert heard(output)[0] == (f"{name}@0:00-0:00.5", 0.5)


FORM = r"; expected as in concert.wav@0:12-0:22,1:05.5-1:08"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("0.wav@", rf"0.wav@: no such file or folder, and what is .* no parts \('' has no start and end\){FORM}"),
        ("0.wav@1", rf"no parts \('1' has no start and end\){FORM}"),
        ("0.wav@0-0.5,", rf"no parts \('' has no start and end\){FORM}"),
        ("0.wav@0-x", rf"no parts \('x' is no time; expected seconds, m:ss or h:mm:ss, .*\){FORM}"),
        ("0.wav@0.5-", rf"no parts \('' is no time; .*\){FORM}"),
        ("0.wav@0.5-0.5", rf"no parts \('0.5-0.5' does not end after its start\){FORM}"),
        ("me@work/0.wav", rf"no parts \('work/0.wav' has no start and end\){FORM}"),
        ("2.wav@0-1", "2.wav: no such file; expected a recording before @0-1"),
        (".@0-1", r".: no such file; expected a recording before @0-1"),
        ("0.wav@0-0.5,0.4-0.6", "0.wav: the parts 0:00-0:00.5 and 0:00.4-0:00.6 overlap; name each moment once"),
        ("0.wav@0.5-1.06", "0.wav: lasts until 0:01, so there is no part 0:00.5-0:01.06; name one that is within it"),
        ("0.wav@0.99999-1.04", "0.wav: the part 0:01-0:01.04 holds no sample; name a longer one"),
        ("0.wav@0-0.5", "the recordings of 'violin' hold 0.5. s of sound; expected 1 s at least"),
    ],
)
def test_parts_that_are_none_are_refused_in_one_line(
    solos: Path, output: Path, parts: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(solos)
    assert re.search(said, fail("train-dictionary", parts, "-o", output))
    assert not output.exists()


def test_a_part_alone_names_no_source(solos: Path) -> None:
    error = fail("train-dictionary", f"{solos / '0.wav'}@0-0.5")
    assert error.endswith("is no file or folder that could name the source; check it, or give a --name")


def test_a_file_with_pattern_characters_in_its_name_is_itself(solos: Path, output: Path) -> None:
    file = (solos / "0.wav").rename(solos / "take [1]*.wav")
    succeed("train-dictionary", file, "-o", output)
    assert [recording["name"] for recording in Dictionary.load(output).card.heard] == ["take [1]*.wav"]


def test_options_reach_the_card(solos: Path, output: Path) -> None:
    options = ["--name", "1st violin", "--preset", "lecture", "--seed", "7", "--divergence", "is", "--device", "cpu"]
    succeed("train-dictionary", solos, "-o", output, *options)
    card = Dictionary.load(output).card
    assert card.source == "1st violin"
    assert (card.training["n_steps"], card.training["seed"], card.training["divergence"]) == (4, 7, "is")


def test_the_same_seed_makes_the_same_file(solos: Path, tmp_path: Path) -> None:
    contents = []
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        path = tmp_path / f"{name}.safetensors"
        succeed("train-dictionary", solos, "-o", path, "--name", "x", "--seed", str(seed))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_an_output_folder_is_made(solos: Path, tmp_path: Path) -> None:
    result = run("train-dictionary", solos, "-o", tmp_path / "new" / "folder" / "v.safetensors")
    assert result.exit_code == 0, result.stderr
    assert f"note: the folder {tmp_path / 'new' / 'folder'} is new" in result.stderr
    assert (tmp_path / "new" / "folder" / "v.safetensors").is_file()


@pytest.mark.parametrize("shape", [{"n_channels": 8}, {"sample_rate": 192_000, "n_samples": 240_000}], ids=str)
def test_many_channels_and_high_rates_work(tmp_path: Path, output: Path, shape: dict[str, int]) -> None:
    path = write_audio(tmp_path / "solo.wav", mixture(**{"n_samples": 10_000} | shape))
    succeed("train-dictionary", path, "-o", output)
    assert Dictionary.load(output).card.sample_rate == shape.get("sample_rate", 8000)


def test_an_existing_output_needs_overwrite(solos: Path, output: Path) -> None:
    output.write_text("precious")
    said = fail("train-dictionary", solos, "-o", output)
    assert said == f"sepdict: {output}: exists already; choose another name, or give --overwrite or --skip-existing"
    assert output.read_text() == "precious"
    succeed("train-dictionary", solos, "-o", output, "--overwrite")
    assert Dictionary.load(output).source == "violin"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("violin.wav", "a dictionary's name ends in .safetensors; add that"),
        ("violin", "a dictionary's name ends in .safetensors; add that"),
        ("folder.safetensors", "is a folder; expected a file or nothing there"),
        ("solos/0.wav/v.safetensors", "is a file; expected a folder to write to"),
        ("solos/0.wav/deep/v.safetensors", "cannot be written to (Not a directory)"),
        ("a" * 300 + ".safetensors", "File name too long"),
        ("a" * 300 + "/v.safetensors", "File name too long"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_training(
    solos: Path, tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    before = tree(tmp_path)
    monkeypatch.setattr("sepdict.batch.training.read_part", None)  # would be called first
    assert said in fail("train-dictionary", solos, "-o", tmp_path / name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "a/b"], "source name is 'a/b'"),
        (["--name", ""], "source name is ''"),
        (["--divergence", "fast"], "fast"),
        (["--device", "abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_a_setting_that_cannot_work_leaves_nothing(solos: Path, tmp_path: Path, options: list[str], said: str) -> None:
    before = tree(tmp_path)
    assert said in fail("train-dictionary", solos, "-o", tmp_path / "new" / "v.safetensors", *options)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [["-o", "v.safetensors"], ["solo.wav", "-o", "v.safetensors", "--preset", "loud"],
     ["solo.wav", "-o", "v.safetensors", "--seed", "one"], ["solo.wav", "-o", "v.safetensors", "--loud"]],
)  # fmt: skip
def test_a_wrong_use_exits_with_2(arguments: list[str]) -> None:
    result = run("train-dictionary", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("sepdict: ")
    assert result.stderr.endswith("see sepdict train-dictionary --help\n")
    assert "Traceback" not in result.stderr


# The family


NETWORKS = {  # so tiny that all of them are trained in a moment
    "default": TINY.network,
    "dense": TINY.network,
    "convolutional": NetworkConfig("convolutional", 2, (8,), kernel_size=3, n_templates=0),
    "recurrent": NetworkConfig("recurrent", 2, (8,), n_templates=8),
    "nonnegative": NetworkConfig("nonnegative", 4, (), "softplus", n_templates=4),
    "linear": NetworkConfig("linear", 2, (), n_templates=0),
    "lecture": NetworkConfig(code_size=2, hidden=(8, 8, 8, 8), n_templates=0),
}


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> None:
    """All names of networks, each as a tiny one."""
    presets = {name: replace(TINY, network=network, n_steps=4) for name, network in NETWORKS.items()}
    monkeypatch.setattr("sepdict.training.config.PRESETS", presets)


def learned(solos: Path, output: Path, *options: str) -> Card:
    """Train with some options, and read what the card says."""
    succeed("train-dictionary", solos, "-o", output, *options)
    return Dictionary.load(output).card


def test_there_is_a_tiny_network_of_every_name() -> None:
    assert set(NETWORKS) == set(PRESETS)
    assert {name: network.kind for name, network in NETWORKS.items()} == {
        name: preset.network.kind for name, preset in PRESETS.items()
    }


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_can_be_had_by_name(solos: Path, output: Path, network: str) -> None:
    assert learned(solos, output, "--network", network).network == NETWORKS[network]


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--code-size", "5"], {"code_size": 5}),
        (["--hidden", "6,7"], {"hidden": (6, 7)}),
        (["--hidden", "9"], {"hidden": (9,)}),
        (["--hidden", ""], {"hidden": ()}),
        (["--activation", "tanh"], {"activation": "tanh"}),
        (["--templates", "0"], {"n_templates": 0}),
        (["--network", "nonnegative", "--code-size", "6"], {"code_size": 6, "n_templates": 6}),
        (["--network", "recurrent", "--hidden", "4,5"], {"kind": "recurrent", "hidden": (4, 5)}),
        (["-r", "variational=0.5"], {"prior_weight": 0.5}),
    ],
    ids=str,
)
def test_the_shape_of_the_network_can_be_chosen(
    solos: Path, output: Path, options: list[str], expected: dict[str, Any]
) -> None:
    network = learned(solos, output, *options).network
    assert {name: getattr(network, name) for name in expected} == expected
    before = NETWORKS[network.kind]
    changed = {name for name in vars(before) if getattr(network, name) != getattr(before, name)}
    assert changed <= expected.keys()


@pytest.mark.usefixtures("family")
def test_regularizers_compose_each_with_its_amount_or_its_own(solos: Path, output: Path) -> None:
    options = ["-r", "dropout=0.3", "--regularize", "sparse", "-r", "l2=0.01", "-r", "adversarial", "-r", "masking=0.1"]
    card = learned(solos, output, *options)
    amounts = {name: amount for name, amount in card.training["regularisation"].items() if amount}
    named = {"sparse": REGULARIZERS["sparse"], "adversarial": REGULARIZERS["adversarial"]}
    assert amounts == {"dropout": 0.3, "masking": 0.1, "target_activity": 0.1} | named
    assert card.training["weight_decay"] == 0.01
    assert card.network.critic


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("name", sorted({*REGULARIZERS} - {"others"}))
def test_every_regularizer_can_be_had_by_name(solos: Path, output: Path, name: str) -> None:
    expected = regularized(replace(TINY, network=NETWORKS["default"]), {name: REGULARIZERS[name]})
    card = learned(solos, output, "-r", name)
    assert card.network == expected.network
    assert card.training["weight_decay"] == expected.weight_decay
    assert card.training["regularisation"] == vars(expected.regularization)


@pytest.mark.usefixtures("family")
def test_the_other_settings_of_the_training_reach_the_card(solos: Path, output: Path) -> None:
    card = learned(solos, output, "--steps", "3", "--batch-frames", "0", "--pretrain", "autoencoders", "--augment")
    settings = {name: card.training[name] for name in ("n_steps", "batch_frames", "pretraining")}
    assert settings == {"n_steps": 3, "batch_frames": 0, "pretraining": "autoencoders"}
    assert card.training["augmentation"] == vars(AugmentationConfig())
    options = ["--activation", "sigmoid", "--templates", "0", "--pretrain", "boltzmann", "--overwrite"]
    card = learned(solos, output, *options)
    assert (card.training["pretraining"], card.training["augmentation"]) == ("boltzmann", None)


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("options", [["-r", "others"], ["--augment"]])
def test_backgrounds_are_heard_and_not_learned(solos: Path, tmp_path: Path, options: list[str]) -> None:
    for name in ("rain", "wind"):
        (tmp_path / name).mkdir()
        write_audio(tmp_path / name / "0.wav", sound("hum" if name == "rain" else "hiss", n_samples=8000, seed=7))
    files = [tmp_path / name / "v.safetensors" for name in ("rain", "wind")]
    cards = [learned(solos, file, *options, "--background", str(file.parent / "*.wav")) for file in files]
    assert [[heard["name"] for heard in card.heard] for card in cards] == [["0.wav", "1.wav"]] * 2
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hidden", "8,0"], "widths are (2, 8, 0); expected 1 to"),
        (
            ["--network", "linear", "--hidden", "8"],
            "hidden is (8,); linear networks have no hidden layers: expected ()",
        ),
        (["--network", "nonnegative", "--templates", "3"], "n_templates is 3; expected 4 for this nonnegative network"),
        (["--network", "recurrent", "--hidden", ""], "hidden is (); a recurrent network needs hidden layers"),
        (["-r", "dropout=1"], "dropout is 1.0; expected 0 to 0.95"),
        (["-r", "noise=-1"], "noise is -1.0; expected 0 to"),
        (["-r", "sparse=nan"], "sparse is nan; expected 0 to"),
        (["-r", "l2=2"], "weight_decay is 2.0; expected 0 to 1"),
        (["-r", "variational=inf"], "prior_weight is inf; expected 0 to"),
        (["-r", "sparse", "--batch-frames", "1"], "batch_frames is 1; sparse compares frames"),
        (["-r", "others"], "there are no backgrounds to learn to ignore; give some that are not silent"),
        (["--pretrain", "boltzmann"], "cannot be pretrained by boltzmann machines; expected dense, activation sigmoid"),
        (["--network", "linear", "--pretrain", "autoencoders"], "a linear network cannot be pretrained"),
    ],
    ids=str,
)
def test_an_option_that_cannot_work_is_one_line_and_leaves_nothing(
    solos: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    before = tree(tmp_path)
    assert said in fail("train-dictionary", solos, "-o", tmp_path / "new" / "v.safetensors", *options)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--network", "loud"], "'loud' is not one of 'default', "),
        (["--hidden", "8,x"], "'8,x' is none; expected numbers as in 256,256"),
        (["-r", "silence"], "'silence' is none; expected one of l2, dropout"),
        (["--background", "."], "nothing uses it; give --augment, or -r others"),
        (["-r", "=0.5"], "'' is none; expected one of l2, dropout"),
        (["-r", "noise=loud"], "'noise=loud': expected a number behind ="),
        (["-r", "noise="], "'noise=': expected a number behind ="),
    ],
    ids=str,
)
def test_an_option_that_is_not_understood_says_what_would_be(
    solos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(solos)
    before = tree(tmp_path)
    result = run("train-dictionary", solos, "-o", tmp_path / "new" / "v.safetensors", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in re.sub(r"[\s│]+", " ", result.stderr)
    assert "Traceback" not in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("family")
def test_a_bad_background_is_refused_before_the_training(solos: Path, output: Path, tmp_path: Path) -> None:
    background = write_audio(tmp_path / "rain.wav", sound("hum", n_samples=8000))
    options = ["-r", "others", "--background", background, "--background", write_bad(tmp_path / "bad.wav", "text")]
    result = run("train-dictionary", solos, "-o", output, *options)
    assert result.exit_code == 1
    assert error_lines(result)[-1] == "sepdict: 1 of 2 files failed"
    assert not output.exists()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--code-size", "0", "expected 1 or more"),
        ("--activation", "gelu", "is not one of 'relu', 'tanh', 'softplus', 'sigmoid'"),
        ("--templates", "-1", "expected 0 or more"),
        ("--pretrain", "some", "is not one of 'autoencoders', 'boltzmann'"),
        ("--steps", "0", "expected 1 or more"),
        ("--batch-frames", "-1", "expected 0 or more"),
        ("--seed", "-1", "expected 0 or more"),
    ],
)
def test_a_value_out_of_range_is_a_wrong_use(
    solos: Path, tmp_path: Path, option: str, value: str, expected: str
) -> None:
    before = tree(tmp_path)
    result = run("train-dictionary", solos, "-o", tmp_path / "v.safetensors", option, value)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sepdict: invalid value for '{option}'")
    assert expected in line
    assert value in line
    assert tree(tmp_path) == before


def test_the_card_names_the_backgrounds(solos: Path, output: Path, tmp_path: Path) -> None:
    background = write_audio(tmp_path / "rain.wav", sound("hum", n_samples=8000))
    result = run("train-dictionary", solos, "-o", output, "-r", "others", "--background", background)
    assert "with 1 background" in result.stderr
    (named,) = Dictionary.load(output).card.training["backgrounds"]
    assert named == {"name": "rain.wav", "sha256": read_audio(background).sha256}
    assert "1 backgrounds" in "".join(succeed("info", output))


def test_several_recordings_without_a_name_are_asked_for_one(solos: Path, tmp_path: Path) -> None:
    assert "several recordings name no source" in fail("train-dictionary", solos / "0.wav", solos / "1.wav")
    one = solos / "*.wav"
    assert f"{one}: is no file or folder that could name the source" in fail("train-dictionary", one)
    assert "source name is 'residual'" in fail(
        "train-dictionary", solos, "-o", tmp_path / "r.safetensors", "--name", "residual"
    )


SILENT = {
    "silence": (Audio(torch.zeros(1, 16000), 8000), "is digital silence; expected the sound to learn"),
    "two samples": (Audio(torch.tensor([[1.0, -1.0]]), 8000), "s of sound; expected 1 s at least"),
    "less than a window": (sound(n_samples=300), "s of sound; expected 1 s at least"),
    "half a second": (sound(n_samples=4000), "0.50 s of sound; expected 1 s at least"),
}


@pytest.mark.parametrize("what", SILENT)
def test_nothing_to_learn_from_is_refused_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    audio, said = SILENT[what]
    path = write_audio(tmp_path / "solo.wav", audio)
    result = run("train-dictionary", path, "-o", tmp_path / "new" / "v.safetensors")
    assert (result.exit_code, result.stdout) == (1, "")
    *_, error = result.stderr.splitlines()
    assert said in error
    assert "note: " not in result.stderr  # no advice on how to learn more from it
    assert list(tree(tmp_path)) == ["solo.wav"]


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_alone_is_one_line_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    path = write_bad(tmp_path / "solo.wav", what)
    before = tree(tmp_path)
    said = fail("train-dictionary", path, "-o", tmp_path / "new" / "v.safetensors")
    assert said.startswith(f"sepdict: {path}: ")
    assert BAD[what] in said
    assert tree(tmp_path) == before


def test_a_folder_without_audio_and_a_pattern_without_a_match_are_one_line_each(tmp_path: Path, output: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = fail("train-dictionary", tmp_path / "empty", tmp_path / "*.mp3", "-o", output, n_lines=2)
    assert said.splitlines() == [
        f"sepdict: {tmp_path / 'empty'}: holds no audio file (subfolders aside); expected wav, flac, mp3 or the like",
        f"sepdict: {tmp_path / '*.mp3'}: no such file or folder",
    ]
    assert not output.exists()


def test_bad_files_are_skipped_and_the_rest_is_learned(solos: Path, output: Path) -> None:
    write_bad(solos / "bad.wav", "text")
    write_audio(solos / "silence.wav", SILENT["silence"][0])
    result = run("train-dictionary", solos, "-o", output)
    assert result.exit_code == 3
    assert len(error_lines(result)) == 3
    assert error_lines(result)[-1] == "sepdict: 2 of 4 files failed"
    assert result.stdout.splitlines()[0] == str(output)
    assert len(Dictionary.load(output).card.heard) == 2


@pytest.mark.parametrize("existed", [True, False])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    solos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    def full_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    output = tmp_path / "new" / "v.safetensors"
    if existed:
        output.parent.mkdir()
        output.write_text("precious")
    before = tree(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    said = fail("train-dictionary", solos, "-o", output, "--overwrite")
    assert said == f"sepdict: {output}: cannot be written (No space left on device); choose another place"
    assert tree(tmp_path) == before


def test_ctrl_c_before_the_training_leaves_nothing(
    solos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Part) -> Audio:
        raise KeyboardInterrupt

    before = tree(tmp_path)
    monkeypatch.setattr("sepdict.batch.training.read_part", interrupt)
    result = run("train-dictionary", solos, "-o", tmp_path / "new" / "v.safetensors")
    assert (result.exit_code, result.stdout) == (130, "")
    assert error_lines(result) == ["sepdict: interrupted"]
    assert tree(tmp_path) == before


def interrupt_check(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Ctrl-C at the n-th validation."""
    validate, n_left = Trainer._validate, n

    def interrupt(*args: Any) -> float | None:
        nonlocal n_left
        n_left -= 1
        if n_left == 0:
            raise KeyboardInterrupt
        return validate(*args)

    monkeypatch.setattr(Trainer, "_validate", interrupt)


def test_ctrl_c_in_the_training_keeps_the_best_weights_so_far(
    solos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_check(monkeypatch, 3)
    result = run("train-dictionary", solos, "-o", output)
    assert result.stdout.splitlines()[1].endswith("interrupted; the best weights so far were kept")
    assert error_lines(result) == ["sepdict: interrupted; keeping the best weights so far"]
    card = Dictionary.load(output).card
    assert card.training["stopped"] == "interrupted"
    assert len(card.curves["validation"]) == 2


def test_ctrl_c_before_the_first_check_leaves_nothing(
    solos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_check(monkeypatch, 1)
    assert run("train-dictionary", solos, "-o", output).exit_code == 130
    assert not output.exists()


ENDLESS_TRAINING = """
import importlib.metadata, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background is born deaf to it
import sepdict.training.config
import sepdict.training.train
from sepdict import NetworkConfig, TrainingConfig

config = TrainingConfig(
    network=NetworkConfig(code_size=2, hidden=(8,)), n_steps=600_000, n_checks=60_000, patience=10**6
)
train = sepdict.training.train.train_dictionary

def train_and_tell(*args, on_progress, **kwargs):
    def tell(event):
        on_progress(event)
        print("checked", file=sys.stderr, flush=True)
    return train(*args, on_progress=tell, **kwargs)

sepdict.training.config.PRESETS = {"default": config}
sepdict.training.train.train_dictionary = train_and_tell
(script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
script.load()()
"""


def test_a_real_ctrl_c_does_the_same(solos: Path, output: Path) -> None:
    command = [sys.executable, "-c", ENDLESS_TRAINING, "train-dictionary", str(solos), "-o", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert "checked\n" in iter(process.stderr.readline, "")  # reads up to the first
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate()
        finally:
            process.kill()
    assert stdout.splitlines()[0] == str(output)
    assert "sepdict: interrupted; keeping the best weights so far" in stderr.splitlines()
    assert "Traceback" not in stderr
    assert Dictionary.load(output).card.training["stopped"] == "interrupted"
    assert not list(output.parent.glob(".sepdict-*"))


def test_an_error_of_the_library_is_its_message(solos: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_so(*_: object, **__: object) -> None:
        raise SepdictError("first line\nsecond line")

    monkeypatch.setattr("sepdict.training.train.train_dictionary", fail_so)
    assert fail("train-dictionary", solos, "-o", output) == "sepdict: first line second line"


def test_the_command_names_every_kind_of_network() -> None:
    (literal, *_) = get_args(training_options.Network)
    assert get_args(literal) == tuple(PRESETS)


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_heard(
    solos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.batch.training.read_part", None)  # would be called first
    said = fail("train-dictionary", solos, "-o", tmp_path / "v.safetensors", "--name", "a/b")
    assert "source name is 'a/b'; expected a name that can be a file's" in said
