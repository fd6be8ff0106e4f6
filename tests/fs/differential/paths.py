"""Operations on paths: what `os`, `os.path` and `pathlib` do."""

import glob
import os
import random
import stat
from pathlib import Path
from typing import Any

from tests.fs.differential.world import NAMES, PLAIN, World, operation, shown


@operation(2)
def stat_it(world: World, rng: random.Random) -> Any:
    return shown(os.stat(world.path(rng), follow_symlinks=rng.choice([True, False])))


@operation()
def lstat(world: World, rng: random.Random) -> Any:
    return shown(os.lstat(world.path(rng)))


@operation()
def ask(world: World, rng: random.Random) -> Any:
    path = world.path(rng)
    functions = (os.path.exists, os.path.isfile, os.path.isdir, os.path.islink, os.path.lexists, os.path.ismount)
    return [function(path) for function in functions]


@operation()
def access(world: World, rng: random.Random) -> Any:
    path = world.path(rng)
    follow = rng.choice([True, False])
    return [os.access(path, mode, follow_symlinks=follow) for mode in (os.F_OK, os.X_OK, os.W_OK, os.R_OK)]


@operation()
def size(world: World, rng: random.Random) -> Any:
    path = world.path(rng)
    return None if os.path.isdir(path) else os.path.getsize(path)


@operation()
def listdir(world: World, rng: random.Random) -> Any:
    return sorted(os.listdir(world.path(rng)))


@operation()
def listdir_bytes(world: World, rng: random.Random) -> Any:
    return sorted(os.listdir(os.fsencode(world.path(rng))))


@operation()
def scandir(world: World, rng: random.Random) -> Any:
    with os.scandir(world.path(rng)) as entries:
        return sorted(
            (e.name, e.is_dir(), e.is_file(follow_symlinks=False), e.is_symlink(), world.short(e.path)) for e in entries
        )


@operation()
def scandir_stat(world: World, rng: random.Random) -> Any:
    folder = rng.choice([world.root, os.path.join(world.root, "d")])
    with os.scandir(folder) as entries:
        found = [
            (e.name, shown(e.stat(follow_symlinks=False)), e.inode() == os.lstat(e.path).st_ino, e.is_file())
            for e in entries
        ]
    return sorted(found)


