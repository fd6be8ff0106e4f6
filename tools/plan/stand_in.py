"""The HTTP server on 127.0.0.1 that gcloud talks to in place of Google, and that is its proxy to everything else."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from .project import Project, Refusal

_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
_RANGE = re.compile(r"bytes (?:\d+-(\d+)|\*)/(\d+|\*)")
_BOUNDARY = re.compile(r"""boundary=["']?([^"';]+)""")
_PIECE = 1 << 20


@dataclass(slots=True)
class Traffic:
    """What came to the stand-in.

    Attributes:
        played: the requests that were answered, as "GET /v1/…".
        unknown: requests to Google's APIs that are not played; gcloud got 404.
        outside: requests to anywhere else, which were refused.
    """

    played: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@contextmanager
def running(project: Project) -> Iterator[tuple[str, Traffic]]:
    """Serve a project on a free port while the context lasts.

    Yields:
        The server's URL, and what comes to it.
    """
    server = _Server(project)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.url, server.traffic
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # gcloud's connections may stay open until it has gone
    request_queue_size = 128

    def __init__(self, project: Project) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.project, self.traffic = project, Traffic()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a connection that breaks is gcloud's, which was ended."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Write no log."""

    def _serve(self) -> None:
        if self.command == "CONNECT" or not self.path.startswith("/"):
            self._refuse()
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        upload = _UPLOAD.fullmatch(url.path)
        if upload is not None:
            self._note("played")
            self._upload(unquote(upload[1]), query)
            return
        raw = b"".join(self._body())
        try:
            with self.server.lock:
                answer = self.server.project.answer(self.command, unquote(url.path), query, json.loads(raw or b"{}"))
        except Refusal as refusal:
            self._note("played")
            self._fail(refusal)
            return
        if answer is None:
            self._note("unknown")
            self._fail(Refusal(404, "NOT_FOUND", f"gaeport plan does not play {self.command} {url.path}"))
            return
        self._note("played")
        self._reply(200, answer)

    # http.server finds methods by these names
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_CONNECT = do_OPTIONS = _serve  # noqa: N815

    def _upload(self, bucket: str, query: dict[str, str]) -> None:
        """Take an object and keep nothing: the version names its files. gcloud compares the size that is answered."""
        name, kind = query.get("name", ""), query.get("uploadType")
        if self.command == "POST" and kind == "multipart":
            content = _media(self.headers.get("Content-Type", ""), b"".join(self._body()))
            if hashlib.sha1(content, usedforsecurity=False).hexdigest() != name:
                self._fail(Refusal(400, "INVALID_ARGUMENT", f"object {name} is not what its SHA-1 says"))
                return
            self._stored(bucket, name, len(content))
            return
        size = sum(len(piece) for piece in self._body())
        if self.command == "POST" and kind == "resumable":
            where = f"{self.server.url}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
            self._reply(200, {}, Location=f"{where}?uploadType=resumable&upload_id=1&name={quote(name)}")
            return
        sent = _RANGE.fullmatch(self.headers.get("Content-Range", ""))
        if sent is not None and sent[1] and (sent[2] == "*" or int(sent[1]) + 1 < int(sent[2])):
            self._reply(308, None, Range=f"bytes=0-{sent[1]}")
            return
        self._stored(bucket, name, size if sent is None else int(sent[2]))

    def _stored(self, bucket: str, name: str, size: int) -> None:
        self._reply(200, {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(size)})

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece

    def _refuse(self) -> None:
        self._note("outside")
        self.close_connection = True
        self._fail(Refusal(502, "UNAVAILABLE", "gaeport plan: nothing leaves this machine"))

    def _fail(self, refusal: Refusal) -> None:
        error = {"code": refusal.code, "message": str(refusal), "status": refusal.status}
        self._reply(refusal.code, {"error": error})

    def _note(self, kind: str) -> None:
        with self.server.lock:
            getattr(self.server.traffic, kind).append(f"{self.command} {self.path}")

    def _reply(self, status: int, body: dict[str, Any] | None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _media(content_type: str, body: bytes) -> bytes:
    """Return the second part of a multipart/related body, which is the object; it may hold the boundary itself."""
    found = _BOUNDARY.search(content_type)
    mark = b"--" + (found[1] if found else "").encode()
    newline = b"\r\n" if b"\r\n" in body[: len(mark) + 2] else b"\n"
    second = body.index(newline + mark + newline, len(mark)) + len(newline + mark + newline)
    start = body.index(newline * 2, second) + 2 * len(newline)
    return body[start : body.rindex(newline + mark + b"--")]
