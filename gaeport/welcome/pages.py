"""Turns notes and messages into HTML. Whatever is not made here is escaped."""

import html
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode

from gaeport import settings
from gaeport.welcome.guestbook import MAX_AUTHOR, MAX_MESSAGE, Draft, Page

_TEMPLATES = Path(__file__).parent / "templates"
_WHERE = {
    "embedded": "This one runs on your computer; what you write stays in its data folder.",
    "emulator": "This one runs on your computer, against an emulator of Google; what you write ends with it.",
    "production": "This one runs on Google App Engine.",
}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def home(page: Page, draft: Draft, *, tag: str = "", notice: str = "") -> bytes:
    """Return the guest book.

    Args:
        page: the notes to show.
        draft: what the form holds, with what is wrong with it.
        tag: the tag that the notes are filtered by, if any.
        notice: a sentence above the notes, if any.
    """
    body = _render(
        "home",
        form=_form(draft),
        heading=f"Notes tagged “{tag}”" if tag else "Notes",
        everything=Markup('<a class="quiet" href="/">Show all notes</a>') if tag else "",
        notice=_render("notice", text=notice) if notice else "",
        notes=_join(_note(note, tag) for note in page.notes) or _empty(tag),
        older=_older(page, tag),
    )
    return _layout("Guest book", body)


def message(title: str, text: str) -> bytes:
    """Return a page that says one thing and leads back."""
    return _layout(title, _render("message", title=title, text=text))


def _layout(title: str, body: Markup) -> bytes:
    where = _WHERE[settings.current().environment]
    return _render("layout", title=title, body=body, where=where).encode()


def _form(draft: Draft) -> Markup:
    values: dict[str, str] = {}
    for name in ("author", "message", "tags", "picture"):
        problem = draft.problems.get(name)
        values[f"{name}_invalid"] = Markup(f' aria-invalid="true" aria-describedby="{name}-problem"' if problem else "")
        values[f"{name}_problem"] = _render("problem", name=name, text=problem) if problem else ""
    summary = _render("summary") if draft.problems else ""
    return _render(
        "form",
        author=draft.author,
        message=draft.message,
        tags=draft.tags,
        max_author=str(MAX_AUTHOR),
        max_message=str(MAX_MESSAGE),
        summary=summary,
        **values,
    )


def _note(note: Any, current: str) -> Markup:
    picture = _render("picture", name=note.picture, author=note.author) if note.picture else ""
    tags = _join(_render("tag", tag=tag, query=_query(tag=tag), current=_current(tag == current)) for tag in note.tags)
    return _render(
        "note",
        id=str(note.key.id()),
        author=note.author,
        message=note.message,
        picture=picture,
        tags=_render("tags", tags=tags) if tags else "",
        iso=f"{note.created:%Y-%m-%dT%H:%M:%SZ}",
        date=f"{note.created.day} {note.created:%B %Y, %H:%M} UTC",
    )


def _current(yes: bool) -> Markup:
    return Markup(' aria-current="true"' if yes else "")


def _empty(tag: str) -> Markup:
    text = f"No note has the tag “{tag}” yet." if tag else "No notes yet. Yours would be the first."
    return _render("empty", text=text)


def _older(page: Page, tag: str) -> Markup:
    if page.older is None:
        return Markup()
    query = _query(tag=tag, before=str(page.older)) if tag else _query(before=str(page.older))
    return _render("older", query=query)


def _query(**arguments: str) -> str:
    return urlencode(arguments)


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def _render(template: str, /, **values: str) -> Markup:
    """Fill a template; every value that is not Markup is escaped, quotes included."""
    safe = {key: value if isinstance(value, Markup) else html.escape(value) for key, value in values.items()}
    return Markup(_template(template).substitute(safe))


@cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text("utf-8"))
