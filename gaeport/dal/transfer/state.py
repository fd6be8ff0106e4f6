"""How far a transfer is: one entity in gaeport's own namespace, which outlives the process that moves."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.client import Client, retried
from gaeport.errors import Aborted, DeadlineExceeded, Internal, Unavailable

KIND = "Transfer"
ATTEMPTS = 6
#: Everything that a transfer commits may be committed again.
REPEATABLE = (Aborted, Unavailable, DeadlineExceeded, Internal)


class State:
    """The state of one transfer.

    Attributes:
        tables: by table, the last id that has been moved.
        files: by folder, the name of the file up to which all have been moved.
        cleared: the tables whose former rows have been deleted.
        duplicates: table, field and id of rows whose unique value another row had.
        begun: whether an earlier run has left this state.
    """

    def __init__(self, client: Client, what: Sequence[str]) -> None:
        name = hashlib.sha256(json.dumps(list(what)).encode()).hexdigest()
        self._client, self._key = client, client.key(KIND, name)
        self.what = list(what)
        self.clear()

    def clear(self) -> None:
        """Begin anew; nothing is written yet."""
        self.tables: dict[str, int] = {}
        self.files: dict[str, str] = {}
        self.cleared: list[str] = []
        self.duplicates: list[tuple[str, str, int]] = []
        self.begun = False

    def load(self) -> None:
        """Read what an earlier run has left, if one has."""
        found = self._client.lookup([self._key])[0]
        if found is None:
            return
        kept = json.loads(found.entity.properties["state"].blob_value)
        self.tables, self.files, self.cleared = kept["tables"], kept["files"], kept["cleared"]
        self.duplicates = [(table, field, number) for table, field, number in kept["duplicates"]]
        self.begun = True

    def mutation(self) -> Any:
        """Return the mutation that keeps the state, for a commit together with what it speaks of."""
        kept: dict[str, object] = {"what": self.what, "tables": self.tables, "files": self.files}
        kept |= {"cleared": self.cleared, "duplicates": self.duplicates}
        entity = wire.Entity(key=self._key)
        value = wire.Value(blob_value=json.dumps(kept).encode(), exclude_from_indexes=True)
        entity.properties["state"].CopyFrom(value)
        return wire.Mutation(upsert=entity)

    def save(self) -> None:
        """Keep the state."""
        commit(self._client, [self.mutation()])

    def delete(self) -> None:
        """Forget the state: the transfer is complete."""
        commit(self._client, [wire.Mutation(delete=self._key)])


def commit(client: Client, mutations: Sequence[Any]) -> None:
    """Commit what may be committed twice, and try again where that helps."""
    retried(lambda: client.commit(mutations), REPEATABLE, ATTEMPTS)
