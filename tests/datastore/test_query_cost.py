"""What a query costs, in steps of SQLite's machine and entities read: it grows with the results, not with the kind."""

from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine, merge, rows
from tests.datastore.build import both, either, entity, ids, query, run, where

FEW, MANY = 200, 2000  # entities of the kind
RARE = (7, 93, 120)  # entities that the selective queries find


def filled(count: int) -> Client:
    """Return a client on a kind of `count` entities, three of which are rare in both properties."""
    client = Client(Engine(None), project="project")
    for start in range(0, count, 500):
        client.commit([wire.Mutation(insert=made(client, n)) for n in range(start + 1, start + 501) if n <= count])
    return client


def made(client: Client, n: int) -> Any:
    rare = n in RARE
    # `odd` and `even` are common, and meet in the rare entities only.
    odd, even = n % 2 or rare, not n % 2 or rare
    return entity(client.key("Kind", n), n=n, rare=rare, odd=bool(odd), even=bool(even), same="x", tags=["a", f"t{n}"])


@pytest.fixture(scope="module")
def clients() -> tuple[Client, Client]:
    return filled(FEW), filled(MANY)


def cost(client: Client, message: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], int, int]:
    """Return a query's results, the steps of SQLite's machine, and how many rows of entities were read."""
    steps, read = [0], [0]

    def step() -> int:
        steps[0] += 1
        return 0

    def row_at(*arguments: Any) -> Any:
        read[0] += 1
        return row_at_before(*arguments)

    row_at_before = rows.row_at
    engine: Any = client.transport
    db = engine._store._idle[0].db
    with monkeypatch.context() as patch:
        patch.setattr(rows, "row_at", row_at)
        db.set_progress_handler(step, 1)
        found = ids(run(client, message))
        db.set_progress_handler(None, 0)
    return found, steps[0], read[0]


@pytest.mark.parametrize(
    "message",
    [
        query("Kind", where("n", "=", 7)),
        query("Kind", where("rare", "=", True)),
        query("Kind", both(where("same", "=", "x"), where("rare", "=", True))),
        query("Kind", both(where("odd", "=", True), where("rare", "=", True), where("same", "=", "x"))),
        query("Kind", both(where("tags", "=", "a"), where("tags", "=", "t93"))),
        query("Kind", both(where("same", "=", "x"), where("n", "<", 20)), order=("n",), limit=3),
        query("Kind", both(where("n", ">", 10), where("n", "<", 14))),
        query("Kind", where("n", "in", [7, 93])),
        query("Kind", either(where("n", "=", 7), both(where("same", "=", "x"), where("rare", "=", True)))),
        query("Kind", both(where("same", "=", "x"), where("rare", "=", True)), order=("-n",)),
        query("Kind", order=("-n",), limit=5),
        query("Kind", where("same", "=", "x"), order=("n",), limit=5),
        query("Kind", where("same", "=", "x"), order=("-n",), limit=5),
        query("Kind", limit=5),
    ],
    ids=lambda message: str(message.filter).replace("\n", " ")[:40],
)
def test_the_cost_of_a_selective_query_does_not_grow_with_its_kind(
    clients: tuple[Client, Client], message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MANY", 50)
    few, many = (cost(client, message, monkeypatch) for client in clients)
    assert len(few[0]) == len(many[0]) > 0
    assert many[1] <= few[1] * 1.5
    assert many[2] == few[2] <= 4 * len(few[0])


def test_equalities_that_are_common_alone_and_rare_together_read_the_results_only(
    clients: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = query("Kind", both(where("odd", "=", True), where("even", "=", True)))
    found, _, read = cost(clients[1], message, monkeypatch)
    assert found == sorted(RARE)
    assert read == len(RARE)


def test_counting_by_equalities_reads_no_entity(
    clients: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "row_at", None)
    request = wire.RunAggregationQueryRequest(project_id="project")
    nested = query("Kind", both(where("same", "=", "x"), where("rare", "=", True)))
    request.aggregation_query.nested_query.CopyFrom(nested)
    request.aggregation_query.aggregations.add(alias="all").count.SetInParent()
    answer = clients[1].transport.call("RunAggregationQuery", request)
    assert answer.batch.aggregation_results[0].aggregate_properties["all"].integer_value == len(RARE)


@pytest.mark.parametrize("order", [("n",), ("-n",)])
def test_an_order_walked_or_sorted_gives_the_same_batches(
    clients: tuple[Client, Client], order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for many in (10, 10**6):
        monkeypatch.setattr(merge, "MANY", many)
        message = query("Kind", both(where("odd", "=", True), where("n", ">", 100)), order=order, limit=7)
        batches = []
        for _ in range(3):
            batch = run(clients[0], message)
            batches.append(ids(batch))
            message.start_cursor = batch.end_cursor
        found.append(batches)
    assert found[0] == found[1]
    assert len(found[0][2]) == 7
