"""What pathlib, shutil, glob, tempfile and os.path do in a folder."""

import codecs
import filecmp
import glob
import io
import linecache
import os
import pathlib
import shutil
import stat
import sys
import tempfile
import tokenize
from pathlib import Path
from typing import Any

from tests.fs.probing import Probe, got, kind, put, raised

PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    """Run a function on both folders; what it returns must be the same."""
    PROBES[function.__name__] = function
    return function


def plant(root: str) -> None:
    os.makedirs(f"{root}/tree/sub/.hidden")
    put(f"{root}/tree/a.txt", b"a")
    put(f"{root}/tree/sub/b.bin", bytes(range(256)) * 300)
    put(f"{root}/tree/sub/.hidden/c.txt", b"c")
    os.symlink("sub/b.bin", f"{root}/tree/link")
    os.symlink("sub", f"{root}/tree/folder")
    os.chmod(f"{root}/tree/a.txt", 0o640)
    os.utime(f"{root}/tree/a.txt", ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))


def tree(root: str) -> Any:
    found = []
    for top, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(top, name)
            status = os.lstat(path)
            content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else got(path) if name in files else None
            found.append((path[len(root) :], kind(status)[:2], content))
    return sorted(found)


@probe
def paths_ask(root: str) -> Any:
    plant(root)
    answers: list[Any] = []
    for name in ("tree", "tree/a.txt", "tree/link", "tree/folder", "none", "tree/a.txt/x"):
        path = Path(root, name)
        asked = ("exists", "is_file", "is_dir", "is_symlink", "is_mount", "is_socket", "is_fifo", "is_block_device")
        answers += [(name, question, getattr(path, question)()) for question in asked]
        answers += [(name, method, raised(getattr(path, method))) for method in ("owner", "group", "readlink")]
        answers.append((name, str(path.resolve())[len(root) :], raised(path.resolve, True)[0]))
        if sys.version_info >= (3, 12):
            answers += [path.exists(follow_symlinks=False), path.is_junction()]
    answers += [kind(Path(root, "tree/link").stat()), kind(Path(root, "tree/link").lstat())]
    return answers, Path(root, "tree/link").samefile(Path(root, "tree/sub/b.bin")), Path(root).is_absolute()


@probe
def paths_write(root: str) -> Any:
    folder = Path(root, "d")
    folder.mkdir(mode=0o700)
    folder.mkdir(exist_ok=True)
    answers: list[Any] = [raised(folder.mkdir), raised(Path(root, "x/y").mkdir)]
    Path(root, "x/y/z").mkdir(parents=True)
    file = folder / "f"
    answers += [
        file.write_text("é\n", encoding="latin-1"),
        file.read_bytes(),
        file.write_bytes(b"abc"),
        file.read_text(),
    ]
    answers += [raised(file.touch, 0o666, False), file.chmod(0o600), kind(file.stat())]
    file.touch()
    with file.open("ab") as opened:
        opened.write(b"d")
    answers += [str(file.rename(folder / "g"))[len(root) :], str((folder / "g").replace(folder / "h"))[len(root) :]]
    (folder / "s").symlink_to("h")
    (folder / "n").hardlink_to(folder / "h")
    answers += [
        (folder / "n").stat().st_nlink,
        raised((folder / "none").unlink),
        raised(folder.rmdir),
        raised(file.lchmod, 0),
    ]
    (folder / "none").unlink(missing_ok=True)
    (folder / "s").unlink()
    Path(root, "x/y/z").rmdir()
    answers += [
        str(folder.expanduser())[len(root) :],
        raised(lambda: list((folder / "h").iterdir())),
        raised(lambda: list((folder / "none").iterdir())),
    ]
    return answers, tree(root)


