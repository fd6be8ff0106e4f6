"""What selects read: by Datastore alone, or in memory behind a limit; and with how many calls."""

import datetime
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from gaeport import meter
from gaeport.dal import Field
from gaeport.errors import NotOnDatastore, ScanLimitExceeded


@pytest.fixture
def people(db: Any) -> Any:
    """A database with three people and what they own."""
    db.define_table(
        "person",
        Field("name"),
        Field("age", "integer"),
        Field("tags", "list:string"),
        Field("born", "date"),
        Field("body", "text"),
        Field("price", "decimal(8,2)"),
        format="%(name)s",
    )
    db.define_table("thing", Field("name"), Field("owner", "reference person"))
    for name, age in (("Ann", 30), ("Bob", 40), ("Cid", None)):
        owner = db.person.insert(
            name=name,
            age=age,
            tags=[name.lower(), "all"],
            born=datetime.date(2000 + (age or 0), 6, 1),
            body=f"about {name}",
            price=f"{age or 0}.25",
        )
        db.thing.insert(name=f"{name}'s hat", owner=owner)
    return db


def names(db: Any, query: Any, **attributes: Any) -> list[str]:
    return [row.name for row in db(query).select(db.person.name, orderby=db.person.name, **attributes)]


QUERIES: list[tuple[Callable[[Any], Any], list[str]]] = [
    (lambda t: t.age == 30, ["Ann"]),
    (lambda t: t.age != 30, ["Bob"]),
    (lambda t: t.age < 50, ["Ann", "Bob"]),
    (lambda t: t.age <= 30, ["Ann"]),
    (lambda t: t.age == None, ["Cid"]),  # noqa: E711
    (lambda t: t.age != None, ["Ann", "Bob"]),  # noqa: E711
    (lambda t: ~(t.age > 30), ["Ann"]),
    (lambda t: t.age.belongs([30, 40]), ["Ann", "Bob"]),
    (lambda t: ~t.age.belongs([30]), ["Bob"]),
    (lambda t: t.age.belongs([]), []),
    (lambda t: (t.age == 30) | (t.name == "Cid"), ["Ann", "Cid"]),
    (lambda t: (t.age > 10) & (t.name > "Ann") & (t.name < "Cid"), ["Bob"]),
    (lambda t: t.name.startswith("B"), ["Bob"]),
    (lambda t: t.name.like("B%"), ["Bob"]),
    (lambda t: t.name.like("Bob"), ["Bob"]),
    (lambda t: t.tags.contains("all"), ["Ann", "Bob", "Cid"]),
    (lambda t: t.tags.contains(["bob", "all"], all=True), ["Bob"]),
    (lambda t: t.tags.contains(["bob", "ann"]), ["Ann", "Bob"]),
    (lambda t: t.born.year() == 2030, ["Ann"]),
    (lambda t: t.born.year() > 2030, ["Bob"]),
    (lambda t: t.price == "30.25", ["Ann"]),
    (lambda t: t.id > 0, ["Ann", "Bob", "Cid"]),
]


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_datastore_alone_serves(people: Any, number: int) -> None:
    query, expected = QUERIES[number]
    assert names(people, query(people.person)) == expected
    assert people._lastplan.served in ("query", "nothing")
    assert people._lastplan.entities == len(expected)


@pytest.mark.parametrize(
    ("query", "expected", "reason"),
    [
        (lambda t: t.name.contains("B"), ["Bob"], "contains"),
        (lambda t: t.name.endswith("b"), ["Bob"], "endswith"),
        (lambda t: t.name.ilike("b%"), ["Bob"], "ilike"),
        (lambda t: t.body == "about Bob", ["Bob"], "person.body is not indexed"),
        (lambda t: t.born.month() == 6, ["Ann", "Bob", "Cid"], "expression"),
        (lambda t: t.age + 1 == 31, ["Ann"], "expression"),
        (lambda t: t.name == t.body, [], "between fields"),
    ],
)
def test_what_datastore_cannot_do_is_done_in_memory_and_said(
    people: Any, query: Callable[[Any], Any], expected: list[str], reason: str
) -> None:
    assert names(people, query(people.person)) == expected
    assert people._lastplan.served == "memory"
    assert any(reason in part for part in people._lastplan.reasons)


