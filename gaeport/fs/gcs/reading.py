"""Reading an object by ranges, a little ahead of who reads in sequence."""

import errno
import threading
from collections import OrderedDict

from gaeport.blobs.objects import Conflict, ObjectStore
from gaeport.errors import file_error

WHOLE = 1 << 20  # bytes; what is not larger is read whole when it is opened
BLOCK = 1 << 20  # bytes read around a small read
AHEAD = 4 << 20  # bytes read at once by who goes on where the last read ended
BLOCKS = 3  # kept for an open file

GONE = (
    "somebody replaced or removed it since it was opened, and a bucket keeps no former content; open it again "
    "(with object versioning the bucket keeps it)"
)


class Reader:
    """Reads the contents of one open file; thread-safe.

    Args:
        objects: where it is.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.RLock()
        self._blocks: OrderedDict[tuple[int, int], bytes] = OrderedDict()  # by generation and offset
        self._next = -1

    def read(self, name: str, generation: int, offset: int, length: int) -> bytes:
        """Return a range of a content, which ends before the content does.

        Raises:
            OSError: ESTALE, that content is gone.
        """
        try:
            with self._lock:
                return b"".join(self._pieces(name, generation, offset, length))
        except Conflict as error:
            raise file_error(errno.ESTALE, name, GONE) from error

    def _pieces(self, name: str, generation: int, offset: int, length: int) -> list[bytes]:
        pieces = []
        while length > 0:
            piece = self._known(generation, offset, length) or self._fetched(name, generation, offset, length)
            if not piece:
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return pieces

    def _known(self, generation: int, offset: int, length: int) -> bytes:
        for (other, start), block in self._blocks.items():
            if other == generation and start <= offset < start + len(block):
                return block[offset - start : offset - start + length]
        return b""

    def _fetched(self, name: str, generation: int, offset: int, length: int) -> bytes:
        size = max(length, AHEAD if offset == self._next else BLOCK)
        block = self._objects.read(name, generation, offset, size)
        self._next = offset + len(block)
        if length < AHEAD:  # who reads that much at once needs no help
            self._blocks[generation, offset] = block
            while len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
        return block[:length]
