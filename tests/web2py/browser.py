"""WebTest against a running server: a WSGI application that passes every request on over HTTP."""

import http.client
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from webtest import TestApp

_HOP = {"connection", "transfer-encoding", "keep-alive"}


def browser(url: str, **headers: str) -> TestApp:
    """Return a TestApp, with cookies of its own, on a server.

    Args:
        url: `http://host:port`.
        **headers: sent with each request, as in environ: HTTP_X_FORWARDED_PROTO="https".
    """
    address = urlsplit(url).netloc
    return TestApp(lambda environ, start: _forward(address, environ, start), extra_environ=headers)


def _forward(address: str, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    query = environ.get("QUERY_STRING")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    path = environ["PATH_INFO"].encode("latin-1").decode() + (f"?{query}" if query else "")
    try:
        connection.request(environ["REQUEST_METHOD"], path, environ["wsgi.input"].read(length), _headers(environ))
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
    start(f"{answer.status} {answer.reason}", kept)
    return [body]


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    found = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        found["Content-Type"] = environ["CONTENT_TYPE"]
    return found