def test_a_query_that_would_read_more_than_the_limit_in_memory_names_what_would_avoid_it(
    connect: Callable[..., Any],
) -> None:
    db = connect("datastore://?scan_limit=20")
    table = db.define_table("t", Field("a"), Field("b", "text"))
    table.bulk_insert([{"a": f"{number:02}", "b": "x"} for number in range(30)])
    with pytest.raises(ScanLimitExceeded, match=r"scan_limit = 20 .* t\.b is not indexed \(text\)"):
        db(table.b == "y").select()
    with pytest.raises(ScanLimitExceeded, match="groupby"):
        db(table).select(table.a, groupby=table.a)
    assert len(db((table.b == "x") & (table.a < "10")).select()) == 10
    assert len(db(table).select()) == 30  # nothing is read in vain


def test_a_limit_that_is_satisfied_early_reads_no_more(connect: Callable[..., Any]) -> None:
    db = connect("datastore://?scan_limit=150")
    table = db.define_table("t", Field("a", "integer"), Field("b", "text"))
    table.bulk_insert([{"a": number, "b": "x"} for number in range(300)])
    rows = db(table.b == "x").select(orderby=~table.a, limitby=(2, 5))
    assert [row.a for row in rows] == [297, 296, 295]
    assert db._lastplan.entities == 100


def test_conditions_may_be_true_or_false(people: Any) -> None:
    table = people.person
    assert names(people, (table.age == 30) & True) == ["Ann"]
    assert names(people, (table.age == 30) | False) == ["Ann"]
    assert names(people, (table.age == 30) | True) == ["Ann", "Bob", "Cid"]
    assert names(people, (table.age == 30) & False) == []
    assert people((table.body != "x") & False).count() == 0


def test_limits_and_offsets_count_as_in_sql(people: Any) -> None:
    assert names(people, people.person, limitby=(1, 2)) == ["Bob"]
    assert names(people, people.person, limitby=(2, 9)) == ["Cid"]
    assert names(people, people.person, limitby=(1, 1)) == []


def test_joins_read_along_references(people: Any) -> None:
    db = people
    with meter.measure() as counted:
        rows = db((db.thing.owner == db.person.id) & (db.person.age > 30)).select()
    assert [(row.person.name, row.thing.name) for row in rows] == [("Bob", "Bob's hat")]
    assert counted.calls == {"RunQuery": 2}
    rows = db(db.thing).select(db.thing.name, db.person.name, left=db.person.on(db.person.id == db.thing.owner))
    assert {row.person.name for row in rows} == {"Ann", "Bob", "Cid"}
    rows = db(db.person.age == 30).select(db.thing.ALL, join=db.thing.on(db.thing.owner == db.person.id))
    assert [row.name for row in rows] == ["Ann's hat"]


def test_a_left_join_keeps_rows_without_a_partner(people: Any) -> None:
    db = people
    db.thing.insert(name="lost")
    rows = db(db.thing.name == "lost").select(left=db.person.on(db.person.id == db.thing.owner))
    assert [(row.thing.name, row.person.name) for row in rows] == [("lost", None)]


def test_a_nested_select_gives_the_values_of_belongs(people: Any) -> None:
    db = people
    owners = db(db.thing.name.startswith("B"))._select(db.thing.owner)
    assert names(db, db.person.id.belongs(owners)) == ["Bob"]
    assert names(db, db.person.id.belongs(db(db.thing.name == "x").nested_select(db.thing.owner))) == []


def test_more_values_than_one_query_takes_are_split_over_several(people: Any) -> None:
    ages = list(range(70))
    with meter.measure() as counted:
        rows = people(people.person.age.belongs(ages)).select()
    assert {row.name for row in rows} == {"Ann", "Bob"}
    assert counted.calls == {"RunQuery": 3}


def test_aggregates_are_read_from_the_indexes(people: Any) -> None:
    table = people.person
    total, mean, least, greatest, count = (
        table.price.sum(),
        table.age.avg(),
        table.age.min(),
        table.name.max(),
        table.age.count(),
    )
    row = people(table.id > 0).select(total, mean, least, greatest, count).first()
    assert (str(row[total]), row[mean], row[least], row[greatest], row[count]) == ("70.75", 35, 30, "Cid", 2)
    assert people._lastplan.served == "aggregation"
    assert people(table.name == "x").select(table.age.sum()).first()[table.age.sum()] is None


