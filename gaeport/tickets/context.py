"""The request that this thread or task answers: its trace for log lines, its description for tickets.

What describes it imports the rules of redaction then: every start-up imports this module, and few have errors to tell.
"""

import os
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

from gaeport.tickets.trace import Trace, trace_of

_MAX_TEXT = 2_000  # characters of a URL or a header
_MAX_HEADERS = 60
_MAX_NAMES = 100
_HEADERS_WITHOUT_PREFIX = ("CONTENT_TYPE", "CONTENT_LENGTH")


class Request:
    """One request, described only when somebody asks.

    Attributes:
        environ: its WSGI environment.
        number: the ticket's number, once it has one.
        told: whether the framework itself prints the traceback, as Flask and Bottle do.
        replace: whether the framework answers with its own standard page, which the ticket's page replaces.
        form: names of the form's fields, where a framework has parsed them.
    """

    __slots__ = ("_trace", "environ", "form", "number", "replace", "told")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.number = ""
        self.replace = False
        self.told = False
        self.form: list[str] = []
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace:
        """The request's trace."""
        if self._trace is None:
            self._trace = trace_of(self.environ)
        return self._trace

    @property
    def url(self) -> str:
        """The whole URL; what looks like a secret in its query string is replaced."""
        from gaeport.tickets.redaction import URL_SAFE, redacted_query, redacted_text

        environ = self.environ
        scheme = environ.get("wsgi.url_scheme", "http")
        host = environ.get("HTTP_HOST") or _server(environ, scheme)
        path = quote(
            (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace"), URL_SAFE
        )
        query = environ.get("QUERY_STRING")
        text = f"{scheme}://{_cut(host)}{redacted_text(_cut(path or '/'))}"
        return f"{text}?{_cut(redacted_query(query))}" if query else text

    def http_request(self) -> dict[str, Any]:
        """Return the fields that Cloud Logging shows of a request (LogEntry.httpRequest), as google-cloud-logging
        fills them."""
        from gaeport.tickets.redaction import redacted_text

        return {
            "requestMethod": self.environ.get("REQUEST_METHOD", ""),
            "requestUrl": self.url,
            "userAgent": redacted_text(_cut(self.environ.get("HTTP_USER_AGENT", ""))),
            "protocol": self.environ.get("SERVER_PROTOCOL"),
        }

    def headers(self) -> dict[str, str]:
        """Return the request's headers by their usual names, as they came."""
        found = {}
        for key, value in self.environ.items():
            if not isinstance(value, str):
                continue
            if key.startswith("HTTP_"):
                found[key[5:].replace("_", "-").title()] = _cut(value)
            elif key in _HEADERS_WITHOUT_PREFIX and value:
                found[key.replace("_", "-").title()] = _cut(value)
            if len(found) == _MAX_HEADERS:
                break
        return found

    def form_names(self) -> list[str]:
        """Return the names of the form's fields, where the framework has read them; never their values."""
        parsed = self.form or self.environ.get("bottle.request.post") or self.environ.get("bottle.request.forms") or ()
        return [_cut(str(name)) for name in list(parsed)[:_MAX_NAMES]]

    def user(self) -> str:
        """Return who is logged in, as far as that is known without a call: "" where it is not.

        `environ["gaeport.user"]` (for applications that want to say it), the user of a session that this request has
        read, or REMOTE_USER. No header counts: anybody can send one.
        """
        session = self.environ.get("gaeport.session")
        own = session.user if session is not None and getattr(session, "accessed", False) else None
        return _cut(str(self.environ.get("gaeport.user") or own or self.environ.get("REMOTE_USER") or ""))


_current: ContextVar[Request | None] = ContextVar("gaeport_request", default=None)


def current() -> Request | None:
    """Return the request that is being answered here, or None."""
    return _current.get()


def begin(environ: dict[str, Any]) -> Request:
    """Make a request the one that is being answered here."""
    request = Request(environ)
    _current.set(request)
    return request


def resume(request: Request | None) -> None:
    """Make a request that began before, or none, the one that is being answered here."""
    _current.set(request)


def trace_fields(project: str) -> dict[str, Any]:
    """Return the fields by which Cloud Logging groups a line with its request; none outside of one with a trace.

    Args:
        project: the Google Cloud project, which a trace's full name needs.
    """
    request = _current.get()
    if request is None or not request.trace.id:
        return {}
    trace = request.trace
    return {
        "logging.googleapis.com/trace": trace.name(project) if project else trace.id,
        "logging.googleapis.com/spanId": trace.span,
        "logging.googleapis.com/trace_sampled": trace.sampled,
    }


def service() -> str:
    """Return the App Engine service that runs here; "default" elsewhere."""
    return os.environ.get("GAE_SERVICE") or "default"


def version() -> str:
    """Return the App Engine version that runs here; "local" elsewhere."""
    return os.environ.get("GAE_VERSION") or "local"


def instance() -> str:
    """Return the App Engine instance that runs here, or ""."""
    return os.environ.get("GAE_INSTANCE", "")


def _server(environ: dict[str, Any], scheme: str) -> str:
    name, port = environ.get("SERVER_NAME", "localhost"), str(environ.get("SERVER_PORT", ""))
    return name if port in ("", "443" if scheme == "https" else "80") else f"{name}:{port}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
