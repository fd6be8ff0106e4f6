"""Named objects in memory, for settings that keep nothing."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping

from gaeport import meter
from gaeport.blobs.objects import Conflict, Draft, Stored, patched

KIND = "(memory)"  # what the meter says of these calls, where others name a bucket

Content = dict[str, tuple[Stored, bytes]]


class MemoryObjects:
    """Keeps objects in a dictionary, by their names."""

    def __init__(self, content: Content | None = None) -> None:
        """Use a dictionary, by default a new one; stores that share one share their objects."""
        self._content: Content = {} if content is None else content
        self._lock = threading.RLock()
        self._last = 0

    def stat(self, name: str) -> Stored | None:
        """Return what is stored under a name; None where nothing is."""
        count("StatObject", storage__class_b=1)
        found = self._content.get(name)
        return found[0] if found is not None else None

    def scan(self, prefix: str, *, deep: bool = False, limit: int | None = None) -> Iterator[Stored | str]:
        """Yield the objects below a prefix, and longer prefixes."""
        count("ListObjects", storage__class_a=1)
        with self._lock:
            names = sorted(name for name in self._content if name.startswith(prefix))
            found: dict[str, Stored | str] = {}
            for name in names:
                inner, slash, rest = name[len(prefix) :].partition("/")
                below = f"{prefix}{inner}/"
                if deep or not slash or not rest:
                    found[name] = self._content[name][0]
                else:
                    found.setdefault(below, below)
        yield from list(found.values())[:limit]

    def read(self, name: str, generation: int, offset: int, length: int) -> bytes:
        """Return a range of the content of a generation."""
        with self._lock:
            found = self._content.get(name)
        if found is None or found[0].generation != generation:
            count("ReadObject", storage__class_b=1)
            raise Conflict(name)
        data = found[1][offset : offset + length]
        count("ReadObject", received=len(data), storage__class_b=1)
        return data

    def write(self, draft: Draft, data: bytes) -> Stored:
        """Store a content."""
        count("WriteObject", sent=len(data), storage__class_a=1)
        with self._lock:
            self._demand(draft.name, draft.generation)
            return self._put(draft, bytes(data))

    def upload(self, draft: Draft) -> "MemoryUpload":
        """Begin to store a large content."""
        return MemoryUpload(self, draft)

    def patch(self, stored: Stored, metadata: Mapping[str, str], *, content_type: str | None = None) -> Stored:
        """Set some of the custom metadata, and the content type where one is given."""
        count("PatchObject", storage__class_a=1)
        with self._lock:
            present, data = self._demand(stored.name, stored.generation) or (None, b"")
            made = patched(present, stored, metadata, content_type)
            self._content[stored.name] = made, data
            return made

    def move(self, source: Stored, target: str, generation: int) -> Stored:
        """Give an object another name."""
        count("MoveObject", storage__class_a=1)
        with self._lock:
            self._demand(target, generation)
            found = self._demand(source.name, source.generation)
            assert found is not None
            draft = Draft(target, generation, found[0].metadata, found[0].content_type)
            made = self._put(draft, found[1])
            del self._content[source.name]
            return made

    def delete(self, name: str, generation: int) -> None:
        """Remove an object."""
        count("DeleteObject")
        with self._lock:
            self._demand(name, generation)
            del self._content[name]

    def _demand(self, name: str, generation: int) -> tuple[Stored, bytes] | None:
        found = self._content.get(name)
        if (found[0].generation if found is not None else 0) != generation:
            raise Conflict(name)
        return found

    def _put(self, draft: Draft, data: bytes) -> Stored:
        now = time.time_ns()
        self._last = max(now // 1000, self._last + 1)
        stored = Stored(
            draft.name,
            len(data),
            self._last,
            created_ns=now,
            updated_ns=now,
            metadata=dict(draft.metadata),
            content_type=draft.content_type,
            checksum=hashlib.blake2b(data, digest_size=8).hexdigest(),
        )
        self._content[draft.name] = stored, data
        return stored


class MemoryUpload:
    """An object being written."""

    def __init__(self, store: MemoryObjects, draft: Draft) -> None:
        self._store, self._draft = store, draft
        self._data: bytearray | None = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        if self._data is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        self._data += data

    def close(self) -> Stored:
        """Put the object under its name."""
        data, self._data = self._data, None
        if data is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        return self._store.write(self._draft, bytes(data))

    def abort(self) -> None:
        """Give up."""
        self._data = None


def count(call: str, *, sent: int = 0, received: int = 0, **units: int) -> None:
    """Tell the meter of a call that took no time."""
    meter.record(call, 0.0, about=meter.About(KIND, 1, sent=sent, received=received), failed=False, **units)
