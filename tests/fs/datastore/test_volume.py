"""Files in Datastore, on the embedded engine and on both of Google's emulators."""

import errno
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaeport import meter
from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import MeteredTransport, Transport
from gaeport.fs.datastore import attempts
from gaeport.fs.datastore.volume import DatastoreVolume
from tests.fs.volumes import (
    Died,
    Interrupted,
    LosesAnswers,
    append,
    get,
    make,
    names,
    over_grpc,
    put,
)

Instances = Callable[..., DatastoreVolume]


@pytest.fixture(
    params=[
        "memory",
        "disk",
        pytest.param("firestore_emulator", marks=pytest.mark.emulator),
        pytest.param("datastore_emulator", marks=pytest.mark.emulator),
    ]
)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    if request.param in ("memory", "disk"):
        engine = Engine(tmp_path / "store" if request.param == "disk" else None, synchronous="normal")
        yield MeteredTransport(engine)
        engine.close()
    else:
        yield MeteredTransport(over_grpc(request.getfixturevalue(request.param)))


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    root = tmp_path / "application" / "data"
    (root / "shipped" / "deep").mkdir(parents=True)
    (root / "shipped" / "read.me").write_bytes(b"deployed")
    (root / "shipped" / "deep" / "er.txt").write_bytes(b"deeper")
    return root


@pytest.fixture
def instance(transport: Transport, deployed: Path) -> Instances:
    """Makes volumes that know nothing of each other, as two instances of an application."""
    mount = f"m{uuid.uuid4().hex}"

    def another(through: Transport | None = None) -> DatastoreVolume:
        return make(through or transport, deployed, name=mount)

    return another


def test_another_instance_sees_what_was_closed(instance: Instances) -> None:
    put(instance(), "a.txt", b"hello")
    assert get(instance(), "a.txt") == b"hello"


def test_nothing_is_seen_before_close(instance: Instances) -> None:
    put(instance(), "a.txt", b"old")
    handle = instance().open(("a.txt",), os.O_WRONLY | os.O_TRUNC)
    handle.pwrite(b"new and longer", 0)
    assert get(instance(), "a.txt") == b"old"
    handle.close()
    assert get(instance(), "a.txt") == b"new and longer"


def test_a_discarded_write_leaves_the_old_content(instance: Instances) -> None:
    volume = instance()
    put(volume, "a.txt", b"old")
    handle = volume.open(("a.txt",), os.O_WRONLY | os.O_TRUNC)
    handle.pwrite(b"new", 0)
    handle.discard()
    assert get(volume, "a.txt") == get(instance(), "a.txt") == b"old"


def test_a_file_being_written_is_seen_by_path_within_the_process(instance: Instances) -> None:
    volume = instance()
    handle = volume.open(("a.txt",), os.O_WRONLY | os.O_CREAT, 0o600)
    handle.pwrite(b"12345", 0)
    assert volume.stat(("a.txt",)).size == 5
    assert "a.txt" in names(volume)
    assert get(volume, "a.txt") == b"12345"
    handle.close()


def test_reads_and_writes_take_the_promised_calls(instance: Instances) -> None:
    volume = instance()
    put(volume, "first", b"")  # makes the mount's root
    volume.flush_times()
    for expected, work in [
        ({"Lookup": 1, "Commit": 1}, lambda: put(volume, "a", b"1")),
        ({"Lookup": 1, "Commit": 1}, lambda: put(volume, "a", b"2")),
        ({"Lookup": 1, "Commit": 1}, lambda: append(volume, "a", b"3")),
        ({"Lookup": 1}, lambda: get(volume, "a")),
        ({"Lookup": 1}, lambda: volume.stat(("a",))),
        ({"Lookup": 1, "Commit": 1}, lambda: volume.rename(("a",), ("b",))),
        ({"Lookup": 1, "Commit": 1}, lambda: volume.unlink(("b",))),
        ({"Lookup": 1, "Commit": 1}, lambda: volume.mkdir(("d",))),
        ({"Lookup": 1, "Commit": 2, "RunQuery": 1}, lambda: volume.rmdir(("d",))),
    ]:
        with meter.measure() as calls:
            work()
        assert calls.calls == expected


def test_exclusive_create_has_one_winner(instance: Instances) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    winners: list[int] = []
    barrier = threading.Barrier(8)

    def contend(number: int) -> None:
        volume = instance()
        barrier.wait()
        try:
            handle = volume.open(("lock",), flags)
        except FileExistsError:
            return
        handle.pwrite(b"%d" % number, 0)
        handle.close()
        winners.append(number)

    _all([threading.Thread(target=contend, args=(number,)) for number in range(8)])
    assert len(winners) == 1
    assert get(instance(), "lock") == b"%d" % winners[0]


