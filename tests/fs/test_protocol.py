"""The protocol's promises under attack: answers lost and processes dying at every commit, instances in random turns."""

import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaeport.blobs.memory import MemoryStore
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import Transport
from gaeport.fs import inode, times
from gaeport.fs.datastore import DatastoreVolume
from tests.fs import schedules
from tests.fs.schedules import InTurns, Operation, Turns, check_store, contents, explains, perform
from tests.fs.volumes import Died, Interrupted, LosesAnswers, append, get, make, names, put, split

Work = Callable[[DatastoreVolume], object]
Instance = Callable[..., DatastoreVolume]
BIG = 3_000_000  # bytes; more than one commit takes along


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inode, "backoff", lambda attempt: None)
    monkeypatch.setattr(times, "backoff", lambda attempt: None)
    monkeypatch.setattr(times, "FLUSH_AFTER", 3600.0)
    monkeypatch.setattr(inode, "PATIENCE", 3.0)


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
    "write in place in large": in_place("big", 1_000_000),
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
}


@pytest.mark.parametrize("store", ["chunks", "blobs"])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_lost_answer_changes_nothing(
    instance: Instance, engine: Engine, blobs: MemoryStore, deployed: Path, operation: str, applied: bool, store: str
) -> None:
    kept = blobs if store == "blobs" else None
    if store == "blobs" and not any(word in operation for word in ("large", "truncate", "rmtree")):
        pytest.skip("no blob has a part in it")
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
    name = chance.choice(["mkdir", "rmdir", "put", "put", "append", "rename", "rename", "unlink", "symlink"])
    path = chance.choice(WORDS)
    if name == "rename":
        return name, path, chance.choice(WORDS)
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
                assert error.errno not in (5, 11), (operation, error)  # EIO, EAGAIN
                done[index].append((operation, False))
            else:
                done[index].append((operation, True))

    turns.run([lambda index=index: worker(index) for index in range(len(todo))])  # type: ignore[misc]
    for volume in volumes:
        volume.times.flush()
    end = contents(make(engine, root, name=name))
    return "" if explains(start, done, end) else f"seed {seed}: {done}\nbefore {start}\nafter {end}"


@pytest.mark.parametrize("lost", [0.0, 0.15])
def test_instances_in_any_turns_leave_what_some_order_explains(tmp_path: Path, lost: float) -> None:
    for seed in range(int(os.environ.get("SCHEDULES", "60"))):
        engine = Engine(None, synchronous="normal")
        assert not play(seed, engine, tmp_path / "empty", lost)
        check_store(engine, make(engine, tmp_path / "empty", name=f"m{seed}"))
        engine.close()
