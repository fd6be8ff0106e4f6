"""App Engine's bundled memcache for tests: the stub that appengine-python-standard brings.

The package is not in [dev], since it needs urllib3 < 2, which twine refuses. .ci/run gives its tests an environment of
their own and sets GAEPORT_REQUIRE_APPENGINE=1, so that they cannot be left out there.
"""

import importlib.util
import os
from typing import Any

import pytest

MISSING = "pip install 'gaeport[appengine]' in an environment without twine"


def wanted() -> bool:
    """Tell whether the tests run: the package is there, or must be."""
    return os.environ.get("GAEPORT_REQUIRE_APPENGINE") == "1" or _installed()


def stub() -> Any:
    """Return an empty memcache service."""
    from google.appengine.api.memcache import memcache_stub

    return memcache_stub.MemcacheServiceStub()


@pytest.fixture
def bundled_memcache(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty memcache that answers inside the process, for one test."""
    from google.appengine.api import apiproxy_stub_map

    services = apiproxy_stub_map.APIProxyStubMap()
    services.RegisterStub("memcache", stub())
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", services)
    return "appengine://"


def _installed() -> bool:
    try:
        return importlib.util.find_spec("google.appengine.api.memcache") is not None
    except ImportError:
        return False
