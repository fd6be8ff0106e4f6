"""Instances that run in turns, one call at a time, in an order that a seed decides; and what their work may leave."""

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gaeport.blobs.memory import MemoryStore
from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found
from gaeport.datastore.transport import Transport
from gaeport.errors import Unavailable
from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.datastore.entries import Entry, chunk_key, decode, unescape
from gaeport.fs.datastore.volume import DatastoreVolume
from tests.fs.volumes import PROJECT, append, get, put, split

Operation = tuple[str, ...]
Done = tuple[Operation, bool]
MAKERS = ("put", "whole", "append", "mkdir", "symlink")
Contents = dict[str, bytes]  # what is at a path: b"/" a directory, b"@…" a link, b"=…" a file


class Turns:
    """A scheduler: each worker hands over at every call, and a random one goes on."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._control = threading.Semaphore(0)
        self._gates: dict[int, threading.Semaphore] = {}
        self._mine = threading.local()
        self._failures: list[BaseException] = []

    def handover(self) -> None:
        """Wait until it is this worker's turn again; a thread that is no worker just goes on."""
        gate = getattr(self._mine, "gate", None)
        if gate is not None:
            self._control.release()
            gate.acquire()

    def run(self, workers: Sequence[Callable[[], None]]) -> None:
        """Run all workers to their ends; raises what one of them raised."""
        for number, work in enumerate(workers):
            self._gates[number] = threading.Semaphore(0)
            threading.Thread(target=self._work, args=(number, work), daemon=True).start()
        while self._gates:
            self._random.choice(list(self._gates.values())).release()
            self._control.acquire()
        if self._failures:
            raise self._failures[0]

    def _work(self, number: int, work: Callable[[], None]) -> None:
        self._mine.gate = self._gates[number]
        self._mine.gate.acquire()
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - run() raises it
            self._failures.append(failure)
        finally:
            del self._gates[number]
            self._control.release()


class InTurns:
    """A transport that hands over before each call, and loses a part of the answers to Commits."""

    def __init__(self, inner: Transport, turns: Turns, lost: Callable[[], bool]) -> None:
        self._inner, self._turns, self._lost = inner, turns, lost

    def call(self, method: str, request: Any) -> Any:
        self._turns.handover()
        response = self._inner.call(method, request)
        if method == "Commit" and self._lost():
            self._turns.handover()
            raise Unavailable("connection reset before the answer came")
        return response


def perform(volume: DatastoreVolume, operation: Operation) -> None:
    """Do one operation on a volume."""
    name, *rest = operation
    if name == "put":
        put(volume, rest[0], rest[1].encode())
    elif name == "whole":
        write_whole(volume, {rest[0]: rest[1].encode()}, new=rest[2:] == ["new"])
    elif name == "append":
        append(volume, rest[0], rest[1].encode())
    elif name == "rename":
        volume.rename(split(rest[0]), split(rest[1]))
    elif name == "symlink":
        volume.symlink("/nowhere", split(rest[0]))
    else:
        getattr(volume, name)(split(rest[0]))


def write_whole(volume: DatastoreVolume, files: dict[str, bytes], *, new: bool = False) -> None:
    """Put small files by the operation for many, which leaves to its caller what it cannot do."""
    wanted = [Whole(split(path), content, 0o644, 1000, 2000, new=new) for path, content in files.items()]
    for _ in range(30):
        wanted = volume.bulk.write(wanted)
        if not wanted:
            return
    raise FileNotFoundError(wanted[0].path)


def would(tree: Contents, operation: Operation) -> Contents | None:
    """Return what an operation makes of a tree, as on Linux; None where it fails."""
    name, path, *rest = operation
    parent = path.rpartition("/")[0]
    if parent and tree.get(parent) != b"/":
        return None
    there = tree.get(path)
    below = [other for other in tree if other.startswith(f"{path}/")]
    if name in ("mkdir", "symlink"):
        return None if there is not None else {**tree, path: b"/" if name == "mkdir" else b"@/nowhere"}
    if name == "whole":  # as a rename over the name
        return None if there == b"/" else {**tree, path: b"=" + rest[0].encode()}
    if name in ("put", "append"):
        if there is not None and not there.startswith(b"="):
            return None
        base = (there or b"=") if name == "append" else b"="
        return {**tree, path: base + rest[0].encode()}
    if there is None:
        return None
    if name == "rename":
        return _renamed(tree, path, rest[0], below)
    if (there == b"/") != (name == "rmdir") or below:
        return None
    return {other: content for other, content in tree.items() if other != path}


