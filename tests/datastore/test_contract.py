"""What every Datastore does: the engine in memory and on disk, and Google's two emulators."""

from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.errors import AlreadyExists, DatastoreError, FailedPrecondition, InvalidArgument, NotFound
from tests.datastore.build import (
    begin,
    both,
    commit_in,
    entity,
    ids,
    lookup_in,
    query,
    rollback,
    run,
    unindexed,
    value,
    where,
)

Mutation = wire.Mutation


def put(client: Client, *entities: Any) -> list[Any]:
    return client.commit([Mutation(upsert=made) for made in entities])


def read(client: Client, *path: str | int) -> Any:
    return client.lookup([client.key(*path)])[0]


def test_what_was_written_is_read(client: Client) -> None:
    key = client.key("Kind", "name")
    made = entity(
        key,
        none=None,
        yes=True,
        number=-5,
        real=2.5,
        text="ä",
        blob=b"\x00\xff",
        time=wire.Timestamp(seconds=12, nanos=3000),
        point=wire.LatLng(latitude=1, longitude=2),
        other=client.key("Kind", 7),
        array=[1, "two"],
        inner={"a": 1},
        hidden=unindexed("x" * 2000),
    )
    put(client, made)
    assert read(client, "Kind", "name").entity == made


def test_a_lookup_answers_in_order_and_none_for_what_is_missing(client: Client) -> None:
    put(client, entity(client.key("Kind", 1)), entity(client.key("Kind", "1")))
    keys = [client.key("Kind", "none"), client.key("Kind", 1), client.key("Kind", "1")]
    found = client.lookup(keys)
    assert [item and item.entity.key == key for item, key in zip(found, keys, strict=True)] == [None, True, True]


def test_namespaces_do_not_see_each_other(client: Client) -> None:
    put(client, entity(client.key("Kind", 1)))
    other = Client(client.transport, project=client.project, namespace="elsewhere")
    assert other.lookup([other.key("Kind", 1)]) == [None]
    assert list(other.query(query("Kind"))) == []
    assert len(list(client.query(query("Kind")))) == 1


def test_an_insert_of_what_exists_is_refused_and_nothing_else_is_written(client: Client) -> None:
    put(client, entity(client.key("Kind", 1), a=1))
    with pytest.raises(AlreadyExists):
        client.commit(
            [Mutation(upsert=entity(client.key("Kind", 2))), Mutation(insert=entity(client.key("Kind", 1), a=2))]
        )
    assert read(client, "Kind", 2) is None
    assert read(client, "Kind", 1).entity.properties["a"].integer_value == 1


def test_an_update_of_what_is_missing_is_refused(client: Client) -> None:
    with pytest.raises(NotFound):
        client.commit([Mutation(update=entity(client.key("Kind", 1)))])


def test_a_delete_removes_and_deleting_again_is_no_error(client: Client) -> None:
    put(client, entity(client.key("Kind", 1)))
    for _ in range(2):
        client.commit([Mutation(delete=client.key("Kind", 1))])
    assert read(client, "Kind", 1) is None


def test_versions_grow_with_changes_and_stay_without(client: Client) -> None:
    first = put(client, entity(client.key("Kind", 1), a=1))[0].version
    assert read(client, "Kind", 1).version == first
    assert put(client, entity(client.key("Kind", 1), a=1))[0].version == first
    assert put(client, entity(client.key("Kind", 1), a=2))[0].version > first


@pytest.mark.parametrize("operation", ["update", "upsert", "delete"])
def test_a_stale_base_version_is_refused_whatever_the_operation(client: Client, operation: str) -> None:
    key = client.key("Kind", 1)
    base = put(client, entity(key, a=1))[0].version
    put(client, entity(key, a=2))
    content = key if operation == "delete" else entity(key, a=3)
    mutation = Mutation(base_version=base, conflict_resolution_strategy=wire.FAIL, **{operation: content})
    with pytest.raises(FailedPrecondition):
        client.commit([mutation])
    assert read(client, "Kind", 1).entity.properties["a"].integer_value == 2


def test_a_fresh_base_version_is_accepted_once(client: Client) -> None:
    key = client.key("Kind", 1)
    base = put(client, entity(key, a=1))[0].version
    mutation = Mutation(update=entity(key, a=2), base_version=base, conflict_resolution_strategy=wire.FAIL)
    client.commit([mutation])
    with pytest.raises(FailedPrecondition):
        client.commit([mutation])


