"""Files in a bucket of a Cloud Storage server that refuses, loses answers, or stands still."""

import errno
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from requests import Session

from gaeport.blobs import cloud
from gaeport.blobs.object_cloud import CloudObjects
from gaeport.fs import mounts
from gaeport.fs.datastore.handle import Handle
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests import storage_server
from tests.fs.volumes import append, get, names, put
from tests.storage_server import Bucket, Call


@pytest.fixture
def bucket(application: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with storage_server.in_use(monkeypatch, 0.01) as running:
        yield running


@pytest.fixture
def volume(bucket: Bucket, application: Path) -> GcsVolume:
    return instance(application)


def instance(application: Path) -> GcsVolume:
    names = Names("pictures", "media/")
    return GcsVolume(Tree(CloudObjects("pictures"), names, str(application / "uploads"), overlay=True))


def first(count: int, wanted: Callable[[Call], bool]) -> Callable[[Call], bool]:
    """Return what is true for the first calls of a kind."""
    met: list[Call] = []

    def chosen(call: Call) -> bool:
        if wanted(call) and len(met) < count:
            met.append(call)
            return True
        return False

    return chosen


def refusing(status: int, chosen: Callable[[Call], bool]) -> Callable[[Call], int]:
    return lambda call: status if chosen(call) else 0


def is_write(call: Call) -> bool:
    return call.method == "POST" and call.path.startswith("/upload/")


def test_files_and_directories(volume: GcsVolume) -> None:
    volume.mkdir(("d",))
    put(volume, "d/ä b#?%.txt", b"content")
    append(volume, "d/ä b#?%.txt", b" more")
    volume.symlink("d", ("l",))
    assert get(volume, "l/ä b#?%.txt") == b"content more"
    volume.rename(("d",), ("e",))
    assert names(volume) == ["e", "l"]
    volume.chmod(("e", "ä b#?%.txt"), 0o600)
    assert volume.stat(("e", "ä b#?%.txt")).mode & 0o777 == 0o600
    volume.unlink(("e", "ä b#?%.txt"))
    volume.rmdir(("e",))
    assert names(volume) == ["l"]


def test_a_file_that_is_dropped_unclosed_is_stored_at_once(
    volume: GcsVolume, bucket: Bucket, application: Path
) -> None:
    (application / "uploads").mkdir()
    mounts.attach(str(application / "uploads"), volume)
    gc.disable()
    try:
        with pytest.warns(ResourceWarning, match="unclosed"):
            open(application / "uploads" / "a", "w").write("content")  # noqa: SIM115
        assert [call.path[:8] for call in bucket.of("POST")] == ["/upload/"]
    finally:
        gc.enable()


def test_the_client_asks_nothing_behind_the_scenes(volume: GcsVolume, bucket: Bucket) -> None:
    put(volume, "a", b"content")
    with pytest.raises(FileNotFoundError):
        volume.stat(("none",))
    volume.unlink(("a",))
    for thread in threading.enumerate():
        if "background" in thread.name:
            thread.join()
    assert [call.path for call in bucket.calls if "/o" not in call.path] == []


def test_a_move_is_one_call_of_the_server(volume: GcsVolume, bucket: Bucket) -> None:
    put(volume, "a", b"content")
    bucket.calls.clear()
    volume.rename(("a",), ("b",))
    assert len(bucket.of("POST", "/moveTo/")) == 1
    assert bucket.of("POST", "/rewriteTo/") == []
    assert get(volume, "b") == b"content"


def test_a_server_without_moves_copies_and_deletes(volume: GcsVolume, bucket: Bucket) -> None:
    bucket.moves = False
    put(volume, "a", b"content")
    put(volume, "b", b"old")
    put(volume, "c", b"other")
    bucket.calls.clear()
    volume.rename(("a",), ("b",))
    volume.rename(("c",), ("d",))
    assert (get(volume, "b"), get(volume, "d")) == (b"content", b"other")
    assert names(volume) == ["b", "d"]
    assert (len(bucket.of("POST", "/moveTo/")), len(bucket.of("POST", "/rewriteTo/"))) == (1, 2)


def test_an_append_whose_answer_was_lost_is_there_once(volume: GcsVolume, bucket: Bucket) -> None:
    put(volume, "log", b"first\n")
    bucket.lose = first(1, is_write)
    append(volume, "log", b"second\n")
    assert get(volume, "log") == b"first\nsecond\n"


def test_an_append_whose_answer_was_lost_and_that_another_wrote_after(
    volume: GcsVolume, bucket: Bucket, application: Path
) -> None:
    put(volume, "log", b"first\n")
    other = instance(application)
    lost = first(1, is_write)

    def lose(call: Call) -> bool:
        if not lost(call):
            return False
        append(other, "log", b"other\n")
        return True

    bucket.lose = lose
    append(volume, "log", b"mine\n")
    assert get(volume, "log") == b"first\nmine\nother\n"


@pytest.mark.parametrize("size", [10, 9 << 20])
@pytest.mark.parametrize("later", [b"", b"third\n"])
def test_an_append_that_failed_although_it_was_done_is_there_once(
    volume: GcsVolume, bucket: Bucket, application: Path, monkeypatch: pytest.MonkeyPatch, size: int, later: bytes
) -> None:
    put(volume, "log", bytes(size))
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"second\n")
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.1)
    before = bucket.objects.stat("media/log")
    bucket.lose = lambda call: bucket.objects.stat("media/log") != before  # from the moment on when it is done
    with pytest.raises(OSError, match=r"\[Errno 5\]"):
        handle.sync()
    bucket.lose = lambda call: False
    append(instance(application), "log", b"other\n")
    handle.append(later)
    handle.close()
    assert get(volume, "log") == bytes(size) + b"second\nother\n" + later