@operation()
def scandir_descriptor(world: World, rng: random.Random) -> Any:
    fd = os.open(world.path(rng), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(fd) as entries:
            names = sorted((e.name, e.path, e.is_dir(follow_symlinks=False)) for e in entries)
        return names, sorted(os.listdir(fd)), shown(os.fstat(fd))
    finally:
        os.close(fd)


@operation(2)
def mkdir(world: World, rng: random.Random) -> Any:
    return os.mkdir(world.path(rng), rng.choice([0o777, 0o700, 0o1755]))


@operation()
def makedirs(world: World, rng: random.Random) -> Any:
    return os.makedirs(world.path(rng), exist_ok=rng.choice([True, False]))


@operation()
def path_mkdir(world: World, rng: random.Random) -> Any:
    return Path(world.path(rng)).mkdir(parents=rng.choice([True, False]), exist_ok=rng.choice([True, False]))


@operation()
def rmdir(world: World, rng: random.Random) -> Any:
    return os.rmdir(world.path(rng))


@operation()
def removedirs(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, "keep", "x", "y")
    os.makedirs(path, exist_ok=True)
    Path(world.root, "keep", "file").touch()
    return os.removedirs(path)


@operation()
def renames(world: World, rng: random.Random) -> Any:
    Path(world.root, "from").mkdir(exist_ok=True)
    source = os.path.join(world.root, "from", "x")
    Path(source).touch()
    return os.renames(source, world.path(rng, PLAIN))


@operation(2)
def unlink(world: World, rng: random.Random) -> Any:
    return rng.choice([os.unlink, os.remove])(world.path(rng))


@operation()
def path_unlink(world: World, rng: random.Random) -> Any:
    return Path(world.path(rng)).unlink(missing_ok=rng.choice([True, False]))


@operation(3)
def rename(world: World, rng: random.Random) -> Any:
    odd = rng.random() < 0.2  # one fault at a time: which of several is reported is nobody's business
    sources, targets = (NAMES, ["a", "b", "c"]) if odd else (PLAIN, PLAIN)
    source, target = world.path(rng, sources), world.path(rng, targets)
    return rng.choice([os.rename, os.replace])(source, target)


@operation()
def rename_keeps_the_inode(world: World, rng: random.Random) -> Any:
    source, target = world.path(rng, PLAIN), world.path(rng, PLAIN)
    before = os.lstat(source)
    os.rename(source, target)
    after = os.lstat(target)
    return before.st_ino == after.st_ino, before.st_dev == after.st_dev, before.st_mtime_ns == after.st_mtime_ns


@operation()
def link(world: World, rng: random.Random) -> Any:
    source, target = world.path(rng, PLAIN), world.path(rng, PLAIN)
    os.link(source, target)
    return os.lstat(source).st_ino == os.lstat(target).st_ino, os.lstat(target).st_nlink


@operation()
def path_hardlink(world: World, rng: random.Random) -> Any:
    return Path(world.path(rng, PLAIN)).hardlink_to(world.path(rng, PLAIN))


@operation(2)
def symlink(world: World, rng: random.Random) -> Any:
    target = rng.choice(
        ["a", "d", "./a", "nowhere", "l", "d/b", "../a", "..", "d/l", "", "é", os.path.join(world.root, "a")]
    )
    return os.symlink(target, world.path(rng, ["l", "l", "d/l", "c", *NAMES]))


@operation()
def readlink(world: World, rng: random.Random) -> Any:
    path = world.path(rng, ["l", "d/l", *NAMES])
    return world.short(os.readlink(path)), world.short(os.readlink(os.fsencode(path)))


@operation()
def truncate(world: World, rng: random.Random) -> Any:
    return os.truncate(world.path(rng), rng.randrange(-1, 20))


@operation()
def utime(world: World, rng: random.Random) -> Any:
    path = world.path(rng)
    world.sync_all()
    try:
        os.utime(path, ns=(1_000_000_001, rng.randrange(10**12)))
        if rng.random() < 0.5:
            os.utime(path, (10, 20.5))
    except OSError as error:
        return error.errno  # the system's own does not say which file it was
    found = os.stat(path)
    return found.st_mtime_ns, found.st_atime_ns


@operation()
def utime_of_a_link(world: World, rng: random.Random) -> Any:
    path = world.path(rng, ["l", "d/l", "a"])
    world.sync_all()
    try:
        os.utime(path, ns=(5, 6_000_000_007), follow_symlinks=False)
    except OSError as error:
        return error.errno
    return os.lstat(path).st_mtime_ns


@operation()
def utime_wrong(world: World, rng: random.Random) -> Any:
    times: Any = rng.choice([(1, 2), (1,), [1, 2], ("a", 2)])
    return os.utime(os.path.join(world.root, "a"), times, ns=(1, 2))


@operation()
def chmod(world: World, rng: random.Random) -> Any:
    path = world.path(rng)
    os.chmod(path, rng.choice([0o600, 0o755, 0o1700, 0o4755, 0o644]))
    return shown(os.stat(path))


@operation()
def lchmod(world: World, rng: random.Random) -> Any:
    return Path(world.path(rng, ["l", "a", "d"])).chmod(0o640)


@operation()
def chown(world: World, rng: random.Random) -> Any:
    path = world.path(rng, PLAIN)
    os.chown(path, rng.choice([-1, 0, 12]), rng.choice([-1, 13]), follow_symlinks=rng.choice([True, False]))
    found = os.lstat(path)
    return found.st_uid, found.st_gid, oct(found.st_mode)


@operation()
def extended_attributes(world: World, rng: random.Random) -> Any:
    return sorted(os.listxattr(world.path(rng)))


@operation()
def walk(world: World, rng: random.Random) -> Any:
    bottom_up, follow = rng.choice([True, False]), False
    walked = os.walk(world.root, topdown=not bottom_up, followlinks=follow)
    return sorted((world.short(top), sorted(dirs), sorted(names)) for top, dirs, names in walked)


@operation()
def fwalk(world: World, rng: random.Random) -> Any:
    found = []
    for top, dirs, names, fd in os.fwalk(world.root):
        sizes = [os.stat(name, dir_fd=fd, follow_symlinks=False).st_nlink for name in sorted(names)]
        found.append((world.short(top), sorted(dirs), sorted(names), sizes))
    return sorted(found)


@operation()
def globbing(world: World, rng: random.Random) -> Any:
    pattern = rng.choice(["*", "**", "d/*", "[ab]", "**/f", "*/", "l/*", "*/*"])
    if "**" in pattern and world.has_ways_back():
        return None  # it follows them, until there are too many
    if rng.random() < 0.3:
        return sorted(glob.glob(pattern, root_dir=world.root))
    return sorted(world.short(path) for path in glob.glob(os.path.join(world.root, pattern), recursive=True))


@operation()
def path_glob(world: World, rng: random.Random) -> Any:
    folder = Path(world.root)
    found = folder.rglob(rng.choice(["*", "a", "d"])) if rng.random() < 0.5 else folder.glob(rng.choice(["*", "*/a"]))
    return sorted(world.short(path) for path in found)


@operation()
def path_iterdir(world: World, rng: random.Random) -> Any:
    return sorted(world.short(path) for path in Path(world.path(rng)).iterdir())


@operation()
def path_touch(world: World, rng: random.Random) -> Any:
    return Path(world.path(rng)).touch(rng.choice([0o666, 0o600]), exist_ok=rng.choice([True, False]))


@operation()
def path_resolve(world: World, rng: random.Random) -> Any:
    return world.short(Path(world.path(rng)).resolve(strict=rng.choice([True, False])))


@operation()
def realpath(world: World, rng: random.Random) -> Any:
    return world.short(os.path.realpath(world.path(rng), strict=rng.choice([True, False])))


@operation()
def path_texts(world: World, rng: random.Random) -> Any:
    path = Path(world.path(rng))
    if rng.random() < 0.5:
        return path.write_bytes(rng.randbytes(rng.randrange(9))), path.read_bytes()
    return path.write_text("é\r\nb\n", encoding=rng.choice(["utf-8", "latin-1", "utf-16"])), path.read_bytes()


@operation()
def path_kinds(world: World, rng: random.Random) -> Any:
    path = Path(world.path(rng))
    return path.is_file(), path.is_dir(), path.is_symlink(), path.exists(), path.is_mount(), path.is_fifo()


@operation(2)
def by_directory_descriptor(world: World, rng: random.Random) -> Any:
    folder = os.open(rng.choice([world.root, os.path.join(world.root, "d")]), os.O_RDONLY)
    name, other = rng.choice(["a", "b", "e", "../a", "l", "x/../a"]), rng.choice(["b", "c", "n"])
    calls: list[Any] = [
        lambda: shown(os.stat(name, dir_fd=folder)),
        lambda: shown(os.stat(name, dir_fd=folder, follow_symlinks=False)),
        lambda: os.mkdir(other, dir_fd=folder),
        lambda: os.unlink(name, dir_fd=folder),
        lambda: os.rmdir(other, dir_fd=folder),
        lambda: os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder),
        lambda: os.link(name, other, src_dir_fd=folder, dst_dir_fd=folder),
        lambda: os.symlink("a", other, dir_fd=folder),
        lambda: world.short(os.readlink(name, dir_fd=folder)),
        lambda: os.access(name, os.X_OK, dir_fd=folder),
        lambda: os.chmod(name, 0o640, dir_fd=folder),
        lambda: os.close(os.open(name, os.O_RDWR | os.O_CREAT, 0o644, dir_fd=folder)),
        lambda: sorted(os.listdir(folder)),
        lambda: os.replace(name, os.path.join(world.root, other), src_dir_fd=folder),
        lambda: shown(os.stat(folder)),
    ]
    try:
        return rng.choice(calls)()
    finally:
        os.close(folder)


