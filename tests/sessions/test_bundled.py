"""Sessions on App Engine's bundled memcache as production reaches it: over HTTP, by each request's ticket."""

import http.server
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gaeport.kv.contract import wait
from tests.kv.bundled import MISSING, stub, wanted

if not wanted():
    pytest.skip(MISSING, allow_module_level=True)

CHECKOUT = Path(__file__).parent.parent.parent
TICKET = {"X-Appengine-Api-Ticket": "ticket-of-this-request"}

# Sessions that began long ago have expired; what is left of the body is made while the session changes.
SERVER = """
import sys, time
from dataclasses import replace
from pathlib import Path
import waitress
import gaeport
from gaeport import settings
from gaeport.sessions.session import Session
from gaeport.sessions.users import configured_store

def app(environ, start_response):
    session = environ["gaeport.session"]
    if environ["PATH_INFO"] == "/out":
        session.invalidate()
    elif environ["PATH_INFO"] == "/expired":
        old = Session(configured_store(), settings.current().sessions, None, lambda: time.time() - 10**7)
        old["a"] = 1
        old.save()
    else:
        session["n"] = session.get("n", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield str(session.get("n")).encode()

config = settings.configure(data=sys.argv[1], project="p", sessions={"store": sys.argv[2], "url": "appengine://"})
server = waitress.create_server(gaeport.wrap(app), host="127.0.0.1", port=0, threads=4)
print(server.effective_port, flush=True)
server.run()
"""


class Bridge(http.server.ThreadingHTTPServer):
    """What App Engine puts beside each instance: it takes calls of bundled services, if they carry a ticket."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.memcache = stub()
        self.calls: list[str] = []
        self.up = True


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Bridge

    def do_POST(self) -> None:
        from google.appengine.api.memcache import memcache_service_pb2 as memcache
        from google.appengine.ext.remote_api import remote_api_bytes_pb2 as remote

        call = remote.Request.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(call.method)
        request = getattr(memcache, f"Memcache{call.method}Request").FromString(call.request)
        answer = getattr(memcache, f"Memcache{call.method}Response")()
        up = self.server.up and call.request_id == TICKET["X-Appengine-Api-Ticket"]
        if up:
            self.server.memcache.MakeSyncCall("memcache", call.method, request, answer)
        data = remote.Response(response=answer.SerializeToString()).SerializeToString()
        self.send_response(200 if up else 503)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class Served:
    """The application in a process of its own, and a browser."""

    def __init__(self, port: int, log: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._log = log
        self.cookie = ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, **headers: str) -> str:
        """Return the body of an answer, or "500"."""
        request = urllib.request.Request(self._url + path, headers={**TICKET, "Cookie": self.cookie, **headers})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                self.cookie = answer.headers.get("Set-Cookie", self.cookie).partition(";")[0]
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.code)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()
    thread = threading.Thread(target=bridge.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield bridge
    bridge.shutdown()
    thread.join()
    bridge.server_close()


@contextmanager
def served(bridge: Bridge, store: str, folder: Path) -> Iterator[Served]:
    """Serve the application until the test ends."""
    log = folder / "log"
    address = {"API_HOST": "127.0.0.1", "API_PORT": str(bridge.server_port), "PYTHONPATH": str(CHECKOUT)}
    arguments = [sys.executable, "-W", "ignore", "-c", SERVER, str(folder / "data"), store]
    with log.open("w") as output:
        process = subprocess.Popen(
            arguments, env={**os.environ, **address}, stdout=subprocess.PIPE, stderr=output, text=True
        )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port, log.read_text()
        yield Served(int(port), log)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("store", ["memcache", "memcache+datastore"])
def test_sessions_live_in_the_bundled_memcache(bridge: Bridge, store: str, tmp_path: Path) -> None:
    with served(bridge, store, tmp_path) as site:
        assert [site.get("/") for _ in range(3)] == ["1", "2", "3"]
        cookie = site.cookie
        bridge.calls.clear()
        site.get("/")
        assert bridge.calls == ["Get", "Set"]
        site.get("/out")
        site.cookie = cookie
        assert site.get("/") == "1"
        assert "does not answer" not in site.log


def test_a_memcache_that_fails_logs_nobody_out_of_datastores_sessions(bridge: Bridge, tmp_path: Path) -> None:
    with served(bridge, "memcache+datastore", tmp_path) as site:
        assert [site.get("/") for _ in range(2)] == ["1", "2"]
        bridge.up = False
        assert [site.get("/") for _ in range(3)] == ["3", "4", "5"]
        bridge.up = True
        assert [site.get("/") for _ in range(3)] == ["6", "7", "8"]
        assert "bundled memcache does not answer" in site.log


def test_a_memcache_that_fails_is_an_error_where_sessions_live_nowhere_else(bridge: Bridge, tmp_path: Path) -> None:
    with served(bridge, "memcache", tmp_path) as site:
        assert site.get("/") == "1"
        bridge.up = False
        assert site.get("/") == "500"
        bridge.up = True
        wait(lambda: site.get("/") == "2")


def test_cron_removes_expired_sessions_from_memcache_too(bridge: Bridge, tmp_path: Path) -> None:
    with served(bridge, "memcache+datastore", tmp_path) as site:
        site.get("/expired")
        bridge.calls.clear()
        answer = site.get("/_gaeport/cron/sessions-purge", **{"X-Appengine-Cron": "true"})
        assert answer == "1 of 1 sessions had expired and were removed\n"
        assert bridge.calls == ["Set"]  # the tombstone
        assert "does not answer" not in site.log
