"""gaeport: run a Python web application written for an ordinary server unchanged on Google App Engine.

The public names, each loaded when it is first used, so that `import gaeport` costs next to nothing:
`wrap`, `mount`, `unmount`, `configure`, and the packages `blobs`, `cache`, `dal` (with the extra of that name),
`datastore`, `fs`, `kv`, `models`, `sessions`, `tickets`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "blobs",
    "cache",
    "configure",
    "datastore",
    "fs",
    "kv",
    "models",
    "mount",
    "sessions",
    "tickets",
    "unmount",
    "wrap",
]

if TYPE_CHECKING:
    from gaeport import blobs, cache, datastore, fs, kv, models, sessions
    from gaeport.fs import mount, unmount
    from gaeport.settings import configure
    from gaeport.wsgi import wrap

_HOMES = {"configure": "settings", "mount": "fs", "unmount": "fs", "wrap": "wsgi"}
# Not in __all__: dal, which cannot be imported without its extra; `from gaeport import *` has to work all the same.
_PACKAGES = ("blobs", "cache", "dal", "datastore", "fs", "kv", "models", "sessions", "tickets")


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"gaeport.{_HOMES[name]}"), name)
    if name in _PACKAGES:
        return import_module(f"gaeport.{name}")
    raise AttributeError(f"module 'gaeport' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
