"""What a visitor sees of an error: a ticket's number, as HTML, JSON or text, whichever the request accepts."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

PLACEHOLDER = "{ticket}"

#: Makes a page of an application's own from the WSGI environment and the number: (content type, text).
PageMaker = Callable[[dict[str, Any], str], tuple[str, str]]

_HTML, _JSON, _TEXT = "text/html", "application/json", "text/plain"
_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Error</title>
<style>
body {{ display: grid; place-content: center; min-height: 90vh; font: 1.1rem/1.6 system-ui, sans-serif; margin: 1rem }}
code {{ font-size: 1.2em; overflow-wrap: anywhere }}
</style>
<main>
<h1>Something went wrong</h1>
<p>Ticket <code>{PLACEHOLDER}</code></p>
</main>
</html>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer.

    Attributes:
        headers: as start_response takes them.
        body: what is sent; empty for HEAD.
    """

    headers: list[tuple[str, str]]
    body: bytes


def make(environ: dict[str, Any], number: str, file: Path | None = None, maker: PageMaker | None = None) -> Page:
    """Return the page of a ticket.

    Args:
        environ: the request's WSGI environment.
        number: the ticket's number.
        file: the application's own HTML page, in which {ticket} stands for the number. Where it cannot be read, the
            built-in page is sent: an error page must not fail.
        maker: makes the whole page instead; where it raises, the built-in page is sent.
    """
    content_type, text = _own(environ, number, maker) or _standard(environ, number, file)
    body = text.encode("utf-8", "replace")
    if "charset" not in content_type and content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Page(headers, b"" if environ.get("REQUEST_METHOD") == "HEAD" else body)


def accepted(header: str) -> str:
    """Return the content type that an Accept header prefers: HTML, JSON or text; text where it does not say.

    Source: RFC 9110, section 12.5.1.
    """
    best, quality = _TEXT, 0.0
    for item in header[:1_000].split(","):
        name, _, parameters = item.partition(";")
        kind = _kind(name.strip().lower())
        wanted = _quality(parameters)
        if kind and wanted > quality:
            best, quality = kind, wanted
    return best


def _own(environ: dict[str, Any], number: str, maker: PageMaker | None) -> tuple[str, str] | None:
    if maker is None:
        return None
    try:
        return maker(environ, number)
    except Exception:  # noqa: BLE001 (the page of an error must not fail: the visitor gets the built-in one)
        return None


def _standard(environ: dict[str, Any], number: str, file: Path | None) -> tuple[str, str]:
    kind = accepted(environ.get("HTTP_ACCEPT", ""))
    if kind == _JSON:
        return kind, json.dumps({"error": "internal error", "ticket": number}) + "\n"
    if kind == _TEXT:
        return kind, f"Something went wrong.\nTicket {number}\n"
    return kind, _template(file).replace(PLACEHOLDER, escape(number))


def _template(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text("utf-8")
        except (OSError, ValueError):
            return _PAGE
    return _PAGE


def _kind(name: str) -> str:
    if name in (_HTML, "application/xhtml+xml"):
        return _HTML
    if name == _JSON or name.endswith("+json"):
        return _JSON
    return _TEXT if name == _TEXT else ""


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
