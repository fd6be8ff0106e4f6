"""`gaeport fs sync`: what it copies, in how many calls, what it says, and that a kill leaves nothing half done."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaeport import cli, meter, settings
from gaeport.errors import ResourceExhausted
from gaeport.fs import mounts
from gaeport.fs.datastore.bulk import Bulk
from gaeport.fs.datastore.volume import DatastoreVolume
from gaeport.fs.sync_command import Command
from gaeport.fs.syncing.folder_side import FolderSide
from tests.fs.memory_volume import MemoryVolume

Output = pytest.CaptureFixture[str]
LARGE = random.Random(1).randbytes(3_000_000)
MOUNTS = """
[[mount]]
path = "uploads"
[[mount]]
path = "errors"
inline_limit = 0
[[mount]]
path = "logs"
store = "log"
"""
Found = dict[str, tuple[str, int, int, bytes]]


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An application's folder with the mounts "uploads", "errors" and "logs", and a tree on the disk beside them."""
    root = tmp_path.resolve()
    (root / "gaeport.toml").write_text(MOUNTS)
    _grow(root / "disk")
    monkeypatch.chdir(root)
    settings.use(None)
    yield root
    os.chdir(root)
    mounts.unmount_all()


def _grow(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "small").write_text("small\n")
    (root / "nothing").write_bytes(b"")
    (root / "deep" / "large").write_bytes(LARGE)
    (root / "deep" / "er" / "50%").write_text("percent")
    (root / os.fsdecode(b"\xff\xe4")).write_text("not UTF-8")
    (root / "link").symlink_to("small")
    (root / "deep" / "nowhere").symlink_to("/nothing/there")
    for number, path in enumerate([*root.rglob("*")]):
        os.utime(path, ns=(10**18, 10**18 + number * 1_000_001), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o750 if path.is_dir() else (0o600, 0o644, 0o755)[number % 3])


def fs(*arguments: str) -> int:
    return cli.main(["fs", *arguments])


