"""The way into the console: over HTTPS or from this machine, logged in, and with each form's token."""

import logging
from collections.abc import Iterable
from http import HTTPStatus

from gaeport import settings
from gaeport.console import access, login, logins, pages, rendering, signing
from gaeport.console.web import Environ, Refused, Request, Response, StartResponse, not_found, redirect
from gaeport.errors import DatastoreError

_log = logging.getLogger("gaeport.console")

_INSECURE = (
    "The console opens over HTTPS only, and on the machine itself at http://localhost: the password and what the pages "
    "show must not be readable on the way."
)
_FORGED = "The form did not come from this console, or you have logged in anew since. Go back, reload, and try again."


def is_on() -> bool:
    """Tell whether there is a console: gaeport.toml has a password's hash."""
    return settings.current().console.password_hash is not None


def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a request to the console, a WSGI application."""
    request = Request(environ)
    return _guarded(request).send(request, start_response)


def _guarded(request: Request) -> Response:
    try:
        return _answer(request)
    except Refused as refused:
        return _message(request, refused)
    except DatastoreError as error:
        _log.exception("the console could not reach Datastore")
        text = f"Datastore did not answer as it should ({error.code}). Try again in a moment."
        return _message(request, Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Not available", text))
    except Exception:  # noqa: BLE001  # logged, and told; the console's faults are no visitor's
        _log.exception("the console could not answer %s", request.path)
        text = "Something is wrong with this page of the console. The log says what."
        return _message(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong", text))


def _answer(request: Request) -> Response:
    config = settings.current()
    request.https = access.is_https(request.environ, config)
    if not request.https and not access.is_local(request.environ, config):
        raise Refused(HTTPStatus.FORBIDDEN, "HTTPS only", _INSECURE)
    if request.method not in ("GET", "HEAD", "POST"):
        allowed = ("Allow", "GET, HEAD, POST")
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Not allowed", "Pages are read and forms are sent here.", allowed)
    if request.page == "static":
        return _static(request)
    if request.method == "POST":
        request.read_form()
    if request.path == "login" and request.method == "POST":
        return login.submit(request)
    found = logins.find(request)
    if found is None:
        return _to_login(request)
    return _inside(request, found)


def _static(request: Request) -> Response:
    found = rendering.static(request.rest)
    if found is None:
        raise not_found()
    return found


def _to_login(request: Request) -> Response:
    if request.method == "POST":
        raise Refused(HTTPStatus.FORBIDDEN, "Logged out", "You are not logged in any more. Log in, and try again.")
    if request.path == "login":
        return login.show(request, after=request.argument("next") or request.url())
    return redirect(request.url("login", next=request.here()))


def _inside(request: Request, found: logins.Login) -> Response:
    """Answer somebody who has logged in."""
    request.signed_in = True
    request.token = signing.sign("csrf", found.token)
    if request.method == "POST":
        _check_token(request, found)
    if request.path == "login":
        return redirect(request.url())
    if request.path == "logout" and request.method == "POST":
        logins.end(request, found)
        return redirect(request.url("login"))
    page = pages.find(request.page)
    if page is None:
        raise not_found()
    return page.answer(request)


def _check_token(request: Request, found: logins.Login) -> None:
    token = request.form.get("csrf", "")
    if not (access.is_own_form(request.environ) and signing.is_signed("csrf", found.token, token)):
        raise Refused(HTTPStatus.FORBIDDEN, "Not taken", _FORGED)


def _message(request: Request, refused: Refused) -> Response:
    made = rendering.page(request, "message.html", title=refused.title, status=refused.status, text=str(refused))
    made.headers += refused.headers
    return made
