"""What several handles and descriptors of one file see of each other, and what stays true once its name is gone."""

import os
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.fs import mounts
from gaeport.fs.datastore.volume import DatastoreVolume, make_volume


@pytest.fixture
def folder(application: Path) -> Path:
    """A mounted folder on the embedded engine."""
    made = application / "uploads"
    mounts.attach(str(made), another())
    return made


def another() -> DatastoreVolume:
    """The same files as another instance has them."""
    return make_volume(settings.MountSettings(path="uploads", name="uploads"), "/nowhere/uploads")


def test_descriptors_of_one_file_share_its_content(folder: Path) -> None:
    (folder / "f").write_bytes(b"")
    one, two = (os.open(folder / "f", os.O_WRONLY | os.O_APPEND) for _ in range(2))
    reader = os.open(folder / "f", os.O_RDONLY)
    for number in range(2):
        os.write(one, b"one%d" % number)
        os.write(two, b"two%d" % number)
    assert os.read(reader, 100) == b"one0two0one1two1"
    assert os.fstat(reader).st_size == 16
    for fd in (one, two, reader):
        os.close(fd)
    assert (folder / "f").read_bytes() == b"one0two0one1two1"


def test_a_file_object_and_a_descriptor_share_the_content(folder: Path) -> None:
    with open(folder / "f", "w+b", 0) as file:
        fd = os.open(folder / "f", os.O_RDWR)
        file.write(b"by the file")
        assert os.read(fd, 100) == b"by the file"
        os.pwrite(fd, b"me", 0)
        file.seek(0)
        assert file.read() == b"me the file"
        file.truncate(4)
        assert os.pread(fd, 100, 0) == b"me t"
        os.ftruncate(fd, 2)
        assert file.seek(0, os.SEEK_END) == 2
        os.close(fd)
    assert (folder / "f").read_bytes() == b"me"


def test_cutting_a_file_by_its_name_cuts_what_descriptors_see(folder: Path) -> None:
    (folder / "f").write_bytes(b"0123456789")
    fd = os.open(folder / "f", os.O_RDWR)
    os.truncate(folder / "f", 4)
    assert os.pread(fd, 100, 0) == b"0123"
    open(folder / "f", "w").close()
    assert os.pread(fd, 100, 0) == b""
    os.write(fd, b"new")
    os.close(fd)
    assert (folder / "f").read_bytes() == b"new"


def test_a_new_descriptor_shows_what_another_instance_closed_meanwhile(folder: Path) -> None:
    (folder / "f").write_bytes(b"old")
    first = os.open(folder / "f", os.O_RDWR)
    other = another().open(("f",), os.O_WRONLY | os.O_TRUNC)
    other.pwrite(b"newer", 0)
    other.close()
    second = os.open(folder / "f", os.O_RDONLY)
    assert os.read(second, 100) == b"newer"
    os.close(second)
    os.close(first)
    assert (folder / "f").read_bytes() == b"newer"


def test_what_a_descriptor_wrote_shows_under_every_name_of_the_file(folder: Path) -> None:
    (folder / "f").write_bytes(b"")
    os.link(folder / "f", folder / "hard")
    os.symlink("f", folder / "soft")
    fd = os.open(folder / "f", os.O_WRONLY)
    os.write(fd, b"four")
    assert [os.stat(folder / name).st_size for name in ("f", "hard", "soft")] == [4, 4, 4]
    with os.scandir(folder) as entries:
        assert {entry.name: entry.stat().st_size for entry in entries} == {"f": 4, "hard": 4, "soft": 4}
    os.close(fd)


def test_a_failed_request_drops_only_its_own_writing_from_what_descriptors_see(folder: Path) -> None:
    from gaeport.fs.patching.requests import begin_request, end_request

    (folder / "f").write_bytes(b"old")
    reader = os.open(folder / "f", os.O_RDONLY)
    request = begin_request()
    file = open(folder / "f", "wb", 0)  # noqa: SIM115 - the request leaves it open
    file.write(b"half")
    assert os.pread(reader, 10, 0) == b"half"
    end_request(request, failed=True)
    assert os.pread(reader, 10, 0) == b"old"
    file.close()
    os.close(reader)
    assert (folder / "f").read_bytes() == b"old"


@pytest.mark.parametrize("gone", [False, True])
def test_attributes_are_set_on_the_open_file_and_not_on_what_has_its_name_now(folder: Path, gone: bool) -> None:
    (folder / "f").write_bytes(b"first")
    fd = os.open(folder / "f", os.O_RDWR)
    if gone:
        os.unlink(folder / "f")
    else:
        os.rename(folder / "f", folder / "moved")
    (folder / "f").write_bytes(b"second")
    before = os.stat(folder / "f")
    os.fchmod(fd, 0o600)
    os.utime(fd, ns=(5, 7))
    os.fchown(fd, 12, -1)
    after = os.fstat(fd)
    assert (after.st_mode & 0o777, after.st_mtime_ns, after.st_uid, after.st_nlink) == (0o600, 7, 12, 0 if gone else 1)
    assert os.stat(folder / "f") == before
    os.write(fd, b"!")
    os.close(fd)
    if not gone:
        assert (folder / "moved").read_bytes() == b"!irst"
        found = another().stat(("moved",))
        assert (found.mode & 0o777, found.uid) == (0o600, 12)


