"""Clients on every Datastore that the contract is held against."""

import random
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import GrpcTransport

EMBEDDED = ("memory", "disk")
EVERYWHERE = (*EMBEDDED, "firestore_emulator", "datastore_emulator")
MODERN = (*EMBEDDED, "firestore_emulator")  # the Datastore emulator lacks !=, IN, OR, masks and aggregation


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for `client` everywhere, and `modern_client` where newer operators are offered."""
    if "backend" not in metafunc.fixturenames:
        return
    if "modern_client" in metafunc.fixturenames:
        metafunc.parametrize("backend", MODERN)
    else:
        metafunc.parametrize("backend", EVERYWHERE)


@pytest.fixture
def client(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client on an empty project of one backend."""
    project = f"test-{random.randrange(10**12)}"
    if backend in EMBEDDED:
        engine = Engine(tmp_path / "data" if backend == "disk" else None)
        yield Client(engine, project=project, namespace="space")
        engine.close()
        return
    with grpc.insecure_channel(request.getfixturevalue(backend)) as channel:
        yield Client(GrpcTransport(channel), project=project, namespace="space")


@pytest.fixture
def modern_client(client: Client) -> Client:
    """As `client`, the Datastore emulator left out."""
    return client


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine in memory."""
    made = Engine(None)
    yield made
    made.close()


@pytest.fixture
def local(engine: Engine) -> Client:
    """A client on an engine in memory."""
    return Client(engine, project="project")
