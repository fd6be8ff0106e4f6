"""What the functions of `os` that take paths do in a folder."""

import os
import pickle
from pathlib import Path
from typing import Any

from tests.fs.probing import Probe, got, kind, put, raised

PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    """Run a function on both folders; what it returns must be the same."""
    PROBES[function.__name__] = function
    return function


# Looking at files


@probe
def attributes(root: str) -> Any:
    path = put(f"{root}/a", b"x" * 5000)
    os.symlink("a", f"{root}/l")
    found, link = os.stat(path), os.lstat(f"{root}/l")
    assert found.st_ino == os.stat(f"{root}/l").st_ino != link.st_ino
    assert found.st_dev == os.stat(root).st_dev
    assert found.st_blocks * 512 >= 5000
    times = []
    for number in range(1, 50):
        os.utime(path, ns=(number * 987_654_321_123_456, number * 1_234_567_890_123_457))
        times.append((os.stat(path).st_atime, os.stat(path).st_mtime, tuple(os.stat(path))[7:9]))
    return (
        times,
        kind(found),
        kind(link),
        kind(os.stat(f"{root}/l", follow_symlinks=False)),
        found.st_nlink,
        found.st_blksize,
    )


@probe
def attributes_of_nothing(root: str) -> Any:
    put(f"{root}/a")
    names = ["none", "a/b", "a/", "none/x", "x" * 255, "x" * 256, "é" * 128, "/".join(["x" * 200] * 25), "nul\0byte"]
    paths = [os.path.join(root, name) for name in names] + ["", b"", f"{root}/a\0".encode()]
    functions = (os.stat, os.lstat, os.listdir, os.scandir, os.readlink, os.unlink, os.rmdir, os.chdir, os.statvfs)
    return [(path[len(root) :], function.__name__, raised(function, path)) for path in paths for function in functions]


@probe
def paths_of_every_kind(root: str) -> Any:
    put(f"{root}/a")
    as_bytes = os.fsencode(root)
    answers = [os.stat(Path(root, "a")).st_size, os.stat(as_bytes + b"/a").st_size, os.listdir(as_bytes)]

    class Like:
        def __fspath__(self) -> bytes:
            return as_bytes + b"/a"

    answers += [os.stat(Like()).st_size, os.access(Like(), os.R_OK), raised(os.stat, 1.5), raised(os.stat, None)]
    answers += [raised(os.lstat, 1), raised(os.open, 1, 0), raised(os.stat, object()), raised(os.unlink, 3)]
    with open(Like(), "rb") as file:
        answers += [file.read(), file.name[len(root) :]]
    return answers


@probe
def names_of_every_kind(root: str) -> Any:
    names = [
        "x" * 255,
        "ü" * 127,
        "\udce4\udcff",
        "with space",
        "new\nline",
        "__dunder__",
        "f",
        "%41",
        "*?[",
        "\x01",
        "~",
        "...",
    ]
    for name in names:
        put(f"{root}/{name}", name.encode("utf-8", "surrogateescape"))
    assert sorted(os.listdir(root)) == sorted(names)
    return [got(os.path.join(os.fsencode(root), name)) for name in sorted(os.listdir(os.fsencode(root)))]


@probe
def access(root: str) -> Any:
    put(f"{root}/a")
    os.mkdir(f"{root}/d", 0o700)
    os.symlink("none", f"{root}/l")
    answers: list[Any] = []
    for mode in (0o644, 0o755, 0o000):
        os.chmod(f"{root}/a", mode)
        answers += [os.access(f"{root}/a", bits) for bits in (os.F_OK, os.R_OK, os.W_OK, os.X_OK, 7)]
    answers += [os.access(f"{root}/{name}", os.F_OK) for name in ("d", "l", "none", "a/x", "d/")]
    answers += [os.access(f"{root}/a", os.R_OK, effective_ids=True), os.access(f"{root}/d", 7, effective_ids=True)]
    answers += [os.access(f"{root}/l", os.F_OK, follow_symlinks=False)]
    fd = os.open(root, os.O_RDONLY)
    answers += [os.access("a", os.R_OK, dir_fd=fd), os.access("b", os.R_OK, dir_fd=fd)]
    os.close(fd)
    return answers


