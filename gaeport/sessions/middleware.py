"""Sessions for any WSGI application: `environ["gaeport.session"]`."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gaeport import settings as _settings
from gaeport.sessions import cookies
from gaeport.sessions.session import Session, largest
from gaeport.sessions.stores import Store, connect
from gaeport.settings import SessionSettings, session_settings

ENVIRON_KEY = "gaeport.session"

_log = logging.getLogger("gaeport.sessions")
_Headers = list[tuple[str, str]]


class SessionMiddleware:
    """Puts a `Session` into each request, and saves it before the answer's headers are sent.

    A request that never touches its session costs nothing. The session is saved when the application returns; what the
    body's generator changes afterwards is saved at its end, as long as the session had begun before. A request that
    ends with an exception saves nothing.
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        store: str | Store = "datastore",
        *,
        settings: SessionSettings | None = None,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        """Wrap an application.

        Args:
            app: a WSGI application.
            store: "cookie", "datastore", "memcache", "redis", "memcache+datastore", or an object that is a `Store`.
            settings: everything at once, in place of `store` and `options`.
            clock: seconds since 1970.
            **options: the other keys of gaeport.toml's `[sessions]`: url, cookie, samesite, secure, idle, lifetime,
                cache_ttl, keys, user_key.

        Raises:
            ConfigurationError: an option is unknown or has an impossible value.
            MissingExtraError: the store's client library is not installed.
        """
        self._app = app
        named = {"store": store} if isinstance(store, str) else {}
        self.options = settings or session_settings({**options, **named}, place="SessionMiddleware()")
        self.store = connect(self.options, clock) if isinstance(store, str) else store
        self._clock = clock
        self._production = _settings.current().environment == "production"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        https = cookies.is_https(environ, self.options, self._production)
        header = environ.get("HTTP_COOKIE")
        # Holds the header and not the environ, which holds the session: without that circle all goes with the request.
        find = (lambda: cookies.read(header, cookies.name_of(self.options, https))) if header else None
        session = environ[ENVIRON_KEY] = Session(self.store, self.options, find, self._clock)
        answer = _Answer(start_response, self._headers, session, https)
        return answer.begin(self._app(environ, answer.start))

    def __getattr__(self, name: str) -> Any:
        # Tests reach for their framework's own attributes (app.config, app.test_client) through what wraps it.
        if name == "_app":
            raise AttributeError(name)
        return getattr(self._app, name)

    def _headers(self, session: Session, https: bool) -> _Headers:
        """Save the session; return the headers that its answer needs."""
        outcome = session.save()
        headers = [("Vary", "Cookie")]
        if outcome is not None:
            text = cookies.header(self.options, outcome, https, self._clock(), largest(session.encoded))
            headers.append(("Set-Cookie", text))
        return headers


class _Answer:
    """One answer: its headers wait until the session is saved."""

    __slots__ = ("_body", "_finish", "_held", "_https", "_session", "_start_response", "_write")

    def __init__(
        self,
        start_response: Callable[..., Any],
        finish: Callable[[Session, bool], _Headers],
        session: Session,
        https: bool,
    ) -> None:
        self._start_response = start_response
        self._finish = finish
        self._session = session
        self._https = https
        self._held: tuple[Any, ...] | None = None
        self._write: Callable[[bytes], object] | None = None
        self._body: Iterable[bytes] = ()

    def start(self, status: str, headers: _Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """What the application takes for start_response."""
        if exc_info and self._write is not None:
            self._start_response(status, headers, exc_info)  # raises: the headers are out
        self._held = (status, headers, exc_info) if exc_info else (status, headers)
        return self._write_now

    def begin(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Send the headers if the application gave them by now, as all but generators do; return the body."""
        self._body = body
        if self._held is None:
            return _Late(self, body)
        try:
            self.send()
        except BaseException:
            self.close()
            raise
        return body if isinstance(body, list) else _Late(self, body)

    def send(self) -> None:
        """Save the session and send the headers, once."""
        held = self._held
        if held is None:
            return
        if self._session.accessed:
            status, headers, *error = held
            held = (status, _merged(headers, self._finish(self._session, self._https)), *error)
        self._held = None
        self._write = self._start_response(*held)

    def end(self) -> None:
        """Save what the body's generator changed after the headers were sent."""
        self.send()
        if not self._session.accessed:
            return
        if any(name == "Set-Cookie" for name, _ in self._finish(self._session, self._https)):
            _log.warning("a session began, ended or moved after the headers were sent; the browser does not know")

    def close(self) -> None:
        """Close the application's body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def _write_now(self, data: bytes) -> None:
        self.send()
        assert self._write is not None  # start_response gave it
        self._write(data)


class _Late:
    """The body of an answer whose application may still be at work: a generator."""

    def __init__(self, answer: _Answer, body: Iterable[bytes]) -> None:
        self._answer = answer
        self._pieces = self._iterate(body)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def _iterate(self, body: Iterable[bytes]) -> Iterator[bytes]:
        for piece in body:
            if piece:  # an empty one would go out before the headers
                self._answer.send()
                yield piece
        self._answer.end()

    def close(self) -> None:
        """Close the application's body."""
        self._answer.close()


def _merged(headers: _Headers, added: _Headers) -> _Headers:
    """Return headers with others added; Vary is one list."""
    merged = list(headers)
    for name, value in added:
        if name == "Vary":
            present = [text for known, text in merged if known.lower() == "vary"]
            if any(word.strip().lower() in ("cookie", "*") for text in present for word in text.split(",")):
                continue
            merged = [item for item in merged if item[0].lower() != "vary"]
            value = ", ".join([*present, value])
        merged.append((name, value))
    return merged
