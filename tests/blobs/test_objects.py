"""What every store of named objects promises, asked of each: memory, a folder, and two Cloud Storage servers."""

import gc
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import meter
from gaeport.blobs import cloud
from gaeport.blobs.cloud import CHUNK
from gaeport.blobs.object_cloud import CloudObjects
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import OPERATION, Conflict, Draft, ObjectStore, Stored
from tests import storage_server
from tests.emulators import make_bucket

KINDS = ["memory", "folder", "strict", "gcs_server"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def strict(kind: str) -> Iterator[storage_server.Bucket | None]:
    """The strict server, where that is the kind."""
    if kind != "strict":
        yield None
        return
    with storage_server.running() as bucket:
        yield bucket


@pytest.fixture
def store(
    kind: str,
    strict: storage_server.Bucket | None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ObjectStore]:
    if kind == "memory":
        yield MemoryObjects()
    elif kind == "folder":
        yield FolderObjects(tmp_path / "pictures")
    elif kind == "strict":
        assert strict is not None
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", strict.url)
        cloud.reset()
        yield CloudObjects("pictures")
    else:
        url, name = request.getfixturevalue("gcs_server"), f"objects-{secrets.token_hex(6)}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        cloud.reset()
        make_bucket(url, name)
        yield CloudObjects(name)


def draft(name: str, generation: int = 0, **metadata: str) -> Draft:
    return Draft(name, generation, {OPERATION: secrets.token_hex(4), **metadata}, "text/plain")


def put(store: ObjectStore, name: str, data: bytes = b"x", generation: int = 0, **metadata: str) -> Stored:
    return store.write(draft(name, generation, **metadata), data)


def names(store: ObjectStore, prefix: str, *, deep: bool = False) -> list[str]:
    return sorted(item if isinstance(item, str) else item.name for item in store.scan(prefix, deep=deep))


def test_what_was_written_is_told_and_read(store: ObjectStore) -> None:
    made = put(store, "a/b.txt", b"0123456789", color="blue")
    found = store.stat("a/b.txt")
    assert found is not None
    assert (found.name, found.size, found.generation) == ("a/b.txt", 10, made.generation)
    assert found.metadata["color"] == "blue"
    assert found.content_type == "text/plain"
    assert store.read("a/b.txt", made.generation, 3, 4) == b"3456"
    assert store.read("a/b.txt", made.generation, 8, 10) == b"89"
    assert store.read("a/b.txt", made.generation, 10, 10) == b""


def test_what_is_not_there_is_none(store: ObjectStore) -> None:
    put(store, "a/b")
    assert store.stat("a/c") is None
    assert store.stat("a") is None
    assert store.stat("a/b/c") is None


def test_a_name_is_taken_once(store: ObjectStore) -> None:
    put(store, "a", b"first")
    with pytest.raises(Conflict):
        put(store, "a", b"second")
    found = store.stat("a")
    assert found is not None
    assert store.read("a", found.generation, 0, 9) == b"first"


def test_a_content_is_replaced_by_who_knows_it(store: ObjectStore) -> None:
    first = put(store, "a", b"first")
    second = put(store, "a", b"second", first.generation)
    assert second.generation > first.generation
    with pytest.raises(Conflict):
        put(store, "a", b"third", first.generation)
    with pytest.raises(Conflict):
        store.read("a", first.generation, 0, 9)
    assert store.read("a", second.generation, 0, 9) == b"second"


def test_of_many_creators_one_wins(store: ObjectStore) -> None:
    won = []

    def create(number: int) -> None:
        try:
            put(store, "a", b"%d" % number)
            won.append(number)
        except Conflict:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.stat("a")
    assert found is not None
    assert [b"%d" % number for number in won] == [store.read("a", found.generation, 0, 9)]


def test_a_listing_ends_at_slashes(store: ObjectStore) -> None:
    for name in ("d/", "d/a", "d/a-b", "d/e/f", "d/e/g", "d/h/", "other"):
        put(store, name)
    assert names(store, "d/") == ["d/", "d/a", "d/a-b", "d/e/", "d/h/"]
    assert names(store, "d/", deep=True) == ["d/", "d/a", "d/a-b", "d/e/f", "d/e/g", "d/h/"]
    assert names(store, "") == ["d/", "other"]
    assert names(store, "nothing/") == []
    assert [item.name for item in store.scan("d/", deep=True, limit=1) if isinstance(item, Stored)] == ["d/"]


def test_a_listing_of_many_pages_is_whole(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaeport.blobs.object_cloud.PAGE", 3)
    for number in range(8):
        put(store, f"d/{number}")
    assert names(store, "d/") == [f"d/{number}" for number in range(8)]


def test_a_deleted_object_is_gone(store: ObjectStore) -> None:
    made = put(store, "d/a")
    store.delete("d/a", made.generation)
    assert store.stat("d/a") is None
    assert names(store, "") == []
    with pytest.raises(Conflict):
        store.delete("d/a", made.generation)


def test_a_moved_object_keeps_content_and_metadata(store: ObjectStore) -> None:
    made = put(store, "d/a", b"content", color="blue")
    moved = store.move(made, "e/b", 0)
    assert store.stat("d/a") is None
    assert (moved.name, moved.metadata["color"], moved.content_type) == ("e/b", "blue", "text/plain")
    assert store.read("e/b", moved.generation, 0, 9) == b"content"


def test_a_move_replaces_what_it_knows(store: ObjectStore) -> None:
    made, over = put(store, "a", b"new"), put(store, "b", b"old")
    moved = store.move(made, "b", over.generation)
    assert store.read("b", moved.generation, 0, 9) == b"new"
    assert store.stat("a") is None


def test_metadata_are_set_beside_the_others(store: ObjectStore) -> None:
    made = put(store, "a", b"content", color="blue")
    patched = store.patch(made, {"size": "big"})
    assert (patched.metadata["color"], patched.metadata["size"]) == ("blue", "big")
    assert patched.generation == made.generation
    found = store.stat("a")
    assert found is not None
    assert found.metadata == patched.metadata
    assert store.read("a", made.generation, 0, 9) == b"content"


@pytest.mark.parametrize("kind", ["memory", "folder", "strict"])  # the usual server ignores these preconditions
def test_changes_name_what_they_change(store: ObjectStore) -> None:
    first, other = put(store, "a", b"first"), put(store, "b", b"other")
    patched = store.patch(first, {"k": "1"})
    second = put(store, "a", b"second", first.generation)
    wrong = [
        lambda: store.patch(first, {"k": "2"}),
        lambda: store.patch(patched, {"k": "2"}),
        lambda: store.delete("a", first.generation),
        lambda: store.move(first, "c", 0),
        lambda: store.move(second, "b", 0),
        lambda: store.move(second, "b", other.generation - 1),
    ]
    for call in wrong:
        with pytest.raises(Conflict):
            call()
    assert names(store, "") == ["a", "b"]


@pytest.mark.parametrize("size", [0, 5, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_an_upload_of_any_size_comes_back(store: ObjectStore, size: int) -> None:
    data = (secrets.token_bytes(1024) * (size // 1024 + 1))[:size]
    upload = store.upload(draft("a", color="blue"))
    for start in range(0, size, 1 << 20):
        upload.write(data[start : start + (1 << 20)])
    assert store.stat("a") is None
    made = upload.close()
    upload.abort()
    assert (made.size, made.metadata["color"]) == (size, "blue")
    assert store.read("a", made.generation, 0, size + 1) == data


@pytest.mark.parametrize("size", [5, 2 * CHUNK + 5])
def test_an_upload_that_is_given_up_leaves_nothing(
    store: ObjectStore, size: int, strict: storage_server.Bucket | None
) -> None:
    upload = store.upload(draft("a"))
    upload.write(bytes(size))
    upload.abort()
    upload.abort()
    del upload
    gc.collect()
    assert names(store, "", deep=True) == []
    if strict is not None:
        assert strict.sessions == {}


@pytest.mark.parametrize("kind", ["memory", "folder", "strict"])  # the usual server ignores these preconditions
@pytest.mark.parametrize("size", [5, 2 * CHUNK + 5])
def test_an_upload_does_not_replace_what_it_does_not_know(store: ObjectStore, size: int) -> None:
    upload = store.upload(draft("a"))
    upload.write(bytes(size))
    put(store, "a", b"faster")
    with pytest.raises(Conflict):
        upload.close()
    found = store.stat("a")
    assert found is not None
    assert found.size == 6


@pytest.mark.parametrize("name", ["a b", "ü/é", "100%", "%2F", "a%2Fb", "..a", "#?&+", "x" * 200, "-", "~"])
def test_odd_names_are_kept_apart(store: ObjectStore, name: str) -> None:
    put(store, f"d/{name}", b"content")
    found = store.stat(f"d/{name}")
    assert found is not None
    assert names(store, "d/", deep=True) == [f"d/{name}"]
    moved = store.move(found, f"d/{name}.old", 0)
    assert store.read(moved.name, moved.generation, 0, 9) == b"content"
    store.delete(moved.name, moved.generation)
    assert names(store, "", deep=True) == []


def test_calls_are_counted_by_what_production_bills(store: ObjectStore) -> None:
    with meter.measure() as measured:
        made = put(store, "d/a", b"x")
        store.stat("d/a")
        names(store, "d/")
        store.read("d/a", made.generation, 0, 1)
        store.delete("d/a", made.generation)
    assert measured.calls == {"WriteObject": 1, "StatObject": 1, "ListObjects": 1, "ReadObject": 1, "DeleteObject": 1}
    assert measured.units == {"storage.class_a": 2, "storage.class_b": 2}
