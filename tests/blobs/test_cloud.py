"""The Cloud Storage store when the server refuses, does not answer, or its answer is lost."""

import errno
import gc
import http.client
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from gaeport import settings
from gaeport.blobs import cloud
from gaeport.blobs.cloud import CHUNK, CloudStore
from tests.blobs.test_contract import cloud_store, put

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server that answers each request, its body read, by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self, body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def status(code: int) -> Answer:
    """Answer every request with one status."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def at(url: str, monkeypatch: pytest.MonkeyPatch) -> CloudStore:
    """A store on a server of this module, which gives up soon."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    cloud.reset()
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.2)
    return CloudStore("pictures", f"{secrets.token_hex(8)}/")


# The client library leaves the connection of a refused download to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("code", "number"), [(401, errno.EACCES), (403, errno.EACCES), (503, errno.EIO), (500, errno.EIO), (400, errno.EIO)]
)
def test_a_refusal_is_an_oserror_with_the_fitting_errno(
    code: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(status(code)) as url:
        store = at(url, monkeypatch)
        calls: list[Callable[[], object]] = [
            lambda: store.read("a", 0, 1),
            lambda: store.exists("a"),
            lambda: store.delete("a"),
            lambda: put(store, "a", b"x"),
            lambda: put(store, "a", bytes(CHUNK + 1)),
        ]
        for call in calls:
            with pytest.raises(OSError, match=r"[Ee]rr|HTTP|exceeded|exist") as caught:
                call()
            assert (caught.value.errno, caught.value.filename) == (number, "a")
        del caught
    gc.collect()


def test_a_missing_bucket_is_no_missing_file_when_writing(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at(gcs_server, monkeypatch)
    store = CloudStore("no-such-bucket")
    for size in (1, CHUNK + 1):
        with pytest.raises(OSError, match=r"[Ee]rr|HTTP|exceeded|exist") as caught:
            put(store, "a", bytes(size))
        assert caught.value.errno == errno.EIO


def test_a_server_that_is_gone_gives_eio(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(status(503)) as url:
        pass
    store = at(url, monkeypatch)
    for call in (lambda: store.read("a", 0, 1), lambda: put(store, "a", b"x")):
        with pytest.raises(OSError, match=r"[Ee]rr|HTTP|exceeded|exist") as caught:
            call()
        assert caught.value.errno == errno.EIO


class Proxy:
    """Passes requests on to a real server; loses the answers that `lose` chooses by method and path."""

    def __init__(self, url: str, lose: Callable[[str, str], bool]) -> None:
        self._target = urlsplit(url).netloc
        self._lose = lose
        self.lost = 0

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        connection = http.client.HTTPConnection(self._target)
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
        connection.request(handler.command, handler.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if self._lose(handler.command, handler.path):
            self.lost += 1
            handler.close_connection = True
            return
        handler.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def test_a_write_whose_answer_was_lost_is_recognised_as_done(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_store(gcs_server, monkeypatch)
    proxy = Proxy(gcs_server, lambda method, path: method == "POST" and proxy.lost == 0)
    with serving(proxy) as url:
        store = at(url, monkeypatch)
        monkeypatch.setattr(cloud, "RETRY_SECONDS", 20.0)
        put(store, "a", b"content")
        assert proxy.lost == 1
        assert store.read("a", 0, 9) == b"content"


def test_a_lost_answer_does_not_let_a_second_writer_win(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = cloud_store(gcs_server, monkeypatch)
    put(store, "a", b"same")
    with pytest.raises(FileExistsError):
        put(store, "a", b"same")


def test_lost_requests_are_repeated(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud_store(gcs_server, monkeypatch)
    proxy = Proxy(gcs_server, lambda method, path: method in ("GET", "DELETE") and proxy.lost in (0, 2))
    with serving(proxy) as url:
        store = at(url, monkeypatch)
        monkeypatch.setattr(cloud, "RETRY_SECONDS", 20.0)
        put(store, "a", b"content")
        assert store.read("a", 0, 9) == b"content"
        proxy.lost = 2
        store.delete("a")
        assert proxy.lost == 3
        assert not store.exists("a")


def test_the_client_is_made_anew_after_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    cloud.reset()
    mine = cloud.client()
    assert cloud.client() is mine
    child = os.fork()
    if child == 0:
        os._exit(0 if cloud._client is None and cloud.client() is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_client_is_made_anew_for_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    cloud.reset()
    settings.configure(project="one", data=":memory:")
    assert cloud.client().project == "one"
    settings.configure(project="two", data=":memory:")
    assert cloud.client().project == "two"
