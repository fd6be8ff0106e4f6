"""Makes a ticket of each exception that ends a request, and answers with its number.

What makes tickets and pages is imported with the first error: a start-up has other things to do.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.tickets import context, frameworks
from gaeport.tickets.frameworks import record

if TYPE_CHECKING:
    from gaeport.tickets.page import Page, PageMaker

_Headers = list[tuple[str, str]]
_STATUS = "500 Internal Server Error"


class TicketMiddleware:
    """Catches what a WSGI application does not.

    The visitor gets a page with the ticket's number; where the answer is on its way already, it is cut off, as servers
    do with exceptions. Exceptions that Flask, Django, Bottle and web2py answer themselves become tickets, too, and the
    frameworks' built-in pages are replaced; an application's own error page stays, and finds the number at
    `environ["gaeport.ticket"]`. In tests with WebTest exceptions reach the test (`paste.throw_errors`).

    Log lines that are written while a request is answered carry its trace (see `gaeport.tickets.setup_logging`).
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], *, page: "PageMaker | None" = None) -> None:
        """Wrap an application.

        Args:
            app: a WSGI application.
            page: makes the visitor's page from the environment and the number, in place of `[tickets] page` and the
                built-in one: returns (content type, text).
        """
        self._app = app
        self._maker = page
        frameworks.connect()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        request = context.begin(environ)
        answer = _Answer(self, request, start_response)
        try:
            body = self._app(environ, answer.start)
        except Exception as error:
            if _throws(environ):
                raise
            return answer.fail(error)
        return answer.body(body)

    def __getattr__(self, name: str) -> Any:
        # Tests reach for their framework's own attributes (app.config, app.test_client) through what wraps it.
        if name == "_app":
            raise AttributeError(name)
        return getattr(self._app, name)

    def page(self, environ: dict[str, Any], number: str) -> "Page":
        """Return the visitor's page."""
        from gaeport.tickets.page import make

        config = settings.current()
        file = config.tickets.page
        return make(environ, number, config.root / Path(file) if file else None, self._maker)


class _Answer:
    """One request's answer."""

    __slots__ = ("_middleware", "_replaced", "_request", "_start_response")

    def __init__(
        self, middleware: TicketMiddleware, request: context.Request, start_response: Callable[..., Any]
    ) -> None:
        self._middleware = middleware
        self._request = request
        self._start_response = start_response
        self._replaced: bytes | None = None

    def start(self, status: str, headers: _Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        """What the application takes for start_response."""
        if exc_info is None and not status.startswith("500"):
            write: Callable[[bytes], object] = self._start_response(status, headers)
            return write
        return self._start_failed(status, headers, exc_info)

    def fail(self, error: Exception) -> list[bytes]:
        """Answer in place of an application that raised.

        Raises:
            Exception: the application's own, where the answer has begun already.
        """
        number = record(error)
        made = self._middleware.page(self._request.environ, number)
        self._start_response(_STATUS, made.headers, (type(error), error, error.__traceback__))
        context.resume(None)
        return [made.body]

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what to send: the application's body, watched while it is made, or the ticket's page."""
        if self._replaced is not None:
            _close(body)
            context.resume(None)
            return [self._replaced]
        if isinstance(body, (list, tuple)):
            context.resume(None)
            return body
        wrapper = self._request.environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            return body  # servers send files faster when they know them
        return _Body(self, self._request, body)

    def _start_failed(self, status: str, headers: _Headers, exc_info: Any) -> Callable[[bytes], object]:
        """Begin an answer that tells of an error: note the exception, and replace a framework's built-in page."""
        request = self._request
        error = exc_info[1] if exc_info else None
        if isinstance(error, Exception) and not request.number:
            request.told = "bottle.app" in request.environ
            record(error)
            request.replace = frameworks.answers_plainly(request.environ)
        if not exc_info and not request.number:
            frameworks.connect()  # one that was imported late; its next exception will be told
        arguments = (exc_info,) if exc_info else ()
        if not (request.replace and request.number and status.startswith("500")):
            write: Callable[[bytes], object] = self._start_response(status, headers, *arguments)
            return write
        made = self._middleware.page(request.environ, request.number)
        self._replaced = made.body
        self._start_response(status, made.headers, *arguments)
        return _written_nowhere


class _Body:
    """A body that is made while it is sent."""

    def __init__(self, answer: _Answer, request: context.Request, body: Iterable[bytes]) -> None:
        self._answer = answer
        self._request = request
        self._body = body
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if context.current() is not self._request:
            context.resume(self._request)
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            return next(self._pieces)
        except StopIteration:
            raise
        except Exception as error:
            if _throws(self._request.environ):
                raise
            piece = self._answer.fail(error)[0]  # raises where the headers are out
            self._pieces = iter(())
            return piece

    def close(self) -> None:
        """Close the application's body."""
        try:
            _close(self._body)
        finally:
            context.resume(None)


def _throws(environ: dict[str, Any]) -> bool:
    """Tell whether whoever sent the request wants exceptions as they are: WebTest says so."""
    return bool(environ.get("paste.throw_errors"))


def _close(body: Iterable[bytes]) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _written_nowhere(data: bytes) -> None:
    """What start_response returns in place of `write` when the framework's page is replaced."""
