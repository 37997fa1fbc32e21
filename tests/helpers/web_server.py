"""The server that the tests of the page ask: a plugin, for it is started once for each of their files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from front_end import TINY, trained
from web_client import LIMITS, asking, service_of

from sepdict import MarkingConfig
from sepdict.web.server import Settings, create_app


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for source in ("hiss", "hum"):
        trained(source).save(folder / f"{source}.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no dictionary")
    return folder


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[TestClient]:
    """One server for all tests of the module, for its process takes seconds to start."""
    app = create_app(Settings(library=library, limits=LIMITS, training=TINY, marking=MarkingConfig(TINY)))
    with asking(app) as client:
        yield client


@pytest.fixture
def client(server: TestClient) -> Iterator[TestClient]:
    """The server, from which what a test has uploaded and made is taken away afterwards."""
    yield server
    service = service_of(server)
    for identifier in list(service.store.uploads):
        service.store.remove(identifier)
    service.queue.limits = replace(LIMITS, kept_s=-1)
    service.queue.sweep()
    service.queue.limits = LIMITS
