"""Fixtures that every test may use, and how hypothesis runs: the same examples every time, no time limit."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("sepdict", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("sepdict")


@pytest.fixture
def generator() -> torch.Generator:
    """The same random numbers in every run."""
    return torch.Generator().manual_seed(0)
