"""GQL: what it means, on the engine and on Google's emulators, and what is refused."""

from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.gql import parse_aggregation_query, parse_query
from gaeport.errors import DatastoreError, InvalidArgument
from tests.datastore.build import entity, value

BOTH = [
    "SELECT * FROM K WHERE n > 1 AND n <= 3",
    "select * from `K` where `n` > 1 and 3 >= n",
    "SELECT n FROM K ORDER BY n DESC LIMIT 2",
    "SELECT * FROM K ORDER BY g DESC, n ASC",
    "SELECT __key__ FROM K",
    "SELECT DISTINCT g FROM K",
    "SELECT DISTINCT ON (g) * FROM K",
    "SELECT DISTINCT ON (g) g, n FROM K",
    "SELECT * FROM K WHERE g IN ARRAY('a')",
    "SELECT * FROM K WHERE 'a' IN g",
    'SELECT * FROM K WHERE g CONTAINS "a"',
    "SELECT * FROM K WHERE g = 'it''s \\'quoted\\'\\n'",
    "SELECT * FROM K WHERE __key__ = KEY(K, 'k1')",
    "SELECT * FROM K WHERE __key__ HAS ANCESTOR KEY(NAMESPACE('space'), K, 'k1')",
    "SELECT * WHERE KEY(K, 'k1') HAS DESCENDANT __key__",
    "SELECT * FROM K WHERE when = DATETIME('2013-09-29T09:30:20.00002-08:00')",
    "SELECT * FROM K WHERE raw = BLOB('_w')",
    "SELECT * FROM K WHERE ok = TRUE",
    "SELECT * FROM K WHERE nothing IS NULL",
    "SELECT * FROM K WHERE nothing = NULL",
    "SELECT * FROM K WHERE price = 1.5e0",
    "SELECT * FROM K WHERE below = -3",
    "SELECT * FROM K WHERE home.city = 'Oslo'",
    "SELECT * FROM K LIMIT 2 OFFSET 1",
]
MODERN = [
    "SELECT * FROM K WHERE g IN ARRAY('a', 'z')",
    "SELECT * FROM K WHERE n != 2",
    "SELECT * FROM K WHERE 2 != n",
    "SELECT * FROM K WHERE n NOT IN ARRAY(1, 2)",
    "SELECT * FROM K WHERE n = 0 OR n = 1 AND g = 'a'",
    "SELECT * FROM K WHERE (n = 0 OR n = 1) AND g = 'a'",
]
REFUSED = [
    "",
    "SELECT",
    "SELECT * FROM",
    "SELECT * FROM K WHERE",
    "SELECT * FROM K WHERE n = 1;",
    "SELECT * FROM K WHERE n = - 1",
    "SELECT * FROM K WHERE n # 1",
    "SELECT * FROM K WHERE g = 'open",
    "SELECT * FROM K WHERE g = '\\x61'",
    "SELECT * FROM K WHERE g IN ('a')",
    "SELECT * FROM K WHERE limit = 1",
    "SELECT * FROM K WHERE group = 1",
    "SELECT * FROM K OFFSET 1 LIMIT 2",
    "SELECT * FROM K OFFSET 1 + 2",
    "SELECT * FROM K LIMIT 1000000000000",
    "SELECT * FROM K LIMIT FIRST(1, 2)",
    "SELECT * FROM K WHERE n = 99999999999999999999",
    "SELECT * FROM K WHERE when = DATETIME('2013-09-29')",
    "SELECT * FROM K WHERE raw = BLOB('YQ==')",
    "SELECT * FROM K WHERE n = @1",
    "SELECT * FROM K WHERE n = @name",
]


def run(client: Client, text: str, *positional: Any, literals: bool = True, **named: Any) -> Any:
    """Return the response to a GQL query; bytes among the bindings are cursors."""
    request = wire.RunQueryRequest(project_id=client.project)
    request.partition_id.project_id, request.partition_id.namespace_id = client.project, client.namespace
    request.gql_query.CopyFrom(gql(text, *positional, literals=literals, **named))
    return client.transport.call("RunQuery", request)


def gql(text: str, *positional: Any, literals: bool = True, **named: Any) -> Any:
    made = wire.GqlQuery(query_string=text, allow_literals=literals)
    for item in positional:
        bind(made.positional_bindings.add(), item)
    for name, item in named.items():
        bind(made.named_bindings[name], item)
    return made


def bind(parameter: Any, item: Any) -> None:
    if isinstance(item, bytes):
        parameter.cursor = item
    else:
        parameter.value.CopyFrom(value(item))


def found(response: Any) -> list[tuple[str, list[str]]]:
    """Each result's key name and the names of its properties."""
    results = response.batch.entity_results
    return [(item.entity.key.path[-1].name, sorted(item.entity.properties)) for item in results]