def test_calls_stay_within_their_budgets(people: Any) -> None:
    db = people
    number = db.person.insert(name="Dan")
    budgets: list[tuple[Callable[[], Any], dict[str, int]]] = [
        (lambda: db.person(number), {"Lookup": 1}),
        (lambda: db.person[number], {"Lookup": 1}),
        (lambda: db.thing.insert(name="x", owner=number), {"Commit": 1}),
        (lambda: db.person.bulk_insert([{"name": "x"} for _ in range(300)]), {"Commit": 1}),
        (lambda: db(db.person).count(), {"RunAggregationQuery": 1}),
        (lambda: db(db.person.name == "x").isempty(), {"RunQuery": 1}),
        (lambda: db(db.person.id == number).update(age=1), {"Lookup": 1, "Commit": 1}),
        (lambda: db(db.person.name == "x").update(age=1), {"RunQuery": 1, "Commit": 1}),
        (lambda: db(db.person.id.belongs([number, 77])).select(), {"Lookup": 1}),
    ]
    for call, expected in budgets:
        with meter.measure() as counted:
            call()
        assert counted.calls == expected


def test_a_hundred_references_are_followed_in_one_lookup(people: Any) -> None:
    db = people
    owners = db.person.bulk_insert([{"name": f"p{number}"} for number in range(100)])
    db.thing.truncate()
    db.thing.bulk_insert([{"name": "x", "owner": owner} for owner in owners])
    with meter.measure() as counted:
        found = {row.owner.name for row in db(db.thing).select()}
    assert len(found) == 100
    assert counted.calls == {"RunQuery": 1, "Lookup": 1}


def test_a_reference_to_a_row_that_is_gone_says_so_and_references_can_be_pickled(people: Any) -> None:
    number = people.thing.insert(name="x", owner=77)
    row = people.thing(number)
    assert pickle.loads(pickle.dumps(row.owner)) == 77
    with pytest.raises(RuntimeError, match="broken reference"):
        _ = row.owner.name


def test_distinct_of_a_field_keeps_the_first_row_of_each_value(people: Any) -> None:
    table = people.person
    table.insert(name="Ann", age=50)
    rows = people(table).select(table.name, table.age, distinct=table.name, orderby=table.name | ~table.age)
    assert [(row.name, row.age) for row in rows] == [("Ann", 50), ("Bob", 40), ("Cid", None)]
    rows = people(table).select(table.name, distinct=table.name, limitby=(1, 2))
    assert [row.name for row in rows] == ["Bob"]
    assert people(table).count(distinct=table.name) == 3
    assert people(table).count(distinct=[table.name, table.age]) == 4
    people.thing.bulk_insert([{"name": "x"}, {"name": "x"}])
    assert people(people.thing.name == "x").count(distinct=True) == 1


def test_a_cached_select_is_read_once(people: Any) -> None:
    kept: dict[str, Any] = {}

    def cache(key: str, call: Callable[[], Any], time_expire: int) -> Any:
        if key not in kept:
            kept[key] = call()
        return kept[key]

    for attributes in ({"cache": (cache, 60)}, {"cache": (cache, 60), "cacheable": True}):
        first = people(people.person.age > 1).select(**attributes)
        with meter.measure() as counted:
            again = people(people.person.age > 1).select(**attributes)
        assert [row.name for row in again] == [row.name for row in first]
        assert counted.total_calls == 0
        kept.clear()


def test_iterselect_virtual_fields_and_common_filters_work(people: Any) -> None:
    db = people
    db.person.shout = Field.Virtual(lambda row: row.person.name.upper())
    assert sorted(row.shout for row in db(db.person).iterselect()) == ["ANN", "BOB", "CID"]
    db.person._common_filter = lambda query: db.person.age > 30
    assert [row.name for row in db(db.person).select()] == ["Bob"]
    assert db(db.person).count() == 1
    assert db(db.person, ignore_common_filters=True).count() == 3


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda db: db.executesql("SELECT 1"), "executesql"),
        (lambda db: db(db.person).select(for_update=True), "for_update"),
        (lambda db: db(db.person.id.belongs("SELECT 1;")).select(), "belongs"),
        (lambda db: db.person.create_index("i", db.person.name.lower(), unique=True), "create_index"),
        (lambda db: db.define_table("k", Field("a", "reference unknown.name")), "no key"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(people: Any, call: Callable[[Any], Any], name: str) -> None:
    with pytest.raises(NotOnDatastore, match=name):
        call(people)


def test_an_unknown_attribute_of_select_is_refused(people: Any) -> None:
    with pytest.raises(SyntaxError, match="limitbi"):
        people(people.person).select(limitbi=(0, 1))
