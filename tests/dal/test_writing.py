"""Inserts, updates, deletes, unique fields, and what is refused."""

import io
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gaeport import datastore, meter
from gaeport.dal import Field, IntegrityError
from gaeport.dal.uri import parse
from gaeport.datastore import wire
from gaeport.errors import ConfigurationError, FieldError, FieldValueError, InvalidArgument


@pytest.fixture
def people(db: Any) -> Any:
    """A database with a unique and a notnull field."""
    db.define_table(
        "person", Field("email", unique=True), Field("name"), Field("age", "integer", notnull=True, default=1)
    )
    return db


def test_a_unique_value_is_refused_a_second_time_by_insert_and_update(people: Any) -> None:
    table = people.person
    with meter.measure() as counted:
        first = table.insert(email="a")
    assert counted.calls == {"AllocateIds": 1, "Commit": 1}
    second = table.insert(email="b")
    with pytest.raises(IntegrityError, match=r"person\.email"):
        table.insert(email="a")
    with pytest.raises(sqlite3.IntegrityError):
        people(table.id == second).update(email="a")
    with pytest.raises(IntegrityError, match="share"):
        table.bulk_insert([{"email": "c"}, {"email": "c"}])
    assert {row.id: row.email for row in people(table).select()} == {first: "a", second: "b"}


def test_a_unique_value_is_free_again_after_update_and_delete(people: Any) -> None:
    table = people.person
    first = table.insert(email="a")
    table(first).update_record(email="b")
    second = table.insert(email="a")
    table(second).delete_record()
    assert table.insert(email="a")
    table.truncate()
    assert table.insert(email="b")


def test_any_number_of_rows_have_no_unique_value(people: Any) -> None:
    people.person.bulk_insert([{"name": "x"}, {"name": "y"}])
    assert people(people.person.email == None).count() == 2  # noqa: E711


def test_a_stale_marker_is_taken_over(people: Any) -> None:
    number = people.person.insert(email="a")
    client = datastore.client()
    client.commit([wire.Mutation(delete=client.key("person", int(number)))])  # as NDB would: the marker stays
    other = people.person.insert(email="a")
    assert people.person(email="a").id == other
    with pytest.raises(IntegrityError):
        people.person.insert(email="a")


@pytest.mark.parametrize("uri", ["sqlite:memory", "datastore://", "datastore://?buffer=request"])
def test_values_of_several_fields_are_unique_together(connect: Callable[..., Any], uri: str) -> None:
    db = connect(uri)
    table = db.define_table("t", Field("a"), Field("b", "integer"), Field("c"))
    table.create_index("both", table.a, table.b, unique=True)
    table.create_index("plain", table.c)
    first = table.insert(a="x", b=1)
    for row in ({"a": "x", "b": 2}, {"a": "y", "b": 1}, {"a": "x"}, {"a": "x"}):
        table.insert(**row)
    with pytest.raises(sqlite3.IntegrityError):
        table.insert(a="x", b=1)
    with pytest.raises(sqlite3.IntegrityError):
        db((table.a == "y") & (table.b == 1)).update(a="x")
    db(table.id == first).update(b=3)
    second = table.insert(a="x", b=1)
    db(table.id == second).delete()
    table.drop_index("both")
    for _ in range(2):
        table.insert(a="x", b=2)
    assert db(table).count() == 7


def test_of_many_registrations_at_once_with_one_value_one_wins(connect: Callable[..., Any]) -> None:
    outcomes: list[str] = []
    db = connect()
    db.define_table("person", Field("email", unique=True))

    def register() -> None:
        try:
            db.person.insert(email="same")
            outcomes.append("in")
        except IntegrityError:
            outcomes.append("refused")
        finally:
            db._adapter.close()

    threads = [threading.Thread(target=register) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] + ["refused"] * 19
    assert db(db.person).count() == 1


