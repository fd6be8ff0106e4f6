"""Sorted results, kept from one batch of a query to the next: a long result is sorted once, not once a batch."""

import threading
from collections import OrderedDict
from typing import Any

from gaeport.datastore import wire

LISTS = 8  # queries that are in the middle of their results
MAX_HITS = 100_000  # of one query; a longer result is sorted anew for each batch


class KeptLists:
    """The latest sorted results by query and sequence number. A commit makes a new number, so nothing gets stale."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lists: OrderedDict[tuple[bytes, int], list[Any]] = OrderedDict()

    def get(self, identity: bytes, sequence: int) -> list[Any] | None:
        """Return what was kept for a query at a sequence number, or None."""
        with self._lock:
            return self._lists.get((identity, sequence))

    def keep(self, identity: bytes, sequence: int, hits: list[Any]) -> None:
        """Keep a result, and drop the oldest ones."""
        if len(hits) > MAX_HITS:
            return
        with self._lock:
            self._lists[identity, sequence] = hits
            while len(self._lists) > LISTS:
                self._lists.popitem(last=False)


def identity_of(query: Any, partition: bytes) -> bytes:
    """Return bytes that all batches of one query share, whatever their cursors, offset and limit."""
    plain = wire.Query()
    plain.CopyFrom(query)
    for field in ("start_cursor", "end_cursor", "offset", "limit"):
        plain.ClearField(field)
    return partition + plain.SerializeToString(deterministic=True)  # type: ignore[no-any-return]  # wire is untyped