@operation(2)
def relative(world: World, rng: random.Random) -> Any:
    before = os.getcwd()
    os.chdir(world.root)
    try:
        os.chdir(rng.choice(["d", ".", "d/e", "a", "l"]))
        found = sorted(os.listdir()), os.path.exists("../a"), world.short(os.path.abspath("x"))
        with open(rng.choice(["a", "./b", "../c"]), "a") as file:
            file.write("r")
        os.rename(rng.choice(["a", "b"]), rng.choice(["b", "../b"]))
        return world.short(os.getcwd()), found, Path("a").exists()
    finally:
        os.chdir(before)


@operation()
def chdir_by_descriptor(world: World, rng: random.Random) -> Any:
    before = os.getcwd()
    fd = os.open(world.path(rng, ["d", "d/e", "a", "l"]), os.O_RDONLY)
    try:
        os.fchdir(fd)
        return world.short(os.getcwd()), os.fsencode(world.short(os.fsdecode(os.getcwdb()))), sorted(os.listdir("."))
    finally:
        os.close(fd)
        os.chdir(before)


@operation()
def samefile(world: World, rng: random.Random) -> Any:
    return os.path.samefile(world.path(rng), world.path(rng))


@operation()
def statvfs(world: World, rng: random.Random) -> Any:
    found = os.statvfs(world.path(rng))
    return found.f_namemax, found.f_bavail > 0


