"""The standard library's modules on mounted folders, on every kind of volume."""

import bz2
import compileall
import dbm
import dbm.dumb
import glob
import linecache
import logging
import lzma
import marshal
import os
import pathlib
import py_compile
import shelve
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from gaeport.fs import begin_request, end_request


def plant(folder: Path) -> None:
    (folder / "tree" / "sub").mkdir(parents=True)
    (folder / "tree" / "a.txt").write_text("a")
    (folder / "tree" / "sub" / "b.bin").write_bytes(b"b" * 70_000)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_trees_are_copied_into_out_of_and_within_a_mount(everywhere: Path, beside: Path) -> None:
    plant(beside)
    shutil.copytree(beside / "tree", everywhere / "in")
    shutil.copytree(everywhere / "in", everywhere / "within")
    shutil.copytree(everywhere / "within", beside / "out")
    assert names(beside / "out") == ["a.txt", "sub", "sub/b.bin"]
    assert (beside / "out" / "sub" / "b.bin").read_bytes() == b"b" * 70_000
    assert (everywhere / "in" / "a.txt").stat().st_mtime_ns == (beside / "tree" / "a.txt").stat().st_mtime_ns


def test_trees_are_moved_and_removed(everywhere: Path, beside: Path) -> None:
    plant(everywhere)
    shutil.move(str(everywhere / "tree"), str(everywhere / "moved"))
    assert names(everywhere) == ["moved", "moved/a.txt", "moved/sub", "moved/sub/b.bin"]
    shutil.move(str(everywhere / "moved"), str(beside / "tree"))
    assert names(everywhere) == []
    shutil.move(str(beside / "tree"), str(everywhere))
    assert names(beside) == []
    shutil.rmtree(everywhere / "tree")
    assert names(everywhere) == []
    shutil.rmtree(everywhere / "nothing", ignore_errors=True)


def test_a_tree_around_a_mount_is_removed_but_for_the_mount(everywhere: Path) -> None:
    (everywhere / "x").write_text("1")
    with pytest.raises(OSError, match="busy"):
        shutil.rmtree(everywhere)
    assert names(everywhere) == []


def test_archives_are_made_of_and_unpacked_into_a_mount(everywhere: Path, beside: Path) -> None:
    plant(everywhere)
    for kind in ("zip", "gztar", "xztar"):
        archive = shutil.make_archive(str(everywhere / f"archive-{kind}"), kind, everywhere / "tree")
        target = everywhere / f"unpacked-{kind}"
        shutil.unpack_archive(archive, target, **({} if kind == "zip" else {"filter": "data"}))
        assert names(target) == ["a.txt", "sub", "sub/b.bin"]


def test_zip_files_are_appended_to_in_place(everywhere: Path) -> None:
    for name in ("a", "b"):
        with zipfile.ZipFile(everywhere / "z.zip", "a") as archive:
            archive.writestr(name, name * 1000)
    with zipfile.ZipFile(everywhere / "z.zip") as archive:
        assert archive.namelist() == ["a", "b"]
        assert archive.testzip() is None


def test_compressed_files_and_tar_streams(everywhere: Path) -> None:
    with bz2.open(everywhere / "x.bz2", "wt") as text:
        text.write("bz2")
    with lzma.open(everywhere / "x.xz", "wt") as text:
        text.write("xz")
    with bz2.open(everywhere / "x.bz2", "rt") as text:
        assert text.read() == "bz2"
    with tarfile.open(everywhere / "x.tar", "w") as archive:
        archive.add(everywhere / "x.xz", "inside")
    with tarfile.open(everywhere / "x.tar") as archive, lzma.open(archive.extractfile("inside")) as inner:  # type: ignore[arg-type]
        assert inner.read() == b"xz"