def tree(root: str) -> Found:
    """Return everything below a folder: kind and mode, size, time and content by path."""
    found: Found = {}
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if os.path.islink(path):
                kind, content, size = "link", os.fsencode(os.readlink(path)), 0
            elif os.path.isdir(path):
                kind, content, size = f"dir {status.st_mode:o}", b"", 0
            else:
                kind, content, size = f"file {status.st_mode:o}", Path(path).read_bytes(), status.st_size
            found[os.path.relpath(path, root)] = (kind, size, status.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("mount", ["uploads", "errors"])
def test_a_tree_comes_into_a_mount_and_back_just_as_it_was(mount: str, capsys: Output) -> None:
    before = tree("disk")
    assert len(before) == 10
    assert fs("sync", "disk", f"{mount}/copy") == 0
    assert "verified by sizes and times: 7 files in 4 directories are equal" in capsys.readouterr().out
    assert tree(f"{mount}/copy") == before
    assert fs("sync", f"{mount}/copy", "back") == 0
    mounts.unmount_all()
    assert not os.path.exists(mount)  # nothing went to the disk
    assert tree("back") == before


def test_from_mount_to_mount_and_from_disk_to_disk(capsys: Output) -> None:
    assert fs("sync", "disk", "other") == 0
    assert fs("sync", "disk", "uploads") == 0
    assert fs("sync", "uploads", "errors/x") == 0
    assert tree("other") == tree("uploads") == tree("errors/x") == tree("disk")


def _attach_once(path: str, volume: MemoryVolume) -> None:
    if not any(mount.volume is volume for mount in mounts.paths.mounts()):
        mounts.attach(path, volume)


def test_a_volume_without_operations_on_many_files_is_synced_through_the_contract(
    application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = MemoryVolume(str(application / "plain"))
    monkeypatch.setattr(
        "gaeport.fs.commands.mount_all", lambda config: _attach_once(str(application / "plain"), volume)
    )
    assert fs("sync", "disk", "plain/copy") == 0
    assert tree("plain/copy") == tree("disk")
    Path("disk/small").write_text("other")
    Path("disk/link").unlink()
    Path("disk/link").write_text("a file now")
    (application / "disk" / "empty").rmdir()
    assert fs("sync", "--delete", "disk", "plain/copy") == 0
    assert tree("plain/copy") == tree("disk")
    assert fs("sync", "plain/copy", "back") == 0
    assert tree("back") == tree("disk")


def test_a_mount_of_objects_is_synced_through_the_contract(application: Path, capsys: Output) -> None:
    (application / "gaeport.toml").write_text('[[mount]]\npath = "objects"\nstore = "gcs"\n')
    assert fs("sync", "disk", "objects/copy") == 1
    odd = r"objects/copy/\udcff\udce4: Invalid or incomplete multibyte or wide character: an object's name is UTF-8"
    assert odd in capsys.readouterr().err
    os.unlink(os.fsencode("disk/") + b"\xff\xe4")
    assert fs("sync", "disk", "objects/copy") == 0
    assert tree("objects/copy") == tree("disk")
    Path("disk/small").write_text("other")
    Path("disk/link").unlink()
    Path("disk/link").write_text("a file now")
    (application / "disk" / "empty").rmdir()
    (application / "disk" / "nothing").chmod(0o700)
    assert fs("sync", "--delete", "disk", "objects/copy") == 0
    assert tree("objects/copy") == tree("disk")
    assert fs("sync", "objects/copy", "back") == 0
    assert tree("back") == tree("disk")


def test_the_second_run_writes_nothing_and_looks_at_no_single_file(capsys: Output) -> None:
    many = Path("disk/many")
    many.mkdir()
    for number in range(1000):
        (many / f"{number}").write_text(str(number))
    assert fs("sync", "disk", "uploads/copy") == 0
    with meter.measure() as counted:
        assert fs("sync", "--no-verify", "disk", "uploads/copy") == 0
    assert counted.calls.get("Commit", 0) == 0
    assert counted.calls["RunQuery"] == 4 + 4  # five directories, of which one has 1,000 entries in four batches
    assert counted.total_calls <= 25
    assert "0 files to copy (0 B), 1,007 equal" in capsys.readouterr().out


def test_small_files_are_written_and_read_by_the_hundreds() -> None:
    Path("many").mkdir()
    for number in range(1000):
        Path(f"many/{number}").write_bytes(b"x" * number)
    with meter.measure() as counted:
        assert fs("sync", "--no-verify", "many", "uploads/many") == 0
    assert counted.calls["Commit"] <= 4 + 8  # the folder and the mount's root are made, and their times written
    assert counted.total_calls <= 30
    with meter.measure() as counted:
        assert fs("sync", "--no-verify", "uploads/many", "back") == 0
    assert counted.total_calls <= 20
    assert tree("back") == tree("many")


@pytest.mark.parametrize("store", ["datastore", "gcs"])
def test_what_it_costs_is_told_beforehand_and_about_right(application: Path, store: str, capsys: Output) -> None:
    (application / "gaeport.toml").write_text(f'[[mount]]\npath = "uploads"\nstore = "{store}"\n')
    for folder in range(20):
        Path(f"many/{folder}").mkdir(parents=True)
        for number in range(50):
            Path(f"many/{folder}/{number}").write_bytes(b"x" * 100)
    Path("many/large").write_bytes(LARGE)
    assert fs("sync", "many", "uploads/many") == 0
    assert fs("sync", "uploads/many", "back") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1,001 files to copy (3.0 MiB), 0 equal, 20 directories to make"
    plans = [_costs(line) for line in lines if line.startswith("it will take about ")]
    costs = [_costs(line) for line in lines if line.startswith("in all ")]
    assert len(plans) == len(costs) == 2
    assert costs[0]["writes"] + costs[0]["object writes"] > 1000
    assert costs[1]["reads"] + costs[1]["object reads"] > 1000
    for planned, told in zip(plans, costs, strict=True):
        for unit, number in told.items():
            slack = 0.001 if unit == "dollars" else 60
            assert planned.get(unit, 0) == pytest.approx(number, rel=0.15, abs=slack), unit


def _costs(line: str) -> dict[str, float]:
    found = {"object writes": 0.0, "object reads": 0.0, "writes": 0.0, "reads": 0.0}
    found |= {name: float(number.replace(",", "")) for number, name in re.findall(r"([\d,]+) ([a-z ]+)[,)]", line)}
    calls, dollars = re.search(r"([\d,]+) calls", line), re.search(r"\$([\d.]+) in production", line)
    assert calls is not None, line
    assert dollars is not None, line
    return {**found, "calls": float(calls[1].replace(",", "")), "dollars": float(dollars[1])}


def _edit(path: str, change: Callable[[Path], object]) -> Found:
    change(Path(path))
    return tree("disk")


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("disk/small", lambda path: path.write_text("longer than before")),
        ("disk/small", lambda path: path.write_text("SMALL\n")),
        ("disk/small", lambda path: path.chmod(0o400)),
        ("disk/small", lambda path: os.utime(path, ns=(5, 5))),
        ("disk/deep/large", lambda path: path.write_bytes(LARGE[:2_000_000])),
        ("disk/deep/large", lambda path: path.write_bytes(b"small now")),
        ("disk/nothing", lambda path: path.write_bytes(LARGE)),
        ("disk/new", lambda path: path.write_text("new")),
        ("disk/deep/er", lambda path: path.chmod(0o700)),
        ("disk/new", lambda path: path.symlink_to("small")),
        ("disk/link", lambda path: (path.unlink(), path.symlink_to("nothing"))),
        ("disk/link", lambda path: (path.unlink(), path.write_text("a file"))),
        ("disk/small", lambda path: (path.unlink(), path.symlink_to("nothing"))),
    ],
)
@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_each_change_is_carried_over(path: str, change: Callable[[Path], object], target: str) -> None:
    fs("sync", "disk", target)
    expected = _edit(path, change)
    assert fs("sync", "disk", target) == 0
    assert tree(target) == expected


