"""No ticket is lost, and no request waits, whatever the Logging API and Datastore do."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.errors import Unavailable
from gaeport.tickets import api, commands, record, reporting, spool
from gaeport.tickets.store import TicketStore
from tests.tickets.failing import caught, simple, with_cause
from tests.tickets.logging_server import LoggingServer

ERROR, DEBUG = 500, 100  # google.logging.type.LogSeverity
BOUND = 5.0  # seconds that a request may take on a busy machine; wait_ms below is a tenth of it


@pytest.fixture
def server(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoggingServer]:
    """The stand-in, which tickets are sent to."""
    monkeypatch.setattr(api, "TIMEOUT", 1.0)
    settings.configure(root=site, tickets={"line": "json", "api": True, "wait_ms": 500, "per_minute": 100})
    found = LoggingServer()
    api.connect(found.client())
    yield found
    found.stop()
    reporting.flush()
    api.connect(None)


def fail() -> tuple[str, float]:
    """Make a ticket; return its number and how long that took."""
    started = time.monotonic()
    number = record(caught(simple))
    return number, time.monotonic() - started


def payload(entry: Any) -> dict[str, Any]:
    """Return the content of an entry."""
    found: dict[str, Any] = type(entry).to_dict(entry)["json_payload"]
    return found


def numbers_at(server: LoggingServer) -> set[str]:
    return {name.rpartition("-")[0] for name in server.entries}


def test_a_server_that_accepts_gets_the_whole_ticket(server: LoggingServer) -> None:
    number, _ = fail()
    assert reporting.flush()
    (entry,) = server.entries.values()
    assert entry.insert_id == f"{number}-0"
    assert entry.log_name == "projects/gaeport-local/logs/gaeport"
    assert int(entry.severity) == ERROR
    assert entry.labels["ticket"] == number
    assert payload(entry)["ticket"]["number"] == number
    assert payload(entry)["stack_trace"].endswith("KeyError: 'pears'\n")
    assert spool.count() == 0


def test_a_ticket_over_the_limit_is_sent_in_parts(server: LoggingServer) -> None:
    made = {**TicketStore().read(fail()[0]), "filler": "x" * 600_000}  # type: ignore[dict-item]
    api.send([made])
    parts = [entry for name, entry in sorted(server.entries.items()) if name.startswith(made["number"])]
    assert len(parts) > 2
    assert [int(entry.severity) for entry in parts] == [ERROR, *[DEBUG] * (len(parts) - 1)]
    text = "".join(payload(entry)["gaeport_split"]["text"] for entry in parts)
    assert json.loads(text)["ticket"]["filler"] == "x" * 600_000


@pytest.mark.parametrize("mood", ["refuse", "error"])
def test_a_server_that_refuses_gets_the_tickets_later(
    server: LoggingServer, mood: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.mood = mood
    made = [fail() for _ in range(5)]
    assert reporting.flush()
    assert all(seconds < BOUND for _, seconds in made)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert spool.count() == 5
    assert "gaeport tickets collect" in caplog.text
    assert len(list(TicketStore().numbers())) == 5  # Datastore has them all the same
    assert commands.collect() == 1
    server.mood = "accept"
    assert commands.collect() == 0
    assert numbers_at(server) == {number for number, _ in made}
    assert spool.count() == 0


def test_a_server_that_hangs_makes_the_first_request_wait_for_the_bound_and_the_others_not_at_all(
    server: LoggingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.mood = "hang"
    made = [fail() for _ in range(10)]
    assert all(seconds < BOUND for _, seconds in made)
    assert sum(seconds for _, seconds in made[1:]) < BOUND
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert spool.count() == 10
    server.mood = "accept"
    server._release.set()
    assert reporting.flush(60)
    assert commands.collect() == 0
    assert numbers_at(server) == {number for number, _ in made}


def test_a_server_that_dies_in_the_middle_gets_the_tickets_when_it_is_back(server: LoggingServer) -> None:
    first, _ = fail()
    assert reporting.flush()
    server.mood = "hang"
    server.arrived.clear()
    worker = threading.Thread(target=fail)
    worker.start()
    assert server.arrived.wait(30)
    port = server.port
    server.stop()
    worker.join(30)
    for _ in range(3):
        assert fail()[1] < BOUND
    assert reporting.flush(60)
    assert spool.count() == 4
    again = LoggingServer(port)
    try:
        api.connect(again.client())
        assert commands.collect() == 0
        assert len(numbers_at(again) - {first}) == 4
    finally:
        again.stop()


def test_more_tickets_than_may_wait_stay_in_the_data_folder(
    server: LoggingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.configure(root=Path.cwd(), tickets={"line": "off", "api": True, "wait_ms": 0, "per_minute": 1_000})
    api.connect(server.client())
    server.mood = "hang"
    made = {fail()[0] for _ in range(250)}
    assert spool.count() == 250
    server.mood = "accept"
    server._release.set()
    assert reporting.flush(60)
    assert commands.collect() == 0
    assert numbers_at(server) == made


def test_datastore_that_is_away_gets_the_tickets_later(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = True
    write = TicketStore.write

    def refuse(self: TicketStore, *arguments: Any, **options: Any) -> None:
        if away:
            raise Unavailable("away")
        write(self, *arguments, **options)

    monkeypatch.setattr(TicketStore, "write", refuse)
    number, seconds = fail()
    assert seconds < BOUND
    assert spool.count() == 1
    assert commands.show(number, as_json=False) == 0  # it is found where it waits
    away = False
    assert commands.collect() == 0
    assert TicketStore().read(number) is not None
    assert spool.count() == 0


def test_a_full_disk_is_said_and_the_ticket_is_written(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "put", full)
    number, _ = fail()
    assert "No space left" in capsys.readouterr().err
    assert TicketStore().read(number) is not None


def test_on_app_engine_the_line_is_the_copy_and_nothing_touches_the_disk(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TicketStore, "__init__", lambda self: (_ for _ in ()).throw(Unavailable("away")))
    monkeypatch.setenv("GAE_ENV", "standard")
    number, _ = fail()
    assert reporting.flush()
    assert number in capsys.readouterr().out
    assert "its log line is kept" in caplog.text
    assert not (site / ".gaeport" / spool.FOLDER).exists()


def test_without_a_line_and_a_data_folder_the_line_is_written_all_the_same(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.configure(root=site, data=":memory:", tickets={"line": "off"})
    number, _ = fail()
    assert number in capsys.readouterr().out


def test_a_damaged_file_is_set_aside_and_the_others_are_collected(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting._writer, "submit", lambda job, wait: None)
    number, _ = fail()
    folder = spool.folder()
    assert folder is not None
    (folder / "000000-000000-0000.json").write_text('{"half')
    assert commands.collect() == 0
    assert TicketStore().read(number) is not None
    assert [path.name for path in folder.iterdir()] == ["000000-000000-0000.damaged"]


def test_collecting_twice_at_once_writes_each_ticket_once(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting._writer, "submit", lambda job, wait: None)
    settings.configure(root=site, tickets={"line": "off", "per_minute": 1_000})
    made = {fail()[0] for _ in range(120)}
    workers = [threading.Thread(target=commands.collect) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert {number.text for number in TicketStore().numbers()} == made
    assert spool.count() == 0


KILLED = """
import os, signal, sys
import gaeport
from gaeport.tickets import commands, spool
from gaeport.tickets.store import TicketStore

