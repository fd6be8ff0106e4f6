"""The notes in the guest book: the NDB model and the two queries on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import ndb

MAX_AUTHOR = 60  # characters
MAX_MESSAGE = 2_000  # characters
MAX_TAGS = 5
MAX_TAG = 30  # characters; far below the 1,500 bytes that an indexed string may have
PAGE_SIZE = 10  # notes

_EPOCH = datetime(1970, 1, 1)  # naive, as NDB's times are; both mean UTC
_MICROSECOND = timedelta(microseconds=1)
_NOT_IN_TAGS = re.compile(r"[^\w-]+")


class Note(ndb.Model):  # type: ignore[misc]  # NDB is not typed
    """One note."""

    author = ndb.TextProperty()
    message = ndb.TextProperty()
    tags = ndb.StringProperty(repeated=True)
    picture = ndb.StringProperty()  # a file name in the uploads folder; indexed, for `shows`
    created = ndb.DateTimeProperty()


@dataclass(frozen=True, slots=True)
class Draft:
    """A note as it was typed, not yet checked.

    Attributes:
        author, message, tags: the fields of the form.
        problems: for each field that must be changed, a sentence for the reader.
    """

    author: str = ""
    message: str = ""
    tags: str = ""
    problems: dict[str, str] = field(default_factory=dict)

    def checked(self) -> "Draft":
        """Return the same draft, trimmed, with its problems."""
        draft = Draft(" ".join(self.author.split()), self.message.strip(), self.tags.strip())
        for name, value, limit, missing in (
            ("author", draft.author, MAX_AUTHOR, "Please tell us your name."),
            ("message", draft.message, MAX_MESSAGE, "Please write something."),
        ):
            if not value:
                draft.problems[name] = missing
            elif len(value) > limit:
                draft.problems[name] = f"Please keep it to {limit:,} characters; this is {len(value):,}."
        if problem := _problem_of(parse_tags(draft.tags)):
            draft.problems["tags"] = problem
        return draft


@dataclass(frozen=True, slots=True)
class Page:
    """One page of notes, newest first.

    Attributes:
        notes: the notes.
        older: what to pass as `before` for the next page, or None on the last.
    """

    notes: Sequence[Any]
    older: int | None


def parse_tags(text: str) -> list[str]:
    """Return the tags in a line such as "#Lisbon, food": lower case, each once, in order."""
    tags = (_NOT_IN_TAGS.sub("", part).lower() for part in re.split(r"[\s,;]+", text))
    return list(dict.fromkeys(tag for tag in tags if tag))


def add(draft: Draft, picture: str | None) -> int:
    """Store a checked draft and return its note's id. Needs an NDB context, as everything here that stores or reads."""
    note = Note(
        author=draft.author,
        message=draft.message,
        tags=parse_tags(draft.tags),
        picture=picture,
        created=datetime.now(UTC).replace(tzinfo=None),
    )
    return int(note.put().id())


def page(tag: str | None = None, before: int | None = None) -> Page:
    """Read one page.

    Args:
        tag: only notes that have it; the composite index for this is in index.yaml.
        before: microseconds since 1970; only notes older than that.
    """
    query = Note.query().order(-Note.created)
    if tag:
        query = query.filter(Note.tags == tag)
    if before is not None:
        query = query.filter(Note.created < _EPOCH + before * _MICROSECOND)
    notes = query.fetch(PAGE_SIZE + 1)
    shown = notes[:PAGE_SIZE]
    older = (shown[-1].created - _EPOCH) // _MICROSECOND if len(notes) > PAGE_SIZE else None
    return Page(shown, older)


def shows(picture: str) -> bool:
    """Tell whether any note shows an uploaded picture."""
    return Note.query(Note.picture == picture).get(keys_only=True) is not None


def _problem_of(tags: list[str]) -> str | None:
    if len(tags) > MAX_TAGS:
        return f"Please choose at most {MAX_TAGS} tags; these are {len(tags)}."
    too_long = [tag for tag in tags if len(tag) > MAX_TAG]
    if too_long:
        return f"“{too_long[0][:MAX_TAG]}…” is too long; a tag has at most {MAX_TAG} characters."
    return None