@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_delete_removes_what_only_the_target_has_and_nothing_goes_without_it(target: str, capsys: Output) -> None:
    fs("sync", "disk", target)
    expected = _edit("disk/small", Path.unlink)
    Path(f"{target}/extra/deep").mkdir(parents=True)
    Path(f"{target}/extra/deep/file").write_text("")
    Path(f"{target}/more").write_text("")
    assert fs("sync", "disk", target) == 0
    assert "3 names only in the target" in capsys.readouterr().out
    assert os.path.exists(f"{target}/small")
    assert fs("sync", "--delete", "disk", target) == 0
    assert "3 names removed" in capsys.readouterr().out
    assert tree(target) == expected


@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_a_directory_in_a_files_way_goes_only_with_delete(target: str, capsys: Output) -> None:
    for name in ("small", "empty"):
        Path(f"{target}/{name}").parent.mkdir(exist_ok=True, parents=True)
    Path(f"{target}/small/inside").mkdir(parents=True)
    Path(f"{target}/empty").write_text("a file")
    assert fs("sync", "disk", target) == 1
    assert "small: a directory is in the way; --delete removes it" in capsys.readouterr().err
    assert os.path.isdir(f"{target}/small")
    assert fs("sync", "--delete", "disk", target) == 0
    assert tree(target) == tree("disk")


