"""Sessions for Flask: `app.session_interface = gaeport.sessions.flask.SessionInterface()`."""

import datetime
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import sessions as flask_sessions

from gaeport import settings as _settings
from gaeport.sessions import cookies
from gaeport.sessions.session import Session, largest
from gaeport.sessions.stores import Store, connect
from gaeport.settings import SessionSettings, session_settings

if TYPE_CHECKING:
    from flask import Flask, Request, Response

_FLASK_LIFETIME = datetime.timedelta(days=31)  # PERMANENT_SESSION_LIFETIME where the application says nothing


class FlaskSession(Session, flask_sessions.SessionMixin):  # type: ignore[misc]  # both are mappings, with one meaning
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
        self._chosen = store
        self._options = options
        self._clock = clock
        self._by_app: dict[int, tuple[SessionSettings, Store]] = {}

    def open_session(self, app: "Flask", request: "Request") -> FlaskSession:
        """Return the request's session; it is read when first used."""
        options, store = self._of(app)
        name = cookies.name_of(options, self._https(request, options))
        return self.session_class(store, options, cookies.read(request.environ, name), self._clock)

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
            options = _with_config(self._given, {*self._options}, app.config)
            store = self._chosen if self._chosen and not isinstance(self._chosen, str) else connect(options, self._clock)
            found = self._by_app[id(app)] = (options, store)
        return found

    @staticmethod
    def _checked(store: str | Store | None, options: dict[str, Any]) -> SessionSettings:
        configured = _settings.current().sessions
        if store is None and not options and configured is not None:
            return configured
        named = {"store": store} if isinstance(store, str) else {}
        return session_settings({"user_key": "_user_id", **options, **named}, place="SessionInterface()")


def _with_config(settings: SessionSettings, given: set[str], config: Any) -> SessionSettings:
    """Return the settings with app.config's put in where nothing was given."""
    from dataclasses import replace

    found: dict[str, Any] = {
        "cookie": config.get("SESSION_COOKIE_NAME"),
        "samesite": config.get("SESSION_COOKIE_SAMESITE"),
        "secure": config.get("SESSION_COOKIE_SECURE") or None,  # Flask's default is False: as the request came
    }
    lifetime = config.get("PERMANENT_SESSION_LIFETIME")
    if lifetime not in (None, _FLASK_LIFETIME):
        seconds = lifetime.total_seconds() if isinstance(lifetime, datetime.timedelta) else lifetime
        found["lifetime"] = int(seconds)
    changes = {name: value for name, value in found.items() if value and name not in given}
    if settings == _settings.current().sessions:
        changes = {name: value for name, value in changes.items() if name == "lifetime"} if not settings.lifetime else {}
    return replace(settings, **changes)
