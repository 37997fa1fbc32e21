"""Dictionaries: what is saved is what is loaded, and what is damaged is refused with the reason."""

import contextlib
import errno
import io
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import soundfile
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import sepdict.dictionary
from sepdict.bands import n_bands
from sepdict.devices import seeded_generator
from sepdict.dictionary import FORMAT, MAX_FILE_BYTES, Card, Dictionary
from sepdict.errors import ConfigError, DictionaryFileError, ShapeError
from sepdict.layers import initialise
from sepdict.networks import Autoencoder, NetworkConfig, spectral_shape
from sepdict.spectrogram import StftConfig

N_BINS = 33
CARD = Card(
    source="violin, 1st [solo] 🎻",
    sample_rate=16000,
    stft=StftConfig(n_fft=64, hop_length=16, window="hann"),
    network=NetworkConfig(kind="dense", code_size=4, hidden=(8,), activation="relu"),
    training={"seed": 7, "divergence": "kl", "rate": 0.1},
    heard=({"name": "a.wav", "duration_s": 1.5}, {"name": "b.wav", "duration_s": 0.25}),
    curves={"training": (3.0, 0.1 + 0.2), "validation": (4.0, 1e-300)},
)


def dictionary_of(card: Card = CARD, *, seed: int = 0) -> Dictionary:
    network = Autoencoder(card.network, card.stft.n_bins)
    initialise(network, seeded_generator(seed))
    return Dictionary(card, network)


def weights(dictionary: Dictionary) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in dictionary.network.state_dict().items()}


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The bytes of a good file."""
    with pytest.MonkeyPatch.context() as patch:
        written: list[bytes] = []
        patch.setattr(sepdict.dictionary, "write_atomically", lambda _, content: written.append(content))
        dictionary_of().save("unused.safetensors")
    return written[0]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that hypothesis writes over and over."""
    return tmp_path_factory.mktemp("damaged") / "a.safetensors"


