"""The counts of errors that were not kept, summed up for this process and the present hour."""

import secrets
import threading

from gaeport.tickets.store import Count, TicketStore, hour_of
from gaeport.tickets.storm import Missed

_lock = threading.Lock()
_process = ""
_sums: dict[str, Count] = {}


def keep(missed: list[Missed]) -> None:
    """Add to the present hour's counts, and write those that changed. Raises DatastoreError."""
    hour = hour_of()
    with _lock:
        for group in [group for group, count in _sums.items() if count.hour != hour]:
            del _sums[group]
        for found in missed:
            before = _sums.get(found.group)
            total = found.count + (before.count if before is not None else 0)
            _sums[found.group] = Count(found.group, hour, _this_process(), total, found.title)
        changed = [_sums[found.group] for found in missed]
    TicketStore().write_counts(changed)


def forget() -> None:
    """Begin anew under another name: in a child process, or on another database."""
    global _process
    with _lock:
        _process = ""
        _sums.clear()


def _this_process() -> str:
    global _process
    if not _process:
        _process = secrets.token_hex(5)
    return _process
