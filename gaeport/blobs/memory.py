"""Blobs in this process's memory, for `data = ":memory:"`."""

import errno
import threading
import time

from gaeport import meter
from gaeport.errors import file_error

KIND = "(memory)"  # what the meter says of these calls, where others name a bucket


class MemoryStore:
    """Keeps blobs in a dictionary; they end with it."""

    def __init__(self, blobs: dict[str, bytes] | None = None, prefix: str = "") -> None:
        """Keep blobs in `blobs` (by default a fresh dictionary), with `prefix` before every name."""
        self._blobs: dict[str, bytes] = {} if blobs is None else blobs
        self._prefix = prefix

    def create(self, name: str) -> "MemoryWriter":
        """Start a new blob."""
        return MemoryWriter(self._blobs, self._prefix + name, name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only where the blob ends. Raises FileNotFoundError."""
        start, found = time.perf_counter(), b""
        try:
            found = self._blobs[self._prefix + name][offset : offset + length]
            return found
        except KeyError:
            raise file_error(errno.ENOENT, name, "the content is gone from the blob store") from None
        finally:
            about = meter.About(KIND, 1, received=len(found))
            meter.record("ReadBlob", time.perf_counter() - start, about=about, storage__class_b=1)

    def delete(self, name: str) -> None:
        """Remove a blob; a missing one is no error."""
        self._blobs.pop(self._prefix + name, None)
        meter.record("DeleteBlob", 0.0, about=meter.About(KIND, 1))

    def exists(self, name: str) -> bool:
        """Tell whether the blob is there, whole."""
        meter.record("StatBlob", 0.0, about=meter.About(KIND, 1), storage__class_b=1)
        return self._prefix + name in self._blobs


class MemoryWriter:
    """A blob being written."""

    def __init__(self, blobs: dict[str, bytes], key: str, name: str) -> None:
        self._blobs = blobs
        self._key = key
        self._name = name
        self._content: bytearray | None = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        if self._content is None:
            raise ValueError(f"blob {self._name!r} is closed")
        self._content += data

    def close(self) -> None:
        """Make the blob readable, whole. Raises FileExistsError when the name is taken."""
        content, self._content = self._content, None
        if content is None:
            return
        meter.record("WriteBlob", 0.0, about=meter.About(KIND, 1, sent=len(content)), storage__class_a=1)
        with _publishing:
            if self._key in self._blobs:
                raise file_error(errno.EEXIST, self._name)
            self._blobs[self._key] = bytes(content)

    def abort(self) -> None:
        """Give the blob up and leave nothing of it. Never raises."""
        self._content = None


_publishing = threading.Lock()
