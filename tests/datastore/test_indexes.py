"""Which composite index a query needs: by Google's own algorithm, and by the published rules where that knows none."""

import os
import random
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.index_entries import MAX_BYTES, check, entries, entry_bytes
from gaeport.datastore.indexes import Index, minimal, missing, needed, serves
from gaeport.errors import InvalidArgument
from tests.datastore import index_oracle
from tests.datastore.build import both, either, entity, query, unindexed, where

PARENT = wire.Key(path=[wire.PathElement(kind="P", id=1)])
ANCESTOR = where("__key__", "ancestor", PARENT)


def made(*properties: str, kind: str = "K", ancestor: bool = False) -> Index:
    """Return an index; a property with a leading minus descends."""
    return Index(kind, ancestor, tuple((p.removeprefix("-"), "desc" if p[0] == "-" else "asc") for p in properties))


def cost(found: Any) -> int:
    """Return what Google's algorithm counts of an index that is missing: its properties, and the ancestor as two."""
    return len(found.properties) + 2 * found.ancestor


def compare(case: index_oracle.Case) -> None:
    """Hold this module's answers for one query against Google's recorded in it."""
    message, existing = case.message(), case.indexes()
    assert needed(message) == (() if case.best is None else (index_oracle.index(case.best),))
    found = minimal(existing, message)
    assert serves(existing, message) == (case.minimal is None)
    assert [cost(item) for item in found] == ([] if case.minimal is None else [cost(index_oracle.index(case.minimal))])
    assert serves([*existing, *found], message)
    assert serves([*existing, *missing(existing, message)], message)


def test_needs_equal_the_recorded_answers_of_googles_algorithm() -> None:
    cases = index_oracle.recorded()
    assert len(cases) >= 300
    for case in cases:
        compare(case)


def test_needs_equal_googles_algorithm_itself_on_random_queries() -> None:
    try:
        oracle = index_oracle.Oracle()
    except ImportError:
        pytest.skip(
            "pip install appengine-python-standard asks Google's algorithm itself; recorded answers are checked"
        )
    long = os.environ.get("GAEPORT_LONG") == "1"
    chance = random.Random() if long else random.Random(7)
    for _ in range(5_000 if long else 300):
        case = index_oracle.make_case(chance)
        oracle.answer(case)
        compare(case)
        found = minimal(case.indexes(), case.message())
        assert oracle.minimal(case, [*case.indexes(), *found]) is None


@pytest.mark.parametrize(
    "message",
    [
        query("K"),
        query(),
        query("__kind__", where("__key__", ">", PARENT), order=("-__key__",)),
        query("K", where("a", "=", 1)),
        query("K", both(where("a", "=", 1), where("b", "=", 2), where("c", "=", 3))),
        query("K", both(where("a", "=", 1), where("b", "=", 2), ANCESTOR)),
        query("K", both(where("a", "=", 1), where("__key__", ">", PARENT), ANCESTOR)),
        query("K", both(where("a", ">", 1), where("a", "<", 9)), order=("-a",)),
        query("K", where("a", "=", 1), order=("a",)),
        query("K", order=("a", "__key__")),
        query("K", order=("-a",), project=("a",), distinct=("a",)),
        query("K", where("a", "in", [1, 2])),
        query("K", both(where("a", "in", [1, 2]), where("b", "=", 1))),
        query("K", where("a", "!=", 1)),
        query("K", where("a", "not in", [1, 2]), order=("a",)),
        query("K", either(where("a", "=", 1), where("b", "=", 2))),
        query("K", both(either(where("a", "=", 1), where("b", "=", 2)), where("c", "=", 3))),
        query("K", either(where("a", "<", 1), where("a", ">", 2))),
        query("K", both(where("a", "=", 1), where("a", ">", 0))),
        query("K", where("__key__", "in", [PARENT]), order=("a", "b")),
        query("K", both(where("a", ">", 1), where("__key__", ">", PARENT))),
        query("K", project=("__key__",)),
    ],
)
def test_built_in_indexes_and_their_merges_serve(message: Any) -> None:
    assert needed(message) == ()
    assert serves((), message)


@pytest.mark.parametrize(
    ("message", "indexes"),
    [
        (query("K", where("b", "=", 1), order=("-a",)), [made("b", "-a")]),
        (query("K", order=("-__key__",)), [made("-__key__")]),
        (query("K", both(where("a", ">", 1), ANCESTOR)), [made("a", ancestor=True)]),
        (query("K", where("b", "=", 1), order=("-d",), project=("c", "a")), [made("b", "-d", "a", "c")]),
        (query("K", project=("a", "b", "c"), distinct=("c",)), [made("c", "a", "b")]),
        (query("K", both(where("b", ">", 1), where("a", "<", 3), where("c", "=", 1))), [made("c", "a", "b")]),
        (query("K", where("b", ">", 1), order=("-a",)), [made("-a", "-b")]),
        (query("K", both(where("a", ">", 1), where("b", ">", 1)), order=("-b", "a")), [made("-b", "a")]),
        (query("K", where("a", "in", [1, 2]), order=("b",)), [made("a", "b")]),
        (query("K", both(where("a", "!=", 1), where("b", "=", 1))), [made("b", "a")]),
        (query("K", either(where("a", "=", 1), where("b", "=", 2)), order=("c",)), [made("a", "c"), made("b", "c")]),
        (query("K", either(where("a", ">", 1), where("b", "=", 2))), [made("b", "a")]),
        (query("K", either(where("a", ">", 1), where("b", ">", 2))), [made("a", "b")]),
    ],
)
def test_a_query_names_the_index_it_needs(message: Any, indexes: list[Index]) -> None:
    assert list(needed(message)) == indexes
    assert not serves((), message)
    assert serves(indexes, message)
    assert missing(indexes, message) == ()


