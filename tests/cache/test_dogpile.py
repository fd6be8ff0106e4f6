"""dogpile.cache on the key-value stores."""

import threading
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from gaeport.cache.dogpile import GaeportBackend
from gaeport.errors import UnsupportedType
from gaeport.kv import KV, connect
from gaeport.kv.contract import fresh
from tests.servers import Server


@pytest.fixture(params=["memory", "memcached_server", "redis_server"])
def store(request: pytest.FixtureRequest) -> KV:
    if request.param == "memory":
        return connect("memory://")
    server: Server = request.getfixturevalue(request.param)
    return connect(server.url, namespace=fresh(), timeout=10)


@pytest.fixture
def region(store: KV) -> Any:
    return make_region().configure("gaeport", expiration_time=60, arguments={"url": store})


def test_the_entry_point_names_the_backend(region: Any) -> None:
    assert type(region.backend) is GaeportBackend


def test_values_of_a_region(region: Any) -> None:
    assert region.get("key") is NO_VALUE
    region.set("key", {"a": (1, 2), "b": {3}})
    assert region.get("key") == {"a": (1, 2), "b": {3}}
    region.set_multi({"x": 1, "y": None})
    assert region.get_multi(["y", "missing", "x"]) == [None, NO_VALUE, 1]
    region.delete("key")
    region.delete("key")
    assert region.get("key") is NO_VALUE
    region.delete_multi(["x", "y"])
    assert region.get_multi(["x", "y"]) == [NO_VALUE, NO_VALUE]


def test_a_region_invalidated_creates_anew(region: Any) -> None:
    calls: list[int] = []

    @region.cache_on_arguments()  # type: ignore[untyped-decorator]
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    region.invalidate()
    assert double(1) == 2
    assert calls == [1, 2, 1]
    double.refresh(2)
    double.set(9, 2)
    assert double(2) == 9


def test_one_of_many_regions_creates(store: KV) -> None:
    calls: list[int] = []

    def create() -> str:
        calls.append(1)
        threading.Event().wait(0.1)
        return "value"

    def ask() -> None:
        # Each region stands for a process: they share no lock but the store's.
        region = make_region().configure("gaeport", expiration_time=60, arguments={"url": store})
        answers.append(region.get_or_create("key", create))

    answers: list[str] = []
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["value"] * 6
    assert len(calls) == 1


def test_a_lock_is_exclusive_and_given_back_by_its_holder_only(store: KV) -> None:
    backend = GaeportBackend({"url": store})
    one, two = backend.get_mutex("key"), backend.get_mutex("key")
    assert one.acquire() is True
    assert two.acquire(False) is False
    two.release()
    assert one.locked()
    one.release()
    assert not one.locked()
    assert two.acquire(False) is True
    two.release()
    assert GaeportBackend({"url": store, "distributed_lock": False}).get_mutex("key") is None


def test_types_that_are_not_kept_are_refused_unless_pickle_is_chosen(store: KV) -> None:
    region: Any = make_region().configure("gaeport", arguments={"url": store})
    with pytest.raises(UnsupportedType, match="complex"):
        region.set("key", 1j)
    pickled: Any = make_region().configure("gaeport", arguments={"url": store, "serializer": "pickle"})
    pickled.set("other", 1j)
    assert pickled.get("other") == 1j


def test_values_of_another_program_are_created_anew(region: Any, store: KV) -> None:
    region.set("key", 5)
    values = store.namespace("dogpile")
    metadata, _, _ = (values.get("key") or b"").partition(b"|")  # dogpile's own, before each value
    for damage in (b"", b"[1, 2]", b"\xc1"):
        values.set("key", metadata + b"|" + damage)
        assert region.get("key") is NO_VALUE
        assert region.get_multi(["key", "other"]) == [NO_VALUE, NO_VALUE]
        assert region.get_or_create("key", lambda: 6) == 6


def test_without_a_server_a_region_creates() -> None:
    region: Any = make_region().configure("gaeport", arguments={"url": "memcached://127.0.0.1:1"})
    assert [region.get_or_create("key", lambda: 5) for _ in range(2)] == [5, 5]
