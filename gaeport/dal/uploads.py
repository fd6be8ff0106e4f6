"""Upload fields whose folder cannot be written: the content goes into an entity, and reads try the folder first.

On App Engine every folder is read-only that is not mounted. Files that were deployed with the application, or written
while the folder was mounted, are still found in it.
"""

import copy
import errno
import os
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import Any

from gaeport.dal.commits import ATTEMPTS
from gaeport.dal.store import Store
from gaeport.datastore import wire
from gaeport.datastore.client import retried
from gaeport.errors import Aborted, DeadlineExceeded, Unavailable

KIND, PART = "Upload.content", "Upload.part"  # with dots, which no table has in its name
PART_SIZE = 900_000  # bytes; leaves room for the rest of an entity
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
# Contents are written under names of their own, so that writing them twice does no harm.
_REPEATABLE = (Aborted, Unavailable, DeadlineExceeded)
_MISSING = (FileNotFoundError, NotADirectoryError)


class Contents:
    """The contents of uploads, one entity each; those over 900,000 bytes have more in entities of their own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _name(self, name: str) -> str:
        return f"{self._store.client.namespace}/{name}"  # of the rows

    def _part_key(self, name: str, number: int) -> Any:
        return self._store.outside.key(KIND, self._name(name), PART, number)

    def write(self, name: str, source: Any) -> None:
        """Keep what a binary file still has to give, under the name that the row will hold.

        The entity that makes it readable is written last.
        """
        first = source.read(PART_SIZE)
        parts = 0
        for piece in _pieces(source):
            parts += 1
            self._put(self._part_key(name, parts), piece, 0)
        self._put(self._store.outside.key(KIND, self._name(name)), first, parts)

    def _put(self, key: Any, data: bytes, parts: int) -> None:
        entity = wire.Entity(key=key)
        entity.properties["data"].CopyFrom(wire.Value(blob_value=data, exclude_from_indexes=True))
        if parts:
            entity.properties["parts"].CopyFrom(wire.Value(integer_value=parts, exclude_from_indexes=True))
        self._commit([wire.Mutation(upsert=entity)])

    def _commit(self, mutations: list[Any]) -> None:
        # At once, as a file would be written, whatever becomes of the transaction.
        retried(lambda: self._store.outside.commit(mutations), _REPEATABLE, ATTEMPTS)

    def _head(self, name: str) -> Any | None:
        client = self._store.outside
        found = client.lookup([client.key(KIND, self._name(name))])[0]
        return None if found is None else found.entity

    def read(self, name: str) -> bytes | None:
        """Return the content under a name, or None where there is none."""
        head = self._head(name)
        if head is None:
            return None
        keys = [self._part_key(name, number) for number in _numbers(head)]
        found = self._store.outside.lookup(keys) if keys else []
        pieces = [head, *(part.entity for part in found if part is not None)]
        return b"".join(piece.properties["data"].blob_value for piece in pieces)

    def remove(self, name: str) -> None:
        """Remove the content under a name, if there is one."""
        head = self._head(name)
        if head is not None:
            keys = [head.key, *(self._part_key(name, number) for number in _numbers(head))]
            self._commit([wire.Mutation(delete=key) for key in keys])


def _numbers(head: Any) -> range:
    return range(1, (head.properties["parts"].integer_value if "parts" in head.properties else 0) + 1)


def _pieces(source: Any) -> Iterator[bytes]:
    while piece := source.read(PART_SIZE):
        yield piece


def adapt(table: Any, contents: Contents) -> None:
    """Make the upload fields of a table that keep their files in a folder do without one."""
    for field in table:
        if field.type == "upload" and field.uploadfield is True and not field.uploadfs and not field.custom_store:
            field.__dict__["store"] = partial(_store, field, contents)
            field.__dict__["retrieve"] = partial(_retrieve, field, contents)
            if not field.custom_delete:
                field.custom_delete = partial(_delete, field, contents)


def _store(field: Any, contents: Contents, file: Any, filename: Any = None, path: Any = None) -> str:
    """Store a file as pyDAL does, or its content where the folder is read-only; return the name for the row."""
    if path or field.uploadfolder or field.db._adapter.folder:
        try:
            name: str = type(field).store(field, file, filename, path)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
        else:
            return name
    named = copy.copy(field)
    named.uploadfield = False  # pyDAL then makes the name and keeps nothing
    name = type(field).store(named, file, filename, path)
    contents.write(name, file.file if hasattr(file, "file") and hasattr(file, "filename") else file)
    return name


def _retrieve(field: Any, contents: Contents, name: str, path: Any = None, nameonly: bool = False) -> Any:
    """Return the name that a file was uploaded under, and the file: from the folder, or else its content."""
    try:
        filename, found = type(field).retrieve(field, name, path, nameonly)
    except _MISSING:
        content = contents.read(name)
        if content is None:
            raise
        return type(field).retrieve_file_properties(field, name, path)["filename"], BytesIO(content)
    if isinstance(found, str) and not os.path.exists(found):
        content = contents.read(name)
        if content is not None:
            return filename, BytesIO(content)
    return filename, found


def _delete(field: Any, contents: Contents, name: str) -> None:
    """Remove an uploaded file, from the folder or from the entities."""
    try:
        os.unlink(os.path.join(field.retrieve_file_properties(name)["path"], name))
    except _MISSING:
        contents.remove(name)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        contents.remove(name)  # a deployed file stays
