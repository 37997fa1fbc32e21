"""Devices: what is asked for is there, or refused."""

import pytest
import torch

from sepdict._core.devices import choose_device, describe_device, seeded_generator
from sepdict.errors import ConfigError


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_takes_a_device_that_computes() -> None:
    assert float(torch.ones(3, device=choose_device()).sum()) == 3
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "auto ", "cuda:x", "cpu:-2", "cuda:99", "vulkan", "meta", "hpu"])
def test_what_is_unknown_or_absent_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cuda' cannot be used here"):
        choose_device("cuda")


def test_a_refusal_names_the_devices_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"'vulkan' .* expected auto or cpu or cuda:0 or cuda:1$"):
        choose_device("vulkan")


def test_a_device_that_is_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="device is None; expected str"):
        choose_device(None)  # type: ignore[arg-type]


def test_a_device_is_described_in_one_line() -> None:
    text = describe_device(choose_device())
    assert text.startswith(choose_device().type)
    assert "\n" not in text


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    first, again, other = (torch.rand(100, generator=seeded_generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_seed_is_its_own_source_of_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(5)
    torch.manual_seed(1)
    seeded_generator(7)
    assert torch.equal(torch.rand(5), expected)  # the global one is not touched
