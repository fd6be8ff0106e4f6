"""Sessions for Django: SESSION_ENGINE = "gaeport.sessions.django".

Django's own middleware sets the cookie (SESSION_COOKIE_* and so on); this engine keeps what is in it, in the store that
gaeport.toml's `[sessions]` names.
"""

import time
from typing import Any

from django.contrib.sessions.backends.base import SessionBase, UpdateError

from gaeport import codec
from gaeport import settings as _settings
from gaeport.errors import SessionTooLarge, UnsupportedType
from gaeport.sessions.purge import purge
from gaeport.sessions.record import Change, Record
from gaeport.sessions.stores import SessionGone, Store, Stored, UnsupportedByStore, connect
from gaeport.settings import SessionSettings

_MAX_TOKEN = 3_893  # bytes; leaves 200 of a cookie's 4,093 for its name and attributes
_USER = "_auth_user_id"  # django.contrib.auth's SESSION_KEY
_stores: dict[SessionSettings, Store] = {}


def _forget() -> None:
    _stores.clear()


_settings.on_change(_forget)


class SessionStore(SessionBase):  # type: ignore[misc]  # Django comes without types
    """One session, as Django's middleware uses it.

    Only keys that changed are written, so that requests at the same time do not undo each other's changes; a change in
    place is found by comparing the stored form. django.contrib.auth's user is the session's user.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._stored: Stored | None = None

    @property
    def modified(self) -> bool:
        """Whether there is something to save: what was set, or changed in place."""
        if self._was_set or not hasattr(self, "_session_cache") or self._stored is None:
            return self._was_set
        return not self._change(_encoded(self._session_cache), self._stored.record).only_touches

    @modified.setter
    def modified(self, value: bool) -> None:
        self._was_set = value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise UnsupportedType(f"session[{key!r}]: keys are str, not {type(key).__name__}", key)
        codec.check(value, f"session[{key!r}]")
        super().__setitem__(key, value)

    def load(self) -> dict[str, Any]:
        """Read the session; an unknown or expired one is empty, under no key."""
        found = _store().load(self.session_key) if self.session_key else None
        if found is None or found.record.expired(time.time()):
            self._session_key: str | None = None
            return {}
        self._stored = found
        return {key: codec.loads(data) for key, data in found.record.values.items()}

    def exists(self, session_key: str) -> bool:
        """Tell whether there is a session of that key."""
        found = _store().load(session_key) if session_key else None
        return found is not None and not found.record.expired(time.time())

    def create(self) -> None:
        """Begin a new session, under a new key."""
        self._begin({})

    def save(self, must_create: bool = False) -> None:
        """Write what changed.

        Raises:
            UpdateError: the session ended meanwhile; Django answers that with a 400.
        """
        content = self._get_session(no_load=must_create)
        encoded = _encoded(content)
        if must_create or self._session_key is None:
            self._begin(encoded)
            return
        stored = self._stored or _store().load(self._session_key)
        if stored is None:
            raise UpdateError
        change = self._change(encoded, stored.record)
        if change.only_touches and not stored.record.touch_due(change.touched):
            return
        try:
            self._keep(_store().update(stored, change))
        except SessionGone as error:
            raise UpdateError from error

    def cycle_key(self) -> None:
        """Move the session to a new key, and end the old one: Django does so at every login."""
        content = self._session
        if self._stored is None:
            self.create()
        else:
            try:
                self._keep(_store().renew(self._stored, self._change(_encoded(content), self._stored.record)))
            except SessionGone as error:
                raise UpdateError from error
        self._session_cache = content
        self.modified = True  # for the middleware to send the new key

    def delete(self, session_key: str | None = None) -> None:
        """End a session: this one, or that of a key."""
        key = session_key or self.session_key
        if key is not None:
            _store().delete(key)

    @classmethod
    def clear_expired(cls) -> None:
        """What `manage.py clearsessions` calls; memcache and Redis end sessions by themselves."""
        try:
            purge(_store())
        except UnsupportedByStore:
            return

    # Django awaits these where views are asynchronous.
    async def aload(self) -> dict[str, Any]:
        """As `load`, in a thread."""
        return dict(await _in_thread(self.load))

    async def aexists(self, session_key: str) -> bool:
        """As `exists`, in a thread."""
        return bool(await _in_thread(self.exists, session_key))

    async def acreate(self) -> None:
        """As `create`, in a thread."""
        await _in_thread(self.create)

    async def asave(self, must_create: bool = False) -> None:
        """As `save`, in a thread."""
        await _in_thread(self.save, must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        """As `delete`, in a thread."""
        await _in_thread(self.delete, session_key)

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`, in a thread."""
        await _in_thread(cls.clear_expired)

    def _validate_session_key(self, key: str) -> bool:
        return bool(key)  # the store knows what an id looks like

    def _begin(self, encoded: dict[str, bytes]) -> None:
        now, user = time.time(), self._user(encoded)
        record = Record(now, now, self._idle(), 0, not self.get_expire_at_browser_close(), user, encoded)
        self._keep(_store().insert(record))
        self.modified = True

    def _keep(self, stored: Stored) -> None:
        if len(stored.token) > _MAX_TOKEN:
            name = "the session's cookie"
            raise SessionTooLarge(
                name, len(stored.token), _MAX_TOKEN, 'store = "datastore" keeps up to 1,000,000 bytes'
            )
        self._stored, self._session_key = stored, stored.token

    def _change(self, encoded: dict[str, bytes], record: Record) -> Change:
        put = {key: data for key, data in encoded.items() if _differs(data, record.values.get(key))}
        about: dict[str, Any] = {"idle": self._idle(), "user": self._user(encoded)}
        about = {name: value for name, value in about.items() if getattr(record, name) != value}
        return Change(time.time(), put, frozenset(record.values) - set(encoded), about)

    def _idle(self) -> int:
        return max(0, int(self.get_expiry_age()))

    def _user(self, encoded: dict[str, bytes]) -> str | None:
        return str(codec.loads(encoded[_USER])) if _USER in encoded else None


def _encoded(content: dict[str, Any]) -> dict[str, bytes]:
    return {key: codec.dumps(value, f"session[{key!r}]") for key, value in content.items()}


def _differs(data: bytes, before: bytes | None) -> bool:
    if data == before or before is None:
        return data != before
    return data != codec.dumps(codec.loads(before))  # a set's order differs from one process to the next


def _store() -> Store:
    options = _settings.current().sessions or SessionSettings()
    if options not in _stores:
        _stores[options] = connect(options)
    return _stores[options]


async def _in_thread(call: Any, *arguments: Any) -> Any:
    from asgiref.sync import sync_to_async

    return await sync_to_async(call)(*arguments)
