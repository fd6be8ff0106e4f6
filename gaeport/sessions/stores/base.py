"""The contract of session stores."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from gaeport.errors import GaeportError
from gaeport.sessions.record import Change, Record

_ID = re.compile(r"[0-9A-Za-z_-]{43}")


class SessionGone(GaeportError):
    """A session ended while a request was changing it; the change is dropped, so that a logout is not undone."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as it was read or written.

    Attributes:
        token: what the cookie carries.
        record: the content.
        handle: what the store needs for a compare-and-set.
    """

    token: str = field(repr=False)  # what is shown ends up in logs
    record: Record
    handle: Any = None


@dataclass(frozen=True, slots=True)
class About:
    """A stored session, for lists.

    Attributes:
        name: the SHA-256 of its id in hexadecimal; the id itself is not stored.
        user: whose it is.
        created, touched, expires: seconds since 1970.
    """

    name: str
    user: str | None
    created: float
    touched: float
    expires: float


class Store(Protocol):
    """What keeps sessions. A token is what the cookie carries; it comes from outside and may be anything."""

    def load(self, token: str) -> Stored | None:
        """Return the session, or None: unknown, malformed, forged. Expiry is the caller's to check."""
        ...

    def insert(self, record: Record, replacing: Stored | None = None) -> Stored:
        """Store a new session under a new token; `replacing` ends at the same moment."""
        ...

    def update(self, stored: Stored, change: Change) -> Stored:
        """Apply a change to what is there by now, key by key. Raises SessionGone."""
        ...

    def renew(self, stored: Stored, change: Change) -> Stored:
        """Apply a change and move the session to a new token; the old one is gone. Raises SessionGone."""
        ...

    def delete(self, token: str) -> None:
        """End a session; one that is not there is no error."""
        ...

    def of_user(self, user: str) -> Iterator[About]:
        """Yield the sessions of a user, expired ones included. Raises UnsupportedByStore."""
        ...

    def every(self) -> Iterator[About]:
        """Yield every session, expired ones included. Raises UnsupportedByStore."""
        ...

    def revoke(self, names: Iterable[str]) -> int:
        """End sessions by name; return how many were asked for. Raises UnsupportedByStore."""
        ...


class UnsupportedByStore(GaeportError):
    """A session store cannot do this; the message says which can."""


def new_id() -> str:
    """Return 256 random bits as 43 characters."""
    return secrets.token_urlsafe(32)


def is_id(token: str) -> bool:
    """Tell whether a token has the form of an id; anything else is refused before any call."""
    return _ID.fullmatch(token) is not None


def name_of(session_id: str) -> str:
    """Return the name that a session is stored under, from which its id cannot be found."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def about(name: str, record: Record) -> About:
    """Return what lists show of a session."""
    return About(name, record.user, record.created, record.touched, record.expires)
