"""Who reaches the console, and over which way."""

from pathlib import Path
from typing import Any

import pytest

from gaeport import settings, wsgi
from gaeport.console import access
from tests.console.conftest import Visitor, answering, hashed

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "shop.example", "REMOTE_ADDR": "203.0.113.9"}


def test_without_a_hash_there_is_no_console(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=settings.MEMORY)
    visitor = Visitor(wsgi.wrap(answering))
    for path in ("/_gaeport/", "/_gaeport/login", "/_ah/stats"):
        assert visitor.get(path).text == "the application"


def test_the_applications_other_paths_are_its_own(visitor: Visitor) -> None:
    for path in ("/", "/_gaeportal", "/_ah/statistics", "/_ah/other"):
        assert visitor.get(path).text == "the application"


def test_this_machine_reaches_it_over_http(visitor: Visitor) -> None:
    assert visitor.get("/_gaeport/login").status_int == 200
    assert visitor.get("/_gaeport").headers["Location"] == "/_gaeport/login?next=%2F_gaeport%2F"


def test_others_reach_it_over_https(app: wsgi.Application) -> None:
    assert Visitor(app, **HTTPS).get("/_gaeport/login").status_int == 200


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "203.0.113.9"},
        {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_FORWARDED_PROTO": "https"},
        {"REMOTE_ADDR": "203.0.113.9", "HTTP_X_APPENGINE_HTTPS": "on"},
        {"HTTP_X_FORWARDED_FOR": "203.0.113.9"},  # a proxy on this machine
        {"HTTP_FORWARDED": "for=203.0.113.9"},
        {"HTTP_VIA": "1.1 proxy"},
        {"HTTP_HOST": "evil.example"},  # a name that points to 127.0.0.1
        {"HTTP_HOST": "localhost.evil.example"},
        {"HTTP_HOST": "127.0.0.1.evil.example"},
        {"HTTP_HOST": "[::1"},
        {"HTTP_HOST": ""},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "unix:"},
    ],
)
def test_over_plain_http_nothing_is_shown_or_taken(app: wsgi.Application, environ: dict[str, str]) -> None:
    visitor = Visitor(app, **environ)
    for path in ("/_gaeport/", "/_gaeport/login", "/_gaeport/stats", "/_ah/stats", "/_gaeport/static/console.css"):
        answer = visitor.get(path)
        assert answer.status_int == 403
        assert "Set-Cookie" not in answer.headers
        assert "csrf" not in answer.text
    assert visitor.post("/_gaeport/login", {"password": "x"}).status_int == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "shop.localhost"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machines_names_and_addresses(app: wsgi.Application, host: str, address: str) -> None:
    assert Visitor(app, HTTP_HOST=host, REMOTE_ADDR=address).get("/_gaeport/login").status_int == 200


@pytest.fixture
def production(config: settings.Settings, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    monkeypatch.setenv("GAE_ENV", "standard")
    return config


@pytest.mark.parametrize(
    ("headers", "https"),
    [
        ({"HTTP_X_APPENGINE_HTTPS": "on"}, True),
        ({"HTTP_X_APPENGINE_HTTPS": "on", "HTTP_X_FORWARDED_PROTO": "https"}, True),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, True),
        ({"HTTP_X_APPENGINE_HTTPS": "off", "HTTP_X_FORWARDED_PROTO": "https"}, False),
        # WSGI joins X_Appengine_Https, which the front end lets through, to the front end's own header.
        ({"HTTP_X_APPENGINE_HTTPS": "off,on"}, False),
        ({"HTTP_X_APPENGINE_HTTPS": "on,off"}, False),
        ({"HTTP_X_FORWARDED_PROTO": "https,http"}, False),
        ({"HTTP_X_FORWARDED_PROTO": "http,https"}, False),
        (
            {"HTTP_X_FORWARDED_PROTO": "http", "wsgi.url_scheme": "https"},
            False,
        ),  # X-Forwarded-Ssl does that in gunicorn
        ({"HTTP_X_FORWARDED_SSL": "on"}, False),
        ({"HTTP_X_FORWARDED_PROTO": "HTTPS"}, False),
        ({}, False),
    ],
)
def test_on_app_engine_only_its_own_word_counts(
    production: settings.Settings, headers: dict[str, str], https: bool
) -> None:
    environ: dict[str, Any] = {"wsgi.url_scheme": "http", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    assert access.is_https({**environ, **headers}, production) is https
    assert access.is_local({**environ, **headers}, production) is False


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9,198.51.100.7", "unknown"),
        ("<script>", "unknown"),
        ("", "unknown"),
    ],
)
def test_guesses_are_counted_by_network(production: settings.Settings, told: str, counted: str) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_APPENGINE_USER_IP": told, "HTTP_X_FORWARDED_FOR": "198.51.100.1"}
    assert access.address(environ, production) == counted


def test_elsewhere_a_header_does_not_say_who_guesses(config: settings.Settings) -> None:
    environ = {"REMOTE_ADDR": "198.51.100.7", "HTTP_X_APPENGINE_USER_IP": "203.0.113.9"}
    assert access.address(environ, config) == "198.51.100.7"


def test_every_answer_forbids_scripts_frames_and_keeping(visitor: Visitor, admin: Visitor) -> None:
    for answer in (
        visitor.get("/_gaeport/login"),
        admin.get(),
        admin.get("/_gaeport/nothing"),
        admin.get("/_ah/stats"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert " on" not in "".join(part.partition(">")[0] for part in answer.text.split("<")[1:])


def test_the_style_sheet_is_kept_under_an_address_of_its_content(visitor: Visitor) -> None:
    page = visitor.get("/_gaeport/login").text
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = visitor.get(address)
    assert answer.content_type == "text/css"
    assert "immutable" in answer.headers["Cache-Control"]
    for path in ("nothing.css", "../application.py", "%2e%2e/application.py", ""):
        assert visitor.get(f"/_gaeport/static/{path}").status_int == 404


def test_a_hash_in_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAEPORT_CONSOLE_PASSWORD_HASH", hashed())
    assert settings.configure(root=tmp_path).console.password_hash == hashed()
    monkeypatch.setenv("GAEPORT_CONSOLE_PASSWORD_HASH", "")
    assert settings.configure(root=tmp_path, console={"password_hash": hashed()}).console.password_hash is None


def test_a_hash_does_not_show_in_the_settings(config: settings.Settings) -> None:
    assert hashed() not in repr(config)
