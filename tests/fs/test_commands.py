"""`gaeport fs`: what it does to mounts and the disk, what it says, and its exit codes."""

import io
import os
import random
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import cli, meter, settings
from gaeport.datastore.client import Client
from gaeport.errors import PermissionDenied
from gaeport.fs import commands, mounts, progress
from gaeport.fs.copying import copy_file
from gaeport.fs.datastore.garbage import KEEP_DAYS
from gaeport.fs.progress import Progress, size

LARGE = random.Random(1).randbytes(3_000_000)
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An application's folder with the mounts "uploads" and "errors"."""
    root = tmp_path.resolve()
    (root / "gaeport.toml").write_text('[[mount]]\npath = "uploads"\n[[mount]]\npath = "errors"\nprefix = "e/"\n')
    (root / "disk" / "deep").mkdir(parents=True)
    (root / "disk" / "small").write_text("small\n")
    (root / "disk" / "deep" / "large").write_bytes(LARGE)
    (root / "disk" / "link").symlink_to("small")
    monkeypatch.chdir(root)
    settings.use(None)
    yield root
    os.chdir(root)
    mounts.unmount_all()


def fs(*arguments: str) -> int:
    return cli.main(["fs", *arguments])


def test_ls_without_a_path_lists_the_mounts(application: Path, capsys: Output) -> None:
    assert fs("ls") == 0
    assert capsys.readouterr().out == f"{application}/uploads  (uploads)\n{application}/errors  (errors)\n"


def test_a_tree_is_copied_into_a_mount_and_back_as_it_was(application: Path) -> None:
    os.chmod("disk/small", 0o640)
    assert fs("cp", "-r", "disk", "uploads") == 0
    assert not (Path(settings.current().root) / "uploads" / "disk").is_symlink()
    assert fs("cp", "-r", "uploads/disk", "back") == 0
    mounts.unmount_all()
    assert not os.path.exists("uploads/disk")  # nothing went to the disk
    assert Path("back/small").read_text() == "small\n"
    assert Path("back/small").stat().st_mode & 0o777 == 0o640
    assert Path("back/deep/large").read_bytes() == LARGE
    assert os.readlink("back/link") == "small"
    assert sorted(os.listdir("back")) == ["deep", "link", "small"]


def test_ls_shows_names_and_with_l_what_ls_shows(capsys: Output) -> None:
    fs("cp", "-r", "disk", "uploads")
    assert fs("ls", "uploads/disk") == 0
    assert capsys.readouterr().out == "deep\nlink\nsmall\n"
    assert fs("ls", "-l", "uploads/disk") == 0
    deep, link, small = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"drwx\S+ +2 +\d+ +\d+ +4096 \d{4}-\d\d-\d\d \d\d:\d\d deep", deep)
    assert link.startswith("lrwxrwxrwx")
    assert link.endswith(" link -> small")
    assert re.fullmatch(r"-rw\S+ +1 +\d+ +\d+ +6 \S+ \S+ small", small)


def test_ls_tells_what_is_missing_and_goes_on(capsys: Output) -> None:
    assert fs("ls", "nothing", "disk/small") == 1
    out, err = capsys.readouterr()
    assert out == "disk/small\n"
    assert err == "gaeport fs: nothing: No such file or directory\n"


def test_cat_writes_the_files_one_after_another(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    fs("cp", "disk/small", "disk/deep/large", "uploads")
    assert fs("cat", "uploads/small", "uploads/large") == 0
    assert capfdbinary.readouterr().out == b"small\n" + LARGE


def test_du_counts_bytes_and_files(capsys: Output) -> None:
    fs("cp", "-r", "disk", "uploads")
    assert fs("du", "--bytes", "uploads") == 0
    assert capsys.readouterr().out.split() == [str(len(LARGE) + 6 + 5), "3", "files", "uploads"]
    assert fs("du", "uploads") == 0
    assert "2.9 MiB" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["uploads/moved", "errors/moved", "moved"])
def test_mv_moves_within_a_mount_between_mounts_and_to_the_disk(target: str, capsys: Output) -> None:
    fs("cp", "-r", "disk", "uploads/tree")
    assert fs("mv", "uploads/tree", target) == 0
    assert fs("ls", "uploads/tree") == 1
    capsys.readouterr()
    assert fs("cat", f"{target}/small") == 0
    assert fs("du", "--bytes", target) == 0
    assert str(len(LARGE) + 11) in capsys.readouterr().out


