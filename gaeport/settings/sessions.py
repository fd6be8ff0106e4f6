"""`[sessions]`: what keeps visitors' sessions, and for how long."""

import os
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check

MIN_SESSION_KEY = 32  # characters; half of the 256 bits of an HMAC-SHA256 key, written in hexadecimal

SessionStore = Literal["cookie", "datastore", "memcache", "redis", "memcache+datastore"]
SameSite = Literal["Lax", "Strict", "None"]

_EXAMPLE_URLS = {"memcache": "memcached://10.0.0.3:11211", "redis": "redis://10.0.0.3:6379/0"}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The `[sessions]` table of gaeport.toml.

    Attributes:
        store: what keeps the sessions.
        url: the key-value store of "memcache", "redis" and "memcache+datastore", as `gaeport.kv.connect` takes it.
        cookie: the cookie's name; under HTTPS "__Host-" is put before it.
        samesite: whether the cookie goes along with requests that other sites cause.
        secure: whether the cookie is for HTTPS only; None: as the request came.
        idle: seconds without use after which a session ends.
        lifetime: seconds after its beginning at which a session ends in any case; 0 for never. A permanent session
            ("remember me") ends only then.
        cache_ttl: seconds that the cache of "memcache+datastore" is trusted.
        keys: signing keys of the cookie store; the first signs, all count. None: made once and kept in Datastore.
        user_key: the session's key whose value says whose session it is.
    """

    store: SessionStore = "datastore"
    url: str | None = None
    cookie: str = "session"
    samesite: SameSite = "Lax"
    secure: bool | None = None
    idle: Annotated[int, "of seconds"] = 86_400
    lifetime: Annotated[int, "of seconds"] = 2_592_000
    cache_ttl: Annotated[int, "of seconds"] = 60
    keys: tuple[str, ...] = ()
    user_key: str | None = None


def session_settings(table: object, *, place: str = "sessions") -> SessionSettings:
    """Check a `[sessions]` table, or the keyword arguments of a session middleware, and return it frozen.

    Args:
        table: the keys of `[sessions]`; those that are None count as not given.
        place: where the table came from, for messages.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    given = as_table(table, "sessions", place)
    values = {key: value for key, value in given.items() if value is not None}
    check(values, SessionSettings, place, "[sessions]")
    keys = values.pop("keys", None) or _listed_keys(os.environ.get("GAEPORT_SESSION_KEYS", ""))
    settings = SessionSettings(keys=tuple(keys), **values)
    problem = _problem(settings)
    if problem:
        raise ConfigurationError(f"{place}: [sessions]: {problem}")
    return settings


def _listed_keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


def _problem(settings: SessionSettings) -> str | None:
    """Return what is wrong with a session's settings, in words, or None."""
    if settings.samesite == "None" and settings.secure is False:
        return 'samesite = "None" needs HTTPS; browsers refuse it beside secure = false'
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", settings.cookie) or settings.cookie.startswith("__"):
        return f'cookie = {settings.cookie!r} must be a name of letters, digits, "-" and "_" ("__Host-" is added)'
    for name, least in (("idle", 1), ("lifetime", 0), ("cache_ttl", 1)):
        if getattr(settings, name) < least:
            return f"{name} = {getattr(settings, name)} must be at least {least} seconds"
    if settings.url is None and settings.store in ("memcache", "redis"):
        return f'store = "{settings.store}" needs url, e.g. url = "{_EXAMPLE_URLS[settings.store]}"'
    if any(not isinstance(key, str) or len(key) < MIN_SESSION_KEY for key in settings.keys):
        return (
            f"keys must be strings of at least {MIN_SESSION_KEY} characters; make one with "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return None
