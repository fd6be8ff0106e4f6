"""Where sessions are kept: one contract (`base`), one module a store."""

from gaeport.sessions.stores.base import About, SessionGone, Store, Stored, UnsupportedByStore
from gaeport.sessions.stores.connection import connect

__all__ = ["About", "SessionGone", "Store", "Stored", "UnsupportedByStore", "connect"]
