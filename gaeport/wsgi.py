"""Puts gaeport's parts around a WSGI application: `wrap`.

What a request wrote is committed before the client has the whole answer, so that whoever was answered finds it on any
instance. The last piece of the body is held back until then; App Engine does not stream responses anyway.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from gaeport import fs
from gaeport import settings as _settings
from gaeport.errors import MissingExtraError
from gaeport.fs import opened
from gaeport.loader import WSGIApplication, check, load
from gaeport.settings import Settings
from gaeport.stats import recording
from gaeport.tickets import context

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

DEFAULT_APPLICATION = "gaeport.welcome:app"
WARMUP = "/_ah/warmup"
SESSIONS_PURGE = "/_gaeport/cron/sessions-purge"
_CONSOLE = ("/_gaeport", "/_ah/stats")

_log = logging.getLogger("gaeport")
_NOT_SAVED = b"The server could not save what this request wrote. Please try again.\n"


def wrap(app: WSGIApplication | str, settings: Settings | None = None) -> "Application":
    """Make an application ready for App Engine: its files in the mounts that gaeport.toml names.

    Mounts are in place when this returns, and stay for the process. A request's writes are committed before its answer
    ends; if they cannot be, the client gets a 500 where the answer has not begun, else a cut-off answer. `/_ah/warmup`
    is passed to the application, and answered 200 where it answers 404. Where gaeport.toml has `[sessions]`,
    each request has its session at `environ["gaeport.session"]`; `/_gaeport/cron/sessions-purge` answers App Engine's
    cron. Where `[console]` has a password's hash, `/_gaeport/` and `/_ah/stats` are the console's.
    An exception that ends a request becomes a ticket, whose number the visitor gets (`[tickets]` turns it off); on App
    Engine standard logging writes structured lines with their request's trace.
    X-Appengine headers are left alone: App Engine strips those that come from outside.

    Args:
        app: a WSGI application, or "module:callable" as in gaeport.toml, which is imported after the mounts are in
            place. One that is wrapped already is returned as it is.
        settings: put in force first; by default those in force, from gaeport.toml.

    Returns:
        A WSGI application.

    Raises:
        ApplicationError: there is no such application, or it is not a WSGI application (ASGI, for example).
        ConfigurationError: the settings are wrong, or a directory cannot be mounted.
    """
    if settings is not None and settings != _settings.in_force():
        _settings.use(settings)
    config = _settings.current()
    if not isinstance(app, str):
        check(app, _name(app))
    fs.mount_all(config)
    _set_up_logging(config)
    opened.request_fields = _trace_fields
    if config.dal.map:
        import gaeport.dal  # noqa: F401 - makes pyDAL open Datastore for what the map names
    if isinstance(app, str):
        app = load(app, config.root)
    if isinstance(app, Application):
        return app
    app = _with_sessions(app, config)
    if config.uses_bundled_apis:
        return Application(_with_bundled_apis(app), _with_bundled_apis(_sessions_purge))
    return Application(app)


def _with_bundled_apis(app: WSGIApplication) -> WSGIApplication:
    """Return the application with what App Engine's bundled memcache needs around each request.

    Source: "Access bundled services for Python 3", App Engine documentation.
    """
    try:
        from google.appengine.api import wrap_wsgi_app
    except ImportError as error:
        raise MissingExtraError(
            "appengine:// needs appengine-python-standard: pip install 'gaeport[appengine]'"
        ) from error
    wrapped: WSGIApplication = wrap_wsgi_app(app)
    return wrapped


def _with_sessions(app: WSGIApplication, config: Settings) -> WSGIApplication:
    """Return the application with the session middleware around it, where gaeport.toml has `[sessions]`."""
    if config.sessions is None:
        return app
    from gaeport.sessions.middleware import SessionMiddleware

    return SessionMiddleware(app, settings=config.sessions)


def _set_up_logging(config: Settings) -> None:
    """Have standard logging write structured lines where the settings, or App Engine, ask for it.

    Before the application is imported, which then may still set up its own.
    """
    wanted = config.tickets.logging
    if wanted or (wanted is None and config.environment == "production"):
        from gaeport.tickets.logs import setup_for

        setup_for(config)


def _trace_fields() -> dict[str, Any]:
    """Return what entries of `store = "log"` tell of the request that is being answered."""
    return context.trace_fields(_settings.current().project)


def _with_tickets(app: WSGIApplication) -> WSGIApplication:
    """Return the application with the ticket middleware around it, unless `[tickets]` turns it off.

    It is around the file system's requests, too, so that an exception still ends those as failed.
    """
    if not _settings.current().tickets.enabled:
        return _with_context(app)
    from gaeport.tickets.middleware import TicketMiddleware

    return TicketMiddleware(app)


def _with_context(app: WSGIApplication) -> WSGIApplication:
    """Return the application so that log lines know their request, as they do with the ticket middleware."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        context.begin(environ)
        return app(environ, start_response)

    return answer


