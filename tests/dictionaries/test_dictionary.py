"""Dictionaries: what is saved is what is loaded, and what is damaged is refused with the reason."""

import contextlib
import errno
import io
import json
import math
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import soundfile
import torch
from forgery import CARD, RECORDING, Edit, at, dictionary_of, forge, nested
from hypothesis import example, given
from hypothesis import strategies as st

import sepdict.dictionaries.dictionary_file
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit, refuse_without_exemplars
from sepdict.dictionaries.dictionary_file import FORMAT, FORMAT_VERSION, refuse_too_large
from sepdict.dictionaries.tensor_file import MAX_FILE_BYTES
from sepdict.errors import ConfigError, DictionaryFileError, ShapeError
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.bands import n_bands
from sepdict.spectral.stft import StftConfig, spectral_shape
from sepdict.training.config import TrainingConfig
from sepdict.web.dictionaries import describe

N_BINS = 33


def weights(dictionary: Dictionary) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in dictionary.network.state_dict().items()}


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The bytes of a good file."""
    with pytest.MonkeyPatch.context() as patch:
        written: list[bytes] = []
        patch.setattr(
            sepdict.dictionaries.dictionary_file, "write_atomically", lambda _, content: written.append(content)
        )
        dictionary_of().save("unused.safetensors")
    return written[0]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that hypothesis writes over and over."""
    return tmp_path_factory.mktemp("damaged") / "a.safetensors"


# --- what is saved is what is loaded


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(kind="dense", code_size=4, hidden=(8,)),
        NetworkConfig(kind="dense", code_size=1, hidden=()),
        NetworkConfig(kind="convolutional", code_size=3, hidden=(8, 9), activation="softplus", kernel_size=5),
    ],
    ids=str,
)
def test_saved_equals_loaded_bit_for_bit(tmp_path: Path, network: NetworkConfig) -> None:
    saved = dictionary_of(replace(CARD, network=network))
    path = saved.save(tmp_path / "a.safetensors")
    loaded = Dictionary.load(path)
    assert path.is_absolute()
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert loaded.card == saved.card
    assert weights(loaded).keys() == weights(saved).keys()
    for name, weight in weights(saved).items():
        assert weight.numpy().tobytes() == weights(loaded)[name].numpy().tobytes()


def test_exemplars_are_saved_and_loaded_and_count_in_the_checksum(tmp_path: Path) -> None:
    plain = dictionary_of()
    exemplars = torch.arange(n_bands(CARD.stft.n_bins) * 6).reshape(-1, 6).to(torch.uint8)
    remembering = Dictionary(plain.card, plain.network, exemplars)
    loaded = Dictionary.load(remembering.save(tmp_path / "remembers.safetensors"))
    assert torch.equal(loaded.exemplars, exemplars)
    assert loaded.has_exemplars
    assert loaded.sha256 == remembering.sha256 != plain.sha256
    assert Dictionary.load(plain.save(tmp_path / "forgets.safetensors")).has_exemplars is False


@pytest.mark.parametrize(
    "exemplars",
    [
        torch.zeros(3, 6, dtype=torch.uint8),
        torch.zeros(n_bands(CARD.stft.n_bins), 6),
        torch.zeros(6, dtype=torch.uint8),
        torch.zeros((), dtype=torch.uint8),
        torch.zeros(0, dtype=torch.uint8),
        torch.zeros(0, 6, dtype=torch.uint8),
        torch.zeros(n_bands(CARD.stft.n_bins), 0, dtype=torch.uint8),
        torch.zeros(n_bands(CARD.stft.n_bins), 6, 1, dtype=torch.uint8),
    ],
    ids=lambda exemplars: f"{exemplars.dtype} {tuple(exemplars.shape)}",
)
def test_exemplars_of_a_wrong_shape_are_refused(scratch: Path, exemplars: torch.Tensor) -> None:
    forge(scratch, tensors={"memory": exemplars})
    with pytest.raises(DictionaryFileError, match="memory is not as its card describes"):
        Dictionary.load(scratch)


def test_saved_twice_gives_equal_bytes(tmp_path: Path) -> None:
    contents = {dictionary_of().save(tmp_path / "a.safetensors").read_bytes() for _ in range(20)}
    assert len(contents) == 1


def test_a_path_may_be_text_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dictionary_of().save("a.safetensors") == tmp_path / "a.safetensors"
    assert Dictionary.load("a.safetensors").source == CARD.source


