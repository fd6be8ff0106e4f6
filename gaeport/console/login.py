"""Logging in and out."""

import logging
from http import HTTPStatus
from urllib.parse import urlsplit

from gaeport import settings
from gaeport.console import access, attempts, logins, passwords, signing
from gaeport.console.rendering import page
from gaeport.console.web import Refused, Request, Response, is_for_console, redirect

_log = logging.getLogger("gaeport.console")

_WRONG = "That is not the password."
_STALE = "This form was open for too long, or came from somewhere else. Please try again."


def show(request: Request, *, after: str, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return the login form.

    Args:
        request: what is answered.
        after: the address to go on to.
        problem: what was wrong with the last try.
        status: the answer's.
    """
    request.token = signing.sign("form", logins.form_secret(request))
    return page(request, "login.html", title="Log in", status=status, after=after, problem=problem)


def submit(request: Request) -> Response:
    """Take the login form: the one form that needs no login.

    Raises:
        Refused: too many tries.
        DatastoreError: tries cannot be counted, so nobody may try.
    """
    after = _checked(request, request.form.get("next", ""))
    secret, token = logins.form_secret(request), request.form.get("csrf", "")
    if not (access.is_own_form(request.environ) and signing.is_signed("form", secret, token)):
        return show(request, after=after, problem=_STALE, status=HTTPStatus.FORBIDDEN)
    config = settings.current()
    address, device = access.address(request.environ, config), logins.device(request)
    wait = attempts.allow(address, device)
    if wait:
        _log.warning("too many tries of the console's password, from %s", address)
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many tries",
            f"The password was tried too often. Try again in {_words(wait)}.",
            ("Retry-After", str(wait)),
        )
    if not passwords.matches(request.form.get("password", ""), config.console.password_hash or ""):
        _log.warning("a wrong password for the console, from %s", address)
        return show(request, after=after, problem=_WRONG, status=HTTPStatus.FORBIDDEN)
    attempts.forget(address, device)
    logins.begin(request)
    _log.info("somebody logged in to the console, from %s", address)
    return redirect(after)


def _checked(request: Request, address: str) -> str:
    """Return an address to go on to if it is the console's own, else the overview's."""
    parts = urlsplit(address)
    prefix = request.url()[: -len("/_gaeport/")]
    plain = not parts.scheme and not parts.netloc and address.isascii() and address.isprintable()
    below = parts.path.removeprefix(prefix)
    straight = "\\" not in address and "//" not in parts.path and ".." not in parts.path.split("/")
    if plain and straight and parts.path.startswith(prefix) and is_for_console(below):
        return address
    return request.url()


def _words(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{(seconds + 59) // 60} minutes"
