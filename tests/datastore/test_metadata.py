"""Metadata queries: namespaces, kinds and properties, on the engine and on the Datastore emulator."""

from typing import Any

import grpc
import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import GrpcTransport
from gaeport.errors import InvalidArgument
from tests.datastore.build import entity, unindexed
from tests.datastore.test_gql import aggregated, gql

Answer = list[tuple[tuple[str, ...], list[str]]]


@pytest.fixture(params=["memory", "datastore_emulator"])
def database(request: pytest.FixtureRequest, engine: Engine) -> Any:
    """A transport with entities in three namespaces; the Firestore emulator has no metadata."""
    if request.param == "memory":
        yield fill(engine)
        return
    with grpc.insecure_channel(request.getfixturevalue(request.param)) as channel:
        yield fill(GrpcTransport(channel))


@pytest.fixture
def embedded(engine: Engine) -> Any:
    return fill(engine)


def client(transport: Any, namespace: str = "") -> Client:
    return Client(transport, project="metadata", namespace=namespace)


def fill(transport: Any) -> Any:
    default, first, mixed = client(transport), client(transport, "first"), client(transport, "mixed")
    put(default, "B", "b", whole=1, text="x", hidden=unindexed("x"), inner={"city": "Oslo"}, many=[1, "x"])
    put(default, "A", "a", whole="1")
    put(default, "Bare", "none")
    put(first, "C", "c", whole=1)
    moment, point = wire.Timestamp(seconds=1), wire.LatLng(latitude=1)
    put(mixed, "M", "m", x=[1, "x", b"x", 1.5, True, None, mixed.key("Z", 1), point, moment])
    return transport


def put(on: Client, kind: str, name: str, **properties: Any) -> None:
    on.commit([wire.Mutation(upsert=entity(on.key(kind, name), **properties))])


def asked(transport: Any, text: str, namespace: str = "", read_time: int = 0) -> Any:
    request = wire.RunQueryRequest(project_id="metadata", gql_query=gql(text))
    request.partition_id.project_id, request.partition_id.namespace_id = "metadata", namespace
    if read_time:
        seconds, rest = divmod(read_time, 1_000_000)
        request.read_options.read_time.seconds, request.read_options.read_time.nanos = seconds, rest * 1000
    return transport.call("RunQuery", request).batch


def found(transport: Any, text: str, namespace: str = "", read_time: int = 0) -> Answer:
    """The names in each result's key (the default namespace's is empty), and its representations."""
    answer = []
    for result in asked(transport, text, namespace, read_time).entity_results:
        assert result.entity.key.partition_id.namespace_id == namespace
        shown = result.entity.properties
        values = shown["property_representation"].array_value.values if shown else []
        names = tuple(element.name for element in result.entity.key.path)
        answer.append((names, [item.string_value for item in values]))
    return answer


def test_namespaces_begin_with_the_default_one(database: Any) -> None:
    assert found(database, "SELECT * FROM __namespace__") == [(("",), []), (("first",), []), (("mixed",), [])]
    [default, *_] = asked(database, "SELECT __key__ FROM __namespace__").entity_results
    assert default.entity.key.path[0].id == 1


def test_kinds_are_those_of_the_namespace(database: Any) -> None:
    assert found(database, "SELECT * FROM __kind__") == [(("A",), []), (("B",), []), (("Bare",), [])]
    assert found(database, "SELECT * FROM __kind__", "first") == [(("C",), [])]
    assert found(database, "SELECT * FROM __kind__", "unknown") == []


def test_properties_are_the_indexed_ones_with_their_representations(database: Any) -> None:
    assert found(database, "SELECT * FROM __property__") == [
        (("A", "whole"), ["STRING"]),
        (("B", "inner.city"), ["STRING"]),
        (("B", "many"), ["INT64", "STRING"]),
        (("B", "text"), ["STRING"]),
        (("B", "whole"), ["INT64"]),
    ]
    every = ["BOOLEAN", "DOUBLE", "INT64", "NULL", "POINT", "REFERENCE", "STRING"]
    assert found(database, "SELECT * FROM __property__", "mixed") == [(("M", "x"), every)]


def test_keys_bound_the_answer(database: Any) -> None:
    assert found(database, "SELECT * FROM __kind__ WHERE __key__ > KEY(__kind__, 'A')") == [
        (("B",), []),
        (("Bare",), []),
    ]
    ranged = "SELECT * FROM __kind__ WHERE __key__ >= KEY(__kind__, 'A') AND __key__ < KEY(__kind__, 'Bare')"
    assert found(database, ranged) == [(("A",), []), (("B",), [])]
    after = "SELECT __key__ FROM __property__ WHERE __key__ > KEY(__kind__, 'B', __property__, 'many')"
    assert found(database, after) == [(("B", "text"), []), (("B", "whole"), [])]
    assert found(database, "SELECT * FROM __property__ WHERE __key__ HAS ANCESTOR KEY(__kind__, 'A')") == [
        (("A", "whole"), ["STRING"])
    ]
    default = "SELECT * FROM __namespace__ WHERE __key__ > KEY(__namespace__, 1)"
    assert found(database, default) == [(("first",), []), (("mixed",), [])]


def test_cursors_offset_and_limit_page_through(embedded: Any) -> None:
    batch = asked(embedded, "SELECT * FROM __kind__ LIMIT 1 OFFSET 1")
    assert (batch.skipped_results, batch.more_results) == (1, wire.MORE_RESULTS_AFTER_LIMIT)
    request = wire.RunQueryRequest(project_id="metadata")
    request.query.kind.add(name="__kind__")
    request.query.start_cursor = batch.end_cursor
    rest = embedded.call("RunQuery", request).batch
    assert [item.entity.key.path[0].name for item in rest.entity_results] == ["Bare"]
    assert rest.more_results == wire.NO_MORE_RESULTS
    request.query.start_cursor = b"g1"
    with pytest.raises(InvalidArgument, match="another query"):
        embedded.call("RunQuery", request)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM __kind__ ORDER BY __key__ DESC",
        "SELECT * FROM __property__ WHERE property_representation = 'STRING'",
        "SELECT property_representation FROM __property__",
        "SELECT DISTINCT __key__ FROM __kind__",
    ],
)
def test_what_production_refuses_is_refused(database: Any, text: str) -> None:
    with pytest.raises(InvalidArgument):
        asked(database, text)


def test_a_key_of_another_kind_is_refused(embedded: Any) -> None:
    with pytest.raises(InvalidArgument, match="needs a key of that kind"):
        asked(embedded, "SELECT * FROM __kind__ WHERE __key__ = KEY(Other, 'x')")


def test_what_was_deleted_is_gone_and_seen_at_its_time(embedded: Any) -> None:
    on = client(embedded)
    before = on.commit([wire.Mutation(upsert=entity(on.key("E", 1), x=1))])[0].version
    on.commit([wire.Mutation(delete=on.key("E", 1))])
    assert (("E",), []) not in found(embedded, "SELECT * FROM __kind__")
    assert (("E",), []) in found(embedded, "SELECT * FROM __kind__", read_time=before)
    assert (("E", "x"), ["INT64"]) in found(embedded, "SELECT * FROM __property__", read_time=before)


def test_metadata_is_counted(embedded: Any) -> None:
    assert aggregated(client(embedded), "SELECT COUNT(*) FROM __kind__") == {"property_1": 3}


def test_the_statistics_of_production_are_empty(database: Any) -> None:
    assert found(database, "SELECT * FROM __Stat_Total__") == []
