"""Servers that stop, die and come back in the middle."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gaeport import meter
from gaeport.errors import KVUnavailable
from gaeport.kv import KV, connect
from gaeport.kv.contract import fresh, wait
from gaeport.kv.health import Breaker
from tests.servers import Server

TIMEOUT = 0.25  # seconds; the default


@pytest.fixture(params=["memcached", "redis-server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param)
    yield server
    server.remove()


@pytest.fixture
def kv(server: Server) -> Iterator[KV]:
    kv = connect(server.url, timeout=3)  # a busy machine is no fault
    yield kv
    kv.close()


@pytest.fixture
def impatient(server: Server) -> Iterator[KV]:
    kv = connect(server.url)
    yield kv
    kv.close()


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def outages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gaeport.kv"]


def test_a_dead_server_is_a_miss_for_reads_and_false_for_writes(server: Server, kv: KV) -> None:
    kv.set("key", b"1")
    server.kill()
    for _ in range(2):
        assert kv.get("key") is None
        assert kv.gets("key") is None
        assert kv.get_many(["key", "other"]) == {}
        assert kv.set("key", b"2") is False
        assert kv.add("key", b"2") is False
        assert kv.cas("key", b"2", b"12345678" if server.program != "memcached" else b"1") is False
        assert kv.touch("key", 5) is False
        assert kv.delete("key") is False
        assert kv.incr("key") is None
        assert kv.incr("key", initial=1) is None


def test_a_strict_view_raises_instead(server: Server, kv: KV) -> None:
    server.kill()
    strict = kv.strict()
    calls: list[Callable[[], object]] = [
        lambda: strict.get("key"),
        lambda: strict.get_many(["key"]),
        lambda: strict.set("key", b"2"),
        lambda: strict.incr("key", initial=1),
        lambda: strict.namespace("n").delete("key"),
    ]
    for call in calls:
        with pytest.raises(KVUnavailable, match="does not answer"):
            call()


def test_a_stopped_server_costs_one_wait_and_no_more(server: Server, impatient: KV) -> None:
    impatient.set("key", b"1")
    server.pause()
    assert TIMEOUT * 0.9 < seconds(lambda: impatient.get("key")) < TIMEOUT * 8
    assert seconds(lambda: [impatient.get("key") for _ in range(200)]) < TIMEOUT * 12
    server.resume()


def test_threads_do_not_pile_up_on_a_stopped_server(server: Server, impatient: KV) -> None:
    impatient.set("key", b"1")
    server.pause()
    start = threading.Barrier(20)
    longest: list[float] = []

    def work() -> None:
        start.wait()
        longest.append(max(seconds(lambda: impatient.get("key")) for _ in range(50)))

    threads = [threading.Thread(target=work) for _ in range(20)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    total = seconds(run)
    server.resume()
    assert max(longest) < TIMEOUT * 10  # on a busy machine
    assert total < TIMEOUT * 20  # one after the other: 1,000 waits


def test_a_server_that_is_back_is_found_again(server: Server, kv: KV, caplog: pytest.LogCaptureFixture) -> None:
    kv.set("key", b"1")
    server.kill()
    assert kv.get("key") is None
    assert not kv.available
    server.start()
    wait(lambda: kv.set("key", b"2"))
    assert kv.get("key") == b"2"
    assert kv.available
    logged = outages(caplog)
    assert len(logged) == 2
    assert "does not answer" in logged[0]
    assert logged[1].endswith("answers again")


def test_a_paused_server_goes_on_where_it_was(server: Server, kv: KV) -> None:
    kv.set("key", b"1")
    server.pause()
    assert kv.get("key") is None
    server.resume()
    wait(lambda: kv.get("key") == b"1")
    for number in range(50):  # no late answer is taken for another's
        assert kv.set(f"key{number}", b"v%d" % number)
    assert [kv.get(f"key{number}") for number in range(50)] == [b"v%d" % number for number in range(50)]


def test_a_restart_between_two_calls_is_not_noticed(server: Server, kv: KV, caplog: pytest.LogCaptureFixture) -> None:
    kv.set("key", b"1")
    server.kill()
    server.start()
    assert kv.set("key", b"2") is True
    assert kv.get("key") == b"2"
    assert outages(caplog) == []


def test_failed_calls_are_counted_and_metered(server: Server, kv: KV) -> None:
    kv.set("key", b"1")
    server.kill()
    with meter.measure() as measured:
        for _ in range(5):
            kv.get("key")
    (health,) = kv.health()
    assert (health.up, health.outages, health.failed_calls) == (False, 1, 5)
    assert health.server.endswith(f"127.0.0.1:{server.port}")
    assert measured.calls == {"kv.get": 5}
    assert measured.price == 0


def test_parent_and_child_of_a_fork_have_connections_of_their_own(server: Server, kv: KV) -> None:
    key = fresh()
    kv.set(key, b"parent")
    child = os.fork()
    if not child:
        mine = [kv.get(key) == b"parent" and kv.set(f"{key}{number}", b"child") for number in range(50)]
        os._exit(0 if all(mine) else 1)
    theirs = [kv.get(key) for _ in range(200)]
    assert os.waitpid(child, 0)[1] == 0
    assert set(theirs) == {b"parent"}


def test_of_several_memcached_servers_only_the_dead_ones_keys_are_missing() -> None:
    servers = [Server("memcached") for _ in range(3)]
    try:
        kv = connect("memcached://" + ",".join(f"127.0.0.1:{server.port}" for server in servers))
        keys = [fresh() for _ in range(60)]
        assert all(kv.set(key, b"x") for key in keys)
        servers[1].kill()
        found = kv.get_many(keys)
        assert 5 < len(found) < 55
        assert all((kv.get(key) == b"x") == (key in found) for key in keys)
        assert all(kv.set(key, b"y") == (key in found) for key in keys)
        assert [health.up for health in kv.health()] == [True, False, True]
        with pytest.raises(KVUnavailable):
            kv.strict().get_many(keys)
        kv.close()
    finally:
        for server in servers:
            server.remove()


def test_one_caller_at_a_time_tries_again_and_pauses_grow(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    breaker = Breaker("server", lambda: now)
    for _ in range(3):  # calls that were under way together
        breaker.failed(OSError("gone"), False)
    tried_at = []
    while now < 160:
        now += 0.5
        try:
            assert breaker.check() is True
        except KVUnavailable:
            continue
        with pytest.raises(KVUnavailable):
            breaker.check()
        tried_at.append(now)
        breaker.failed(OSError("gone"), True)
    assert tried_at == [101, 103, 107, 115, 130, 145, 160]
    breaker.answered()
    assert breaker.check() is False
    assert breaker.health().outages == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
