"""What every store of named objects offers: a bucket, or what stands in for one on a laptop.

An object is replaced whole. Each content of a name has a generation, a number that only grows; a call names the
generation that it means (0: none), so that of two writers one notices the other.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from gaeport.errors import GaeportError

OPERATION = "gaeport-operation"  # metadata by which a writer whose answer was lost knows its own object again
REMEMBERED = 16  # operations that an object tells, the last one first


class Conflict(GaeportError):
    """The object is no longer of the generation that the call named: somebody else changed or removed it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store tells of an object.

    Attributes:
        name: its whole name.
        size: bytes.
        generation: of its content.
        metageneration: of its metadata, for this content.
        created_ns: when the content was stored, in nanoseconds since 1970.
        updated_ns: when content or metadata were changed last.
        metadata: custom metadata.
        content_type: as HTTP names it.
        checksum: of the content, equal for equal contents of one store; "" where there is none.
    """

    name: str
    size: int
    generation: int
    metageneration: int = 1
    created_ns: int = 0
    updated_ns: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an object is to be.

    Attributes:
        name: its whole name.
        generation: of the content that it replaces; 0 where there must be none.
        metadata: custom metadata; OPERATION in it lists marks of writes, this one's first.
        content_type: as HTTP names it.
    """

    name: str
    generation: int
    metadata: Mapping[str, str]
    content_type: str = "application/octet-stream"


class ObjectUpload(Protocol):
    """An object being written in pieces, in bounded memory. Nothing shows under its name before `close`."""

    def write(self, data: bytes | memoryview) -> None:
        """Append data. Raises Conflict, or OSError when the store refuses; then nothing is left of the upload."""
        ...

    def close(self) -> Stored:
        """Put the object under its name, whole. Raises Conflict, OSError."""
        ...

    def abort(self) -> None:
        """Give up and leave nothing. May be called at any time, after `close` too; never raises."""
        ...


class ObjectStore(Protocol):
    """Keeps objects. Every call raises OSError when the store refuses or does not answer: EACCES, EIO, ENOSPC."""

    def stat(self, name: str) -> Stored | None:
        """Return what is stored under a name; None where nothing is."""
        ...

    def scan(self, prefix: str, *, deep: bool = False, limit: int | None = None) -> Iterator[Stored | str]:
        """Yield the objects whose names begin with a prefix, and where not `deep` the longer prefixes up to a slash.

        Args:
            prefix: "" or a text that ends in a slash.
            deep: all objects, however many slashes follow.
            limit: the most to yield.
        """
        ...

    def read(self, name: str, generation: int, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only where the content ends.

        Raises:
            Conflict: that content is gone.
        """
        ...

    def write(self, draft: Draft, data: bytes) -> Stored:
        """Store a content in one call. Raises Conflict."""
        ...

    def upload(self, draft: Draft) -> ObjectUpload:
        """Begin to store a large content."""
        ...

    def patch(self, stored: Stored, metadata: Mapping[str, str], *, content_type: str | None = None) -> Stored:
        """Set some of the custom metadata, and the content type where one is given.

        Raises:
            Conflict: content or metadata were changed since.
        """
        ...

    def move(self, source: Stored, target: str, generation: int) -> Stored:
        """Give an object another name, replacing the content of that generation (0: none) there.

        Raises:
            Conflict: one of the two is of another generation.
        """
        ...

    def delete(self, name: str, generation: int) -> None:
        """Remove an object. Raises Conflict."""
        ...


def operations(stored: Stored | None, mark: str) -> str:
    """Return what OPERATION is to hold after a write with this mark, which replaces or changes `stored`."""
    former = stored.metadata.get(OPERATION, "").split() if stored is not None else []
    return " ".join([mark, *former[: REMEMBERED - 1]])


def did(found: Stored, draft: Draft) -> bool:
    """Tell whether an object is what a write made, or was made from it since."""
    mark = draft.metadata.get(OPERATION, "").partition(" ")[0]
    return bool(mark) and mark in found.metadata.get(OPERATION, "").split()


def patched(present: Stored | None, known: Stored, metadata: Mapping[str, str], content_type: str | None) -> Stored:
    """Return what an object is after `ObjectStore.patch` now.

    Args:
        present: as it is stored; None where nothing is.
        known: as the caller knows it, of the same generation.
        metadata: what is set; other names keep their values.
        content_type: None leaves it as it is.

    Raises:
        Conflict: it is gone, or its metadata were changed since the caller looked.
    """
    if present is None or present.metageneration != known.metageneration:
        raise Conflict(known.name)
    return replace(
        present,
        metadata={**present.metadata, **metadata},
        content_type=present.content_type if content_type is None else content_type,
        metageneration=present.metageneration + 1,
        updated_ns=time.time_ns(),
    )
