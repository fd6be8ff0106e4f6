"""For an application's own tests: a fresh empty Datastore each, and the application under WebTest on fresh data.

As plain context managers, `datastore` and `app`; with pytest also as the fixtures `gaeport_datastore`, `gaeport_ndb`
and `gaeport_app`, which installing gaeport is enough for. Nothing is kept, shared or sent anywhere, so tests may run
in parallel (pytest-xdist). `assert_calls` holds a block to a number of calls and a price.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Datastore", "app", "assert_calls", "datastore"]

if TYPE_CHECKING:
    from gaeport.testing.applications import app
    from gaeport.testing.calls import assert_calls
    from gaeport.testing.datastores import Datastore, datastore

# Loaded when first used: pytest loads this package with its plugin, in projects too that use nothing of it.
_HOMES = {"Datastore": "datastores", "app": "applications", "assert_calls": "calls", "datastore": "datastores"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"gaeport.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'gaeport.testing' has no attribute {name!r}")
