"""`gaeport datastore`: a server that any client reaches."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import datastore as google_datastore
from google.cloud import ndb

from gaeport.cli import main
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.server import serve
from gaeport.datastore.transport import SERVICE, GrpcTransport
from gaeport.errors import ConfigurationError, FailedPrecondition, InvalidArgument, Unavailable
from tests.datastore.build import entity


class ServedBook(ndb.Model):
    title = ndb.StringProperty()


def started(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gaeport", "datastore", "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), line
    return line.removeprefix("listening on ").strip()


def stopped(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    code = process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()
    return code


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    process = started(tmp_path, "--data", ":memory:")
    yield address(process)
    assert stopped(process) == 0


@pytest.fixture
def client(engine: Engine) -> Iterator[Client]:
    """A client on a server in this process."""
    server, port = serve(engine, "127.0.0.1", 0)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield Client(GrpcTransport(channel), project="project")
    server.stop(None).wait()


def test_google_cloud_datastore_and_ndb_reach_it_by_the_environment(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", host)
    client = google_datastore.Client(project="shop")
    kept = google_datastore.Entity(client.key("ServedBook", "emma"))
    kept["title"] = "Emma"
    with client.transaction():
        client.put(kept)
    assert client.get(kept.key) == kept
    assert client.get(client.key("ServedBook", "none")) is None
    query = client.query(kind="ServedBook")
    [[count]] = list(client.aggregation_query(query).count(alias="n").fetch())
    assert count.value == 1
    [complete] = client.allocate_ids(client.key("ServedBook"), 1)
    client.reserve_ids_multi([complete])
    with pytest.raises(exceptions.NotFound):
        client._datastore_api.commit(request=_update_of_nothing())
    with ndb.Client(project="shop").context():
        assert [book.title for book in ServedBook.query(ServedBook.title == "Emma")] == ["Emma"]
        assert ndb.gql("SELECT * FROM ServedBook").count() == 1


def _update_of_nothing() -> Any:
    request: dict[str, Any] = {"project_id": "shop", "mode": "NON_TRANSACTIONAL"}
    request["mutations"] = [{"update": {"key": {"path": [{"kind": "ServedBook", "name": "none"}]}}}]
    return request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_with_exit_code_0_and_keeps_its_data(tmp_path: Path, number: int) -> None:
    for there in (False, True):
        process = started(tmp_path, "--data", "kept")
        with grpc.insecure_channel(address(process)) as channel:
            client = Client(GrpcTransport(channel), project="project")
            key = client.key("Kind", "a")
            assert (client.lookup([key])[0] is not None) is there
            client.commit([wire.Mutation(upsert=entity(key))])
        assert stopped(process, number) == 0
    assert (tmp_path / "kept" / "datastore.sqlite3").is_file()


def test_it_refuses_queries_without_their_index(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("indexes: []\n")
    process = started(tmp_path, "--data", ":memory:", "--require-indexes", "my.yaml")
    with grpc.insecure_channel(address(process)) as channel:
        query = wire.Query(kind=[{"name": "K"}], order=[{"property": {"name": "a"}}, {"property": {"name": "b"}}])
        with pytest.raises(FailedPrecondition, match="no matching index found"):
            list(Client(GrpcTransport(channel), project="project").query(query))
    assert stopped(process) == 0


def test_a_port_in_use_is_said(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    server, port = serve(engine, "127.0.0.1", 0)
    with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1: it is in use"):
        serve(engine, "127.0.0.1", port)
    assert main(["datastore", "--data", ":memory:", "--port", str(port)]) == 2
    assert "--port" in capsys.readouterr().err
    server.stop(None).wait()


def test_errors_travel_as_statuses(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="reserved"):
        client.lookup([client.key("__Reserved__", 1)])
    with pytest.raises(InvalidArgument) as caught:
        client.lookup([client.key("K", "x" * 5000)])
    assert len(str(caught.value)) < 3000


def test_a_defect_becomes_internal(engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(method: str, request: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(engine, "call", fail)
    with pytest.raises(Exception, match="INTERNAL: ZeroDivisionError: a defect"):
        client.commit([])


def test_a_call_that_came_too_late_changes_nothing(engine: Engine, client: Client) -> None:
    server, port = serve(engine, "127.0.0.1", 0)
    request = wire.CommitRequest(project_id="project", mode=wire.NON_TRANSACTIONAL)
    key = client.key("Kind", "late")
    request.mutations.add(upsert=entity(key))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        commit = channel.unary_unary(f"/{SERVICE}/Commit", lambda message: message.SerializeToString())
        with pytest.raises(grpc.RpcError) as caught:
            commit(request, timeout=-1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.lookup([key]) == [None]
    server.stop(None).wait()


def test_messages_may_be_larger_than_grpc_s_default(client: Client) -> None:
    keys = [client.key("Kind", number) for number in range(1, 10)]
    blob = wire.Value(blob_value=bytes(1_000_000), exclude_from_indexes=True)
    client.commit([wire.Mutation(upsert=wire.Entity(key=key, properties={"b": blob})) for key in keys])
    assert sum(len(found.entity.properties["b"].blob_value) for found in client.lookup(keys) if found) == 9_000_000


def test_a_new_channel_does_not_inherit_what_another_met_on_its_port(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def lookup(channel: grpc.Channel) -> list[object]:
        client = Client(GrpcTransport(channel), project="project")
        return list(client.lookup([client.key("Kind", 1)]))

    with grpc.insecure_channel(f"127.0.0.1:{port}") as waiting:
        with pytest.raises(Unavailable):
            lookup(waiting)
        server, _ = serve(engine, "127.0.0.1", port)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert lookup(channel) == [None]
    server.stop(None).wait()


def test_many_threads_at_once(client: Client) -> None:
    def work(number: int) -> None:
        for step in range(10):
            key = client.key("Kind", f"{number}-{step}")
            client.commit([wire.Mutation(insert=entity(key, n=step))])
            assert client.lookup([key])[0] is not None

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(24)))
    assert sum(1 for _ in client.query(wire.Query(kind=[{"name": "Kind"}]))) == 240


@pytest.mark.long  # the write waits for two seconds
def test_pessimistic_concurrency_by_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(tmp_path, "--data", ":memory:", "--concurrency", "pessimistic")
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", address(process))
    client = google_datastore.Client(project="shop")
    kept = google_datastore.Entity(client.key("Book", "emma"))
    client.put(kept)
    with client.transaction() as transaction:
        read = client.get(kept.key)
        with pytest.raises(exceptions.Conflict):
            google_datastore.Client(project="shop").put(kept)
        transaction.put(read)
    client.put(kept)
    assert stopped(process) == 0
