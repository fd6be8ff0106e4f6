"""The connection of a process: made when needed, counted, dropped by new settings and by a fork."""

import os
import random
from pathlib import Path

import pytest

from gaeport import datastore, meter, settings
from gaeport.datastore import connection, wire
from gaeport.datastore.client import Client
from gaeport.errors import ConfigurationError
from tests.datastore.build import entity


def put(client: Client, name: str) -> None:
    client.commit([wire.Mutation(upsert=entity(client.key("Kind", name)))])


def there(client: Client, name: str) -> bool:
    return client.lookup([client.key("Kind", name)])[0] is not None


def test_the_client_and_the_channel_see_one_store(project: Path) -> None:
    put(datastore.client(), "a")
    from gaeport.datastore.transport import GrpcTransport

    assert there(Client(GrpcTransport(datastore.channel()), project="gaeport-local"), "a")
    assert (project / ".gaeport" / "datastore.sqlite3").is_file()


def test_own_entities_live_in_a_namespace_of_their_own(project: Path) -> None:
    settings.configure(root=project, data=":memory:", namespace="stage")
    assert (datastore.client().namespace, datastore.own_client().namespace) == ("stage", "gaeport.stage")


def test_calls_are_counted(project: Path) -> None:
    client = datastore.client()
    with meter.measure() as counted:
        put(client, "a")
        there(client, "a")
        there(client, "b")
    assert counted.calls == {"Commit": 1, "Lookup": 2}
    assert counted.units == {"datastore.write": 1, "datastore.read": 2}


def test_data_on_disk_outlives_the_connection_and_data_in_memory_does_not(project: Path) -> None:
    put(datastore.client(), "a")
    datastore.reset()
    assert there(datastore.client(), "a")
    settings.configure(root=project, data=":memory:")
    assert not there(datastore.client(), "a")
    put(datastore.client(), "b")
    settings.configure(root=project)
    assert there(datastore.client(), "a")
    assert not there(datastore.client(), "b")


def test_only_the_embedded_environment_has_an_engine(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="emulator"):
        connection.engine()
    assert connection.host() == "127.0.0.1:1"


def test_a_child_uses_the_same_data(project: Path) -> None:
    put(datastore.client(), "before")
    child = os.fork()
    if child == 0:
        put(datastore.client(), "child")
        os._exit(0 if there(datastore.client(), "before") else 1)
    put(datastore.client(), "parent")
    assert os.waitpid(child, 0)[1] == 0
    assert [there(datastore.client(), name) for name in ("before", "child", "parent")] == [True] * 3


def test_the_emulator_is_reached_by_configuration_alone(
    project: Path, firestore_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    settings.configure(root=project, project=f"connection-{random.randrange(10**9)}")
    with meter.measure() as counted:
        put(datastore.client(), "a")
        assert there(datastore.client(), "a")
    assert counted.calls == {"Commit": 1, "Lookup": 1}
    assert not (project / ".gaeport").exists()
