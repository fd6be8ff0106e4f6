"""What waits for the end of a call of its own thread.

A signal handler, or a finalizer, can interrupt a call to the embedded engine anywhere. What it wants to commit cannot
be committed there; it is done by the same thread as soon as the interrupted call is over.
"""

import threading
from collections.abc import Callable

_waiting: dict[int, list[Callable[[], None]]] = {}


def add(work: Callable[[], None]) -> None:
    """Do something once the call that this thread is in the middle of is over. `work` raises nothing."""
    _waiting.setdefault(threading.get_ident(), []).append(work)


def run() -> None:
    """Do what waits for this thread; called where its call is over."""
    if _waiting:
        for work in _waiting.pop(threading.get_ident(), ()):
            work()
