"""Which paths this process changed a moment ago.

An entry of `os.scandir` answers `stat()` from the listing that it came with, which costs nothing. Linux looks at the
file then, so for what this process changed in between, the entry must look, too.
"""

import itertools
import os
import threading

from gaeport.fs.places import Place

_KEPT = 4096  # paths; when there are more, every older listing counts as overtaken

_lock = threading.RLock()
_numbers = itertools.count(1)
_last: dict[tuple[str, ...], int] = {}
_floor = 0


def now() -> int:
    """Return the number of this moment, for `since`."""
    return next(_numbers)


def note(place: Place) -> None:
    """Remember that something changed at this path or below it."""
    global _floor
    key, number = (place.mount.root, *place.parts), next(_numbers)
    with _lock:
        if len(_last) >= _KEPT:
            _last.clear()
            _floor = number
        _last[key] = number


def since(moment: int, place: Place) -> bool:
    """Whether this process changed the path, or a directory above it was moved or removed, after a moment."""
    if moment < _floor:
        return True
    if not _last:
        return False
    key = (place.mount.root, *place.parts)
    return any(_last.get(key[:length], 0) > moment for length in range(2, len(key) + 1))


def _after_in_child() -> None:
    """A thread that the child does not have may have held it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