def test_a_base_version_of_what_is_missing_is_refused(client: Client) -> None:
    mutation = Mutation(
        update=entity(client.key("Kind", 1)), base_version=1234567, conflict_resolution_strategy=wire.FAIL
    )
    with pytest.raises((FailedPrecondition, NotFound)):
        client.commit([mutation])


def test_incomplete_keys_get_ids(client: Client) -> None:
    incomplete = client.key("Kind", 1)
    incomplete.path[0].ClearField("id")
    results = client.commit([Mutation(insert=entity(incomplete, n=n)) for n in range(3)])
    given = [result.key.path[0].id for result in results]
    assert len(set(given)) == 3
    assert [read(client, "Kind", number).entity.properties["n"].integer_value for number in given] == [0, 1, 2]
    allocated = client.allocate_ids([incomplete, incomplete])
    assert len({key.path[0].id for key in allocated} | set(given)) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ("__Kind__", 1)},
        {"key": ("Kind", "__name__")},
        {"key": ("Kind", "x" * 1501)},
        {"key": ("K" * 1501, 1)},
        {"properties": {"__p__": 1}},
        {"properties": {"p" * 1501: 1}},
        {"properties": {"p": "x" * 1501}},
        {"properties": {"p": b"x" * 1501}},
        {"properties": {"p": ["ok", "ä" * 751]}},
    ],
    ids=lambda wrong: str(wrong)[:40].replace("\n", " "),
)
def test_what_breaks_a_limit_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    made = entity(client.key(*wrong.get("key", ("Kind", 1))), **wrong.get("properties", {}))
    with pytest.raises(InvalidArgument):
        put(client, made)


@pytest.mark.parametrize("sizes", [[1_048_488], [600_000, 600_000]], ids=["property", "entity"])
def test_what_is_too_large_is_refused(modern_client: Client, sizes: list[int]) -> None:
    properties = {f"p{index}": unindexed("x" * size) for index, size in enumerate(sizes)}
    with pytest.raises(InvalidArgument):
        put(modern_client, entity(modern_client.key("Kind", 1), **properties))


def test_the_longest_names_and_values_are_accepted(client: Client) -> None:
    key = client.key("K" * 1500, "n" * 1500)
    made = entity(key, p="ä" * 750, q=b"x" * 1500, r=unindexed(b"x" * 1_000_000))
    put(client, made)
    assert client.lookup([key])[0].entity == made


def test_a_transaction_writes_all_or_nothing_and_ends(client: Client) -> None:
    token = begin(client)
    commit_in(client, token, Mutation(insert=entity(client.key("Kind", 1))))
    assert read(client, "Kind", 1) is not None
    with pytest.raises(DatastoreError):
        commit_in(client, token, Mutation(insert=entity(client.key("Kind", 2))))


def test_a_rolled_back_transaction_writes_nothing(client: Client) -> None:
    token = begin(client)
    lookup_in(client, token, client.key("Kind", 1))
    rollback(client, token)
    with pytest.raises(DatastoreError):
        commit_in(client, token, Mutation(insert=entity(client.key("Kind", 1))))
    assert read(client, "Kind", 1) is None


def test_a_read_only_transaction_refuses_to_write(client: Client) -> None:
    token = begin(client, read_only=True)
    with pytest.raises(InvalidArgument):
        commit_in(client, token, Mutation(insert=entity(client.key("Kind", 1))))


def test_a_lookup_can_begin_a_transaction(client: Client) -> None:
    request = wire.LookupRequest(project_id=client.project, keys=[client.key("Kind", 1)])
    request.read_options.new_transaction.read_write.SetInParent()
    token = client.transport.call("Lookup", request).transaction
    assert token
    rollback(client, token)  # the Firestore emulator cannot commit it: "Transaction lock timeout"


def numbered(client: Client, count: int = 12) -> None:
    put(
        client,
        *(
            entity(client.key("Root", "r", "Item", n + 1), n=n, third=n % 3, tags=[n, n + 100], hidden=unindexed(n))
            for n in range(count)
        ),
        entity(client.key("Root", "s", "Item", 99), n=99, third=None),
        entity(client.key("Other", 1), n=1),
    )


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (where("n", "=", 3), [4]),
        (where("n", "<", 2), [1, 2]),
        (where("n", ">=", 10), [11, 12, 99]),
        (both(where("n", ">", 2), where("n", "<=", 4)), [4, 5]),
        (both(where("third", "=", 0), where("n", ">", 5)), [7, 10]),
        (where("tags", "=", 105), [6]),
        (where("third", "=", None), [99]),
        (where("hidden", "=", 3), []),
        (where("nothing", "=", 3), []),
    ],
    ids=lambda item: "" if isinstance(item, list) else None,
)
def test_filters_find_what_matches(client: Client, filter: Any, expected: list[int]) -> None:
    numbered(client)
    assert ids(run(client, query("Item", filter))) == expected


