"""Locks whose holders died: nobody contends for many of them, and so nobody else removes their records.

A lock has expired when its record has not changed for the lease time, on the clock of who looks. So two looks are
needed, with that time between them.
"""

import time
from collections.abc import Iterator

from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found
from gaeport.datastore.mutations import delete
from gaeport.datastore.outcomes import REPEATABLE
from gaeport.fs.locks import decode

MARGIN = 1.0  # seconds; a holder renews three times in the lease time


class Abandoned:
    """The records of locks as they are now, to be compared with how they are later.

    Args:
        client: on the namespace of gaeport's own entities.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._began = time.monotonic()
        self._seen = {found.entity.key.path[-1].id: found for found in self._leases()}

    def remove(self, *, dry_run: bool = False) -> int:
        """Remove those that did not change for their lease time; waits for what is left of it, where there are any.

        Returns:
            How many there were.

        Raises:
            DatastoreError: a query was refused.
        """
        if not self._seen:
            return 0
        last = max(_seconds(found) for found in self._seen.values())
        time.sleep(max(0.0, self._began + last + MARGIN - time.monotonic()))
        unchanged = [found for found in self._leases() if self._is_unchanged(found)]
        return len(unchanged) if dry_run else sum(self._removed(found) for found in unchanged)

    def _is_unchanged(self, found: Found) -> bool:
        before = self._seen.get(found.entity.key.path[-1].id)
        return before is not None and before.version == found.version

    def _removed(self, found: Found) -> bool:
        try:
            self._client.commit([delete(found.entity.key, found.version)])
        except REPEATABLE:
            return False  # somebody took it, or the next run does it
        return True

    def _leases(self) -> Iterator[Found]:
        query = wire.Query()
        query.kind.add(name="Lease")
        return self._client.query(query)


def _seconds(found: Found) -> float:
    holders = decode(found.entity.properties["holders"].blob_value)
    return max((holder.seconds for holder in holders.values()), default=0.0)