def test_a_renamed_dictionary_differs_in_its_name_and_checksum_only(tmp_path: Path) -> None:
    plain = dictionary_of()
    named = Dictionary(plain.card, plain.network, torch.ones(n_bands(CARD.stft.n_bins), 6, dtype=torch.uint8))
    renamed = Dictionary.load(named.renamed("Flo\u0308te").save(tmp_path / "a.safetensors"))
    assert (renamed.source, named.source) == ("Fl\u00f6te", CARD.source)
    assert replace(renamed.card, source=CARD.source) == named.card
    assert torch.equal(renamed.exemplars, named.exemplars)
    assert all(torch.equal(weight, weights(named)[name]) for name, weight in weights(renamed).items())
    assert renamed.sha256 != named.sha256
    with pytest.raises(ConfigError, match="source name is 'a/b'"):
        named.renamed("a/b")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_save_that_fails_leaves_the_older_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = dictionary_of().save(tmp_path / "a.safetensors")
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DictionaryFileError if isinstance(error, OSError) else KeyboardInterrupt):
        dictionary_of(seed=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DictionaryFileError, match=r"missing/a\.safetensors: cannot be written \(No such file"):
        dictionary_of().save(tmp_path / "missing" / "a.safetensors")


def test_a_loaded_dictionary_does_not_change_with_its_file(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(whole)
    loaded = Dictionary.load(path)
    before = weights(loaded)
    with path.open("r+b") as file:  # in place, as cp does
        file.write(whole[:-1000] + b"\0" * 1000)
    assert all(torch.equal(before[name], weight) for name, weight in weights(loaded).items())


# --- damage


def refuse(path: Path, content: bytes, said: str | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises(DictionaryFileError, match=said) as refusal:
        Dictionary.load(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def test_a_file_cut_short_anywhere_is_refused(scratch: Path, whole: bytes) -> None:
    for length in {*range(0, 20), *range(20, len(whole), 23), *range(len(whole) - 20, len(whole))}:
        refuse(scratch, whole[:length], "truncated|damaged|no dictionary")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=b"16000", bit=0)
@example(place=b"violin", bit=1)
@example(place=b"hann", bit=1)
@example(place=0.99, bit=1)  # a weight
def test_a_bit_flipped_anywhere_is_noticed_or_harmless(
    scratch: Path, whole: bytes, place: float | bytes, bit: int
) -> None:
    byte = whole.index(place) + 1 if isinstance(place, bytes) else int(place * len(whole))
    flipped = bytearray(whole)
    flipped[byte] ^= 1 << bit
    scratch.write_bytes(flipped)
    with contextlib.suppress(DictionaryFileError):
        loaded = Dictionary.load(scratch)
        assert loaded.card == CARD  # a capital E in 1e-300 says the same
        assert all(torch.equal(weight, weights(loaded)[name]) for name, weight in weights(dictionary_of()).items())


@given(st.binary(min_size=1, max_size=50), st.floats(0, 1, exclude_max=True))
def test_bytes_put_in_anywhere_are_noticed(scratch: Path, whole: bytes, extra: bytes, place: float) -> None:
    (n_header,) = struct.unpack("<Q", whole[:8])
    byte = 8 + n_header + int(place * (len(whole) - 8 - n_header))
    refuse(scratch, whole[:byte] + extra + whole[byte:])
    refuse(scratch, whole + extra)


@given(st.binary(max_size=300))
def test_noise_is_refused(scratch: Path, content: bytes) -> None:
    refuse(scratch, content)


@pytest.mark.parametrize("n_header", [0, 1, 2**24, 2**31, 2**60, 2**63, 2**64 - 1])
def test_a_header_of_impossible_length_is_refused(scratch: Path, whole: bytes, n_header: int) -> None:
    refuse(scratch, struct.pack("<Q", n_header) + whole[8:])


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(whole)
    os.truncate(path, MAX_FILE_BYTES + 1)  # a hole, not a gigabyte
    with pytest.raises(DictionaryFileError, match=f"too large: {MAX_FILE_BYTES + 1} bytes"):
        Dictionary.load(path)


def other_files() -> dict[str, bytes]:
    wav, pickled, scripted = io.BytesIO(), io.BytesIO(), io.BytesIO()
    soundfile.write(wav, np.zeros(1000), 16000, format="WAV")
    torch.save({"a": torch.zeros(3)}, pickled)
    np.save(scripted, np.zeros(3))
    return {
        "empty": b"",
        "text": b"hello, this is not a dictionary at all\n" * 10,
        "json": b'{"format": "sepdict.dictionary"}',
        "wav": wav.getvalue(),
        "torch": pickled.getvalue(),
        "numpy": scripted.getvalue(),
        "zeros": bytes(4096),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }


@pytest.mark.parametrize("content", other_files().values(), ids=list(other_files()))
def test_other_kinds_of_file_are_refused(scratch: Path, content: bytes) -> None:
    refuse(scratch, content, "no dictionary")


def test_what_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DictionaryFileError, match=r"missing: cannot be read \(No such file"):
        Dictionary.load(tmp_path / "missing")
    with pytest.raises(DictionaryFileError, match=r"cannot be read \(Is a directory"):
        Dictionary.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "5", '"x"', "{}", '{"card": {}}', "[" * 200_000),
        *(f'{{"format_version": {number}}}' for number in ("Infinity", "9" * 5000)),
    ],
    ids=lambda text: text[:30],
)
def test_a_text_that_is_not_ours_is_refused(scratch: Path, text: str) -> None:
    content = safetensors.torch.save({"weight": torch.zeros(3)}, {FORMAT: text})
    refuse(scratch, content, "something else; expected a sepdict dictionary")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"sepdict.other": "{}"}])
