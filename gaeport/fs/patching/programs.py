"""Stand-ins for what starts programs, for clear errors: a program sees the disk, and not what is mounted over it.

What is on the disk below a mount, because it was deployed, is started as ever. Only what the disk lacks and the mount
has is refused, which the system itself could only call missing.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from gaeport.fs.patching import paths
from gaeport.fs.places import Place

_REMEDY = "a program sees the disk and not the mount {0!r}; give it a temporary folder outside with copies of the files"
_NOT_LOADED = "programs are loaded from the disk, and this one is only in the mount {0!r}; copy it to a temporary file"


def replacements() -> Iterator[tuple[Any, Any]]:
    """Yield the functions that this platform has, each with what stands in for it."""
    for name in ("execv", "execve", "posix_spawn"):
        if hasattr(os, name):
            yield getattr(os, name), _checking_program(getattr(os, name))
    try:
        from _posixsubprocess import fork_exec  # what subprocess is built on, which may not be loaded yet
    except ImportError:
        return
    yield fork_exec, _checking_child(fork_exec)


def _checking_program(function: Any) -> Any:
    def checked(path: Any, *args: Any, **kwargs: Any) -> Any:
        _check_program([path])
        return function(path, *args, **kwargs)

    return _named_like(checked, function)


def _checking_child(function: Any) -> Any:
    def checked(args: Any, executables: Any, close_fds: Any, pass_fds: Any, folder: Any, *more: Any) -> Any:
        _check_folder(folder)
        _check_program(executables)
        return function(args, executables, close_fds, pass_fds, folder, *more)

    return _named_like(checked, function)


def _named_like(function: Any, original: Any) -> Any:
    function.__name__ = function.__qualname__ = original.__name__
    function.__doc__ = original.__doc__
    function.__wrapped__ = original  # whose arguments `inspect` then tells, where they are known
    return function


def _check_program(candidates: Any) -> None:
    """Raise EACCES, as on a file system mounted "noexec", when a program is only in a mount."""
    found = [(path, paths.locate(path)) for path in candidates]
    if all(not isinstance(place, Place) for _, place in found) or any(_on_disk(path) for path, _ in found):
        return
    for _, place in found:
        if isinstance(place, Place) and _is(place, stat.S_ISREG):
            raise place.error(errno.EACCES, _NOT_LOADED.format(place.mount.spelled))


def _check_folder(folder: Any) -> None:
    place = paths.locate(folder) if folder is not None else None
    if isinstance(place, Place) and not _on_disk(folder) and _is(place, stat.S_ISDIR):
        raise place.error(errno.ENOENT, _REMEDY.format(place.mount.spelled))


def _is(place: Place, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(place.attributes().mode)
    except OSError:
        return False  # the system's own function says what is wrong


def _on_disk(path: Any) -> bool:
    absolute = paths.absolute(path)
    return absolute is not None and paths.on_disk(absolute)
