"""Removes sessions that have ended: for `gaeport sessions purge` and the cron handler."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from gaeport.sessions.stores import About, Store

_BATCH = 500  # deletes in a Commit


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a purge has come.

    Attributes:
        seen: sessions looked at.
        removed: sessions removed.
        complete: whether all were looked at.
    """

    seen: int = 0
    removed: int = 0
    complete: bool = False


def purge(
    store: Store,
    *,
    older_than: float | None = None,
    user: str | None = None,
    everything: bool = False,
    seconds: float | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    clock: Callable[[], float] = time.time,
) -> Progress:
    """Remove the sessions that have expired, or others by choice.

    Every session is looked at: one query and 300 billed reads for each 300. (An index on the time of expiry would cost
    more at every write, and would be a hot spot.)

    Args:
        store: what keeps them.
        older_than: also remove sessions unused for this many seconds.
        user: only this user's sessions; all of them, unless `older_than` says which.
        everything: remove every session: everybody is logged out.
        seconds: stop after this time; a later call goes on.
        report: called after each batch.
        clock: seconds since 1970.

    Returns:
        What was done.

    Raises:
        UnsupportedByStore: the store cannot list its sessions.
    """
    now = clock()
    end = None if seconds is None else time.monotonic() + seconds
    found = store.of_user(user) if user is not None else store.every()
    progress = Progress()

    def goes(about: About) -> bool:
        if everything or about.expires <= now or (user is not None and older_than is None):
            return True
        return older_than is not None and about.touched <= now - older_than

    for batch in _batches(found):
        names = [about.name for about in batch if goes(about)]
        if names:
            store.revoke(names)
        progress = Progress(progress.seen + len(batch), progress.removed + len(names))
        report(progress)
        if end is not None and time.monotonic() >= end:
            return progress
    progress = Progress(progress.seen, progress.removed, complete=True)
    report(progress)
    return progress


def _batches(found: Iterator[About]) -> Iterator[list[About]]:
    while batch := list(islice(found, _BATCH)):
        yield batch
