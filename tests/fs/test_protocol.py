"""The protocol's promises under attack: answers lost and processes dying at every commit, instances in random turns."""

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaeport.blobs.memory import MemoryStore
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import Transport
from gaeport.errors import Unavailable
from gaeport.fs.datastore import attempts, bulk, storage, times
from gaeport.fs.datastore.bulk import Whole
from gaeport.fs.datastore.bulk_directories import Wanted
from gaeport.fs.datastore.volume import DatastoreVolume
from tests.fs import schedules
from tests.fs.schedules import InTurns, Operation, Turns, check_store, contents, explains, perform, write_whole
from tests.fs.volumes import Died, Interrupted, LosesAnswers, append, get, make, names, put, split

pytestmark = pytest.mark.long

Work = Callable[[DatastoreVolume], object]
Instance = Callable[..., DatastoreVolume]
BIG = 300_000  # bytes; more than one commit takes along here


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (attempts, bulk):
        monkeypatch.setattr(module, "backoff", lambda *_: None)
    monkeypatch.setattr(times, "backoff", lambda *_: None)
    for name in ("CHUNK", "WITH_COMMIT", "SPILL", "BLOCK"):  # so that a file is large sooner
        monkeypatch.setattr(storage, name, getattr(storage, name) // 10)
    monkeypatch.setattr(times, "FLUSH_AFTER", 3600.0)
    monkeypatch.setattr(attempts, "PATIENCE", 3.0)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(None, synchronous="normal")
    yield engine
    engine.close()


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "shipped" / "deep").mkdir(parents=True)
    (root / "shipped" / "read.me").write_bytes(b"deployed")
    (root / "shipped" / "deep" / "er.txt").write_bytes(b"deeper")
    os.symlink("read.me", root / "shipped" / "link")
    return root


@pytest.fixture
def blobs() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def instance(engine: Engine, deployed: Path) -> Instance:
    def another(through: Transport | None = None, blobs: MemoryStore | None = None) -> DatastoreVolume:
        return make(through or engine, deployed, blobs=blobs)

    return another


def prepare(volume: DatastoreVolume) -> None:
    put(volume, "f", b"small")
    put(volume, "big", b"b" * BIG)
    put(volume, "long", b"l" * 60_000)
    volume.mkdir(("d",))
    put(volume, "d/f", b"inside")
    volume.mkdir(("e",))
    volume.mkdir(("t",))
    volume.mkdir(("t", "sub"))
    put(volume, "t/sub/f", b"x" * 200_000)
    volume.times.flush()