@probe
def paths_find(root: str) -> Any:
    plant(root)
    folder = Path(root)
    patterns = ("*", "**", "**/*", "*/*.txt", "**/*.txt", "tree/s*/", "**/.hidden/*", "[tn]*", "tree/../tree/*")
    found = [sorted(str(path)[len(root) :] for path in folder.glob(pattern)) for pattern in patterns]
    found += [sorted(str(path)[len(root) :] for path in folder.rglob(pattern)) for pattern in ("*.txt", "*/", "c*")]
    found.append(sorted(path.name for path in folder.iterdir()))
    if sys.version_info >= (3, 12):
        for options in ({}, {"top_down": False}, {"follow_symlinks": True}):
            found += sorted((str(top)[len(root) :], sorted(a), sorted(b)) for top, a, b in folder.walk(**options))
        found.append(sorted(str(path)[len(root) :] for path in folder.glob("TREE/*.TXT", case_sensitive=False)))
    if sys.version_info >= (3, 13):
        found.append(sorted(str(path)[len(root) :] for path in folder.rglob("*", recurse_symlinks=True)))
        found += [str(Path.from_uri(folder.as_uri()))[len(root) :], folder.joinpath("tree").full_match("**/tree")]
    return found


@probe
def paths_copy(root: str) -> Any:
    plant(root)
    if sys.version_info >= (3, 14):
        source = Path(root, "tree")
        source.joinpath("a.txt").copy(Path(root, "copy"), preserve_metadata=True)
        source.copy(Path(root, "whole"))
        source.joinpath("sub").copy_into(Path(root, "whole"), follow_symlinks=False)
        Path(root, "whole/a.txt").move(Path(root, "moved"))
        Path(root, "moved").move_into(source)
        assert Path(root, "copy").info.is_file()
    return tree(root)


@probe
def paths_as_the_working_directory(root: str) -> Any:
    plant(root)
    before = os.getcwd()
    try:
        os.chdir(f"{root}/tree")
        here = [str(Path.cwd())[len(root) :], str(Path("a.txt").absolute())[len(root) :], Path("a.txt").read_text()]
        here += [
            str(Path("../tree/link").resolve())[len(root) :],
            sorted(map(str, Path().iterdir())),
            sorted(glob.glob("*")),
        ]
        here += [sorted(map(str, Path().rglob("*.txt"))), os.path.exists("sub/../a.txt"), raised(Path("..").rmdir)]
        Path("sub/new").write_text("new")
    finally:
        os.chdir(before)
    return here, tree(root)


@probe
def questions_of_os_path(root: str) -> Any:
    plant(root)
    paths = [f"{root}/{name}" for name in ("tree", "tree/a.txt", "tree/link", "none", "tree/a.txt/", "tree/folder/")]
    asked = ("exists", "lexists", "isfile", "isdir", "islink", "ismount", "realpath", "abspath")
    sizes = [
        raised(function, path) for function in (os.path.getsize, os.path.getmtime) for path in (paths[1], *paths[3:5])
    ]
    answers = [sizes, [os.path.getatime(path) > 1e9 for path in paths[:2]], os.path.getctime(paths[1]) > 1e9]
    answers += [(name, [_shown(raised(getattr(os.path, name), path), root) for path in paths[1:]]) for name in asked]
    same = [os.path.samefile(paths[1], paths[2]), os.path.sameopenfile(0, 0), raised(os.path.samefile, *paths[1:4:2])]
    with open(paths[1], "rb") as one, open(paths[1], "rb") as other:
        same.append(os.path.sameopenfile(one.fileno(), other.fileno()))
    strict = [raised(os.path.realpath, path, strict=True)[0] for path in paths]
    return [answers, same, strict, os.path.samestat(os.stat(paths[2]), os.stat(f"{root}/tree/sub/b.bin"))]


def _shown(found: Any, root: str) -> Any:
    answer = found[1] if isinstance(found, tuple) else found
    return (
        answer.replace(root, "")
        if isinstance(answer, str)
        else answer
        if not isinstance(answer, float)
        else int(answer)
    )


