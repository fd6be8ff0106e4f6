"""What the garbage collector leaves: exactly what files need, whatever happens beside it."""

import os
import random
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import gaeport.blobs
from gaeport.blobs import BlobStore
from gaeport.blobs.folder import INCOMING, FolderStore
from gaeport.blobs.memory import MemoryStore
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.datastore.mutations import delete
from gaeport.datastore.transport import Transport
from gaeport.fs.datastore import abandoned, leases
from gaeport.fs.datastore.entries import chunk_key, decode
from gaeport.fs.datastore.garbage import Collected, collect
from gaeport.fs.datastore.storage import SPILL
from gaeport.fs.datastore.verification import Verified, verify
from gaeport.fs.datastore.volume import DatastoreVolume
from gaeport.fs.locks import Span
from tests.fs.volumes import PROJECT, Died, Interrupted, LosesAnswers, append, get, make, over_grpc, put, split

LARGE = 3_000_000  # bytes: more than goes inline, or along with a commit


class Bench:
    """A data folder with one mount, and what it holds."""

    def __init__(self, transport: Transport, folder: Path, *, chunks: bool) -> None:
        self.transport = transport
        self.folder = folder / "blobs"
        self.store: BlobStore | None = None if chunks else FolderStore(self.folder)
        self.root = folder / "mount"
        self.name = f"m{uuid.uuid4().hex}"
        self.project = PROJECT

    def instance(self, through: Transport | None = None) -> DatastoreVolume:
        """A process with the mount in place."""
        return make(through or self.transport, self.root, name=self.name, blobs=self.store)

    def client(self, through: Transport | None = None) -> Client:
        return Client(through or self.transport, project=PROJECT, namespace="gaeport")

    def collect(self, keep_days: float = 0, through: Transport | None = None, *, dry_run: bool = False) -> Collected:
        return collect(self.client(through), self.stores(), keep_days=keep_days, dry_run=dry_run)

    def stores(self) -> list[BlobStore]:
        return [] if self.store is None else [self.store]

    def verify(self) -> Verified:
        return verify(self.client(), self.stores(), lambda sofar: None)

    def stored(self) -> set[str]:
        """What is there: the names of blobs and of chunk entities."""
        files = self.folder.rglob("*") if self.folder.exists() else ()
        names = {f"b:{path.name[1:]}" for path in files if path.is_file() and path.parent.name != INCOMING}
        for found in self._all("Chunk"):
            path = found.entity.key.path
            names.add(f"c:{path[0].id}/{path[1].name}")
        return names

    def needed(self) -> set[str]:
        """What the entries refer to."""
        return {source for found in self._all("Entry") for source in decode(found).sources()}

    def records(self) -> int:
        return len([*self._all("Upload"), *self._all("Garbage")])

    def _all(self, kind: str) -> list:  # type: ignore[type-arg]  # of Found
        query = wire.Query()
        query.kind.add(name=kind)
        return list(self.client().query(query))


@pytest.fixture(params=["memory", pytest.param("firestore_emulator", marks=pytest.mark.emulator)])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "memory":
        engine = Engine(None, synchronous="normal")
        yield engine
        engine.close()
    else:
        yield over_grpc(request.getfixturevalue(request.param))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(None, synchronous="normal")
    yield engine
    engine.close()


@pytest.fixture(params=["blobs", "chunks"])
def bench(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path, chunks=request.param == "chunks")


def content(seed: int, size: int = LARGE) -> bytes:
    return random.Random(seed).randbytes(size)