def test_updates_from_many_threads_are_all_counted(connect: Callable[..., Any]) -> None:
    db = connect()
    db.define_table("counter", Field("n", "integer"))
    number = db.counter.insert(n=0)

    def add() -> None:
        for _ in range(5):
            db(db.counter.id == number).update(n=db.counter.n + 1)
        db._adapter.close()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.counter(number).n == 15


def test_a_missing_value_of_a_notnull_field_is_refused(people: Any) -> None:
    with pytest.raises(IntegrityError, match=r"person\.age"):
        people.person.insert(age=None)
    number = people.person.insert(name="x")
    with pytest.raises(IntegrityError, match=r"person\.age"):
        people(people.person.id == number).update(age=None)


def test_an_id_of_ones_own_is_kept_and_refused_when_taken(people: Any) -> None:
    assert people.person.insert(id=5, name="x") == 5
    with pytest.raises(IntegrityError, match="5 is taken"):
        people.person.insert(id=5, name="y")
    with pytest.raises(IntegrityError, match="no id"):
        people.person.insert(id=-1)


def test_ids_by_time_increase_and_fit_a_javascript_number(connect: Callable[..., Any]) -> None:
    db = connect("datastore://?ids=time")
    db.define_table("t", Field("a"))
    ids = [int(db.t.insert(a="x")) for _ in range(5)]
    assert ids == sorted(set(ids))
    assert ids[-1] < 2**53


