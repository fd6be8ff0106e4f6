"""From the settings to a store: `connect`."""

import hashlib
import os
import time
from collections.abc import Callable

from gaeport import kv
from gaeport import settings as _settings
from gaeport.kv import KV
from gaeport.sessions.keys import FixedKeys, Keyring, StoredKeys
from gaeport.sessions.stores.base import Store
from gaeport.sessions.stores.cached import CachedStore
from gaeport.sessions.stores.cookie import CookieStore
from gaeport.sessions.stores.datastore import DatastoreStore
from gaeport.sessions.stores.kv import KVStore
from gaeport.settings import SessionSettings

_LOCAL = "memory://gaeport-sessions"  # shared by all stores of this process
_BUNDLED = "appengine://"
_LONGEST = 80  # characters of a namespace, so that "sessions" and a key fit behind it


def connect(options: SessionSettings, clock: Callable[[], float] = time.time) -> Store:
    """Return the store that the settings name. Nothing is called before its first use.

    Args:
        options: the `[sessions]` table.
        clock: seconds since 1970.

    Raises:
        ConfigurationError: `url` is wrong.
        MissingExtraError: the store's client library is not installed.
    """
    if options.store == "cookie":
        return CookieStore(keyring(options, clock))
    if options.store == "datastore":
        return DatastoreStore()
    if options.store == "memcache+datastore":
        return CachedStore(DatastoreStore(), _kv(options), options.cache_ttl, clock)
    return KVStore(_kv(options), clock)


def keyring(options: SessionSettings, clock: Callable[[], float] = time.time) -> Keyring:
    """Return the signing keys: those of the settings, else those in Datastore."""
    return FixedKeys(options.keys) if options.keys else StoredKeys(clock=clock)


def _kv(options: SessionSettings) -> KV:
    config = _settings.current()
    on_app_engine = os.environ.get("GAE_ENV") == "standard"  # the bundled memcache is not reached from elsewhere
    url = options.url or (_BUNDLED if on_app_engine else _LOCAL)
    namespace = config.own_namespace
    if len(namespace) > _LONGEST:
        namespace = f"gaeport.{hashlib.sha256(namespace.encode()).hexdigest()[:32]}"
    return kv.connect(url, namespace=f"{namespace}/sessions")