@probe
def limits(root: str) -> Any:
    put(f"{root}/a")
    fd = os.open(f"{root}/a", os.O_RDONLY)
    folder = os.open(root, os.O_RDONLY)
    names = ("PC_NAME_MAX", "PC_PATH_MAX", "PC_LINK_MAX", "PC_PIPE_BUF", "PC_NO_TRUNC", "PC_CHOWN_RESTRICTED")
    answers: list[Any] = [os.pathconf(f"{root}/a", name) for name in names if name != "PC_LINK_MAX"]
    answers += [os.pathconf(root, 3), os.fpathconf(fd, "PC_NAME_MAX"), os.fpathconf(folder, "PC_NAME_MAX")]
    answers += [raised(os.pathconf, f"{root}/none", "PC_NAME_MAX"), raised(os.pathconf, root, "PC_NOTHING")]
    answers += [os.pathconf(fd, "PC_NAME_MAX"), os.pathconf(root, "PC_LINK_MAX") > 1000]
    for found in (os.statvfs(root), os.statvfs(f"{root}/a"), os.statvfs(fd), os.fstatvfs(fd), os.fstatvfs(folder)):
        answers += [
            found.f_namemax,
            found.f_bavail > 1000,
            found.f_frsize,
            found.f_flag & os.ST_RDONLY,
            bool(found.f_fsid),
        ]
    os.close(fd)
    os.close(folder)
    return answers


@probe
def readlink(root: str) -> Any:
    put(f"{root}/a")
    os.symlink("a", f"{root}/l")
    os.symlink(b"\xff", os.fsencode(f"{root}/m"))
    fd = os.open(root, os.O_RDONLY)
    answers = [os.readlink(f"{root}/l"), os.readlink(os.fsencode(f"{root}/l")), os.readlink("l", dir_fd=fd)]
    answers += [os.readlink(f"{root}/m"), raised(os.readlink, f"{root}/a"), raised(os.readlink, f"{root}/none")]
    os.close(fd)
    return answers


# Making, moving and removing


@probe
def making_and_removing(root: str) -> Any:
    os.mkdir(f"{root}/d", 0o750)
    os.makedirs(f"{root}/d/e/f", exist_ok=True)
    os.makedirs(f"{root}/d/e/f", exist_ok=True)
    answers: list[Any] = [
        raised(os.makedirs, f"{root}/d/e"),
        raised(os.mkdir, f"{root}/d"),
        raised(os.mkdir, f"{root}/x/y"),
    ]
    answers += [raised(os.rmdir, f"{root}/d"), raised(os.unlink, f"{root}/d"), raised(os.remove, f"{root}/d/e")]
    answers += [kind(os.stat(f"{root}/d")), kind(os.stat(f"{root}/d/e"))]
    put(f"{root}/keep")
    os.removedirs(f"{root}/d/e/f")
    os.remove(f"{root}/keep")
    put(f"{root}/keep")
    os.unlink(f"{root}/keep")
    put(f"{root}/a")
    answers += [raised(os.rmdir, f"{root}/a"), raised(os.mkdir, f"{root}/a/b"), os.listdir(root)]
    return answers


@probe
def renaming(root: str) -> Any:
    put(f"{root}/a", b"a")
    put(f"{root}/b", b"b")
    os.mkdir(f"{root}/d")
    os.mkdir(f"{root}/e")
    put(f"{root}/e/x")
    answers = [raised(os.rename, f"{root}/{one}", f"{root}/{other}") for one, other in _bad_renames()]
    os.rename(f"{root}/a", f"{root}/b")
    os.replace(f"{root}/b", f"{root}/d/c")
    os.renames(f"{root}/d/c", f"{root}/new/deep/c")
    os.rename(f"{root}/e", f"{root}/new/e")
    fd = os.open(f"{root}/new", os.O_RDONLY)
    os.rename("e", "f", src_dir_fd=fd, dst_dir_fd=fd)
    os.replace("f", f"{root}/g", src_dir_fd=fd)
    os.close(fd)
    return answers, sorted(os.listdir(root)), os.listdir(f"{root}/g"), got(f"{root}/new/deep/c")