def test_orders_sort_and_the_key_decides_among_equals(client: Client) -> None:
    numbered(client, 6)
    assert ids(run(client, query("Item", order=("third", "n")))) == [99, 1, 4, 2, 5, 3, 6]
    assert ids(run(client, query("Item", order=("third", "-n")))) == [99, 4, 1, 5, 2, 6, 3]
    assert ids(run(client, query("Item", order=("-n",), limit=3))) == [99, 6, 5]


def test_ancestors_and_keys_restrict_a_query(client: Client) -> None:
    numbered(client, 3)
    assert ids(run(client, query("Item", where("__key__", "ancestor", client.key("Root", "s"))))) == [99]
    assert ids(run(client, query("Item", where("__key__", ">", client.key("Root", "r", "Item", 2))))) == [3, 99]
    assert len(ids(run(client, query(None, where("__key__", "ancestor", client.key("Root", "r")))))) == 3


def test_keys_only_results_have_no_properties(client: Client) -> None:
    numbered(client, 2)
    batch = run(client, query("Item", project=("__key__",)))
    assert batch.entity_result_type == wire.KEY_ONLY
    assert not any(result.entity.properties for result in batch.entity_results)


def test_projections_have_a_result_for_each_value(client: Client) -> None:
    numbered(client, 2)
    batch = run(client, query("Item", project=("tags",)))
    shown = [result.entity.properties["tags"].integer_value for result in batch.entity_results]
    assert batch.entity_result_type == wire.PROJECTION
    assert shown == [0, 1, 100, 101]


def test_distinct_projections_have_one_result_for_each_combination(client: Client) -> None:
    numbered(client)
    batch = run(client, query("Item", project=("third",), distinct=("third",)))
    assert [str(result.entity.properties["third"].integer_value) for result in batch.entity_results] == list("0012")


@pytest.mark.parametrize("order", [(), ("n",), ("-n",), ("third", "-n")])
def test_cursors_continue_where_a_result_stood(client: Client, order: tuple[str, ...]) -> None:
    numbered(client)
    whole = ids(run(client, query("Item", order=order)))
    found: list[Any] = []
    cursor = b""
    while len(found) < len(whole):
        batch = run(client, query("Item", order=order, limit=5, start=cursor))
        found += ids(batch)
        cursor = batch.end_cursor
    assert found == whole


def test_an_end_cursor_stops_a_query(client: Client) -> None:
    numbered(client)
    third = run(client, query("Item", order=("n",), limit=3)).end_cursor
    assert ids(run(client, query("Item", order=("n",), end=third))) == [1, 2, 3]
    assert ids(run(client, query("Item", order=("n",), start=third, limit=1))) == [4]


def test_offset_and_limit_skip_and_stop(client: Client) -> None:
    numbered(client)
    batch = run(client, query("Item", order=("n",), offset=2, limit=3))
    assert (ids(batch), batch.skipped_results) == ([3, 4, 5], 2)
    assert batch.more_results == wire.MORE_RESULTS_AFTER_LIMIT


def test_a_long_query_comes_in_batches(client: Client) -> None:
    for start in range(0, 700, 350):
        put(client, *(entity(client.key("Many", n + 1), n=n) for n in range(start, start + 350)))
    found = list(client.query(query("Many", order=("-n",))))
    assert [item.entity.properties["n"].integer_value for item in found] == list(range(699, -1, -1))
    assert len(list(client.query(query("Many", offset=100, limit=450)))) == 450


def test_a_long_sorted_result_comes_in_batches(client: Client) -> None:
    for start in (0, 400):
        put(client, *(entity(client.key("Many", n + 1), n=n % 7, even="yes") for n in range(start, start + 400)))
    wanted = query("Many", where("even", "=", "yes"), order=("-n", "__key__"))
    found = [item.entity.key.path[0].id for item in client.query(wanted)]
    assert found == sorted(range(1, 801), key=lambda number: (-((number - 1) % 7), number))
    put(client, entity(client.key("Many", 801), n=100, even="yes"))
    assert next(iter(client.query(wanted))).entity.key.path[0].id == 801


