"""Counts: as many as the query has results, from the index where one has it."""

import random
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import rows
from gaeport.errors import InvalidArgument
from tests.datastore.build import both, entity, query, run, where
from tests.datastore.test_differential import fill, random_query


def counted(client: Client, message: Any, *, up_to: int | None = None, at: Any = None) -> int:
    request = wire.RunAggregationQueryRequest(project_id=client.project)
    request.aggregation_query.nested_query.CopyFrom(message)
    count = request.aggregation_query.aggregations.add(alias="all").count
    count.SetInParent()
    if up_to is not None:
        count.up_to.value = up_to
    if at is not None:
        request.read_options.read_time.CopyFrom(at)
    answer = client.transport.call("RunAggregationQuery", request).batch.aggregation_results[0]
    return int(answer.aggregate_properties["all"].integer_value)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_query_has_as_many_results_as_are_counted_now_and_in_the_past(local: Client, seed: int) -> None:
    rng = random.Random(seed)
    fill(rng, (local,))
    past = run(local, query("Kind")).read_time
    messages = [random_query(rng, local) for _ in range(60)]
    for message in messages:
        message.offset = rng.choice((0, 0, 2))
    before = [results(local, message) for message in messages]
    assert [asked(local, message) for message in messages] == before
    fill(rng, (local,))
    for message, number in zip(messages, before, strict=True):
        assert asked(local, message) == results(local, message)
        assert asked(local, message, at=past) == number


def results(client: Client, message: Any) -> int | None:
    try:
        return len(run(client, message).entity_results)
    except InvalidArgument:
        return None


def asked(client: Client, message: Any, at: Any = None) -> int | None:
    try:
        return counted(client, message, at=at)
    except InvalidArgument:
        return None


@pytest.mark.parametrize(
    ("message", "number"),
    [
        (query("Kind"), 20),
        (query("Kind", where("n", ">=", 5)), 15),
        (query("Kind", where("n", ">=", 5), order=("-n",)), 15),
        (query("Kind", where("n", "!=", 5), limit=7), 7),
        (query("Kind", where("tags", ">", "a")), 20),
        (query("Kind", order=("tags",), offset=15), 5),
        (query("Kind", both(where("same", "=", 1), where("n", "=", 3))), 1),
        (query("Other", where("n", ">", 1)), 0),
    ],
)
def test_a_count_over_one_range_reads_no_entity(
    local: Client, monkeypatch: pytest.MonkeyPatch, message: Any, number: int
) -> None:
    made = [entity(local.key("Kind", n + 1), n=n, same=1, tags=["a", "b", f"t{n}"]) for n in range(20)]
    local.commit([wire.Mutation(upsert=item) for item in made])
    monkeypatch.setattr(rows, "row_at", None)
    assert counted(local, message) == number
    assert counted(local, message, up_to=4) == min(4, number)