def test_excluded_names_are_left_alone_on_both_sides() -> None:
    fs("sync", "disk", "uploads/copy")
    Path("uploads/copy/kept.tmp").write_text("mine")
    Path("disk/new.tmp").write_text("")
    Path("disk/deep/er/too").write_text("")
    options = ("--exclude", "*.tmp", "--exclude", "er/", "--exclude", "deep/l*")
    Path("disk/deep/large").write_bytes(b"other")
    assert fs("sync", "--delete", *options, "disk", "uploads/copy") == 0
    assert Path("uploads/copy/kept.tmp").exists()
    assert not Path("uploads/copy/new.tmp").exists()
    assert not Path("uploads/copy/deep/er/too").exists()
    assert Path("uploads/copy/deep/large").read_bytes() == LARGE


@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_delete_leaves_excluded_names_in_directories_that_only_the_target_has(target: str, capsys: Output) -> None:
    fs("sync", "disk", target)
    for name in ("gone/a", "gone/sub/b", "half/a", "half/kept.tmp", "half/sub/deep/x", "half/cache/c"):
        Path(f"{target}/{name}").parent.mkdir(parents=True, exist_ok=True)
        Path(f"{target}/{name}").write_text("")
    capsys.readouterr()
    arguments = ("sync", "--delete", "--exclude", "*.tmp", "--exclude", "cache/", "disk", target)
    assert fs(*arguments, "--dry-run") == 0
    told = re.findall(r"remove  (\S+)", capsys.readouterr().out)
    assert told == [f"{target}/{name}" for name in ("gone/", "half/a", "half/sub/")]
    assert fs(*arguments) == 0
    assert set(tree(target)) == set(tree("disk")) | {"half", "half/kept.tmp", "half/cache", "half/cache/c"}


@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_delete_makes_no_way_through_excluded_names(target: str, capsys: Output) -> None:
    fs("sync", "disk", target)
    Path(f"{target}/small").unlink()
    Path(f"{target}/small").mkdir()
    Path(f"{target}/small/kept.tmp").write_text("")
    Path(f"{target}/extra").write_text("")
    capsys.readouterr()
    assert fs("sync", "--delete", "--exclude", "*.tmp", "disk", target) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"gaeport fs: {target}/small: Directory not empty: excluded names in it are in the way\n")
    assert os.listdir(f"{target}/small") == ["kept.tmp"]
    assert os.path.exists(f"{target}/extra")  # something failed before


@pytest.mark.parametrize("target", ["uploads/copy", "copy"])
def test_files_of_another_century_are_equal_afterwards(target: str) -> None:
    for name, moment in (("small", 10**19), ("deep/large", 10**19), ("nothing", -(10**18)), ("empty", 10**19)):
        os.utime(f"disk/{name}", ns=(moment, moment))
    assert fs("sync", "disk", target) == 0
    assert fs("sync", "disk", target) == 0
    assert os.stat(f"{target}/nothing").st_mtime_ns == -(10**18)


def test_a_device_or_pipe_in_a_files_way_goes_only_with_delete(capsys: Output) -> None:
    Path("copy").mkdir()
    os.mkfifo("copy/small")
    assert fs("sync", "disk", "copy") == 1
    assert "copy/small: a device is in the way; --delete removes it" in capsys.readouterr().err
    assert Path("copy/small").is_fifo()
    assert fs("sync", "--delete", "disk", "copy") == 0
    assert tree("copy") == tree("disk")


def test_dry_run_removes_nothing_that_a_killed_copy_left() -> None:
    Path("copy").mkdir()
    left = Path("copy/.gaeport-99999999-abcdef01.part")
    left.write_text("")
    assert fs("sync", "--dry-run", "disk", "copy") == 0
    assert left.exists()
    assert fs("sync", "disk", "copy") == 0
    assert not left.exists()


def test_what_could_not_be_copied_is_told_once(application: Path, capsys: Output) -> None:
    with (application / "gaeport.toml").open("a") as file:
        file.write('[[mount]]\npath = "objects"\nstore = "gcs"\n')
    settings.use(None)
    Path("source").mkdir()
    Path(os.fsdecode(b"source/\xff")).write_text("")
    assert fs("sync", "source", "objects") == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "1 names differ" in out