def test_temporary_files_and_folders_in_a_mount(everywhere: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=everywhere, suffix=".txt") as file:
        file.write(b"abc")
        file.flush()
        assert os.path.getsize(file.name) == 3
        assert Path(file.name).read_bytes() == b"abc"
        assert Path(file.name).parent == everywhere
    assert names(everywhere) == []
    with tempfile.TemporaryDirectory(dir=everywhere) as folder:
        plant(Path(folder))
    assert names(everywhere) == []
    fd, path = tempfile.mkstemp(dir=everywhere)
    os.write(fd, b"x")
    os.close(fd)
    assert Path(path).read_bytes() == b"x"
    with tempfile.TemporaryFile(dir=everywhere) as unnamed:
        unnamed.write(b"y")
        unnamed.seek(0)
        assert unnamed.read() == b"y"
    with tempfile.NamedTemporaryFile("w", dir=everywhere, delete=False) as kept:
        kept.write("kept")
    os.replace(kept.name, everywhere / "kept")
    assert (everywhere / "kept").read_text() == "kept"
    with tempfile.SpooledTemporaryFile(max_size=1, dir=everywhere) as spooled:
        spooled.write(b"rolls over")
        spooled.seek(0)
        assert spooled.read() == b"rolls over"


def test_paths_do_what_they_do_on_a_disk(everywhere: Path) -> None:
    file = everywhere / "d" / "x.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    assert file.write_text("text") == 4
    assert file.exists()
    assert file.is_file()
    assert not file.is_symlink()
    assert file.read_bytes() == b"text"
    assert [path.name for path in file.parent.iterdir()] == ["x.txt"]
    file.rename(everywhere / "y.txt")
    (everywhere / "y.txt").replace(everywhere / "z.txt")
    (everywhere / "z.txt").touch()
    (everywhere / "z.txt").chmod(0o600)
    (everywhere / "link").symlink_to("z.txt")
    assert (everywhere / "link").readlink() == pathlib.Path("z.txt")
    assert (everywhere / "link").resolve() == everywhere / "z.txt"
    assert (everywhere / "link").samefile(everywhere / "z.txt")
    (everywhere / "link").unlink()
    (everywhere / "link").unlink(missing_ok=True)
    file.parent.rmdir()
    assert sorted(everywhere.glob("*.txt")) == [everywhere / "z.txt"]


def test_glob_and_walk_cross_from_the_disk_into_the_mount(everywhere: Path) -> None:
    plant(everywhere)
    root = everywhere.parent
    assert glob.glob("**/b.bin", root_dir=root, recursive=True) == ["uploads/tree/sub/b.bin"]
    assert glob.glob(f"{root}/up*/tree/*.txt") == [str(everywhere / "tree" / "a.txt")]
    walked = [(Path(top).name, sorted(folders), files) for top, folders, files in os.walk(root)]
    assert ("tree", ["sub"], ["a.txt"]) in walked


def test_log_files_in_a_mount(everywhere: Path) -> None:
    handler = logging.FileHandler(everywhere / "app.log", encoding="utf-8")
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("written")
    assert (everywhere / "app.log").read_text() == "written\n"
    handler.close()


def test_shelves_and_line_caches(everywhere: Path) -> None:
    with shelve.Shelf(dbm.dumb.open(str(everywhere / "shelf"), "c")) as shelf:
        shelf["key"] = {"a": 1}
    with shelve.Shelf(dbm.dumb.open(str(everywhere / "shelf"), "r")) as shelf:
        assert shelf["key"] == {"a": 1}
    (everywhere / "source.txt").write_text("first\nsecond\n")
    assert linecache.getline(str(everywhere / "source.txt"), 2) == "second\n"


