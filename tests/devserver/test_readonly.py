"""The read-only file system: refusals, what they say, and Linux's other errors in the order that Linux has them."""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaeport.devserver import readonly
from gaeport.settings import Settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A read-only application folder (inside the temporary folder) as working directory."""
    folder = tmp_path / "app"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "sub" / "old.txt").write_text("old")
    (folder / "link").symlink_to("sub/old.txt")
    with sqlite3.connect(folder / "shipped.db") as database:
        database.execute("create table t (x)")
    database.close()
    monkeypatch.chdir(folder)
    readonly.enforce(Settings(root=folder, data=str(folder / ".gaeport")))
    yield folder
    readonly.lift()


# ruff: noqa: SIM115 - what is opened here is refused

WRITES: dict[str, Callable[[], Any]] = {
    "open for writing": lambda: open("sub/old.txt", "w"),
    "open for update": lambda: open("sub/old.txt", "r+"),
    "open for append": lambda: open("sub/old.txt", "a"),
    "open a new file": lambda: open("sub/new.txt", "x"),
    "open bytes": lambda: open(b"sub/new.txt", "wb"),
    "os.open": lambda: os.open("sub/new.txt", os.O_WRONLY | os.O_CREAT),
    "pathlib": lambda: Path("sub/new.txt").write_text("new"),
    "through a link": lambda: open("link", "w"),
    "mkdir": lambda: os.mkdir("sub/new"),
    "makedirs": lambda: os.makedirs("sub/new/newer"),
    "remove": lambda: os.remove("sub/old.txt"),
    "rename": lambda: os.rename("sub/old.txt", "sub/new.txt"),
    "move away": lambda: os.rename("sub/old.txt", Path(tempfile.gettempdir(), "gaeport-moved")),
    "link": lambda: os.link("sub/old.txt", "sub/new.txt"),
    "symlink": lambda: os.symlink("old.txt", "sub/new.txt"),
    "truncate": lambda: os.truncate("sub/old.txt", 0),
    "utime": lambda: os.utime("sub/old.txt"),
    "chmod": lambda: os.chmod("sub/old.txt", 0o600),
    "chown": lambda: os.chown("sub/old.txt", -1, -1),
    "rmtree": lambda: shutil.rmtree("sub"),
    "copy": lambda: shutil.copy("sub/old.txt", "sub/new.txt"),
    "a temporary file beside": lambda: tempfile.NamedTemporaryFile(dir="sub"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_is_refused_with_the_mount_line_that_allows_it(root: Path, write: Callable[[], Any]) -> None:
    with pytest.raises(OSError, match="Read-only file system") as caught:
        write()
    assert caught.value.errno == errno.EROFS
    assert 'add to gaeport.toml:\n[[mount]]\npath = "sub"\n' in str(caught.value)
    assert (root / "sub" / "old.txt").read_text() == "old"
    assert sorted(os.listdir(root / "sub")) == ["empty", "old.txt"]


def test_removing_a_folder_is_refused(root: Path) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        os.rmdir("sub/empty")


LINUX_ERRORS: dict[str, tuple[Callable[[], Any], int]] = {
    "mkdir of what exists": (lambda: os.mkdir("sub"), errno.EEXIST),
    "mkdir in a missing folder": (lambda: os.mkdir("no/sub"), errno.ENOENT),
    "create what exists": (lambda: open("sub/old.txt", "x"), errno.EEXIST),
    "create in a missing folder": (lambda: open("no/new.txt", "w"), errno.ENOENT),
    "update a missing file": (lambda: open("sub/new.txt", "r+"), errno.ENOENT),
    "open a folder for writing": (lambda: open("sub", "w"), errno.EISDIR),
    "remove a missing file": (lambda: os.remove("sub/new.txt"), errno.ENOENT),
    "rename a missing file": (lambda: os.rename("no", "sub/new.txt"), errno.ENOENT),
    "link over what exists": (lambda: os.symlink("x", "sub/old.txt"), errno.EEXIST),
}


@pytest.mark.parametrize(("operation", "number"), LINUX_ERRORS.values(), ids=LINUX_ERRORS.keys())
def test_an_error_that_linux_reports_first_stays(root: Path, operation: Callable[[], Any], number: int) -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        operation()
    assert caught.value.errno == number


def test_reading_goes_on(root: Path) -> None:
    assert Path("sub/old.txt").read_text() == "old"
    assert sorted(os.listdir("sub")) == ["empty", "old.txt"]


def test_the_temporary_folder_devices_and_the_data_folder_can_be_written(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_text("kept")
    Path("/dev/null").write_text("gone")
    os.mkdir(".gaeport")
    Path(".gaeport/data").write_text("kept")


def test_a_file_beside_the_code_is_sent_to_a_folder_of_its_own(root: Path) -> None:
    with pytest.raises(OSError, match=r"'state\.json' lies beside the code: .*\n\[\[mount\]\]\npath = .data."):
        open("state.json", "w")


def test_a_new_folder_is_named_itself_as_the_mount(root: Path) -> None:
    with pytest.raises(OSError, match=r'\[\[mount\]\]\npath = "uploads"'):
        os.makedirs("uploads/2026")


def test_a_path_outside_the_application_is_named_whole(root: Path) -> None:
    with pytest.raises(OSError, match=r'\[\[mount\]\]\npath = "/usr"'):
        open("/usr/gaeport-test", "w")


def test_a_folder_given_by_descriptor_is_found(root: Path) -> None:
    descriptor = os.open("sub", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r'\[\[mount\]\]\npath = "sub"'):
            os.remove("old.txt", dir_fd=descriptor)
    finally:
        os.close(descriptor)


def test_a_new_sqlite_database_is_refused_with_the_reason(root: Path) -> None:
    with pytest.raises(OSError, match="SQLite opens its files itself"):
        sqlite3.connect("new.db")


@pytest.mark.parametrize("name", ["shipped.db", "file:shipped.db", "file:shipped.db?mode=ro"])
def test_a_deployed_sqlite_database_can_be_read_and_not_written(root: Path, name: str) -> None:
    connection = sqlite3.connect(name, uri=name.startswith("file:"))
    try:
        assert connection.execute("select count(*) from t").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly database"):
            connection.execute("insert into t values (1)")
    finally:
        connection.close()


def test_sqlite_in_memory_and_in_the_temporary_folder_works(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in (":memory:", os.path.join(folder, "new.db")):
            connection = sqlite3.connect(name)
            connection.execute("create table t (x)")
            connection.close()


def test_installed_packages_may_keep_their_bytecode() -> None:
    rules = readonly.Rules("/app", ("/tmp",), ("/app", "/"))
    assert rules.allow("/app/.venv/lib/python3.13/site-packages/flask/__pycache__/app.pyc")
    assert not rules.allow("/app/__pycache__/shop.pyc")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has anonymous files with descriptors")
def test_anonymous_memory_can_be_opened_again_for_writing(root: Path) -> None:
    descriptor = os.memfd_create("content")
    with open(f"/proc/self/fd/{descriptor}", "r+b") as again:
        again.write(b"x")
    assert os.pread(descriptor, 1, 0) == b"x"
    os.close(descriptor)


def test_everything_is_allowed_again_when_lifted(root: Path) -> None:
    readonly.lift()
    Path("sub/new.txt").write_text("new")
    sqlite3.connect("new.db").close()
