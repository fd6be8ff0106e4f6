"""What every test gets: settings of its own, and real servers for those that ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gaeport import settings
from tests.emulators import (
    FIXTURES,
    SKIPPED,
    datastore_emulator,
    each_datastore,
    firestore_emulator,
    gcs_server,
    required,
)
from tests.servers import memcached_server, redis_server

__all__ = [
    "datastore_emulator",
    "each_datastore",
    "firestore_emulator",
    "gcs_server",
    "memcached_server",
    "redis_server",
]

# What would point a test at the developer's own project or servers.
_VARIABLES = (
    "CLOUDSDK_CORE_PROJECT",
    "DATASTORE_DATASET",
    "DATASTORE_EMULATOR_HOST",
    "DATASTORE_PROJECT_ID",
    "GAEPORT_CONFIG",
    "GAEPORT_DATA",
    "GAE_ENV",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "STORAGE_EMULATOR_HOST",
)


_insecure_channel = grpc.insecure_channel


def _channel_of_its_own(target: str, options: Any = None, compression: Any = None) -> grpc.Channel:
    """Open a channel that shares nothing with others.

    Channels to one address have their connections in common, and with them the wait after a failure: a server that was
    given the port of a stopped one would seem to refuse connections.
    """
    return _insecure_channel(target, [*(options or ()), ("grpc.use_local_subchannel_pool", 1)], compression)


def pytest_configure() -> None:
    """Give each channel, those that clients open included, connections of its own."""
    grpc.insecure_channel = _channel_of_its_own


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses an emulator, and keep the tests of one emulator on one worker, which starts it once."""
    for item in items:
        for name in FIXTURES:
            if name in _emulators_of(item):
                item.add_marker("emulator")
                item.add_marker(pytest.mark.xdist_group(name))
                break
        if not required() and item.get_closest_marker("emulator") is not None:
            item.add_marker(pytest.mark.skip(reason=SKIPPED))
        if not required() and item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason="takes long; make test-all runs it"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what passing tests measured: `record_property("shown", text)`. Workers of pytest-xdist have no output."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "shown":
                terminalreporter.write_line(str(text))


def _emulators_of(item: pytest.Item) -> set[str]:
    """The emulator fixtures of a test: requested by name, or named by a parameter (for request.getfixturevalue)."""
    names = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        names |= {value for value in callspec.params.values() if isinstance(value, str)}
    return names & set(FIXTURES)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = settings._current
    yield
    if settings._current is not before:
        settings.use(before or settings.Settings(root=Path.cwd()))  # drops the connections that the test made
        settings._current = before


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as working directory, with embedded settings whose data folder lies in it."""
    monkeypatch.chdir(tmp_path)
    settings.configure(root=tmp_path)
    return tmp_path
