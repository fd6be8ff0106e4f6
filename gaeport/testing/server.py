"""One server in this process for tests of code that makes its own clients; it is emptied before each test.

It stays for the life of the process: a client that an application made at import finds it again in the next test.
"""

import atexit
from typing import Any

_address = ""


class _Emptied:
    """Answers from the present engine."""

    def __init__(self) -> None:
        self.engine: Any = None

    def call(self, method: str, request: Any) -> Any:
        return self.engine.call(method, request)


_transport = _Emptied()


def address() -> str:
    """Start the server, or empty it; return "host:port"."""
    global _address
    from gaeport.datastore.engine import Engine
    from gaeport.datastore.server import serve

    former, _transport.engine = _transport.engine, Engine(None)
    if former is not None:
        former.close()
    if not _address:
        server, port = serve(_transport, "127.0.0.1", 0)
        atexit.register(server.stop, None)
        _address = f"127.0.0.1:{port}"
    return _address
