"""The handler that App Engine's cron calls: it removes expired sessions."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from gaeport import settings as _settings
from gaeport.sessions.purge import purge
from gaeport.sessions.stores import UnsupportedByStore, connect
from gaeport.settings import SessionSettings

SECONDS = 540.0  # App Engine gives a request ten minutes; the next run goes on

# Cron requests come from these addresses, which the front end puts into X-Appengine-User-Ip. So whoever sends
# X_Appengine_Cron (which the front end does not strip, and WSGI cannot tell apart) is known by his own address.
_CRON_ADDRESSES = ("0.1.0.1", "0.1.0.2")

_log = logging.getLogger("gaeport.sessions")


def is_cron(environ: dict[str, Any]) -> bool:
    """Tell whether App Engine's cron sent a request: by a header that only App Engine can set."""
    if environ.get("HTTP_X_APPENGINE_CRON") != "true":
        return False
    return environ.get("HTTP_X_APPENGINE_USER_IP", _CRON_ADDRESSES[0]) in _CRON_ADDRESSES


def sessions_purge(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request: 200 with what was removed, 403 to anyone but cron, 405 to methods but GET."""
    if not is_cron(environ):
        return _answer(start_response, "403 Forbidden", "only App Engine's cron may call this")
    if environ.get("REQUEST_METHOD") != "GET":
        return _answer(start_response, "405 Method Not Allowed", "cron sends GET", ("Allow", "GET"))
    try:
        done = purge(connect(_settings.current().sessions or SessionSettings()), seconds=SECONDS)
    except UnsupportedByStore as error:
        return _answer(start_response, "200 OK", f"nothing to do: {error}")
    rest = "" if done.complete else "; the next run goes on"
    text = f"{done.removed} of {done.seen} sessions had expired and were removed{rest}"
    _log.info("%s", text)
    return _answer(start_response, "200 OK", text)


def _answer(start_response: Callable[..., Any], status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
    body = f"{text}\n".encode()
    base = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*base, ("Cache-Control", "no-store"), *headers])
    return [body]
