"""memcached: the contract on a real server, and several servers as one store."""

import pytest

from gaeport.kv import KV, connect
from gaeport.kv.contract import KVContract
from gaeport.kv.memcached import MemcachedBackend, address
from tests.servers import Server


class TestContract(KVContract):
    @pytest.fixture
    def kv(self, memcached_server: Server) -> KV:
        return connect(memcached_server.url, timeout=10)


def test_a_key_has_its_server_whatever_the_order_of_their_names() -> None:
    names = [("a", 1), ("b", 2), ("c", 3)]
    one, other = MemcachedBackend(names, 1), MemcachedBackend(names[::-1], 1)
    keys = [f"key{number}" for number in range(300)]
    homes = [one._server_of(key).name for key in keys]
    assert homes == [other._server_of(key).name for key in keys]
    assert min(homes.count(name) for name in set(homes)) > 60


def test_one_server_more_moves_only_the_keys_it_gets() -> None:
    before = MemcachedBackend([("a", 1), ("b", 2), ("c", 3)], 1)
    after = MemcachedBackend([("a", 1), ("b", 2), ("c", 3), ("d", 4)], 1)
    keys = [f"key{number}" for number in range(400)]
    moved = [key for key in keys if before._server_of(key).name != after._server_of(key).name]
    assert {after._server_of(key).name for key in moved} == {"d:4"}
    assert 50 < len(moved) < 160


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cache", ("cache", 11211)), ("10.0.0.3:1", ("10.0.0.3", 1)), ("[::1]:5", ("::1", 5)), ("[::1]", ("::1", 11211))],
)
def test_a_server_is_named_by_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected
