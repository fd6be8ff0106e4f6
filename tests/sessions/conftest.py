"""A site with sessions on every store, and the clock that its sessions go by."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from gaeport import settings
from gaeport.sessions.middleware import ENVIRON_KEY, SessionMiddleware
from gaeport.sessions.stores import Store, connect
from gaeport.settings import SessionSettings
from tests.kv.bundled import bundled_memcache, wanted

__all__ = ["bundled_memcache"]

EMBEDDED = ("memory", "disk")
DATASTORES = (*EMBEDDED, "firestore_emulator", "datastore_emulator")
CACHES = ("memcached_server", *(["bundled_memcache"] if wanted() else []))
#: store, and what it runs on.
SERVER_SIDE = [
    *[("datastore", backend) for backend in DATASTORES],
    *[("memcache+datastore", backend) for backend in ("memory", "firestore_emulator", *CACHES)],
    ("memcache", "memory"),
    *[("memcache", backend) for backend in CACHES],
    ("redis", "redis_server"),
]
EVERY = [*SERVER_SIDE, ("cookie", "memory")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for `place` on every store; tests marked so only on those that keep sessions on the server."""
    if "store_name" in metafunc.fixturenames:
        own = metafunc.definition.get_closest_marker("server_side")
        places = SERVER_SIDE if own else EVERY
        metafunc.parametrize(("store_name", "place"), places, ids=["-".join(place) for place in places])


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of `store`."""
    return Clock()


@pytest.fixture
def options(store_name: str, place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Any:
    """The settings of one store, its Datastore empty."""
    url = None
    if place in ("firestore_emulator", "datastore_emulator"):
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(place))
    elif place in ("memcached_server", "redis_server"):
        url = request.getfixturevalue(place).url
    elif place == "bundled_memcache":
        url = request.getfixturevalue(place)
    if "memcache" in store_name and url is None:
        url = f"memory://test-{random.randrange(10**12)}"
    namespace = f"test{random.randrange(10**12)}"
    data = ":memory:" if place != "disk" else "data"
    settings.configure(root=tmp_path, data=data, namespace=namespace, project="test-project")
    return SessionSettings(store=store_name, url=url, user_key="user_id")  # type: ignore[arg-type]  # a parameter


@pytest.fixture
def store(options: SessionSettings, clock: Clock) -> Store:
    """An empty store."""
    return connect(options, clock)


Work = Callable[[Any], Any]


class Site:
    """A WSGI application whose next request does what the test says."""

    def __init__(self, store: Store, options: SessionSettings, clock: Callable[[], float]) -> None:
        self.options = options
        self.answer: Any = None
        self._work: Work = lambda session: None
        self.middleware = SessionMiddleware(self._app, store, settings=options, clock=clock)
        self.browser = TestApp(self.middleware)

    def do(self, work: Work, **environ: str) -> Any:
        """Send a request whose handler calls `work` with the session; return what that returned."""
        self._work = work
        self.response = self.browser.get("/", extra_environ=environ)
        return self.answer

    def other_browser(self) -> "Site":
        """Return the same site as another visitor sees it."""
        return Site(self.middleware.store, self.options, self.middleware._clock)

    @property
    def token(self) -> str | None:
        """What the browser's cookie carries."""
        found = self.browser.cookies.get(self.options.cookie)
        return None if found is None else str(found).strip('"')

    @token.setter
    def token(self, value: str) -> None:
        self.browser.reset()
        self._forced = value
        self.browser.set_cookie(self.options.cookie, value)

    def _app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.answer = self._work(environ[ENVIRON_KEY])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]


@pytest.fixture
def site(store: Store, options: SessionSettings, clock: Clock) -> Site:
    """A site on one of the stores."""
    return Site(store, options, clock)


@pytest.fixture
def local(tmp_path: Path, clock: Clock) -> Callable[..., Site]:
    """Makes sites on Datastore in memory: `local(idle=60)`."""
    settings.configure(root=tmp_path, data=":memory:")

    def make(**changes: Any) -> Site:
        options = replace(SessionSettings(user_key="user_id"), **changes)
        return Site(connect(options, clock), options, clock)

    return make


def put(**values: Any) -> Work:
    """Return work that sets keys."""
    return lambda session: session.update(values)


def everything(session: Any) -> dict[str, Any]:
    """Work that reads the whole session."""
    return dict(session)