def test_copying_a_large_file_takes_little_memory(mounted: Path, beside: Path) -> None:
    with open(beside / "big", "wb") as file:
        file.truncate(48 * 1024 * 1024)
    tracemalloc.start()
    try:
        shutil.copyfile(beside / "big", mounted / "big")
        shutil.copyfile(mounted / "big", beside / "copy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = 2 * 48 * 1024 * 1024  # by the volume in memory, before and after its commit
    assert peak < kept + 8 * 1024 * 1024
    assert (beside / "copy").stat().st_size == 48 * 1024 * 1024


def test_child_processes_write_into_files_by_descriptor(everywhere: Path) -> None:
    for mode in ("wb", "ab", "r+b"):
        (everywhere / "out").write_bytes(b"....")
        with open(everywhere / "out", mode) as file:
            subprocess.run([sys.executable, "-c", "print('by the child')"], stdout=file, check=True)
        expected = {"wb": b"by the child\n", "ab": b"....by the child\n", "r+b": b"by the child\n"}
        assert (everywhere / "out").read_bytes() == expected[mode]


def test_a_failed_request_drops_what_it_left_open(everywhere: Path) -> None:
    (everywhere / "note").write_text("old")
    request = begin_request()
    note, log, new = [open(everywhere / name, mode) for name, mode in (("note", "w"), ("log", "a"), ("new", "w"))]  # noqa: SIM115
    for file in (note, log, new):
        file.write("half")
        file.flush()
    end_request(request, failed=True)
    log.close()
    assert (everywhere / "note").read_text() == "old"
    assert (everywhere / "log").read_text() == "half"
    assert not (everywhere / "new").exists()
    assert note.closed
    assert new.closed


def test_files_synced_by_descriptor_are_committed(everywhere: Path) -> None:
    with open(everywhere / "x", "w") as file:
        file.write("synced")
        file.flush()
        os.fsync(file.fileno())
        os.fsync(file)
        file.write(" and closed")
        file.flush()
        assert (everywhere / "x").read_text() == "synced and closed"
    assert (everywhere / "x").read_text() == "synced and closed"


def test_shelves_are_opened_by_name_whatever_library_dbm_prefers(everywhere: Path, beside: Path) -> None:
    for name in ("shelf", Path("shelf.db")):
        with shelve.open(everywhere / name) as shelf:
            shelf["key"] = [1]
        with shelve.open(everywhere / name, "r") as shelf:
            assert dict(shelf) == {"key": [1]}
    with shelve.open(beside / "shelf") as shelf:
        shelf["key"] = [2]
    with pytest.raises(dbm.error[0], match="doesn't exist"):
        shelve.open(everywhere / "none", "r").close()
    (everywhere / "other").write_bytes(struct.pack("=i", 0x13579ACE) + b"\0" * 60)  # how a file of gdbm begins
    with pytest.raises(dbm.error[0], match="the only kind that works there"):
        shelve.open(everywhere / "other", "w").close()


def test_byte_code_is_made_of_files_in_a_mount_and_into_one(everywhere: Path, beside: Path) -> None:
    (everywhere / "module.py").write_text("answer = 42\n")
    (everywhere / "module.py").chmod(0o444)
    made = py_compile.compile(everywhere / "module.py", doraise=True)
    assert Path(made).parent == everywhere / "__pycache__"
    code = marshal.loads(Path(made).read_bytes()[16:])
    assert code.co_filename == str(everywhere / "module.py")
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o644
    assert int.from_bytes(Path(made).read_bytes()[8:12], "little") == int((everywhere / "module.py").stat().st_mtime)
    assert py_compile.compile(everywhere / "module.py", beside / "module.pyc") == beside / "module.pyc"
    (beside / "bad.py").write_text("answer = =\n")
    with pytest.raises(py_compile.PyCompileError, match=r"bad\.py"):
        py_compile.compile(beside / "bad.py", str(everywhere / "bad.pyc"), doraise=True)
    with pytest.raises(FileExistsError, match="non-regular"):
        py_compile.compile(everywhere / "module.py", everywhere / "__pycache__")
    assert names(everywhere) == ["__pycache__", f"__pycache__/{Path(made).name}", "module.py"]


def test_archives_of_byte_code_are_made_of_a_package_in_a_mount(everywhere: Path) -> None:
    (everywhere / "package").mkdir()
    (everywhere / "package" / "__init__.py").write_text("x = 1\n")
    with zipfile.PyZipFile(str(everywhere / "code.zip"), "w") as archive:
        archive.writepy(str(everywhere / "package"))
        assert archive.namelist() == ["package/__init__.pyc"]
    assert compileall.compile_dir(everywhere / "package", quiet=2)
    assert len(list((everywhere / "package" / "__pycache__").iterdir())) == 1