gaeport.configure()
left = int(sys.argv[1])
done = spool.done

def die(path, record, sinks):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    done(path, record, sinks)

spool.done = die
commands.collect()
"""


@pytest.mark.parametrize("after", [1, 3])
def test_a_collection_that_is_killed_is_finished_by_the_next(
    site: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(reporting._writer, "submit", lambda job, wait: None)
    made = {fail()[0] for _ in range(5)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(after)], cwd=site, check=False)
    assert done.returncode == -signal.SIGKILL
    assert spool.count() == 5 - (after - 1)
    assert commands.collect() == 0
    assert {number.text for number in TicketStore().numbers()} == made
    assert spool.count() == 0


DIES = """
import os, signal
import gaeport
from gaeport.tickets import record
from gaeport.tickets.store import TicketStore

gaeport.configure(tickets={"line": "json", "wait_ms": 0})
TicketStore.write = lambda self, records: os.kill(os.getpid(), signal.SIGKILL)
record(ValueError("the last words"))
import time
time.sleep(60)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_its_ticket(site: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIES], cwd=site, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert "the last words" in done.stdout
    assert commands.collect() == 0
    assert len(list(TicketStore().numbers())) == 1


ENDS = """
import gaeport
from gaeport.tickets import record

gaeport.configure(tickets={"line": "json", "wait_ms": 0, "per_minute": 1})
for _ in range(3):
    try:
        {}["key"]
    except KeyError:
        record()
"""


def test_a_process_that_ends_writes_what_waits_and_tells_what_was_counted(site: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], cwd=site, check=True, capture_output=True, text=True)
    assert "2 more of group" in done.stdout.splitlines()[-1]
    assert spool.count() == 0
    assert len(list(TicketStore().numbers())) == 1
    assert [count.count for count in TicketStore().counts()] == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
def test_a_forked_child_writes_its_own_tickets(site: Path) -> None:
    first, _ = fail()
    assert reporting.flush()
    code = f"""
import os, sys
import gaeport
from gaeport.tickets import record, reporting
gaeport.configure(tickets={{"line": "off", "wait_ms": 0}})
record(ValueError("parent"))
assert reporting.flush()
if os.fork() == 0:
    record(KeyError("child of {first}"))
    os._exit(0 if reporting.flush() else 1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=site, check=True)
    assert len(list(TicketStore().numbers())) == 3


def test_an_error_of_the_writer_itself_is_a_warning(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        settings.configure(root=site, tickets={"line": "off", "entity": False, "api": True})
        monkey = type("Client", (), {"write_log_entries": lambda self, **more: 1 / 0})()
        api.connect(monkey)
        record(caught(with_cause))
        assert reporting.flush()
    assert "division by zero" in caplog.text
