"""The session's cookie: its name, how it is found in a request, how it is set and removed."""

from collections.abc import Mapping
from typing import Any

from gaeport.errors import SessionTooLarge
from gaeport.sessions.session import Outcome
from gaeport.settings import SessionSettings

MAX_COOKIE = 4_093  # bytes with name and attributes; what every browser keeps (some count to 4,096)
_EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def is_https(environ: Mapping[str, Any], options: SessionSettings, production: bool) -> bool:
    """Tell whether the visitor came by HTTPS.

    Args:
        environ: the request.
        options: `secure` decides where it is set.
        production: whether App Engine's front end, which sets these headers itself, is before us.
    """
    if options.secure is not None:
        return options.secure
    if production and (environ.get("HTTP_X_APPENGINE_HTTPS") == "on" or _forwarded(environ) == "https"):
        return True
    return bool(environ.get("wsgi.url_scheme") == "https")


def _forwarded(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_X_FORWARDED_PROTO", "")).rpartition(",")[2].strip()


def name_of(options: SessionSettings, https: bool) -> str:
    """Return the cookie's name: browsers take "__Host-…" only from this host, over HTTPS, for all its paths."""
    return f"__Host-{options.cookie}" if https else options.cookie


def read(header: str, name: str) -> str | None:
    """Return the first value of a cookie in a request's Cookie header, or None."""
    for part in header.split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key == name:
            return value.strip().strip('"')
    return None


def header(options: SessionSettings, outcome: Outcome, https: bool, now: float, largest: str = "") -> str:
    """Return the value of a Set-Cookie header.

    Args:
        options: name and attributes.
        outcome: what the cookie must say.
        https: whether the visitor came by HTTPS.
        now: seconds since 1970.
        largest: what fills it, for the message.

    Raises:
        SessionTooLarge: browsers would drop it.
    """
    name = name_of(options, https)
    attributes = f"; Path=/; HttpOnly; SameSite={options.samesite}" + ("; Secure" if https else "")
    if outcome.token is None:
        return f"{name}=; Expires={_EPOCH}; Max-Age=0{attributes}"
    age = "" if outcome.expires is None else f"; Max-Age={max(0, int(outcome.expires - now))}"
    text = f"{name}={outcome.token}{age}{attributes}"
    if len(text) > MAX_COOKIE:
        remedy = f'{largest}; store = "datastore" keeps up to 1,000,000 bytes'
        raise SessionTooLarge(f"the session cookie {name!r}", len(text), MAX_COOKIE, remedy.removeprefix("; "))
    return text
