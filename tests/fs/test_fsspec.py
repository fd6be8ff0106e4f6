"""The fsspec file system: fsspec's own abstract tests, and what they leave out."""

import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import fsspec
import fsspec.tests.abstract as abstract
import pytest
from fsspec.implementations.cached import CachingFileSystem, SimpleCacheFileSystem, WholeFileCacheFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from gaeport import meter, settings
from gaeport.fs import mounts, named
from gaeport.fs.datastore.volume import DatastoreVolume
from gaeport.fs.fsspec import GaeportFileSystem
from gaeport.fs.patching import patch, paths
from tests.benchmarks import memory

MIB = 1 << 20


@pytest.fixture(autouse=True)
def application(tmp_path: Path) -> Iterator[Path]:
    """An application with four mounts in its settings, none of them mounted in this process."""
    former = settings._current
    working = os.getcwd()
    root = tmp_path.resolve() / "application"
    root.mkdir()
    fsspec.register_implementation("gaeport", GaeportFileSystem, clobber=True)
    places = [{"path": "uploads"}, {"path": "a/b/deep"}, {"path": "errors", "name": "e"}]
    settings.configure(root=root, data=":memory:", mounts=[*places, {"path": "objects", "store": "gcs"}])
    yield root
    os.chdir(working)
    mounts.unmount_all()
    named._own.clear()
    settings._current = former
    assert not patch.is_installed()


