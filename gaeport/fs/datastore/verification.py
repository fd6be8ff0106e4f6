"""Looking for files whose content is gone from the blob store or from the chunk entities."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gaeport.blobs import BlobStore
from gaeport.datastore import wire
from gaeport.datastore.client import BATCH, Client, Found
from gaeport.fs.datastore.entries import METADATA, chunk_key, decode, unescape
from gaeport.fs.datastore.tree import entry_by_ino

CHUNKS = 16  # chunk entities a Lookup; a server may ignore the mask and send 900,000 bytes of each
DEPTH = 3000  # names in a path of 6 KiB; directories that move during the walk may seem to lie in each other
THREADS = 8  # questions in flight; each waits for Cloud Storage


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that lacks some of its content.

    Attributes:
        path: the mount's name in the store and the path inside it; with "?" where its directory is not reachable.
        sources: what is gone: "b:NAME" a blob, "c:INO/ID" a chunk.
    """

    path: str
    sources: tuple[str, ...]


@dataclass(slots=True)
class Verified:
    """What a walk found. `entries` and `pieces` count what was looked at."""

    entries: int = 0
    pieces: int = 0
    missing: list[Missing] = field(default_factory=list)


def verify(client: Client, stores: Sequence[BlobStore], report: Callable[[Verified], None]) -> Verified:
    """Walk all entries of the namespace and ask for each piece of content whether it is there.

    Args:
        client: on the namespace of gaeport's own entities.
        stores: every store that a blob may lie in.
        report: called after each batch.

    Raises:
        OSError: a blob store does not answer.
        DatastoreError: Datastore does not answer.
    """
    return _Verification(client, stores, report).run()


class _Verification:
    def __init__(self, client: Client, stores: Sequence[BlobStore], report: Callable[[Verified], None]) -> None:
        self._client = client
        self._stores = stores
        self._report = report
        self._done = Verified()
        self._places: dict[str, tuple[str, str]] = {}  # a directory's identity: its parent's, and its name

    def run(self) -> Verified:
        broken: list[tuple[Any, set[str]]] = []
        with ThreadPoolExecutor(THREADS) as pool:
            entries = self._entries()
            while batch := list(islice(entries, BATCH)):
                broken += self._check(batch, pool)
                self._report(self._done)
        self._done.missing = [Missing(self._path(key), tuple(sorted(gone))) for key, gone in broken]
        return self._done

    def _entries(self) -> Iterator[Found]:
        for kind in ("Entry", "Inode"):  # the files with one name, and those with several
            query = wire.Query()
            query.kind.add(name=kind)
            yield from self._client.query(query, mask=(*METADATA, "extents"))

    def _check(self, batch: list[Found], pool: ThreadPoolExecutor) -> list[tuple[Any, set[str]]]:
        needed: list[tuple[Any, set[str]]] = []
        for found in batch:
            entry = decode(found)
            if entry.dir is not None:
                self._places[entry.dir] = (found.entity.key.path[0].name, unescape(found.entity.key.path[-1].name))
            needed.append((found.entity.key, entry.sources()))
        self._done.entries += len(batch)
        gone = self._gone({source for _, sources in needed for source in sources}, pool)
        suspects = [(key, sources & gone) for key, sources in needed if sources & gone]
        return [(key, still) for key, lost in suspects if (still := self._still(key) & lost)]

    def _gone(self, sources: set[str], pool: ThreadPoolExecutor) -> set[str]:
        self._done.pieces += len(sources)
        blobs = sorted(source for source in sources if source.startswith("b:"))
        chunks = sorted(source for source in sources if source.startswith("c:"))
        there = pool.map(lambda source: any(store.exists(source[2:]) for store in self._stores), blobs)
        gone = {source for source, found in zip(blobs, there, strict=True) if not found}
        for start in range(0, len(chunks), CHUNKS):
            part = chunks[start : start + CHUNKS]
            rows = self._client.lookup([chunk_key(self._client, source) for source in part], mask=["__key__"])
            gone |= {source for source, row in zip(part, rows, strict=True) if row is None}
        return gone

    def _still(self, key: Any) -> set[str]:
        """Return what the entry needs now: it may have been changed or removed since it was read."""
        found = self._client.lookup([key])[0]
        return decode(found).sources() if found is not None else set()

    def _path(self, key: Any) -> str:
        if key.path[0].kind == "Inode":
            named = entry_by_ino(self._client, key.path[0].id)
            if named is None:
                return f"?/inode {key.path[0].id}"
            key = named.entity.key
        names = [unescape(key.path[-1].name)]
        directory = key.path[0].name
        while not directory.startswith("root:") and len(names) < DEPTH:
            directory, name = self._places.get(directory, ("root:?", "?"))
            names.append(name)
        return "/".join([directory.removeprefix("root:"), *reversed(names)])