def _bad_renames() -> list[tuple[str, str]]:
    return [
        ("a", "d"),
        ("d", "a"),
        ("d", "e"),
        ("none", "a"),
        ("e", "e/y"),
        ("a", "none/a"),
        ("a", "b/c"),
        ("a", "x" * 256),
    ]


@probe
def linking(root: str) -> Any:
    put(f"{root}/a", b"1")
    os.mkdir(f"{root}/d")
    os.link(f"{root}/a", f"{root}/b")
    fd = os.open(root, os.O_RDONLY)
    os.link("b", "c", src_dir_fd=fd, dst_dir_fd=fd)
    os.symlink("a", "s", dir_fd=fd)
    os.close(fd)
    os.link(f"{root}/s", f"{root}/t", follow_symlinks=False)
    put(f"{root}/c", b"22")
    answers: list[Any] = [got(f"{root}/a"), os.stat(f"{root}/a").st_nlink, os.lstat(f"{root}/t").st_nlink]
    answers += [os.path.samefile(f"{root}/a", f"{root}/c"), os.path.islink(f"{root}/t")]
    answers += [raised(os.link, f"{root}/d", f"{root}/x"), raised(os.link, f"{root}/a", f"{root}/b")]
    answers += [
        raised(os.symlink, "a", f"{root}/b"),
        raised(os.symlink, "", f"{root}/x"),
        raised(os.link, "none", "none2"),
    ]
    os.unlink(f"{root}/a")
    return [*answers, got(f"{root}/b"), os.stat(f"{root}/b").st_nlink]


@probe
def links_in_a_circle(root: str) -> Any:
    os.symlink("b", f"{root}/a")
    os.symlink("a", f"{root}/b")
    os.mkdir(f"{root}/d")
    os.symlink("d", f"{root}/l")
    put(f"{root}/l/x")
    functions = (os.stat, os.listdir, os.chdir, open, os.statvfs)
    answers = [raised(function, f"{root}/a") for function in functions]
    answers += [
        raised(os.open, f"{root}/a", flags) for flags in (os.O_RDONLY, os.O_CREAT, os.O_NOFOLLOW, os.O_DIRECTORY)
    ]
    answers += [os.listdir(f"{root}/l"), os.listdir(f"{root}/l/../d"), raised(os.rmdir, f"{root}/l")]
    return answers, raised(os.open, f"{root}/l", os.O_DIRECTORY | os.O_NOFOLLOW), raised(os.unlink, f"{root}/l/")


@probe
def links_through_links(root: str) -> Any:
    os.makedirs(f"{root}/d/e")
    put(f"{root}/a", b"top")
    put(f"{root}/d/a", b"below")
    for target, name in (
        ("d/e", "deep"),
        ("deep/..", "up"),
        ("deep/../..", "out"),
        ("up/./a", "file"),
        ("a/..", "wrong"),
    ):
        os.symlink(target, f"{root}/{name}")
    put(f"{root}/up/new", b"new")
    answers: list[Any] = [got(f"{root}/{name}") for name in ("up/a", "out/a", "file", "deep/../a")]
    answers += [raised(os.stat, f"{root}/wrong/a"), os.path.realpath(f"{root}/file")[len(root) :], got(f"{root}/d/new")]
    return answers, sorted(os.listdir(f"{root}/out")), os.path.realpath(f"{root}/out/wrong/x")[len(root) :]


@probe
def special_files(root: str) -> Any:
    put(f"{root}/a")
    return raised(os.mkfifo, f"{root}/a"), raised(os.mknod, f"{root}/a"), raised(os.mkfifo, f"{root}/none/a")


@probe
def directory_times(root: str) -> Any:
    changed = []
    os.mkdir(f"{root}/d")
    for step in (
        lambda: put(f"{root}/d/a"),
        lambda: os.rename(f"{root}/d/a", f"{root}/d/b"),
        lambda: os.link(f"{root}/d/b", f"{root}/d/c"),
        lambda: os.symlink("b", f"{root}/d/s"),
        lambda: os.unlink(f"{root}/d/b"),
        lambda: os.mkdir(f"{root}/d/e"),
        lambda: os.rmdir(f"{root}/d/e"),
        lambda: put(f"{root}/d/c"),
        lambda: os.chmod(f"{root}/d/c", 0o600),
    ):
        os.utime(f"{root}/d", (1, 1))
        step()
        changed.append(os.stat(f"{root}/d").st_mtime > 1)
    return changed


