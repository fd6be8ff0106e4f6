"""Selects inside of selects give the rows that SQLite gives."""

from collections.abc import Callable
from typing import Any

import pytest

from gaeport.dal import Field
from gaeport.errors import ScanLimitExceeded


@pytest.fixture(params=["sqlite:memory", "datastore://", "datastore://?buffer=request"])
def org(request: pytest.FixtureRequest, connect: Callable[..., Any]) -> Any:
    """A database with a tree of departments, and people in them."""
    db = connect(request.param)
    db.define_table("dept", Field("name"), Field("parent", "reference dept"))
    db.define_table("person", Field("name"), Field("dept", "reference dept"), Field("pay", "integer"))
    for number, (name, parent) in enumerate((("all", None), ("left", 1), ("right", 1), ("leaf", 2)), 1):
        db.dept.insert(id=number, name=name, parent=parent)
    for number in range(8):
        db.person.insert(id=number + 1, name=f"p{number}", dept=number % 3 + 1, pay=number)
    return db


def test_a_select_is_selected_from_and_joined(org: Any) -> None:
    db, person, dept = org, org.person, org.dept
    rich = db(person.pay > 3).nested_select(person.id, person.name, person.dept).with_alias("rich")
    rows = db(rich.id > 0).select(rich.id, rich.name, orderby=rich.name)
    assert [row.name for row in rows] == ["p4", "p5", "p6", "p7"]
    rows = db(rich.dept == dept.id).select(rich.name, dept.name, orderby=rich.name)
    assert [(row.rich.name, row.dept.name) for row in rows] == [
        ("p4", "left"),
        ("p5", "right"),
        ("p6", "all"),
        ("p7", "left"),
    ]
    rows = db(dept).select(dept.name, rich.name, left=rich.on(rich.dept == dept.id), orderby=dept.id | rich.name)
    assert [row.rich.name for row in rows] == ["p6", "p4", "p7", "p5", None]
    assert (db(rich.id > 0).count(), len(rich())) == (4, 4)


def test_an_aggregate_is_joined(org: Any) -> None:
    person, dept = org.person, org.dept
    total = person.pay.sum().with_alias("total")
    sums = org(person).nested_select(person.dept, total, groupby=person.dept).with_alias("sums")
    rows = org((dept.id == sums.dept) & (sums.total > 8)).select(dept.name, sums.total, orderby=dept.name)
    assert [(row.dept.name, row.sums.total) for row in rows] == [("all", 9), ("left", 12)]


def test_a_nested_select_may_speak_of_the_query_around_it(org: Any) -> None:
    person, dept = org.person, org.dept
    named = (person.dept == dept.id) & (person.pay > dept.id * 2)
    several = org(dept.id.belongs(org(named).nested_select(person.dept)))
    assert [row.name for row in several.select(orderby=dept.id)] == ["all", "left"]
    assert several.update(name="x") == 2
    assert sorted(row.name for row in org(dept).select()) == ["leaf", "right", "x", "x"]


def test_table_expressions_are_selected_from_also_recursive_ones(org: Any) -> None:
    dept, person = org.dept, org.person
    rich = org(person.pay > 5).cte("rich", person.id, person.name)
    rows = org(rich.id == person.id).select(rich.name, person.pay, orderby=person.pay)
    assert [(row.rich.name, row.person.pay) for row in rows] == [("p6", 6), ("p7", 7)]
    under = org(dept.name == "left").cte("under", dept.id, dept.name, dept.parent)
    under.union(lambda above: org(dept.parent == above.id).nested_select(dept.id, dept.name, dept.parent))
    for _ in range(2):
        assert [row.name for row in org(under.id > 0).select(under.id, under.name, orderby=under.name)] == [
            "leaf",
            "left",
        ]


def test_what_the_inner_select_reads_counts(connect: Callable[..., Any]) -> None:
    db = connect("datastore://?scan_limit=5")
    db.define_table("t", Field("n", "integer"))
    db.t.bulk_insert([{"n": number} for number in range(8)])
    few = db(db.t.n < 3).nested_select(db.t.id, db.t.n).with_alias("few")
    assert len(db(few.id > 0).select(few.id)) == 3
    assert "a nested select" in db._lastplan.reasons
    many = db(db.t.n < 7).nested_select(db.t.id, db.t.n).with_alias("many")
    with pytest.raises(ScanLimitExceeded, match="a nested select"):
        db(many.id > 0).select(many.id)
