"""How all tests run, and the fixture that any may use."""

# isort: off
import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:  # then each process compiles PyTorch anew, for seconds: have them share what is compiled
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache/bytecode")
    sys.dont_write_bytecode = os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is None

import sepdict  # noqa: F401  # before torch: it has idle threads sleep, a factor of ten where others compute
# isort: on

import multiprocessing
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # networks of tests are small: on several threads they are slower, on busy cores by far

# the same examples every time, and no time limit
settings.register_profile("sepdict", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("sepdict")


LONG_FIRST = ("docs", "web", "cli", "separation", "batch")  # folders whose files take minutes, so that none is last


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that take long: two processes then end at about the same time."""
    items.sort(key=lambda item: LONG_FIRST.index(folder) if (folder := item.path.parent.name) in LONG_FIRST else 9)


@pytest.fixture(scope="session", autouse=True)
def mask_estimators_trained_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep mask estimators and installed dictionaries apart from the user's own, and for all tests of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPDICT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SEPDICT_LIBRARY", str(tmp_path_factory.mktemp("library")))
        yield


def starting(method: str) -> SimpleNamespace:
    """Stand in for the module of worker processes that starts them so."""
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["process_tasks", "sepdict.web.jobs"])
    return SimpleNamespace(get_context=lambda _: context, parent_process=multiprocessing.parent_process)


@pytest.fixture(scope="session", autouse=True)
def quick_workers() -> Iterator[None]:
    """Fork worker processes from one that has loaded what they need, which saves seconds for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sepdict._core.processes.multiprocessing", starting("forkserver"))
        yield


@pytest.fixture
def really_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start worker processes from nothing, as they are for users."""
    monkeypatch.setattr("sepdict._core.processes.multiprocessing", starting("spawn"))


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Have what draws from the global generator draw the same, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """The same random numbers in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let a test share out threads."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)
