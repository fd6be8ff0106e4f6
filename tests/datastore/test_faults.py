"""Damaged, foreign and full disks: a clear error, and nothing lost."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine, schema
from gaeport.errors import DataLoss, Internal, PermissionDenied
from tests.datastore.build import entity, query

FILE = "datastore.sqlite3"


@pytest.mark.parametrize("content", [b"not a database" * 500, b"SQLite format 3\x00" + b"\xff" * 5000, b"short"])
def test_a_damaged_file_is_named_and_left_untouched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DataLoss, match=str(tmp_path / FILE)):
        Engine(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_foreign_sqlite_file_is_named_and_left_untouched(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(DataLoss, match="another program"):
        Engine(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    Engine(tmp_path).close()
    db = sqlite3.connect(tmp_path / FILE)
    with db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'format'", (schema.FORMAT + 1,))
    db.close()
    with pytest.raises(DataLoss, match="format 2"):
        Engine(tmp_path)


def test_damage_met_while_reading_is_named(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    client = Client(engine, project="project")
    for n in range(1, 300):
        client.commit([wire.Mutation(insert=entity(client.key("Kind", n), text="x" * 500))])
    engine.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xff" * 4096 * 60)
    engine = Engine(tmp_path)
    client = Client(engine, project="project")
    keys = [client.key("Kind", n) for n in range(1, 300)]
    with pytest.raises(DataLoss, match=FILE):
        client.lookup(keys)
    engine.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "data", Path("/proc/gaeport")):
        with pytest.raises(PermissionDenied, match=str(folder)):
            Engine(folder)


def test_a_closed_engine_refuses_calls(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        engine = Engine(folder)
        engine.close()
        engine.close()
        client = Client(engine, project="project")
        with pytest.raises(Internal, match="closed"):
            client.commit([wire.Mutation(insert=entity(client.key("Kind", 1)))])


_FILLER = """
import resource, sys
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.errors import ResourceExhausted
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))  # bytes; stands for a full disk
client = Client(Engine(Path(sys.argv[1])), project="project")
done = 0
try:
    while True:
        made = wire.Entity(key=client.key("Kind", done + 1))
        made.properties["blob"].blob_value = b"x" * 100_000
        made.properties["blob"].exclude_from_indexes = True
        other = wire.Entity(key=client.key("Twin", done + 1))
        client.commit([wire.Mutation(insert=made), wire.Mutation(insert=other)])
        done += 1
except ResourceExhausted as error:
    assert "disk full" in str(error), error
    assert client.lookup([client.key("Kind", done + 1)]) == [None]
    print(done)
"""


def test_a_full_disk_is_an_error_and_what_was_committed_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FILLER, str(tmp_path)]
    done = int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    assert done > 5
    engine = Engine(tmp_path)
    client = Client(engine, project="project")
    for kind in ("Kind", "Twin"):
        assert len(list(client.query(query(kind)))) == done
    client.commit([wire.Mutation(insert=entity(client.key("Kind", done + 1)))])
    engine.close()
    db = sqlite3.connect(tmp_path / FILE)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