def test_an_id_by_time_that_another_process_made_too_is_replaced(
    connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = connect("datastore://?ids=time")
    db.define_table("t", Field("a", unique=True))
    ids = iter([7, 7, 8])
    monkeypatch.setattr(db._adapter.writes.ids, "by_time", lambda: next(ids))
    assert [db.t.insert(a="x"), db.t.insert(a="y")] == [7, 8]
    with pytest.raises(IntegrityError, match="the row 8"):
        db.t.insert(a="y", id=9)


def test_counted_ids_run_from_one_for_each_table_and_leave_out_what_is_taken(connect: Callable[..., Any]) -> None:
    db, other = connect("datastore://?ids=counter"), connect("datastore:///other?ids=counter")
    for base in (db, other):
        base.define_table("t", Field("a", unique=True))
        base.define_table("u", Field("a"))
    assert [int(db.t.insert(a="x")), int(db.u.insert(a="x")), int(other.t.insert(a="x"))] == [1, 1, 1]
    with meter.measure() as counted:
        assert [int(number) for number in db.u.bulk_insert([{"a": "x"} for _ in range(50)])] == list(range(2, 52))
    assert counted.calls == {"Lookup": 1, "Commit": 2}
    db.t.insert(id=20, a="y")
    assert db.t.insert(a="z") == 21
    with db.transaction():
        assert db.t.insert(a="w") == 22
    client = datastore.client()
    client.commit([wire.Mutation(insert=wire.Entity(key=client.key("t", 23)))])  # NDB does not count
    assert db.t.insert(a="v") == 24


def test_deletes_follow_references_as_the_field_says(db: Any) -> None:
    db.define_table("person", Field("name"))
    db.define_table("thing", Field("owner", "reference person"))
    db.define_table("loan", Field("owner", "reference person", ondelete="SET NULL"))
    db.define_table("debt", Field("owner", "reference person", ondelete="NO ACTION"))
    number = db.person.insert(name="x")
    db.thing.insert(owner=number)
    loan, debt = db.loan.insert(owner=number), db.debt.insert(owner=number)
    with pytest.raises(IntegrityError, match=r"debt\.owner"):
        db(db.person.id == number).delete()
    db(db.debt.id == debt).delete()
    assert db(db.person.id == number).delete() == 1
    assert (db(db.thing).count(), db.loan(loan).owner) == (0, None)


def test_validated_and_conditional_inserts_work(people: Any) -> None:
    from pydal.validators import IS_IN_DB, IS_NOT_IN_DB

    table = people.person
    table.email.requires = IS_NOT_IN_DB(people, table.email)
    assert table.validate_and_insert(email="a")["id"]
    assert table.validate_and_insert(email="a")["errors"]
    people.define_table("thing", Field("owner", "reference person", requires=IS_IN_DB(people, "person.id")))
    assert people.thing.validate_and_insert(owner=77)["errors"]
    assert table.update_or_insert(table.email == "b", email="b", name="new")
    table.update_or_insert(table.email == "b", email="b", name="newer")
    assert table(email="b").name == "newer"


def test_a_value_that_does_not_fit_is_refused_never_truncated(db: Any) -> None:
    table = db.define_table(
        "t",
        Field("name"),
        Field("body", "text"),
        Field("wide", length=2000),
        Field("free", indexed=False),
        Field("price", "decimal(5,2)"),
        Field("n", "integer"),
        Field("tags", "list:string"),
    )
    for values in ({"name": "x" * 1501}, {"price": 1000}, {"n": 2**63}, {"n": "one"}, {"tags": ["x" * 1501]}):
        with pytest.raises(FieldValueError, match=rf"t\.{next(iter(values))}"):
            table.insert(**values)
    with pytest.raises(InvalidArgument, match="1,048,"):
        table.insert(body="x" * 1_100_000)
    number = table.insert(wide="x" * 2000, free="y" * 2000, tags=[f"{n}" for n in range(5000)])
    assert (table(number).wide, table(number).free, len(table(number).tags)) == ("x" * 2000, "y" * 2000, 5000)
    assert db(table.tags.contains("4999")).count() == 1


def test_a_type_without_a_place_is_refused_when_the_table_is_defined(db: Any) -> None:
    with pytest.raises(FieldError, match="geometry"):
        db.define_table("t", Field("place", "geometry()"))


def test_hooks_computed_fields_and_versioning_work(db: Any) -> None:
    db.define_table("t", Field("n", "integer"), Field("twice", "integer", compute=lambda row: row["n"] * 2))
    db.t._enable_record_versioning()
    seen: list[int] = []
    db.t._after_insert.append(lambda row, number: seen.append(int(number)))
    number = db.t.insert(n=2)
    db.t(number).update_record(n=3)
    assert (seen, db.t(number).twice, db(db.t_archive).count()) == ([number], 6, 1)


def test_rows_leave_and_come_back_as_csv_with_their_references(connect: Callable[..., Any]) -> None:
    first, second = connect("datastore:///one"), connect("datastore:///two")
    for db in (first, second):
        db.define_table("person", Field("name"), Field("tags", "list:string"), migrate=False)
        db.define_table("thing", Field("owner", "reference person"), migrate=False)
    owner = first.person.insert(name="Max", tags=["b", "a"])
    first.thing.insert(owner=owner)
    text = io.StringIO()
    first.export_to_csv_file(text)
    second.import_from_csv_file(io.StringIO(text.getvalue()))
    row = second(second.thing).select().first()
    assert (row.owner.name, row.owner.tags) == ("Max", ["b", "a"])


def test_namespaces_keep_their_rows_apart(connect: Callable[..., Any]) -> None:
    one, two = connect("datastore:///one"), connect("datastore:///two")
    for db in (one, two):
        db.define_table("t", Field("a", unique=True))
        db.t.insert(a="x")
    assert (one(one.t).count(), two(two.t).count()) == (1, 1)


@pytest.mark.parametrize(
    "uri", ["datastore://?scan_limit=0", "datastore://?ids=x", "datastore://?x=1", "datastore:///a/b"]
)
def test_a_wrong_connection_string_names_what_is_right(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r"scan_limit|project|time"):
        parse(uri)


def test_of_many_that_take_over_one_stale_marker_one_wins(people: Any) -> None:
    number = people.person.insert(email="a")
    client = datastore.client()
    client.commit([wire.Mutation(delete=client.key("person", int(number)))])
    outcomes: list[str] = []

    def register() -> None:
        try:
            people.person.insert(email="a")
            outcomes.append("in")
        except IntegrityError:
            outcomes.append("refused")
        finally:
            people._adapter.close()

    threads = [threading.Thread(target=register) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] + ["refused"] * 9