def test_an_append_that_fails_after_it_was_merged_keeps_what_it_was_merged_with(
    volume: GcsVolume, bucket: Bucket, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(volume, "log", b"first\n")
    handle = volume.open(("log",), os.O_RDWR | os.O_APPEND)
    handle.append(b"mine\n")
    append(instance(application), "log", b"other\n")
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.1)
    conflicting = first(1, is_write)
    bucket.refuse = refusing(503, lambda call: is_write(call) and not conflicting(call))
    with pytest.raises(OSError, match=r"\[Errno 5\]"):
        handle.sync()
    bucket.refuse = lambda call: 0
    handle.close()
    assert get(volume, "log") == b"first\nother\nmine\n"


def test_an_append_that_was_interrupted_when_it_was_done_is_there_once(
    volume: GcsVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(volume, "log", b"first\n")
    interrupt_after("POST", monkeypatch)
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"second\n")
    with pytest.raises(KeyboardInterrupt):
        handle.sync()
    handle.close()
    assert get(volume, "log") == b"first\nsecond\n"


def interrupt_after(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first request of a method, once it is done, end as when a signal arrives."""
    request, interrupted = Session.request, []

    def interrupt(session: Session, method: str, *args: object, **options: object) -> object:
        answer = request(session, method, *args, **options)  # type: ignore[arg-type]
        if method == wanted and not interrupted:
            interrupted.append(method)
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Session, "request", interrupt)


def test_an_exclusive_create_whose_answer_was_lost_has_won(volume: GcsVolume, bucket: Bucket) -> None:
    bucket.lose = first(1, is_write)
    put(volume, "a", b"mine", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    assert get(volume, "a") == b"mine"


def test_lost_answers_to_the_other_calls(volume: GcsVolume, bucket: Bucket) -> None:
    put(volume, "a", b"content")
    calls: list[tuple[Callable[[Call], bool], Callable[[], object]]] = [
        (lambda call: call.method == "PATCH", lambda: volume.chmod(("a",), 0o600)),
        (lambda call: "/moveTo/" in call.path, lambda: volume.rename(("a",), ("b",))),
        (lambda call: call.method == "GET", lambda: get(volume, "b")),
        (lambda call: call.method == "DELETE", lambda: volume.unlink(("b",))),
        (is_write, lambda: volume.mkdir(("d",))),
    ]
    for wanted, call in calls:
        bucket.lose = first(1, wanted)
        call()
    assert names(volume) == ["d"]


def test_a_large_file_whose_answers_were_lost(volume: GcsVolume, bucket: Bucket) -> None:
    bucket.lose = first(2, lambda call: call.method == "PUT")
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(20):
        handle.pwrite(bytes([number]) * (1 << 20), number << 20)
    handle.close()
    assert get(volume, "big")[:: 1 << 20] == bytes(range(20))


@pytest.mark.parametrize("moves", [True, False])
def test_of_two_that_move_a_file_one_is_told(volume: GcsVolume, bucket: Bucket, application: Path, moves: bool) -> None:
    """As workers do that claim a job by renaming it."""
    bucket.moves = moves
    put(volume, "job", b"content")
    other, chosen = instance(application), first(1, lambda call: "media/job/" in call.path and call.method == "POST")

    def overtake(call: Call) -> int:
        if chosen(call):
            other.rename(("job",), ("claimed",))
        return 0

    bucket.refuse = overtake
    with pytest.raises(FileNotFoundError):
        volume.rename(("job",), ("claimed",))
    assert get(volume, "claimed") == b"content"


def test_of_two_that_move_a_file_by_copies_the_loser_leaves_none(
    volume: GcsVolume, bucket: Bucket, application: Path
) -> None:
    bucket.moves = False
    put(volume, "job", b"content")
    other, chosen = instance(application), first(1, lambda call: call.method == "DELETE")

    def overtake(call: Call) -> int:
        if chosen(call):
            other.rename(("job",), ("theirs",))
        return 0

    bucket.refuse = overtake
    with pytest.raises(FileNotFoundError):
        volume.rename(("job",), ("mine",))
    assert names(volume) == ["theirs"]


def test_a_copy_in_place_of_a_move_whose_answer_was_lost(volume: GcsVolume, bucket: Bucket) -> None:
    bucket.moves = False
    put(volume, "a", b"content")
    bucket.lose = first(1, lambda call: "/rewriteTo/" in call.path)
    volume.rename(("a",), ("b",))
    assert names(volume) == ["b"]


@pytest.mark.parametrize(("source", "target", "moved"), [("a", "b", "b"), ("d", "e", "e/x")])
def test_a_move_whose_answer_was_lost_and_that_another_wrote_after(
    volume: GcsVolume, bucket: Bucket, application: Path, source: str, target: str, moved: str
) -> None:
    put(volume, "a", b"content")
    volume.mkdir(("d",))
    put(volume, "d/x", b"content")
    other = instance(application)
    lost = first(1, lambda call: "/moveTo/" in call.path and f"media/{moved}?" in call.path)

    def lose(call: Call) -> bool:
        if not lost(call):
            return False
        append(other, moved, b" more")
        return True

    handle = volume.open(tuple(moved.replace(target, source, 1).split("/")), os.O_RDONLY)
    bucket.lose = lose
    volume.rename((source,), (target,))
    assert get(volume, moved) == b"content more"
    assert handle.pread(99, 0) == b"content more"
    handle.close()


def test_a_removal_whose_answer_was_lost_spares_the_next_file(
    volume: GcsVolume, bucket: Bucket, application: Path
) -> None:
    """As of a lock file, which another instance makes at once."""
    exclusively = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    put(volume, "lock", b"mine", exclusively)
    other, lost = instance(application), first(1, lambda call: call.method == "DELETE")

    def lose(call: Call) -> bool:
        if not lost(call):
            return False
        put(other, "lock", b"theirs", exclusively)
        return True

    bucket.lose = lose
    volume.unlink(("lock",))
    assert get(volume, "lock") == b"theirs"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_patience_gets_it(volume: GcsVolume, bucket: Bucket, status: int) -> None:
    put(volume, "a", b"old")
    bucket.refuse = refusing(status, first(2, lambda call: call.method in ("POST", "PATCH")))
    append(volume, "a", b" new")
    assert get(volume, "a") == b"old new"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the client library's connections
@pytest.mark.parametrize(
    ("status", "number"),
    [(403, errno.EACCES), (401, errno.EACCES), (503, errno.EIO), (500, errno.EIO), (507, errno.ENOSPC)],
)
def test_a_refusal_is_the_error_of_a_failing_disk(
    volume: GcsVolume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, status: int, number: int
) -> None:
    put(volume, "a", b"old")
    handle = volume.open(("a",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"new")
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.2)
    bucket.refuse = lambda call: status
    calls: list[Callable[[], object]] = [
        handle.close,
        lambda: volume.stat(("a",)),
        lambda: get(volume, "a"),
        lambda: volume.scandir(()),
        lambda: volume.mkdir(("d",)),
        lambda: volume.rename(("a",), ("b",)),
    ]
    for call in calls:
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            call()
        assert caught.value.errno == number
    bucket.refuse = lambda call: 0
    assert get(volume, "a") == b"old"


def test_a_server_that_stands_still_gives_eio(
    volume: GcsVolume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(volume, "a", b"old")
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(cloud, "TIMEOUT", 0.2)
    bucket.hold.clear()
    for call in (lambda: volume.stat(("a",)), lambda: volume.mkdir(("d",)), lambda: volume.scandir(())):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            call()
        assert caught.value.errno == errno.EIO
    bucket.hold.set()
    monkeypatch.setattr(cloud, "TIMEOUT", 20)
    assert get(volume, "a") == b"old"


def test_a_missing_bucket_is_no_missing_file_when_writing(bucket: Bucket, application: Path) -> None:
    tree = Tree(CloudObjects("no-such-bucket"), Names("no-such-bucket", ""), str(application / "uploads"), overlay=True)
    for call in (lambda: put(GcsVolume(tree), "a", b"x"), lambda: GcsVolume(tree).scandir(())):
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            call()
        assert caught.value.errno == errno.EIO


def test_a_large_file_that_is_given_up_ends_its_upload(volume: GcsVolume, bucket: Bucket) -> None:
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(30):
        handle.pwrite(bytes(1 << 20), number << 20)
    assert len(bucket.sessions) == 1
    handle.discard()
    del handle
    assert bucket.sessions == {}
    assert names(volume) == []


def begun(volume: GcsVolume, megabytes: int) -> Handle:
    """Return a file of which the first part has gone up."""
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(megabytes):
        handle.pwrite(bytes([number]) * (1 << 20), number << 20)
    return handle


def test_a_large_file_that_is_removed_while_it_goes_up_stays_removed(volume: GcsVolume, bucket: Bucket) -> None:
    handle = begun(volume, 30)
    volume.unlink(("big",))
    assert bucket.sessions == {}
    handle.close()
    del handle
    gc.collect()
    assert names(volume) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_large_file_whose_writer_is_interrupted_leaves_the_old_one(
    volume: GcsVolume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(volume, "big", b"old")
    interrupt_after("PUT", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        begun(volume, 30)
    volume.commit_all()
    gc.collect()
    assert bucket.sessions == {}
    assert get(volume, "big") == b"old"


def test_a_large_file_whose_time_cannot_be_told_is_stored(
    volume: GcsVolume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.2)
    handle = begun(volume, 30)
    bucket.refuse = refusing(503, lambda call: call.method == "PATCH")
    with pytest.raises(OSError, match=r"\[Errno 5\]"):
        handle.sync()
    bucket.refuse = lambda call: 0
    handle.append(b"more")
    handle.close()
    assert get(volume, "big")[:: 1 << 20] == bytes([*range(30), ord("m")])


def test_a_large_file_whose_server_fails_midway_leaves_the_old_one(
    volume: GcsVolume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(volume, "big", b"old")
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.2)
    handle = volume.open(("big",), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    bucket.refuse = refusing(503, lambda call: call.method == "PUT" and len(bucket.of("PUT")) > 1)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        handle.pwrite(bytes(40 << 20), 0)
    assert caught.value.errno == errno.EIO
    handle.discard()
    bucket.refuse = lambda call: 0
    assert get(volume, "big") == b"old"


def test_a_listing_of_many_pages(volume: GcsVolume, bucket: Bucket) -> None:
    for number in range(2345):
        bucket.objects.write(storage_server.Draft(f"media/d/{number}", 0, {}), b"")
    bucket.calls.clear()
    assert len(names(volume, "d")) == 2345
    assert len(bucket.of("GET", "/o?")) == 3


def test_a_directory_of_many_pages_is_moved_and_removed(volume: GcsVolume, bucket: Bucket) -> None:
    for number in range(1234):
        bucket.objects.write(storage_server.Draft(f"media/d/{number}", 0, {}), b"")
    volume.rename(("d",), ("e",))
    assert len(names(volume, "e")) == 1234
    bucket.calls.clear()
    assert volume.rmtree(("e",))
    assert names(volume) == []
    methods = ["page" if "pageToken=" in call.path else call.method for call in bucket.calls]
    assert methods.index("DELETE") < methods.index("page")  # so that no more than a page is in memory


def test_threads_append_to_one_file(volume: GcsVolume, application: Path) -> None:
    others = [instance(application) for _ in range(3)]

    def work(number: int) -> None:
        for line in range(6):
            append(others[number], "log", b"%d %d\n" % (number, line))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = get(volume, "log").splitlines()
    assert sorted(lines) == sorted(b"%d %d" % (number, line) for number in range(3) for line in range(6))


def test_a_directory_is_moved_while_files_are_written_in_it(volume: GcsVolume, application: Path) -> None:
    """A writer is told, or what it wrote is in one of the two; nothing that was there is lost."""
    volume.mkdir(("d",))
    for number in range(10):
        put(volume, f"d/{number}", b"old")
    other, acknowledged = instance(application), set()

    def write() -> None:
        for number in range(10):
            try:
                append(other, f"d/{number}", b" new")
                acknowledged.add(str(number))
            except OSError as error:
                if error.errno not in (errno.ESTALE, errno.ENOENT):
                    raise

    thread = threading.Thread(target=write)
    thread.start()
    volume.rename(("d",), ("e",))
    thread.join()
    found = dict.fromkeys(map(str, range(10)), b"")
    for folder in ("d", "e"):
        for name in names(volume, folder) if folder in names(volume) else []:
            found[name] += get(volume, f"{folder}/{name}")
    for name, content in found.items():
        assert content.count(b"old") == 1, (name, content)
        assert content.count(b" new") == (1 if name in acknowledged else 0), (name, content)


def test_the_usual_stand_in_serves_a_mount(gcs_server: str, application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no moves, and ignores some preconditions: what one instance does alone works."""
    from tests.emulators import make_bucket

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    cloud.reset()
    make_bucket(gcs_server, "pictures")
    volume = instance(application)
    volume.mkdir(("stand-in",))
    put(volume, "stand-in/a", b"content")
    append(volume, "stand-in/a", b" more")
    handle = volume.open(("stand-in", "big"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(20):
        handle.pwrite(bytes([number]) * (1 << 20), number << 20)
    handle.close()
    volume.rename(("stand-in",), ("moved",))
    assert get(volume, "moved/a") == b"content more"
    assert get(volume, "moved/big")[:: 1 << 20] == bytes(range(20))
    volume.chmod(("moved", "a"), 0o600)
    assert volume.stat(("moved", "a")).mode & 0o777 == 0o600
    for name in names(volume, "moved"):
        volume.unlink(("moved", name))
    volume.rmdir(("moved",))
    assert "moved" not in names(volume)
