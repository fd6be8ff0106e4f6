"""The session as an application sees it: a mapping that is read when first used and remembers what changed."""

import datetime
import decimal
import logging
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from gaeport import codec
from gaeport.errors import SessionTooLarge, UnsupportedType
from gaeport.sessions.record import Change, Record
from gaeport.sessions.stores.base import SessionGone, Store, Stored
from gaeport.settings import SessionSettings

FLASHES = "_flashes"  # Flask's own name and form, so that its flash() and this one see the same messages
MAX_SIZE = 1_000_000  # bytes of keys and values; an entity's and a memcache value's limit
MAX_KEY = 480  # bytes of a key; written as ~XX each, they fit a property name's 1,500
MAX_USER = 1_500  # bytes; the limit of an indexed string

_IMMUTABLE = frozenset(
    {
        type(None), bool, int, float, str, bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
        uuid.UUID, decimal.Decimal,
    }
)  # fmt: skip
_log = logging.getLogger("gaeport.sessions")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the answer's cookie must say after a session was saved.

    Attributes:
        token: the cookie's new value; None removes the cookie.
        expires: seconds since 1970 until which the browser keeps it; None until it is closed.
    """

    token: str | None = field(repr=False)  # what is shown ends up in logs
    expires: float | None = None


class Session(MutableMapping[str, Any]):
    """A visitor's data, kept between requests.

    Keys are str. Values are what `gaeport.codec` keeps; anything else is refused when it is set. A list, dict or set
    that is changed in place is noticed when the session is saved, by comparing its stored form. Only keys that changed
    are written, so that requests at the same time do not undo each other's changes.
    """

    # Defaults here and dicts in _begin, since most sessions are never looked at.
    _token: str | None = None
    _loaded = False
    _used = False
    _renew = False
    _gone = False  # ended by somebody else while this request was at work
    _stored: Stored | None = None  # as read or last saved
    _ended: Stored | None = None  # invalidated; a new session takes its place
    _encoded: dict[str, bytes]  # the present content, as last looked at
    _live: dict[str, Any]  # values that were read or set, as objects
    _about: dict[str, Any]  # the record's own fields that were set

    def __init__(
        self,
        store: Store,
        options: SessionSettings,
        token: str | Callable[[], str | None] | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is read before the first use.

        Args:
            store: what keeps it.
            options: times and names.
            token: the cookie's value, or None; or what finds it, to be called when the session is first used.
            clock: seconds since 1970.
        """
        self._store = store
        self._options = options
        self._find = token
        self._clock = clock

    @property
    def accessed(self) -> bool:
        """Whether the application looked at the session or changed it."""
        return self._used

    @accessed.setter
    def accessed(self, value: bool) -> None:
        # Flask and its extensions say so themselves.
        self._used = self._used or value

    @property
    def is_new(self) -> bool:
        """Whether there was no session to continue."""
        self._load()
        return self._stored is None

    @property
    def modified(self) -> bool:
        """Whether saving would write more than the time of use."""
        if not self._loaded:
            return False
        return self._renew or self._ended is not None or not self._change().only_touches

    @modified.setter
    def modified(self, value: bool) -> None:
        # Frameworks' applications say `session.modified = True` after a change in place; here that is noticed anyway.
        self._load()

    @property
    def user(self) -> str | None:
        """Whose session it is, as `gaeport sessions list --user` and `revoke_user` know it."""
        value: str | None = self._field("user")
        return value

    @user.setter
    def user(self, value: str | None) -> None:
        self._set_field("user", _checked_user(value))

    @property
    def permanent(self) -> bool:
        """Whether the browser keeps the session when it is closed ("remember me"), up to `lifetime`."""
        return bool(self._field("permanent"))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self._set_field("permanent", bool(value))

    @property
    def idle(self) -> int:
        """Seconds without use after which this session ends."""
        return int(self._field("idle"))

    @idle.setter
    def idle(self, seconds: float | datetime.timedelta) -> None:
        self._set_field("idle", _checked_seconds("idle", seconds, 1))

    @property
    def lifetime(self) -> int:
        """Seconds after its beginning at which this session ends in any case; 0 for never."""
        return int(self._field("lifetime"))

    @lifetime.setter
    def lifetime(self, seconds: float | datetime.timedelta) -> None:
        self._set_field("lifetime", _checked_seconds("lifetime", seconds, 0))

    @property
    def created(self) -> float | None:
        """When it began, in seconds since 1970; None before a new one is saved."""
        self._load()
        return self._stored.record.created if self._stored else None

    @property
    def encoded(self) -> dict[str, bytes]:
        """The stored form of each value, as last saved."""
        return dict(self._encoded)

    def regenerate(self) -> None:
        """Give the session a new id and end the old one: at every login, so that a planted id is worth nothing."""
        self._load()
        self._renew = True

    def invalidate(self) -> None:
        """End the session. What is set afterwards begins a new one, under a new id."""
        if not self._loaded:
            self._token = self._find() if callable(self._find) else self._find
            if self._token:  # without reading it: its end needs no content
                self._ended = Stored(self._token, Record(0, 0, 0))
        self._used = True
        self._ended = self._ended or self._stored
        self._stored, self._renew = None, False
        self._begin()

    def clear(self) -> None:
        """The same as `invalidate()`: applications clear a session to log out, or before a login."""
        self.invalidate()

    def flash(self, message: str, category: str = "message") -> None:
        """Keep a message for the next page that asks for `flashes()`."""
        self[FLASHES] = [*self.get(FLASHES, []), (category, message)]

    def flashes(self, category: str | None = None) -> list[tuple[str, str]]:
        """Return the waiting messages as (category, message), and forget them.

        Args:
            category: only these; the others keep waiting.
        """
        waiting = self.get(FLASHES, [])
        taken = [item for item in waiting if category in (None, item[0])]
        left = [item for item in waiting if item not in taken]
        if taken and left:
            self[FLASHES] = left
        elif taken:
            del self[FLASHES]
        return taken

    def __getitem__(self, key: str) -> Any:
        self._load()
        if key not in self._live:
            self._live[key] = codec.loads(self._encoded[key])
        return self._live[key]

    def __setitem__(self, key: str, value: Any) -> None:
        _check_key(key)
        encoded = codec.dumps(value, f"session[{key!r}]")
        self._load()
        self._encoded[key] = encoded
        self._live[key] = value

    def __delitem__(self, key: str) -> None:
        self._load()
        del self._encoded[key]
        self._live.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(list(self._encoded))

    def __len__(self) -> int:
        self._load()
        return len(self._encoded)

    def __contains__(self, key: object) -> bool:
        self._load()
        return key in self._encoded

    def __repr__(self) -> str:
        state = f"{len(self._encoded)} keys" if self._loaded else "not read"
        return f"<Session: {state}>"  # never the id: what is shown ends up in logs

    def save(self) -> Outcome | None:
        """Write what changed.

        Returns:
            What the cookie must say, or None where it stays as it is. Saving again writes only what changed since.

        Raises:
            SessionTooLarge: the content is over the limit.
            UnsupportedType: a value was changed in place to something that is not kept.
            DatastoreError, KVUnavailable: it could not be stored.
        """
        if not self._loaded or self._gone:
            return None
        change = self._change()
        _check_size(self._encoded)
        try:
            written = self._write(change)
        except SessionGone:
            # A logout elsewhere counts; and the cookie may be another session's by now, so it is left alone.
            self._gone = True
            _log.info("a session ended while a request was changing it; the changes are dropped")
            return None
        return self._settled(written)

    def _write(self, change: Change) -> Stored | None:
        """Return what was written, or None where nothing was."""
        if self._stored is None:
            if change.put or change.about.get("user"):
                return self._store.insert(change.applied_to(self._blank()), self._ended)
            if self._ended is not None:
                self._store.delete(self._ended.token)
            return None
        if self._renew or change.about.get("user"):  # a login, also where nobody thought of regenerate()
            return self._store.renew(self._stored, change)
        if not change.only_touches or self._stored.record.touch_due(change.touched):
            return self._store.update(self._stored, change)
        return None

    def _settled(self, written: Stored | None) -> Outcome | None:
        ended, self._ended, self._renew = self._ended, None, False
        if written is None:
            if ended is None:
                return None
            self._token = None
            return Outcome(None)
        before, was_permanent = self._token, self._stored is not None and self._stored.record.permanent
        self._continue_with(written)
        if written.token == before and not written.record.permanent and not was_permanent:
            return None
        return Outcome(written.token, written.record.expires if written.record.permanent else None)

    def _continue_with(self, written: Stored) -> None:
        """Take over what is stored now; objects of keys that others changed meanwhile are dropped."""
        values = dict(written.record.values)
        for key in list(self._live):
            if values.get(key) != self._encoded.get(key):
                del self._live[key]
        self._stored, self._token, self._encoded, self._about = written, written.token, values, {}

    def _load(self) -> None:
        self._used = True
        if self._loaded:
            return
        self._token = self._find() if callable(self._find) else self._find
        found = self._store.load(self._token) if self._token else None
        self._begin()
        if found is None or found.record.expired(self._clock()):
            self._token = None  # never adopted
            return
        self._stored = found
        self._encoded = dict(found.record.values)

    def _begin(self) -> None:
        self._loaded = True
        self._encoded, self._live, self._about = {}, {}, {}

    def _change(self) -> Change:
        base = self._stored.record.values if self._stored else {}
        put = {}
        for key in self._live:  # what was neither read nor set is as it was
            data = self._current(key, base.get(key))
            if data != base.get(key):
                put[key] = data
        removed = frozenset(base.keys() - self._encoded.keys())
        about = {**self._derived_user(), **self._about}
        if about:
            present = self._stored.record if self._stored else self._blank()
            about = {name: value for name, value in about.items() if getattr(present, name) != value}
        return Change(self._clock(), put, removed, about)

    def _current(self, key: str, base: bytes | None) -> bytes:
        """Return a key's encoded value, changes in place included."""
        value = self._live[key]
        if type(value) in _IMMUTABLE:
            return self._encoded[key]
        data = codec.dumps(value, f"session[{key!r}]")
        if base is not None and data != base and data == codec.dumps(codec.loads(base)):
            return base  # a set's order differs from one process to the next
        self._encoded[key] = data
        return data

    def _derived_user(self) -> dict[str, Any]:
        key = self._options.user_key
        if key is None or "user" in self._about:
            return {}
        value = self[key] if key in self._encoded else None
        return {"user": _checked_user(None if value is None else str(value) or None)}

    def _blank(self) -> Record:
        now = self._clock()
        return Record(now, now, self._options.idle, self._options.lifetime)

    def _field(self, name: str) -> Any:
        self._load()
        if name in self._about:
            return self._about[name]
        return getattr(self._stored.record if self._stored else self._blank(), name)

    def _set_field(self, name: str, value: Any) -> None:
        self._load()
        self._about[name] = value


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise UnsupportedType(f"session[{key!r}]: keys are str, not {type(key).__name__}", key)
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY:
        raise ValueError(f"session[{key[:40]!r}…]: the key has over {MAX_KEY} bytes")


def _checked_user(value: str | None) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UnsupportedType(f"session.user must be str or None, not {type(value).__name__}: {value!r}", value)
    if value is not None and not 0 < len(value.encode("utf-8", "surrogatepass")) <= MAX_USER:
        raise ValueError(f"session.user must have 1 to {MAX_USER:,} bytes (it is indexed)")
    return value


def _checked_seconds(name: str, seconds: float | datetime.timedelta, least: int) -> int:
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    if seconds < least:
        raise ValueError(f"session.{name} = {seconds} must be at least {least} seconds")
    return int(seconds)


def _check_size(content: dict[str, bytes]) -> None:
    size = sum(map(len, content)) + sum(map(len, content.values()))
    if size > MAX_SIZE:
        raise SessionTooLarge("the session", size, MAX_SIZE, largest(content))


def largest(content: Any) -> str:
    """Return a sentence on the largest value of a session, for messages."""
    if not content:
        return "it has no values"
    key = max(content, key=lambda name: len(content[name]))
    return f"the largest value is session[{key!r}] with {len(content[key]):,} bytes"
