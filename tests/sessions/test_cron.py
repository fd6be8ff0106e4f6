"""/_gaeport/cron/sessions-purge: for App Engine's cron alone."""

import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from webtest import TestApp

import gaeport
from gaeport import settings, wsgi
from tests.devserver.serving import serving, write_app
from tests.sessions.conftest import Clock, Site, put

PATH = "/_gaeport/cron/sessions-purge"
CHECKOUT = Path(__file__).parent.parent.parent


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application"]


@pytest.fixture
def browser(tmp_path: Path) -> TestApp:
    settings.configure(root=tmp_path, data=":memory:", sessions={})
    return TestApp(gaeport.wrap(app))


def test_cron_removes_what_has_expired(browser: TestApp, clock: Clock) -> None:
    from gaeport.sessions.stores import connect

    config = settings.current().sessions
    assert config is not None
    store = connect(config)
    clock.now = 1_000_000_000.0  # long ago
    for _ in range(3):
        Site(store, config, clock).do(put(a=1))
    Site(store, config, time.time).do(put(a=1))
    answer = browser.get(PATH, headers={"X-Appengine-Cron": "true"})
    assert answer.text == "3 of 4 sessions had expired and were removed\n"
    assert len(list(store.every())) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Appengine-Cron": "false"},
        {"X-Appengine-Cron": "1"},
        {"X-Appengine-QueueName": "true"},
        {"X-Appengine-Cron": "true", "X-Appengine-User-Ip": "203.0.113.7"},
        {"X-Appengine-Cron": "true", "X-Appengine-User-Ip": "0.1.0.2,203.0.113.7"},
    ],
)
def test_others_are_refused(browser: TestApp, headers: dict[str, str]) -> None:
    assert "only App Engine's cron" in browser.get(PATH, headers=headers, status=403).text


def test_other_methods_than_get_are_refused(browser: TestApp) -> None:
    assert browser.post(PATH, headers={"X-Appengine-Cron": "true"}, status=405).headers["Allow"] == "GET"


def test_a_store_that_ends_sessions_by_itself_has_nothing_to_do(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:", sessions={"store": "memcache", "url": "memory://"})
    answer = TestApp(gaeport.wrap(app)).get(PATH, headers={"X-Appengine-Cron": "true"})
    assert "nothing to do" in answer.text


def test_cron_yaml_calls_it() -> None:
    entries = yaml.safe_load((CHECKOUT / "cron.yaml").read_text("utf-8"))["cron"]
    assert [entry["url"] for entry in entries].count(PATH) == 1
    assert wsgi.SESSIONS_PURGE == PATH


@pytest.mark.parametrize("server", ["waitress", "gunicorn"])
def test_a_served_application_refuses_the_header_however_it_is_spelled(tmp_path: Path, server: str) -> None:
    source = """
        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"the application"]
        """
    write_app(tmp_path, textwrap.dedent(source), toml="[sessions]\n")
    with serving(tmp_path, "--server", server) as served:
        for name in ("X-Appengine-Cron", "X_Appengine_Cron", "x-appengine_cron", "X_APPENGINE-CRON"):
            answer = served.get(PATH, {name: "true"})
            assert (name, answer.status) == (name, 403)
        assert served.get("/").text == "the application"
