"""Damaged, foreign and full disks: a clear error, and nothing lost."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine, schema
from gaeport.errors import DataLoss, Internal, PermissionDenied
from tests.datastore.build import entity, query, where

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
    with pytest.raises(DataLoss, match=f"format {schema.FORMAT + 1}"):
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


_WRITER = """
import sys
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
client = Client(Engine(Path(sys.argv[1])), project="project")
first = int(sys.argv[2])
for n in range(first, 10**9):
    mutations = []
    for kind in ("Kind", "Twin"):
        made = wire.Entity(key=client.key(kind, n % 40 + 1))
        made.properties["n"].integer_value = n
        made.properties["text"].string_value = str(n) * (n % 50)
        mutations.append(wire.Mutation(upsert=made))
    gone = client.key("Gone", n - 1) if n > 1 else client.key("Gone", 1)
    mutations += [wire.Mutation(delete=gone), wire.Mutation(upsert=wire.Entity(key=client.key("Gone", n)))]
    client.commit(mutations)
    print(n, flush=True)
"""


def killed_while_writing(folder: Path, first: int, commits: int, delay: float) -> int:
    """Kill a writer some time after so many commits; return the last that it said to be done."""
    command = [sys.executable, "-c", _WRITER, str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(commits):
            assert writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(delay)
        os.kill(writer.pid, signal.SIGKILL)
        said = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        return int(said[-1]) if said else first + commits - 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_a_killed_writer_leaves_all_that_it_acknowledged_and_no_half_commit(tmp_path: Path) -> None:
    rng = random.Random(5)
    first = 1
    for _ in range(50 if os.environ.get("GAEPORT_LONG") == "1" else 5):
        done = killed_while_writing(tmp_path, first, rng.randrange(1, 60), rng.random() / 50)
        engine = Engine(tmp_path)
        client = Client(engine, project="project")
        kept = {kind: sorted(n_of(found) for found in client.query(query(kind))) for kind in ("Kind", "Twin")}
        assert kept["Kind"] == kept["Twin"]  # one commit wrote both
        assert max(kept["Kind"]) in (done, done + 1)  # the last may have died between commit and word of it
        last = max(kept["Kind"])
        assert kept["Kind"] == list(range(max(1, last - 39), last + 1))
        assert [found.entity.key.path[-1].id for found in client.query(query("Gone"))] == [last]
        found = list(client.query(query("Kind", where("n", "=", last))))
        assert [n_of(one) for one in found] == [last]
        engine.close()
        with sqlite3.connect(tmp_path / FILE) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        first = last + 1


def n_of(found: Any) -> int:
    return found.entity.properties["n"].integer_value  # type: ignore[no-any-return]  # wire is untyped
