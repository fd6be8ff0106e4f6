"""Recorded queries say what index.yaml lacks, and what it could do without."""

import random
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.indexes import Index, serves
from tests.datastore import index_oracle
from tests.datastore.build import both, query, where
from tools.indexes.comparison import Comparison, compare, most_entries
from tools.indexes.entries import Entry
from tools.indexes.recordings import Asked, Recorded
from tools.indexes.wording import index_text, query_text


def index(*properties: str, ancestor: bool = False) -> Index:
    """Return an index of kind K; a property with a leading minus descends."""
    return Index("K", ancestor, tuple((p.removeprefix("-"), "desc" if p[0] == "-" else "asc") for p in properties))


def held(indexes: list[Index], *queries: Any) -> Comparison:
    found = [Entry(one, number, number + 1) for number, one in enumerate(indexes, 1)]
    return compare(found, Recorded([Asked(each) for each in queries]))


A_BY_B = query("K", where("a", "=", 1), order=("b",))
A_C_BY_B = query("K", both(where("a", "=", 1), where("c", "=", 1)), order=("b",))


def test_what_is_there_and_needed_is_left_in_peace() -> None:
    found = held([index("a", "b")], A_BY_B)
    assert (found.lacking, found.removable) == ({}, [])


def test_what_is_missing_comes_with_its_queries() -> None:
    found = held([], A_BY_B, A_C_BY_B)
    assert list(found.lacking) == [index("a", "b"), index("a", "c", "b")]
    assert [asked.query for asked in found.lacking[index("a", "b")]] == [A_BY_B]


def test_what_no_query_can_use_is_unused_and_a_second_entry_repeated() -> None:
    found = held([index("a", "b"), index("z", "b"), index("a", "b")], A_BY_B)
    assert [entry.line for entry in found.unused] == [2]
    assert [entry.line for entry in found.repeated] == [3]


def test_an_index_that_a_merge_of_others_replaces_is_redundant() -> None:
    found = held(
        [index("a", "b"), index("c", "b"), index("a", "c", "b")],
        A_BY_B,
        A_C_BY_B,
        query("K", where("c", "=", 1), order=("b",)),
    )
    assert [entry.line for entry in found.redundant] == [3]
    assert found.unused == []


def test_an_index_is_not_redundant_for_a_query_that_nothing_serves() -> None:
    found = held([index("a", "b")], A_BY_B, query("K", where("z", "=", 1), order=("b",)))
    assert list(found.lacking) == [index("z", "b")]
    assert found.removable == []


def test_removing_and_adding_what_is_told_serves_every_query() -> None:
    chance = random.Random(11)
    for _ in range(60):
        cases = [index_oracle.make_case(chance) for _ in range(4)]
        queries = [case.message() for case in cases]
        present = list(dict.fromkeys(one for case in cases for one in case.indexes()))
        found = held(present, *queries)
        gone = {entry.index for entry in found.removable}
        left = [one for one in present if one not in gone] + list(found.lacking)
        assert all(serves(left, each) for each in queries)
        again = held(left, *queries)
        assert (again.lacking, again.redundant, again.repeated) == ({}, [], [])


def test_entries_are_counted_from_the_shapes_that_were_recorded() -> None:
    shapes = {(1, frozenset({("a", 10), ("b", 7)})), (3, frozenset({("a", 2), ("b", 2)}))}
    assert most_entries(index("a", "b"), shapes) == 70
    assert most_entries(index("a", "b", ancestor=True), shapes) == 70
    assert most_entries(index("a", "c"), shapes) == 0
    recorded = Recorded([], {"K": {(1, frozenset({("a", 200), ("b", 101)}))}})
    found = compare([Entry(index("a", "b"), 1, 2)], recorded)
    assert found.exploding == {index("a", "b"): 20_200}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (A_BY_B, "SELECT * FROM K WHERE a = ? ORDER BY b"),
        (query("K", where("a", ">", 1), order=("-a",)), "SELECT * FROM K WHERE a > ? ORDER BY a DESC"),
    ],
)
def test_a_query_is_told_as_gql(made: Any, text: str) -> None:
    assert query_text(made) == text


def test_an_aggregation_is_told_as_gql() -> None:
    made = wire.AggregationQuery(nested_query=query("K", where("a", "=", 1)))
    made.aggregations.add().count.SetInParent()
    made.aggregations.add().sum.property.name = "n"
    assert query_text(made) == "SELECT COUNT(*), SUM(n) FROM K WHERE a = ?"
    assert index_text(index("a", "-b", ancestor=True)) == "K (a, b desc) with ancestors"
