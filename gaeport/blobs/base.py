"""What every blob store offers: immutable blobs under names that gaeport chooses, streamed both ways."""

from typing import Protocol


class BlobWriter(Protocol):
    """A blob being written, in pieces, in bounded memory. Nothing can be read under its name before `close`."""

    def write(self, data: bytes | memoryview) -> None:
        """Append data. Raises OSError (EIO, ENOSPC) when the store refuses; then the blob is lost, not half there."""
        ...

    def close(self) -> None:
        """Make the blob readable, whole. Raises FileExistsError when the name is taken, OSError when refused."""
        ...

    def abort(self) -> None:
        """Give the blob up and leave nothing of it. May be called at any time, after an error too; never raises."""
        ...


class BlobStore(Protocol):
    """Keeps blobs. Names are ASCII, unique, and never used twice."""

    def create(self, name: str) -> BlobWriter:
        """Start a new blob."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only where the blob ends.

        Raises:
            FileNotFoundError: there is no such blob.
            OSError: EIO when the store does not answer.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a blob; a missing one is no error."""
        ...

    def exists(self, name: str) -> bool:
        """Tell whether the blob is there, whole."""
        ...