def test_checksum_finds_what_size_and_time_hide_and_copies_nothing_for_a_time_alone(capsys: Output) -> None:
    fs("sync", "disk", "uploads/copy")
    status = os.stat("disk/small")
    Path("disk/small").write_text("SMALL\n")
    os.utime("disk/small", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime("disk/nothing", ns=(7, 7))
    assert fs("sync", "disk", "uploads/copy") == 0  # one empty file, by its time
    assert Path("uploads/copy/small").read_text() == "small\n"
    os.utime("disk/nothing", ns=(8, 8))
    capsys.readouterr()
    assert fs("sync", "--checksum", "disk", "uploads/copy") == 0
    out = capsys.readouterr().out
    assert "1 files to copy (6 B), 5 equal, 1 modes or times to set" in out
    assert "verified by contents, sizes and times: 7 files" in out
    assert tree("uploads/copy") == tree("disk")


def test_dry_run_tells_and_does_nothing(capsys: Output) -> None:
    Path("uploads").mkdir(exist_ok=True)
    assert fs("sync", "--dry-run", "disk", "uploads/copy") == 0
    out = capsys.readouterr().out
    assert "make    uploads/copy/deep/\n" in out
    assert "copy    uploads/copy/deep/large\n" in out
    assert "in production" in out
    assert fs("ls", "uploads/copy") == 1


def test_deployed_files_that_are_equal_are_left_as_deployed(application: Path, capsys: Output) -> None:
    subprocess.run(["cp", "-a", "disk/.", "uploads/"], check=True)
    assert fs("sync", "disk", "uploads") == 0
    assert "0 files to copy (0 B), 7 equal" in capsys.readouterr().out
    Path("disk/small").write_text("newer")
    Path("disk/nothing").unlink()
    assert fs("sync", "--delete", "disk", "uploads") == 0
    assert tree("uploads") == tree("disk")
    mounts.unmount_all()
    assert (application / "uploads" / "small").read_text() == "small\n"


def test_a_file_that_changes_all_the_time_is_told_and_the_others_are_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    status = FolderSide.status

    def grows(side: FolderSide, path: tuple[str, ...]) -> object:
        if path[-1] in ("small", "large"):
            with open(side.spelled(path), "ab") as file:
                file.write(b"!")
        return status(side, path)

    with monkeypatch.context() as patched:
        patched.setattr(FolderSide, "status", grows)
        assert fs("sync", "disk", "uploads/copy") == 1
    out, err = capsys.readouterr()
    assert "disk/small: Resource temporarily unavailable: it changed while it was copied; run the sync again" in err
    assert "disk/deep/large" in err
    assert "3 names differ; run the sync again" in out
    assert not os.path.exists("uploads/copy/small")
    assert not os.path.exists("uploads/copy/deep/large")
    assert Path("uploads/copy/deep/er/50%").read_text() == "percent"
    assert fs("sync", "disk", "uploads/copy") == 0
    assert tree("uploads/copy") == tree("disk")


def test_a_file_that_changed_after_it_was_copied_is_noticed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    copy = Command._copy

    def then_changed(command: Command, *arguments: object) -> object:
        done = copy(command, *arguments)  # type: ignore[arg-type]
        Path("disk/small").write_text("later")
        return done

    monkeypatch.setattr(Command, "_copy", then_changed)
    assert fs("sync", "disk", "uploads/copy") == 1
    assert "uploads/copy/small: changed in the source meanwhile" in capsys.readouterr().err


def test_what_the_target_lost_meanwhile_is_noticed_at_the_end(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    copy = Command._copy

    def then_removed(command: Command, *arguments: object) -> object:
        done = copy(command, *arguments)  # type: ignore[arg-type]
        os.unlink("uploads/copy/small")
        return done

    monkeypatch.setattr(Command, "_copy", then_removed)
    assert fs("sync", "disk", "uploads/copy") == 1
    assert "uploads/copy/small: differs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("none", "uploads"), "sync: none: there is no such directory"),
        (("disk/small", "uploads"), "sync: disk/small is no directory; cp copies files"),
        (("disk", "disk/small"), "sync: disk/small is a file; the target of a sync is a directory"),
        (("disk", "uploads/none/x"), "sync: uploads/none: there is no such directory"),
        (("disk", "none/x"), "sync: none: there is no such directory"),
        (("disk", "disk"), "sync: disk and disk are the same directory"),
        (("disk", "disk/../disk/."), "are the same directory"),
        (("uploads", "uploads"), "sync: uploads and uploads are the same directory"),
        (("disk", "disk/deep"), "sync: disk/deep lies in disk"),
        (("disk/deep", "disk"), "sync: disk/deep lies in disk"),
        (("disk", "disk/new"), "sync: disk/new lies in disk"),
        (("disk", "logs"), "sync: logs keeps no files"),
        (("logs", "disk"), "sync: logs keeps no files"),
        (
            ("disk", "gaeport://upload/x"),
            "gaeport://upload/x: no mount has that name; the mounts are: uploads, errors, logs",
        ),
    ],
)
def test_what_cannot_be_synced_is_refused_in_one_line(arguments: tuple[str, ...], reason: str, capsys: Output) -> None:
    before = tree("disk")
    assert fs("sync", *arguments) == 2
    out, err = capsys.readouterr()
    assert reason in err
    assert err.count("\n") == 1
    assert out == ""
    assert tree("disk") == before