def save_with_card(path: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Save a file that is right in all but its card, checksums included, as a wrong writer would."""
    fields = asdict(CARD)
    edit(fields)
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary, "asdict", lambda _: fields)
        return dictionary_of().save(path)


def at(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def edit(fields: dict[str, Any]) -> None:
        for key in keys[:-1]:
            fields = fields[key]
        fields[keys[-1]] = value

    return edit


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


def test_a_memory_is_saved_and_loaded_and_counts_in_the_checksum(tmp_path: Path) -> None:
    plain = dictionary_of()
    memory = torch.arange(n_bands(CARD.stft.n_bins) * 6).reshape(-1, 6).to(torch.uint8)
    remembering = Dictionary(plain.card, plain.network, memory)
    loaded = Dictionary.load(remembering.save(tmp_path / "remembers.safetensors"))
    assert torch.equal(loaded.memory, memory)
    assert loaded.sha256 == remembering.sha256 != plain.sha256
    assert Dictionary.load(plain.save(tmp_path / "forgets.safetensors")).memory.numel() == 0


@pytest.mark.parametrize(
    "memory",
    [
        torch.zeros(3, 6, dtype=torch.uint8),
        torch.zeros(n_bands(CARD.stft.n_bins), 6),
        torch.zeros(6, dtype=torch.uint8),
    ],
)
def test_a_memory_that_cannot_be_is_refused(scratch: Path, memory: torch.Tensor) -> None:
    plain = dictionary_of()
    Dictionary(plain.card, plain.network, memory).save(scratch)
    with pytest.raises(DictionaryFileError, match="memory is not as its card promises"):
        Dictionary.load(scratch)


def test_a_dictionary_of_the_first_format_is_read(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary, "FORMAT_VERSION", 1)
        dictionary_of().save(scratch)
    assert weights(Dictionary.load(scratch)).keys() == weights(dictionary_of()).keys()


def test_saved_twice_gives_equal_bytes(tmp_path: Path) -> None:
    contents = {dictionary_of().save(tmp_path / "a.safetensors").read_bytes() for _ in range(20)}
    assert len(contents) == 1


def test_a_path_may_be_text_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dictionary_of().save("a.safetensors") == tmp_path / "a.safetensors"
    assert Dictionary.load("a.safetensors").source == CARD.source


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
        refuse(scratch, whole[:length], "truncated|damaged")


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


@pytest.mark.parametrize("version", [0, 5, 999])
def test_another_version_is_refused_by_number(scratch: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary, "FORMAT_VERSION", version)
        dictionary_of().save(scratch)
    with pytest.raises(DictionaryFileError, match=f"version {version}, .*install a newer sepdict"):
        Dictionary.load(scratch)


def test_a_dictionary_of_before_templates_draws_as_it_did(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = dictionary_of(replace(CARD, network=replace(CARD.network, n_templates=0)))
    card = asdict(old.card)
    del card["network"]["n_templates"]
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary, "FORMAT_VERSION", 2)
        patch.setattr(sepdict.dictionary, "asdict", lambda _: card)
        old.save(scratch)
    code = torch.randn(old.card.network.code_size, 5)
    assert torch.equal(Dictionary.load(scratch).decode(code), old.decode(code))


@pytest.mark.parametrize("version", [None, [], "", "x", "1.0", "²"])
def test_a_version_that_is_no_number_is_refused(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, version: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary, "FORMAT_VERSION", version)
        dictionary_of().save(scratch)
    with pytest.raises(DictionaryFileError, match="something else"):
        Dictionary.load(scratch)


@pytest.mark.parametrize("field", asdict(CARD))
def test_a_card_without_a_field_is_refused_by_its_name(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    save_with_card(scratch, monkeypatch, lambda fields: fields.pop(field))
    with pytest.raises(DictionaryFileError, match=f"card is not valid.*{field}"):
        Dictionary.load(scratch)


WRONG_CARDS = [
    *(at("source", value=value) for value in (None, 5, [], "", "a/b")),
    *(at("sample_rate", value=value) for value in (None, "16000", [], 0, -1, 2**40, float("inf"), 16000.0)),
    *(at(field, value=value) for field in ("stft", "network") for value in (None, 5, "x", [], [1], {"extra": 1})),
    *(at(field, value=value) for field in ("training", "heard", "curves") for value in (None, 5, "x")),
    *(at("stft", "n_fft", value=value) for value in (None, "64", [], -64, 63, 64.0, 2**70)),
    *(at("stft", "hop_length", value=value) for value in (None, "16", 0, 33, 16.0)),
    *(at("stft", "window", value=value) for value in (None, 5, [], "box")),
    *(at("network", "kind", value=value) for value in (None, 5, [], "box")),
    *(at("network", "code_size", value=value) for value in (None, "4", [], 0, -1, 4.0, 2**70)),
    *(at("network", "hidden", value=value) for value in (None, 8, "8", [[8]], ["8"], [0], [8.0], [2**14] * 40)),
    *(at("network", "activation", value=value) for value in (None, 5, [], "eval")),
    *(at("network", "kernel_size", value=value) for value in (None, "1", 3, 0, 1.0)),
    *(at("heard", value=[{"duration_s": value}]) for value in (None, "long", [], 10**400)),
    *(at("heard", value=[value]) for value in ({}, None, "x", 5)),
    *(at("curves", value={"training": value}) for value in (None, 5, "abc", [None], [10**400])),
]


@pytest.mark.parametrize("edit", WRONG_CARDS)
def test_a_card_with_a_wrong_field_is_refused(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[dict[str, Any]], None]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sepdict.dictionary.json, "dumps", lenient_json(sepdict.dictionary.json.dumps))
        save_with_card(scratch, monkeypatch, edit)
    with pytest.raises(DictionaryFileError, match="card"):
        Dictionary.load(scratch)


def lenient_json(dumps: Callable[..., str]) -> Callable[..., str]:
    """Write what a careless writer would: Infinity and NaN included."""
    return lambda value, **settings: dumps(value, **(settings | {"allow_nan": True}))


@pytest.mark.parametrize(
    "edit",
    [
        at("stft", "n_fft", value=128),
        at("network", "code_size", value=5),
        at("network", "hidden", value=(9,)),
        at("network", "hidden", value=()),
        at("network", "hidden", value=(8, 8)),
        at("network", value={"kind": "convolutional", "code_size": 4, "hidden": (8,), "kernel_size": 3}),
        at("network", "code_size", value=2**14),  # nothing of that size is allocated
    ],
)
def test_weights_of_other_shapes_than_the_card_promises_are_refused(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[dict[str, Any]], None]
) -> None:
    save_with_card(scratch, monkeypatch, edit)
    with pytest.raises(DictionaryFileError, match="not as its card promises"):
        Dictionary.load(scratch)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(scratch: Path, value: float) -> None:
    dictionary = dictionary_of()
    next(dictionary.network.parameters()).view(-1)[5] = value
    dictionary.save(scratch)
    with pytest.raises(DictionaryFileError, match="finite"):
        Dictionary.load(scratch)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int32], ids=str
)
def test_weights_of_another_precision_are_refused(scratch: Path, whole: bytes, dtype: torch.dtype) -> None:
    scratch.write_bytes(whole)
    with safetensors.safe_open(scratch, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.to(dtype) for name, tensor in safetensors.torch.load(whole).items()}
    refuse(scratch, safetensors.torch.save(tensors, metadata), "not as its card promises")


def test_weights_that_the_card_does_not_know_are_refused(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dictionary = dictionary_of()
    dictionary.network.decoder.extra = torch.nn.Parameter(torch.zeros(3))
    dictionary.save(scratch)
    with pytest.raises(DictionaryFileError, match=r"decoder\.extra is not as its card promises"):
        Dictionary.load(scratch)


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


@pytest.mark.parametrize("source", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b"])
def test_a_source_name_that_cannot_be_a_files_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="source name"):
        replace(CARD, source=source)


@pytest.mark.parametrize("sample_rate", [0, -16000, 1_000_001])
def test_an_impossible_sample_rate_is_refused(sample_rate: int) -> None:
    with pytest.raises(ConfigError, match=f"sample rate is {sample_rate} Hz"):
        replace(CARD, sample_rate=sample_rate)
