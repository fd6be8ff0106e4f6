"""`Field(folded=True)`: Datastore serves what ignores case, from a copy in lower case."""

from collections.abc import Callable
from typing import Any

import pytest

from gaeport import datastore
from gaeport.dal import Field
from gaeport.errors import FieldError, FieldValueError
from gaeport.models import model_for

SEARCHES: list[tuple[Callable[[Any], Any], list[str]]] = [
    (lambda t: t.name.ilike("ann%"), ["Ann", "aNNa"]),
    (lambda t: t.name.ilike("ANN"), ["Ann"]),
    (lambda t: t.name.like("ANN%", case_sensitive=False), ["Ann", "aNNa"]),
    (lambda t: t.name.lower() == "ann", ["Ann"]),
    (lambda t: t.name.lower().belongs(["ann", "bob"]), ["Ann", "Bob"]),
    (lambda t: t.name.lower().startswith("a"), ["Ann", "aNNa"]),
    (lambda t: t.tags.contains("ANN"), ["Ann"]),
    (lambda t: t.tags.contains(["bob", "x"], all=True), ["Bob"]),
]


def define(db: Any) -> Any:
    """Define a table with folded fields, and three rows."""
    table = db.define_table("t", Field("name", folded=True), Field("tags", "list:string", folded=True), Field("n"))
    for name in ("Ann", "aNNa", "Bob"):
        table.insert(name=name, tags=[name, "X"])
    table.insert()
    return table


@pytest.mark.parametrize("number", range(len(SEARCHES)))
def test_searches_that_ignore_case_are_served_as_sqlite_answers_them(connect: Callable[..., Any], number: int) -> None:
    query, expected = SEARCHES[number]
    for uri in ("sqlite:memory", "datastore://"):
        db = connect(uri)
        table = define(db)
        rows = db(query(table)).select(orderby=table.name.lower())
        assert [row.name for row in rows] == expected
    assert (db._lastplan.served, db._lastplan.entities) == ("query", len(expected))


def test_the_copy_follows_updates_and_is_no_column(db: Any) -> None:
    table = define(db)
    db(table.name == "Bob").update(name="Rob", tags=None)
    assert [row.name for row in db(table.name.ilike("ro%")).select()] == ["Rob"]
    assert db(table.name.ilike("bo%") | table.tags.contains("bob")).isempty()
    assert table.fields == ["id", "name", "tags", "n"]
    assert db((table.name.ilike("A%")) & (table.n == None)).count() == 2  # noqa: E711


def test_what_the_copy_cannot_serve_is_done_in_memory(db: Any) -> None:
    table = define(db)
    for query in (table.name.ilike("%NN%"), table.name.contains("nn"), table.tags.contains("ANN") & table.n.ilike("x")):
        rows = db(query).select(orderby=table.name)
        assert (len(rows) in (0, 2), db._lastplan.served) == (True, "memory")
    assert db(table.tags.contains("ann", case_sensitive=True)).isempty()
    assert "folded=True" in str(db(table.n.ilike("x")).select() or db._lastplan.reasons)


def test_ndb_models_write_the_copy_too(db: Any) -> None:
    table = define(db)
    with datastore.ndb_client().context():
        model_for("t", table)(name="CID", tags=["Y"]).put()
        model_for("t", table)().put()
    assert db(table.name.ilike("cid") & table.tags.contains("y")).count() == 1


def test_fields_that_cannot_be_folded_are_refused(db: Any) -> None:
    with pytest.raises(FieldError, match=r"t\.body"):
        db.define_table("t", Field("body", "text", folded=True))
    table = db.define_table("u", Field("name", folded=True))
    with pytest.raises(FieldValueError, match=r"u\.name"):
        table.insert(name="İ" * 700)  # grows in lower case