@probe
def copies(root: str) -> Any:
    plant(root)
    for name in ("copyfile", "copy", "copy2"):
        getattr(shutil, name)(f"{root}/tree/a.txt", f"{root}/{name}")
    shutil.copyfile(f"{root}/tree/link", f"{root}/aslink", follow_symlinks=False)
    shutil.copymode(f"{root}/tree/a.txt", f"{root}/copyfile")
    shutil.copystat(f"{root}/tree/a.txt", f"{root}/copy")
    shutil.copy(f"{root}/tree/a.txt", f"{root}/tree/sub")
    shutil.copytree(f"{root}/tree", f"{root}/t1", symlinks=True)
    shutil.copytree(f"{root}/tree", f"{root}/t2", ignore=shutil.ignore_patterns("*.txt"), ignore_dangling_symlinks=True)
    shutil.copytree(f"{root}/tree", f"{root}/t2", dirs_exist_ok=True, copy_function=shutil.copy)
    times = [os.stat(f"{root}/{name}").st_mtime_ns for name in ("copy2", "copy", "t1/a.txt")]
    with open(f"{root}/copy", "rb") as one, open(f"{root}/made", "wb") as other:
        shutil.copyfileobj(one, other)
    same = (f"{root}/copy", f"{root}/copy")
    return (
        times,
        tree(root),
        _kind_of_error(shutil.copyfile, *same),
        _kind_of_error(shutil.copytree, f"{root}/t1", f"{root}/t2"),
    )


def _kind_of_error(function: Any, *args: Any) -> str:
    try:
        function(*args)
    except (OSError, shutil.Error) as error:
        return type(error).__name__
    return "none"


@probe
def moves_and_removals(root: str) -> Any:
    plant(root)
    shutil.move(f"{root}/tree/a.txt", f"{root}/tree/sub")
    shutil.move(Path(root, "tree/link"), Path(root, "moved"))
    shutil.copytree(f"{root}/tree", f"{root}/t", symlinks=True)
    answers = [
        _kind_of_error(shutil.move, f"{root}/tree", f"{root}/tree/sub/x"),
        shutil.move(f"{root}/t", f"{root}/u")[-2:],
    ]
    errors: list[Any] = []
    shutil.rmtree(f"{root}/u")
    shutil.rmtree(f"{root}/none", ignore_errors=True)
    shutil.rmtree(
        f"{root}/none", onerror=lambda function, path, info: errors.append((path[len(root) :], info[0].__name__))
    )
    if sys.version_info >= (3, 12):
        shutil.rmtree(
            f"{root}/none", onexc=lambda function, path, error: errors.append((path[len(root) :], error.errno))
        )
    fd = os.open(root, os.O_RDONLY)
    shutil.copytree(f"{root}/tree", f"{root}/v", symlinks=True)
    shutil.rmtree("v", dir_fd=fd)
    os.close(fd)
    return answers, errors, _kind_of_error(shutil.rmtree, f"{root}/tree/folder"), tree(root)


@probe
def archives(root: str) -> Any:
    plant(root)
    for form in ("tar", "gztar", "bztar", "xztar", "zip"):
        made = shutil.make_archive(f"{root}/made", form, f"{root}/tree", "sub")
        shutil.unpack_archive(made, f"{root}/out/{form}", **({} if form == "zip" else {"filter": "data"}))
        os.unlink(made)
    usage = shutil.disk_usage(root)
    found = shutil.which("a.txt", path=f"{root}/tree"), os.chmod(f"{root}/tree/a.txt", 0o755)
    shutil.chown(f"{root}/tree/a.txt", os.getuid(), os.getgid())
    here = str(shutil.which("a.txt", path=f"{root}/tree"))[len(root) :]
    return tree(root), usage.free > 10_000_000, usage.total >= usage.used + usage.free, found[0], here


