"""Spoofed headers, through real servers: how each of them folds names that differ in - and _."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from gaeport import settings, wsgi


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def _wsgiref(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _waitress(app: Any) -> Iterator[int]:
    from waitress.server import create_server

    server = create_server(app, host="127.0.0.1", port=0, clear_untrusted_proxy_headers=False)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.close()
        server.task_dispatcher.shutdown()
        thread.join()


SERVERS = {"wsgiref": _wsgiref, "waitress": _waitress}


def _status(port: int, *headers: str) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        lines = ["GET /_gaeport/static/icon.svg HTTP/1.0", "Host: localhost", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    "spoofed",
    [
        ("X-Appengine-Https: off", "X_Appengine_Https: on"),
        ("X_Appengine_Https: on", "X-Appengine-Https: off"),
        ("X-Appengine-Https: off", "X_Appengine-Https: on", "X-Appengine_Https: on"),
        ("X-Appengine-Https: off", "X_APPENGINE_HTTPS: on", "X-Forwarded-Proto: https"),
        ("X-Forwarded-Proto: http", "X_Forwarded_Proto: https"),
        ("X_Forwarded_Proto: https", "X-Forwarded-Proto: http"),
        ("X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl", "Forwarded: proto=https", "Front-End-Https: on"),
    ],
)
def test_on_app_engine_no_spelling_of_a_header_makes_http_secure(
    config: settings.Settings, monkeypatch: pytest.MonkeyPatch, name: str, spoofed: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GAE_ENV", "standard")
    monkeypatch.setattr("gaeport.tickets.logs.setup_for", lambda config: None)
    with SERVERS[name](wsgi.wrap(lambda environ, start_response: [])) as port:
        assert _status(port, *spoofed) == 403
        assert _status(port, "X-Appengine-Https: on") == 200


@pytest.mark.parametrize("name", SERVERS)
def test_on_this_machine_it_opens_by_its_own_name_and_not_through_a_proxy(config: settings.Settings, name: str) -> None:
    with SERVERS[name](wsgi.wrap(lambda environ, start_response: [])) as port:
        assert _status(port) == 200
        assert _status(port, "X-Forwarded-For: 203.0.113.9") == 403