def exclusively(volume: DatastoreVolume) -> None:
    handle = volume.open(("x",), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    handle.pwrite(b"winner", 0)
    handle.close()


def in_place(path: str, offset: int) -> Work:
    def work(volume: DatastoreVolume) -> None:
        handle = volume.open(tuple(path.split("/")), os.O_RDWR)
        handle.pwrite(b"RANGE", offset)
        handle.close()

    return work


def remove_tree(volume: DatastoreVolume, path: str) -> None:
    """Remove a tree as `shutil.rmtree` does: what the quick way leaves is removed name by name."""
    try:
        if volume.rmtree(split(path)):
            return
    except OSError:
        pass
    for name, found in volume.scandir(split(path)) if path in contents(volume) else ():
        child = f"{path}/{name}"
        remove_tree(volume, child) if stat.S_ISDIR(found.mode) else volume.unlink(split(child))
    if path in contents(volume):
        volume.rmdir(split(path))


def make_directories(volume: DatastoreVolume, *paths: str) -> None:
    for left in volume.bulk_directories.make([Wanted(split(path), 0o750, 3, 4) for path in paths]):
        if left.path not in [split(path) for path, what in contents(volume).items() if what == b"/"]:
            volume.mkdir(left.path, left.mode)


def assign_directories(volume: DatastoreVolume, *paths: str) -> None:
    volume.flush_times()
    for left in volume.bulk_directories.assign([Wanted(split(path), 0o710, 3, 4000) for path in paths]):
        volume.chmod(left.path, left.mode)
        volume.utime(left.path, left.atime_ns, left.mtime_ns)
    assert [volume.stat(split(path)).mtime_ns for path in paths] == [4000] * len(paths)
    assert [volume.stat(split(path)).mode & 0o777 for path in paths] == [0o710] * len(paths)


def remove_many(volume: DatastoreVolume, *paths: str) -> None:
    for left in volume.bulk.remove([split(path) for path in paths]):
        if "/".join(left) in contents(volume):
            volume.unlink(left)


OPERATIONS: dict[str, Work] = {
    "create": lambda v: put(v, "new", b"1"),
    "create large": lambda v: put(v, "new", b"n" * BIG),
    "create among deployed": lambda v: put(v, "shipped/deep/new", b"1"),
    "replace": lambda v: put(v, "f", b"other"),
    "replace large": lambda v: put(v, "big", b"o" * BIG),
    "replace large by small": lambda v: put(v, "big", b"o"),
    "replace deployed": lambda v: put(v, "shipped/deep/er.txt", b"mine"),
    "create exclusively": exclusively,
    "append": lambda v: append(v, "f", b"!"),
    "append to deployed": lambda v: append(v, "shipped/deep/er.txt", b"!"),
    "append and cut": lambda v: append(v, "long", b"!" * 10_000),
    "append to large": lambda v: append(v, "big", b"!"),
    "write in place": in_place("f", 1),
    "write in place in large": in_place("big", 100_000),
    "truncate": lambda v: v.truncate(("big",), 100_000),
    "mkdir": lambda v: v.mkdir(("n",)),
    "mkdir among deployed": lambda v: v.mkdir(("shipped", "deep", "n")),
    "symlink": lambda v: v.symlink("f", ("n",)),
    "rmdir": lambda v: v.rmdir(("e",)),
    "unlink": lambda v: v.unlink(("f",)),
    "unlink large": lambda v: v.unlink(("big",)),
    "unlink deployed": lambda v: v.unlink(("shipped", "deep", "er.txt")),
    "rename": lambda v: v.rename(("f",), ("d", "g")),
    "rename over large": lambda v: v.rename(("f",), ("big",)),
    "rename directory": lambda v: v.rename(("d",), ("e", "d")),
    "rename over directory": lambda v: v.rename(("d",), ("e",)),
    "rename deployed": lambda v: v.rename(("shipped", "read.me"), ("d", "r")),
    "rename over deployed": lambda v: v.rename(("f",), ("shipped", "read.me")),
    "rename deployed directory": lambda v: v.rename(("shipped", "deep"), ("d", "deep")),
    "rename deployed link": lambda v: v.rename(("shipped", "link"), ("shipped", "other")),
    "chmod": lambda v: v.chmod(("f",), 0o600),
    "chmod deployed": lambda v: v.chmod(("shipped", "read.me"), 0o600),
    "chmod deployed directory": lambda v: v.chmod(("shipped", "deep"), 0o700),
    "utime directory": lambda v: v.utime(("d",), 5, 7_000),
    "rmtree": lambda v: remove_tree(v, "t"),
    "create many": lambda v: write_whole(v, {"n1": b"1", "d/n2": b"2", "t/sub/n3": b"3"}, new=True),
    "replace many": lambda v: write_whole(v, {"f": b"1", "d/f": b"2", "t/sub/f": b"large no more"}),
    "create and replace many": lambda v: write_whole(v, {"f": b"1", "d/n": b"2"}),
    "create many among deployed": lambda v: write_whole(v, {"shipped/deep/n": b"1", "shipped/n": b"2"}, new=True),
    "replace many deployed": lambda v: write_whole(v, {"shipped/deep/er.txt": b"mine", "shipped/read.me": b"too"}),
    "take what was thought free": lambda v: write_whole(v, {"f": b"1", "d/n": b"2"}, new=True),
    "make directories": lambda v: make_directories(v, "n", "n/m", "n/m/o", "d/p"),
    "assign directories": lambda v: assign_directories(v, "d", "t", "t/sub"),
    "remove many": lambda v: remove_many(v, "f", "d/f", "t/sub/f"),
    "remove many large": lambda v: remove_many(v, "big", "long"),
}


WITH_BLOBS = [name for name in OPERATIONS if any(word in name for word in ("large", "truncate", "rmtree"))]


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("operation", "store"), [*((name, "chunks") for name in OPERATIONS), *((name, "blobs") for name in WITH_BLOBS)]
)
def test_one_lost_answer_changes_nothing(
    instance: Instance, engine: Engine, blobs: MemoryStore, deployed: Path, operation: str, applied: bool, store: str
) -> None:
    kept = blobs if store == "blobs" else None
    fresh = iter(range(1000))

    def run(lose: int) -> tuple[int, schedules.Contents]:
        """Lose the answer to one commit; returns how many there were, and what is left."""
        name = f"m{next(fresh)}"
        store_ = Engine(None, synchronous="normal")
        blobs._blobs.clear()
        prepare(make(store_, deployed, name=name, blobs=kept))
        faulty = LosesAnswers(store_, lambda number: number == lose, applied=applied)
        volume = make(faulty, deployed, name=name, blobs=kept)
        OPERATIONS[operation](volume)
        commits = faulty.commits
        volume.times.flush()
        left = contents(make(store_, deployed, name=name, blobs=kept))
        check_store(store_, make(store_, deployed, name=name, blobs=kept), kept)
        store_.close()
        return commits, left

    commits, expected = run(0)
    for lose in range(1, commits + 1):
        assert run(lose)[1] == expected, f"commit {lose} of {commits}"


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_death_at_any_commit_leaves_the_old_or_the_new(deployed: Path, operation: str, applied: bool) -> None:
    def run(at: int) -> tuple[bool, schedules.Contents, schedules.Contents]:
        engine = Engine(None, synchronous="normal")
        prepare(make(engine, deployed))
        before = contents(make(engine, deployed))
        volume = make(Interrupted(engine, at, applied=applied), deployed)
        died = False
        try:
            OPERATIONS[operation](volume)
        except Died:
            died = True
        after = contents(make(engine, deployed))
        check_store(engine, make(engine, deployed))
        engine.close()
        return died, before, after

    complete = run(1000)[2]
    for at in range(1, 20):
        died, before, after = run(at)
        if not died:
            break
        if operation == "rmtree":
            assert after.items() <= before.items()
        elif operation == "create exclusively":  # made at open, written at close
            assert after in (before, {**before, "x": b"="}, complete)
        else:
            assert after in (before, complete)


