"""A whole Datastore in one file, and back."""

import gzip
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gaeport.cli import main
from gaeport.datastore import export, export_command, wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine, dump
from gaeport.errors import ConfigurationError, DataLoss
from tests.datastore.build import entity

EVERYWHERE = [("p", "", ""), ("p", "", "space"), ("p", "named", "space"), ("q", "", "")]


def fill(folder: Path, number: int = 3, text: str = "x") -> list[bytes]:
    """Put entities into several namespaces, databases and projects; return what the folder holds then."""
    engine = Engine(folder)
    for project, database, namespace in EVERYWHERE:
        client = Client(engine, project=project, database=database, namespace=namespace)
        made = [
            entity(client.key("Kind", f"k{n}", "Child", n + 1), n=n, text=text, many=[1, "é"]) for n in range(number)
        ]
        client.commit([wire.Mutation(upsert=item) for item in made])
    engine.close()
    return held(folder)


def held(folder: Path) -> list[bytes]:
    engine = Engine(folder)
    found: list[bytes] = engine.export(list)
    engine.close()
    return found


def test_what_is_exported_is_imported_whole(tmp_path: Path) -> None:
    before = fill(tmp_path / "one", 300)
    file = tmp_path / "file"
    assert export_command.run_export(tmp_path / "one", file) == len(before) == 1200
    assert export_command.run_import(tmp_path / "two", file, "empty") == 1200
    assert held(tmp_path / "two") == before


def test_queries_find_what_was_imported(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    export_command.run_export(tmp_path / "one", tmp_path / "file")
    export_command.run_import(tmp_path / "two", tmp_path / "file", "empty")
    engine = Engine(tmp_path / "two")
    query = wire.Query(kind=[{"name": "Child"}])
    query.filter.property_filter.property.name, query.filter.property_filter.op = "n", wire.EQUAL
    query.filter.property_filter.value.integer_value = 2
    [found] = Client(engine, project="p", database="named", namespace="space").query(query)
    assert found.entity.key.path[0].name == "k2"
    engine.close()


def test_an_import_into_what_is_not_empty_must_say_how(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    export_command.run_export(tmp_path / "one", tmp_path / "file")
    before = fill(tmp_path / "two", 5, "other")
    with pytest.raises(ConfigurationError, match="--merge adds to them, --replace deletes them first"):
        export_command.run_import(tmp_path / "two", tmp_path / "file", "empty")
    assert held(tmp_path / "two") == before
    export_command.run_import(tmp_path / "two", tmp_path / "file", "merge")
    assert len(held(tmp_path / "two")) == 20
    assert set(held(tmp_path / "one")) < set(held(tmp_path / "two"))
    export_command.run_import(tmp_path / "two", tmp_path / "file", "replace")
    assert held(tmp_path / "two") == held(tmp_path / "one")


def test_an_interrupted_import_is_completed_by_the_same_again(tmp_path: Path) -> None:
    before = fill(tmp_path / "one", 300)
    export_command.run_export(tmp_path / "one", tmp_path / "file")
    engine = Engine(tmp_path / "two")
    commits: list[str] = []

    class Interrupted:
        def call(self, method: str, request: Any) -> Any:
            commits.append(method)
            if len(commits) == 3:
                raise KeyboardInterrupt
            return engine.call(method, request)

    with pytest.raises(KeyboardInterrupt):
        export.load(Interrupted(), export.read(tmp_path / "file"))
    engine.close()
    assert 0 < len(held(tmp_path / "two")) < len(before)
    export_command.run_import(tmp_path / "two", tmp_path / "file", "merge")
    assert held(tmp_path / "two") == before


def test_an_interrupted_export_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"former")

    def entities() -> Any:
        yield entity(wire.Key(path=[{"kind": "K", "id": 1}])).SerializeToString()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.write(file, entities())
    assert os.listdir(tmp_path) == ["file"]
    assert file.read_bytes() == b"former"


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "text", "newer", "miscounted", "empty"])
def test_a_damaged_file_is_refused_and_nothing_changed(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "one", 50)
    file = tmp_path / "file"
    export_command.run_export(tmp_path / "one", file)
    whole = file.read_bytes()
    plain = gzip.decompress(whole)
    file.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "flipped": whole[:-20] + bytes((whole[-20] ^ 1,)) + whole[-19:],
            "other": gzip.compress(b'{"format": "other"}\n'),
            "text": b"something else",
            "newer": gzip.compress(plain.replace(b'"version": 1', b'"version": 2', 1)),
            "miscounted": gzip.compress(plain[:-8] + bytes(8)),
            "empty": b"",
        }[damage]
    )
    before = fill(tmp_path / "two")
    with pytest.raises(DataLoss, match="file"):
        export_command.run_import(tmp_path / "two", file, "replace")
    assert held(tmp_path / "two") == before


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("size", [0, 4_000_000])
def test_an_export_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, pruned: bool) -> None:
    monkeypatch.setattr(dump, "SLICE_BYTES", size)  # 0: a slice for each entity
    before = fill(tmp_path / "one", 100)
    engine, other = Engine(tmp_path / "one"), Engine(tmp_path / "one")
    client = Client(other, project="p")
    begun = []

    def change() -> None:
        keys = [client.key("Kind", f"k{n}", "Child", n + 1) for n in (97, 98, 99)]
        client.commit([wire.Mutation(delete=key) for key in keys[:2]])
        client.commit([wire.Mutation(upsert=entity(key, n=-1)) for key in keys[1:]])  # the first of them made anew
        client.commit([wire.Mutation(insert=entity(client.key("Z", 1)))])
        if pruned:
            other._store.write(lambda db: db.execute("UPDATE meta SET value = 1 << 60 WHERE name = 'pruned'"))

    def slowly(entities: Any) -> list[bytes]:
        found = [next(entities)]
        begun.append(len(found))
        if len(begun) == 1:
            change()
        return [*found, *entities]

    found = engine.export(slowly)
    if pruned and not size:  # what the history no longer has is read anew, as of a later moment
        assert len(begun) == 2
        before = held(tmp_path / "one")
    assert found == before
    engine.close()
    other.close()