def names(response: Any) -> list[str]:
    return [name for name, _ in found(response)]


def fill(client: Client) -> None:
    moment = wire.Timestamp(seconds=1380475820, nanos=20_000)
    extra: list[dict[str, Any]] = [
        {"when": moment, "raw": b"\xff", "ok": True},
        {"nothing": None, "price": 1.5},
        {"below": -3, "home": {"city": "Oslo"}},
        {"g": "it's 'quoted'\n"},
        {},
    ]
    for number, more in enumerate(extra):
        content = {"n": number, "g": "ab"[number % 2]} | more
        client.commit([wire.Mutation(upsert=entity(client.key("K", f"k{number}"), **content))])


@pytest.fixture
def filled(client: Client) -> Client:
    fill(client)
    return client


@pytest.fixture
def embedded(local: Client) -> Client:
    """An engine in memory with the same entities, to compare with."""
    local.namespace = "space"
    fill(local)
    return local


def test_queries_give_what_googles_emulators_give(filled: Client, embedded: Client) -> None:
    for text in BOTH:
        assert found(run(embedded, text)) == found(run(filled, text)), text


def test_newer_operators_give_what_the_firestore_emulator_gives(
    filled: Client, modern_client: Client, embedded: Client
) -> None:
    for text in MODERN:
        assert found(run(embedded, text)) == found(run(filled, text)), text


def test_what_is_no_gql_is_refused_everywhere(filled: Client) -> None:
    for text in REFUSED:
        with pytest.raises(DatastoreError) as caught:
            run(filled, text)
        assert caught.value.code == "INVALID_ARGUMENT", text


def test_every_kind_of_literal_finds_its_entity(embedded: Client) -> None:
    assert names(run(embedded, BOTH[15])) == ["k0"]  # DATETIME
    assert names(run(embedded, BOTH[16])) == ["k0"]  # BLOB
    assert names(run(embedded, BOTH[11])) == ["k3"]  # escapes
    assert names(run(embedded, BOTH[20])) == ["k1"]  # a double


def test_and_binds_closer_than_or(embedded: Client) -> None:
    assert names(run(embedded, "SELECT * FROM K WHERE n = 1 OR n = 2 AND g = 'b'")) == ["k1"]
    assert names(run(embedded, "SELECT * FROM K WHERE n = 0 OR n = 1 AND g = 'a'")) == ["k0"]


def test_the_response_carries_the_parsed_query(embedded: Client) -> None:
    query = run(embedded, "SELECT * FROM K WHERE n = 1").query
    assert query.kind[0].name == "K"
    assert query.filter.property_filter.op == wire.EQUAL


def test_values_and_cursors_are_bound_by_number_and_by_name(embedded: Client) -> None:
    text = "SELECT * FROM K WHERE n > @1 AND n < @most LIMIT @2"
    assert names(run(embedded, text, 0, 2, literals=False, most=4)) == ["k1", "k2"]
    cursor = run(embedded, "SELECT * FROM K LIMIT 2").batch.end_cursor
    assert names(run(embedded, "SELECT * FROM K OFFSET @1", cursor)) == ["k2", "k3", "k4"]
    assert names(run(embedded, "SELECT * FROM K OFFSET @at + 1", at=cursor)) == ["k3", "k4"]
    assert names(run(embedded, "SELECT * FROM K LIMIT @1", cursor)) == ["k0", "k1"]
    assert names(run(embedded, "SELECT * FROM K LIMIT FIRST(1, @1)", cursor)) == ["k0"]
    assert names(run(embedded, "SELECT * FROM K WHERE g IN @1", ["a", "z"], literals=False)) == ["k0", "k2", "k4"]


def test_bindings_and_binding_sites_must_match(embedded: Client) -> None:
    for text, bound in [("n = @2", [1]), ("n = @1", []), ("n = @1", [1, 2]), ("n = @name", []), ("n = @0", [1])]:
        with pytest.raises(InvalidArgument, match="binding"):
            run(embedded, f"SELECT * FROM K WHERE {text}", *bound)


def test_a_value_cannot_be_a_cursor_nor_a_limit_a_text(embedded: Client) -> None:
    with pytest.raises(InvalidArgument, match="not to a cursor"):
        run(embedded, "SELECT * FROM K WHERE n = @1", b"x")
    with pytest.raises(InvalidArgument, match="integer or a cursor"):
        run(embedded, "SELECT * FROM K LIMIT @1", "x")
    with pytest.raises(InvalidArgument, match="only one cursor"):
        run(embedded, "SELECT * FROM K OFFSET @1 + @1", b"x")


