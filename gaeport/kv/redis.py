"""Redis and Valkey (6.0 or newer), by redis-py.

Redis has no compare-and-set token. So each value is stored behind eight random bytes that change with every write; they
are the token, and three short Lua scripts compare and count.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gaeport.errors import KVUnavailable
from gaeport.kv.base import Item
from gaeport.kv.health import Breaker, ServerHealth

_TOKEN = 8  # bytes
_IDLE = 64  # connections kept; more than threads at once in a process

_CAS = """
if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then return 0 end
local ttl = tonumber(ARGV[3])
if ttl == 0 then redis.call('DEL', KEYS[1])
elseif ttl > 0 then redis.call('SET', KEYS[1], ARGV[2], 'EX', ttl)
else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
"""

_TOUCH = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local ttl = tonumber(ARGV[1])
if ttl == 0 then redis.call('DEL', KEYS[1])
elseif ttl > 0 then redis.call('EXPIRE', KEYS[1], ttl)
else redis.call('PERSIST', KEYS[1]) end
return 1
"""

# INCRBY counts in 64 bits, Lua only in doubles; so the bare digits are stored for a moment, which nobody else can see.
_INCR = """
local stored = redis.call('GET', KEYS[1])
if not stored then return false end
local digits = string.sub(stored, 9)
if not string.match(digits, '^%d+$') then return redis.error_reply('NOTACOUNTER') end
redis.call('SET', KEYS[1], digits, 'KEEPTTL')
local done = redis.pcall('INCRBY', KEYS[1], ARGV[2])
if type(done) == 'table' then
  redis.call('SET', KEYS[1], stored, 'KEEPTTL')
  return redis.error_reply('OVERTHELIMIT')
end
digits = redis.call('GET', KEYS[1])
if string.sub(digits, 1, 1) == '-' then digits = '0' end
redis.call('SET', KEYS[1], ARGV[1] .. digits, 'KEEPTTL')
return digits
"""

_T = TypeVar("_T")


class RedisBackend:
    """One Redis or Valkey server."""

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: as redis-py takes it.
            timeout: seconds for connecting and for each answer.

        Raises:
            ValueError: redis-py does not understand the URL.
        """
        self._url = url
        self._timeout = timeout
        self._idle: list[Any] = []  # append and pop are atomic
        self._client = self._connected()
        self._breaker = Breaker(f"redis {self._where()}")

    def get_many(self, keys: Sequence[str]) -> dict[str, Item]:
        if len(keys) == 1:
            values = [self._call(lambda: self._execute("GET", keys[0]))]
        else:
            values = self._call(lambda: self._client.mget(keys))
        pairs = zip(keys, values, strict=True)
        return {key: Item(value[_TOKEN:], value[:_TOKEN]) for key, value in pairs if value is not None}

    def set(self, key: str, value: bytes, ttl: int | None) -> bool:
        if ttl == 0:
            self._call(lambda: self._client.delete(key))
            return True
        life = () if ttl is None else ("EX", ttl)
        return bool(self._call(lambda: self._execute("SET", key, _marked(value), *life)))

    def add(self, key: str, value: bytes, ttl: int | None) -> bool:
        if ttl == 0:
            return not self._call(lambda: self._client.exists(key))
        life = () if ttl is None else ("EX", ttl)
        return bool(self._call(lambda: self._execute("SET", key, _marked(value), *life, "NX")))

    def cas(self, key: str, value: bytes, token: object, ttl: int | None) -> bool:
        if not isinstance(token, bytes):
            return False  # of another store
        arguments = [token, _marked(value), -1 if ttl is None else ttl]
        return bool(self._call(lambda: self._run(self._cas, key, *arguments)))

    def touch(self, key: str, ttl: int | None) -> bool:
        return bool(self._call(lambda: self._run(self._touch, key, -1 if ttl is None else ttl)))

    def delete(self, key: str) -> bool:
        return bool(self._call(lambda: self._client.delete(key)))

    def incr(self, key: str, delta: int) -> int | None:
        value = self._call(lambda: self._run(self._incr, key, os.urandom(_TOKEN), delta))
        return None if value is None else int(value)

    def health(self) -> list[ServerHealth]:
        return [self._breaker.health()]

    def close(self) -> None:
        self._client.connection_pool.disconnect(inuse_connections=False)
        while self._idle:
            self._idle.pop().disconnect()

    def after_fork(self) -> None:
        """Forget the parent's connections and locks."""
        self._breaker.after_fork()
        self._idle = []
        self._client = self._connected()

    def _connected(self) -> Any:
        options = {"socket_timeout": self._timeout, "socket_connect_timeout": self._timeout}
        pool: Any = redis.ConnectionPool.from_url(self._url, retry=Retry(NoBackoff(), 0), **options)
        try:
            pool.make_connection()  # connects nothing, but checks the options
        except TypeError as error:
            raise ValueError(f"redis-py refuses an option: {error}") from None
        client: Any = redis.Redis(connection_pool=pool)
        self._cas, self._touch = client.register_script(_CAS), client.register_script(_TOUCH)
        self._incr = client.register_script(_INCR)
        return client

    def _run(self, script: Any, key: str, *arguments: Any) -> Any:
        """Run a script by its hash."""
        try:
            return self._execute("EVALSHA", script.sha, 1, key, *arguments)
        except redis.exceptions.NoScriptError:  # a server that was started again, or flushed its scripts
            return script(keys=[key], args=arguments)

    def _execute(self, *command: Any) -> Any:
        """Send a command on a connection of our own; redis.Redis spends as much time again around the same."""
        connection = self._take()
        try:
            connection.send_command(*command)
            answer = connection.read_response()
        except redis.ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:  # an answer that comes later must not be taken for the next command's
            connection.disconnect()
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.disconnect()
        return answer

    def _take(self) -> Any:
        """Return an idle connection that is as it was left: a closed one, or one with a late answer, is readable."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._client.connection_pool.make_connection()
            try:
                if not connection.can_read(0):
                    return connection
            except (redis.ConnectionError, OSError):
                pass  # closed by the server; the next one may be good
            connection.disconnect()

    def _where(self) -> str:
        options = self._client.connection_pool.connection_kwargs
        return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")

    def _call(self, operation: Callable[[], _T]) -> _T:
        trying = self._breaker.check()
        try:
            result = operation()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self.close()  # the others lead to the same dead process
            raise self._breaker.failed(error, trying) from error
        except redis.ResponseError as error:
            self._breaker.answered()
            raise _refusal(error, self._where()) from error
        self._breaker.answered()
        return result


def _refusal(error: redis.ResponseError, where: str) -> Exception:
    text = str(error)
    if "NOTACOUNTER" in text:
        return ValueError("the value is not a counter")
    if "OVERTHELIMIT" in text:
        return ValueError("the counter would go over 2**63 - 1")
    return KVUnavailable(f"redis {where} refuses: {text}")


def _marked(value: bytes) -> bytes:
    return os.urandom(_TOKEN) + value
