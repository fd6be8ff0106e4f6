"""Remembers every file that is open for writing, with the request that opened it.

A handle of another request or thread is never touched at a request's end. (A thread that a request starts has a context
of its own, and so belongs to no request.)
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Protocol


class Pending(Protocol):
    """Something opened for writing. `truncating`: opened with mode "w" or "x", its former content dropped."""

    truncating: bool

    @property
    def released(self) -> bool:
        """Whether it was closed."""
        ...

    def settle(self) -> None:
        """Flush what Python buffers and commit; it stays open."""
        ...

    def abandon(self) -> None:
        """Let go without committing."""
        ...


class Request:
    """The files that one request opened for writing."""

    __slots__ = ("opened", "token")

    def __init__(self) -> None:
        self.opened: list[weakref.ref[Pending]] = []
        self.token: Token[Request | None] | None = None


current: ContextVar[Request | None] = ContextVar("gaeport_request", default=None)
_everything: "weakref.WeakSet[Pending]" = weakref.WeakSet()
_long_lived: "weakref.WeakSet[Pending]" = weakref.WeakSet()
_lock = threading.RLock()


#: Gives the fields of log entries that tell of the present request (its trace); `gaeport.wrap` puts a function here.
request_fields: Callable[[], dict[str, Any]] = dict

_before_fork: Callable[[], None] | None = None
_after_fork: Callable[[], None] | None = None
_at_end: Callable[[], None] | None = None
_armed_in = 0  # the process that will call _at_end
_fork_armed = False


def name_commits(
    *, before_fork: Callable[[], None], after_fork: Callable[[], None], at_end: Callable[[], None]
) -> None:
    """Name what is done before and after a fork and at the end of the process; `arm` registers them."""
    global _before_fork, _after_fork, _at_end, _armed_in
    with _lock:
        _before_fork, _after_fork, _at_end, _armed_in = before_fork, after_fork, at_end, 0


def arm() -> None:
    """Register the commits before a fork and at the end of the process, after this process's first change.

    That is when the connection to the store exists: what is registered later runs earlier, so everything is committed
    before the connection is closed. A forked child registers its end for itself.
    """
    global _armed_in, _fork_armed
    if _armed_in == os.getpid() or _at_end is None or _before_fork is None or _after_fork is None:
        return
    _armed_in = os.getpid()
    atexit.unregister(_at_end)
    atexit.register(_at_end)
    if not _fork_armed and hasattr(os, "register_at_fork"):
        _fork_armed = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_in_child)


def _after_in_child() -> None:
    """Leave to the parent what its requests and threads have open; the application's own files are the child's too."""
    global _everything, _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    if _after_fork is not None:
        _after_fork()
    _everything = weakref.WeakSet(_long_lived)


def note(pending: Pending) -> None:
    """Remember something opened for writing."""
    arm()
    with _lock:
        _everything.add(pending)
    request = current.get()
    if request is not None:
        request.opened.append(weakref.ref(pending))
    elif threading.current_thread() is threading.main_thread():
        keep(pending)


def keep(pending: Pending) -> None:
    """Remember a file as one that lives longer than a request: a log's, opened at import or by an earlier request."""
    if not pending.truncating:
        with _lock:
            _long_lived.add(pending)


def long_lived() -> list[Pending]:
    """Return the files, open for append or update, that belong to the application and not to a request or thread."""
    with _lock:
        return [pending for pending in _long_lived if not pending.released]


def everything() -> list[Pending]:
    """Return what is open for writing in this process."""
    with _lock:
        return [pending for pending in _everything if not pending.released]
