"""A fresh empty Datastore inside the process, for as long as a test runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.settings import MEMORY, Settings

if TYPE_CHECKING:
    import grpc
    from google.cloud import datastore as google_datastore
    from google.cloud import ndb

    from gaeport.datastore.client import Client

PROJECT = "test"

# What would make gaeport, or Google's libraries, reach for another Datastore than the test's.
_VARIABLES = ("DATASTORE_EMULATOR_HOST", "GAE_ENV", "GOOGLE_CLOUD_PROJECT")


class Datastore:
    """The Datastore of one test, and the clients that reach it."""

    @property
    def channel(self) -> "grpc.Channel":
        """The in-process grpc.Channel, for any client that takes one."""
        from gaeport.datastore import channel

        return channel()

    @property
    def client(self) -> "Client":
        """gaeport's thin client."""
        from gaeport.datastore import client

        return client()

    def ndb_client(self) -> "ndb.Client":
        """Return a google.cloud.ndb.Client."""
        from gaeport.datastore import ndb_client

        return ndb_client()

    @contextmanager
    def ndb_context(self, **options: Any) -> Iterator[Any]:
        """Enter an ndb context.

        Args:
            **options: what `ndb.Client.context` takes, such as `cache_policy=False`.
        """
        with self.ndb_client().context(**options) as context:
            yield context

    def google_client(self) -> "google_datastore.Client":
        """Return a google.cloud.datastore.Client."""
        from gaeport.datastore.connection import host
        from gaeport.datastore.google_client import make_client

        config = settings.current()
        return make_client(
            self.channel, host(), project=config.project, database=config.database, namespace=config.namespace
        )

    def clear(self) -> None:
        """Empty it. Google's clients stay usable; `client` is asked for anew."""
        from gaeport.datastore import reset

        reset()


@contextmanager
def datastore(
    *, project: str = PROJECT, database: str = "", namespace: str = "", server: bool = False
) -> Iterator[Datastore]:
    """Give a fresh empty Datastore in memory, and put settings in force under which gaeport uses it.

    Settings and environment are afterwards what they were before. Clients that were made through gaeport before, at
    the import of an application for example, reach it too.

    Args:
        project: the project of keys.
        database: the database; "" is the default one.
        namespace: the application's namespace.
        server: set DATASTORE_EMULATOR_HOST to a server in this process, for code that makes clients of its own
            (`ndb.Client()`, `google.cloud.datastore.Client()`); its calls take the way over a socket.

    Yields:
        The Datastore.
    """
    base = Settings(root=Path.cwd(), project=project, database=database, namespace=namespace)
    with in_force(base, server=server):
        yield Datastore()


@contextmanager
def in_force(config: Settings, *, server: bool = False) -> Iterator[None]:
    """Put settings in force with fresh empty data in memory; afterwards settings and environment are as before.

    Args:
        config: the settings; where they keep their data is replaced.
        server: whether to reach the data over a socket.
    """
    before = settings.in_force()
    mounted = _mounted()
    environment = {name: os.environ.pop(name) for name in _VARIABLES if name in os.environ}
    os.environ["GOOGLE_CLOUD_PROJECT"] = config.project
    try:
        if server:
            from gaeport.testing.server import address

            os.environ["DATASTORE_EMULATOR_HOST"] = address()
        settings.use(replace(config, data=MEMORY, production=False))
        yield
    finally:
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(environment)
        settings.use(before)
        if mounted and before is not None:
            _mount_again(before, mounted)


def _mounted() -> tuple[Any, ...]:
    paths = sys.modules.get("gaeport.fs.patching.paths")  # not loaded, nothing mounted
    found = paths.mounts() if paths is not None else ()
    return tuple(item.settings for item in found if item.settings is not None)


def _mount_again(config: Settings, mounted: tuple[Any, ...]) -> None:
    from gaeport.fs import mount_all

    mount_all(replace(config, mounts=mounted))
