"""Attacks through Python's own functions, beside another instance, on the embedded engine and both emulators."""

import bz2
import glob
import importlib
import mailbox
import os
import random
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gaeport.datastore.connection as connections
from gaeport import datastore, settings
from gaeport.fs import mounts
from gaeport.fs.datastore.garbage import collect
from gaeport.fs.datastore.volume import DatastoreVolume, make_volume
from tests.emulators import FIXTURES
from tests.fs.losing_proxy import Armed, LosingProxy
from tests.fs.volumes import append, get, make, names, over_grpc, put

Other = Callable[[], DatastoreVolume]


def of(name: str, **options: object) -> settings.MountSettings:
    return settings.MountSettings(path="uploads", name=name, **options)  # type: ignore[arg-type]


@pytest.fixture
def name(each_datastore: str, application: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mount's name in a store of each kind, which is in force."""
    if each_datastore:
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", each_datastore)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "attacks")
        settings.configure(root=application)
    yield f"m{uuid.uuid4().hex}"
    mounts.unmount_all()
    connections.reset()


@pytest.fixture
def folder(application: Path, name: str) -> Path:
    """The mounted folder."""
    made = application / "uploads"
    mounts.attach(str(made), make_volume(of(name), str(made)), of(name, import_=True))
    return made


@pytest.fixture
def other(name: str) -> Other:
    """Makes the same files as another instance has them."""
    return lambda: make_volume(of(name), "/nowhere/uploads")


def test_a_log_that_is_rotated_elsewhere_gets_the_lines_of_the_open_handle(folder: Path, other: Other) -> None:
    with open(folder / "log", "a") as log:
        log.write("before\n")
        log.flush()
        os.fsync(log)
        other().rename(("log",), ("log.1",))
        put(other(), "log", b"the new log\n")
        log.write("after\n")
    assert (folder / "log").read_text() == "the new log\n"
    assert (folder / "log.1").read_text() == "before\nafter\n"


def test_a_log_that_is_rotated_here_too(folder: Path, other: Other) -> None:
    with open(folder / "log", "a") as log:
        log.write("before\n")
        log.flush()
        os.rename(folder / "log", folder / "log.1")
        append(other(), "log", b"of another\n")
        log.write("after\n")
    assert get(other(), "log") == b"of another\n"
    assert get(other(), "log.1") == b"before\nafter\n"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_unlinked_elsewhere_while_written_to_stays_gone(
    folder: Path, other: Other, replaced: bool
) -> None:
    (folder / "f").write_bytes(b"old")
    with open(folder / "f", "r+b", 0) as file:
        file.write(b"1")
        other().unlink(("f",))
        if replaced:
            put(other(), "f", b"another file")
        file.write(b"2")
        file.seek(0)
        assert file.read() == b"12d"
    assert names(other()) == (["f"] if replaced else [])
    assert not replaced or get(other(), "f") == b"another file"


def test_two_directories_that_move_into_each_other_do_not_both_succeed(name: str, tmp_path: Path) -> None:
    transport = datastore.own_client().transport

    class Interferes:
        """The other move comes between the Lookup and the Commit of the first."""

        done = False

        def call(self, method: str, request: Any) -> Any:
            if method == "Commit" and not self.done:
                self.done = True
                make(transport, tmp_path / "nothing", name=name).rename(("b",), ("a", "b"))
            return transport.call(method, request)

    before = make(transport, tmp_path / "nothing", name=name)
    before.mkdir(("a",))
    before.mkdir(("b",))
    with pytest.raises(FileNotFoundError):  # what it was to move into is elsewhere now
        make(Interferes(), tmp_path / "nothing", name=name).rename(("a",), ("b", "a"))
    left = make(transport, tmp_path / "nothing", name=name)
    assert (names(left), names(left, "a"), names(left, "a/b")) == (["a"], ["b"], [])


def test_collecting_beside_a_rename_a_slow_writer_and_an_open_reader(folder: Path, other: Other, name: str) -> None:
    large = random.Random(1).randbytes(2_000_000)
    (folder / "moving").write_bytes(large)
    (folder / "read").write_bytes(large[::-1])
    reader = open(folder / "read", "rb", 0)  # noqa: SIM115 - closed below
    writer = open(folder / "slow", "wb", 0)  # noqa: SIM115 - closed below
    other().unlink(("read",))
    stores = [blobs] if (blobs := make_volume(of(name), "/nowhere").storage._blobs) is not None else []
    for number in range(5):
        writer.write(large)
        done = collect(datastore.own_client(), stores, keep_days=1)
        assert (done.blobs, done.chunks) == (0, 0)
        os.rename(folder / ("moving" if number == 0 else f"moved{number}"), folder / f"moved{number + 1}")
    assert reader.read() == large[::-1]
    reader.close()
    writer.close()
    assert get(other(), "slow") == large * 5
    assert get(other(), "moved5") == large
    collect(datastore.own_client(), stores, keep_days=0)
    assert get(other(), "slow") == large * 5
    assert get(other(), "moved5") == large


def test_mail_that_another_instance_delivers_is_there_at_once(folder: Path, other: Other) -> None:
    box = mailbox.Maildir(folder / "mail", create=True)
    assert len(box) == 0
    for number in range(5):
        put(other(), f"mail/tmp/{number}", b"Subject: hello\n\nbody")
        volume = other()
        volume.rename(("mail", "tmp", str(number)), ("mail", "new", str(number)))
        volume.flush_times()
        assert len(box) == number + 1
        assert box[str(number)]["subject"] == "hello"


def test_a_module_is_imported_right_after_another_instance_wrote_it(
    folder: Path, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(folder))
    for number in range(3):
        module = f"written_{uuid.uuid4().hex}"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(module)
        put(other(), f"{module}.py", f"value = {number}".encode())
        try:
            assert importlib.import_module(module).value == number
            put(other(), f"{module}.py", b"value = 'changed'")
            assert importlib.reload(sys.modules[module]).value == "changed"
        finally:
            sys.modules.pop(module, None)


def test_pillow_saves_and_reads_pictures(folder: Path, other: Other) -> None:
    picture = Image.effect_noise((300, 200), 60).convert("RGB")
    picture.save(folder / "p.jpg", quality=90)
    picture.save(folder / "p.png")
    with open(folder / "q.jpg", "wb") as file:
        picture.save(file, "JPEG", progressive=True, optimize=True)
    for saved in ("p.jpg", "q.jpg", "p.png"):
        assert len(get(other(), saved)) == os.path.getsize(folder / saved)
        with Image.open(folder / saved) as found:
            found.load()
            assert found.size == (300, 200)
    with Image.open(folder / "p.png") as found:
        assert found.tobytes() == picture.tobytes()
        found.thumbnail((50, 50))
        found.save(folder / "p.png")
    with Image.open(folder / "p.png") as found:
        assert found.size == (50, 33)


def test_modules_that_took_open_early_reach_the_mount(folder: Path, other: Other) -> None:
    with bz2.open(folder / "f.bz2", "wt") as packed:
        packed.write("text" * 1000)
    with bz2.open(folder / "f.bz2", "rt") as packed:
        assert packed.read() == "text" * 1000
    with tarfile.open(folder / "t.tar.gz", "w:gz") as archive:
        archive.add(folder / "f.bz2", "inside")
    with tarfile.open(folder / "t.tar.gz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    assert get(other(), "unpacked/inside") == get(other(), "f.bz2")
    found = glob.glob("**/*", root_dir=folder, recursive=True)
    assert sorted(found) == ["f.bz2", "t.tar.gz", "unpacked", "unpacked/inside"]


# Answers that are lost on the way, by a real connection that breaks


@pytest.fixture(params=FIXTURES)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def _exclusively(volume: DatastoreVolume) -> None:
    handle = volume.open(("x",), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    handle.pwrite(b"winner", 0)
    handle.close()


WORK: dict[str, Callable[[DatastoreVolume], object]] = {
    "append": lambda volume: append(volume, "log", b"2"),
    "create": lambda volume: put(volume, "new", b"new"),
    "create exclusively": _exclusively,
    "mkdir": lambda volume: volume.mkdir(("n",)),
    "rename": lambda volume: volume.rename(("log",), ("d", "log")),
    "unlink": lambda volume: volume.unlink(("log",)),
    "rmdir": lambda volume: volume.rmdir(("d",)),
    "link": lambda volume: volume.link(("log",), ("log2",)),
}


@pytest.mark.parametrize("work", WORK)
def test_a_broken_connection_after_a_commit_changes_nothing(server: str, tmp_path: Path, work: str) -> None:
    def run(lose: int) -> tuple[int, dict[str, bytes]]:
        mount, proxy = f"m{uuid.uuid4().hex}", LosingProxy(server)
        direct, passed = over_grpc(server), over_grpc(proxy.host)
        try:
            before = make(direct, tmp_path, name=mount)
            put(before, "log", b"1")
            before.mkdir(("d",))
            before.times.flush()
            through = Armed(passed, proxy, lambda number: number == lose)
            WORK[work](make(through, tmp_path, name=mount))
            assert proxy.lost == (1 if lose else 0)
            left = make(direct, tmp_path, name=mount)
            found = {"/".join(path): _told(left, path) for path in _everything(left)}
            return through.commits, found
        finally:
            proxy.close()

    commits, expected = run(0)
    for lose in range(1, commits + 1):
        assert run(lose)[1] == expected, f"commit {lose} of {commits}"


def _everything(volume: DatastoreVolume, folder: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for entry, found in volume.scandir(folder):
        yield (*folder, entry)
        if found.mode & 0o170000 == 0o040000:
            yield from _everything(volume, (*folder, entry))


def _told(volume: DatastoreVolume, path: tuple[str, ...]) -> bytes:
    found = volume.stat(path)
    if found.mode & 0o170000 == 0o040000:
        return b"/"
    return b"%d %s" % (found.nlink, get(volume, "/".join(path)))
