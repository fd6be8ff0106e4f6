"""Requests and responses, as far as the console's pages need them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

ROOT = "/_gaeport/"
STATS_ALIAS = "/_ah/stats"  # where App Engine's own statistics were once
MAX_FORM = 65_536  # bytes; the longest form has a few ticket numbers
_MAX_FIELDS = 1_000

# Nothing but this site's style sheet and pictures; no script at all; no frames, neither in nor around.
_SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_PRIVATE = ("Cache-Control", "no-store")


class Refused(Exception):
    """The request is not answered as it was meant.

    Attributes:
        status: the answer's.
        title: the page's heading.
        text: a sentence for whoever sent the request.
        headers: more of the answer's.
    """

    def __init__(self, status: HTTPStatus, title: str, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status, self.title, self.text, self.headers = status, title, text, headers


def not_found(text: str = "There is no such page.") -> Refused:
    """Return what to raise where there is nothing."""
    return Refused(HTTPStatus.NOT_FOUND, "Not found", text)


class Request:
    """A request to the console.

    Attributes:
        environ: as the server gave it.
        method: "GET", "HEAD" or "POST".
        path: the path below the console's root, such as "tickets/3f".
        form: the submitted fields; empty unless POST. A page gets it only after its token was checked.
        token: what the page's own forms must send as `csrf`.
        https: whether the visitor came by HTTPS.
        signed_in: whether the visitor has logged in.
        cookies: Set-Cookie values for the answer.
    """

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.method = str(environ.get("REQUEST_METHOD", "GET"))
        # A prefix such as //evil.example, from a header that some server took for it, must not lead elsewhere.
        prefix = quote(_decoded(str(environ.get("SCRIPT_NAME", ""))), safe="/~").strip("/")
        self._root = (f"/{prefix}" if prefix else "") + ROOT
        self.path = _below(_decoded(str(environ.get("PATH_INFO", ""))))
        self.form: dict[str, str] = {}
        self.token = ""
        self.https = False
        self.signed_in = False
        self.cookies: list[str] = []
        self._arguments = _fields(str(environ.get("QUERY_STRING", ""))) or {}

    @property
    def page(self) -> str:
        """The first part of the path: which page it is for; "" for the overview."""
        return self.path.partition("/")[0]

    @property
    def rest(self) -> str:
        """The path below the page, such as a ticket's number; "" for the page itself."""
        return self.path.partition("/")[2]

    def argument(self, name: str, otherwise: str = "") -> str:
        """Return a query argument's first value."""
        return self._arguments.get(name, [otherwise])[0]

    def number(self, name: str, otherwise: int, least: int, most: int) -> int:
        """Return a query argument as a number within bounds; `otherwise` where it is none."""
        text = self.argument(name)
        if not re.fullmatch(r"[0-9]{1,9}", text):
            return otherwise
        return min(most, max(least, int(text)))

    def url(self, path: str = "", /, **arguments: object) -> str:
        """Return the address of a page of the console.

        Args:
            path: below the console's root, such as "tickets/3f".
            **arguments: the query; None and "" are left out.
        """
        given = {name: value for name, value in arguments.items() if value not in (None, "")}
        return self._root + quote(path, safe="/~") + (f"?{urlencode(given)}" if given else "")

    def here(self) -> str:
        """Return the address of this request, to come back to after logging in."""
        return self.url(self.path, **{name: values[0] for name, values in self._arguments.items()})

    def cookie(self, name: str) -> str:
        """Return a cookie's first value, or ""."""
        for part in str(self.environ.get("HTTP_COOKIE", "")).split(";"):
            key, equals, value = part.strip().partition("=")
            if equals and key == name:
                return value.strip()
        return ""

    def read_form(self) -> None:
        """Read the submitted form into `form`.

        Raises:
            Refused: it is too large, or not a form.
        """
        length = str(self.environ.get("CONTENT_LENGTH") or "0")
        kind = str(self.environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
        if not length.isdecimal() or int(length) > MAX_FORM:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", "The form is larger than any of these pages."
            )
        if length == "0":
            return
        if kind != "application/x-www-form-urlencoded":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Not a form", "Only this console's own forms are taken.")
        body = self.environ["wsgi.input"].read(int(length)).decode("latin-1")
        fields = _fields(body)
        if fields is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "Not a form", "The form has too many fields.")
        self.form = {name: values[0] for name, values in fields.items()}


@dataclass(slots=True)
class Response:
    """An answer.

    Attributes:
        body: the whole body.
        content_type: its type.
        status: the HTTP status.
        headers: more headers.
    """

    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: list[tuple[str, str]] = field(default_factory=list)

    def send(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request."""
        headers = [("Content-Type", self.content_type), ("Content-Length", str(len(self.body)))]
        headers += [*_SECURITY_HEADERS, *self.headers]
        if not any(name == "Cache-Control" for name, _ in self.headers):
            headers.append(_PRIVATE)
        headers += [("Set-Cookie", cookie) for cookie in request.cookies]
        start_response(f"{self.status.value} {self.status.phrase}", headers)
        return [] if request.method == "HEAD" else [self.body]


def redirect(location: str) -> Response:
    """Return an answer that sends the browser on with GET."""
    return Response(status=HTTPStatus.SEE_OTHER, headers=[("Location", location)])


def is_for_console(path: str) -> bool:
    """Tell whether a request's path is one of the console's."""
    return path.startswith((ROOT, f"{STATS_ALIAS}/")) or path in (ROOT[:-1], STATS_ALIAS)


def _fields(text: str) -> dict[str, list[str]] | None:
    """Return a query's or a form's fields, or None where there are too many."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        return None


def _below(path: str) -> str:
    """Return the path below the console's root."""
    if path == STATS_ALIAS or path.startswith(f"{STATS_ALIAS}/"):
        return f"stats{path[len(STATS_ALIAS) :]}".rstrip("/")
    return path[len(ROOT) :].rstrip("/")


def _decoded(text: str) -> str:
    # PEP 3333 hands bytes over as latin-1.
    return text.encode("latin-1", "replace").decode("utf-8", "replace")
