"""The store inside the process."""

import pytest

from gaeport import kv as kv_package
from gaeport.kv import KV, connect
from gaeport.kv.contract import KVContract
from gaeport.kv.memory import OVERHEAD, MemoryBackend


class TestContract(KVContract):
    @pytest.fixture
    def kv(self) -> KV:
        return connect("memory://")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_those_not_used_for_longest_go_first() -> None:
    kv = KV(MemoryBackend(limit=3 * (OVERHEAD + 12)))
    for key in "abc":
        kv.set(key, b"x" * 10)
    kv.get("a")
    kv.set("d", b"x" * 10)
    assert kv.get_many("abcd").keys() == set("acd")


def test_the_bound_counts_bytes_and_a_replaced_value_once() -> None:
    backend = MemoryBackend(limit=100_000)
    kv = KV(backend)
    for number in range(1000):
        kv.set(f"key{number % 50}", b"x" * 1500)
        assert backend.used <= 100_000
    for number in range(50):
        kv.delete(f"key{number}")
    assert backend.used == 0


def test_a_value_over_the_whole_bound_is_not_kept_and_costs_nothing() -> None:
    backend = MemoryBackend(limit=1000)
    kv = KV(backend)
    kv.set("large", b"x" * 5000)
    assert kv.get("large") is None
    assert backend.used == 0


def test_entries_end_by_the_monotonic_clock() -> None:
    clock = Clock()
    kv = KV(MemoryBackend(clock=clock))
    kv.set("key", b"x", 60)
    clock.now += 59.9
    assert kv.get("key") == b"x"
    clock.now += 0.1
    assert kv.get("key") is None


def test_a_plain_memory_url_is_private_and_a_named_one_shared() -> None:
    connect("memory://").set("key", b"x")
    assert connect("memory://").get("key") is None
    connect("memory://shared-by-this-test").set("key", b"x")
    assert connect("memory://shared-by-this-test").get("key") == b"x"
    assert connect("memory://another-of-this-test").get("key") is None


def test_the_package_gives_the_public_names() -> None:
    assert kv_package.connect is connect
