"""An application with a console, and somebody who knows the password."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp, TestResponse

from gaeport import settings, wsgi
from gaeport.console import passwords

PASSWORD = "correct horse battery"
LOCAL = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}


@cache
def hashed() -> str:
    """The password's hash, of the least cost that counts: a real one takes long on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        cheapen(patch)
        return passwords.make_hash(PASSWORD)


def cheapen(patch: pytest.MonkeyPatch) -> None:
    """Have hashes made at the least cost."""
    patch.setattr(passwords, "_LOG2_N", 10)
    patch.setattr(passwords, "_P", 1)


def answering(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application"]


class Visitor:
    """A browser, by WebTest."""

    def __init__(self, app: Callable[..., Any], **environ: str) -> None:
        self.site = TestApp(app, extra_environ={**LOCAL, **environ})

    def get(self, path: str = "/_gaeport/", **more: Any) -> TestResponse:
        return self.site.get(path, expect_errors=True, **more)

    def post(self, path: str, fields: dict[str, str], **more: Any) -> TestResponse:
        return self.site.post(path, fields, expect_errors=True, **more)

    def token(self, page: TestResponse) -> str:
        found = re.search(r'name="csrf" value="([^"]*)"', page.text)
        assert found is not None, page.text
        return found[1]

    def log_in(self, password: str = PASSWORD, after: str = "/_gaeport/") -> TestResponse:
        page = self.get("/_gaeport/login")
        fields = {"csrf": self.token(page), "password": password, "next": after}
        return self.post("/_gaeport/login", fields)


@pytest.fixture
def config(tmp_path: Path) -> settings.Settings:
    """Settings with a console, kept in memory."""
    return settings.configure(root=tmp_path, data=settings.MEMORY, console={"password_hash": hashed()})


@pytest.fixture
def app(config: settings.Settings) -> wsgi.Application:
    """The application."""
    return wsgi.wrap(answering)


@pytest.fixture
def visitor(app: wsgi.Application) -> Visitor:
    """Somebody who has not logged in."""
    return Visitor(app)


@pytest.fixture
def admin(app: wsgi.Application) -> Visitor:
    """Somebody who has logged in."""
    found = Visitor(app)
    assert found.log_in().status_int == 303
    return found
