"""HTML from the templates beside this file. Jinja2 escapes whatever a template puts in.

A page's template extends layout.html and fills its block `main`; parts.html has what pages share.
"""

import hashlib
import math
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaeport import __version__, settings
from gaeport.console.pages import PAGES
from gaeport.console.web import Request, Response

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_STATIC = {"console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def page(request: Request, template: str, *, title: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
    """Render a page.

    Args:
        request: what is answered.
        template: the name of a file in templates/.
        title: the page's title and heading.
        status: the answer's.
        **values: what the template uses; beside these it has `request`, `url`, `pages`, `title` and `config`.
    """
    html = (
        _environment()
        .get_template(template)
        .render(request=request, url=request.url, pages=PAGES, title=title, config=settings.current(), **values)
    )
    return Response(html.encode("utf-8", "replace"), status=status)


def static(name: str) -> Response | None:
    """Return the style sheet or the icon, or None."""
    if name not in _STATIC:
        return None
    # Addresses carry a hash of the content (asset()), so that what was fetched once can be kept.
    kept = ("Cache-Control", "public, max-age=31536000, immutable")
    return Response(_read(name), _STATIC[name], headers=[kept])


@cache
def asset(name: str) -> str:
    """Return the hash by which a style sheet's address changes with its content."""
    return hashlib.sha256(_read(name)).hexdigest()[:12]


@cache
def _read(name: str) -> bytes:
    return (_FOLDER / "static" / name).read_bytes()


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(ms=milliseconds, dollars=dollars, number=number, size=size, utc=utc, iso=iso)
    made.globals.update(asset=asset, version=__version__)
    return made


def milliseconds(seconds: float) -> str:
    """Return a time as people read it: "0.42 ms", "12 ms", "1.3 s"."""
    if seconds >= 1:
        return f"{seconds:,.1f} s"
    value = seconds * 1000
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def dollars(price: float) -> str:
    """Return US dollars with three digits that count, and cents at least: "$0.0000018", "$0.00346", "$1,234.50"."""
    if price <= 0:
        return "$0"
    digits = max(2, 2 - math.floor(math.log10(price)))
    text = f"{price:,.{digits}f}"
    return f"${text.rstrip('0')}" if digits > 2 else f"${text}"


def number(value: float) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def size(count: int) -> str:
    """Return a number of bytes: "812 B", "4.1 KiB", "2.0 MiB"."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1_048_576 else f"{count / 1_048_576:,.1f} MiB"


def utc(seconds: float) -> str:
    """Return a time, given in seconds since 1970: "22 Nov 2026, 23:40:05"."""
    return f"{datetime.fromtimestamp(seconds, UTC):%d %b %Y, %H:%M:%S}"


def iso(seconds: float) -> str:
    """Return a time, given in seconds since 1970, as HTML's `datetime` wants it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
