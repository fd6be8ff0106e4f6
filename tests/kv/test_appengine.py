"""The bundled memcache: the contract on the stub that appengine-python-standard brings."""

import pytest

from gaeport.errors import KVUnavailable
from gaeport.kv import KV, connect
from gaeport.kv.contract import KVContract, fresh
from tests.kv.bundled import MISSING, bundled_memcache, wanted

__all__ = ["bundled_memcache"]

if not wanted():
    pytest.skip(MISSING, allow_module_level=True)


class TestContract(KVContract):
    @pytest.fixture
    def kv(self, bundled_memcache: str) -> KV:
        return connect(bundled_memcache)

    def test_cas_fails_after_any_write_even_of_the_same_value(self, kv: KV) -> None:
        key = fresh()  # after incr too in the service; its stub forgets to change the token then
        kv.set(key, b"5")
        item = kv.gets(key)
        assert item is not None
        kv.set(key, b"5")
        assert kv.cas(key, b"6", item.token) is False


def test_a_service_that_does_not_answer_is_a_miss_logged_once(
    bundled_memcache: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from google.appengine.api import apiproxy_stub_map
    from google.appengine.runtime import apiproxy_errors

    kv = connect(bundled_memcache)
    kv.set("key", b"x")
    service = apiproxy_stub_map.apiproxy.GetStub("memcache")

    def fail(*arguments: object) -> None:
        raise apiproxy_errors.DeadlineExceededError("too late")

    with monkeypatch.context() as patched:
        patched.setattr(service, "MakeSyncCall", fail)
        assert kv.get("key") is None
        assert kv.set("key", b"y") is False
        assert kv.get_many(["key"]) == {}
        with pytest.raises(KVUnavailable):
            kv.strict().get("key")
    assert [record.message for record in caplog.records if record.name == "gaeport.kv"] == [
        "the bundled memcache does not answer (DeadlineExceededError: too late); going on without it"
    ]
    kv._backend._breaker._retry_at = 0.0
    assert kv.get("key") == b"x"
    assert kv.available