def test_foreign_safetensors_are_refused(scratch: Path, metadata: dict[str, str] | None) -> None:
    content = safetensors.torch.save({"weight": torch.zeros(3)}, metadata)
    refuse(scratch, content, "something else; expected a sepdict dictionary")


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    bait, path = tmp_path / "bait", tmp_path / "a.safetensors"
    torch.save(Payload(str(bait)), path)
    for content in (path.read_bytes(), pickle.dumps(Payload(str(bait)))):
        refuse(path, content)
    assert not bait.exists()
    pickle.loads(content)
    assert bait.exists()  # the bait works


@pytest.mark.parametrize("version", [-1, 0, 3, 4, 6, 999, 10**400])
def test_another_version_is_refused_by_number(scratch: Path, version: int) -> None:
    todo = "install a newer sepdict" if version > FORMAT_VERSION else "train it again"
    with pytest.raises(DictionaryFileError, match=f"version .*, this sepdict reads {FORMAT_VERSION}; {todo}"):
        Dictionary.load(forge(scratch, format_version=version))


@pytest.mark.parametrize("version", [None, [], "", "x", "1.0", "²", 5.0, True, "5"])
def test_a_version_that_is_no_number_is_refused(scratch: Path, version: object) -> None:
    with pytest.raises(DictionaryFileError, match="something else"):
        Dictionary.load(forge(scratch, format_version=version))


