"""What the DAL writes, the NDB model of the same fields reads and queries, and the other way round."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from gaeport import datastore
from gaeport.dal import Field
from gaeport.models import model_for

ROW = {
    "name": "Max",
    "body": "x" * 3000,
    "secret": "p",
    "picture": "u.png",
    "raw": b"\x00\xff",
    "ok": True,
    "age": -3,
    "big": 2**62,
    "weight": 1.5,
    "price": Decimal("-1.25"),
    "huge": Decimal("-12345678901234567890.12345"),
    "born": datetime.date(1970, 1, 2),
    "at": datetime.time(10, 11, 12),
    "seen": datetime.datetime(2020, 1, 2, 3, 4, 5),
    "doc": {"a": [1, None, "ü"]},
    "boss": 7,
    "tags": ["b", "a", "", "|x|"],
    "numbers": [3, 1, 3],
    "friends": [2, 1],
}


def define(db: Any) -> Any:
    """Define a table with a field of every type."""
    types = ["string", "text", "password", "upload", "blob", "boolean", "integer", "bigint", "double", "decimal(10,2)"]
    types += ["decimal(30,5)", "date", "time", "datetime", "json", "reference person", "list:string", "list:integer"]
    types += ["list:reference person"]
    return db.define_table("person", *[Field(name, kind) for name, kind in zip(ROW, types, strict=True)])


def test_ndb_reads_and_queries_what_the_dal_wrote(db: Any) -> None:
    table = define(db)
    number = table.insert(**ROW)
    model = model_for("person", table)
    with datastore.ndb_client().context():
        entity = model.get_by_id(int(number))
        assert {name: getattr(entity, name) for name in ROW} == ROW
        assert entity.id == number
        for name in ("name", "ok", "age", "big", "weight", "price", "huge", "born", "at", "seen", "boss"):
            assert model.query(getattr(model, name) == ROW[name]).count() == 1, name
        assert model.query(model.tags == "a", model.numbers == 3, model.friends == 1).count() == 1


def test_the_dal_reads_and_queries_what_ndb_wrote(db: Any) -> None:
    table = define(db)
    model = model_for("person", table)
    with datastore.ndb_client().context():
        number = model(**ROW).put().id()
    row = table(number)
    assert {name: row[name] for name in ROW} == ROW
    for name in ("name", "ok", "age", "big", "weight", "price", "huge", "born", "at", "seen", "boss"):
        assert db(table[name] == ROW[name]).count() == 1, name
    assert db(table.tags.contains(["a", "b"], all=True) & table.friends.contains(2)).count() == 1


@pytest.mark.parametrize("row", [ROW, {}])
def test_both_write_the_same_entity(db: Any, row: dict[str, Any]) -> None:
    table = define(db)
    empty: dict[str, Any] = {"tags": [], "numbers": [], "friends": []}
    number = int(table.insert(**{**empty, **row}))
    model = model_for("person", table)
    with datastore.ndb_client().context():
        other = model(**row).put().id()
    client = datastore.client()
    found = client.lookup([client.key("person", number), client.key("person", other)])
    written = [{name: str(value) for name, value in entry.entity.properties.items()} for entry in found if entry]
    written = [{**entity, "doc": ""} for entity in written]  # the blanks in JSON text may differ
    assert written[0] == written[1]


def test_an_empty_list_and_none_differ_in_the_dal_and_are_both_empty_in_ndb(db: Any) -> None:
    table = db.define_table("t", Field("tags", "list:string"))
    empty, none = table.insert(tags=[]), table.insert(tags=None)
    assert (table(empty).tags, table(none).tags) == ([], None)
    assert [row.id for row in db(table.tags == None).select()] == [none]  # noqa: E711
    model = model_for("t", table)
    with datastore.ndb_client().context():
        assert [model.get_by_id(int(number)).tags for number in (empty, none)] == [[], []]


def test_a_reference_that_ndb_wrote_as_a_key_is_a_reference(db: Any) -> None:
    from google.cloud import ndb

    db.define_table("person", Field("name"))
    db.define_table("thing", Field("owner", "reference person"))

    class Thing(ndb.Model):  # type: ignore[misc]  # shipped without types
        owner = ndb.KeyProperty()

        @classmethod
        def _get_kind(cls) -> str:
            return "thing"

    person = int(db.person.insert(name="Max"))
    with datastore.ndb_client().context():
        number = Thing(owner=ndb.Key("person", person)).put().id()
    assert db.thing(number).owner.name == "Max"


def test_fields_written_before_a_field_was_added_read_as_none(db: Any) -> None:
    db.define_table("t", Field("a"))
    number = db.t.insert(a="x")
    db.define_table("t", Field("a"), Field("b"), redefine=True)
    assert db.t(number).b is None
