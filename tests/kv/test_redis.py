"""Redis: the contract on a real server."""

import pytest

from gaeport.errors import KVUnavailable
from gaeport.kv import KV, connect
from gaeport.kv.contract import KVContract, fresh, noise
from tests.servers import Server


class TestContract(KVContract):
    @pytest.fixture
    def kv(self, redis_server: Server) -> KV:
        return connect(redis_server.url, timeout=10)


def test_a_database_is_named_in_the_url(redis_server: Server) -> None:
    key = fresh()
    connect(redis_server.url + "/1").set(key, b"x")
    assert connect(redis_server.url + "/0").get(key) is None
    assert connect(redis_server.url + "/1").get(key) == b"x"


def test_a_server_that_refuses_is_no_dead_server() -> None:
    server = Server("redis-server")
    try:
        kv = connect(server.url)
        client = kv._backend._client  # type: ignore[attr-defined]
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 6_000_000)
        answers = [kv.set(f"key{number}", noise(900_000)) for number in range(14)]
        assert answers[0]
        assert not answers[-1]
        assert kv.available
        with pytest.raises(KVUnavailable, match="refuses"):
            kv.strict().set("key", noise(900_000))
        assert kv.get("key0") is not None
        kv.close()
    finally:
        server.remove()
