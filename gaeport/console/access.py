"""Who may come at all: over HTTPS, or from this very machine. What a visitor can write into a header proves nothing."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gaeport.settings import Settings

# A proxy on this machine makes everybody's requests look local; it adds one of these.
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED", "HTTP_VIA")


def is_https(environ: Mapping[str, Any], config: Settings) -> bool:
    """Tell whether the visitor came by HTTPS.

    On App Engine only its front end's own headers count, and only where they say one thing: WSGI joins a header that a
    visitor sent under another spelling (X_Appengine_Https) to the front end's with a comma. Servers let other headers
    decide `wsgi.url_scheme`, so it counts elsewhere only.
    """
    if config.environment == "production":
        told = environ.get("HTTP_X_APPENGINE_HTTPS")
        return bool(told == "on" if told is not None else environ.get("HTTP_X_FORWARDED_PROTO") == "https")
    return bool(environ.get("wsgi.url_scheme") == "https")


def is_local(environ: Mapping[str, Any], config: Settings) -> bool:
    """Tell whether the request was made on this machine, to a name of this machine.

    The name counts because a web site can point its own name at 127.0.0.1 and have a browser here send requests.
    """
    if config.environment == "production" or any(name in environ for name in _FORWARDED):
        return False
    return _is_loopback(str(environ.get("REMOTE_ADDR", ""))) and _is_own_name(str(environ.get("HTTP_HOST", "")))


def is_own_form(environ: Mapping[str, Any]) -> bool:
    """Tell whether, by the browser's own word, a form was sent from this site's pages. The token proves it."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = environ.get("HTTP_ORIGIN")
    return origin is None or urlsplit(str(origin)).netloc == environ.get("HTTP_HOST")


def address(environ: Mapping[str, Any], config: Settings) -> str:
    """Return the network that guesses are counted by: an IPv4 address, or the /64 that one household has of IPv6."""
    told = environ.get("REMOTE_ADDR", "")
    if config.environment == "production":
        told = environ.get("HTTP_X_APPENGINE_USER_IP", told)
    try:
        found = ipaddress.ip_address(str(told).strip())
    except ValueError:
        return "unknown"  # all who come without a valid address share one allowance
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _is_loopback(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _is_own_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