@probe
def changing_attributes(root: str) -> Any:
    put(f"{root}/a")
    os.symlink("a", f"{root}/l")
    fd = os.open(f"{root}/a", os.O_RDWR)
    os.chmod(f"{root}/l", 0o640)
    answers: list[Any] = [kind(os.stat(f"{root}/a")), raised(os.chmod, f"{root}/none", 0o600)]
    os.chmod(fd, 0o641)
    answers.append(kind(os.fstat(fd)))
    os.fchmod(fd, 0o604)
    answers.append(kind(os.stat(fd)))
    os.utime(f"{root}/a", ns=(1_000_000_001, 2_000_000_003))
    os.utime(f"{root}/l", (5, 6), follow_symlinks=False)
    found, link = os.stat(f"{root}/a"), os.lstat(f"{root}/l")
    answers += [found.st_atime_ns, found.st_mtime_ns, link.st_mtime_ns, found.st_ctime > 1e9]
    os.utime(fd, (7, 8))
    answers += [os.stat(f"{root}/a").st_mtime, raised(os.utime, f"{root}/none"), raised(os.utime, f"{root}/a", (1,))]
    os.close(fd)
    os.utime(f"{root}/a", (2**35, -(2**40)))  # what a disk cannot store either
    answers += [os.stat(f"{root}/a").st_atime > 2**32, os.stat(f"{root}/a").st_mtime < 0]
    return answers


@probe
def changing_owners(root: str) -> Any:
    put(f"{root}/a")
    os.symlink("a", f"{root}/l")
    here, group = os.getuid(), os.getgid()
    fd = os.open(f"{root}/a", os.O_RDWR)
    os.chown(f"{root}/a", here, group)
    os.fchown(fd, here, -1)
    os.lchown(f"{root}/l", -1, group)
    os.chown(f"{root}/l", here, -1, follow_symlinks=False)
    os.close(fd)
    return kind(os.stat(f"{root}/a")), raised(os.chown, f"{root}/none", -1, -1), raised(os.chown, f"{root}/a", "x", 1)


@probe
def truncating(root: str) -> Any:
    put(f"{root}/a", b"123456")
    os.truncate(f"{root}/a", 3)
    fd = os.open(f"{root}/a", os.O_RDWR)
    os.ftruncate(fd, 5)
    os.truncate(fd, 4)
    os.close(fd)
    answers = [raised(os.truncate, f"{root}/{name}", 1) for name in ("none", ".")] + [
        raised(os.truncate, f"{root}/a", -1)
    ]
    return answers, got(f"{root}/a")


@probe
def attributes_beyond_the_usual(root: str) -> Any:
    put(f"{root}/a")
    return (
        os.listxattr(f"{root}/a"),
        raised(os.getxattr, f"{root}/a", "user.x"),
        raised(os.removexattr, f"{root}/a", "user.x"),
    )


# Directories


@probe
def listing(root: str) -> Any:
    put(f"{root}/a", b"1")
    os.mkdir(f"{root}/d")
    os.symlink("d", f"{root}/l")
    fd = os.open(root, os.O_RDONLY)
    answers: list[Any] = [sorted(os.listdir(root)), sorted(os.listdir(fd)), sorted(os.listdir(os.fsencode(root)))]
    for given in (root, os.fsencode(root), Path(root), fd):
        with os.scandir(given) as found:
            answers.append(sorted(_entry(entry) for entry in found))
    os.close(fd)
    answers += [raised(os.listdir, f"{root}/a"), raised(os.scandir, f"{root}/a"), raised(os.listdir, f"{root}/none")]
    return answers


def _entry(entry: Any) -> Any:
    assert isinstance(entry, os.DirEntry)
    assert entry.inode() == entry.stat(follow_symlinks=False).st_ino
    kinds = entry.is_dir(), entry.is_dir(follow_symlinks=False), entry.is_file(), entry.is_symlink()
    assert os.fspath(entry) == entry.path
    assert raised(pickle.dumps, entry) == raised(os.DirEntry) == "TypeError"
    return str(entry.name), os.fsdecode(entry.path)[-2:], kinds, kind(entry.stat()), repr(entry)


