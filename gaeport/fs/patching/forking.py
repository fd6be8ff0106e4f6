"""What a fork needs: everything committed, and no lock held by a thread that the child will not have.

Every lock is taken before the fork, in the order in which the code takes them, and given back on both sides: so the
child finds files in a whole state, whatever other threads were doing.
"""

import threading
from collections.abc import Callable
from typing import Any

from gaeport.fs.patching import descriptors, paths

_turn = threading.RLock()
_held: list[Any] = []
_forking = False


def before(commit: Callable[[], None]) -> None:
    """Commit, and hold every lock until `after`.

    Raises:
        OSError: something could not be committed; the locks are held all the same.
    """
    global _forking
    _turn.acquire()
    _forking = True
    try:
        commit()
    finally:
        _held.extend(description.lock_for_fork() for description in descriptors.everything())
        for mount in paths.mounts():
            hold = getattr(mount.volume, "hold", None)
            if hold is not None:
                _held.extend(hold())


def after() -> None:
    """Give back what `before` took, in the parent and in the child; nothing where this fork began without it."""
    global _forking
    if not _forking:
        return
    _forking = False
    while _held:
        _held.pop().release()
    _turn.release()
