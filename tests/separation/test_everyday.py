"""Laws of the exemplars of everyday sounds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sepdict.separation.everyday
from sepdict._core.cache import cache_folder
from sepdict.audio.everyday_sounds import everyday_sounds, n_everyday_samples
from sepdict.audio.signal import Audio
from sepdict.dictionaries.exemplars import decode_exemplars
from sepdict.separation.everyday import everyday_exemplars
from sepdict.spectral.bands import band_widths
from sepdict.spectral.stft import StftConfig

RATE, SMALL = 8000, StftConfig(n_fft=256, hop_length=64)
N_SOUNDS = 3


@pytest.fixture(autouse=True)
def an_empty_cache_and_few_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sepdict.separation.everyday, "N_SOUNDS", N_SOUNDS)
    everyday_exemplars.cache_clear()
    yield
    everyday_exemplars.cache_clear()


def test_a_soft_sound_counts_as_much_as_a_loud_one_and_its_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 1, n_everyday_samples(RATE), generator=generator)
    noise[0, :, : noise.shape[2] // 2] = 0
    sounds = [Audio(0.001 * noise[0], RATE), Audio(noise[1], RATE)]
    monkeypatch.setattr(sepdict.separation.everyday, "everyday_sounds", lambda *_, **__: sounds)
    energy = (band_widths(129)[:, None] * decode_exemplars(everyday_exemplars(RATE, SMALL)).square()).sum(dim=0)
    assert energy.shape[0] == N_SOUNDS * (4 * RATE // 64 + 1)
    n_first = 4 * RATE // 64 // 2
    first, second = energy[: n_first - 2].mean(), energy[n_first + 5 : 3 * n_first].mean()
    assert 0.9 < first / second < 1.1


def test_exemplars_from_the_cache_are_those_that_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = everyday_exemplars(RATE, SMALL)
    everyday_exemplars.cache_clear()
    monkeypatch.setattr(sepdict.separation.everyday, "everyday_sounds", None)
    assert torch.equal(everyday_exemplars(RATE, SMALL), made)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), lambda whole: whole[:50]])
def test_a_damaged_cache_costs_time_only(damage: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(damage)
    made = everyday_exemplars(RATE, SMALL)
    (path,) = cache_folder().iterdir()
    path.write_bytes(damage(path.read_bytes()))
    everyday_exemplars.cache_clear()
    n_made = []
    monkeypatch.setattr(
        sepdict.separation.everyday,
        "everyday_sounds",
        lambda *facts, **options: n_made.append(1) or everyday_sounds(*facts, **options),
    )
    assert torch.equal(everyday_exemplars(RATE, SMALL), made)
    assert n_made == [1]


def test_a_cache_that_cannot_be_written_to_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert everyday_exemplars(RATE, SMALL).shape[0] > 0


def test_another_stft_gets_exemplars_of_its_own() -> None:
    assert everyday_exemplars(RATE, SMALL).shape != everyday_exemplars(RATE, StftConfig(512, 128)).shape
    assert len(list(cache_folder().iterdir())) == 2