class Fixtures(abstract.AbstractFixtures):
    """Where fsspec's tests work."""

    @pytest.fixture
    def fs(self) -> GaeportFileSystem:
        return GaeportFileSystem(skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "uploads"

    @pytest.fixture(scope="class")
    @classmethod
    def local_fs(cls) -> LocalFileSystem:
        return LocalFileSystem(auto_mkdir=True)


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass


@pytest.fixture
def fs() -> GaeportFileSystem:
    return GaeportFileSystem(skip_instance_cache=True)


def test_a_url_opens_a_file_of_a_mount_without_a_patch() -> None:
    with fsspec.open("gaeport://uploads/new/a.txt", "w") as file:
        file.write("hello\n")
    with fsspec.open("gaeport://uploads/new/a.txt") as file:
        assert file.read() == b"hello\n"
    assert not patch.is_installed()
    assert paths.mounts() == ()


def test_the_entry_point_names_the_class() -> None:
    found = [point for point in entry_points(group="fsspec.specs") if point.name == "gaeport"]
    assert [point.load() for point in found[:1]] == [GaeportFileSystem]


def test_it_sees_what_open_wrote_and_the_other_way(fs: GaeportFileSystem, application: Path) -> None:
    mounts.mount_all()
    os.chdir(application)
    Path("uploads/a").write_text("by open")
    assert fs.cat("uploads/a") == b"by open"
    fs.pipe("errors/../e/b", b"by fsspec")
    assert Path("errors/b").read_text() == "by fsspec"
    open_one = open("uploads/a", "ab")  # noqa: SIM115  # flushed and open
    open_one.write(b" and more")
    open_one.flush()
    assert fs.cat("uploads/a") == b"by open and more"
    open_one.close()


def test_the_root_lists_the_mounts_by_name_and_what_leads_to_them(fs: GaeportFileSystem) -> None:
    fs.pipe({"a/b/deep/x": b"1", "uploads/y/z": b"22", "e/é": b""})
    assert fs.ls("", detail=False) == ["a", "e", "objects", "uploads"]
    assert fs.ls("gaeport://a", detail=False) == ["a/b"]
    assert fs.ls("a/b/", detail=False) == ["a/b/deep"]
    assert fs.find("") == ["a/b/deep/x", "e/é", "uploads/y/z"]
    assert fs.glob("**/z") == ["uploads/y/z"]
    assert fs.isdir("a/b")
    assert {top: (sorted(folders), sorted(files)) for top, folders, files in fs.walk("uploads")} == {
        "uploads": (["y"], []),
        "uploads/y": ([], ["z"]),
    }
    assert fs.du("uploads") == 2


def test_a_mount_that_is_unknown_is_named_with_those_that_are(fs: GaeportFileSystem) -> None:
    with pytest.raises(
        FileNotFoundError, match="no mount has that name; the mounts are: a/b/deep, e, objects, uploads"
    ):
        fs.ls("upload/x")
    assert not fs.exists("upload/x")
    with pytest.raises(IsADirectoryError):
        fs.pipe("a/b", b"")


def test_info_tells_what_stat_tells(fs: GaeportFileSystem) -> None:
    fs.pipe("uploads/a", b"12345")
    volume, parts = fs._place("uploads/a")
    volume.utime(parts, 1, 1_700_000_000_500_000_000)
    volume.symlink("a", ("link",))
    volume.symlink("nothing", ("dangling",))
    found = fs.info("gaeport://uploads/a")
    assert (found["name"], found["type"], found["size"], found["mtime"]) == ("uploads/a", "file", 5, 1_700_000_000.5)
    assert found["mode"] & 0o170000 == 0o100000
    assert fs.modified("uploads/a").isoformat() == "2023-11-14T22:13:20.500000+00:00"
    assert fs.created("uploads/a").tzinfo is not None
    link = fs.info("uploads/link")
    assert (link["type"], link["size"], link["islink"], link["destination"]) == ("file", 5, True, "a")
    assert fs.info("uploads/dangling")["type"] == "other"
    assert [row["name"] for row in fs.ls("uploads")] == ["uploads/a", "uploads/dangling", "uploads/link"]
    with pytest.raises(FileNotFoundError):
        fs.info("uploads/none")


def test_checksum_changes_with_the_file(fs: GaeportFileSystem) -> None:
    fs.pipe("uploads/a", b"1")
    first = fs.checksum("uploads/a")
    assert fs.checksum("uploads/a") == first
    fs.pipe("uploads/a", b"2")
    assert fs.checksum("uploads/a") != first
    assert fs.ukey("uploads/a") != f"{first:016x}"


def test_append_exclusive_and_wrong_modes(fs: GaeportFileSystem) -> None:
    with fs.open("uploads/a", "ab") as file:
        file.write(b"1")
    with fs.open("uploads/a", "ab") as file:
        assert file.tell() == 1
        file.write(b"2")
    assert fs.cat("uploads/a") == b"12"
    with pytest.raises(FileExistsError):
        fs.open("uploads/a", "xb")
    with fs.open("uploads/b", "x") as text:
        text.write("é")
    assert fs.read_text("uploads/b", encoding="utf-8") == "é"
    with pytest.raises(ValueError, match="valid modes are rb, wb, ab, xb"):
        fs.open("uploads/a", "r+b")


def test_create_has_one_winner(fs: GaeportFileSystem) -> None:
    won = []

    def take(number: int) -> None:
        try:
            fs.pipe_file("uploads/job", str(number).encode(), mode="create")
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert fs.cat("uploads/job") == str(won[0]).encode()


def test_ranges_count_from_both_ends(fs: GaeportFileSystem) -> None:
    fs.pipe("uploads/a", bytes(range(100)))
    assert fs.cat_file("uploads/a", 10, 20) == bytes(range(10, 20))
    assert fs.cat_file("uploads/a", -10) == bytes(range(90, 100))
    assert fs.cat_file("uploads/a", 95, -2) == bytes(range(95, 98))
    assert fs.cat_file("uploads/a", 200) == b""
    ranges = fs.cat_ranges(["uploads/a", "uploads/none"], [0, 0], [2, 2])
    assert ranges[0] == b"\0\1"
    assert isinstance(ranges[1], FileNotFoundError)
    assert fs.head("uploads/a", 2) == b"\0\1"
    assert fs.tail("uploads/a", 2) == bytes([98, 99])


def test_many_files_are_piped_and_read_in_few_calls(fs: GaeportFileSystem) -> None:
    files = {f"uploads/many/{number}": str(number).encode() for number in range(500)}
    fs.mkdir("uploads/many")
    with meter.measure() as counted:
        fs.pipe(files)
    assert counted.total_calls <= 8
    with meter.measure() as counted:
        assert fs.cat(list(files)) == files
    assert counted.total_calls <= 4
    assert fs.cat("uploads/many/1*") == {
        name: data for name, data in files.items() if name.startswith("uploads/many/1")
    }
    assert fs.cat("uploads/many", recursive=True) == files
    assert fs.cat(["uploads/none", "uploads/many/1"], on_error="omit") == {"uploads/many/1": b"1"}
    with pytest.raises(FileNotFoundError):
        fs.cat(["uploads/none", "uploads/many/1"])


@pytest.mark.parametrize("mount", ["uploads", "objects"])
def test_many_files_are_piped_as_one_is_onto_what_is_there(fs: GaeportFileSystem, mount: str) -> None:
    fs.pipe(f"{mount}/private", b"old")
    fs.chmod(f"{mount}/private", 0o600)
    volume, _ = fs._place(mount)
    volume.symlink("private", ("link",))
    fs.pipe({f"{mount}/private": b"1", f"{mount}/new": b"2"})
    assert fs.info(f"{mount}/private")["mode"] & 0o777 == 0o600
    fs.pipe({f"{mount}/link": b"3", f"{mount}/new": b"4"})
    assert fs.info(f"{mount}/link")["islink"]
    assert fs.cat([f"{mount}/private", f"{mount}/new"]) == {f"{mount}/private": b"3", f"{mount}/new": b"4"}


@pytest.mark.parametrize("mount", ["uploads", "objects"])
def test_a_file_copied_onto_itself_stays_as_it_was(fs: GaeportFileSystem, mount: str) -> None:
    fs.pipe(f"{mount}/a", b"content")
    fs._place(mount)[0].symlink("a", ("link",))
    for target in (f"{mount}/a", f"gaeport://{mount}/./a", f"{mount}/link"):
        with pytest.raises(OSError, match="it is the same file"):
            fs.copy(f"{mount}/a", target)
    with pytest.raises(OSError, match="it is the same file"):
        fs.mv([f"{mount}/a"], [f"gaeport://{mount}/a"])
    assert fs.cat(f"{mount}/a") == b"content"


def test_what_is_above_the_mounts_has_no_times(fs: GaeportFileSystem) -> None:
    with pytest.raises(IsADirectoryError, match="above the mounts"):
        fs.modified("")


def test_large_and_missing_folders_are_piped_too(fs: GaeportFileSystem) -> None:
    fs.pipe({"uploads/new/large": b"x" * (3 * MIB), "uploads/new/small": b"y"})
    assert fs.size("uploads/new/large") == 3 * MIB
    assert fs.cat_file("uploads/new/large", 2 * MIB, 2 * MIB + 2) == b"xx"
    with pytest.raises(FileNotFoundError):
        GaeportFileSystem(auto_mkdir=False, skip_instance_cache=True).pipe("uploads/other/a", b"")


def test_moving_within_a_mount_is_one_rename(fs: GaeportFileSystem) -> None:
    fs.pipe({"uploads/d/a": b"1", "uploads/d/b": b"2", "uploads/t/x": b""})
    before = fs.info("uploads/d/a")["ino"]
    fs.mv("uploads/d", "uploads/moved")
    assert fs.info("uploads/moved/a")["ino"] == before
    fs.mv("uploads/moved", "uploads/t/")
    assert fs.info("uploads/t/moved/a")["ino"] == before
    fs.mv("uploads/t/moved/a", "uploads/new/folder/a")
    assert fs.info("uploads/new/folder/a")["ino"] == before
    fs.mv("uploads/t", "e/t", recursive=True)
    assert fs.find("e") == ["e/t/moved/b", "e/t/x"]
    assert not fs.exists("uploads/t")


def test_removing(fs: GaeportFileSystem) -> None:
    fs.pipe({"uploads/d/a": b"1", "uploads/d/deep/b": b"2", "uploads/c.tmp": b"", "uploads/d.tmp": b""})
    with pytest.raises(IsADirectoryError, match="recursive=True"):
        fs.rm("uploads/d")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("uploads/d")
    fs.rm("uploads/*.tmp")
    assert fs.ls("uploads", detail=False) == ["uploads/d"]
    fs.rm("uploads/d", recursive=True)
    assert fs.ls("uploads", detail=False) == []
    fs.mkdir("uploads/x/y")
    with pytest.raises(FileExistsError):
        fs.mkdir("uploads/x/y")
    fs.rmdir("uploads/x/y")
    with pytest.raises(FileNotFoundError):
        fs.rm("uploads/none")


def test_touch(fs: GaeportFileSystem) -> None:
    fs.pipe("uploads/a", b"1")
    before = fs.info("uploads/a")["mtime"]
    fs.touch("uploads/a", truncate=False)
    assert fs.cat("uploads/a") == b"1"
    assert fs.info("uploads/a")["mtime"] > before
    fs.touch("uploads/a")
    assert fs.size("uploads/a") == 0


def test_a_transaction_shows_all_files_at_its_end_or_none(fs: GaeportFileSystem) -> None:
    with fs.transaction:
        fs.pipe("uploads/a", b"1")
        with fs.open("uploads/b", "wb") as file:
            file.write(b"2" * (6 * MIB))
        assert named.split("uploads")[0].volume.scandir(()) != ()  # type: ignore[union-attr]
        other = DatastoreVolume.scandir(_another(), ())
        assert list(other) == []
    assert fs.find("uploads") == ["uploads/a", "uploads/b"]

    def fails() -> None:
        with fs.transaction:
            fs.pipe("uploads/a", b"other")
            fs.pipe("uploads/c", b"")
            fs.pipe_file("uploads/d", b"", mode="create")
            fs.pipe({"uploads/a": b"more", "uploads/e": b""})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert fs.find("uploads") == ["uploads/a", "uploads/b"]
    assert fs.cat("uploads/a") == b"1"


def _another() -> DatastoreVolume:
    """Return the volume as another instance has it."""
    from gaeport.fs.datastore.volume import make_volume

    config = settings.current()
    return make_volume(config.mounts[0], str(config.root / "uploads"))


def test_a_reader_keeps_to_its_file(fs: GaeportFileSystem) -> None:
    fs.pipe("uploads/a", b"x" * 10)
    with fs.open("uploads/a") as file:
        fs.mv("uploads/a", "uploads/b")
        fs.pipe("uploads/a", b"other")
        assert file.read() == b"x" * 10


def test_zip_files_are_written_and_read_in_place(fs: GaeportFileSystem) -> None:
    with fs.open("uploads/z.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("one.txt", b"1" * 100_000)
        archive.writestr("two.txt", b"2")
    with fs.open("uploads/z.zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("one.txt") == b"1" * 100_000
        assert archive.namelist() == ["one.txt", "two.txt"]
    inner = fsspec.filesystem("zip", fo="gaeport://uploads/z.zip", skip_instance_cache=True)
    assert inner.cat("two.txt") == b"2"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # fsspec's block cache leaves a file open
def test_dirfs_and_the_caches_run_on_it(fs: GaeportFileSystem, tmp_path: Path) -> None:
    inside = DirFileSystem("uploads/below", fs)
    inside.pipe("x/y", b"12345")
    assert inside.find("") == ["x/y"]
    assert inside.cat("x/y") == b"12345"
    assert fs.exists("uploads/below/x/y")
    for number, cache in enumerate((CachingFileSystem, WholeFileCacheFileSystem, SimpleCacheFileSystem)):
        cached = cache(fs=fs, cache_storage=str(tmp_path / str(number)), skip_instance_cache=True)
        with cached.open("uploads/below/x/y") as file:
            assert file.read() == b"12345"
            file.seek(2)
            assert file.read(2) == b"34"
    with fsspec.open(
        "simplecache::gaeport://uploads/below/x/y", simplecache={"cache_storage": str(tmp_path / "s")}
    ) as f:
        assert f.read() == b"12345"


def test_get_and_put_carry_trees(fs: GaeportFileSystem, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "a").write_bytes(b"1" * (6 * MIB))
    (tmp_path / "tree" / "b").write_text("2")
    fs.put(str(tmp_path / "tree"), "uploads/tree", recursive=True)
    fs.get("uploads/tree", str(tmp_path / "back"), recursive=True)
    assert (tmp_path / "back" / "deep" / "a").read_bytes() == b"1" * (6 * MIB)
    assert (tmp_path / "back" / "b").read_text() == "2"


def test_the_store_of_a_file_system_can_be_told(fs: GaeportFileSystem) -> None:
    assert fs.fsid == "gaeport-:memory:-gaeport"
    assert fs == GaeportFileSystem(skip_instance_cache=True)
    assert fs.unstrip_protocol("uploads/a") == "gaeport://uploads/a"


PROGRAM = """
import fsspec, os, sys
with fsspec.open("gaeport://uploads/a.bin", "wb") as file:
    for number in range(128):
        file.write(number.to_bytes(1, "big") * (1 << 20))
before = __import__("tests.benchmarks.memory").benchmarks.memory
before.reset_peak_of(os.getpid())
base = before.peak()
with fsspec.open("gaeport://uploads/a.bin", "rb") as file, fsspec.open("gaeport://uploads/b.bin", "wb") as copy:
    while piece := file.read(1 << 20):
        copy.write(piece)
print(before.peak() - base, fsspec.filesystem("gaeport").size("uploads/b.bin"))
"""


@pytest.mark.long
def test_large_files_stream_in_bounded_memory_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "uploads"\n')
    checkout = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    extra, size = done.stdout.split()
    assert int(size) == 128 * MIB
    assert int(extra) < 64 * memory.MIB


def test_what_a_program_wrote_without_mounts_is_there_for_the_next_with_them(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "uploads"\n')
    (tmp_path / "write.py").write_text("import fsspec\nfsspec.filesystem('gaeport').pipe('uploads/d/a', b'written')\n")
    (tmp_path / "read.py").write_text(
        "import fsspec\nprint(open('uploads/d/a').read(), fsspec.open('gaeport://uploads/d/a').open().read())\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "write.py"], cwd=tmp_path, env=environ, check=True)
    command = [sys.executable, "-m", "gaeport", "run", "--", "python", "read.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "written b'written'\n"


@pytest.mark.parametrize("store", ["datastore", "gcs"])
def test_a_program_that_ends_at_once_has_written_all_and_says_nothing(tmp_path: Path, store: str) -> None:
    (tmp_path / "gaeport.toml").write_text(f'[[mount]]\npath = "uploads"\nstore = "{store}"\n')
    first = "import fsspec\nfs = fsspec.filesystem('gaeport')\nfs.pipe('uploads/d/a', b'')\n"
    second = f"{first}fs.pipe('uploads/d/b', b'')\nprint(fs.modified('uploads/d').timestamp())\n"
    third = "import fsspec\nprint(fsspec.filesystem('gaeport').modified('uploads/d').timestamp())\n"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = []
    for program in (first, second, third):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        told.append(done.stdout)
    assert told[2] == told[1]  # the directory's time too, which is written last


FORKS = """
import os, fsspec
fs = fsspec.filesystem("gaeport")
fs.pipe("uploads/parent", b"1")
child = os.fork()
fs.pipe(f"uploads/{'after' if child else 'child'}", b"2")
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(fs.find("uploads"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "uploads"\n')
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['uploads/after', 'uploads/child', 'uploads/parent']\n"