def test_mv_keeps_times_from_one_place_to_another() -> None:
    os.utime("disk/small", ns=(10**18, 10**18 + 1))
    fs("mv", "disk/small", "uploads")
    assert os.stat("uploads/small").st_mtime_ns == 10**18 + 1
    assert not os.path.exists("disk/small")


def test_rm_removes_files_and_directories_only_when_told(capsys: Output) -> None:
    fs("cp", "-r", "disk", "uploads")
    assert fs("rm", "uploads/disk") == 1
    assert "-r removes directories" in capsys.readouterr().err
    assert fs("rm", "uploads/disk/small") == 0
    assert fs("rm", "-r", "uploads/disk") == 0
    assert fs("rm", "uploads/disk/small") == 1
    assert os.listdir("uploads") == []


def test_a_tree_of_small_files_is_copied_and_moved_in_few_calls() -> None:
    for folder in range(3):
        Path(f"many/{folder}").mkdir(parents=True)
        for number in range(200):
            Path(f"many/{folder}/{number}").write_text(f"{folder} {number}")
        os.utime(f"many/{folder}", ns=(10**18, 10**18))
    with meter.measure() as counted:
        assert fs("cp", "-r", "many", "uploads") == 0
    assert counted.calls["Commit"] <= 15
    assert counted.total_calls <= 40
    with meter.measure() as counted:
        assert fs("mv", "uploads/many", "errors/moved") == 0
    assert counted.total_calls <= 72
    assert Path("errors/moved/2/199").read_text() == "2 199"
    assert not os.path.exists("uploads/many")
    with meter.measure() as counted:
        assert fs("mv", "errors/moved", "back") == 0
    assert counted.total_calls <= 60
    assert Path("back/2/199").read_text() == "2 199"


def test_a_moved_tree_keeps_times_and_modes_of_its_directories() -> None:
    Path("disk/deep").chmod(0o750)
    for folder in ("disk/deep", "disk"):
        os.utime(folder, ns=(10**18, 10**18 + 5))
    assert fs("mv", "disk", "uploads/moved") == 0
    for folder in ("uploads/moved/deep", "uploads/moved"):
        assert os.stat(folder).st_mtime_ns == 10**18 + 5
    assert os.stat("uploads/moved/deep").st_mode & 0o777 == 0o750
    assert fs("mv", "uploads/moved", "back") == 0
    assert os.stat("back/deep").st_mtime_ns == 10**18 + 5
    assert os.stat("back/deep").st_mode & 0o777 == 0o750


def test_cp_merges_directories_and_writes_through_links() -> None:
    Path("uploads/disk/deep").mkdir(parents=True)
    Path("uploads/disk/deep/mine").write_text("kept")
    Path("uploads/elsewhere").write_text("old")
    os.symlink("../elsewhere", "uploads/disk/small")
    assert fs("cp", "-r", "disk", "uploads") == 0
    assert Path("uploads/disk/deep/mine").read_text() == "kept"
    assert Path("uploads/elsewhere").read_text() == "small\n"
    assert os.path.islink("uploads/disk/small")


def test_cp_tells_what_is_in_the_way_before_it_copies_anything(capsys: Output) -> None:
    Path("uploads/disk/small").mkdir(parents=True)
    assert fs("cp", "-r", "disk", "uploads") == 1
    assert capsys.readouterr().err == "gaeport fs: uploads/disk/small: Is a directory\n"
    assert os.listdir("uploads/disk") == ["small"]


def test_mv_leaves_the_source_when_something_could_not_be_copied(capsys: Output) -> None:
    os.mkfifo("disk/deep/pipe")
    assert fs("mv", "disk", "uploads") == 1
    assert "disk/deep/pipe: Invalid argument: neither file, directory nor link" in capsys.readouterr().err
    assert Path("disk/small").exists()


@pytest.mark.parametrize("target", ["uploads", "other"])
def test_mv_merges_no_directories_wherever_they_are(target: str, capsys: Output) -> None:
    Path(f"{target}/disk/kept").mkdir(parents=True)
    before = sorted(os.listdir("disk"))
    assert fs("mv", "disk", target) == 1
    assert f"{target}/disk" in capsys.readouterr().err
    assert sorted(os.listdir("disk")) == before
    assert os.listdir(f"{target}/disk") == ["kept"]
    os.rmdir(f"{target}/disk/kept")
    assert fs("mv", "disk", target) == 0  # onto an empty one it may go
    assert sorted(os.listdir(f"{target}/disk")) == before
    Path(f"{target}/file").write_text("")
    assert fs("mv", "uploads/disk" if target == "other" else target + "/disk", f"{target}/file") == 1


