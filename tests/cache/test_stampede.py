"""A cold cache, 200 threads in 4 processes, one expensive key: it is created once."""

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from typing import Any

import pytest

from gaeport.cache import Cache
from gaeport.kv import connect
from gaeport.kv.contract import fresh
from tests.servers import Server

pytestmark = pytest.mark.long

PROCESSES, THREADS = 4, 50
TIMEOUT = 10  # seconds; two hundred threads on a small machine may keep the server from its processor
_spawn = multiprocessing.get_context("spawn")  # as gunicorn's workers: nothing is shared but the store


def ask(url: str, key: str, start: Barrier, gone: Event, fails: bool, answers: Any) -> None:
    """One process: its threads ask for the key at once; report (creations, answers, failures logged, seconds)."""
    store = connect(url, timeout=TIMEOUT)
    cache = Cache(store)
    counter = store.namespace("created")
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gaeport.cache").addHandler(handler)
    values: list[object] = []
    longest: list[float] = []

    def create() -> str:
        counter.incr(key, initial=0)
        time.sleep(0.3)  # expensive
        if fails:
            raise OSError("the database is away")
        return "new"

    def work() -> None:
        begin.wait()
        started = time.monotonic()
        values.append(cache(key, create, 1))
        longest.append(time.monotonic() - started)

    begin = threading.Barrier(THREADS)
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    start.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((sorted(set(map(str, values))), len(values), logged, max(longest)))
    gone.wait(60)


def together(url: str, key: str, fails: bool) -> tuple[int, list[Any]]:
    """Run the processes; return how often the value was created, and what each process reports."""
    start, gone, answers = _spawn.Barrier(PROCESSES), _spawn.Event(), _spawn.Queue()
    arguments = (url, key, start, gone, fails, answers)
    processes = [_spawn.Process(target=ask, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    try:
        reports = [answers.get(timeout=90) for _ in processes]
    finally:
        gone.set()
        for process in processes:
            process.join(30)
            if process.is_alive():
                process.kill()
    created = connect(url, timeout=TIMEOUT).namespace("created").get(key)
    return int(created or b"0"), reports


@pytest.fixture(params=["memcached_server", "redis_server"])
def url(request: pytest.FixtureRequest) -> str:
    server: Server = request.getfixturevalue(request.param)
    return server.url


def test_of_200_threads_in_4_processes_one_creates(url: str, record_property: Callable[[str, object], None]) -> None:
    key = fresh()
    created, reports = together(url, key, fails=False)
    longest = max(report[3] for report in reports)
    record_property("shown", f"{PROCESSES} x {THREADS} threads, one cold key: longest answer {longest:.2f} s")
    assert created == 1
    assert [(values, count) for values, count, _, _ in reports] == [(["new"], THREADS)] * PROCESSES


def test_when_creating_fails_all_get_the_old_value_and_it_is_logged_once(url: str) -> None:
    key = fresh()
    cache = Cache(connect(url, timeout=TIMEOUT))
    cache.set(key, "old")
    time.sleep(1.05)  # older than the second for which the threads take it
    created, reports = together(url, key, fails=True)
    assert created == 1
    assert [(values, count) for values, count, _, _ in reports] == [(["old"], THREADS)] * PROCESSES
    logged = [line for report in reports for line in report[2]]
    assert len(logged) == 1
    assert f"creating {key!r} failed; serving the value" in logged[0]
