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
from typing import Protocol


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
_lock = threading.Lock()


_finish: Callable[[], None] | None = None
_armed_in = 0  # the process that will call it


def at_process_end(finish: Callable[[], None]) -> None:
    """Name what commits everything at the end of the process; `arm` registers it."""
    global _finish, _armed_in
    with _lock:
        _finish, _armed_in = finish, 0


def arm() -> None:
    """Register the commit at the end of the process, after this process's first change.

    That is when the connection to the store exists: what is registered later runs earlier, so everything is committed
    before the connection is closed. A forked child registers for itself.
    """
    global _armed_in
    if _armed_in != os.getpid() and _finish is not None:
        _armed_in = os.getpid()
        atexit.unregister(_finish)
        atexit.register(_finish)


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