def test_appends_from_many_instances_are_all_kept(instance: Instances) -> None:
    put(instance(), "log", b"")

    def write(number: int) -> None:
        volume = instance()
        for line in range(10):
            append(volume, "log", b"%d:%d\n" % (number, line))

    _all([threading.Thread(target=write, args=(number,)) for number in range(4)])
    lines = get(instance(), "log").splitlines()
    assert sorted(lines) == sorted(b"%d:%d" % (number, line) for number in range(4) for line in range(10))


def test_ranges_written_by_two_instances_merge(instance: Instances) -> None:
    put(instance(), "f", b"aaaabbbbcccc")
    one, two = (instance().open(("f",), os.O_RDWR) for _ in range(2))
    one.pwrite(b"1111", 0)
    two.pwrite(b"3333", 8)
    one.close()
    two.close()
    assert get(instance(), "f") == b"1111bbbb3333"


def test_a_handle_follows_its_file_through_a_rename_elsewhere(instance: Instances) -> None:
    put(instance(), "old", b"12345")
    handle = instance().open(("old",), os.O_RDWR)
    handle.pwrite(b"X", 0)
    instance().rename(("old",), ("new",))
    put(instance(), "old", b"another file")
    handle.close()
    assert get(instance(), "new") == b"X2345"
    assert get(instance(), "old") == b"another file"


def test_what_is_written_after_an_unlink_elsewhere_is_dropped(instance: Instances) -> None:
    put(instance(), "f", b"1")
    handle = instance().open(("f",), os.O_RDWR)
    instance().unlink(("f",))
    handle.pwrite(b"2", 0)
    assert handle.pread(9, 0) == b"2"
    handle.close()
    assert names(instance()) == ["shipped"]


def test_rename_replaces_a_file_at_once(instance: Instances) -> None:
    volume = instance()
    put(volume, "new", b"new")
    put(volume, "f", b"old")
    reader = instance().open(("f",), os.O_RDONLY)
    volume.rename(("new",), ("f",))
    assert get(instance(), "f") == b"new"
    assert reader.pread(9, 0) == b"old"
    reader.close()
    assert names(instance()) == ["f", "shipped"]


def test_renaming_a_directory_moves_what_is_in_it_for_everybody(instance: Instances) -> None:
    volume, other = instance(), instance()
    volume.mkdir(("d",))
    for number in range(20):
        put(volume, f"d/{number}", b"%d" % number)
    assert len(names(other, "d")) == 20  # the other instance now remembers the directory
    volume.mkdir(("e",))
    with meter.measure() as calls:
        volume.rename(("d",), ("e", "moved"))
    assert calls.total_calls <= 3
    assert get(other, "e/moved/7") == b"7"
    with pytest.raises(FileNotFoundError):
        get(other, "d/7")


def test_a_directory_cannot_move_into_itself(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("d",))
    volume.mkdir(("d", "e"))
    with pytest.raises(OSError, match="Invalid") as raised:
        volume.rename(("d",), ("d", "e", "f"))
    assert raised.value.errno == errno.EINVAL


def test_two_directories_cannot_move_into_each_other(instance: Instances) -> None:
    for round_ in range(5):
        a, b = f"a{round_}", f"b{round_}"
        instance().mkdir((a,))
        instance().mkdir((b,))
        barrier = threading.Barrier(2)

        def move(source: str, target: str, barrier: threading.Barrier = barrier) -> None:
            volume = instance()
            barrier.wait()
            try:
                volume.rename((source,), (target, source))
            except (FileNotFoundError, OSError):
                return

        _all([threading.Thread(target=move, args=pair) for pair in ((a, b), (b, a))])
        reachable = [name for name in names(instance()) if name in (a, b)]
        assert len(reachable) == 1
        assert len(names(instance(), reachable[0])) == 1


def test_rmdir_refuses_a_directory_with_something_in_it(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("d",))
    put(volume, "d/f", b"1")
    with pytest.raises(OSError, match="not empty") as raised:
        instance().rmdir(("d",))
    assert raised.value.errno == errno.ENOTEMPTY
    put(volume, "d/g", b"2")
    assert names(instance(), "d") == ["f", "g"]


