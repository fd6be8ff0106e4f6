"""Several processes and threads on one data folder, forks, and the death of a writer."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client, retried
from gaeport.datastore.engine import Engine
from gaeport.errors import Aborted, FailedPrecondition
from tests.datastore.build import entity, query

_WRITER = """
import sys
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
client = Client(Engine(Path(sys.argv[1])), project="project")
for n in range(int(sys.argv[3])):
    made = wire.Entity(key=client.key("Kind", f"{sys.argv[2]}-{n}"))
    made.properties["n"].integer_value = n
    client.commit([wire.Mutation(insert=made)])
    print(n, flush=True)
"""

_COUNTER = """
import sys
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client, retried
from gaeport.datastore.engine import Engine
from gaeport.errors import FailedPrecondition
client = Client(Engine(Path(sys.argv[1])), project="project")
def add():
    found = client.lookup([client.key("Counter", 1)])[0]
    found.entity.properties["n"].integer_value += 1
    client.commit([wire.Mutation(update=found.entity, base_version=found.version, conflict_resolution_strategy=3)])
for _ in range(int(sys.argv[2])):
    retried(add, (FailedPrecondition,), 100)
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    engine = Engine(tmp_path)
    yield Client(engine, project="project")
    engine.close()


def check_integrity(folder: Path) -> None:
    db = sqlite3.connect(folder / "datastore.sqlite3")
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    entries = db.execute("SELECT count(*) FROM entries JOIN entities USING (key) WHERE value = x''").fetchone()
    assert entries == db.execute("SELECT count(*) FROM entities").fetchone()
    db.close()


def names(client: Client) -> set[str]:
    return {found.entity.key.path[0].name for found in client.query(query("Kind"))}


def test_what_several_processes_write_at_once_is_all_there(shared: Client, tmp_path: Path) -> None:
    writers = [start(_WRITER, tmp_path, name, 150) for name in "ab"]
    for n in range(150):
        shared.commit([wire.Mutation(insert=entity(shared.key("Kind", f"c-{n}"), n=n))])
    for writer in writers:
        finish(writer)
    assert names(shared) == {f"{name}-{n}" for name in "abc" for n in range(150)}
    check_integrity(tmp_path)


def test_no_update_of_several_processes_is_lost(shared: Client, tmp_path: Path) -> None:
    shared.commit([wire.Mutation(insert=entity(shared.key("Counter", 1), n=0))])
    for counter in [start(_COUNTER, tmp_path, 60) for _ in range(3)]:
        finish(counter)
    found = shared.lookup([shared.key("Counter", 1)])[0]
    assert found is not None
    assert found.entity.properties["n"].integer_value == 180


def test_a_killed_writer_loses_nothing_that_was_acknowledged(shared: Client, tmp_path: Path) -> None:
    writer = start(_WRITER, tmp_path, "a", 100_000)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    writer.stdout.close()
    assert {f"a-{n}" for n in acknowledged} <= names(shared)
    shared.commit([wire.Mutation(insert=entity(shared.key("Kind", "after")))])
    check_integrity(tmp_path)


def test_versions_grow_across_processes(shared: Client, tmp_path: Path) -> None:
    before = shared.commit([wire.Mutation(insert=entity(shared.key("Kind", "x")))])[0].version
    finish(start(_WRITER, tmp_path, "a", 1))
    written = shared.lookup([shared.key("Kind", "a-0")])[0]
    after = shared.commit([wire.Mutation(insert=entity(shared.key("Kind", "y")))])[0].version
    assert written is not None
    assert before < written.version < after


def test_many_threads_write_and_read_at_once(backend_engine: Engine) -> None:
    client = Client(backend_engine, project="project")
    client.commit([wire.Mutation(insert=entity(client.key("Counter", 1), n=0))])

    def add() -> None:
        found = client.lookup([client.key("Counter", 1)])[0]
        assert found is not None
        found.entity.properties["n"].integer_value += 1
        client.commit([
            wire.Mutation(update=found.entity, base_version=found.version, conflict_resolution_strategy=wire.FAIL)
        ])  # fmt: skip

    in_threads(8, lambda: [retried(add, (FailedPrecondition, Aborted), 100) for _ in range(25)])
    found = client.lookup([client.key("Counter", 1)])[0]
    assert found is not None
    assert found.entity.properties["n"].integer_value == 200


@pytest.fixture(params=["memory", "disk"])
def backend_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    engine = Engine(tmp_path if request.param == "disk" else None)
    yield engine
    engine.close()


def in_threads(count: int, work: Callable[[], Any]) -> None:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


_FORKER = """
import os, sys, threading
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
engine = Engine(Path(sys.argv[1]))
client = Client(engine, project="project")
def write(name, count):
    for n in range(count):
        client.commit([wire.Mutation(insert=wire.Entity(key=client.key("Kind", f"{name}-{n}")))])
write("before", 1)
busy = threading.Thread(target=write, args=("thread", 200))
busy.start()
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        engine.after_fork_in_child()
        write(f"child{number}", 50)
        os._exit(0)
    children.append(child)
    write(f"parent{number}", 20)
busy.join()
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def test_forked_children_and_their_parent_all_write(shared: Client, tmp_path: Path) -> None:
    finish(start(_FORKER, tmp_path))
    expected = {"before-0"} | {f"thread-{n}" for n in range(200)}
    expected |= {f"child{number}-{n}" for number in range(4) for n in range(50)}
    expected |= {f"parent{number}-{n}" for number in range(4) for n in range(20)}
    assert names(shared) == expected
    check_integrity(tmp_path)


def test_no_sqlite_file_is_open_in_a_child_at_its_birth(shared: Client, tmp_path: Path) -> None:
    shared.lookup([shared.key("Kind", 1)])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        links = (os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
        os.write(writing, b"open" if any(link.startswith(str(tmp_path)) for link in links) else b"none")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 10) == b"none"
    os.close(reading)
    assert shared.lookup([shared.key("Kind", 1)]) == [None]
