"""Requests and responses, as far as the guest book needs them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

from multipart import MultipartError, MultipartPart, parse_form_data

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

MAX_REQUEST = 6 * 1024 * 1024  # bytes; a picture and the other fields
_DRAIN = 32 * 1024 * 1024  # bytes; what App Engine lets through at most
_CHUNK = 65_536  # bytes

# Everything comes from this site, nothing is a script, and nobody may put the pages in a frame.
_SECURITY_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
]


class BadRequest(Exception):
    """The request cannot be answered; the message is for whoever sent it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Form:
    """A submitted form; as a context manager it closes the temporary files of its uploads.

    Attributes:
        fields: the text fields by name.
        files: the uploaded files by name, as (content, size in bytes); fields left empty are not among them.
    """

    def __init__(self, fields: Mapping[str, str], parts: Iterable[MultipartPart]) -> None:
        self._parts = list(parts)
        self.fields = dict(fields)
        self.files: dict[str, tuple[BinaryIO, int]] = {
            part.name: (part.file, part.size) for part in self._parts if part.filename and part.size
        }

    def __enter__(self) -> "Form":
        return self

    def __exit__(self, *error: object) -> None:
        for part in self._parts:
            part.close()


class Request:
    """What the application asks of a WSGI environ."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self.method = str(environ["REQUEST_METHOD"])
        self.path = _decoded(str(environ.get("PATH_INFO") or "/"))

    def argument(self, name: str) -> str:
        """Return a query argument, "" when it is missing."""
        return parse_qs(str(self._environ.get("QUERY_STRING", ""))).get(name, [""])[0]

    def form(self) -> Form:
        """Read the submitted form.

        Raises:
            BadRequest: it is too large or malformed.
        """
        length = self._environ.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal():
            raise BadRequest(HTTPStatus.BAD_REQUEST, "The form arrived damaged. Please try again.")
        if int(length) > MAX_REQUEST:
            self._drain(int(length))
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That was too large: at most 5 MB, please.")
        try:
            fields, files = parse_form_data(self._environ, strict=True, part_limit=20, disk_limit=MAX_REQUEST)
        except (MultipartError, UnicodeDecodeError):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "The form arrived damaged. Please try again.") from None
        return Form(dict(fields.items()), files.values())

    def comes_from_this_site(self) -> bool:
        """Tell whether a form was sent by one of this site's own pages, as far as the browser says.

        No cookie gives anybody any rights here, so the browser's own word is enough against forged forms.
        """
        site = self._environ.get("HTTP_SEC_FETCH_SITE")
        if site is not None:
            return site in ("same-origin", "none")
        origin = self._environ.get("HTTP_ORIGIN")
        return origin is None or urlsplit(origin).netloc == self._environ.get("HTTP_HOST")

    def comes_from_cron(self) -> bool:
        """Tell whether App Engine's scheduler sent this; it removes the header from everybody else's requests."""
        return bool(self._environ.get("HTTP_X_APPENGINE_CRON") == "true")

    def _drain(self, length: int) -> None:
        """Read what is too large and forget it: a browser shows no answer until it has sent everything."""
        rest = min(length, _DRAIN)
        while rest > 0 and (piece := self._environ["wsgi.input"].read(min(rest, _CHUNK))):
            rest -= len(piece)


@dataclass(slots=True)
class Response:
    """An answer: a whole body, or a file that is sent piece by piece and closed."""

    body: bytes | BinaryIO = b""
    content_type: str = "text/html; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: list[tuple[str, str]] = field(default_factory=list)

    def send(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request."""
        headers = [("Content-Type", self.content_type), *_SECURITY_HEADERS, *self.headers]
        if isinstance(self.body, bytes):
            headers.append(("Content-Length", str(len(self.body))))
        start_response(f"{self.status.value} {self.status.phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            if not isinstance(self.body, bytes):
                self.body.close()
            return []
        return [self.body] if isinstance(self.body, bytes) else _pieces(self.body)


def redirect(location: str) -> Response:
    """Return an answer that sends the browser on with GET."""
    return Response(status=HTTPStatus.SEE_OTHER, headers=[("Location", location)])


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_CHUNK):
            yield piece


def _decoded(path: str) -> str:
    # PEP 3333 hands bytes over as latin-1.
    return path.encode("latin-1").decode("utf-8", "replace")
