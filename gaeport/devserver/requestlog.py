"""One line a request: what it was, how it ended, how long it took, and what its calls would cost in production."""

import contextvars
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from gaeport import meter
from gaeport.devserver.console import colour, say

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class RequestLog:
    """Runs each request in a context of its own, with a meter, and says a line when the answer was sent."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = _Request(environ)
        try:
            return request.run(self._app, environ, start_response)
        except BaseException:
            request.close()
            raise


class _Request:
    """One request being answered: the iterable that the server sends."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._line = f"{environ.get('REQUEST_METHOD', '-')} {_target(environ)}"
        self._status = "500"  # what the server answers when the application raises
        self._started = time.perf_counter()
        self._context = contextvars.copy_context()
        self._measuring: AbstractContextManager[meter.Meter] = meter.measure()
        self._meter = self._context.run(self._measuring.__enter__)
        self._body: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] = iter(())
        self._closed = False

    def run(self, app: Application, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            self._status = status[:3]
            return start_response(status, headers, *rest)

        self._body = self._context.run(app, environ, start)
        if isinstance(self._body, list):  # complete; and servers write Content-Length for what has a length
            self.close()
            return self._body
        self._pieces = iter(self._body)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._context.run(next, self._pieces)
        except StopIteration:
            raise
        except BaseException:
            self._status = "500"
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                self._context.run(close)
        finally:
            self._context.run(self._measuring.__exit__, None, None, None)
            self._say()

    def _say(self) -> None:
        milliseconds = (time.perf_counter() - self._started) * 1000
        calls = self._meter.total_calls
        counted = f"{calls} call{'' if calls == 1 else 's'}"
        price = f"${self._meter.price:.7f}"
        say(f"{self._line} {_painted(self._status)} {milliseconds:.0f} ms {counted} {price}")


def _target(environ: dict[str, Any]) -> str:
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
    # A path can hold line ends and terminal codes once it is decoded; neither may reach the terminal.
    text = quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=~")
    query = environ.get("QUERY_STRING")
    return f"{text}?{query}" if query else text


def _painted(status: str) -> str:
    return colour(status, {"2": "green", "3": "cyan", "4": "yellow"}.get(status[:1], "red"))