@pytest.mark.parametrize("action", [("cp",), ("cp", "-r"), ("mv",)])
def test_two_of_one_name_do_not_take_each_others_place(action: tuple[str, ...], capsys: Output) -> None:
    Path("other").mkdir()
    Path("other/small").write_text("other\n")
    assert fs(*action, "disk/small", "other/small", "uploads") == 1
    err = capsys.readouterr().err
    assert err == "gaeport fs: uploads/small: File exists: disk/small and other/small would both be it\n"
    assert Path("disk/small").read_text() + Path("other/small").read_text() == "small\nother\n"


@pytest.mark.parametrize("target", ["uploads", "other"])
def test_links_are_copied_as_links_with_r_and_moved_as_links(target: str, capsys: Output) -> None:
    Path(target).mkdir(exist_ok=True)
    Path("disk/dangling").symlink_to("nothing")
    Path("disk/folder").symlink_to("deep")
    os.utime("disk/link", ns=(5, 5), follow_symlinks=False)
    assert fs("cp", "disk/link", f"{target}/file") == 0
    assert not os.path.islink(f"{target}/file")
    assert fs("cp", "-r", "disk/link", "disk/dangling", "disk/folder", target) == 0
    assert [os.readlink(f"{target}/{name}") for name in ("link", "dangling", "folder")] == ["small", "nothing", "deep"]
    assert fs("mv", "disk/link", f"{target}/file") == 0  # takes the file's place at once
    assert os.readlink(f"{target}/file") == "small"
    assert os.lstat(f"{target}/file").st_mtime_ns == 5
    Path(f"{target}/directory/in").mkdir(parents=True)
    assert fs("cp", "-r", f"{target}/file", f"{target}/directory/in") == 0
    assert fs("cp", "-r", f"{target}/file", f"{target}/directory/in") == 0
    capsys.readouterr()
    assert fs("cp", "-r", f"{target}/link", f"{target}/link") == 1
    assert "it is the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("rm", "-r", "uploads"),
        ("rm", "-r", "uploads/"),
        ("rm", "-r", "gaeport://uploads"),
        ("rm", "-r", "inner"),
        ("mv", "inner", "uploads/inner"),
        ("mv", "uploads", "errors/moved"),
        ("sync", "--delete", "--yes", "disk/deep", "inner"),
    ],
)
def test_what_is_or_holds_a_mount_is_not_emptied_by_a_command_that_cannot_remove_it(
    arguments: tuple[str, ...], application: Path, capsys: Output
) -> None:
    with (application / "gaeport.toml").open("a") as file:
        file.write('[[mount]]\npath = "inner/files/data"\n')
    settings.use(None)
    Path("inner/files").mkdir(parents=True)
    Path("inner/on_disk").write_text("")
    for name in ("disk/small", "uploads/a"), ("disk/small", "inner/files/data/a"):
        assert fs("cp", *name) == 0
    assert fs(*arguments) == 1
    assert "Device or resource busy" in capsys.readouterr().err
    assert Path("uploads/a").exists()
    assert Path("inner/files/data/a").exists()
    assert Path("inner/on_disk").exists() == (arguments[0] != "sync")


@pytest.mark.parametrize("arguments", [("cp",), ("cp", "-r"), ("mv",)])
@pytest.mark.parametrize("source", ["uploads/small", "uploads/link"])
def test_a_pipe_or_device_is_not_replaced(arguments: tuple[str, ...], source: str, capsys: Output) -> None:
    for name in ("small", "link"):
        assert fs("cp", "-r", f"disk/{name}", "uploads") == 0
    os.mkfifo("pipe")
    os.symlink("pipe", "to_pipe")
    for target in ("pipe", "to_pipe") if source == "uploads/small" else ("pipe",):
        assert fs(*arguments, source, target) == 1
        assert "a device, socket or pipe is not replaced" in capsys.readouterr().err
    assert stat.S_ISFIFO(os.lstat("pipe").st_mode)
    assert os.path.lexists(source)


def test_a_pipe_in_a_copied_trees_way_stays(capsys: Output) -> None:
    assert fs("cp", "-r", "disk", "uploads") == 0
    Path("back").mkdir()
    os.mkfifo("back/small")
    assert fs("cp", "-r", "uploads/disk/.", "back") == 1
    assert "back/small: Invalid argument" in capsys.readouterr().err
    assert stat.S_ISFIFO(os.lstat("back/small").st_mode)