WORDS = ("a", "b", "d", "d/a", "d/b", "e", "e/a", "d/e", "e/d")


def some_operation(chance: random.Random) -> Operation:
    name = chance.choice(["mkdir", "rmdir", "put", "put", "whole", "append", "rename", "rename", "unlink", "symlink"])
    path = chance.choice(WORDS)
    if name == "rename":
        return name, path, chance.choice(WORDS)
    if name == "whole":
        return name, path, f"<{chance.randrange(1000)}>", chance.choice(["new", "known"])
    return (name, path, f"<{chance.randrange(1000)}>") if name in ("put", "append") else (name, path)


def play(seed: int, engine: Engine, root: Path, lost: float) -> str:
    """Run three instances in turns; returns what went wrong, or nothing."""
    chance = random.Random(seed)
    name = f"m{seed}"
    first = make(engine, root, name=name)
    for operation in [("mkdir", "d"), ("put", "a", "0"), ("put", "d/a", "1"), ("mkdir", "e")]:
        perform(first, operation)
    first.times.flush()
    start = contents(first)
    todo = [[some_operation(chance) for _ in range(2)] for _ in range(3)]
    done: list[list[tuple[Operation, bool]]] = [[] for _ in todo]
    turns = Turns(seed)
    volumes = [make(InTurns(engine, turns, lambda: chance.random() < lost), root, name=name) for _ in todo]
    for volume in volumes:
        contents(volume)

    def worker(index: int) -> None:
        for operation in todo[index]:
            try:
                perform(volumes[index], operation)
            except OSError as error:
                if error.errno in (errno.EIO, errno.EAGAIN):
                    raise
                if "directory was removed" not in str(error):  # Linux, too, fails a create in one replaced meanwhile
                    done[index].append((operation, False))
            else:
                done[index].append((operation, True))

    turns.run([lambda index=index: worker(index) for index in range(len(todo))])  # type: ignore[misc]
    for volume in volumes:
        volume.times.flush()
    end = contents(make(engine, root, name=name))
    return "" if explains(start, done, end, doubtful=lost > 0) else f"seed {seed}: {done}\nbefore {start}\nafter {end}"


@pytest.mark.parametrize("lost", [0.0, 0.15])
def test_instances_in_any_turns_leave_what_some_order_explains(tmp_path: Path, lost: float) -> None:
    for seed in range(int(os.environ.get("SCHEDULES", "40"))):
        engine = Engine(None, synchronous="normal")
        assert not play(seed, engine, tmp_path / "empty", lost)
        check_store(engine, make(engine, tmp_path / "empty", name=f"m{seed}"))
        engine.close()


def test_an_append_that_was_pending_when_its_file_was_renamed_here_keeps_what_others_appended(
    instance: Instance,
) -> None:
    here = instance()
    put(here, "log", b"1")
    handle = here.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"3")
    append(instance(), "log", b"2")
    here.rename(("log",), ("log.1",))
    handle.close()
    assert get(instance(), "log.1") == b"123"


