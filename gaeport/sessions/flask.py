"""Sessions for Flask: `app.session_interface = gaeport.sessions.flask.SessionInterface()`."""

import datetime
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import sessions as flask_sessions

from gaeport import settings as _settings
from gaeport.sessions import cookies
from gaeport.sessions.session import Session, largest
from gaeport.sessions.stores import Store, connect
from gaeport.settings import SessionSettings, session_settings

if TYPE_CHECKING:
    from flask import Flask, Request, Response

_FLASK_DEFAULTS: dict[str, Any] = {
    "SESSION_COOKIE_NAME": "session",
    "SESSION_COOKIE_SAMESITE": None,
    "SESSION_COOKIE_SECURE": False,
    "PERMANENT_SESSION_LIFETIME": datetime.timedelta(days=31),
}
_BY_FLASK = {
    "SESSION_COOKIE_NAME": "cookie",
    "SESSION_COOKIE_SAMESITE": "samesite",
    "SESSION_COOKIE_SECURE": "secure",
    "PERMANENT_SESSION_LIFETIME": "lifetime",
}


class FlaskSession(Session, flask_sessions.SessionMixin):
    """A session with the attributes that Flask and its extensions look at."""

    @property
    def new(self) -> bool:
        """Whether there was no session to continue."""
        return self.is_new

    @new.setter
    def new(self, value: bool) -> None:
        """Leave it: whether it is new is known."""


class SessionInterface(flask_sessions.SessionInterface):
    """Keeps Flask's sessions in one of gaeport's stores.

    SESSION_COOKIE_NAME, SESSION_COOKIE_SAMESITE, SESSION_COOKIE_SECURE and PERMANENT_SESSION_LIFETIME of app.config
    count where the options here say nothing. Flask-Login's user (`_user_id`) is the session's user, so that
    `gaeport sessions list --user` finds it.
    """

    session_class = FlaskSession

    def __init__(
        self, store: str | Store | None = None, *, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        """Prepare; nothing is called before the first session is used.

        Args:
            store: as for `SessionMiddleware`; by default gaeport.toml's `[sessions]`, else "datastore".
            clock: seconds since 1970.
            **options: the other keys of `[sessions]`.

        Raises:
            ConfigurationError: an option is unknown or has an impossible value.
        """
        self._given = self._checked(store, options)
        self._store = store
        self._options = options
        self._clock = clock
        self._by_app: dict[int, tuple[SessionSettings, Store]] = {}

    def open_session(self, app: "Flask", request: "Request") -> FlaskSession:
        """Return the request's session; it is read when first used."""
        options, store = self._of(app)
        name = cookies.name_of(options, self._https(request, options))
        token = cookies.read(request.environ.get("HTTP_COOKIE", ""), name)
        return self.session_class(store, options, token, self._clock)

    def save_session(self, app: "Flask", session: Any, response: "Response") -> None:
        """Save the session and set its cookie."""
        from flask import request

        options, _ = self._of(app)
        outcome = session.save()
        if session.accessed:
            response.vary.add("Cookie")
        if outcome is not None:
            https = self._https(request, options)
            text = cookies.header(options, outcome, https, self._clock(), largest(session.encoded))
            response.headers.add("Set-Cookie", text)

    def _https(self, request: "Request", options: SessionSettings) -> bool:
        # Not request.is_secure: SESSION_COOKIE_SECURE and App Engine's front end have a say.
        production = _settings.current().environment == "production"
        return cookies.is_https(request.environ, options, production)

    def _of(self, app: "Flask") -> tuple[SessionSettings, Store]:
        found = self._by_app.get(id(app))
        if found is None:
            options = _with_config(self._given, self._options, app.config)
            made = self._store is None or isinstance(self._store, str)
            store: Any = connect(options, self._clock) if made else self._store
            found = self._by_app[id(app)] = (options, store)
        return found

    @staticmethod
    def _checked(store: str | Store | None, options: dict[str, Any]) -> SessionSettings:
        configured = _settings.current().sessions
        if store is None and not options and configured is not None:
            return configured
        named = {"store": store} if isinstance(store, str) else {}
        return session_settings({"user_key": "_user_id", **options, **named}, place="SessionInterface()")


def _with_config(settings: SessionSettings, given: Collection[str], config: Mapping[str, Any]) -> SessionSettings:
    """Return the settings, with what an application changed of Flask's defaults where no option was given."""
    changed = {
        _BY_FLASK[key]: config[key] for key, default in _FLASK_DEFAULTS.items() if config.get(key, default) != default
    }
    lifetime = changed.get("lifetime")
    if isinstance(lifetime, datetime.timedelta):
        changed["lifetime"] = int(lifetime.total_seconds())
    return replace(settings, **{name: value for name, value in changed.items() if name not in given})