def test_the_version_is_under_the_checksum(scratch: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    other = whole.replace(b'format_version\\": 5', b'format_version\\": 4')
    assert other != whole
    scratch.write_bytes(other)
    monkeypatch.setattr(sepdict.dictionaries.dictionary_file, "FORMAT_VERSION", 4)  # what read both would notice
    with pytest.raises(DictionaryFileError, match="checksum"):
        Dictionary.load(scratch)


@pytest.mark.parametrize("field", asdict(CARD))
def test_a_card_without_a_field_is_refused_by_its_name(scratch: Path, field: str) -> None:
    forge(scratch, lambda card: card.pop(field))
    with pytest.raises(DictionaryFileError, match=f"card is not valid.*{field}"):
        Dictionary.load(scratch)


NUMBERS = (True, 10**400, 1e400, float("nan"))
ODD = (None, 5, "x", *NUMBERS, "\x1b[2J", "\ud800", "x" * 2000, [], [[]], {}, {"": 1}, nested(600))
WRONG_CARDS = [
    *(at("source", value=value) for value in (None, 5, [], "", "a/b", "\x9b", "\u202e", "\ud800", "x" * 5000)),
    *(at("sample_rate", value=value) for value in (None, "16000", [], 0, -1, 2**40, float("inf"), 16000.0, True)),
    *(at(field, value=value) for field in ("stft", "network") for value in (None, 5, "x", [], [1], {"extra": 1})),
    *(at(field, value=value) for field in ("training", "heard", "curves") for value in (None, 5, "x", nested(600))),
    *(at("stft", "n_fft", value=value) for value in (None, "64", [], -64, 63, 64.0, 2**70, 10**4000)),
    *(at("stft", "hop_length", value=value) for value in (None, "16", 0, 33, 16.0)),
    *(at("stft", "window", value=value) for value in (None, 5, [], "box")),
    *(at("network", "kind", value=value) for value in (None, 5, [], "box")),
    *(at("network", "code_size", value=value) for value in (None, "4", [], 0, -1, 4.0, 2**70)),
    *(at("network", "hidden", value=value) for value in (None, 8, "8", [[8]], ["8"], [0], [8.0], [2**14] * 40)),
    *(at("network", "activation", value=value) for value in (None, 5, [], "eval")),
    *(at("network", "kernel_size", value=value) for value in (None, "1", 3, 0, 1.0)),
    *(at("network", "prior_weight", value=value) for value in (float("nan"), 10**400, -1)),
    *(at("heard", value=value) for value in ([{}], [None], ["x"], [5], [RECORDING | {"more": 1}])),
    *(at("heard", 0, name, value=value) for name in RECORDING for value in ODD if value not in (None, 5, "x")),
    *(at("heard", 0, "sha256", value=value) for value in (None, 5, "x", "5" * 63, "g" * 64)),
    *(at("curves", "training", value=value) for value in (None, 5, "abc", [None], [10**400], [float("nan")], [True])),
    at("curves", "other", value=[1.0]),
    *(at("training", "unknown", value=value) for value in ODD),
    *(at("training", "seed", value=value) for value in ODD if value != 5),
    *(at("training", "stopped", value=value) for value in ODD),
    *(at("training", "pretraining", value=value) for value in ODD if value != "x"),
    *(at("training", "regularisation", value=value) for value in ODD if value != {}),
    *(at("training", "regularisation", "noise", value=value) for value in ODD if value not in (5, [])),
    *(at("training", "backgrounds", value=value) for value in ODD if value != []),
]


@pytest.mark.parametrize("number", range(len(WRONG_CARDS)))
def test_a_card_with_a_wrong_field_is_refused_in_one_short_line(scratch: Path, number: int) -> None:
    forge(scratch, WRONG_CARDS[number])
    with pytest.raises(DictionaryFileError, match=r"card|something else") as refusal:
        Dictionary.load(scratch)
    said = str(refusal.value).removeprefix(str(scratch))
    assert len(said) < 300
    assert said.isprintable()


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=9), st.just(10**400)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Walk through JSON: where is anything?"""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


PLACES = list(places(json.loads(json.dumps(asdict(CARD)))))


@given(st.sampled_from(PLACES), VALUES)
def test_whatever_stands_in_a_card_is_refused_or_can_be_shown(
    scratch: Path, place: tuple[str | int, ...], value: object
) -> None:
    forge(scratch, at(*place, value=value))
    with contextlib.suppress(DictionaryFileError):
        loaded = Dictionary.load(scratch)
        shown = json.dumps(asdict(loaded.card) | describe(loaded), ensure_ascii=False, allow_nan=False)
        assert len(shown.encode()) < 10_000
        assert math.isfinite(loaded.card.trained_s)
        assert isinstance(loaded.exemplars.shape[1], int)
        assert loaded.card.source in repr(loaded)


def test_every_setting_of_a_training_may_stand_in_a_card() -> None:
    config = TrainingConfig(augmentation=AugmentationConfig())
    settings = config.as_card()
    assert replace(CARD, training=settings).training == settings


@pytest.mark.parametrize(
    "edit",
    [
        at("stft", "n_fft", value=128),
        at("network", "code_size", value=5),
        at("network", "hidden", value=(9,)),
        at("network", "hidden", value=()),
        at("network", "hidden", value=(8, 8)),
        at("network", value=asdict(NetworkConfig("convolutional", 4, (8,), kernel_size=3))),
        at("network", "code_size", value=2**14),  # nothing of that size is allocated
    ],
)
def test_weights_of_other_shapes_than_the_card_promises_are_refused(scratch: Path, edit: Edit) -> None:
    with pytest.raises(DictionaryFileError, match="not as its card describes"):
        Dictionary.load(forge(scratch, edit))


FIRST = "encoder.layers.0.weight"
USELESS = {
    "nan": ({FIRST: torch.full((8, N_BINS, 1), torch.nan)}, "not finite"),
    "infinite": ({FIRST: torch.full((8, N_BINS, 1), -torch.inf)}, "not finite"),
    "too large": ({FIRST: torch.full((8, N_BINS, 1), 3e38)}, "codes that are not finite"),
    "no deviation": ({"code_deviation": torch.zeros(4, 1)}, "codes that are not finite"),
    "large codes": ({"code_deviation": torch.full((4, 1), 3e38)}, "decoder does not return spectra"),
    "huge": ({"decoder.layers.0.weight": torch.full((8, 4, 1), 3e38)}, "decoder does not return spectra"),
}


@pytest.mark.parametrize("case", USELESS)
def test_weights_that_draw_or_hear_nothing_are_neither_read_nor_written(tmp_path: Path, case: str) -> None:
    tensors, said = USELESS[case]
    with pytest.raises(DictionaryFileError, match=said):
        Dictionary.load(forge(tmp_path / "forged.safetensors", tensors=tensors))
    diverged = dictionary_of()
    diverged.network.load_state_dict(dictionary_of().network.state_dict() | tensors)
    with pytest.raises(DictionaryFileError, match=f"is not written.*{said}"):
        diverged.save(tmp_path / "saved.safetensors")
    assert os.listdir(tmp_path) == ["forged.safetensors"]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int32], ids=str
)
def test_weights_of_another_precision_are_refused(scratch: Path, whole: bytes, dtype: torch.dtype) -> None:
    scratch.write_bytes(whole)
    with safetensors.safe_open(scratch, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.to(dtype) for name, tensor in safetensors.torch.load(whole).items()}
    refuse(scratch, safetensors.torch.save(tensors, metadata), "not as its card describes")


def test_weights_that_the_card_does_not_know_are_refused_in_one_line(scratch: Path) -> None:
    with pytest.raises(DictionaryFileError, match=r"decoder\.extra\\x1b\\n is not as its card describes"):
        Dictionary.load(forge(scratch, tensors={"decoder.extra\x1b\n": torch.zeros(3)}))


# --- what is no file, or too large


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(DictionaryFileError, match=f"{path}: cannot be read .Not a regular file"):
            Dictionary.load(path)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DictionaryFileError, match="cannot be read"):
        Dictionary.load(tmp_path / name)


def test_nothing_is_allocated_on_a_files_word(tmp_path: Path, whole: bytes) -> None:
    zeros, promises = tmp_path / "zeros.safetensors", tmp_path / "promises.safetensors"
    zeros.touch()
    os.truncate(zeros, MAX_FILE_BYTES)  # a hole, not a gigabyte
    promises.write_bytes(struct.pack("<Q", 2**24) + whole[8:])
    wide = forge(tmp_path / "wide.safetensors", at("network", "hidden", value=[2**14] * 31))
    tracemalloc.start()
    try:
        for path in (zeros, promises, wide):
            with pytest.raises(DictionaryFileError):
                Dictionary.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_what_would_be_too_large_is_refused_before_it_is_trained() -> None:
    wide = replace(CARD, stft=StftConfig(2**16, 2**14), network=NetworkConfig(hidden=(), n_templates=2**13))
    refuse_too_large(CARD)
    with pytest.raises(ConfigError, match=r"would have \d+ MiB of weights; expected 512 at most: use narrower layers"):
        refuse_too_large(wide)


# --- using one


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_axes_are_as_documented(generator: torch.Generator, batch: tuple[int, ...]) -> None:
    code = dictionary_of().encode(torch.rand(*batch, N_BINS, 10, generator=generator))
    assert code.shape == (*batch, 4, 10)
    assert dictionary_of().decode(code).shape == (*batch, N_BINS, 10)


def test_the_code_does_not_depend_on_any_frames_level(generator: torch.Generator) -> None:
    dictionary, magnitude = dictionary_of(), torch.rand(N_BINS, 10, generator=generator)
    gains = torch.logspace(-10, 10, 10)
    torch.testing.assert_close(dictionary.encode(gains * magnitude), dictionary.encode(magnitude))


def test_silence_has_a_code_too() -> None:
    assert dictionary_of().encode(torch.zeros(N_BINS, 10)).isfinite().all()


def test_spectral_shapes_average_one_and_silence_stays_zero(generator: torch.Generator) -> None:
    magnitude = 7 * torch.rand(2, N_BINS, 10, generator=generator)
    magnitude[..., 3] = 0
    before = magnitude.clone()
    means = spectral_shape(magnitude).mean(dim=-2)
    expected = torch.ones(2, 10)
    expected[:, 3] = 0
    torch.testing.assert_close(means, expected)
    assert torch.equal(magnitude, before)


@pytest.mark.parametrize("n_bins", [1, 32, 34, 65])
def test_a_wrong_number_of_bins_is_refused_naming_both(n_bins: int) -> None:
    with pytest.raises(ShapeError, match=f"has {n_bins} bins but dictionary '.*violin.*' expects 33; use n_fft=64"):
        dictionary_of().encode(torch.rand(n_bins, 10))


def test_a_dictionary_never_learns_but_lets_its_code_be_found() -> None:
    dictionary = dictionary_of()
    assert not any(weight.requires_grad for weight in dictionary.network.parameters())
    code = torch.ones(4, 10, requires_grad=True)
    (gradient,) = torch.autograd.grad(dictionary.decode(code)[0].sum(), code)
    assert gradient.any()


def test_a_copy_on_a_device_draws_the_same() -> None:
    dictionary, code = dictionary_of(), torch.ones(4, 10)
    copy = dictionary.to(torch.device("cpu"))
    assert copy.card == dictionary.card
    assert torch.equal(copy.decode(code), dictionary.decode(code))
    assert not any(weight.requires_grad for weight in copy.network.parameters())


# --- the card


def test_the_seconds_heard_add_up() -> None:
    assert CARD.trained_s == 1.75
    assert replace(CARD, heard=()).trained_s == 0


@pytest.mark.parametrize("sample_rate", [0, -16000, 1_000_001])
def test_an_impossible_sample_rate_is_refused(sample_rate: int) -> None:
    with pytest.raises(ConfigError, match=f"sample_rate is {sample_rate}"):
        replace(CARD, sample_rate=sample_rate)


def test_a_source_has_its_name_in_unicodes_composed_form() -> None:
    assert replace(CARD, source="Flo\u0308te").source == "Fl\u00f6te"
    pair = [dictionary_of(replace(CARD, source=name)) for name in ("Fl\u00f6te", "Flo\u0308te")]
    with pytest.raises(ConfigError, match="2 dictionaries are of source"):
        refuse_unfit(pair)


def named(source: str, **changes: Any) -> Dictionary:
    return dictionary_of(replace(CARD, source=source, **changes))


def test_dictionaries_of_different_sources_with_one_rate_and_stft_go_together() -> None:
    refuse_unfit([named("hiss")])
    refuse_unfit([named("hiss"), named("hum"), named("rain")])


@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        ([], "there are no dictionaries; expected one at least"),
        (["hiss"], "dictionaries[0] is 'hiss'; expected Dictionary"),
        ([named("hiss"), named("hum"), named("hiss")], "2 dictionaries are of source 'hiss'; nothing tells apart"),
        ([named("hiss"), named("Hiss")], "2 dictionaries are of source 'hiss' and 'Hiss'; nothing tells apart"),
        ([named("hiss"), named("residual")], "a source is named 'residual', the name of what no dictionary explains"),
        ([named("hiss"), named("hum", sample_rate=8000)], "'hum' has 8000; train 'hum' again to match"),
    ],
)
def test_dictionaries_that_do_not_go_together_are_refused_with_what_differs(unfit: list[Dictionary], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        refuse_unfit(unfit)
    assert said in str(refusal.value)
    assert "--n-fft" not in str(refusal.value)


def test_a_dictionary_without_exemplars_is_refused_by_name() -> None:
    with_exemplars = Dictionary(named("hum").card, named("hum").network, torch.ones(3, 4, dtype=torch.uint8))
    refuse_without_exemplars([with_exemplars])
    without = Dictionary(named("hiss").card, named("hiss").network)
    with pytest.raises(ConfigError, match=r"^dictionary 'hiss' has no exemplars; train it again with exemplars_s"):
        refuse_without_exemplars([with_exemplars, without])


def test_a_dictionary_is_shown_by_its_source_kind_and_sound() -> None:
    assert repr(named("hiss")) == "Dictionary('hiss', dense, trained on 1.8 s at 16000 Hz)"