def test_after_a_lost_answer_the_next_append_keeps_what_others_appended(instance: Instance, engine: Engine) -> None:
    put(instance(), "log", b"1")

    class Loses(LosesAnswers):
        def call(self, method: str, request: object) -> object:
            try:
                return super().call(method, request)
            except Unavailable:
                append(instance(), "log", b"3")  # before this process looks what became of its commit
                raise

    handle = instance(Loses(engine, lambda number: number == 1)).open(("log",), os.O_WRONLY | os.O_APPEND)
    for data in (b"2", b"4"):
        handle.append(data)
        handle.sync()
    handle.close()
    assert get(instance(), "log") == b"1234"


def test_after_a_lost_answer_many_files_are_not_written_again_over_what_others_wrote_meanwhile(
    instance: Instance, engine: Engine
) -> None:
    class Loses(LosesAnswers):
        def call(self, method: str, request: object) -> object:
            try:
                return super().call(method, request)
            except Unavailable:  # before this process looks what became of its commit
                append(instance(), "one", b"!")
                instance().rename(("two",), ("three",))
                raise

    instance().mkdir(("d",))
    volume = instance(Loses(engine, lambda number: number == 1))
    write_whole(volume, {"one": b"1", "two": b"2"}, new=True)
    assert get(instance(), "one") == b"1!"
    assert names(instance()) == ["d", "one", "shipped", "three"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("moved", [("d", "f"), ("d",)])
@pytest.mark.parametrize("linked", [False, True])
def test_after_a_lost_answer_files_that_moved_away_all_together_are_found(
    instance: Instance, engine: Engine, existing: bool, moved: tuple[str, ...], linked: bool
) -> None:
    class Loses(LosesAnswers):
        def call(self, method: str, request: object) -> object:
            try:
                return super().call(method, request)
            except Unavailable:
                if linked:
                    instance().link(("d", "f"), ("second",))
                instance().rename(moved, ("away",))
                raise

    instance().mkdir(("d",))
    if existing:
        put(instance(), "d/f", b"0")
    write_whole(instance(Loses(engine, lambda number: number == 1)), {"d/f": b"1"}, new=not existing)
    where = "/".join(("away", *("d", "f")[len(moved) :]))
    assert get(instance(), where) == b"1"
    assert "d/f" not in contents(instance())
    if not linked:  # the check knows no files with several names
        check_store(engine, instance())


def test_a_directory_that_was_replaced_meanwhile_gets_nothing_that_was_meant_for_the_other(instance: Instance) -> None:
    volume = instance()
    volume.mkdir(("d",))
    volume.scandir(("d",))  # this process knows the identity
    instance().rename(("d",), ("moved",))
    instance().mkdir(("d",))
    write_whole(volume, {"d/f": b"1"}, new=True)
    assert names(instance(), "d") == ["f"]
    assert names(instance(), "moved") == []


def test_many_files_for_a_directory_that_is_gone_are_left_to_the_caller(instance: Instance) -> None:
    volume = instance()
    volume.mkdir(("d",))
    volume.scandir(("d",))
    instance().rmdir(("d",))
    files = [Whole(("d", "f"), b"1", 0o644, 1, 2, new=new) for new in (True, False)]
    assert [volume.bulk.write([file]) for file in files] == [[files[0]], [files[1]]]
    assert names(instance()) == ["shipped"]


def test_a_discarded_write_is_seen_by_nobody_although_a_reader_is_open(instance: Instance) -> None:
    volume = instance()
    put(volume, "f", b"old")
    for first in (os.O_WRONLY | os.O_TRUNC, os.O_RDONLY):
        second = os.O_RDONLY if first else os.O_WRONLY | os.O_TRUNC
        handles = {flags: volume.open(("f",), flags) for flags in (first, second)}
        handles[os.O_WRONLY | os.O_TRUNC].pwrite(b"half", 0)
        handles[os.O_WRONLY | os.O_TRUNC].discard()
        append(volume, "f", b"!")
        assert handles[os.O_RDONLY].pread(9, 0).startswith(b"old!")
        handles[os.O_RDONLY].close()
    assert get(instance(), "f") == b"old!!"


def test_a_discarded_write_to_a_deployed_file_leaves_it_as_deployed(instance: Instance) -> None:
    volume = instance()
    reader = volume.open(("shipped", "read.me"), os.O_RDONLY)
    writer = volume.open(("shipped", "read.me"), os.O_WRONLY | os.O_TRUNC)
    writer.pwrite(b"half", 0)
    writer.discard()
    assert reader.pread(99, 0) == b"deployed"
    reader.close()


def test_a_handle_of_a_deployed_file_that_was_removed_elsewhere_does_not_bring_it_back(instance: Instance) -> None:
    handle = instance().open(("shipped", "read.me"), os.O_WRONLY | os.O_APPEND)
    handle.append(b"!")
    instance().unlink(("shipped", "read.me"))
    handle.close()
    assert "read.me" not in names(instance(), "shipped")


@pytest.mark.parametrize("moved", [("shipped", "read.me"), ("shipped",)])
def test_a_handle_of_a_deployed_file_follows_it_when_it_moves_elsewhere(
    instance: Instance, engine: Engine, moved: tuple[str, ...]
) -> None:
    handle = instance().open(("shipped", "read.me"), os.O_WRONLY | os.O_APPEND)
    handle.append(b"!")
    instance().rename(moved, ("away",))
    handle.close()
    assert get(instance(), "/".join(("away", *("shipped", "read.me")[len(moved) :]))) == b"deployed!"
    assert "shipped/read.me" not in contents(instance())
    check_store(engine, instance())


def test_a_file_that_two_remove_is_removed_by_one(instance: Instance, engine: Engine) -> None:
    put(instance(), "job", b"")
    turns, winners = Turns(1), []
    volumes = [instance(InTurns(engine, turns, lambda: False)) for _ in range(4)]

    def claim(number: int) -> None:
        try:
            volumes[number].unlink(("job",))
        except FileNotFoundError:
            return
        winners.append(number)

    turns.run([lambda number=number: claim(number) for number in range(4)])  # type: ignore[misc]
    assert len(winners) == 1


def test_the_root_of_a_mount_that_nobody_wrote_to_can_be_changed(instance: Instance) -> None:
    instance().chmod((), 0o700)
    assert instance().stat(()).mode & 0o7777 == 0o700


def test_a_gap_before_a_write_does_not_cover_what_another_wrote_there(instance: Instance) -> None:
    put(instance(), "f", b"0123456789")
    one, two = (instance().open(("f",), os.O_RDWR) for _ in range(2))
    one.pwrite(b"one", 20)
    two.pwrite(b"two", 30)
    one.close()
    two.close()
    assert get(instance(), "f") == b"0123456789" + bytes(10) + b"one" + bytes(7) + b"two"


def test_removing_a_tree_that_dies_midway_does_not_bring_deployed_contents_back(
    instance: Instance, engine: Engine
) -> None:
    put(instance(), "shipped/read.me", b"written")
    with pytest.raises(OSError, match="not empty"):
        instance().rmtree(("shipped",))
    assert "read.me" not in names(instance(), "shipped")


def test_names_that_are_not_utf8_work_everywhere(tmp_path: Path, instance: Instance, deployed: Path) -> None:
    odd = os.fsdecode(b"\xff")
    os.mkdir(deployed / odd)
    put(instance(), f"{odd}/f", b"1")
    instance().symlink(f"{odd}/f", ("link",))
    assert get(instance(), "link") == b"1"
    assert instance().readlink(("link",)) == f"{odd}/f"


def test_times_that_could_not_be_written_are_written_later(instance: Instance, engine: Engine) -> None:
    put(instance(), "f", b"1")
    faulty = LosesAnswers(engine, lambda number: number > 1, applied=False)
    volume = instance(faulty)
    volume.mkdir(("d",))
    expected = volume.stat(()).mtime_ns
    with pytest.raises(OSError, match="reset"):
        volume.flush_times()
    assert volume.times._timer is not None
    assert volume.times._timer.is_alive()
    faulty.chosen = lambda number: False
    volume.flush_times()
    assert instance().stat(()).mtime_ns == expected


@pytest.mark.parametrize("kept", [None, MemoryStore()])
def test_many_scattered_writes_keep_the_table_of_pieces_small(
    instance: Instance, engine: Engine, monkeypatch: pytest.MonkeyPatch, kept: MemoryStore | None
) -> None:
    monkeypatch.setattr(storage, "MANY", 20)
    monkeypatch.setattr(storage, "SMALL", 10_000)
    content = bytearray(os.urandom(BIG))
    put(instance(blobs=kept), "f", bytes(content))
    volume = instance(blobs=kept)
    handle = volume.open(("f",), os.O_RDWR)
    for number in range(120):
        offset = number * 7919 % (BIG - 10)
        content[offset : offset + 10] = b"%10d" % number
        handle.pwrite(b"%10d" % number, offset)
        handle.sync()
        entry = volume.tree.resolve(("f",), mask=()).entry
        assert entry is not None
        assert len(entry.view().pieces) < 150
    handle.close()
    assert get(instance(blobs=kept), "f") == content
    check_store(engine, instance(blobs=kept), kept)
