"""What web2py's session.connect does with a database, on a key-value store."""

import uuid
from collections.abc import Iterator

import pytest

from gaeport import settings
from gaeport.errors import ConfigurationError
from gaeport.sessions import web2py
from gaeport.sessions.tables import Database, Table
from tests.servers import Server

FIELDS = {"locked": 0, "client_ip": "1.2.3.4", "session_data": b"\x80\x05", "unique_key": "k"}


@pytest.fixture(params=["memory", "memcached", "redis"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "memory":
        yield web2py(f"memory://{uuid.uuid4()}")
        return
    server: Server = request.getfixturevalue(f"{request.param}_server")
    found = web2py(f"{server.url}?namespace={uuid.uuid4()}" if request.param == "memcached" else server.url)
    yield found
    found.store.close()


@pytest.fixture
def table(db: Database) -> Table:
    name = f"web2py_session_{uuid.uuid4().hex}"
    assert db.get(name) is None
    db.define_table(name, db.Field("locked", "boolean"), db.Field("session_data", "blob"), migrate=False)
    assert db.get(name) is db[name]
    return db[name]


def test_a_row_is_found_by_its_id_and_key(table: Table) -> None:
    number = table.insert(**FIELDS)
    assert 0 < number <= 2**53
    assert table(number, unique_key="k") == FIELDS
    assert table(str(number)) == FIELDS
    assert table(number, unique_key="other") is None
    assert table(number + 1) is None


def test_a_row_is_updated_field_by_field(db: Database, table: Table) -> None:
    number = table.insert(**FIELDS)
    assert db(table.id == number).update(session_data=b"new") == 1
    assert table(number) == {**FIELDS, "session_data": b"new"}


def test_a_deleted_row_stays_deleted(db: Database, table: Table) -> None:
    number = table.insert(**FIELDS)
    assert table._db(table.id == str(number)).delete() == 1
    assert db(table.id == number).delete() == 0
    assert db(table.id == number).update(session_data=b"late") == 0
    assert table(number) is None


def test_ids_cannot_be_guessed_and_differ(table: Table) -> None:
    numbers = [table.insert(**FIELDS) for _ in range(50)]
    assert len(set(numbers)) == 50
    assert numbers != sorted(numbers)


def test_damaged_bytes_are_no_row(db: Database, table: Table) -> None:
    number = table.insert(**FIELDS)
    db.store.set(table.key(number), b"\xc1")
    assert table(number) is None
    assert db(table.id == number).update(locked=1) == 0


def test_a_row_lives_as_long_as_it_is_said() -> None:
    db = web2py(f"memory://{uuid.uuid4()}", idle=0)
    table = db.define_table("t")
    assert table(table.insert(**FIELDS)) is None


def test_a_server_that_does_not_answer_means_no_session(free_server: Server) -> None:
    db = web2py(free_server.url)
    table = db.define_table("t")
    number = table.insert(**FIELDS)
    free_server.kill()
    assert table(number) is None
    assert db(table.id == number).update(locked=1) == 0
    assert table.insert(**FIELDS) == 0


@pytest.fixture
def free_server() -> Iterator[Server]:
    server = Server("memcached")
    yield server
    server.remove()


def test_the_connection_is_made_once_for_each_url() -> None:
    url = f"memory://{uuid.uuid4()}"
    assert web2py(url) is web2py(url)


def test_without_a_url_the_caches_counts() -> None:
    settings.configure(data=":memory:", cache={"url": f"memory://{uuid.uuid4()}"})
    first = web2py().define_table("t")
    number = first.insert(**FIELDS)
    assert web2py(settings.current().cache.url).define_table("t")(number) == FIELDS


def test_an_unknown_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown scheme"):
        web2py("file:///tmp")