@pytest.mark.parametrize("text", ["WHERE n = 1", "WHERE g = 'a'", "WHERE ok = TRUE", "LIMIT 1", "WHERE n = ARRAY(@1)"])
def test_literals_are_refused_unless_allowed(embedded: Client, text: str) -> None:
    with pytest.raises(InvalidArgument, match="literals are not allowed"):
        run(embedded, f"SELECT * FROM K {text}", 1, literals=False)


def test_a_refusal_shows_the_place(embedded: Client) -> None:
    with pytest.raises(InvalidArgument, match=r"line 2, column 11: expected a value.* near \"\('a'\)\""):
        run(embedded, "SELECT * FROM K\nWHERE g IN('a')")
    with pytest.raises(InvalidArgument, match=r"column 15: expected a kind; .*backquotes, `order`"):
        run(embedded, "SELECT * FROM order")


def test_keys_belong_to_the_requests_partition_unless_they_say_otherwise() -> None:
    partition = wire.PartitionId(project_id="p", namespace_id="n")
    text = "SELECT * WHERE __key__ = KEY(A, 1, B, 'x')"
    key = parse_query(gql(text), partition).filter.property_filter.value.key_value
    assert key.partition_id == partition
    assert [(item.kind, item.id, item.name) for item in key.path] == [("A", 1, ""), ("B", 0, "x")]
    text = "SELECT * WHERE __key__ = KEY(PROJECT('q'), NAMESPACE('m'), A, 1)"
    other = parse_query(gql(text), partition).filter.property_filter.value.key_value.partition_id
    assert (other.project_id, other.namespace_id) == ("q", "m")


def aggregated(client: Client, text: str) -> dict[str, float]:
    request = wire.RunAggregationQueryRequest(project_id=client.project)
    request.partition_id.project_id, request.partition_id.namespace_id = client.project, client.namespace
    request.gql_query.CopyFrom(gql(text))
    [result] = client.transport.call("RunAggregationQuery", request).batch.aggregation_results
    return {name: item.integer_value or item.double_value for name, item in result.aggregate_properties.items()}


def test_aggregations_are_written_in_either_form(filled: Client, modern_client: Client) -> None:
    assert aggregated(filled, "SELECT COUNT(*) FROM K") == {"property_1": 5}
    text = "SELECT COUNT(*) AS total, SUM(n) AS s, AVG(n) FROM K WHERE n > 0"
    assert aggregated(filled, text) == {"total": 4, "s": 10, "property_1": 2.5}
    assert aggregated(filled, "AGGREGATE COUNT_UP_TO(2) AS few OVER (SELECT * FROM K)") == {"few": 2}
    assert aggregated(filled, "AGGREGATE COUNT(*) OVER (SELECT * FROM K LIMIT 3)") == {"property_1": 3}


def test_aggregations_and_queries_are_told_apart(embedded: Client) -> None:
    with pytest.raises(InvalidArgument, match="RunAggregationQuery"):
        run(embedded, "SELECT COUNT(*) FROM K")
    with pytest.raises(InvalidArgument, match="expected an aggregation"):
        parse_aggregation_query(gql("SELECT * FROM K"), wire.PartitionId())


def test_sum_and_avg_read_their_property_as_a_projection_does(local: Client, modern_client: Client) -> None:
    local.namespace = "space"
    contents: list[dict[str, Any]] = [
        {"x": 26, "y": 1},
        {"x": 0},
        {"x": 9, "y": 5},
        {"y": 2},
        {"x": [1, 2]},
        {"x": "s"},
    ]
    for number, content in enumerate(contents):
        for client in (local, modern_client):
            client.commit([wire.Mutation(upsert=entity(client.key("Q", f"q{number}"), **content))])
    for text in [
        "AGGREGATE COUNT(*), SUM(x) OVER (SELECT * FROM Q)",
        "AGGREGATE COUNT(*), SUM(x), AVG(y) OVER (SELECT * FROM Q)",
        "AGGREGATE SUM(x) OVER (SELECT * FROM Q LIMIT 2)",
        "AGGREGATE SUM(x) OVER (SELECT * FROM Q OFFSET 1)",
        "AGGREGATE SUM(x) OVER (SELECT * FROM Q ORDER BY __key__ LIMIT 2)",
        "AGGREGATE SUM(x) OVER (SELECT * FROM Q WHERE x = 9)",
    ]:
        assert aggregated(local, text) == aggregated(modern_client, text), text
    for text in ["SELECT __key__ FROM Q", "SELECT y FROM Q"]:
        with pytest.raises(DatastoreError):
            aggregated(modern_client, f"AGGREGATE SUM(x) OVER ({text})")
        with pytest.raises(InvalidArgument, match="not in the query's projection"):
            aggregated(local, f"AGGREGATE SUM(x) OVER ({text})")
