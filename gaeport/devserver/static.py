"""Serves app.yaml's static handlers, as App Engine's front end does before a request reaches the application."""

import mimetypes
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from gaeport.devserver.appyaml import Handler
from gaeport.fs import native

_CHUNK = 65_536  # bytes read and sent at a time
_NO_MATCH = "No handler in app.yaml matches this path; add at the end:\n- url: /.*\n  script: auto\n"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class StaticFiles:
    """Answers what a static handler matches, and passes the rest to the application.

    Only deployed files are served, read past the mounts: in production the front end cannot see those either.
    """

    def __init__(self, app: Application, handlers: Sequence[Handler], root: Path) -> None:
        """Prepare.

        Args:
            app: what answers the rest; paths under /_ah/ always reach it.
            handlers: in app.yaml's order; none sends everything to the application.
            root: app.yaml's folder.
        """
        self._app = app
        self._handlers = handlers
        self._root = root

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "surrogateescape")
        if not self._handlers or path.startswith("/_ah/"):
            return self._app(environ, start_response)
        for handler in self._handlers:
            if handler.url.fullmatch(path):
                if handler.static_dir is None and handler.static_files is None:
                    return self._app(environ, start_response)
                return self._serve(handler, path, environ, start_response)
        return _text(start_response, "404 Not Found", _NO_MATCH)

    def _serve(self, handler: Handler, path: str, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text(start, "405 Method Not Allowed", "A static file can only be read.\n", [("Allow", "GET, HEAD")])
        name = file_name(handler, path)
        opened = name and _open(self._root / name)
        if not name or not opened:
            return _text(start, "404 Not Found", "There is no such file.\n")
        return _answer(handler, name, opened, environ, start)


def file_name(handler: Handler, path: str) -> str | None:
    """Return the file, relative to app.yaml's folder, that a static handler serves for a path; None: no file may be.

    A path never leads out of the handler's folder: parts like ".." and empty ones match nothing.
    """
    match = handler.url.fullmatch(path)
    if match is None:
        return None
    if handler.static_dir is not None:
        # The last group is the one that was put behind the url.
        rest: str = match.groups()[-1]
        name = f"{handler.static_dir}/{rest}"
    else:
        name = match.expand((handler.static_files or "").lstrip("/"))
        if handler.upload is None or not handler.upload.fullmatch(name):
            return None
    return name if _is_plain(name) else None


def _is_plain(path: str) -> bool:
    if "\0" in path or "\\" in path:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _open(path: Path) -> tuple[IO[bytes], os.stat_result] | None:
    try:
        if not stat.S_ISREG(native.stat(path).st_mode):
            return None
        file = native.open(path, "rb")
        return file, native.fstat(file.fileno())
    except (OSError, ValueError):  # ValueError: a name that the system cannot encode
        return None


def _answer(
    handler: Handler, name: str, opened: tuple[IO[bytes], os.stat_result], environ: Environ, start: StartResponse
) -> Iterable[bytes]:
    file, info = opened
    headers = _headers(handler, name, info)
    if _is_fresh(environ, headers):
        file.close()
        start("304 Not Modified", [(key, value) for key, value in headers.items() if not key.startswith("Content-")])
        return []
    start("200 OK", list(headers.items()))
    if environ["REQUEST_METHOD"] == "HEAD":
        file.close()
        return []
    return _Chunks(file)


def _headers(handler: Handler, name: str, info: os.stat_result) -> dict[str, str]:
    guessed, encoding = mimetypes.guess_type(name)
    headers = {
        "Content-Type": handler.mime_type or (guessed if guessed and not encoding else "application/octet-stream"),
        "Content-Length": str(info.st_size),
        "ETag": f'"{info.st_mtime_ns:x}-{info.st_size:x}"',
        "Last-Modified": formatdate(int(info.st_mtime), usegmt=True),
        "Cache-Control": f"public, max-age={handler.expiration}",
    }
    for key, value in handler.http_headers:
        same = next((existing for existing in headers if existing.lower() == key.lower()), key)
        headers[same] = value
    return headers


def _is_fresh(environ: Environ, headers: dict[str, str]) -> bool:
    """Whether the client's copy is the present one (source: RFC 9110, "Preconditions": If-None-Match comes first)."""
    tags = environ.get("HTTP_IF_NONE_MATCH")
    if tags is not None:
        listed = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in listed or headers["ETag"] in listed
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    if since is None:
        return False
    try:
        return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):  # not a date, or one without a time zone
        return False


class _Chunks:
    """A file's content; closes the file when the server is done with it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            yield chunk

    def close(self) -> None:
        self._file.close()


def _text(start: StartResponse, status: str, text: str, headers: Sequence[tuple[str, str]] = ()) -> Iterable[bytes]:
    body = text.encode()
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers])
    return [body]