def test_dots_stand_for_what_is_in_a_directory() -> None:
    Path("there/target").mkdir(parents=True)
    os.chdir("disk/deep")
    assert fs("cp", "-r", "..", "../../there/target") == 0
    assert fs("cp", "-r", ".", "../../uploads") == 0
    os.chdir("../..")
    assert fs("cp", "-r", "disk/deep/.", "errors") == 0
    assert os.listdir("errors") == ["large"]
    for arguments in ("mv", "disk/deep/.", "uploads"), ("rm", "-r", "disk/deep/.."), ("rm", "-r", "uploads/./"):
        assert fs(*arguments) == 1
    assert os.listdir("there") == ["target"]
    assert sorted(os.listdir("there/target")) == ["deep", "link", "small"]
    assert os.listdir("uploads") == ["large"]
    assert sorted(os.listdir("disk")) == ["deep", "link", "small"]


def test_a_private_file_is_private_while_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watching(Progress):
        def tell(self, text: str, part: float | None = None) -> None:
            seen.extend(os.stat(name).st_mode & 0o777 for name in os.listdir() if name.endswith(".part"))

    os.chmod("disk/deep/large", 0o640)
    copy_file("disk/deep/large", "copy", Watching())
    assert set(seen) == {0o600}
    assert os.stat("copy").st_mode & 0o777 == 0o640


def test_names_cannot_write_on_a_terminal(capsys: Output) -> None:
    name = "new\nline \x1b[31m \x9b1m \t é"
    Path(f"disk/{name}").write_text("")
    assert fs("cp", f"disk/{name}", "uploads") == 0
    assert fs("ls", "uploads") == 0
    assert fs("rm", f"disk/{name}", f"disk/{name}") == 1
    out, err = capsys.readouterr()
    shown = r"new\nline \x1b[31m \x9b1m \t é"
    assert out == f"{shown}\n"
    assert err == f"gaeport fs: disk/{shown}: No such file or directory\n"


def test_cp_tells_how_many_more_failed(application: Path, capsys: Output) -> None:
    with (application / "gaeport.toml").open("a") as file:
        file.write('[[mount]]\npath = "objects"\nstore = "gcs"\n')
    settings.use(None)
    for name in ("one\n", "two\n", "three\n"):  # no names of objects
        Path(f"disk/{name}").write_text("")
    assert fs("cp", "-r", "disk", "objects") == 1
    assert "no line breaks (and 2 more failed)\n" in capsys.readouterr().err
    assert Path("objects/disk/small").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("disk", "uploads"), "-r copies directories"),
        (("-r", "disk", "disk/deep"), "it lies in disk"),
        (("disk/small", "disk/small"), "it is the same"),
        (("disk/small", "disk/deep/large", "uploads/none"), "uploads/none: Not a directory"),
        (("disk/small", "uploads/none/small"), "No such file or directory"),
    ],
)
def test_cp_refuses_what_cannot_be(arguments: tuple[str, ...], reason: str, capsys: Output) -> None:
    assert fs("cp", *arguments) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("action", ["cp", "mv"])
