"""App Engine's bundled memcache, by appengine-python-standard. app.yaml needs `app_engine_apis: true`.

The package's own client turns every failure into a miss; this one makes the service's calls itself, to tell them apart.
"""

import time
from collections.abc import Sequence
from typing import Any

from google.appengine.api import memcache
from google.appengine.api.memcache import memcache_service_pb2 as pb
from google.appengine.runtime import apiproxy_errors

from gaeport.errors import KVUnavailable
from gaeport.kv.base import Item
from gaeport.kv.encoding import is_counter
from gaeport.kv.health import Breaker, ServerHealth

_NAMESPACE = "gaeport"  # of the service; apart from what the application stores there itself
_RELATIVE = 30 * 86_400  # seconds; the service takes a longer time to live for a date
_PAST = _RELATIVE + 1  # a date in 1970
_LAST_DATE = 2**31 - 1


class AppEngineBackend:
    """The memcache of the application that runs here."""

    def __init__(self, timeout: float) -> None:
        """Prepare.

        Args:
            timeout: seconds for each answer.
        """
        self._timeout = timeout
        self._breaker = Breaker("the bundled memcache")

    def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        request = pb.MemcacheGetRequest(key=[key.encode() for key in keys], name_space=_NAMESPACE, for_cas=True)
        response = self._call("Get", request, pb.MemcacheGetResponse())
        return {item.key.decode(): Item(item.value, item.cas_id) for item in response.item}

    def set(self, key: str, value: bytes, ttl: int | None) -> bool:
        return self._store(key, value, ttl, pb.MemcacheSetRequest.SET)

    def add(self, key: str, value: bytes, ttl: int | None) -> bool:
        return self._store(key, value, ttl, pb.MemcacheSetRequest.ADD)

    def cas(self, key: str, value: bytes, token: object, ttl: int | None) -> bool:
        if not isinstance(token, int):
            return False  # of another store
        return self._store(key, value, ttl, pb.MemcacheSetRequest.CAS, token)

    def touch(self, key: str, ttl: int | None) -> bool:
        while True:  # the service has no such call: the value is stored again, unless somebody was quicker
            item = self.get_many([key]).get(key)
            if item is None:
                return False
            if self.cas(key, item.value, item.token, ttl):
                return True

    def delete(self, key: str) -> bool:
        request = pb.MemcacheDeleteRequest(name_space=_NAMESPACE)
        request.item.add(key=key.encode())
        response = self._call("Delete", request, pb.MemcacheDeleteResponse())
        return bool(response.delete_status[0] == pb.MemcacheDeleteResponse.DELETED)

    def incr(self, key: str, delta: int) -> int | None:
        direction = pb.MemcacheIncrementRequest.INCREMENT if delta >= 0 else pb.MemcacheIncrementRequest.DECREMENT
        while True:  # the service does not tell "missing" from "no counter"; one that appears meanwhile is tried again
            request = pb.MemcacheBatchIncrementRequest(name_space=_NAMESPACE)
            request.item.add(key=key.encode(), delta=abs(delta), direction=direction)
            answer = self._call("BatchIncrement", request, pb.MemcacheBatchIncrementResponse()).item[0]
            if answer.increment_status == pb.MemcacheIncrementResponse.OK:
                return int(answer.new_value)
            item = self.get_many([key]).get(key)
            if item is None:
                return None
            if not is_counter(item.value.rstrip(b" ")):
                raise ValueError("the value is not a counter")

    def health(self) -> list[ServerHealth]:
        return [self._breaker.health()]

    def close(self) -> None:
        """Keep everything: each call stands by itself."""

    def after_fork(self) -> None:
        """Make the locks anew: in the child nobody would release the parent's."""
        self._breaker.after_fork()

    def _store(self, key: str, value: bytes, ttl: int | None, policy: int, token: object = None) -> bool:
        request = pb.MemcacheSetRequest(name_space=_NAMESPACE)
        item = request.item.add(key=key.encode(), value=value, set_policy=policy, expiration_time=_expiry(ttl))
        if token is not None:
            item.cas_id, item.for_cas = token, True
        status = self._call("Set", request, pb.MemcacheSetResponse()).set_status[0]
        if status == pb.MemcacheSetResponse.STORED:
            return True
        if status in (pb.MemcacheSetResponse.NOT_STORED, pb.MemcacheSetResponse.EXISTS):
            return False
        raise KVUnavailable(f"the bundled memcache refuses: {pb.MemcacheSetResponse.SetStatusCode.Name(status)}")

    def _call(self, method: str, request: Any, response: Any) -> Any:
        trying = self._breaker.check()
        try:
            rpc = memcache.create_rpc(deadline=self._timeout)
            rpc.make_call(method, request, response)
            rpc.wait()
            rpc.check_success()
        except (apiproxy_errors.Error, AssertionError, OSError) as error:
            raise self._breaker.failed(error, trying) from error
        self._breaker.answered()
        return response


def _expiry(ttl: int | None) -> int:
    if ttl is None:
        return 0
    if ttl == 0:
        return _PAST
    if ttl <= _RELATIVE:
        return ttl
    date = int(time.time()) + ttl
    return date if date < _LAST_DATE else 0
