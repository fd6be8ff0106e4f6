"""A proxy before the storage server that counts its requests: `python -m tests.benchmarks.proxy URL`.

It is a process of its own, so that it takes no time from who is measured. What fake-gcs-server 0.1.1 lacks it adds,
by requests of its own that are not counted: `moveTo`, by copying and deleting; and the folders' own objects in a
listing that asks for them (includeTrailingDelimiter). Each is one request, as in production.
"""

import http.client
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

CALLS = "/calls"  # answers the number of requests so far, itself not counted
_PIECE = 1 << 20  # bytes handed on at a time
_OF_A_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "host")


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one to the server behind it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    target = ""
    calls = 0
    _behind: http.client.HTTPConnection | None = None

    def handle_any(self) -> None:
        """Count a request and pass it on."""
        if self.path == CALLS:
            self._answer(200, [], str(Handler.calls).encode())
            return
        Handler.calls += 1
        if "/moveTo/o/" in self.path:
            self._move()
        elif self.command == "GET" and "includeTrailingDelimiter=true" in self.path.replace("=True", "=true"):
            self._list()
        else:
            self._pass_on(self.command, self.path)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    def _move(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        source, _, rest = self.path.partition("/moveTo/o/")
        target, _, conditions = rest.partition("?")
        bucket = source.partition("/b/")[2].partition("/o/")[0]
        copied = self._ask("POST", f"{source}/rewriteTo/b/{bucket}/o/{target}?{conditions}", {"Content-Length": "0"})
        data = copied.read()
        if copied.status < 300:
            self._ask("DELETE", source, {}).read()
        self._answer(copied.status, [], data)

    def _list(self) -> None:
        path = urlsplit(self.path).path
        response = self._ask("GET", self.path, {})
        listed = response.read()
        if response.status < 300:
            found = json.loads(listed)
            for folder in found.get("prefixes", ()):
                placeholder = self._ask("GET", f"{path}/{quote(folder, safe='')}", {})
                data = placeholder.read()
                if placeholder.status < 300:
                    found.setdefault("items", []).append(json.loads(data))
            listed = json.dumps(found).encode()
        self._answer(response.status, [("Content-Type", "application/json")], listed)

    def _pass_on(self, method: str, path: str) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION}
        headers["Host"] = self.headers.get("Host", self.target)
        response = self._ask(method, path, headers, self._body())
        kept = [pair for pair in response.getheaders() if pair[0].lower() not in (*_OF_A_CONNECTION, "content-length")]
        if response.length is None or method == "HEAD":
            self._answer(response.status, kept, response.read())
            return
        self._begin(response.status, kept, response.length)
        while piece := response.read(_PIECE):
            self.wfile.write(piece)

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes] | bytes | None = None
    ) -> http.client.HTTPResponse:
        if self._behind is None:
            self._behind = http.client.HTTPConnection(self.target, blocksize=_PIECE)
        self._behind.request(method, path, body, headers)
        return self._behind.getresponse()

    def _body(self) -> Iterator[bytes] | bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return b"".join(self._chunks())
        length = self.headers.get("Content-Length")
        return None if length is None else self._pieces(int(length))

    def _pieces(self, left: int) -> Iterator[bytes]:
        while left > 0:
            piece = self.rfile.read(min(left, _PIECE))
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self._begin(status, headers, len(body))
        self.wfile.write(body)

    def _begin(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes many connections at once, and those that a client leaves before it has read the answer."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    """Serve on a free port of 127.0.0.1 and print it."""
    Handler.target = urlsplit(sys.argv[1]).netloc
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
