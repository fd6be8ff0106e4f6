"""Tables and files go to Datastore and back, and nothing is lost on the way."""

import os
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydal.helpers.classes import SQLCustomType

from gaeport import meter, settings
from gaeport.dal import DAL, Field, IntegrityError
from gaeport.dal.transfer import commands, incoming, state
from gaeport.dal.transfer.commands import Options, run_export, run_import
from gaeport.dal.transfer.databases import counterpart
from gaeport.dal.transfer.definitions import Application, from_folder
from gaeport.dal.transfer.files import Folder, Functions
from gaeport.dal.uploads import Contents
from gaeport.datastore.client import Client
from gaeport.errors import ConfigurationError, Unavailable
from tests.dal.transfer_sample import define, make_application

SQL = "sqlite://storage.sqlite"


_open: list[Any] = []


def connect(uri: str, **options: Any) -> Any:
    """Open a database that is closed after the test."""
    _open.append(DAL(uri, **options))
    return _open[-1]


@pytest.fixture(autouse=True)
def _memory(tmp_path: Path) -> Iterator[None]:
    settings.configure(data=":memory:", root=str(tmp_path))
    yield
    while _open:
        _open.pop().close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A web2py-like application of ten tables."""
    return make_application(tmp_path / "shop", rows=14, uploads=9)


def options_for(application: Application, **changed: Any) -> Options:
    made = Options(SQL, "datastore://", application, lambda what, destroys: True, lambda text, part: None)
    return replace(made, **changed)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Any, Application]:
    """A database of one table of its own, still empty, and the application."""

    def tables(db: Any) -> None:
        db.define_table("person", Field("name"), Field("email", unique=True), Field("age", "integer"))

    (tmp_path / "databases").mkdir()
    db = connect(SQL, folder=str(tmp_path / "databases"))
    tables(db)
    db.executesql("DROP TABLE person")  # without the UNIQUE that SQLite would hold to
    db.executesql("CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, email TEXT, age INTEGER)")
    db.commit()
    return db, Application(tables, tmp_path / "databases")


def add(db: Any, *people: tuple[Any, ...]) -> None:
    for person in people:
        db.executesql("INSERT INTO person VALUES (?, ?, ?, ?)", placeholders=person)
    db.commit()


def on_datastore(application: Application) -> Any:
    db = connect("datastore://")
    application.define(db)
    return db


def dump(path: Path) -> dict[str, list[Any]]:
    """Return all rows of a SQLite file as they are stored."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names}


def test_a_web2py_application_comes_back_from_datastore_as_it_went(shop: Path) -> None:
    application = from_folder(shop, SQL)
    disk = Functions(os, open)
    out = [(Folder(str(shop / "uploads"), disk), Folder(str(shop / "there"), disk))]
    back = [(Folder(str(shop / "there"), disk), Folder(str(shop / "back"), disk))]

    assert run_import(options_for(application, folders=out)) == 0
    assert run_export(options_for(application, sql="sqlite://back.sqlite", folders=back)) == 0

    before, after = (dump(shop / "databases" / name) for name in ("storage.sqlite", "back.sqlite"))
    assert after == before
    assert len(before["person"]) == 14
    files = {str(path.relative_to(shop / "uploads")): path for path in (shop / "uploads").rglob("*") if path.is_file()}
    assert len(files) == 9
    assert all((shop / "back" / name).read_bytes() == path.read_bytes() for name, path in files.items())


def test_the_rows_on_datastore_are_those_that_the_same_models_read_from_sqlite(shop: Path) -> None:
    assert run_import(options_for(from_folder(shop, SQL))) == 0
    here, there = connect(SQL, folder=str(shop / "databases"), migrate=False), connect("datastore://")
    for db in (here, there):
        define(db)
    for name in here.tables:
        stored = [db(db[name]).select(orderby=db[name].id).as_list() for db in (here, there)]
        assert stored[0] == stored[1]
    tagged = [db(db.person.tags.contains("b|c")).select(orderby=db.person.id).as_list() for db in (here, there)]
    assert tagged[0] == tagged[1] != []
    assert there.person[1].chief is None or there.person[1].chief.email.endswith("@example.com")


def test_ids_that_came_along_are_never_allocated_again(small: Any) -> None:
    db, application = small
    add(db, (7, "Ann", "ann@example.com", 3), (9, "Bob", None, None))
    with meter.measure() as counted:
        assert run_import(options_for(application)) == 0
    assert counted.calls["ReserveIds"] == 1
    there = on_datastore(application)
    assert there.person.insert(name="Cy") not in (7, 9)
    assert there.person[7].name == "Ann"


