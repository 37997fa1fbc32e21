"""Fixtures that every test may use, and how hypothesis runs: the same examples every time, no time limit."""

from collections.abc import Iterator

# isort: off
import sepdict  # noqa: F401  # before torch: it makes idle threads sleep, a factor of ten where others compute
# isort: on

import pytest
import torch
from hypothesis import settings

settings.register_profile("sepdict", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("sepdict")


@pytest.fixture
def generator() -> torch.Generator:
    """The same random numbers in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors only: more threads wait for each other, by a factor of ten where other programs compute, too."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
