"""Sessions in Flask, and Flask-Session's own file-system cache in a mount beside them."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask

import gaeport
from gaeport import meter, settings
from gaeport.sessions import flask as gaeport_flask
from gaeport.sessions import revoke_user, sessions_of


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")


def shop() -> Flask:
    """A Flask application as its author wrote it."""
    app = Flask("shop")
    app.secret_key = "not used by gaeport"

    @app.get("/")
    def start() -> dict[str, Any]:
        return {"user": flask.session.get("_user_id"), "basket": flask.session.get("basket", [])}

    @app.get("/static-page")
    def page() -> str:
        return "no session here"

    @app.get("/buy/<thing>")
    def buy(thing: str) -> str:
        flask.session.setdefault("basket", []).append(thing)
        flask.flash(f"{thing} bought", "info")
        return "ok"

    @app.get("/messages")
    def messages() -> list[Any]:
        return [list(item) for item in flask.get_flashed_messages(with_categories=True)]

    @app.get("/login")
    def login() -> str:
        flask.session.clear()
        flask.session["_user_id"] = "7"
        flask.session.permanent = True
        return "ok"

    @app.get("/logout")
    def logout() -> str:
        flask.session.clear()
        return "ok"

    return app


@pytest.mark.parametrize("store", ["datastore", "memcache+datastore", "memcache", "cookie"])
def test_an_unchanged_application_works_with_one_line(store: str) -> None:
    app = shop()
    app.session_interface = gaeport_flask.SessionInterface(store, url="memory://")
    browser = app.test_client()
    browser.get("/buy/tea")
    browser.get("/buy/milk")
    assert browser.get("/").json == {"user": None, "basket": ["tea", "milk"]}
    assert browser.get("/messages").json == [["info", "tea bought"], ["info", "milk bought"]]
    assert browser.get("/messages").json == []
    answer = browser.get("/login")
    assert re.search("Max-Age=(2592000|2591999);", answer.headers["Set-Cookie"])
    assert browser.get("/").json == {"user": "7", "basket": []}
    assert "Max-Age=0" in browser.get("/logout").headers["Set-Cookie"]
    assert browser.get("/").json == {"user": None, "basket": []}


def test_budgets_hold_in_flask() -> None:
    app = shop()
    app.session_interface = gaeport_flask.SessionInterface()
    browser = app.test_client()
    browser.get("/buy/tea")
    for path, wanted in [
        ("/static-page", {}),
        ("/", {"Lookup": 1}),
        ("/buy/milk", {"Lookup": 1, "Commit": 1}),
    ]:
        with meter.measure() as counts:
            answer = browser.get(path)
        assert counts.calls == wanted
        assert ("Cookie" in answer.headers.get("Vary", "")) == bool(wanted)


def test_flask_logins_user_is_the_sessions_user() -> None:
    app = shop()
    app.session_interface = gaeport_flask.SessionInterface()
    browser = app.test_client()
    browser.get("/login")
    assert [about.user for about in sessions_of("7")] == ["7"]
    assert revoke_user("7") == 1
    assert browser.get("/").json == {"user": None, "basket": []}


def test_app_config_counts_where_no_option_does() -> None:
    app = shop()
    app.config.update(SESSION_COOKIE_NAME="sid", SESSION_COOKIE_SAMESITE="Strict", PERMANENT_SESSION_LIFETIME=3600)
    app.session_interface = gaeport_flask.SessionInterface()
    text = app.test_client().get("/login").headers["Set-Cookie"]
    assert text.startswith("sid=")
    assert "SameSite=Strict" in text
    assert "Max-Age=3600" in text or "Max-Age=3599" in text
    app = shop()
    app.config.update(SESSION_COOKIE_NAME="sid")
    app.session_interface = gaeport_flask.SessionInterface(cookie="given")
    assert app.test_client().get("/login").headers["Set-Cookie"].startswith("given=")


def test_gaeport_toml_counts_where_nothing_is_given(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:", sessions={"cookie": "fromfile"})
    app = shop()
    app.session_interface = gaeport_flask.SessionInterface()
    assert app.test_client().get("/login").headers["Set-Cookie"].startswith("fromfile=")


def test_flask_session_with_its_files_in_a_mount_works_unchanged_beside_the_one_line_switch(
    project: Path, record_property: Callable[[str, object], None]
) -> None:
    from webtest import TestApp

    (project / "flask_session").mkdir()
    settings.configure(root=project, data=":memory:", mounts=[{"path": "flask_session"}])
    unchanged, switched = shop(), shop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flask-Session's own, on its file-system cache
        import flask_session

        unchanged.config.update(SESSION_TYPE="filesystem", SESSION_FILE_DIR=str(project / "flask_session"))
        browser = TestApp(gaeport.wrap(unchanged))
        flask_session.Session(unchanged)
        table = {"Flask-Session, files in a mount": _calls(browser)}
    switched.session_interface = gaeport_flask.SessionInterface()
    table["gaeport, Datastore"] = _calls(TestApp(gaeport.wrap(switched)))
    gaeport.unmount("flask_session")
    for name, counts in table.items():
        text = f"{name}: Datastore calls for unread {counts[0]}, read {counts[1]}, read and write {counts[2]}"
        record_property("shown", text)
    assert table["gaeport, Datastore"] == [0, 1, 2]
    assert all(there >= here for there, here in zip(*table.values(), strict=True))


def _calls(browser: Any) -> list[int]:
    """Return the Datastore calls of an unread, a read, and a read and written session, when all is warm."""
    for _ in range(2):
        for path in ("/buy/tea", "/", "/static-page"):
            browser.get(path)
    assert browser.get("/").json["basket"] == ["tea", "tea"]
    found = []
    for path in ("/static-page", "/", "/buy/milk"):
        with meter.measure() as counts:
            browser.get(path)
        found.append(counts.total_calls)
    assert browser.get("/").json["basket"] == ["tea", "tea", "milk"]
    return found
