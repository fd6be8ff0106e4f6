"""Whole pages in the cache, for WSGI applications, Flask views and Bottle handlers.

Follows RFC 9110 (conditional requests, Vary) and RFC 9111 (what a shared cache may store), on the careful side.
"""

import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gaeport.cache.creation import Creator, Unshared
from gaeport.errors import ConfigurationError

_VARY = "vary"  # in place of a page's status: the names of the headers by which the pages of an address differ
_STATUSES = frozenset({200, 203, 204, 300, 301, 308, 404, 410})  # RFC 9110, 15.1: cacheable by themselves; 206 apart
_FORBIDDING = frozenset({"private", "no-store", "no-cache"})
_IN_304 = frozenset({"cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified"})
_LEVELS = 4  # how often the pages of an address may turn out to differ by one more header, until they expire


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: status line, headers, body."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        """The status code."""
        return int(self.status[:3])

    def header(self, name: str) -> str:
        """All values of a header, joined by commas; "" where there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def is_shared(self) -> bool:
        """Whether everybody may get it."""
        directives = {part.split("=")[0].strip().lower() for part in self.header("cache-control").split(",")}
        if self.code not in _STATUSES or self.header("set-cookie") or directives & _FORBIDDING:
            return False
        return "*" not in self.header("vary")

    def with_validators(self, vary: Iterable[str]) -> "Page":
        """Return it with an ETag (if it has none and a body that may have one), and `vary` in its Vary header."""
        headers = list(self.headers)
        if self.code == 200 and not self.header("etag"):
            headers.append(("ETag", f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'))
        named = {name.lower() for name in _names(self.header("vary"))}
        missing = [name for name in vary if name.lower() not in named]
        if missing:
            headers.append(("Vary", ", ".join(missing)))
        return Page(self.status, headers, self.body)

    def for_request(self, environ: Mapping[str, Any]) -> "Page":
        """Return what this request gets: 304 without a body if the browser has the page already."""
        tag = self.header("etag")
        if tag and self.code == 200 and _matches(environ.get("HTTP_IF_NONE_MATCH", ""), tag):
            headers = [(name, value) for name, value in self.headers if name.lower() in _IN_304]
            return Page("304 Not Modified", headers, b"")
        return self


def page(
    creator: Creator, expire: float | None, vary: tuple[str, ...], key: str | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that `Cache.page` explains.

    Args:
        creator: gets pages from the cache, or has them made.
        expire: seconds.
        vary: names of request headers.
        key: instead of host, path and query.
    """

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def cached(*args: Any, **kwargs: Any) -> Any:
            framework = _framework(args)
            environ = framework.environ(args)
            if not _may_be_cached(environ, vary):
                return handler(*args, **kwargs)

            def run() -> Page:
                made: Page = framework.run(handler, args, kwargs)
                return made.with_validators(vary) if made.is_shared else made

            pages = _Pages(creator, key or _address(environ), expire, environ, run)
            return framework.answer(pages.get(_sorted(vary)).for_request(environ), args)

        return cached

    return decorate


class _Pages:
    """The pages of one address, as one request sees them.

    Under the address lies its page; or, where its pages differ by headers of the request, the names of those headers,
    and each page under the address and the headers' values.
    """

    def __init__(
        self, creator: Creator, address: str, expire: float | None, environ: Mapping[str, Any], run: Callable[[], Page]
    ) -> None:
        self._creator = creator
        self._address = address
        self._expire = expire
        self._environ = environ
        self._run = run
        self._made: Page | None = None  # what this request made itself

    def get(self, names: list[str]) -> Page:
        """Return this request's page; `names` are the headers by which pages differ in any case."""
        for _ in range(_LEVELS):
            found = self._obtain(names)
            if self._made is not None:
                return self._made
            if found[0] != _VARY:
                return Page(found[0], [(name, value) for name, value in found[1]], found[2])
            names = found[1]
        return self._run()

    def _obtain(self, names: list[str]) -> Any:
        def create() -> list[Any]:
            made = self._made = self._run()
            if not made.is_shared:
                raise Unshared(None)
            stored = [made.status, [list(header) for header in made.headers], made.body]
            needed = _sorted([*names, *_names(made.header("vary"))])
            if needed == names:
                return stored
            self._creator.put(self._key(needed), stored, self._expire)
            return [_VARY, needed]

        return self._creator.obtain(self._key(names), create, self._expire)

    def _key(self, names: list[str]) -> str:
        values = [f"{name}={_request_header(self._environ, name)!r}" for name in names]
        return f"page:{self._address}:{'&'.join(values)}"


def _address(environ: Mapping[str, Any]) -> str:
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}"
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return f"{environ.get('wsgi.url_scheme')}://{host}{path}?{environ.get('QUERY_STRING', '')}"


def _may_be_cached(environ: Mapping[str, Any], vary: tuple[str, ...]) -> bool:
    if environ.get("REQUEST_METHOD") not in ("GET", "HEAD") or environ.get("HTTP_RANGE"):
        return False
    return not environ.get("HTTP_AUTHORIZATION") or "authorization" in _sorted(vary)


def _matches(condition: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag, compared weakly (RFC 9110, 13.1.2)."""
    if condition.strip() == "*":
        return True
    return tag.removeprefix("W/") in re.findall(r'"[^"]*"', condition)


def _request_header(environ: Mapping[str, Any], name: str) -> str:
    variable = name.upper().replace("-", "_")
    if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        variable = f"HTTP_{variable}"
    return str(environ.get(variable, ""))


def _names(header: str) -> Iterator[str]:
    return (name.strip() for name in header.split(",") if name.strip())


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted({name.lower() for name in names})


def _of_session(session: Any) -> list[tuple[str, str]]:
    """The headers of a page made with a session, which is written, "Vary: Cookie" too, only after the handler."""
    if getattr(session, "modified", False):
        return [("Cache-Control", "private")]
    return [("Vary", "Cookie")] if getattr(session, "accessed", False) else []


class _Wsgi:
    """A WSGI application: called with environ and start_response."""

    @staticmethod
    def environ(args: tuple[Any, ...]) -> dict[str, Any]:
        environ: dict[str, Any] = args[0]
        return environ

    @staticmethod
    def run(handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Page:
        started: list[Any] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers]
            return written.append

        # HEAD is answered from GET's page, so that both share it.
        answer = handler({**args[0], "REQUEST_METHOD": "GET"}, start_response)
        try:
            body = b"".join([*answer])
        finally:
            if hasattr(answer, "close"):
                answer.close()
        headers = [*started[1], *_of_session(args[0].get("gaeport.session"))]
        return Page(started[0], headers, b"".join(written) + body)

    @staticmethod
    def answer(page: Page, args: tuple[Any, ...]) -> Any:
        args[1](page.status, list(page.headers))
        return [] if args[0]["REQUEST_METHOD"] == "HEAD" else [page.body]


class _Flask:
    """A Flask view: called while a request is active."""

    @staticmethod
    def environ(args: tuple[Any, ...]) -> dict[str, Any]:
        import flask

        environ: dict[str, Any] = flask.request.environ
        return environ

    @staticmethod
    def run(handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Page:
        import flask

        response = flask.make_response(handler(*args, **kwargs))
        if response.direct_passthrough:
            response.direct_passthrough = False  # a file, whose content is wanted here
        headers = [*response.headers.items(), *_of_session(flask.session)]
        return Page(response.status, headers, response.get_data())

    @staticmethod
    def answer(page: Page, args: tuple[Any, ...]) -> Any:
        import flask

        return flask.Response(page.body, page.status, page.headers)


class _Bottle:
    """A Bottle handler: called while a request is active."""

    @staticmethod
    def environ(args: tuple[Any, ...]) -> dict[str, Any]:
        import bottle

        environ: dict[str, Any] = bottle.request.environ
        return environ

    @staticmethod
    def run(handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Page:
        import bottle

        try:
            answer = handler(*args, **kwargs)
        except bottle.HTTPResponse as raised:
            answer = raised
        if isinstance(answer, dict):
            bottle.response.content_type = "application/json"
            answer = bottle.json_dumps(answer)
        response: Any = bottle.response
        if isinstance(answer, bottle.HTTPResponse):
            answer.apply(response)  # as Bottle does it
            answer = answer.body
        headers = [*response.headerlist, *_of_session(bottle.request.environ.get("gaeport.session"))]
        return Page(response.status_line, headers, _bottle_body(answer, response.charset))

    @staticmethod
    def answer(page: Page, args: tuple[Any, ...]) -> Any:
        import bottle

        answer = bottle.HTTPResponse(page.body, page.status)
        for name, value in page.headers:
            answer.add_header(name, value)
        return answer


def _bottle_body(answer: Any, charset: str) -> bytes:
    if not answer:
        return b""
    if isinstance(answer, str):
        return answer.encode(charset)
    if isinstance(answer, bytes):
        return answer
    parts = answer.read() if hasattr(answer, "read") else answer
    if isinstance(parts, bytes):
        return parts
    return b"".join(part.encode(charset) if isinstance(part, str) else part for part in parts)


def _framework(args: tuple[Any, ...]) -> Any:
    if len(args) == 2 and isinstance(args[0], dict) and "REQUEST_METHOD" in args[0] and callable(args[1]):
        return _Wsgi
    flask = sys.modules.get("flask")
    if flask is not None and flask.has_request_context():
        return _Flask
    bottle = sys.modules.get("bottle")
    if bottle is not None and bottle.request.environ:
        return _Bottle
    raise ConfigurationError("cache.page decorates WSGI applications, Flask views and Bottle handlers; this is none")