def test_one_path_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as leaving:
        fs("sync", "disk")
    assert leaving.value.code == 2


def test_addresses_name_mounts_wherever_the_shell_stands(application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(application / "disk")
    assert fs("sync", ".", "gaeport://uploads/copy") == 0
    assert fs("cat", "gaeport://uploads/copy/small") == 0
    monkeypatch.chdir(application)
    assert tree("uploads/copy") == tree("disk")


def test_in_production_a_path_must_lead_into_a_mount(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    config = settings.load(Path("gaeport.toml"))
    production = settings.Settings(root=config.root, mounts=config.mounts, project="shop", production=True)
    monkeypatch.setattr("gaeport.cli.fs.read_settings", lambda args: production)
    for arguments in (("sync", "disk", "upload/x"), ("ls", "upload"), ("rm", "--yes", "disk/small")):
        assert fs(*arguments) == 2
        assert "not in a mount; the mounts are: uploads, errors, logs" in capsys.readouterr().err
    assert Path("disk/small").exists()


def test_in_production_only_what_removes_asks_and_yes_answers(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr("gaeport.fs.commands._production", lambda: True)
    assert fs("sync", "--delete", "disk", "uploads/copy") == 0  # there is nothing to remove
    Path("uploads/copy/extra").write_text("")
    Path("disk/small").write_text("changed")
    assert fs("sync", "--delete", "disk", "uploads/copy") == 2
    assert "removing 1 names? --yes answers where nobody can be asked" in capsys.readouterr().err
    assert Path("uploads/copy/extra").exists()
    assert Path("uploads/copy/small").read_text() == "small\n"
    assert fs("sync", "--delete", "--yes", "disk", "uploads/copy") == 0
    assert not Path("uploads/copy/extra").exists()


def test_a_store_that_is_full_stops_it_with_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def full(*arguments: object) -> None:
        raise ResourceExhausted("quota exceeded")

    monkeypatch.setattr(DatastoreVolume, "try_commit", full)
    assert fs("sync", "disk", "uploads") == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert err.count("\n") == 1


def test_a_full_disk_stops_it_with_one_line_and_leaves_nothing_half(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def full(file: object, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gaeport.fs.syncing.folder_side._write_all", full)
    assert fs("sync", "disk", "copy") == 1
    err = capsys.readouterr().err
    assert re.fullmatch(r"gaeport fs: copy/\S+: No space left on device\n", err)
    assert [path for path in Path("copy").rglob("*") if path.is_file()] == []


def test_what_may_not_be_read_is_told_and_nothing_is_deleted(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    scan = FolderSide.scan

    def refuses(side: FolderSide, path: tuple[str, ...]) -> object:
        if path == ("deep", "er"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), side.spelled(path))
        return scan(side, path)

    Path("uploads").mkdir()
    fs("sync", "disk", "uploads/copy")
    Path("uploads/copy/extra").write_text("")
    Path("disk/small").write_text("changed")
    monkeypatch.setattr(FolderSide, "scan", refuses)
    capsys.readouterr()
    assert fs("sync", "--delete", "disk", "uploads/copy") == 1
    assert "gaeport fs: disk/deep/er: Permission denied\n" in capsys.readouterr().err
    assert Path("uploads/copy/extra").exists()
    assert Path("uploads/copy/small").read_text() == "changed"


def test_a_device_or_pipe_is_told_and_not_copied(capsys: Output) -> None:
    os.mkfifo("disk/pipe")
    assert fs("sync", "disk", "uploads/copy") == 1
    assert "disk/pipe: neither file, directory nor link; not copied" in capsys.readouterr().err
    os.unlink("disk/pipe")
    assert fs("sync", "disk", "uploads/copy") == 0


def test_a_conflict_with_an_open_file_is_left_to_the_ordinary_way(application: Path) -> None:
    fs("sync", "disk", "uploads/copy")
    reader = open("uploads/copy/small", "rb")  # noqa: SIM115  # open while it is replaced
    Path("disk/small").write_text("replaced")
    Path("disk/nothing").write_text("replaced too")
    assert fs("sync", "disk", "uploads/copy") == 0
    reader.close()
    assert Path("uploads/copy/small").read_text() == "replaced"
    os.link("uploads/copy/nothing", "uploads/copy/second name")
    Path("disk/nothing").write_text("and again")
    assert fs("sync", "disk", "uploads/copy") == 0
    assert Path("uploads/copy/second name").read_text() == "and again"


def test_bulk_writes_leave_large_files_to_the_ordinary_way() -> None:
    fs("sync", "disk", "errors")
    volume = next(mount.volume for mount in mounts.paths.mounts() if mount.spelled.endswith("errors"))
    assert isinstance(volume, DatastoreVolume)
    assert Bulk(volume, volume._directories).limit == 0


SLOWLY = "import sys; sys.path.insert(0, {checkout!r}); from gaeport import cli; sys.exit(cli.main(sys.argv[1:]))"


@pytest.mark.long
@pytest.mark.parametrize("direction", ["in", "out"])
def test_killed_again_and_again_it_leaves_whole_files_and_ends_equal(application: Path, direction: str) -> None:
    for folder in range(30):
        Path(f"many/{folder}").mkdir(parents=True)
        for number in range(100):
            Path(f"many/{folder}/{number}").write_text(f"{folder} {number}\n" * 50)
    names = ("many", "uploads/many") if direction == "in" else ("uploads/many", "back")
    if direction == "out":
        assert fs("sync", "many", "uploads/many") == 0
    program = SLOWLY.format(checkout=str(Path(__file__).parents[3]))
    kills = 0
    for wait in (0.5, 0.6, 0.7, 0.8):
        process = subprocess.Popen([sys.executable, "-c", program, "fs", "sync", *names], stdout=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        mounts.unmount_all()
        mounts.mount_all()
        for path in Path(names[1]).rglob("*"):
            if path.is_file() and not path.name.endswith(".part"):
                assert path.read_text() == f"{path.parent.name} {path.name}\n" * 50
    assert kills >= 1
    assert fs("sync", *names) == 0
    assert tree(names[1]) == tree("many")