@probe
def patterns(root: str) -> Any:
    plant(root)
    fd = os.open(root, os.O_RDONLY)
    tried: list[dict[str, Any]] = [{}, {"recursive": True}, {"include_hidden": True, "recursive": True}]
    found = [
        sorted(glob.glob(one, root_dir=root, **options)) for options in tried for one in ("**", "*/*", "tree/*.t?t")
    ]
    found += [
        sorted(glob.glob("**/*", dir_fd=fd, recursive=True)),
        sorted(glob.iglob("*", root_dir=os.fsencode(root).decode())),
    ]
    found += [[name[len(root) :] for name in sorted(glob.glob(f"{glob.escape(root)}/tree/[al]*"))]]
    found += [glob.glob(b"tree/*.txt", root_dir=os.fsencode(root)), glob.glob("none/*", root_dir=root)]
    os.close(fd)
    return found


@probe
def temporary_files(root: str) -> Any:
    answers: list[Any] = []
    with tempfile.NamedTemporaryFile("w+", dir=root, prefix="p", suffix=".s") as named:
        named.write("text")
        named.flush()
        answers += [os.path.getsize(named.name), os.path.basename(named.name)[0], kind(os.stat(named.name))]
    if sys.version_info >= (3, 12):
        with tempfile.NamedTemporaryFile(dir=root, delete_on_close=False) as named:
            named.write(b"1")
            named.close()
            answers.append(got(named.name))
        with tempfile.NamedTemporaryFile(dir=root, delete_on_close=True) as named:
            named.close()
            answers.append(os.path.exists(named.name))
    with tempfile.TemporaryFile(dir=root) as unnamed:
        unnamed.write(b"unnamed")
        unnamed.seek(0)
        answers += [unnamed.read(), os.listdir(root), os.fstat(unnamed.fileno()).st_size]
    with tempfile.SpooledTemporaryFile(max_size=3, dir=root, mode="w+") as spooled:
        spooled.write("more than three")
        spooled.rollover()
        spooled.seek(5)
        answers += [spooled.read(), spooled.fileno() > 2, spooled.truncate(4), spooled.seek(0), spooled.read()]
    with tempfile.TemporaryDirectory(dir=root, ignore_cleanup_errors=True) as folder:
        plant(folder)
        answers += [tree(folder), kind(os.stat(folder))]
    made = tempfile.mkdtemp(dir=root)
    fd, path = tempfile.mkstemp(dir=os.fsencode(made), text=True)
    os.close(fd)
    answers += [kind(os.stat(path)), type(path), os.path.dirname(path) == os.fsencode(made)]
    return answers, len(os.listdir(root)), os.path.basename(tempfile.mktemp(dir=root))[:3]


@probe
def other_ways_to_open(root: str) -> Any:
    path = put(f"{root}/a.py", "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"))
    with codecs.open(path, "r", "latin-1") as one, tokenize.open(path) as two, io.open_code(__file__) as three:
        answers: list[Any] = [one.read(), two.read(), two.encoding, bool(three.read(1))]
    with open(path, "rb", buffering=0) as raw, io.FileIO(path, "r+") as second:
        answers += [
            raw.read(5),
            raw.mode,
            second.mode,
            isinstance(raw, io.FileIO),
            raw.readall()[-3:],
            second.readinto(bytearray(4)),
        ]
        answers += [repr(raw).replace(root, ""), second.seek(-2, 2), second.read(), second.truncate(6), raw.isatty()]
    with io.BufferedReader(io.FileIO(path)) as buffered:  # type: ignore[type-var]
        answers += [buffered.peek(3)[:3], buffered.read1(2), buffered.tell()]
    with open(path, "a+", encoding="utf-8", newline="\r\n") as text:
        text.write("new\nlines\n")
        text.reconfigure(line_buffering=True)
        text.seek(0)
        answers += [text.readlines(), text.name.replace(root, ""), text.mode, text.line_buffering, text.newlines]
    linecache.clearcache()
    answers += [linecache.getline(path, 1), filecmp.cmp(path, path, shallow=False)]
    with open(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as opened:
        answers.append(opened.read(1))
    fd = os.open(path, os.O_RDONLY)
    with open(fd, "rb", closefd=False) as shared:
        answers.append(shared.read(1))
    with os.fdopen(fd) as shared_text:
        answers += [shared_text.read(1), shared_text.name == fd]
    return answers, pathlib.PurePosixPath(path).name