@operation()
def bytes_paths(world: World, rng: random.Random) -> Any:
    path = os.fsencode(world.path(rng, PLAIN))
    other = os.fsencode(world.path(rng, PLAIN))
    calls: list[Any] = [
        lambda: os.rename(path, other),
        lambda: os.unlink(path),
        lambda: os.mkdir(path),
        lambda: open(path, "ab").close(),
        lambda: os.symlink(b"a", other),
        lambda: shown(os.stat(path)),
        lambda: os.path.exists(path),
    ]
    return rng.choice(calls)()


@operation()
def long_names(world: World, rng: random.Random) -> Any:
    name = rng.choice(["n" * 255, "n" * 256, "é" * 127, "é" * 128])
    path = os.path.join(world.root, name)
    Path(world.root, "long").touch()
    calls: list[Any] = [
        lambda: open(path, "w").close(),
        lambda: os.mkdir(path),
        lambda: os.rename(os.path.join(world.root, "long"), path),
        lambda: os.unlink(path),
        lambda: os.path.exists(path),
        lambda: shown(os.lstat(path)),
    ]
    return rng.choice(calls)()


@operation()
def null_byte(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, "a\0b")
    return rng.choice([os.stat, os.mkdir, os.unlink, os.listdir, open])(path)


@operation()
def empty_name(world: World, rng: random.Random) -> Any:
    return rng.choice([os.stat, os.mkdir, os.unlink, os.listdir, open, os.rmdir, os.chdir])("")


@operation(2)
def times_of_what_changes(world: World, rng: random.Random) -> Any:
    """Which times in the whole tree does a change of names or content move?"""
    world.sync_all()
    everything = [world.root, *(str(path) for path in Path(world.root).rglob("*") if not path.is_symlink())]
    for path in everything:
        os.utime(path, ns=(7, 7))
    source, target = world.path(rng, PLAIN), world.path(rng, PLAIN)
    calls: list[Any] = [
        lambda: os.rename(source, target),
        lambda: os.unlink(source),
        lambda: os.mkdir(target),
        lambda: os.rmdir(target),
        lambda: os.symlink("a", target),
        lambda: os.link(source, target),
        lambda: open(target, "a").close(),
        lambda: open(target, "w").close(),
        lambda: open(target).close(),
        lambda: os.chmod(target, 0o755),
        lambda: os.truncate(target, 3),
        lambda: os.close(os.open(target, os.O_RDWR)),
        lambda: os.close(os.open(target, os.O_RDWR | os.O_TRUNC)),
        lambda: sorted(os.listdir(target)),
    ]
    try:
        failed = rng.choice(calls)()
    except OSError as error:
        failed = error.errno
    moved = [world.short(path) for path in everything if os.path.lexists(path) and os.lstat(path).st_mtime_ns != 7]
    for path in everything:
        if os.path.lexists(path):
            os.utime(path, ns=(8, 8), follow_symlinks=False)
    return failed, moved


@operation()
def links_of_a_directory(world: World, rng: random.Random) -> Any:
    found = os.stat(world.path(rng))
    return stat.filemode(found.st_mode), found.st_nlink > 0, found.st_ino > 0, found.st_blksize > 0, found.st_rdev
