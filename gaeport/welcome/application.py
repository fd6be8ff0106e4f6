"""The guest book's WSGI application: which path is answered by what."""

import logging
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path

import gaeport.datastore
from gaeport.welcome import guestbook, pages, pictures
from gaeport.welcome.guestbook import Draft
from gaeport.welcome.web import BadRequest, Environ, Form, Request, Response, StartResponse, redirect

_log = logging.getLogger("gaeport.welcome")
_STATIC = Path(__file__).parent / "static"
_STATIC_NAME = re.compile(r"[a-z]+(\.css|\.svg)")
_STATIC_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = ("Cache-Control", "public, max-age=31536000, immutable")  # a picture's name never gets other content
_NOT_FOUND = BadRequest(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
_DAY = 86_400  # seconds
_TITLES = {
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not possible",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.FORBIDDEN: "Not accepted",
}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one WSGI request."""
    try:
        response = _answer(Request(environ))
    except BadRequest as error:
        response = _problem(error)
    except Exception:  # noqa: BLE001  # the outermost frame: logged, and answered with a page
        _log.exception("%s %s failed", environ["REQUEST_METHOD"], environ.get("PATH_INFO"))
        sorry = pages.message("Something went wrong", "The error has been logged. Please try again later.")
        response = Response(sorry, status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return response.send(environ, start_response)


def show(request: Request) -> Response:
    """Show a page of notes: all, or those with one tag."""
    tag = request.argument("tag").lower()[: guestbook.MAX_TAG]
    before = request.argument("before")
    if before and not re.fullmatch(r"[0-9]{1,16}", before):
        raise _NOT_FOUND
    with gaeport.datastore.ndb_client().context():
        page = guestbook.page(tag, int(before) if before else None)
    notice = "Thank you, your note is in the book." if request.argument("signed") else ""
    return Response(pages.home(page, Draft(), tag=tag, notice=notice), headers=[("Cache-Control", "no-store")])


def sign(request: Request) -> Response:
    """Store a note and its picture, or show the form again with what is wrong."""
    if not request.comes_from_this_site():
        raise BadRequest(HTTPStatus.FORBIDDEN, "This form was sent from another site.")
    with request.form() as form:
        author, message, tags = (form.fields.get(name, "") for name in ("author", "message", "tags"))
        draft = Draft(author, message, tags).checked()
        picture = None if draft.problems else _saved_picture(form, draft)
    with gaeport.datastore.ndb_client().context():
        if draft.problems:
            body = pages.home(guestbook.page(), draft)
            return Response(body, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        number = _store(draft, picture)
    return redirect(f"/?signed={number}#note-{number}")


def picture(request: Request, name: str) -> Response:
    """Send an uploaded picture."""
    try:
        file, content_type = pictures.open_picture(name)
    except FileNotFoundError:
        raise _NOT_FOUND from None
    return Response(file, content_type, headers=[_FOREVER])


def static(request: Request, name: str) -> Response:
    """Send a style sheet or icon where app.yaml's static handler has not done so already."""
    match = _STATIC_NAME.fullmatch(name)
    try:
        content = (_STATIC / name).read_bytes() if match else None
    except FileNotFoundError:  # on App Engine the front end has these files, the application need not
        content = None
    if match is None or content is None:
        raise _NOT_FOUND
    return Response(content, _STATIC_TYPES[match[1]], headers=[("Cache-Control", "public, max-age=600")])


def warm_up(request: Request) -> Response:
    """Make the connection that the first visitor would otherwise wait for."""
    with gaeport.datastore.ndb_client().context():
        guestbook.page()
    return Response(b"warm\n", "text/plain; charset=utf-8")


def sweep(request: Request) -> Response:
    """Remove pictures that no note shows: their upload was cut off before the note was stored. cron.yaml asks daily."""
    if not request.comes_from_cron():
        raise BadRequest(HTTPStatus.FORBIDDEN, "Only the scheduler may do that.")
    now = time.time()
    removed = 0
    with gaeport.datastore.ndb_client().context():
        # Younger ones may still get their note; older ones have been looked at on the days before.
        for name in pictures.uploaded_between(now - 4 * _DAY, now - _DAY):
            if not guestbook.shows(name):
                pictures.remove(name)
                removed += 1
    return Response(f"{removed} removed\n".encode(), "text/plain; charset=utf-8")


_ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Response]]] = [
    ("GET", re.compile(r"/"), show),
    ("POST", re.compile(r"/"), sign),
    ("GET", re.compile(r"/pictures/([^/]+)"), picture),
    ("GET", re.compile(r"/static/([^/]+)"), static),
    ("GET", re.compile(r"/_ah/warmup"), warm_up),
    ("GET", re.compile(r"/tasks/sweep"), sweep),
]


def _answer(request: Request) -> Response:
    method = "GET" if request.method == "HEAD" else request.method
    found = False
    for wanted, pattern, view in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match and wanted == method:
            return view(request, *match.groups())
        found = found or match is not None
    raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, "This address cannot do that.") if found else _NOT_FOUND


def _problem(error: BadRequest) -> Response:
    title = _TITLES.get(error.status, "Something went wrong")
    return Response(pages.message(title, str(error)), status=error.status)


def _saved_picture(form: Form, draft: Draft) -> str | None:
    """Store the form's picture, if any; a refusal is noted in the draft."""
    if "picture" not in form.files:
        return None
    try:
        return pictures.save(*form.files["picture"])
    except pictures.PictureRefused as error:
        draft.problems["picture"] = str(error)
    except OSError:
        _log.exception("a picture could not be stored")
        draft.problems["picture"] = "The picture could not be stored. Please try again, or send the note without it."
    return None


def _store(draft: Draft, picture_name: str | None) -> int:
    try:
        return guestbook.add(draft, picture_name)
    except BaseException:
        if picture_name:
            pictures.remove(picture_name)
        raise
