"""Commits whose answers are lost: found out where that is possible, never applied twice."""

from collections.abc import Callable
from typing import Any

import pytest

from gaeport import datastore
from gaeport.dal import Field, IntegrityError
from gaeport.dal.commits import commit
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.errors import AlreadyExists, Unavailable


@pytest.fixture
def flaky(db: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that makes commits lose their answers.

    It takes what happens to each commit: "lost" (not applied), "applied" (but the answer is lost), "late" (applied
    before the next commit). Later ones are as usual.
    """
    usual = Client.commit
    waiting: list[Any] = []

    def script(*faults: str) -> list[str]:
        planned = list(faults)

        def commit(self: Client, mutations: Any) -> Any:
            while waiting:
                usual(self, waiting.pop())
            fault = planned.pop(0) if planned else ""
            if fault == "applied":
                usual(self, mutations)
            if fault == "late":
                waiting.append(mutations)
            if fault:
                raise Unavailable("the line is dead")
            return usual(self, mutations)

        monkeypatch.setattr(Client, "commit", commit)
        return planned

    return script


@pytest.fixture
def counter(connect: Callable[..., Any]) -> Any:
    """A table whose ids are known before its rows are written."""
    return connect("datastore://?ids=time").define_table("t", Field("n", "integer"), Field("name", unique=True))


@pytest.mark.parametrize("fault", ["lost", "applied", "late"])
def test_an_insert_is_made_once(counter: Any, flaky: Callable[..., Any], fault: str) -> None:
    flaky(fault)
    number = counter.insert(n=1, name="a")
    assert (counter(number).n, counter._db(counter).count()) == (1, 1)
    with pytest.raises(IntegrityError):
        counter.insert(name="a")


def test_an_insert_under_an_id_that_datastore_chooses_is_an_error(db: Any, flaky: Callable[..., Any]) -> None:
    table = db.define_table("t", Field("n"))
    flaky("applied")
    with pytest.raises(Unavailable):
        table.insert(n="x")


def test_an_update_is_made_once_or_is_an_error(counter: Any, flaky: Callable[..., Any]) -> None:
    number = counter.insert(n=0)
    rows = counter._db(counter.id == number)
    flaky("lost", "lost")
    assert rows.update(n=counter.n + 1) == 1
    for fault in ("applied", "late"):
        flaky(fault)
        with pytest.raises(Unavailable):
            rows.update(n=counter.n + 1)
    assert counter(number).n == 3


@pytest.mark.parametrize("fault", ["lost", "applied", "late"])
def test_a_delete_is_made_once(counter: Any, flaky: Callable[..., Any], fault: str) -> None:
    number = counter.insert(n=0)
    flaky(fault)
    assert counter._db(counter.id == number).delete() == 1
    assert counter(number) is None


@pytest.mark.parametrize("fault", ["lost", "applied", "late"])
def test_a_buffer_is_written_once(connect: Callable[..., Any], flaky: Callable[..., Any], fault: str) -> None:
    db = connect("datastore://?ids=time&buffer=request")
    table = db.define_table("t", Field("n", "integer"))
    first, second = table.insert(n=1), table.insert(n=2)
    flaky(fault)
    db.commit()
    assert [row.n for row in db(table).select(orderby=table.n)] == [1, 2]
    assert db(table.id.belongs([first, second])).count() == 2


def test_a_line_that_stays_dead_is_an_error(counter: Any, flaky: Callable[..., Any]) -> None:
    flaky(*["lost"] * 20)
    with pytest.raises(Unavailable):
        counter.insert(n=1)


def test_what_another_wrote_under_the_same_key_is_not_taken_for_ones_own(flaky: Callable[..., Any]) -> None:
    client = datastore.client()
    entities = [wire.Entity(key=client.key("k", 5)), wire.Entity(key=client.key("k", 5))]
    for number, entity in enumerate(entities):
        entity.properties["n"].CopyFrom(wire.Value(integer_value=number))
    commit(client, [wire.Mutation(insert=entities[0])])
    flaky("lost")
    with pytest.raises(Unavailable):
        commit(client, [wire.Mutation(insert=entities[1])])
    with pytest.raises(AlreadyExists):
        commit(client, [wire.Mutation(insert=entities[1])])