def test_a_counter_of_ids_goes_on_above_those_that_came_along(small: Any) -> None:
    db, application = small
    add(db, (7, "Ann", None, 3), (9, "Bob", None, None))
    assert run_import(options_for(application, datastore="datastore://?ids=counter")) == 0
    there = connect("datastore://?ids=counter")
    application.define(there)
    assert there.person.insert(name="Cy") == 10


def test_values_of_unique_fields_are_taken_after_an_import(small: Any) -> None:
    db, application = small
    add(db, (1, "Ann", "ann@example.com", 3), (2, "Bob", None, None), (3, "Cy", None, None))
    assert run_import(options_for(application)) == 0
    with pytest.raises(IntegrityError):
        on_datastore(application).person.insert(email="ann@example.com")


def test_rows_that_share_a_unique_value_are_imported_and_named(small: Any, capsys: Any) -> None:
    db, application = small
    add(db, (1, "Ann", "same@example.com", 1), (2, "Bob", "same@example.com", 2), (3, "Cy", "cy@example.com", 3))
    assert run_import(options_for(application)) == 1
    assert "person.email: the row 2 has 'same@example.com', as the row 1 has" in capsys.readouterr().err
    assert on_datastore(application).person[2].name == "Bob"


def test_a_value_that_moves_from_one_row_to_another_is_no_duplicate(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, application = small
    monkeypatch.setattr(incoming, "BATCH", 1)
    add(db, (1, "Ann", "a@example.com", 1), (2, "Bob", "b@example.com", 2))
    assert run_import(options_for(application)) == 0
    db.executesql("UPDATE person SET email = CASE id WHEN 1 THEN 'b@example.com' ELSE 'a@example.com' END")
    db.commit()
    assert run_import(options_for(application, mode="merge")) == 0
    there = on_datastore(application)
    assert [there.person[number].email for number in (1, 2)] == ["b@example.com", "a@example.com"]
    with pytest.raises(IntegrityError):
        there.person.insert(email="a@example.com")


def test_a_row_that_does_not_fit_stops_an_import_which_goes_on_once_it_does(
    small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    db, application = small
    monkeypatch.setattr(incoming, "BATCH", 2)
    add(db, (1, "Ann", "a", 1), (2, "Bob", "b", 2), (3, "x" * 1501, "c", 3), (4, "Di", "d", 4))
    assert run_import(options_for(application)) == 1
    assert "person 3: " in capsys.readouterr().err
    assert on_datastore(application)(on_datastore(application).person.id > 0).count() == 2

    db.executesql("UPDATE person SET name = 'Cy' WHERE id = 3")
    db.commit()
    with meter.measure() as counted:
        assert run_import(options_for(application)) == 0
    assert "goes on where an earlier run stopped" in capsys.readouterr().out
    assert counted.calls["ReserveIds"] == 1  # for the second batch only


def test_a_check_names_every_row_that_does_not_fit_and_writes_nothing(small: Any, capsys: Any) -> None:
    db, application = small
    add(db, (0, "Nil", None, 0), (1, "x" * 1501, "a", 1), (2, "Bob", "b", 2**64 - 2**63 - 1), (3, "é" * 800, "c", 3))
    assert run_import(options_for(application), only_check=True) == 1
    said = capsys.readouterr()
    assert [line.split(":")[1].strip() for line in said.err.splitlines()] == ["person 0", "person 1", "person 3"]
    assert "3 rows do not fit" in said.out
    assert on_datastore(application)(on_datastore(application).person.id > 0).isempty()


def test_a_row_that_pydal_cannot_read_is_named(tmp_path: Path, capsys: Any) -> None:
    def tables(db: Any) -> None:
        db.define_table("event", Field("day", "date"))

    db = connect(SQL, folder=str(tmp_path))
    tables(db)
    for number, day in ((1, "2024-02-29"), (2, "someday")):
        db.executesql("INSERT INTO event VALUES (?, ?)", placeholders=(number, day))
    db.commit()
    assert run_import(options_for(Application(tables, tmp_path))) == 1
    assert "event 2 cannot be read" in capsys.readouterr().err


def test_an_import_into_tables_with_rows_is_refused_unless_it_merges_or_replaces(small: Any) -> None:
    db, application = small
    there = on_datastore(application)
    own = int(there.person.insert(name="Own", email="own@example.com"))
    add(db, (1, "Ann", "ann@example.com", 1))
    with pytest.raises(ConfigurationError, match="person: the target holds rows already"):
        run_import(options_for(application))
    assert run_import(options_for(application, mode="merge")) == 0
    assert [there.person[number].name for number in (1, own)] == ["Ann", "Own"]
    buffered = options_for(application, mode="replace", datastore="datastore://?buffer=request")
    assert run_import(buffered) == 0
    assert there.person[own] is None
    assert there.person.insert(email="own@example.com")


def test_an_export_into_tables_with_rows_is_refused_unless_it_merges_or_replaces(small: Any) -> None:
    db, application = small
    there = on_datastore(application)
    number = int(there.person.insert(name="Ann", email="ann@example.com"))
    add(db, (1, "Old", "old@example.com", 1), (number, "Former", None, 1))
    with pytest.raises(ConfigurationError, match="person: the target holds rows already"):
        run_export(options_for(application))
    assert run_export(options_for(application, mode="merge")) == 0
    assert [db.person[one].name for one in (1, number)] == ["Old", "Ann"]
    assert run_export(options_for(application, mode="replace")) == 0
    assert db(db.person.id > 0).count() == 1


def test_what_is_not_agreed_to_is_not_done(small: Any) -> None:
    db, application = small
    add(db, (1, "Ann", "ann@example.com", 1))
    asked: list[tuple[str, bool]] = []

    def refuse(what: str, destroys: bool) -> bool:
        asked.append((what, destroys))
        return False

    refused = options_for(application, agreed=refuse)
    assert run_import(refused) == 1
    assert run_export(replace(refused, mode="replace")) == 1
    assert asked == [
        ("import from sqlite://storage.sqlite to datastore://", False),
        ("export from datastore:// to sqlite://storage.sqlite", True),
    ]
    assert db(db.person.id > 0).count() == 1
    assert on_datastore(application)(on_datastore(application).person.id > 0).isempty()


def test_a_row_that_changed_on_the_way_is_named(small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    db, application = small
    add(db, *[(number, "Ann", None, number) for number in range(1, 6)])
    there = on_datastore(application)
    moved = commands._moved

    def meddle(*args: Any) -> int | None:
        code = moved(*args)
        there(there.person.id == 2).update(age=99)
        there(there.person.id == 4).delete()
        return code

    monkeypatch.setattr(commands, "_moved", meddle)
    assert run_import(options_for(application)) == 1
    said = capsys.readouterr()
    assert "NOT EQUAL" in said.out
    assert "person: 4 rows in the target; missing: 4; different: 2" in said.err


def test_the_next_id_after_an_export_is_above_those_that_came_along(small: Any, tmp_path: Path) -> None:
    _, application = small
    there = on_datastore(application)
    last = max(int(there.person.insert(name="Ann")) for _ in range(3))
    assert run_export(options_for(application, sql="sqlite://new.sqlite")) == 0
    db = connect("sqlite://new.sqlite", folder=str(tmp_path / "databases"))
    application.define(db)
    assert db.person.insert(name="Bob") > last


def test_an_application_finds_exported_tables_as_its_own_migrations_left_them(shop: Path) -> None:
    assert run_import(options_for(from_folder(shop, SQL))) == 0
    assert run_export(options_for(from_folder(shop, SQL), sql="sqlite://new.sqlite")) == 0
    db = connect("sqlite://new.sqlite", folder=str(shop / "databases"))
    define(db)
    assert db._migrated == []
    assert db(db.person).count() == 14


def test_a_row_that_the_sql_database_refuses_is_named(small: Any, capsys: Any) -> None:
    db, application = small
    db.executesql("CREATE UNIQUE INDEX one ON person(age)")
    db.commit()
    there = on_datastore(application)
    ids = sorted(int(there.person.insert(name="Ann", age=5)) for _ in range(2))
    assert run_export(options_for(application)) == 1
    assert f"person {ids[1]}: the database refuses it: UNIQUE constraint failed" in capsys.readouterr().err


def test_fractions_of_seconds_which_pydal_writes_nowhere_do_not_make_an_export_differ(tmp_path: Path) -> None:
    import datetime

    def tables(db: Any) -> None:
        db.define_table("event", Field("moment", "datetime"), Field("at", "time"))

    application = Application(tables, tmp_path)
    moment = datetime.datetime(2024, 2, 29, 1, 2, 3, 456789)
    on_datastore(application).event.insert(moment=moment, at=moment.time())
    assert run_export(options_for(application)) == 0


def test_only_the_tables_that_are_named_are_moved(shop: Path) -> None:
    assert run_import(options_for(from_folder(shop, SQL), tables=["event", "raw"])) == 0
    db = connect("datastore://")
    define(db)
    assert db(db.event).count() == 14
    assert db(db.person).isempty()
    with pytest.raises(ConfigurationError, match="no such table: nothing"):
        run_import(options_for(from_folder(shop, SQL), tables=["nothing"]))


def test_table_files_of_several_databases_have_to_be_told_apart(shop: Path) -> None:
    db = connect("sqlite://other.sqlite", folder=str(shop / "databases"))
    db.define_table("lonely", Field("name"))
    with pytest.raises(ConfigurationError, match="the tables of which database"):
        from_folder(shop, "postgres://localhost/shop")
    (path,) = (shop / "databases").glob("*_lonely.table")
    found = connect("sqlite:memory")
    from_folder(shop, "postgres://localhost/shop", path.name[:6]).define(found)
    assert found.tables == ["lonely"]


def test_names_keep_their_capitals(shop: Path) -> None:
    db = connect("sqlite:memory", migrate=False)
    from_folder(shop, SQL).define(db)
    assert "firstName" in db.person.fields


def test_a_table_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "databases").mkdir()
    path = tmp_path / "databases" / ("0" * 32 + "_evil.table")
    path.write_bytes(pickle.dumps(os.system))
    with pytest.raises(ConfigurationError, match="damaged"):
        from_folder(tmp_path, SQL)


def test_a_table_that_others_refer_to_must_be_defined(tmp_path: Path) -> None:
    def tables(db: Any) -> None:
        db.define_table("thing", Field("owner", "list:reference person"))

    connect(SQL, folder=str(tmp_path)).commit()
    with pytest.raises(ConfigurationError, match=r"thing\.owner refers to the table person"):
        run_import(options_for(Application(tables, tmp_path)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sql": "sqlite://missing.sqlite"}, "there is no file"),
        ({"sql": "datastore://"}, "expected a SQL database"),
        ({"datastore": "sqlite://x"}, "expected datastore://"),
        ({"sql": "postgres://me:secret@127.0.0.1:1/x"}, r"postgres://me:…@127\.0\.0\.1:1/x cannot be opened"),
    ],
)
def test_a_wrong_connection_string_is_refused_without_its_password(
    small: Any, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        run_import(options_for(small[1], **changed))
    assert "secret" not in str(refused.value)


def test_a_link_to_a_folder_among_the_uploads_is_refused_by_name(small: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "link").symlink_to(tmp_path / "databases", target_is_directory=True)
    disk = Functions(os, open)
    folders = [(Folder(str(tmp_path / "up"), disk), Folder(str(tmp_path / "there"), disk))]
    assert run_import(options_for(small[1], folders=folders)) == 1
    assert "link is a link to a folder" in capsys.readouterr().err


def test_a_table_with_a_key_of_its_own_is_refused_by_name(tmp_path: Path) -> None:
    def tables(db: Any) -> None:
        db.define_table("country", Field("code", length=2), Field("name"), primarykey=["code"])
        db.define_table("town", Field("name"))

    db = connect(SQL, folder=str(tmp_path))
    tables(db)
    db.town.insert(name="Ur")
    db.commit()
    with pytest.raises(ConfigurationError, match="country: tables with a primarykey"):
        run_import(options_for(Application(tables, tmp_path)))
    assert run_import(options_for(Application(tables, tmp_path), tables=["town"])) == 0


def test_custom_types_other_names_and_copies_in_lower_case_are_kept(tmp_path: Path) -> None:
    def tables(db: Any) -> None:
        halved = SQLCustomType("integer", native="integer", encoder=lambda value: value // 2, decoder=lambda v: v * 2)
        db.define_table(
            "person",
            Field("number", "id"),
            Field("name", rname="full_name", folded=True),
            Field("even", halved, default=2),
            rname="people",
        )

    db = connect(SQL, folder=str(tmp_path))
    tables(db)
    db.person.insert(name="ANN", even=8)
    db.commit()
    application = Application(tables, tmp_path)
    assert run_import(options_for(application)) == 0
    there = on_datastore(application)
    (found,) = there(there.person.name.contains("ann")).select()
    assert (found.number, found.name, found.even) == (1, "ANN", 8)
    assert run_export(options_for(application, sql="sqlite://back.sqlite")) == 0
    assert dump(tmp_path / "back.sqlite") == dump(tmp_path / "storage.sqlite")


def test_the_sql_database_is_read_as_written_whatever_the_map_makes_of_it(small: Any, tmp_path: Path) -> None:
    db, application = small
    add(db, (1, "Ann", "ann@example.com", 1))
    mapped = settings.parse({"dal": {"map": {"sqlite://*": "datastore:///mapped"}}}, root=tmp_path, place="test")
    settings.use(replace(mapped, data=":memory:"))
    assert counterpart(SQL, application) == "datastore:///mapped"
    assert run_import(options_for(application, datastore=counterpart(SQL, application))) == 0
    there = connect(SQL)
    application.define(there)
    assert there._adapter.dbengine == "datastore"
    assert there.person[1].name == "Ann"


def test_a_file_that_cannot_be_written_stops_an_import_which_goes_on_once_it_can(
    small: Any, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a").write_bytes(b"1")
    (tmp_path / "there").write_bytes(b"a file where a folder should be")
    disk = Functions(os, open)
    folders = [(Folder(str(tmp_path / "up"), disk), Folder(str(tmp_path / "there"), disk))]
    assert run_import(options_for(small[1], folders=folders)) == 1
    assert "The same command goes on from here" in capsys.readouterr().err
    (tmp_path / "there").unlink()
    assert run_import(options_for(small[1], folders=folders)) == 0
    assert (tmp_path / "there" / "a").read_bytes() == b"1"


def test_a_datastore_that_fails_stops_an_import_which_goes_on_once_it_answers(
    small: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    db, application = small
    add(db, (1, "Ann", "ann@example.com", 1))
    with monkeypatch.context() as broken:
        broken.setattr(Client, "commit", _unavailable)
        broken.setattr(state, "ATTEMPTS", 1)
        assert run_import(options_for(application)) == 1
    assert "out of reach\nThe same command goes on" in capsys.readouterr().err
    assert run_import(options_for(application)) == 0


def _unavailable(*args: Any) -> None:
    raise Unavailable("out of reach")


def test_an_export_names_what_the_models_have_no_field_for(small: Any, capsys: Any) -> None:
    _, application = small
    newer = connect("datastore://")
    newer.define_table("person", Field("name"), Field("nick"))
    newer.person.bulk_insert([{"name": "Ann", "nick": "A"}, {"name": "Bob"}])
    assert run_export(options_for(application)) == 1
    said = capsys.readouterr()
    assert "2 rows of 1 tables: equal" in said.out
    assert "person: 2 rows have 'nick', which no field of --app is for: not exported" in said.err


def test_uploads_that_datastore_keeps_are_exported_as_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def tables(db: Any) -> None:
        db.define_table("thing", Field("picture", "upload"), Field("scan", "upload", uploadseparate=True))

    monkeypatch.setattr("gaeport.dal.uploads.PART_SIZE", 7)
    application = Application(tables, tmp_path)
    db = on_datastore(application)
    names = [f"thing.picture.{size:016x}.YS50eHQ=.txt" for size in (0, 1, 5)] + ["thing.scan.00ff.Yi50eHQ=.txt"]
    contents = [b"", b"small", b"small" * 5, b"scanned"]
    for name, content in zip(names, contents, strict=True):
        Contents(db._adapter.store).write(name, BytesIO(content))
        db.thing.insert(**{name.split(".")[1]: name})
    assert run_export(options_for(application)) == 1
    assert "4 uploads are kept in Datastore and were not exported" in capsys.readouterr().err

    target = Folder(str(tmp_path / "files"), Functions(os, open))
    assert run_export(options_for(application, mode="replace", contents_to=target)) == 0
    assert "4 uploads that Datastore keeps" in capsys.readouterr().out
    assert [(tmp_path / "files" / name).read_bytes() for name in names[:3]] == contents[:3]
    here = connect(SQL, folder=str(tmp_path), migrate=False)
    here.define_table("thing", Field("scan", "upload", uploadseparate=True, uploadfolder=str(tmp_path / "files")))
    filename, file = here.thing.scan.retrieve(names[3])
    with file:
        assert (filename, file.read()) == ("b.txt", b"scanned")
