"""Where a file's bytes are: inline, in blobs, in chunk entities, or in a deployed file; and how they get there.

Blobs and chunks are written before the commit that points at them and never changed. An `Upload` names those being
written, so that a garbage collector never takes a slow writer's; a `Garbage` names those dropped.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gaeport.blobs import BlobStore
from gaeport.datastore.client import Client, retried
from gaeport.datastore.mutations import delete, insert, update, upsert
from gaeport.datastore.outcomes import UNCERTAIN
from gaeport.errors import Aborted, AlreadyExists
from gaeport.fs import disk
from gaeport.fs.datastore.content import Extent, Hole, Memory, Piece, View
from gaeport.fs.datastore.entries import chunk_key, new_id, record

TAIL = 64 << 10  # bytes kept inline after the stored part; a longer tail is cut into a chunk
CHUNK = 900_000  # bytes; a Chunk entity with its key and property name stays under 1,048,572 B
WITH_COMMIT = 3 * CHUNK  # bytes in one commit; production's limit is 10 MiB, the Firestore emulator's 4 MiB
SPILL = 8 << 20  # bytes written after which large pieces are stored early, so that memory stays bounded
BLOCK = 1 << 20  # bytes read ahead around a small read of a blob
LEAST_NAMES = 16  # that one call registers for an upload
NAMES = 5_000  # sources in one Garbage entity; some 60 bytes each
CACHED_BLOCKS = 8
AHEAD = 8 << 20  # bytes of a blob asked for at once where it is read in sequence; blobs of long writes are no larger
STREAMS = 2  # blobs read in sequence at once, of which what was asked for ahead is kept
RUN = 13  # small chunks in a row, after which they are joined
SMALL = 128 << 10  # bytes
MANY = 1000  # pieces; an Entry has room for about 10,000

# Errors after which a repeat of what is idempotent, or was looked up first, can succeed.
_AGAIN = (Aborted, AlreadyExists, *UNCERTAIN)

Connect = Callable[[], Client]


class Upload:
    """The names of blobs and chunks that one writer is writing, registered before the first byte is written.

    Attributes:
        ino: the inode number under which its chunks are.
        store: the address of the blob store.
        written: the sources ("b:…" or "c:…") stored under these names so far.
    """

    def __init__(self, connect: Connect, ino: int, store: str) -> None:
        self._connect = connect
        self.store = store
        self._id = new_id()
        self._version = 0
        self._room = 0
        self.ino = ino
        self.written: list[str] = []

    def reserve(self, count: int) -> None:
        """Register names for `count` more blobs or chunks, where there are not as many; so that it takes one call."""
        wanted = len(self.written) + count
        if wanted > self._room:
            self._register(max(LEAST_NAMES, self._room * 2, wanted))

    def next_name(self) -> str:
        """Return a registered name that was not used yet; registering doubles, so it costs few calls."""
        self.reserve(1)
        return f"{self._id}.{len(self.written)}"

    def _register(self, room: int) -> None:
        entity = record(self._key(), count=room, ino=self.ino, store=self.store, begun=time.time_ns())
        mutation = update(entity, self._version) if self._version else insert(entity)
        try:
            self._version = self._connect().commit([mutation])[0].version
        except _AGAIN:
            retried(lambda: self._register_again(mutation, room), _AGAIN, 5)
        self._room = room

    def _register_again(self, mutation: Any, room: int) -> None:
        """Look whether the commit was applied after all, and only then send it again."""
        found = self._connect().lookup([self._key()])[0]
        if found is None or found.entity.properties["count"].integer_value != room:
            self._version = self._connect().commit([mutation])[0].version
        else:
            self._version = found.version

    def finish(self) -> Any:
        """Return the mutation that ends the upload; it fails when a garbage collector ended it before."""
        return delete(self._key(), self._version)

    def lost(self) -> bool:
        """Tell whether a garbage collector has taken this upload (and may have deleted what it names)."""
        found = self._connect().lookup([self._key()])[0]
        return found is None

    def _key(self) -> Any:
        return self._connect().key("Upload", self._id)


class Stream(NamedTuple):
    """Where a blob is read next if it is read in sequence, what is there already from that offset on, and whether the
    blob ends with that."""

    offset: int
    waiting: memoryview
    ended: bool


@dataclass(slots=True)
class Settled:
    """What a commit must carry to publish a content.

    Attributes:
        view: the content once the commit is through.
        extents: the stored part, as JSON.
        inline: the rest.
        mutations: chunks to write in the same commit.
    """

    view: View
    extents: bytes
    inline: bytes
    mutations: list[Any] = field(default_factory=list)


class Storage:
    """Reads and stores the pieces of contents.

    Args:
        connect: gives the client for gaeport's own entities.
        blobs: where large content goes; None keeps it in chunk entities.
        inline_limit: bytes; content up to this size stays in the file's own entity.
        address: names the blob store, so that a garbage collector with other settings finds it.
    """

    def __init__(self, connect: Connect, blobs: BlobStore | None, inline_limit: int, address: str = "") -> None:
        self._address = address
        self._connect = connect
        self._blobs = blobs
        self.inline_limit = inline_limit
        self._lock = threading.RLock()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._streams: OrderedDict[str, Stream] = OrderedDict()

    def hold(self) -> list[Any]:
        """Take the lock; returns it, to be released after a fork."""
        self._lock.acquire()
        return [self._lock]

    def load(self, extent: Extent) -> bytes:
        """Return the bytes of an extent, reading ahead where the read is small."""
        if extent.source.startswith("d:"):
            return disk.read(extent.source[2:], extent.offset, extent.length)
        if extent.source.startswith("c:"):
            whole = self._block(extent.source, 0)
            return whole[extent.offset : extent.offset + extent.length]
        if extent.length >= BLOCK:
            return self._read_on(extent.source, extent.offset, extent.length)
        return self._read_blocks(extent)

    def settle(self, view: View, ino: int, upload: Callable[[], Upload], *, appending: bool) -> Settled:
        """Store what cannot stay in memory, and return what the publishing commit carries.

        Args:
            view: the content; what is stored before the commit becomes an extent of it.
            ino: the file's inode number, under which its chunks are.
            upload: gives the upload to register names with, when one is needed.
            appending: the only change is an append, so the tail should stay short.
        """
        self._fetch_deployed(view, upload)
        in_memory = all(isinstance(piece, Memory) for piece in view.pieces)
        limit = TAIL if appending else self.inline_limit
        if in_memory and view.size <= limit:
            return Settled(view, b"", view.read(0, view.size, self.load))
        if appending:
            self._join_small_chunks(view)
        return self._store(view, ino, upload)

    def spill(self, view: View, upload: Callable[[], Upload]) -> None:
        """Store pieces in memory that have grown large, so that a long write stays in bounded memory."""
        for index in range(len(view.pieces) - 1, -1, -1):
            piece = view.pieces[index]
            if isinstance(piece, Memory) and piece.length >= BLOCK:
                view.replace(index, self._upload(piece.data, upload()))

    def drop(self, sources: set[str]) -> list[Any]:
        """Return the mutations that put sources on the garbage collector's list."""
        ordered = sorted(sources)
        return [self._garbage(ordered[i : i + NAMES]) for i in range(0, len(ordered), NAMES)]

    def _garbage(self, sources: list[str]) -> Any:
        key, names = self._connect().key("Garbage", new_id()), json.dumps(sources).encode()
        return upsert(record(key, names=names, store=self._address, dropped=time.time_ns()))

    def upload(self, ino: int) -> Upload:
        """Return a new upload for the content of a file; nothing is registered yet."""
        return Upload(self._connect, ino, self._address)

    def _store(self, view: View, ino: int, upload: Callable[[], Upload]) -> Settled:
        if len(view.pieces) > MANY:
            self._join_neighbours(view, upload)
        inline = b""
        last = view.pieces[-1] if view.pieces else None
        if isinstance(last, Memory) and last.length <= TAIL:
            inline = bytes(last.data)
        heavy = view.pieces[:-1] if inline else view.pieces
        waiting = sum(piece.length for piece in heavy if isinstance(piece, Memory))
        if waiting > (CHUNK if self._blobs else WITH_COMMIT):
            self._upload_all(view, len(heavy), upload)
            heavy = view.pieces[:-1] if inline else view.pieces
        mutations: list[Any] = []
        stored: list[Piece] = []
        for piece in heavy:
            stored += self._chunks(piece.data, ino, mutations) if isinstance(piece, Memory) else [piece]
        published = View([*stored, Memory(inline)])
        return Settled(published, _as_json(stored), inline, mutations)

    def _upload_all(self, view: View, count: int, upload: Callable[[], Upload]) -> None:
        for index in range(count - 1, -1, -1):
            piece = view.pieces[index]
            if isinstance(piece, Memory):
                view.replace(index, self._upload(piece.data, upload()))

    def _chunks(self, data: bytearray, ino: int, mutations: list[Any]) -> list[Piece]:
        pieces: list[Piece] = []
        for start in range(0, len(data), CHUNK):
            part = bytes(memoryview(data)[start : start + CHUNK])
            source = f"c:{ino}/{new_id()}"
            mutations.append(self._chunk(source, part))
            pieces.append(Extent(source, 0, len(part)))
        return pieces

    def _chunk(self, source: str, data: bytes) -> Any:
        return upsert(record(chunk_key(self._connect(), source), data=data))

    def _upload(self, data: bytearray, upload: Upload) -> list[Piece]:
        if self._blobs is not None:
            return [self._upload_blob(self._blobs, data, upload)]
        upload.reserve(-(-len(data) // WITH_COMMIT) * (WITH_COMMIT // CHUNK))
        pieces: list[Piece] = []
        for start in range(0, len(data), WITH_COMMIT):
            pieces += self._upload_chunks(memoryview(data)[start : start + WITH_COMMIT], upload)
        return pieces

    def _upload_blob(self, blobs: BlobStore, data: bytearray, upload: Upload) -> Extent:
        name = upload.next_name()
        upload.written.append(f"b:{name}")
        writer = blobs.create(name)
        try:
            writer.write(memoryview(data))
            writer.close()
        except BaseException:
            writer.abort()
            raise
        return Extent(f"b:{name}", 0, len(data))

    def _upload_chunks(self, data: memoryview, upload: Upload) -> list[Piece]:
        pieces: list[Piece] = []
        mutations = []
        for start in range(0, len(data), CHUNK):
            part = bytes(data[start : start + CHUNK])
            source = f"c:{upload.ino}/{upload.next_name()}"
            upload.written.append(source)
            mutations.append(self._chunk(source, part))
            pieces.append(Extent(source, 0, len(part)))
        # The same chunks under the same names: safe to send again, whatever became of the first try.
        retried(lambda: self._connect().commit(mutations), _AGAIN, 5)
        return pieces

    def _fetch_deployed(self, view: View, upload: Callable[[], Upload]) -> None:
        for index in range(len(view.pieces) - 1, -1, -1):
            piece = view.pieces[index]
            if isinstance(piece, Extent) and piece.source.startswith("d:"):
                view.replace(index, self._copied_up(piece, upload))

    def _copied_up(self, piece: Extent, upload: Callable[[], Upload]) -> list[Piece]:
        if piece.length <= SPILL:
            return [Memory(self.load(piece))]
        copied: list[Piece] = []
        for start in range(0, piece.length, SPILL):
            data = bytearray(self.load(piece.cut(start, min(piece.length, start + SPILL))))
            copied += self._upload(data, upload())
        return copied

    def _join_small_chunks(self, view: View) -> None:
        tail = view.pieces[-1:] if view.pieces and isinstance(view.pieces[-1], Memory) else []
        stored = view.pieces[: len(view.pieces) - len(tail)]
        run = 0
        while run < len(stored) and _is_small_chunk(stored[-1 - run]):
            run += 1
        if run < RUN:
            return
        joined = Memory()
        for piece in [*stored[-run:], *tail]:
            joined.data += self.load(piece) if isinstance(piece, Extent) else getattr(piece, "data", b"")
        view.pieces = [*stored[:-run], joined]

    def _join_neighbours(self, view: View, upload: Callable[[], Upload]) -> None:
        """Write runs of small pieces anew as large ones, so that the table stays small however scattered the writes."""
        joined: list[Piece] = []
        run = Memory()
        for piece in view.pieces:
            if piece.length < SMALL:
                run.data += View([piece]).read(0, piece.length, self.load)
                if run.length >= CHUNK - SMALL:
                    joined += self._upload(run.data, upload())
                    run = Memory()
            else:
                joined += [run, piece]
                run = Memory()
        view.pieces = [piece for piece in (*joined, run) if piece.length]

    def _read_blob(self, source: str, offset: int, length: int) -> bytes:
        if self._blobs is None:
            raise FileNotFoundError(f"blob {source[2:]!r} needs a bucket, and none is set")
        return self._blobs.read(source[2:], offset, length)

    def _read_on(self, source: str, offset: int, length: int) -> bytes:
        """Return bytes of a blob; from the second read in sequence on, more is asked for than is needed yet."""
        with self._lock:
            stream = self._streams.pop(source, None)
        follows = stream is not None and stream.offset == offset
        waiting, ended = (stream.waiting, stream.ended) if stream is not None and follows else (memoryview(b""), False)
        if len(waiting) < length and not ended:
            wanted = max(length, AHEAD) if follows else length
            waiting = memoryview(self._read_blob(source, offset, wanted))
            ended = len(waiting) < wanted
        found = bytes(waiting[:length])
        with self._lock:
            if len(found) == length:
                rest = waiting[length:]  # an empty one would still hold all that was read
                self._streams[source] = Stream(offset + length, rest if rest.nbytes else memoryview(b""), ended)
            while len(self._streams) > STREAMS:
                self._streams.popitem(last=False)
        return found

    def _read_blocks(self, extent: Extent) -> bytes:
        first, last = extent.offset // BLOCK, (extent.offset + extent.length - 1) // BLOCK
        data = b"".join(self._block(extent.source, number) for number in range(first, last + 1))
        start = extent.offset - first * BLOCK
        return data[start : start + extent.length]

    def _block(self, source: str, number: int) -> bytes:
        with self._lock:
            if (source, number) in self._blocks:
                self._blocks.move_to_end((source, number))
                return self._blocks[source, number]
        data = self._read_chunk(source) if source.startswith("c:") else self._read_on(source, number * BLOCK, BLOCK)
        with self._lock:
            self._blocks[source, number] = data
            while len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        return data

    def _read_chunk(self, source: str) -> bytes:
        client = self._connect()
        found = client.lookup([chunk_key(client, source)])[0]
        if found is None:
            raise FileNotFoundError(f"chunk {source[2:]!r} is gone")
        return bytes(found.entity.properties["data"].blob_value)


def _is_small_chunk(piece: Piece) -> bool:
    return isinstance(piece, Extent) and piece.source.startswith("c:") and piece.length < SMALL


def _as_json(pieces: list[Piece]) -> bytes:
    rows: list[tuple[str, int, int]] = []
    for piece in pieces:
        if isinstance(piece, Extent):
            rows.append((piece.source, piece.offset, piece.length))
        elif isinstance(piece, Hole):
            rows.append(("", 0, piece.length))
    return json.dumps(rows, separators=(",", ":")).encode()