def test_attributes_set_by_descriptor_are_read_by_other_instances(folder: Path) -> None:
    (folder / "f").write_bytes(b"content")
    fd = os.open(folder / "f", os.O_RDONLY)
    other = another().open(("f",), os.O_WRONLY | os.O_APPEND)
    other.append(b"!")
    other.close()
    os.fchmod(fd, 0o640)
    assert another().stat(("f",)).mode & 0o777 == 0o640
    os.close(fd)
    assert (folder / "f").read_bytes() == b"content!"


@pytest.mark.parametrize("flags", [os.O_RDONLY | os.O_CREAT, os.O_RDONLY | os.O_CREAT | os.O_EXCL])
def test_a_file_is_created_by_opening_it_for_reading(folder: Path, flags: int) -> None:
    os.close(os.open(folder / "f", flags))
    assert another().stat(("f",)).size == 0


def test_a_file_is_cut_by_opening_it_for_reading(folder: Path) -> None:
    (folder / "f").write_bytes(b"content")
    os.close(os.open(folder / "f", os.O_RDONLY | os.O_TRUNC))
    assert another().stat(("f",)).size == 0


def test_a_file_that_is_being_created_is_no_directory(folder: Path) -> None:
    (folder / "d").mkdir()
    with open(folder / "f", "w"):
        for call in (os.listdir, os.rmdir, os.unlink, os.stat):
            path = folder / "f" if call in (os.listdir, os.rmdir) else folder / "f" / "below"
            with pytest.raises(NotADirectoryError):
                call(path)
        with pytest.raises(NotADirectoryError):
            os.rename(folder / "d", folder / "f")


def test_an_unlinked_file_keeps_its_size_after_fsync(folder: Path) -> None:
    with open(folder / "f", "wb") as file:
        file.write(b"content")
        file.flush()
        os.unlink(folder / "f")
        os.fsync(file)
        assert os.fstat(file.fileno()).st_size == 7


def test_a_directory_shows_a_change_by_a_file_that_is_being_created(folder: Path) -> None:
    (folder / "d").mkdir()
    os.utime(folder / "d", (1, 1))
    with open(folder / "d" / "f", "w"):
        assert os.stat(folder / "d").st_mtime > 1
        assert another().stat(("d",)).mtime_ns == 10**9
    assert os.stat(folder / "d").st_mtime > 1


def test_a_renamed_new_file_keeps_the_time_of_its_creation(folder: Path) -> None:
    with open(folder / "f", "xb"):
        before = os.stat(folder / "f").st_mtime_ns
        os.rename(folder / "f", folder / "g")
        assert os.stat(folder / "g").st_mtime_ns == before


def test_writing_what_was_there_changes_the_time(folder: Path) -> None:
    (folder / "f").write_bytes(b"same")
    os.utime(folder / "f", (1, 1))
    fd = os.open(folder / "f", os.O_RDWR)
    assert os.fstat(fd).st_mtime == 1
    while os.fstat(fd).st_mtime == 1:  # the first may fall into one tick of the kernel's clock
        os.pwrite(fd, b"same", 0)
    os.close(fd)


def test_another_owner_takes_the_bits_away_that_run_a_file_as_its_owner(folder: Path) -> None:
    (folder / "f").write_bytes(b"")
    os.chmod(folder / "f", 0o6755)
    os.chown(folder / "f", 1, 1)
    assert os.stat(folder / "f").st_mode & 0o7777 == 0o755


def test_a_link_leads_to_the_mount_itself(folder: Path) -> None:
    (folder / "d").mkdir()
    os.symlink("..", folder / "d" / "up")
    assert sorted(os.listdir(folder / "d" / "up")) == ["d"]
    assert os.path.samefile(folder / "d" / "up", folder)


def test_writing_nothing_moves_nothing(folder: Path) -> None:
    with open(folder / "f", "a+b", 0) as file, open(folder / "f", "ab", 0) as other:
        other.write(b"more")
        assert file.write(b"") == 0
        assert file.tell() == 0


def test_the_file_system_of_an_unlinked_file_is_told(folder: Path) -> None:
    fd = os.open(folder / "f", os.O_RDWR | os.O_CREAT)
    os.unlink(folder / "f")
    assert os.fstatvfs(fd).f_namemax == 255
    os.close(fd)
