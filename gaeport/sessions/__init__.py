"""Sessions: a middleware for any WSGI application, an interface for Flask, an engine for Django, a store for web2py."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaeport.sessions.middleware import SessionMiddleware
    from gaeport.sessions.session import Session
    from gaeport.sessions.tables import web2py
    from gaeport.sessions.users import revoke_user, sessions_of

__all__ = ["Session", "SessionMiddleware", "revoke_user", "sessions_of", "web2py"]

_HOMES = {
    "Session": "session",
    "SessionMiddleware": "middleware",
    "revoke_user": "users",
    "sessions_of": "users",
    "web2py": "tables",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"gaeport.sessions.{_HOMES[name]}"), name)
    if name in ("django", "flask"):
        return import_module(f"gaeport.sessions.{name}")
    raise AttributeError(f"module 'gaeport.sessions' has no attribute {name!r}")
