"""Many requests at once, in several processes, on one session."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.sessions.session import Session
from gaeport.sessions.stores import connect
from gaeport.settings import SessionSettings

pytestmark = pytest.mark.long

PROCESSES, THREADS, CHANGES = 4, 4, 1_008  # 16 threads in 4 processes, 63 changes each
CHECKOUT = Path(__file__).parent.parent.parent

# What each process runs; the arguments are the settings, the token, the process's number and the number of changes.
WORKER = """
import sys
from tests.sessions.test_concurrency import change_keys
change_keys(*sys.argv[1:])
"""


def change_keys(store: str, url: str, data: str, namespace: str, token: str, number: str, changes: str) -> None:
    """Change keys of one session in several threads: each thread its own keys, and one key that all share."""
    settings.configure(data=data, namespace=namespace, project="test-project")
    options = SessionSettings(store=store, url=url or None)  # type: ignore[arg-type]  # from the command line
    kept = connect(options)

    def work(thread: int) -> None:
        for step in range(int(changes) // THREADS):
            session = Session(kept, options, token)
            session[f"p{number}t{thread}n{step}"] = step
            session["shared"] = {"by": [number, thread, step], "again": [number, thread, step]}
            session.save()

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("datastore", "disk"),
        ("datastore", "firestore_emulator"),
        ("datastore", "datastore_emulator"),
        ("memcache+datastore", "memcached_server"),
        ("memcache", "memcached_server"),
        ("redis", "redis_server"),
    ],
)
def test_no_change_of_a_thousand_is_lost_and_the_shared_key_is_whole(
    store: str, place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated = place.endswith("_emulator")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    if emulated:
        environment["DATASTORE_EMULATOR_HOST"] = request.getfixturevalue(place)
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", environment["DATASTORE_EMULATOR_HOST"])
    url = request.getfixturevalue(place).url if place.endswith("_server") else ""
    namespace = f"test{random.randrange(10**12)}"
    data = str(tmp_path / "data")
    settings.configure(data=data, namespace=namespace, project="test-project")
    options = SessionSettings(store=store, url=url or None)  # type: ignore[arg-type]  # a parameter
    kept = connect(options)
    first = Session(kept, options, None)
    first["begun"] = True
    outcome = first.save()
    assert outcome is not None
    assert outcome.token is not None
    settings.configure(data=data, namespace=namespace, project="test-project")

    arguments = [store, url, data, namespace, outcome.token]
    share = str(CHANGES // PROCESSES)
    running = [
        subprocess.Popen([sys.executable, "-c", WORKER, *arguments, str(number), share], env=environment)
        for number in range(PROCESSES)
    ]
    assert [process.wait(300) for process in running] == [0] * PROCESSES

    found: dict[str, Any] = dict(Session(kept, options, outcome.token))
    shared = found.pop("shared")
    assert shared["by"] == shared["again"]
    assert shared["by"][2] == CHANGES // PROCESSES // THREADS - 1, "the last one wins: a thread's last change, then"
    assert found.pop("begun") is True
    wanted = {
        f"p{process}t{thread}n{step}": step
        for process in range(PROCESSES)
        for thread in range(THREADS)
        for step in range(CHANGES // PROCESSES // THREADS)
    }
    assert len(wanted) == CHANGES
    assert found == wanted