def _renamed(tree: Contents, source: str, target: str, below: list[str]) -> Contents | None:
    parent = target.rpartition("/")[0]
    if (parent and tree.get(parent) != b"/") or target.startswith(f"{source}/"):
        return None
    if source == target:
        return tree
    there, moved = tree.get(target), tree[source]
    if there is not None and (there == b"/") != (moved == b"/"):
        return None
    if any(other.startswith(f"{target}/") for other in tree):
        return None
    result = {other: content for other, content in tree.items() if other != source and other not in below}
    return {**result, target: moved, **{target + other[len(source) :]: tree[other] for other in below}}


def explains(start: Contents, done: Sequence[Sequence[Done]], end: Contents, *, doubtful: bool) -> bool:
    """Tell whether some order of the operations, each worker's own kept, gives these successes and this end.

    Args:
        start: the tree before.
        done: for each worker its operations, and whether each succeeded.
        end: the tree after.
        doubtful: whether answers were lost. Then what was made, and removed by somebody before its maker learnt of
            it, may be made again; and what was moved or removed, and its folder then moved or removed, may be told as
            missing.
    """
    if not any(done):
        return start == end
    for index, mine in enumerate(done):
        if mine:
            operation, succeeded = mine[0]
            result = would(start, operation)
            rest = [*done[:index], mine[1:], *done[index + 1 :]]
            told_missing = doubtful and operation[0] in ("rename", "unlink", "rmdir") and result is not None
            after = start if result is None else result
            fits = (result is not None) == succeeded or told_missing
            if fits and explains(after, rest, end, doubtful=doubtful):
                return True
            if doubtful and result is not None and operation[0] in MAKERS and operation[1] not in start:
                again = [*done[:index], [((*operation, "again"), succeeded), *mine[1:]], *done[index + 1 :]]
                if "again" not in operation and explains(result, again, end, doubtful=True):
                    return True
    return False


def contents(volume: DatastoreVolume, path: str = "") -> Contents:
    """Return everything below a directory; listing and lookups must tell the same."""
    found: Contents = {}
    for name, listed in volume.scandir(split(path)):
        child = f"{path}/{name}".lstrip("/")
        looked_up = volume.stat(split(child), follow=False)
        assert (listed.ino, listed.mode, listed.size) == (looked_up.ino, looked_up.mode, looked_up.size)
        if listed.mode & 0o170000 == 0o040000:
            found[child] = b"/"
            found |= contents(volume, child)
        elif listed.mode & 0o170000 == 0o120000:
            found[child] = b"@" + volume.readlink(split(child)).encode()
        else:
            found[child] = b"=" + get(volume, child)
            assert len(found[child]) == listed.size + 1
    return found


def check_store(transport: Transport, volume: DatastoreVolume, blobs: MemoryStore | None = None) -> None:
    """Check what must hold of the entities whatever happened: nothing orphaned, nothing doubled, nothing leaked."""
    client = Client(transport, project=PROJECT, namespace="gaeport")
    entries = [(found.entity.key, decode(found)) for found in _all(client, "Entry")]
    inos = [entry.ino for _, entry in entries]
    assert len(inos) == len(set(inos)), "two entries of one file"
    homes = [entry.dir for _, entry in entries if entry.type == "dir"]
    assert len(homes) == len(set(homes))
    orphans = [unescape(key.path[-1].name) for key, _ in entries if key.path[0].name not in {*homes, "mounts"}]
    assert not orphans
    assert {found.entity.key.path[0].name for found in _all(client, "Dir")} <= set(homes)
    assert {found.entity.key.path[0].name for found in _all(client, "DirTime")} <= set(homes)
    _check_sources(client, [entry for _, entry in entries], blobs)
    for path in [path for path, what in contents(volume).items() if what == b"/"]:
        put(volume, f"{path}/probe", b"1")  # a directory that somebody left half removed is put back
        volume.unlink((*split(path), "probe"))


def _check_sources(client: Client, entries: list[Entry], blobs: MemoryStore | None) -> None:
    used = {source for entry in entries for source in entry.sources()}
    dropped: set[str] = set()
    for found in _all(client, "Garbage"):
        dropped |= set(json.loads(found.entity.properties["names"].blob_value))
    assert not used & dropped, "garbage that is in use"
    begun: set[str] = set()
    for found in _all(client, "Upload"):
        values, name = found.entity.properties, found.entity.key.path[0].name
        for number in range(values["count"].integer_value):
            begun |= {f"b:{name}.{number}", f"c:{values['ino'].integer_value}/{name}.{number}"}
    stored = {f"c:{found.entity.key.path[0].id}/{found.entity.key.path[1].name}" for found in _all(client, "Chunk")}
    stored |= {f"b:{name}" for name in (blobs._blobs if blobs is not None else ())}
    assert used <= stored, "content is gone"
    assert stored <= used | dropped | begun, "leaked content"
    assert all(client.lookup([chunk_key(client, source) for source in used if source.startswith("c:")]))


def _all(client: Client, kind: str) -> Iterator[Found]:
    query = wire.Query()
    query.kind.add(name=kind)
    return client.query(query)