def default_application(config: Settings) -> str:
    """Return the "module:callable" to serve: gaeport.toml's `app`, else main.py's, else the welcome application."""
    if config.app:
        return config.app
    return "main:app" if Path(config.root, "main.py").is_file() else DEFAULT_APPLICATION


class Application:
    """A WSGI application whose requests begin and end in the file system."""

    def __init__(self, app: WSGIApplication, purge: WSGIApplication | None = None) -> None:
        """Take over an application.

        Args:
            app: what answers.
            purge: what answers App Engine's cron at SESSIONS_PURGE; by default gaeport's own handler as it is.
        """
        self.app = app
        self._purge = purge or _sessions_purge
        self._answer = _with_tickets(self._route)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return self._answer(environ, start_response)

    def _route(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == WARMUP:
            start_response = _found(start_response)
        elif path == SESSIONS_PURGE:
            return self._purge(environ, start_response)
        elif path is not None and path.startswith(_CONSOLE) and _is_for_console(path):
            return _console(environ, start_response)
        return _Exchange(self.app).begin(environ, start_response)

    def __getattr__(self, name: str) -> Any:
        # Tests reach for their framework's own attributes (app.config, app.test_client) through main.app.
        if name == "app":
            raise AttributeError(name)
        return getattr(self.app, name)


class _Exchange:
    """One request and its answer; iterating gives the body, one piece late."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._token: Any = None
        self._recording: recording.Recording | None = None
        self._body: Iterable[bytes] = ()
        self._pieces: Iterator[bytes] = iter(())
        self._held = b""
        self._ended = False
        self._write: Callable[[bytes], object] | None = None
        self._start_response: StartResponse = lambda *_: None

    def begin(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Run the application up to the first piece of its body; short answers are ended at once."""
        self._start_response = start_response
        self._recording = recording.begin(environ)
        self._token = fs.begin_request()
        try:
            self._body = self._app(environ, self._start)
            self._pieces = iter(self._body)
            first = self._advance()
        except BaseException:
            self._end(failed=True)
            raise
        if not self._ended:
            return _Pieces(first, self)
        # One piece, even an empty one, lets the server write Content-Length.
        return [first] if first or _length(self._body) == 1 else []

    def next_piece(self) -> bytes:
        """Return the next piece that may be sent. Raises StopIteration after the last."""
        if self._ended:
            raise StopIteration
        try:
            return self._advance()
        except BaseException:
            self._end(failed=True)
            raise

    def close(self) -> None:
        """End the request if the server stops before the body does (the client went away)."""
        self._end(failed=False)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if self._recording is not None:
            self._recording.answered(status)
        if exc_info:
            self._held = b""
            self._write = self._start_response(status, headers, exc_info)
        else:
            self._write = self._start_response(status, headers)
        return self._write_late

    def _write_late(self, data: bytes) -> None:
        """What start_response returns (PEP 3333's `write`): it too keeps the last piece back."""
        if self._held and self._write is not None:
            self._write(self._held)
        self._held = data

    def _advance(self) -> bytes:
        """Return the held piece once there is another to hold, or the request has ended."""
        for piece in self._pieces:
            if not piece:
                continue
            ready, self._held = self._held, piece
            if ready:
                return ready
        self._end(failed=False)
        ready, self._held = self._held, b""
        return ready

    def _end(self, *, failed: bool) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            self._close(failed)
        except BaseException:
            failed = True
            raise
        finally:
            if self._recording is not None:
                recording.end(self._recording, failed=failed)

    def _close(self, failed: bool) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException:
            fs.end_request(self._token, True)
            raise
        self._commit(failed)

    def _commit(self, failed: bool) -> None:
        try:
            fs.end_request(self._token, failed)
        except OSError as error:
            _log.exception("what the request wrote could not be saved")
            if failed:
                return  # the application's own exception is on its way, and says more
            # Raises where headers have been sent, so that the server cuts the answer off: it must not look complete.
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_NOT_SAVED)))]
            self._start_response("500 Internal Server Error", headers, (type(error), error, error.__traceback__))
            self._held = _NOT_SAVED


class _Pieces:
    """The body of a longer answer."""

    def __init__(self, first: bytes, exchange: _Exchange) -> None:
        self._first = first
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        piece = self._exchange.next_piece()
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        self._exchange.close()


def _sessions_purge(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    from gaeport.sessions.cron import sessions_purge

    return sessions_purge(environ, start_response)


def _is_for_console(path: str) -> bool:
    """Tell whether a path is the console's, and there is a console."""
    if _settings.current().console.password_hash is None:
        return False
    from gaeport.console.web import is_for_console

    return is_for_console(path)


def _console(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    from gaeport.console.application import answer

    return answer(environ, start_response)


def _found(start_response: StartResponse) -> StartResponse:
    """Return a start_response that makes 200 of 404: an application without a warm-up handler is warm all the same."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response("200 OK" if status.startswith("404") else status, headers, *rest)

    return start


def _length(body: object) -> int | None:
    return len(body) if isinstance(body, Sized) else None


def _name(app: object) -> str:
    return getattr(app, "__qualname__", None) or type(app).__qualname__
