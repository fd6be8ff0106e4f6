"""mount() and unmount(), what they refuse, and which spellings of a path lead into a mount."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

import gaeport
from gaeport import settings
from gaeport.errors import ConfigurationError
from gaeport.fs import mounts
from gaeport.fs.patching import patch, paths
from tests.fs.memory_volume import MemoryVolume


def attach(path: Path | str) -> MemoryVolume:
    volume = MemoryVolume(os.path.realpath(path))
    mounts.attach(str(path), volume)
    return volume


def test_mount_and_unmount_are_public_and_undo_each_other(application: Path) -> None:
    folder = application / "data"
    folder.mkdir()
    gaeport.mount(folder)
    assert patch.is_installed()
    (folder / "note").write_text("kept")
    assert paths.mounts()[0].settings == settings.MountSettings(path=str(folder), name="data")
    gaeport.unmount(str(folder) + "/")
    assert not patch.is_installed()
    assert os.listdir(folder) == []
    gaeport.mount(folder, inline_limit=0)
    assert (folder / "note").read_text() == "kept"


def test_settings_name_the_mounts(application: Path) -> None:
    settings.configure(root=application, data=":memory:", mounts=[{"path": "a"}, {"path": "b/c", "name": "x"}])
    mounts.mount_all()
    first = paths.mounts()
    assert [(mount.root, mount.settings.name) for mount in first if mount.settings] == [
        (str(application / "a"), "a"),
        (str(application / "b" / "c"), "x"),
    ]
    mounts.mount_all()
    assert paths.mounts() == first
    settings.configure(root=application, data=":memory:")
    assert paths.mounts() == ()


def test_a_mount_over_a_file_is_refused(application: Path) -> None:
    (application / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="it is a file"):
        gaeport.mount(application / "file")
    assert not patch.is_installed()


@pytest.mark.parametrize("second", ["uploads", "uploads/", "./uploads", "uploads/inner", ".", "x/../uploads", "link"])
def test_mounts_over_each_other_are_refused(mounted: Path, second: str) -> None:
    os.symlink("uploads", mounted.parent / "link")
    os.chdir(mounted.parent)
    with pytest.raises(ConfigurationError, match=r"mounted already|nested|application's own folder"):
        gaeport.mount(second)


@pytest.mark.parametrize("path", ["/", "{root}", "{root}/..", "/tmp", "{root}/.gaeport"])
def test_dangerous_places_are_refused(application: Path, path: str) -> None:
    settings.configure(root=application)
    with pytest.raises(ConfigurationError, match="cannot be mounted"):
        gaeport.mount(path.format(root=application))


def test_wrong_arguments_name_the_valid_ones(application: Path) -> None:
    with pytest.raises(ConfigurationError, match="valid: datastore"):
        gaeport.mount(application / "x", store="floppy")
    with pytest.raises(ConfigurationError, match="inline_limit"):
        gaeport.mount(application / "x", inline_limit=2**30)
    with pytest.raises(ConfigurationError, match="must be the path"):
        gaeport.mount(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not mounted; mounted: nothing"):
        gaeport.unmount(application / "x")


def test_every_spelling_leads_into_the_mount(mounted: Path) -> None:
    (mounted / "x").write_text("here")
    os.chdir(mounted.parent)
    spellings: list[str | bytes | Path] = [
        "uploads/x",
        "./uploads/x",
        "uploads//x",
        "uploads/./x",
        "plain/../uploads/x",
        b"uploads/x",
        Path("uploads/x"),
        f"{mounted}/x",
        f"//{mounted}/x",
        f"{mounted}/../uploads/x",
        f"{mounted.parent}/./uploads/x",
        os.fsencode(f"{mounted}/x"),
    ]
    (mounted.parent / "plain").mkdir()
    for spelling in spellings:
        with open(spelling) as file:
            assert file.read() == "here", spelling
        assert os.path.exists(spelling)
    os.chdir("plain")
    assert os.stat("../uploads/x").st_size == 4
    os.chdir("/")
    assert os.stat(os.path.relpath(mounted / "x")).st_size == 4


def test_a_mount_is_found_by_its_real_path_and_by_the_spelling_it_was_given(application: Path) -> None:
    (application / "real").mkdir()
    os.symlink("real", application / "link")
    volume = attach(application / "link")
    (application / "link" / "x").write_text("1")
    assert (application / "real" / "x").read_text() == "1"
    assert list(volume.root.children) == ["x"]


def test_names_beside_a_mount_are_not_in_it(mounted: Path, volume: MemoryVolume) -> None:
    (mounted.parent / "uploads2").write_text("beside")
    os.mkdir(mounted.parent / "uploads.d")
    assert sorted(os.listdir(mounted.parent)) == ["uploads", "uploads.d", "uploads2"]
    assert volume.root.children == {}


def test_a_mount_missing_on_disk_is_there_all_the_same(application: Path) -> None:
    attach(application / "absent")
    assert (application / "absent").is_dir()
    assert "absent" in os.listdir(application)
    assert [entry.name for entry in os.scandir(application) if entry.is_dir()] == ["absent"]
    (application / "absent" / "d").mkdir()
    (application / "absent" / "d" / "x").write_text("1")
    assert list(application.rglob("x")) == [application / "absent" / "d" / "x"]
    assert next(names for _, names, _ in os.walk(application)) == ["absent"]
    assert os.listdir(os.fsencode(application)) == [b"absent"]
    fd = os.open(application, os.O_RDONLY)
    assert os.listdir(fd) == ["absent"]
    os.close(fd)


def test_folders_above_a_mount_are_there_too(application: Path) -> None:
    attach(application / "var" / "data" / "uploads")
    os.makedirs(application / "var" / "data" / "uploads" / "new", exist_ok=True)
    assert os.listdir(application) == ["var"]
    assert [path.name for path in application.rglob("*")] == ["var", "data", "uploads", "new"]
    assert os.path.isdir(application / "var")
    for refused, number in ((lambda: (application / "var" / "x").write_text("1"), errno.EROFS),):
        with pytest.raises(OSError, match="only for what is mounted") as failure:
            refused()
        assert failure.value.errno == number
    with pytest.raises(FileNotFoundError):
        (application / "var" / "x").read_text()
    with pytest.raises(FileExistsError):
        (application / "var" / "data").mkdir()
    assert not (application / "var" / "x").exists()


def test_a_mounted_directory_cannot_be_moved_or_removed(mounted: Path, beside: Path) -> None:
    for call in (
        lambda: os.rmdir(mounted),
        lambda: os.rename(mounted, beside / "x"),
        lambda: os.rename(mounted.parent, str(mounted.parent) + "x"),
        lambda: os.rename(mounted / "a", mounted),
    ):
        with pytest.raises(OSError, match=r"busy|cross-device") as failure:
            call()
        assert failure.value.errno in (errno.EBUSY, errno.EXDEV)
    with pytest.raises(FileExistsError):
        os.mkdir(mounted)
    assert os.path.ismount(mounted)


def test_renames_between_a_mount_and_the_disk_are_cross_device(application: Path, mounted: Path, beside: Path) -> None:
    attach(application / "second")
    (mounted / "x").write_text("1")
    for target in (beside / "x", application / "second" / "x"):
        with pytest.raises(OSError, match="cross-device") as failure:
            os.rename(mounted / "x", target)
        assert (failure.value.filename, failure.value.filename2) == (str(mounted / "x"), str(target))
    with pytest.raises(OSError, match="cross-device"):
        os.link(mounted / "x", beside / "x")


def test_errors_carry_the_path_as_it_was_spelled(mounted: Path) -> None:
    os.chdir(mounted.parent)
    for spelling in ("uploads/nothing", b"uploads/nothing", "./uploads//nothing", str(mounted / "nothing")):
        for call in (os.stat, open, os.listdir, os.unlink, os.readlink):
            with pytest.raises(FileNotFoundError) as failure:
                call(spelling)  # type: ignore[operator]
            assert failure.value.filename == spelling


def test_names_too_long_and_zero_bytes_are_refused_as_on_linux(mounted: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        open(mounted / ("é" * 128), "w").close()
    open(mounted / ("é" * 127), "w").close()
    with pytest.raises(ValueError, match="null"):
        open(f"{mounted}/a\0b", "w").close()
    with pytest.raises(TypeError):
        os.stat(None)  # type: ignore[arg-type]


def test_the_working_directory_can_be_inside_a_mount(mounted: Path, beside: Path) -> None:
    (mounted / "d").mkdir()
    (beside / "plain.txt").write_text("disk")
    os.chdir(mounted / "d")
    assert os.getcwd() == str(mounted / "d")
    assert os.getcwdb() == os.fsencode(mounted / "d")
    Path("x").write_text("1")
    assert Path("x").absolute() == mounted / "d" / "x"
    assert os.path.realpath("x") == str(mounted / "d" / "x")
    with open("../../plain/plain.txt") as file:
        assert file.read() == "disk"
    fd = os.open(".", os.O_RDONLY)
    os.chdir("..")
    assert os.getcwd() == str(mounted)
    os.fchdir(fd)
    os.close(fd)
    assert os.getcwd() == str(mounted / "d")
    with pytest.raises(NotADirectoryError):
        os.chdir("x")
    os.chdir(beside)
    assert os.getcwd() == str(beside)


def test_a_sqlite_database_in_a_mount_is_refused_with_the_reason(mounted: Path, beside: Path) -> None:
    for database, uri in ((str(mounted / "app.db"), False), (f"file:{mounted}/app.db?mode=rwc", True)):
        with pytest.raises(sqlite3.OperationalError, match="SQLite opens its files below Python"):
            sqlite3.connect(database, uri=uri)
    sqlite3.connect(beside / "app.db").close()
    here = os.getcwd()
    os.chdir(mounted)
    try:
        for database in (":memory:", "", "file::memory:?cache=shared", "file:name?mode=memory"):
            sqlite3.connect(database, uri=database.startswith("file:")).close()
        with pytest.raises(sqlite3.OperationalError, match="SQLite opens its files below Python"):
            sqlite3.connect("app.db")
    finally:
        os.chdir(here)


def test_fifos_and_devices_are_refused(mounted: Path) -> None:
    for call in (os.mkfifo, os.mknod):
        with pytest.raises(PermissionError):
            call(mounted / "x")


def test_bytes_in_bytes_out(mounted: Path) -> None:
    folder = os.fsencode(mounted)
    (mounted / "é").write_text("x")
    os.symlink("é", folder + b"/link")
    assert sorted(os.listdir(folder)) == [b"link", "é".encode()]
    assert os.readlink(folder + b"/link") == "é".encode()
    assert sorted(entry.path for entry in os.scandir(folder)) == [folder + b"/link", folder + "/é".encode()]


def test_other_settings_commit_what_was_open_to_the_former_store(tmp_path: Path) -> None:
    former = settings._current
    try:
        gaeport.configure(root=tmp_path, data=str(tmp_path / "one"))
        gaeport.mount(tmp_path / "data")
        file = open(tmp_path / "data" / "f", "w")  # noqa: SIM115  # left open on purpose
        file.write("written")
        gaeport.configure(root=tmp_path, data=":memory:")
        gaeport.configure(root=tmp_path, data=str(tmp_path / "one"))
        gaeport.mount(tmp_path / "data")
        assert (tmp_path / "data" / "f").read_text() == "written"
        file.close()
    finally:
        mounts.unmount_all()
        settings.use(former)


def test_mount_takes_a_pattern(application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (application / "apps" / name).mkdir(parents=True)
    monkeypatch.chdir(application)
    gaeport.mount("apps/*/uploads")
    names = [mount.settings.name for mount in paths.mounts() if mount.settings is not None]
    assert names == ["apps/one/uploads", "apps/two/uploads"]
    gaeport.mount(application / "apps" / "*" / "cache", name="cache-*")
    names = [mount.settings.name for mount in paths.mounts() if mount.settings is not None]
    assert names[2:] == ["cache-one", "cache-two"]
