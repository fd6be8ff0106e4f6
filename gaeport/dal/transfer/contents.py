"""Uploads that Datastore keeps in entities, since their folder was read-only: exported as the files they stand for."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gaeport.dal.store import Store
from gaeport.dal.transfer.files import TOGETHER, Folder
from gaeport.dal.transfer.state import State
from gaeport.dal.uploads import KIND, Contents
from gaeport.datastore import wire


class StoredUploads:
    """The uploads of some tables that Datastore keeps."""

    def __init__(self, tables: Sequence[Any]) -> None:
        self._store: Store = tables[0]._db._adapter.store
        self._contents = Contents(self._store)
        self._fields = {
            f"{table._tablename}.{field.name}": field for table in tables for field in table if field.type == "upload"
        }

    def names(self) -> Iterator[str]:
        """Yield the names that the rows have for them, in order."""
        query = wire.Query()
        query.kind.add(name=KIND)
        query.projection.add().property.name = "__key__"
        query.order.add(direction=wire.ASCENDING).property.name = "__key__"
        prefix = f"{self._store.client.namespace}/"
        for found in self._store.own_client.query(query):
            path = found.entity.key.path
            name = path[0].name.removeprefix(prefix)
            if len(path) == 1 and name != path[0].name and ".".join(name.split(".", 2)[:2]) in self._fields:
                yield name

    def export(self, target: Folder, state: State, tell: Callable[[int], object]) -> None:
        """Write those that no earlier run has written.

        Args:
            target: the folder of uploads; files of the same names are replaced.
            state: how far earlier runs got, and where this one notes it.
            tell: is told how many have been dealt with.

        Raises:
            OSError: a file cannot be written.
        """
        done, made = state.files.get(KIND, ""), set[str]()
        for count, name in enumerate(self.names(), 1):
            if name.encode() <= done.encode():
                continue
            path = self._path(name)
            target.make([path], made)
            target.write(path, iter([self._contents.read(name) or b""]), time.time_ns())
            if count % TOGETHER == 0:
                state.files[KIND] = name
                state.save()
                tell(count)

    def compare(self, target: Folder) -> tuple[int, list[str]]:
        """Return how many there are, and the names of those that the target lacks or has otherwise."""
        count, different = 0, []
        for count, name in enumerate(self.names(), 1):  # noqa: B007  # the last count is the number
            content = self._contents.read(name) or b""
            if target.digest(self._path(name)) != (len(content), hashlib.sha256(content).digest()):
                different.append(name)
        return count, different

    def _path(self, name: str) -> str:
        """Return where pyDAL looks for a file, from the folder of uploads on."""
        table, field, unique = name.split(".", 3)[:3]
        if not self._fields[f"{table}.{field}"].uploadseparate:
            return name
        return os.path.join(f"{table}.{field}", unique[:2], name)