def test_an_export_holds_no_transaction_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "SLICE_BYTES", 0)
    fill(tmp_path / "one")
    engine = Engine(tmp_path / "one")

    def busy(entities: Any) -> list[tuple[Any, ...]]:
        next(entities)
        with sqlite3.connect(tmp_path / "one" / "datastore.sqlite3") as db:
            found = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.close()
        return found

    assert engine.export(busy) == [(0, 0, 0)]  # all of the log was copied
    engine.close()


def test_the_commands(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = fill(project / ".gaeport")
    assert main(["datastore", "export", "file"]) == 0
    assert capsys.readouterr() == ("exported 12 entities to file\n", "")
    assert main(["datastore", "import", "file"]) == 2
    assert "--merge" in capsys.readouterr().err
    assert main(["datastore", "import", "file", "--data", "copy"]) == 0
    assert capsys.readouterr() == ("imported 12 entities from file\n", "")
    assert held(project / "copy") == before
    assert main(["datastore", "--data", "copy", "import", "file", "--replace"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["datastore", "export", "file", "--data", "none"], "there is no datastore.sqlite3"),
        (["datastore", "import", "missing"], "cannot be read: No such file"),
        (["--project", "p", "datastore", "export", "file"], "gcloud datastore export"),
        (["datastore", "export", "file", "--data", ":memory:"], "--data names a folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert os.listdir(project) == []


def test_progress_is_shown_on_a_terminal_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "one", 300)
    export_command.run_export(tmp_path / "one", tmp_path / "file")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    export_command.run_export(tmp_path / "one", tmp_path / "file")
    assert "exported 500 entities" in capsys.readouterr().err