def test_changed_and_deleted_entities_leave_the_indexes(client: Client) -> None:
    key = client.key("Item", 1)
    put(client, entity(key, a=1, tags=["x", "y"]))
    put(client, entity(key, a=2, tags=["y", "z"]))
    assert [ids(run(client, query("Item", where("tags", "=", tag)))) for tag in "xyz"] == [[], [1], [1]]
    assert ids(run(client, query("Item", where("a", "=", 1)))) == []
    client.commit([Mutation(delete=key)])
    assert ids(run(client, query("Item"))) == ids(run(client, query("Item", where("a", "=", 2)))) == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (where("n", "!=", 1), [1, 3, 4, 5, 99]),
        (where("n", "in", [3, 1, 50]), [2, 4]),
        (where("third", "not in", [0, 1]), [99, 3]),
        (where("__key__", "in", []), None),
    ],
    ids=["unequal", "in", "not in", "empty in"],
)
def test_newer_operators(modern_client: Client, filter: Any, expected: list[int] | None) -> None:
    numbered(modern_client, 5)
    if expected is None:
        with pytest.raises(InvalidArgument):
            run(modern_client, query("Item", filter))
    else:
        assert ids(run(modern_client, query("Item", filter))) == expected


def test_masks_leave_properties_out(modern_client: Client) -> None:
    put(modern_client, entity(modern_client.key("Item", 1), a=1, b=2))
    found = modern_client.lookup([modern_client.key("Item", 1)], mask=["b"])[0]
    assert found is not None
    assert list(found.entity.properties) == ["b"]
    queried = list(modern_client.query(query("Item"), mask=["a"]))
    assert [list(item.entity.properties) for item in queried] == [["a"]]


def test_a_masked_write_changes_only_what_the_mask_names(modern_client: Client) -> None:
    key = modern_client.key("Item", 1)
    put(modern_client, entity(key, a=1, b=2, c=3))
    mask = wire.PropertyMask(paths=["a", "b"])
    modern_client.commit([Mutation(upsert=entity(key, a=10, d=4), property_mask=mask)])
    found = read(modern_client, "Item", 1)
    assert {name: item.integer_value for name, item in found.entity.properties.items()} == {"a": 10, "c": 3}


def test_transforms_are_computed_by_the_server(modern_client: Client) -> None:
    key = modern_client.key("Item", 1)
    put(modern_client, entity(key, n=1, tags=["a"]))
    mutation = Mutation(update=entity(key), property_mask=wire.PropertyMask())
    mutation.property_transforms.add(property="n").increment.integer_value = 5
    mutation.property_transforms.add(property="m").maximum.integer_value = 7
    mutation.property_transforms.add(property="tags").append_missing_elements.values.extend([value("a"), value("b")])
    result = modern_client.commit([mutation])[0]
    found = read(modern_client, "Item", 1).entity.properties
    assert (found["n"].integer_value, found["m"].integer_value) == (6, 7)
    assert [item.string_value for item in found["tags"].array_value.values] == ["a", "b"]
    assert result.transform_results[0].integer_value == 6


def aggregate(client: Client, nested: Any) -> Any:
    request = wire.RunAggregationQueryRequest(project_id=client.project)
    request.partition_id.project_id, request.partition_id.namespace_id = client.project, client.namespace
    request.aggregation_query.nested_query.CopyFrom(nested)
    request.aggregation_query.aggregations.add(alias="count").count.SetInParent()
    request.aggregation_query.aggregations.add(alias="some").count.up_to.value = 2
    request.aggregation_query.aggregations.add(alias="sum").sum.property.name = "n"
    request.aggregation_query.aggregations.add(alias="mean").avg.property.name = "n"
    return client.transport.call("RunAggregationQuery", request).batch.aggregation_results[0].aggregate_properties


def test_aggregations_count_sum_and_average(modern_client: Client) -> None:
    put(modern_client, *(entity(modern_client.key("Item", n), n=n) for n in range(1, 6)))
    found = aggregate(modern_client, query("Item", where("n", ">", 1)))
    assert (found["count"].integer_value, found["some"].integer_value) == (4, 2)
    assert (found["sum"].integer_value, found["mean"].double_value) == (14, 3.5)
    empty = aggregate(modern_client, query("None"))
    assert (empty["count"].integer_value, empty["mean"].WhichOneof("value_type")) == (0, "null_value")