def test_one_path_is_not_enough_to_copy(action: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        fs(action, "disk")
    assert leaving.value.code == 2


def test_an_interrupted_copy_leaves_the_old_content_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    fs("cp", "disk/small", "uploads/a")

    class Stopped(Progress):
        def tell(self, text: str, part: float | None = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_file("disk/deep/large", "uploads/a", Stopped())
    assert Path("uploads/a").read_text() == "small\n"
    assert os.listdir("uploads") == ["a"]


def test_gc_keeps_what_was_dropped_for_eight_days_unless_told_otherwise(application: Path, capsys: Output) -> None:
    fs("cp", "disk/deep/large", "uploads/a")
    fs("cp", "disk/deep/large", "errors/b")
    fs("rm", "uploads/a", "errors/b")
    assert fs("gc") == 0
    assert "2 records are younger than 8 days" in capsys.readouterr().out
    assert len(stored(application)) == 2
    assert fs("gc", "--keep-days", "0", "--dry-run") == 0
    assert "with 2 blobs and 0 chunks, would be deleted" in capsys.readouterr().out
    assert len(stored(application)) == 2
    assert fs("gc", "--keep-days", "0", "--yes") == 0
    assert "2 records of dropped content and 0 abandoned uploads" in capsys.readouterr().out
    assert stored(application) == []
    assert KEEP_DAYS == 8


def test_gc_deletes_what_killed_processes_left_half_written(application: Path, capsys: Output) -> None:
    left = application / ".gaeport" / "blobs" / "incoming" / "00000000-1-left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    fs("gc")
    assert left.exists()
    old = left.stat().st_mtime - 9 * 86_400
    os.utime(left, (old, old))
    fs("gc", "--dry-run")
    assert left.exists()
    assert fs("gc") == 0
    assert not left.exists()
    assert "1 unfinished blobs of killed processes deleted" in capsys.readouterr().out


def test_a_store_that_does_not_answer_is_told_and_not_taken_for_a_missing_file(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def unavailable(*arguments: object, **options: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise PermissionDenied("what waits to be written by a timer goes on waiting")
        raise OSError(5, "Input/output error", "uploads")

    for method in ("lookup", "commit"):
        monkeypatch.setattr(Client, method, unavailable)
    assert fs("cp", "disk/small", "uploads") == 1
    assert fs("ls", "uploads") == 1
    assert capsys.readouterr().err == "gaeport fs: uploads: Input/output error\n" * 2


def stored(application: Path) -> list[Path]:
    return [path for path in (application / ".gaeport" / "blobs").rglob("*") if path.is_file()]


def test_gc_of_what_is_young_asks_first(capsys: Output) -> None:
    assert fs("gc", "--keep-days", "1") == 2  # nobody can be asked here
    assert "--yes answers" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), (" YES \n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_question_takes_yes_and_no_and_an_end_of_input(
    answer: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert fs("gc", "--keep-days", "0") == code
    out, err = capsys.readouterr()
    assert "Go on? [y/N] " in err
    assert bool(out) == (code == 0)


@pytest.mark.parametrize("days", ["-1", "x", "nan"])
def test_gc_takes_a_number_of_days(days: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as leaving:
        fs("gc", "--keep-days", days)
    assert leaving.value.code == 2
    assert f"{days} is not a number of days" in capsys.readouterr().err


def test_verify_tells_which_files_lost_content(application: Path, capsys: Output) -> None:
    fs("cp", "-r", "disk", "uploads")
    assert fs("verify") == 0
    for path in stored(application):
        path.unlink()
    capsys.readouterr()
    assert fs("verify") == 1
    out = capsys.readouterr().out
    assert out.startswith("uploads/disk/deep/large: gone: b:")
    assert "1 files incomplete" in out


def test_shadowed_tells_which_written_files_hide_a_newer_deployed_one(application: Path, capsys: Output) -> None:
    folder = application / "uploads" / "deep"
    folder.mkdir(parents=True)
    for name in ("same", "older", "newer"):
        (folder / name).write_text("deployed")
        os.utime(folder / name, (10**9, 10**9))
    fs("cp", "disk/small", "uploads/deep/older")
    fs("cp", "disk/small", "uploads/deep/newer")
    mounts.unmount_all()
    later = os.stat(application / "disk").st_mtime + 3 * 86_400
    os.utime(folder / "newer", (later, later))
    assert fs("shadowed") == 1
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*/uploads/deep/newer: written 6 bytes, deployed 8 bytes 3\.0 days later", first)
    assert last == "1 written files hide a newer deployed one"
    assert fs("rm", "uploads/deep/newer") == 0
    capsys.readouterr()
    assert fs("shadowed") == 0


def test_in_production_what_removes_asks_and_says_where(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    production = settings.Settings(root=Path.cwd(), project="shop", production=True)
    monkeypatch.setattr("gaeport.cli.fs.read_settings", lambda args: production)
    assert fs("rm", "uploads/a") == 2
    assert "project shop, database (default), namespace gaeport: remove uploads/a" in capsys.readouterr().err


def test_every_place_where_a_mounts_blobs_may_lie_is_known() -> None:
    settings.configure(
        root=Path.cwd(),
        bucket="one",
        mounts=[{"path": "a"}, {"path": "b", "bucket": "two", "prefix": "b/"}, {"path": "c", "prefix": "c/"}],
    )
    assert len(commands.stores()) == 3  # embedded: by prefix, whatever the bucket


def test_progress_shows_on_a_terminal_after_a_while(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress() as shown:
        shown.tell("half", 0.5)
    assert "[############............]  50% half" in capsys.readouterr().err


def test_progress_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((60, 24)))
    with Progress() as line:
        line.tell("x" * 50 + "\n" + "y" * 50, 0.5)
    assert len(capsys.readouterr().err.split("\x1b[K")[1].split("\r")[0]) == 59


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")])
def test_sizes_are_told_in_binary_units(count: int, text: str) -> None:
    assert size(count) == text
