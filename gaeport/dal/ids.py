"""The ids of new rows: as Datastore allocates them, growing with time, or counted."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gaeport.dal.columns import TableColumns
from gaeport.dal.store import Store
from gaeport.datastore import wire
from gaeport.datastore.client import backoff
from gaeport.datastore.mutations import compare_and_set
from gaeport.datastore.outcomes import CONFLICTS

KIND = "Ids.next"  # of the counters; with a dot, which no table has in its name
_ATTEMPTS = 12  # to move a counter that others move too
_TIME_START = 1_577_836_800  # seconds; 2020-01-01: 41 bits of milliseconds from there reach to 2089
_RANDOM_BITS = 12
_random = random.SystemRandom()  # instances whose applications seed the shared generator alike must not make equal ids


class Ids:
    """Completes keys as the connection string's `ids` says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = 0
        self._lock = threading.Lock()

    def complete(self, columns: TableColumns, keys: Sequence[Any], *, now: bool) -> None:
        """Give keys without an id one.

        Args:
            columns: the table.
            keys: of new rows; those without an id are changed.
            now: whether the ids are needed before the commit; if not, Datastore may be left to choose them in it.
        """
        waiting = [key for key in keys if incomplete(key)]
        if not waiting or (self._store.address.ids == "datastore" and not now):
            return
        if self._store.address.ids == "datastore":
            for key, whole in zip(waiting, self._store.client.allocate_ids(waiting), strict=True):
                key.CopyFrom(whole)
        else:
            for key, number in zip(waiting, self._own(columns, len(waiting)), strict=True):
                key.path[0].id = number

    def another(self, columns: TableColumns) -> int:
        """Return an id in the place of one that turned out to be taken."""
        return self._own(columns, 1)[0]

    def _own(self, columns: TableColumns, count: int) -> Sequence[int]:
        if self._store.address.ids == "counter":
            return self._counted(columns, count)
        return [self.by_time() for _ in range(count)]

    def by_time(self) -> int:
        """Return milliseconds since 2020 and twelve random bits: below 2^53, and above all made here before."""
        with self._lock:
            milliseconds = int((time.time() - _TIME_START) * 1000)
            made = (milliseconds << _RANDOM_BITS) | _random.getrandbits(_RANDOM_BITS)
            self._last = max(self._last + 1, made)
            return self._last

    def passed(self, columns: TableColumns, given: Sequence[int]) -> None:
        """Keep ids that the application chose from being given out again: reserve them, or count on above them."""
        client = self._store.outside
        client.namespace = self._store.client.namespace
        client.reserve_ids([client.key(columns.kind, number) for number in given])
        if self._store.address.ids == "counter":
            self._moved(columns, lambda following: max(following, max(given) + 1))

    def reset(self, columns: TableColumns) -> None:
        """Let a table that was emptied count from 1 again."""
        if self._store.address.ids == "counter":
            self._store.outside.commit([wire.Mutation(delete=self._key(columns))])

    def _key(self, columns: TableColumns) -> Any:
        return self._store.outside.key(KIND, f"{self._store.client.namespace}/{columns.kind}")

    def _counted(self, columns: TableColumns, count: int) -> Sequence[int]:
        """Return ids that nobody had, one after the other."""
        first = self._moved(columns, lambda following: following + count)
        return range(first, first + count)

    def _moved(self, columns: TableColumns, moved: Callable[[int], int]) -> int:
        """Move a table's counter, at once, and return where it stood."""
        client = self._store.outside
        key = self._key(columns)
        for attempt in range(_ATTEMPTS):
            found = client.lookup([key])[0]
            following: int = 1 if found is None else found.entity.properties["next"].integer_value
            if moved(following) == following:
                return following
            try:
                client.commit([_counter(key, moved(following), found)])
            except CONFLICTS:
                if attempt == _ATTEMPTS - 1:
                    raise
                backoff(attempt)
                continue
            return following
        raise AssertionError("unreachable: the last attempt returns or raises")


def incomplete(key: Any) -> bool:
    """Return whether a key has yet to get its id."""
    last = key.path[0]
    return not (last.id or last.name)


def _counter(key: Any, following: int, found: Any) -> Any:
    """Return the mutation that sets a counter, which must be as it was found."""
    entity = wire.Entity(key=key)
    entity.properties["next"].CopyFrom(wire.Value(integer_value=following, exclude_from_indexes=True))
    return compare_and_set(entity, None if found is None else found.version)