@probe
def an_entry_tells_what_became_of_its_file(root: str) -> Any:
    for name in ("gone", "moved", "grown", "kept"):
        put(f"{root}/{name}")
    entries = {entry.name: entry for entry in os.scandir(root)}
    os.unlink(f"{root}/gone")
    os.rename(f"{root}/moved", f"{root}/elsewhere")
    put(f"{root}/grown", b"much longer content")
    told = {name: raised(entry.stat) for name, entry in entries.items()}
    return {name: found if isinstance(found, str) else found[1].st_size for name, found in told.items()}


@probe
def walking(root: str) -> Any:
    os.makedirs(f"{root}/d/e")
    put(f"{root}/d/a")
    os.symlink("d", f"{root}/l")
    fd = os.open(root, os.O_RDONLY)
    cut = len(root)
    walked = [[(top[cut:], sorted(dirs), files) for top, dirs, files in os.walk(root, **options)] for options in _WALKS]
    by_fd = [(top, sorted(dirs), files, kind(os.fstat(inner))) for top, dirs, files, inner in os.fwalk(".", dir_fd=fd)]
    by_fd += [(top[cut:], sorted(dirs), files, 0) for top, dirs, files, _ in os.fwalk(root, topdown=False)]
    os.close(fd)
    return [sorted(one) for one in walked], sorted(by_fd)


_WALKS: list[dict[str, bool]] = [{}, {"topdown": False}, {"followlinks": True}]


@probe
def relative_to_a_descriptor(root: str) -> Any:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("d", dir_fd=fd)
    inner = os.open("d", os.O_RDONLY, dir_fd=fd)
    file = os.open("a", os.O_CREAT | os.O_RDWR, 0o600, dir_fd=inner)
    os.write(file, b"12")
    os.close(file)
    os.symlink("a", "l", dir_fd=inner)
    os.link("a", "b", src_dir_fd=inner, dst_dir_fd=fd)
    os.chmod("a", 0o644, dir_fd=inner)
    os.utime("a", (3, 4), dir_fd=inner)
    os.chown("a", -1, -1, dir_fd=inner)
    answers: list[Any] = [
        kind(os.stat("a", dir_fd=inner)),
        os.stat("a", dir_fd=inner).st_mtime,
        os.readlink("l", dir_fd=inner),
    ]
    answers += [kind(os.stat("l", dir_fd=inner, follow_symlinks=False)), os.stat("../b", dir_fd=inner).st_nlink]
    answers += [raised(os.stat, "x", dir_fd=fd), raised(os.rmdir, "d", dir_fd=fd), raised(os.mkfifo, "b", dir_fd=fd)]
    os.unlink("a", dir_fd=inner)
    os.remove("l", dir_fd=inner)
    os.close(inner)
    os.rmdir("d", dir_fd=fd)
    os.rename("b", "c", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    return answers, os.listdir(root), raised(os.stat, "c", dir_fd=fd), raised(os.mknod, "c", dir_fd=99)


@probe
def standing_in_a_folder(root: str) -> Any:
    os.makedirs(f"{root}/d/e")
    before = os.getcwd()
    try:
        os.chdir(f"{root}/d")
        answers: list[Any] = [
            os.getcwd()[len(root) :],
            os.getcwdb()[len(root) :],
            os.listdir(),
            sorted(os.listdir("..")),
        ]
        put("a")
        put("../b")
        fd = os.open("e", os.O_RDONLY)
        os.fchdir(fd)
        answers += [
            os.getcwd()[len(root) :],
            os.path.abspath("x")[len(root) :],
            got("../../b"),
            os.path.realpath("..")[len(root) :],
        ]
        os.close(fd)
        os.chdir(b"..")
        answers += [
            os.getcwd()[len(root) :],
            os.path.relpath(f"{root}/b"),
            raised(os.chdir, "a"),
            raised(os.chdir, "none"),
        ]
        with os.scandir() as found:
            answers.append(sorted(entry.path for entry in found))
    finally:
        os.chdir(before)
    return answers, sorted(os.listdir(root)), os.getcwd() == before