def test_inequalities_without_an_order_take_any_order_and_direction() -> None:
    message = query("K", both(where("a", ">", 1), where("b", "<", 3), where("c", "=", 1)))
    assert serves([made("c", "-b", "a")], message)
    assert not serves([made("b", "c", "a")], message)


def test_composite_indexes_with_one_ending_merge() -> None:
    message = query("K", both(where("a", "=", 1), where("b", "=", 2), where("c", "=", 3)), order=("-d",))
    assert serves([made("a", "-d"), made("c", "b", "-d")], message)
    assert not serves([made("a", "-d"), made("c", "b", "d")], message)
    assert minimal([made("a", "-d")], message) == (made("b", "c", "-d"),)
    assert missing([made("a", "-d")], message) == (made("a", "b", "c", "-d"),)


def test_an_index_on_ancestors_merges_into_an_ancestor_query_only() -> None:
    filters = both(where("a", "=", 1), ANCESTOR)
    parts = [made("b", ancestor=True), made("a", "b")]
    assert serves(parts, query("K", filters, order=("b",)))
    assert not serves(parts[1:], query("K", filters, order=("b",)))
    assert not serves([made("a", "b", ancestor=True)], query("K", where("a", "=", 1), order=("b",)))


def test_an_explicit_key_at_the_end_of_an_index_changes_nothing() -> None:
    assert serves([made("a", "b", "__key__")], query("K", where("a", "=", 1), order=("b",)))


def aggregation(nested: Any, *operators: tuple[str, str]) -> Any:
    """Return an AggregationQuery."""
    made = wire.AggregationQuery(nested_query=nested)
    for operator, name in operators:
        part = getattr(made.aggregations.add(), operator)
        part.SetInParent()
        if name:
            part.property.name = name
    return made


def test_count_needs_what_its_query_needs() -> None:
    assert needed(aggregation(query("K", where("a", "=", 1), order=("b",)), ("count", ""))) == (made("a", "b"),)
    assert needed(aggregation(query("K", where("a", "=", 1)), ("count", ""))) == ()


def test_sum_and_avg_read_their_property_from_the_index() -> None:
    assert needed(aggregation(query("K"), ("sum", "a"), ("avg", "a"))) == ()
    assert needed(aggregation(query("K", where("b", "=", 1)), ("sum", "a"))) == (made("b", "a"),)


def test_more_alternatives_than_the_service_takes_are_left_to_its_own_refusal() -> None:
    ors = [either(*(where(f"{name}{i}", "=", 1) for i in range(10))) for name in "abc"]
    assert needed(query("K", both(*ors), order=("z",))) == ()


KEY = wire.Key(path=[wire.PathElement(kind="P", id=1), wire.PathElement(kind="K", id=2)])
KEY.partition_id.project_id = "p"


def test_an_entity_has_an_entry_for_each_combination_of_values_and_each_ancestor() -> None:
    found = entity(KEY, a=[1, 2, 3], b=["x", "y", "y"], c=1)
    assert entries(made("a"), found) == 3
    assert entries(made("a", "-b", "c"), found) == 6
    assert entries(made("a", "b", ancestor=True), found) == 12
    assert entries(made("a", "__key__"), found) == 3


def test_an_entity_that_lacks_an_indexed_value_has_no_entry() -> None:
    found = entity(KEY, a=1, b=unindexed(2), e=[])
    assert [entries(made("a", name), found) for name in ("b", "d", "e")] == [0, 0, 0]
    assert entries(made("a", kind="Other"), found) == 0


def test_the_bytes_of_entries_are_those_of_every_combination() -> None:
    short, long = entity(KEY, a=["x"], b=1), entity(KEY, a=["x", "yy"], b=1)
    one = entry_bytes(made("a", "b"), short)
    assert entry_bytes(made("a", "b"), long) == 2 * one + 1
    assert entry_bytes(made("a", "b", ancestor=True), short) > one * 2


def test_too_many_entries_are_refused_with_the_index_that_makes_them() -> None:
    found = entity(KEY, a=list(range(150)), b=list(range(150)))
    check([made("a")], found, "p", "")
    with pytest.raises(
        InvalidArgument, match=r"too many index entries.*'K', 2.*needs 22,800.*20,000.*22,500.*\(a, b\)"
    ):
        check([made("a", "b")], found, "p", "")


def test_too_many_bytes_of_composite_entries_are_refused() -> None:
    found = entity(KEY, a=[f"{i:01400}" for i in range(60)], b=list(range(30)))
    with pytest.raises(InvalidArgument, match=f"bytes.*limit is {MAX_BYTES:,}"):
        check([made("a", "b")], found, "p", "")