def abandon(volume: DatastoreVolume, path: str, size: int = SPILL + LARGE) -> None:
    """Write so much that pieces are stored early, and die before the end."""
    handle = volume.open(split(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for start in range(0, size, LARGE):
        handle.pwrite(content(size + start), start)
    handle.discard()


def replace_part(volume: DatastoreVolume, path: str, data: bytes, offset: int) -> None:
    handle = volume.open(split(path), os.O_RDWR)
    handle.pwrite(data, offset)
    handle.close()


def churn(volume: DatastoreVolume, chosen: random.Random, rounds: int) -> None:
    """Write, replace, append to, patch, rename, remove and abandon large files at random."""
    names: list[str] = []
    for number in range(rounds):
        name = chosen.choice(names) if names and chosen.random() < 0.6 else f"f{number}"
        what = chosen.choice(["write", "append", "patch", "rename", "unlink", "abandon"]) if name in names else "write"
        if what == "write":
            put(volume, name, content(number))
            names = [*{*names, name}]
        elif what == "append":
            append(volume, name, content(number, chosen.choice([100, 100_000, LARGE])))
        elif what == "patch":
            replace_part(volume, name, content(number, 1_500_000), chosen.randrange(LARGE))
        elif what == "rename":
            volume.rename(split(name), split(f"r{number}"))
            names = [*(set(names) - {name}), f"r{number}"]
        elif what == "unlink":
            volume.unlink(split(name))
            names.remove(name)
        else:
            abandon(volume, name)


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_work_exactly_what_entries_need_is_left(bench: Bench, seed: int) -> None:
    churn(bench.instance(), random.Random(seed), 25)
    abandon(bench.instance(), "never")
    assert bench.stored() > bench.needed()
    bench.collect()
    assert bench.stored() == bench.needed()
    assert bench.verify().missing == []
    bench.collect()  # forgets what the uploads had become
    assert bench.stored() == bench.needed()
    assert bench.records() == 0


def test_on_an_emulator_too(transport: Transport, tmp_path: Path) -> None:
    bench = Bench(transport, tmp_path, chunks=True)
    volume = bench.instance()
    put(volume, "kept", content(1))
    put(volume, "dropped", content(2))
    volume.unlink(split("dropped"))
    abandon(volume, "never")
    before = bench.stored()
    done = bench.collect()
    assert done.uploads >= 1
    assert len(bench.stored()) < len(before)
    assert get(bench.instance(), "kept") == content(1)


def test_what_was_dropped_is_kept_for_the_days_that_were_asked_for(bench: Bench) -> None:
    volume = bench.instance()
    put(volume, "a", content(1))
    reader = bench.instance().open(split("a"), os.O_RDONLY)
    volume.unlink(split("a"))
    abandon(volume, "b")
    before = bench.stored()
    done = bench.collect(keep_days=1)
    assert (done.garbage, done.uploads, done.blobs, done.chunks) == (0, 0, 0, 0)
    assert done.waiting == 2
    assert bench.stored() == before
    assert reader.pread(LARGE, 0) == content(1)
    reader.close()


def test_a_dry_run_counts_and_deletes_nothing(bench: Bench) -> None:
    volume = bench.instance()
    put(volume, "a", content(1))
    volume.unlink(split("a"))
    abandon(volume, "b")
    before = bench.stored()
    done = bench.collect(dry_run=True)
    assert (done.garbage, done.uploads) == (1, 1)
    assert done.blobs + done.chunks >= len(before)
    assert bench.stored() == before
    assert bench.records() == 2


def test_a_slow_writer_that_was_collected_gets_an_error_and_leaves_the_old_content(bench: Bench) -> None:
    volume = bench.instance()
    put(volume, "a", b"old")
    writer = volume.open(split("a"), os.O_WRONLY | os.O_TRUNC)
    for start in range(0, SPILL + LARGE, LARGE):
        writer.pwrite(content(start), start)
    bench.collect()
    with pytest.raises(OSError, match="collected") as failure:
        writer.close()
    assert failure.value.errno == 5
    assert get(bench.instance(), "a") == b"old"
    bench.collect()
    assert bench.stored() == bench.needed() == set()


def test_a_writer_within_the_days_publishes_beside_the_collector(bench: Bench) -> None:
    volume = bench.instance()
    writer = volume.open(split("a"), os.O_WRONLY | os.O_CREAT, 0o644)
    whole = content(1, SPILL + LARGE)
    for start in range(0, len(whole), LARGE):
        writer.pwrite(whole[start : start + LARGE], start)
        bench.collect(keep_days=1)
    writer.close()
    bench.collect()
    assert get(bench.instance(), "a") == whole
    assert bench.stored() == bench.needed()


def test_collecting_beside_renames_and_replacements_takes_nothing_that_lives(bench: Bench) -> None:
    volume = bench.instance()
    small = 200_000  # bytes: stored, but along with the commit, since keep_days=0 would end any upload
    put(volume, "a0", content(0, small))
    stop = threading.Event()

    def gather() -> None:
        while not stop.wait(0.01):
            bench.collect()

    thread = threading.Thread(target=gather)
    thread.start()
    try:
        for number in range(12):
            volume.rename(split(f"a{number}"), split(f"a{number + 1}"))
            put(volume, f"b{number}", content(number, small))
            volume.rename(split(f"b{number}"), split("b"))
            assert get(bench.instance(), f"a{number + 1}") == content(0, small)
            assert get(bench.instance(), "b") == content(number, small)
    finally:
        stop.set()
        thread.join()
    bench.collect()
    assert bench.stored() == bench.needed()
    assert bench.verify().missing == []


def test_two_collectors_at_once_do_the_work_once(bench: Bench) -> None:
    volume = bench.instance()
    for number in range(12):
        put(volume, "a", content(number))
    for number in range(3):
        abandon(volume, f"never{number}")
    results: list[Collected] = []
    threads = [threading.Thread(target=lambda: results.append(bench.collect())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done.uploads for done in results) == 3
    first = sum(done.garbage for done in results)  # one may already find what an upload became in the other
    assert 11 <= first <= 11 + 3
    assert bench.stored() == bench.needed()
    assert bench.collect().garbage == 11 + 3 - first
    assert bench.records() == 0


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_collector_that_dies_midway_is_completed_by_the_next(bench: Bench, at: int, applied: bool) -> None:
    volume = bench.instance()
    put(volume, "a", content(1))
    put(volume, "a", content(2))
    abandon(volume, "never")
    dies = Interrupted(bench.transport, at, applied=applied)
    try:
        bench.collect(through=dies)
    except Died:
        pass
    else:
        assert dies.commits < at  # with blobs there are fewer commits
    bench.collect()
    bench.collect()
    assert bench.stored() == bench.needed()
    assert bench.records() == 0
    assert get(bench.instance(), "a") == content(2)


@pytest.mark.parametrize("applied", [False, True])
def test_a_lost_answer_leaves_nothing_behind(bench: Bench, applied: bool) -> None:
    volume = bench.instance()
    put(volume, "a", content(1))
    put(volume, "a", content(2))
    abandon(volume, "never")
    bench.collect(through=LosesAnswers(bench.transport, lambda number: number % 2 == 1, applied=applied))
    bench.collect()
    bench.collect()
    assert bench.stored() == bench.needed()
    assert bench.records() == 0


class Refusing(FolderStore):
    """A store that deletes nothing."""

    def delete(self, name: str) -> None:
        raise PermissionError(13, "Permission denied", name)


def test_what_a_store_refuses_to_delete_stays_on_the_list(engine: Engine, tmp_path: Path) -> None:
    bench = Bench(engine, tmp_path, chunks=False)
    volume = bench.instance()
    put(volume, "a", content(1))
    volume.unlink(split("a"))
    done = collect(bench.client(), [Refusing(bench.folder)], keep_days=0)
    assert (done.failed, done.garbage) == (1, 0)
    assert "Permission denied" in done.problem
    done = collect(bench.client(), [], keep_days=0)
    assert (done.failed, done.garbage) == (1, 0)
    assert "needs a bucket" in done.problem
    bench.collect()
    assert bench.stored() == set()


class Dying(FolderStore):
    """A store in a process that dies at its second delete."""

    deletes = 0

    def delete(self, name: str) -> None:
        self.deletes += 1
        if self.deletes >= 2:
            raise Died
        super().delete(name)


@pytest.mark.parametrize("abandoned", [False, True])
def test_a_collector_that_dies_among_its_blobs_is_completed_by_the_next(
    engine: Engine, tmp_path: Path, abandoned: bool
) -> None:
    bench = Bench(engine, tmp_path, chunks=False)
    volume = bench.instance()
    if abandoned:
        abandon(volume, "never", 3 * SPILL)
    else:
        put(volume, "a", content(1))
        append(volume, "a", content(2))
        volume.unlink(split("a"))
    assert len(bench.stored()) >= 2
    with pytest.raises(Died):
        collect(bench.client(), [Dying(bench.folder)], keep_days=0)
    assert bench.records() == 1
    bench.collect()
    assert bench.stored() == set()
    assert bench.records() == 0


def test_verify_names_files_whose_content_is_gone(bench: Bench) -> None:
    volume = bench.instance()
    volume.mkdir(split("deep"))
    volume.mkdir(split("deep/er"))
    put(volume, "deep/er/a", content(1))
    put(volume, "whole", content(2))
    assert bench.verify().missing == []
    (source, *_) = sorted(bench.needed() - _needs(bench, "whole"))
    _lose(bench, source)
    (missing,) = bench.verify().missing
    assert missing.path == f"{bench.name}/deep/er/a"
    assert missing.sources == (source,)


def _needs(bench: Bench, name: str) -> set[str]:
    entry = bench.instance().tree.resolve((name,), mask=()).entry
    assert entry is not None
    return entry.sources()


def _lose(bench: Bench, source: str) -> None:
    if bench.store is not None:
        bench.store.delete(source[2:])
    else:
        bench.client().commit([delete(chunk_key(bench.client(), source))])


def test_content_is_deleted_from_the_store_that_its_record_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, kept = Engine(None, synchronous="normal"), dict[str, bytes]()
    addresses: list[str] = []

    def at(address: str) -> BlobStore:
        addresses.append(address)
        return MemoryStore(kept)

    monkeypatch.setattr(gaeport.blobs, "at", at)
    volume = make(engine, tmp_path, blobs=MemoryStore(kept), address="gs://former/prefix")
    put(volume, "f", b"x" * 3_000_000)
    volume.unlink(("f",))
    assert kept
    collect(volume.connect(), [], keep_days=0)
    assert not kept
    assert set(addresses) == {"gs://former/prefix"}
    engine.close()


def test_locks_of_the_dead_are_removed_and_those_of_the_living_stay(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.6)
    monkeypatch.setattr(abandoned, "MARGIN", 0.2)
    bench = Bench(engine, tmp_path, chunks=True)
    alive, dead = bench.instance(), bench.instance()
    for volume, name in ((alive, "a"), (dead, "b")):
        put(volume, name, b"")
        volume.open((name,), os.O_RDWR).lock("flock", Span(), wait=True)
    dead.leases.forget()  # renews nothing any more, and gives nothing back
    assert bench.collect(dry_run=True).leases == 1
    assert bench.collect().leases == 1
    assert [row.entity.key.path[-1].id for row in bench._all("Lease")] == [alive.stat(("a",)).ino]
    assert bench.collect().leases == 0
    alive.leases.release_all()
    assert bench._all("Lease") == []
    assert bench.collect().leases == 0