def test_rmdir_against_a_create_never_leaves_an_orphan(instance: Instances) -> None:
    for round_ in range(8):
        name = f"d{round_}"
        instance().mkdir((name,))
        outcome: dict[str, bool] = {}
        barrier = threading.Barrier(2)

        def remove(name: str = name, outcome: dict[str, bool] = outcome, gate: threading.Barrier = barrier) -> None:
            volume = instance()
            gate.wait()
            outcome["removed"] = _succeeds(lambda: volume.rmdir((name,)))

        def create(name: str = name, outcome: dict[str, bool] = outcome, gate: threading.Barrier = barrier) -> None:
            volume = instance()
            gate.wait()
            outcome["created"] = _succeeds(lambda: put(volume, f"{name}/f", b"1"))

        _all([threading.Thread(target=remove), threading.Thread(target=create)])
        assert outcome["removed"] != outcome["created"]
        if outcome["created"]:
            assert get(instance(), f"{name}/f") == b"1"


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("step", [1, 2])
def test_a_removal_that_died_midway_leaves_a_usable_directory_or_none(
    instance: Instances, transport: Transport, step: int, applied: bool
) -> None:
    instance().mkdir(("d",))
    with pytest.raises(Died):
        instance(Interrupted(transport, step, applied=applied)).rmdir(("d",))
    if (step, applied) == (2, True):
        assert names(instance()) == ["shipped"]
        return
    put(instance(), "d/f", b"1")
    assert get(instance(), "d/f") == b"1"
    with pytest.raises(OSError, match="not empty"):
        instance().rmdir(("d",))


def test_a_half_removed_directory_can_be_removed(instance: Instances, transport: Transport) -> None:
    instance().mkdir(("d",))
    with pytest.raises(Died):
        instance(Interrupted(transport, 1, applied=True)).rmdir(("d",))
    instance().rmdir(("d",))
    assert names(instance()) == ["shipped"]


@pytest.mark.parametrize("applied", [False, True])
def test_a_lost_answer_neither_loses_nor_doubles_a_change(
    instance: Instances, transport: Transport, applied: bool
) -> None:
    put(instance(), "root", b"")
    volume = instance(LosesAnswers(transport, lambda number: number % 3 == 1, applied=applied))
    handle = volume.open(("x",), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    handle.pwrite(b"winner", 0)
    handle.close()
    for number in range(4):
        append(volume, "log", b"%d\n" % number)
    volume.mkdir(("d",))
    volume.rename(("log",), ("d", "log"))
    volume.rename(("x",), ("d", "x"))
    assert get(instance(), "d/log") == b"0\n1\n2\n3\n"
    assert get(instance(), "d/x") == b"winner"
    volume.unlink(("d", "x"))
    volume.unlink(("d", "log"))
    volume.rmdir(("d",))
    assert names(instance()) == ["root", "shipped"]


def test_deployed_files_show_until_written_or_removed(instance: Instances, deployed: Path) -> None:
    volume = instance()
    assert get(volume, "shipped/read.me") == b"deployed"
    put(volume, "shipped/read.me", b"mine")
    assert get(instance(), "shipped/read.me") == b"mine"
    volume.unlink(("shipped", "read.me"))
    assert names(instance(), "shipped") == ["deep"]
    with pytest.raises(FileNotFoundError):
        get(instance(), "shipped/read.me")
    assert (deployed / "shipped" / "read.me").read_bytes() == b"deployed"


def test_changing_a_deployed_file_in_place_starts_from_what_was_deployed(instance: Instances) -> None:
    append(instance(), "shipped/deep/er.txt", b" still")
    assert get(instance(), "shipped/deep/er.txt") == b"deeper still"
    assert get(instance(), "shipped/read.me") == b"deployed"


def test_a_removed_deployed_directory_stays_empty_when_made_again(instance: Instances) -> None:
    volume = instance()
    volume.unlink(("shipped", "deep", "er.txt"))
    volume.rmdir(("shipped", "deep"))
    assert names(instance(), "shipped") == ["read.me"]
    volume.mkdir(("shipped", "deep"))
    assert names(instance(), "shipped/deep") == []


def test_a_deployed_directory_can_be_renamed(instance: Instances) -> None:
    put(instance(), "shipped/own", b"own")
    instance().rename(("shipped",), ("elsewhere",))
    assert names(instance()) == ["elsewhere"]
    assert get(instance(), "elsewhere/deep/er.txt") == b"deeper"
    assert get(instance(), "elsewhere/own") == b"own"


def test_the_inode_number_of_a_deployed_file_survives_its_first_change(instance: Instances) -> None:
    before = instance().stat(("shipped", "read.me")).ino
    append(instance(), "shipped/read.me", b"!")
    assert instance().stat(("shipped", "read.me")).ino == before


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000, 5_000_000])
def test_content_of_any_size_comes_back(instance: Instances, size: int) -> None:
    content = os.urandom(size)
    put(instance(), "f", content)
    assert get(instance(), "f") == content
    assert instance().stat(("f",)).size == size


