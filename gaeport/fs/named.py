"""The application's mounts by name, for who reaches them without paths: those that are mounted in this process, and
those of gaeport.toml that are not."""

import atexit
import errno
import logging
import os
import threading
import weakref

from gaeport import settings as configuration
from gaeport.errors import file_error
from gaeport.fs import addresses, native
from gaeport.fs.mounts import configured, volume_of
from gaeport.fs.patching import paths
from gaeport.fs.places import Mount

_lock = threading.RLock()
_own: dict[str, Mount] = {}
_listening = False


def mounts() -> dict[str, Mount]:
    """Return the mounts by name. A mounted one's volume is that of `open()`; others get one of their own."""
    found = {addresses.name_of(mount): mount for mount in paths.mounts() if mount.settings is not None}
    config = configuration.current()
    with _lock:
        _listen()
        for item in configured(config):
            name = item.name.strip("/")
            if name not in found:
                if name not in _own:
                    root = native.realpath(item.path)
                    _own[name] = Mount(root=root, spelled=item.path, volume=volume_of(item, root), settings=item)
                found[name] = _own[name]
    return found


def split(path: str) -> tuple[Mount | None, str]:
    """Return the mount that a path begins with by its name, and the rest; None for what is above the mounts.

    Raises:
        FileNotFoundError: no mount has such a name.
    """
    known = mounts()
    fitting = [name for name in known if f"{path}/".startswith(f"{name}/")]
    if fitting:
        name = max(fitting, key=len)
        return known[name], path[len(name) + 1 :]
    if path and not any(name.startswith(f"{path}/") for name in known):
        names = ", ".join(sorted(known)) or "none"
        raise file_error(errno.ENOENT, path, f"no mount has that name; the mounts are: {names}")
    return None, path


def settle() -> None:
    """Commit what is pending in the volumes that are not mounted.

    Raises:
        OSError: the store refuses.
    """
    for mount in list(_own.values()):
        mount.volume.commit_all()


def _listen() -> None:
    global _listening
    if not _listening:
        _listening = True
        configuration.before_change(_finish)
        configuration.on_change(_own.clear)
        # The embedded engine is closed by such a finalizer. With a first one here, all of them run after _finish.
        weakref.finalize(_finish, int)
        atexit.register(_finish)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_begin_anew)


def _begin_anew() -> None:
    """In a forked child: what its parent has under way, and the locks of its threads, are the parent's."""
    global _lock
    _lock = threading.RLock()
    _own.clear()


def _finish() -> None:
    try:
        settle()
    except OSError as error:
        logging.getLogger("gaeport.fs").error("this was not committed at the end: %s", error)
