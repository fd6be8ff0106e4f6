"""What every blob store promises, asked of each of them: memory, a folder, and a Cloud Storage server."""

import secrets
import threading
import tracemalloc
from pathlib import Path

import pytest

from gaeport import meter
from gaeport.blobs import BlobStore
from gaeport.blobs.cloud import CHUNK, CloudStore
from gaeport.blobs.folder import FolderStore
from gaeport.blobs.memory import MemoryStore
from tests.emulators import make_bucket


@pytest.fixture(params=["memory", "folder", "cloud"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return FolderStore(tmp_path / "blobs")
    return cloud_store(request.getfixturevalue("gcs_server"), monkeypatch)


def cloud_store(url: str, monkeypatch: pytest.MonkeyPatch) -> CloudStore:
    """A store in a bucket of the test server, under a prefix of its own."""
    from gaeport.blobs import cloud

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    cloud.reset()
    make_bucket(url, "pictures")
    return CloudStore("pictures", f"{secrets.token_hex(8)}/")


def put(blobs: BlobStore, name: str, *pieces: bytes) -> None:
    writer = blobs.create(name)
    for piece in pieces:
        writer.write(piece)
    writer.close()


def test_what_was_written_is_read_whole(blobs: BlobStore) -> None:
    put(blobs, "a", b"hello ", b"world")
    assert blobs.read("a", 0, 100) == b"hello world"


def test_ranges_are_read(blobs: BlobStore) -> None:
    put(blobs, "a", b"0123456789")
    assert blobs.read("a", 3, 4) == b"3456"
    assert blobs.read("a", 8, 10) == b"89"


def test_past_the_end_nothing_is_read(blobs: BlobStore) -> None:
    put(blobs, "a", b"0123")
    assert blobs.read("a", 4, 10) == b""
    assert blobs.read("a", 400, 10) == b""
    assert blobs.read("a", 0, 0) == b""


def test_an_empty_blob_exists(blobs: BlobStore) -> None:
    put(blobs, "a")
    assert blobs.exists("a")
    assert blobs.read("a", 0, 10) == b""


def test_a_memoryview_is_written_as_its_bytes(blobs: BlobStore) -> None:
    put(blobs, "a", memoryview(bytearray(b"0123456789"))[2:5])
    assert blobs.read("a", 0, 10) == b"234"


def test_a_reused_buffer_does_not_change_what_was_written(blobs: BlobStore) -> None:
    writer, buffer = blobs.create("a"), bytearray(b"first")
    writer.write(buffer)
    buffer[:] = b"other"
    writer.close()
    assert blobs.read("a", 0, 10) == b"first"


@pytest.mark.parametrize("name", ["missing", "..", "a/b", "%2e"])
def test_a_missing_blob_is_not_found_under_its_name(blobs: BlobStore, name: str) -> None:
    assert not blobs.exists(name)
    for length in (10, 0):
        with pytest.raises(FileNotFoundError) as caught:
            blobs.read(name, 0, length)
        assert caught.value.filename == name


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../up", "%2e", "x" * 200])
def test_any_ascii_name_is_kept_apart(blobs: BlobStore, name: str) -> None:
    put(blobs, name, b"content")
    assert blobs.read(name, 0, 10) == b"content"
    assert not blobs.exists("a")


def test_a_deleted_blob_is_gone_and_deleting_it_again_is_no_error(blobs: BlobStore) -> None:
    put(blobs, "a", b"x")
    blobs.delete("a")
    assert not blobs.exists("a")
    blobs.delete("a")


def test_nothing_is_readable_before_close(blobs: BlobStore) -> None:
    writer = blobs.create("a")
    writer.write(b"x" * 100_000)
    assert not blobs.exists("a")
    writer.close()
    assert blobs.exists("a")


def test_an_aborted_blob_leaves_its_name_free(blobs: BlobStore) -> None:
    writer = blobs.create("a")
    writer.write(b"half")
    writer.abort()
    writer.abort()
    writer.close()
    assert not blobs.exists("a")
    put(blobs, "a", b"whole")
    assert blobs.read("a", 0, 10) == b"whole"


def test_abort_after_close_keeps_the_blob(blobs: BlobStore) -> None:
    writer = blobs.create("a")
    writer.write(b"x")
    writer.close()
    writer.close()
    writer.abort()
    assert blobs.exists("a")


def test_writing_to_a_closed_blob_is_a_mistake(blobs: BlobStore) -> None:
    writer = blobs.create("a")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


def test_a_name_that_is_taken_keeps_its_content(blobs: BlobStore) -> None:
    put(blobs, "a", b"first")
    with pytest.raises(FileExistsError) as caught:
        put(blobs, "a", b"second")
    assert caught.value.filename == "a"
    assert blobs.read("a", 0, 10) == b"first"


def test_of_writers_of_one_name_one_wins(blobs: BlobStore) -> None:
    writers = [blobs.create("a") for _ in range(4)]
    won: list[int] = []

    def finish(number: int) -> None:
        try:
            writers[number].close()
            won.append(number)
        except FileExistsError:
            pass

    for number, writer in enumerate(writers):
        writer.write(b"%d" % number)
    threads = [threading.Thread(target=finish, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in won] == [blobs.read("a", 0, 10)]


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
def test_sizes_around_an_upload_chunk_come_back_exactly(blobs: BlobStore, size: int) -> None:
    data = secrets.token_bytes(1024) * (size // 1024 + 1)
    data = data[:size]
    put(blobs, "a", data)
    assert blobs.read("a", 0, size + 10) == data


def test_an_aborted_large_blob_leaves_its_name_free(blobs: BlobStore) -> None:
    writer = blobs.create("a")
    writer.write(bytes(2 * CHUNK + 5))
    writer.abort()
    assert not blobs.exists("a")


def test_prefixes_keep_mounts_apart(blobs: BlobStore, tmp_path: Path) -> None:
    if isinstance(blobs, MemoryStore):
        content: dict[str, bytes] = {}
        one: BlobStore = MemoryStore(content, "one/")
        two: BlobStore = MemoryStore(content, "two/")
    elif isinstance(blobs, FolderStore):
        one, two = FolderStore(tmp_path, "one/"), FolderStore(tmp_path, "two/")
    else:
        one, two = CloudStore("pictures", secrets.token_hex(8)), CloudStore("pictures", secrets.token_hex(8))
    put(one, "a", b"1")
    assert not two.exists("a")
    put(two, "a", b"2")
    assert (one.read("a", 0, 9), two.read("a", 0, 9)) == (b"1", b"2")


def test_calls_are_counted_by_what_production_bills(blobs: BlobStore) -> None:
    with meter.measure() as measured:
        put(blobs, "a", b"x")
        blobs.read("a", 0, 1)
        blobs.exists("a")
        blobs.delete("a")
    assert measured.calls == {"WriteBlob": 1, "ReadBlob": 1, "StatBlob": 1, "DeleteBlob": 1}
    assert measured.units == {"storage.class_a": 1, "storage.class_b": 2}


@pytest.mark.parametrize(("kind", "megabytes"), [("folder", 200), ("cloud", 100)])  # the test server slows with size
def test_large_content_streams_in_bounded_memory(
    kind: str, megabytes: int, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "folder":
        store: BlobStore = FolderStore(tmp_path)
    else:
        store = cloud_store(request.getfixturevalue("gcs_server"), monkeypatch)
    put(store, "warm", b"x")  # imports and connections
    piece = bytes(4 * 1024 * 1024)
    pieces = megabytes // 4
    tracemalloc.start()
    try:
        put(store, "a", *[piece] * pieces)
        for number in range(0, pieces, 10):
            assert len(store.read("a", number * len(piece), len(piece))) == len(piece)
        assert store.read("a", pieces * len(piece), 1) == b""
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * 1024 * 1024
    store.delete("a")