def test_a_range_of_a_large_file_is_replaced_without_rewriting_it(instance: Instances) -> None:
    content = bytearray(os.urandom(4_000_000))
    put(instance(), "f", bytes(content))
    handle = instance().open(("f",), os.O_RDWR)
    handle.pwrite(b"x" * 100, 2_000_000)
    with meter.measure() as calls:
        handle.close()
    content[2_000_000:2_000_100] = b"x" * 100
    assert get(instance(), "f") == bytes(content)
    assert calls.calls == {"Commit": 1}


def test_a_long_log_grows_by_its_tail_only(instance: Instances) -> None:
    volume = instance()
    line = b"x" * 20_000 + b"\n"
    for _ in range(12):
        append(volume, "log", line)
    found = volume.tree.resolve(("log",), mask=()).entry
    assert found is not None
    assert len(found.inline) <= 65_536
    assert get(instance(), "log") == line * 12


def test_truncating_and_extending(instance: Instances) -> None:
    put(instance(), "f", b"123456")
    instance().truncate(("f",), 3)
    assert get(instance(), "f") == b"123"
    instance().truncate(("f",), 5)
    assert get(instance(), "f") == b"123\0\0"


def test_attributes_that_were_set_are_kept(instance: Instances) -> None:
    put(instance(), "f", b"1")
    instance().chmod(("f",), 0o640)
    instance().utime(("f",), 1_000_000_001, 2_000_000_002)
    found = instance().stat(("f",))
    assert (found.mode & 0o7777, found.atime_ns, found.mtime_ns) == (0o640, 1_000_000_001, 2_000_000_002)
    instance().mkdir(("d",), 0o700)
    instance().utime(("d",), 5, 7_000)
    assert instance().stat(("d",)).mtime_ns == 7_000


def test_times_that_64_bits_do_not_hold_are_cut(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("d",))
    volume.open(("f",), os.O_WRONLY | os.O_CREAT).close()
    for path in ("f",), ("d",):
        for given, kept in ((10**20, (1 << 63) - 1), (-(10**20), -(1 << 63))):
            volume.utime(path, given, given)
            found = instance().stat(path)
            assert (found.atime_ns, found.mtime_ns) == (kept, kept)


def test_a_directory_changes_its_time_with_each_create_and_removal(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("d",))
    seen = [volume.stat(("d",)).mtime_ns]
    for change in (lambda: put(volume, "d/f", b""), lambda: volume.unlink(("d", "f"))):
        change()
        seen.append(volume.stat(("d",)).mtime_ns)
    assert seen == sorted(set(seen))
    volume.flush_times()
    assert instance().stat(("d",)).mtime_ns == seen[-1]


def test_directory_times_reach_other_instances_within_a_second_or_two(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("d",))
    put(volume, "d/f", b"")
    expected, deadline = volume.stat(("d",)).mtime_ns, time.monotonic() + 10
    while instance().stat(("d",)).mtime_ns != expected:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_symbolic_links_are_followed_inside_the_mount(instance: Instances) -> None:
    volume = instance()
    volume.symlink("shipped/read.me", ("link",))
    volume.symlink("../link", ("shipped", "back"))
    assert get(instance(), "shipped/back") == b"deployed"
    assert instance().readlink(("link",)) == "shipped/read.me"
    volume.symlink("round", ("round",))
    with pytest.raises(OSError, match="symbolic links") as raised:
        get(instance(), "round")
    assert raised.value.errno == errno.ELOOP


@pytest.mark.parametrize("name", ["ü", "100%", "__x__", " ", "a\nb", os.fsdecode(b"\xff\xfe"), "n" * 255])
def test_any_name_that_linux_allows(instance: Instances, name: str) -> None:
    put(instance(), name, b"1")
    assert name in names(instance())
    assert get(instance(), name) == b"1"


