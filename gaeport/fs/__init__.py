"""Files: mounted directories whose content lives in Datastore and Cloud Storage.

`mount` and `unmount` a directory, `mount_all` those of gaeport.toml; `begin_request` and `end_request` around each
request commit what it left open. Everything else is Python's own: `open`, `os`, `pathlib`, `shutil`, `glob`,
`tempfile`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["begin_request", "end_request", "install", "mount", "mount_all", "uninstall", "unmount"]

if TYPE_CHECKING:
    from gaeport.fs.mounts import mount, mount_all, unmount
    from gaeport.fs.patching.patch import install, uninstall
    from gaeport.fs.patching.requests import begin_request, end_request

_HOMES = {
    "begin_request": "patching.requests",
    "end_request": "patching.requests",
    "install": "patching.patch",
    "mount": "mounts",
    "mount_all": "mounts",
    "uninstall": "patching.patch",
    "unmount": "mounts",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"gaeport.fs.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'gaeport.fs' has no attribute {name!r}")
