"""google.cloud.ndb, unchanged, on the embedded engine and on Google's emulators."""

import datetime
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import grpc
import pytest
from google.api_core import exceptions as core_exceptions
from google.cloud import ndb

from gaeport import datastore, meter, settings


class Author(ndb.Model):
    name = ndb.StringProperty()


class Line(ndb.Model):
    text = ndb.StringProperty()
    score = ndb.IntegerProperty()


class Tome(ndb.Model):
    title = ndb.StringProperty(required=True)
    pages = ndb.IntegerProperty()
    tags = ndb.StringProperty(repeated=True)
    price = ndb.FloatProperty()
    printed = ndb.DateTimeProperty()
    author = ndb.KeyProperty(kind=Author)
    text = ndb.TextProperty()
    first = ndb.StructuredProperty(Line)
    lines = ndb.StructuredProperty(Line, repeated=True)
    extra = ndb.JsonProperty()


@pytest.fixture(params=["memory", "disk", "firestore_emulator", "datastore_emulator"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("looked for credentials")

    monkeypatch.setattr(google.auth, "default", refuse)
    if "emulator" in request.param:
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(request.param))
    data = ":memory:" if request.param == "memory" else "data"
    settings.configure(root=tmp_path, data=data, project=f"ndb-{random.randrange(10**9)}", namespace="books")
    yield datastore.ndb_client()
    datastore.reset()


@pytest.fixture
def context(client: Any) -> Iterator[Any]:
    with client.context(cache_policy=False) as made:
        yield made


def shelf() -> list[Any]:
    books = [
        Tome(title=f"t{n:02}", pages=n * 10, tags=["even" if n % 2 == 0 else "odd", f"n{n}"], price=n / 4)
        for n in range(20)
    ]
    return ndb.put_multi(books)  # type: ignore[no-any-return]  # wire is untyped


def test_a_model_is_read_as_it_was_written(context: Any) -> None:
    author = Author(id="ann", name="Ann").put()
    made = Tome(
        title="Title",
        pages=7,
        tags=["a", "b"],
        price=1.5,
        printed=datetime.datetime(2024, 2, 29, 12, 30, 1, 250),
        author=author,
        text="long " * 1000,
        first=Line(text="x", score=1),
        lines=[Line(text="y", score=2), Line(text="z", score=3)],
        extra={"k": [1, None]},
    )
    key = made.put()
    assert key.namespace() == "books"
    assert key.get().to_dict() == made.to_dict()
    assert key.get().author.get().name == "Ann"
    key.delete()
    assert key.get() is None


def test_queries_filter_order_project_and_count(context: Any) -> None:
    shelf()
    assert [book.pages for book in Tome.query(Tome.pages > 170).order(-Tome.pages)] == [190, 180]
    assert Tome.query(Tome.tags == "odd").count() == 10
    assert [key.id() for key in Tome.query(Tome.tags == "n3").fetch(keys_only=True)] == [
        Tome.query(Tome.title == "t03").get().key.id()
    ]
    assert [book.price for book in Tome.query(projection=[Tome.price]).order(Tome.price).fetch(2)] == [0, 0.25]
    assert Tome.query(ndb.AND(Tome.tags == "even", Tome.pages >= 100)).order(Tome.pages).get().pages == 100
    assert {book.pages for book in Tome.query(ndb.OR(Tome.pages == 10, Tome.pages == 30))} == {10, 30}
    assert {book.pages for book in Tome.query(Tome.pages.IN([10, 30, 5]))} == {10, 30}


@pytest.mark.parametrize("client", ["memory", "disk", "firestore_emulator"], indirect=True)
def test_queries_exclude_values(context: Any) -> None:
    shelf()
    assert Tome.query(Tome.pages != 10).count() == 19


def test_structured_properties_are_queried_by_their_parts(context: Any) -> None:
    Tome(title="a", first=Line(text="x", score=1), lines=[Line(text="l", score=5)]).put()
    Tome(title="b", first=Line(text="y", score=2), lines=[Line(text="m", score=6), Line(text="l", score=7)]).put()
    assert [book.title for book in Tome.query(Tome.first.score > 1)] == ["b"]
    assert sorted(book.title for book in Tome.query(Tome.lines.text == "l")) == ["a", "b"]


def test_pages_follow_cursors(context: Any) -> None:
    shelf()
    found: list[int] = []
    cursor, more = None, True
    while more:
        books, cursor, more = Tome.query().order(Tome.pages).fetch_page(7, start_cursor=cursor)
        found += [book.pages for book in books]
    assert found == [n * 10 for n in range(20)]


def test_ancestors_restrict_a_query(context: Any) -> None:
    parent = Author(id="p", name="P").put()
    children = [Tome(parent=parent, title=str(n)).put() for n in range(3)]
    Tome(title="orphan").put()
    assert Tome.query(ancestor=parent).order(Tome.key).fetch(keys_only=True) == sorted(children)


def test_ids_are_allocated(context: Any) -> None:
    keys = Tome.allocate_ids(5)
    assert len({key.id() for key in keys}) == 5


def test_get_or_insert_makes_one_entity(context: Any) -> None:
    first = Author.get_or_insert("one", name="first")
    second = Author.get_or_insert("one", name="second")
    assert first.name == second.name == "first"


def test_a_failed_transaction_leaves_nothing(context: Any) -> None:
    def work() -> None:
        Author(id="gone", name="x").put()
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # ours, without a message
        ndb.transaction(work)
    assert Author.get_by_id("gone") is None


def test_transactions_in_contention_lose_no_update(client: Any) -> None:
    with client.context(cache_policy=False):
        key = Line(id="counter", score=0).put()
    failures: list[BaseException] = []

    def add() -> None:
        line = key.get()
        line.score += 1
        line.put()

    def work() -> None:
        with client.context(cache_policy=False):
            for _ in range(5):
                try:
                    ndb.transaction(add, retries=50)
                except BaseException as error:  # noqa: BLE001  # shown by the assertion below
                    failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    with client.context(cache_policy=False):
        assert key.get().score == 15


def test_a_refusal_reaches_the_application(context: Any) -> None:
    class Reserved(ndb.Model):
        @classmethod
        def _get_kind(cls) -> str:
            return "__Reserved__"

    with pytest.raises(core_exceptions.BadRequest, match="reserved"):
        Reserved(id="x").put()


def test_calls_are_counted(context: Any) -> None:
    key = Author(id="a", name="x").put()
    with meter.measure() as counted:
        key.get()
        Author(id="b", name="y").put()
    assert counted.calls == {"Lookup": 1, "Commit": 1}
    assert counted.units == {"datastore.read": 1, "datastore.write": 1}


def test_google_cloud_datastore_runs_on_the_channel_too(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import datastore as library
    from google.cloud.datastore_v1.services.datastore.client import DatastoreClient
    from google.cloud.datastore_v1.services.datastore.transports.grpc import DatastoreGrpcTransport

    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has no types
    monkeypatch.delenv("DATASTORE_EMULATOR_HOST", raising=False)
    made = library.Client(project=client.project, namespace="books", credentials=credentials, _use_grpc=True)
    made._datastore_api_internal = DatastoreClient(transport=DatastoreGrpcTransport(channel=client.stub.grpc_channel))
    item = library.Entity(made.key("Item", "x"))
    item["n"] = 1
    made.put(item)
    assert made.get(item.key)["n"] == 1
    assert [found["n"] for found in made.query(kind="Item").fetch()] == [1]
    with made.transaction():
        item["n"] = 2
        made.put(item)
    assert made.get(item.key)["n"] == 2


def test_errors_of_the_channel_are_grpc_errors(client: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.stub.grpc_channel.unary_unary("/google.datastore.v1.Datastore/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