@pytest.mark.parametrize(
    ("number", "work"),
    [
        (errno.ENOENT, lambda v: v.stat(("no",))),
        (errno.ENOENT, lambda v: put(v, "no/f", b"")),
        (errno.ENOTDIR, lambda v: v.stat(("f", "x"))),
        (errno.ENOTDIR, lambda v: v.rmdir(("f",))),
        (errno.ENOTDIR, lambda v: v.scandir(("f",))),
        (errno.ENOTDIR, lambda v: v.rename(("d",), ("f",))),
        (errno.EISDIR, lambda v: put(v, "d", b"")),
        (errno.EISDIR, lambda v: v.unlink(("d",))),
        (errno.EISDIR, lambda v: v.rename(("f",), ("d",))),
        (errno.EEXIST, lambda v: v.mkdir(("f",))),
        (errno.EEXIST, lambda v: v.symlink("f", ("d",))),
        (errno.ENAMETOOLONG, lambda v: v.stat(("n" * 256,))),
        (errno.EINVAL, lambda v: v.readlink(("f",))),
        (errno.EBUSY, lambda v: v.rmdir(())),
        (errno.EPERM, lambda v: v.link(("d",), ("g",))),
        (errno.EEXIST, lambda v: v.link(("f",), ("d",))),
        (errno.ENOENT, lambda v: v.link(("no",), ("g",))),
    ],
)
def test_errors_carry_the_number_that_linux_gives(
    instance: Instances, number: int, work: Callable[[DatastoreVolume], object]
) -> None:
    volume = instance()
    put(volume, "f", b"1")
    volume.mkdir(("d",))
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is compared below
        work(volume)
    assert raised.value.errno == number


def test_listing_many_files_takes_one_query_for_each_300(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("many",))
    for number in range(301):
        put(volume, f"many/{number}", b"")
    other = instance()
    names(other)
    with meter.measure() as calls:
        rows = other.scandir(("many",))
    assert len(rows) == 301
    assert calls.calls["RunQuery"] <= 2
    assert calls.calls["Lookup"] <= 2


def test_a_tree_is_removed_in_few_calls(instance: Instances) -> None:
    volume = instance()
    volume.mkdir(("t",))
    volume.mkdir(("t", "sub"))
    for number in range(30):
        put(volume, f"t/{number}", b"")
        put(volume, f"t/sub/{number}", b"x" * 70_000)
    with meter.trace() as calls:
        assert volume.rmtree(("t",))
    answered = [call.name for call in calls.kept if not call.failed]  # an emulator may abort a query
    assert answered.count("RunQuery") == 4  # each directory is listed, and looked at again once it is closed
    assert answered.count("Commit") == 1 + 2 * 2
    assert names(instance()) == ["shipped"]


def test_what_another_instance_put_into_a_tree_keeps_it(instance: Instances, transport: Transport) -> None:
    volume = instance()
    volume.mkdir(("t",))
    put(volume, "t/old", b"")

    class Interferes:
        """A file appears while the tree is being removed."""

        done = False

        def call(self, method: str, request: Any) -> Any:
            if method == "Commit" and not self.done:
                self.done = True
                put(instance(), "t/new", b"1")
            return transport.call(method, request)

    with pytest.raises(OSError, match="not empty"):
        instance(Interferes()).rmtree(("t",))
    assert names(instance(), "t") == ["new"]


def test_a_tree_with_deployed_files_is_left_to_the_ordinary_way(instance: Instances) -> None:
    assert not instance().rmtree(("shipped",))
    assert names(instance()) == ["shipped"]


def _succeeds(work: Callable[[], object]) -> bool:
    try:
        work()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise
        return False
    return True


def _all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def test_an_append_that_fails_after_it_was_merged_keeps_what_it_was_merged_with(
    transport: Transport, deployed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make(transport, deployed)
    put(instance, "log", b"first\n")
    failing = LosesAnswers(transport, lambda number: number > 1, applied=False)  # the first one conflicts
    handle = make(failing, deployed).open(("log",), os.O_RDWR | os.O_APPEND)
    handle.append(b"mine\n")
    append(instance, "log", b"other\n")
    monkeypatch.setattr(attempts, "PATIENCE", 0.2)
    with pytest.raises(OSError, match=r"\[Errno"):
        handle.sync()
    failing.chosen = lambda number: False
    handle.close()
    assert get(instance, "log") == b"first\nother\nmine\n"


def test_an_offset_that_no_file_can_have_is_refused_when_it_is_written_not_when_it_is_closed(
    instance: Instances,
) -> None:
    handle = instance().open(("a",), os.O_RDWR | os.O_CREAT)
    for refused in (lambda: handle.pwrite(b"ab", 2**63 - 2), lambda: handle.truncate(2**63)):
        with pytest.raises(OSError, match="File too large"):
            refused()
    handle.truncate(2**63 - 2)
    handle.pwrite(b"z", 2**63 - 2)
    handle.close()
    found = instance().open(("a",), os.O_RDONLY)
    assert (found.size, found.pread(9, 2**63 - 4)) == (2**63 - 1, b"\0\0z")
    found.close()
