"""A Cloud Storage server for tests that keeps to the JSON API where the usual stand-ins do not: preconditions of every
call, `moveTo`, placeholders in listings, the metadata of a patch. It can also refuse, lose answers, and stand still.

What it stores is kept by `gaeport.blobs.object_memory`, whose promises are those of a bucket.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from google_crc32c import Checksum

from gaeport.blobs import cloud
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import Conflict, Draft, Stored


@dataclass
class Call:
    """A request: "GET", "POST" …, and the path with its query, escapes undone."""

    method: str
    path: str


@dataclass
class Bucket:
    """A server and its one bucket, `pictures`.

    Attributes:
        url: for STORAGE_EMULATOR_HOST.
        objects: what it stores.
        calls: what was asked, in order.
        sessions: uploads under way.
        refuse: gives the status with which a request is answered in place of being done; 0 to do it.
        lose: whether a request that was done gets no answer.
        hold: requests wait for it before they are done.
        moves: whether moveTo is known.
    """

    url: str = ""
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    calls: list[Call] = field(default_factory=list)
    sessions: dict[str, tuple[Draft, bytearray]] = field(default_factory=dict)
    refuse: Callable[[Call], int] = lambda call: 0
    lose: Callable[[Call], bool] = lambda call: False
    hold: threading.Event = field(default_factory=threading.Event)
    moves: bool = True
    name: str = "pictures"

    def of(self, method: str, part: str = "") -> list[Call]:
        """Return the calls of a method whose paths hold a text."""
        return [call for call in self.calls if call.method == method and part in call.path]


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100  # connections at once that wait to be accepted


@contextmanager
def running() -> Iterator[Bucket]:
    """Run a server with an empty bucket on a free port of 127.0.0.1."""
    bucket = Bucket()
    bucket.hold.set()
    server = _Server(("127.0.0.1", 0), _handler(bucket))
    bucket.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield bucket
    finally:
        bucket.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def in_use(monkeypatch: pytest.MonkeyPatch, wait: float) -> Iterator[Bucket]:
    """Run a server that the clients of this process use, and soon call again.

    Args:
        monkeypatch: puts their settings back.
        wait: seconds before a failed call is repeated; ten times as long at the most.
    """
    with running() as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
        cloud.reset()
        patient = cloud.retry
        monkeypatch.setattr(cloud, "retry", lambda: patient().with_delay(initial=wait, maximum=10 * wait))
        yield bucket
    cloud.reset()


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer with a body waits 40 ms for an acknowledgement

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = Call(self.command, unquote(self.path))
            bucket.calls.append(call)
            bucket.hold.wait()
            status, headers, content = bucket.refuse(call), {}, b""
            if not status:
                try:
                    status, headers, content = _Request(bucket, self, body).answer()
                except Refused as refused:
                    status = refused.status
                except Conflict:
                    status = 412
            if bucket.lose(call):
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


Answer = tuple[int, dict[str, str], bytes]


class _Request:
    def __init__(self, bucket: Bucket, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        self.bucket, self.objects, self.body = bucket, bucket.objects, body
        self.method, self.raw, self.headers = handler.command, parts.path, handler.headers
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def answer(self) -> Answer:
        root = f"/storage/v1/b/{self.bucket.name}/o"
        if self.raw == root[:-2]:
            return _json({"kind": "storage#bucket", "name": self.bucket.name, "id": self.bucket.name})
        if self.raw == f"/upload{root}":
            return self.uploaded()
        if self.raw.startswith(f"/download{root}/"):
            return self.media(unquote(self.raw.rpartition("/")[2]))
        if self.raw == root:
            return self.listed()
        inside = self.raw.removeprefix(f"{root}/")
        if inside == self.raw:
            raise Refused(404)
        moved = re.fullmatch(r"([^/]+)/(moveTo|rewriteTo)/(?:b/[^/]+/)?o/([^/]+)", inside)
        if moved:
            return self.moved(unquote(moved[1]), moved[2], unquote(moved[3]))
        return {"GET": self.stat, "PATCH": self.patched, "DELETE": self.deleted}[self.method](unquote(inside))

    def found(self, name: str) -> Stored:
        found = self.objects.stat(name)
        if found is None:
            raise Refused(404)
        for key, value in (("ifGenerationMatch", found.generation), ("ifMetagenerationMatch", found.metageneration)):
            if key in self.query and int(self.query[key]) != value:
                raise Refused(412)
        if int(self.query.get("generation", found.generation)) != found.generation:
            raise Refused(404)
        return found

    def stat(self, name: str) -> Answer:
        return _json(self.shown(self.found(name)))

    def shown(self, stored: Stored) -> dict[str, Any]:
        data = self.objects.read(stored.name, stored.generation, 0, stored.size)
        return {
            "kind": "storage#object",
            "bucket": self.bucket.name,
            "name": stored.name,
            "size": str(stored.size),
            "generation": str(stored.generation),
            "metageneration": str(stored.metageneration),
            "timeCreated": _time(stored.created_ns),
            "updated": _time(stored.updated_ns),
            "metadata": dict(stored.metadata),
            "contentType": stored.content_type,
            "crc32c": _crc32c(data),
        }

    def media(self, name: str) -> Answer:
        found = self.found(name)
        given = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if given is None:
            return (
                200,
                {"X-Goog-Generation": str(found.generation)},
                self.objects.read(name, found.generation, 0, found.size),
            )
        start, end = int(given[1]), min(int(given[2]) + 1, found.size)
        if start >= found.size:
            raise Refused(416)
        data = self.objects.read(name, found.generation, start, end - start)
        return 206, {"Content-Range": f"bytes {start}-{end - 1}/{found.size}"}, data

    def listed(self) -> Answer:
        deep, prefix = "delimiter" not in self.query, self.query.get("prefix", "")
        everything = list(self.objects.scan(prefix, deep=deep))
        after = self.query.get("pageToken", "")  # a name, as there: what is removed meanwhile moves no other
        everything = [item for item in everything if (item if isinstance(item, str) else item.name) > after]
        size = min(int(self.query.get("maxResults", 1000)), 1000)
        page = everything[:size]
        longer = [item for item in page if isinstance(item, str)]
        items = [item for item in page if isinstance(item, Stored)]
        folders = [item.name for item in items if not deep and item.name.endswith("/") and item.name != prefix]
        if self.query.get("includeTrailingDelimiter") != "True" and not deep:
            items = [item for item in items if item.name not in folders]
        answer = {"items": [self.shown(item) for item in items], "prefixes": sorted([*longer, *folders])}
        if size < len(everything):
            last = page[-1]
            answer["nextPageToken"] = last if isinstance(last, str) else last.name  # type: ignore[assignment]
        return _json(answer)

    def patched(self, name: str) -> Answer:
        found = self.found(name)
        about = json.loads(self.body)
        made = self.objects.patch(found, about.get("metadata", {}), content_type=about.get("contentType"))
        return _json(self.shown(made))

    def deleted(self, name: str) -> Answer:
        self.objects.delete(name, self.found(name).generation)
        return 204, {}, b""

    def moved(self, name: str, how: str, target: str) -> Answer:
        if how == "moveTo" and not self.bucket.moves:
            raise Refused(400)
        found = self.objects.stat(name)
        if found is None:
            raise Refused(404)
        if int(self.query.get("ifSourceGenerationMatch", found.generation)) != found.generation:
            raise Refused(412)
        over = self.objects.stat(target)
        present = over.generation if over is not None else 0
        wanted = int(self.query.get("ifGenerationMatch", present))
        if how == "moveTo":
            return _json(self.shown(self.objects.move(found, target, wanted)))
        data = self.objects.read(name, found.generation, 0, found.size)
        made = self.objects.write(Draft(target, wanted, found.metadata, found.content_type), data)
        sizes = {"totalBytesRewritten": str(found.size), "objectSize": str(found.size)}
        return _json({"kind": "storage#rewriteResponse", "done": True, **sizes, "resource": self.shown(made)})

    def uploaded(self) -> Answer:
        if self.query["uploadType"] == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            about, content = BytesParser().parsebytes(head + self.body).get_payload()  # type: ignore[misc]
            draft = self.draft(json.loads(about.get_payload(decode=True)), content.get_content_type())
            boundary = self.headers["Content-Type"].partition('boundary="')[2].rstrip('"').encode()
            data = self.body.split(b"--" + boundary)[2].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            return _json(self.shown(self.objects.write(draft, data)))
        if self.method == "POST":
            draft = self.draft(json.loads(self.body), self.headers.get("X-Upload-Content-Type", ""))
            self.demand(draft)
            session = str(time.monotonic_ns())
            self.bucket.sessions[session] = draft, bytearray()
            return 200, {"Location": f"{self.bucket.url}{self.raw}?uploadType=resumable&upload_id={session}"}, b""
        return self.resumed(self.query["upload_id"])

    def resumed(self, session: str) -> Answer:
        if session not in self.bucket.sessions:
            raise Refused(404)
        draft, data = self.bucket.sessions[session]
        if self.method == "DELETE":
            del self.bucket.sessions[session]
            return 204, {}, b""
        given = re.fullmatch(r"bytes (?:\*|(\d+)-\d+)/(\*|\d+)", self.headers["Content-Range"])
        assert given is not None
        done = self.objects.stat(draft.name)
        if done is not None and done.metadata == draft.metadata:
            return _json(self.shown(done))  # the answer to the last piece was lost
        if given[1] is not None and int(given[1]) == len(data):
            data += self.body
        if given[2] != "*" and len(data) == int(given[2]):
            return _json(self.shown(self.objects.write(draft, bytes(data))))
        return 308, {"Range": f"bytes=0-{len(data) - 1}"} if data else {}, b""

    def draft(self, about: dict[str, Any], content_type: str) -> Draft:
        name = about.get("name") or self.query["name"]
        found = self.objects.stat(name)
        present = found.generation if found is not None else 0
        generation = int(self.query.get("ifGenerationMatch", present))
        return Draft(name, generation, about.get("metadata") or {}, about.get("contentType") or content_type)

    def demand(self, draft: Draft) -> None:
        found = self.objects.stat(draft.name)
        if (found.generation if found is not None else 0) != draft.generation:
            raise Refused(412)


def _json(value: Any) -> Answer:
    return 200, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(value).encode()


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _crc32c(data: bytes) -> str:
    import base64

    return base64.b64encode(Checksum(data).digest()).decode()
