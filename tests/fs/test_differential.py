"""The same operations on a folder of the disk and on a mounted one: results, errors and trees agree."""

import glob
import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ["a", "b", "c", "d/a", "d/b", "d/e", "d/e/f", "d", "f/..", "a/", "d/", "./b", "d/../c", "g/h", "d/.", "l"]
PLAIN = [name for name in NAMES if "." not in name and not name.endswith("/")]
STEPS = 150

Operation = Callable[[str, random.Random], Any]
OPERATIONS: list[Operation] = []


def operation(function: Operation) -> Operation:
    OPERATIONS.append(function)
    return function


def pick(root: str, rng: random.Random) -> str:
    return os.path.join(root, rng.choice(NAMES))


def shown(status: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(status.st_mode):
        return (status.st_mode,)
    return (status.st_mode, status.st_size, status.st_nlink)


@operation
def write_text(root: str, rng: random.Random) -> Any:
    with open(pick(root, rng), rng.choice(["w", "a", "x", "w+", "a+"])) as file:
        return file.write("line é\n" * rng.randrange(5)), file.tell()


@operation
def write_bytes(root: str, rng: random.Random) -> Any:
    with open(pick(root, rng), rng.choice(["wb", "ab", "xb", "w+b"]), rng.choice([-1, 0, 7])) as file:
        return file.write(rng.randbytes(rng.randrange(40))), file.tell(), file.mode


@operation
def read_text(root: str, rng: random.Random) -> Any:
    with open(pick(root, rng), errors="replace", newline=rng.choice([None, "", "\n"])) as file:
        return file.readline(), file.read()


@operation
def read_bytes(root: str, rng: random.Random) -> Any:
    with open(pick(root, rng), "rb", rng.choice([-1, 0, 3])) as file:
        return file.read(5), file.tell(), file.seek(-1, 2), file.read()


@operation
def update(root: str, rng: random.Random) -> Any:
    with open(pick(root, rng), "r+b") as file:
        position = file.seek(rng.randrange(20))
        file.write(rng.randbytes(3))
        file.seek(0)
        return position, file.read(), file.truncate(rng.randrange(30)), file.tell()


@operation
def wrong_mode(root: str, rng: random.Random) -> Any:
    mode = rng.choice(["rw", "q", "", "rbt", "b", "r"])
    return open(pick(root, rng), mode, rng.choice([-1, 0]), newline=rng.choice([None, "x"])).close()


@operation
def descriptor_write(root: str, rng: random.Random) -> Any:
    flags = rng.choice([os.O_WRONLY, os.O_RDWR]) | rng.choice([0, os.O_CREAT, os.O_CREAT | os.O_EXCL])
    fd = os.open(pick(root, rng), flags | rng.choice([0, os.O_TRUNC, os.O_APPEND]), 0o640)
    try:
        first = os.write(fd, rng.randbytes(4))
        return first, os.lseek(fd, 0, os.SEEK_CUR), shown(os.fstat(fd)), os.ftruncate(fd, rng.randrange(9))
    finally:
        os.close(fd)


@operation
def descriptor_read(root: str, rng: random.Random) -> Any:
    fd = os.open(pick(root, rng), os.O_RDONLY | rng.choice([0, 0, os.O_DIRECTORY, os.O_NOFOLLOW]))
    try:
        return shown(os.fstat(fd)), os.read(fd, 100)
    finally:
        os.close(fd)


@operation
def stat_it(root: str, rng: random.Random) -> Any:
    return shown(os.stat(pick(root, rng), follow_symlinks=rng.choice([True, False])))


@operation
def ask(root: str, rng: random.Random) -> Any:
    path = pick(root, rng)
    functions = (os.path.exists, os.path.isfile, os.path.isdir, os.path.islink, os.path.lexists)
    return [function(path) for function in functions], [os.access(path, mode) for mode in (0, 1, 2, 4)]


@operation
def size(root: str, rng: random.Random) -> Any:
    path = pick(root, rng)
    return None if os.path.isdir(path) else os.path.getsize(path)


@operation
def listdir(root: str, rng: random.Random) -> Any:
    return sorted(os.listdir(pick(root, rng)))


@operation
def listdir_bytes(root: str, rng: random.Random) -> Any:
    return sorted(os.listdir(os.fsencode(pick(root, rng))))


@operation
def scandir(root: str, rng: random.Random) -> Any:
    with os.scandir(pick(root, rng)) as entries:
        found = [
            (e.name, e.is_dir(), e.is_file(follow_symlinks=False), e.is_symlink(), e.path[len(root) :]) for e in entries
        ]
    return sorted(found)


@operation
def mkdir(root: str, rng: random.Random) -> Any:
    return os.mkdir(pick(root, rng), rng.choice([0o777, 0o700]))


@operation
def makedirs(root: str, rng: random.Random) -> Any:
    return os.makedirs(pick(root, rng), exist_ok=rng.choice([True, False]))


@operation
def rmdir(root: str, rng: random.Random) -> Any:
    return os.rmdir(pick(root, rng))


@operation
def removedirs(root: str, rng: random.Random) -> Any:
    path = os.path.join(root, "keep", "x", "y")
    os.makedirs(path, exist_ok=True)
    Path(root, "keep", "file").touch()
    return os.removedirs(path)


@operation
def unlink(root: str, rng: random.Random) -> Any:
    return rng.choice([os.unlink, os.remove])(pick(root, rng))


@operation
def rename(root: str, rng: random.Random) -> Any:
    odd = rng.random() < 0.3  # one fault at a time: which of several is reported is nobody's business
    sources, targets = (NAMES, ["a", "b", "c"]) if odd else (PLAIN, PLAIN)
    source, target = os.path.join(root, rng.choice(sources)), os.path.join(root, rng.choice(targets))
    return rng.choice([os.rename, os.replace])(source, target)


@operation
def link(root: str, rng: random.Random) -> Any:
    source, target = pick(root, rng), pick(root, rng)
    return os.link(source, target)


@operation
def symlink(root: str, rng: random.Random) -> Any:
    return os.symlink(rng.choice(["a", "d", "./a", "nowhere", "l", "d/b"]), pick(root, rng))


@operation
def readlink(root: str, rng: random.Random) -> Any:
    return os.readlink(pick(root, rng))


@operation
def truncate(root: str, rng: random.Random) -> Any:
    return os.truncate(pick(root, rng), rng.randrange(-1, 20))


@operation
def utime(root: str, rng: random.Random) -> Any:
    path = pick(root, rng)
    os.utime(path, ns=(1_000_000_001, 2_000_000_002))
    os.utime(path, (10, 20.5))
    return os.stat(path).st_mtime_ns


@operation
def utime_wrong(root: str, rng: random.Random) -> Any:
    return os.utime(os.path.join(root, "a"), (1, 2), ns=(1, 2))


@operation
def chmod(root: str, rng: random.Random) -> Any:
    path = pick(root, rng)
    os.chmod(path, rng.choice([0o600, 0o755, 0o1700]))
    return shown(os.stat(path))


@operation
def chown(root: str, rng: random.Random) -> Any:
    return os.chown(pick(root, rng), -1, -1)


@operation
def mknod(root: str, rng: random.Random) -> Any:
    return sorted(os.listxattr(pick(root, rng)))


@operation
def walk(root: str, rng: random.Random) -> Any:
    return sorted((top[len(root) :], sorted(dirs), sorted(names)) for top, dirs, names in os.walk(root))


@operation
def fwalk(root: str, rng: random.Random) -> Any:
    return sorted((top[len(root) :], sorted(dirs), sorted(names)) for top, dirs, names, _ in os.fwalk(root))


@operation
def globbing(root: str, rng: random.Random) -> Any:
    pattern = rng.choice(["*", "**", "d/*", "[ab]", "**/f", "*/"])
    return sorted(path[len(root) :] for path in glob.glob(os.path.join(root, pattern), recursive=True))


@operation
def path_glob(root: str, rng: random.Random) -> Any:
    return sorted(str(path)[len(root) :] for path in Path(root).rglob(rng.choice(["*", "a", "d"])))


@operation
def path_touch(root: str, rng: random.Random) -> Any:
    return Path(pick(root, rng)).touch(exist_ok=rng.choice([True, False]))


@operation
def path_resolve(root: str, rng: random.Random) -> Any:
    return str(Path(pick(root, rng)).resolve(strict=rng.choice([True, False])))[len(root) :]


@operation
def copy(root: str, rng: random.Random) -> Any:
    function = rng.choice([shutil.copyfile, shutil.copy, shutil.copy2])
    return function(pick(root, rng), pick(root, rng))[len(root) :]


@operation
def copytree(root: str, rng: random.Random) -> Any:
    return shutil.copytree(os.path.join(root, "d"), os.path.join(root, "t"), symlinks=rng.choice([True, False]))[-1]


@operation
def rmtree(root: str, rng: random.Random) -> Any:
    return shutil.rmtree(os.path.join(root, rng.choice(["d", "t", "a", "l", "nothing"])))


@operation
def move(root: str, rng: random.Random) -> Any:
    return str(shutil.move(pick(root, rng), pick(root, rng)))[len(root) :]


@operation
def relative(root: str, rng: random.Random) -> Any:
    before = os.getcwd()
    os.chdir(root)
    try:
        os.chdir(rng.choice(["d", ".", "d/e", "a"]))
        return os.getcwd()[len(root) :], sorted(os.listdir()), os.path.exists("../a"), os.path.abspath("x")[len(root) :]
    finally:
        os.chdir(before)


@operation
def samefile(root: str, rng: random.Random) -> Any:
    return os.path.samefile(pick(root, rng), pick(root, rng))


@operation
def disk_usage(root: str, rng: random.Random) -> Any:
    return shutil.disk_usage(pick(root, rng)).total > 0


def outcome(function: Operation, root: str, seed: int) -> Any:
    try:
        return function(root, random.Random(seed))
    except shutil.Error as error:
        parts = error.args[0] if isinstance(error.args[0], list) else error.args
        return "shutil.Error", sorted(str(part).replace(root, "") for part in parts)
    except OSError as error:
        names = [str(name).replace(root, "") for name in (error.filename, error.filename2)]
        if function is utime:
            names = []  # the system's own does not say which file it was
        return type(error).__name__, error.errno, names
    except (ValueError, RuntimeError) as error:
        return type(error).__name__, str(error).replace(root, "")
    except TypeError as error:
        return type(error).__name__


def tree(root: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(Path(root).rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)[len(root) :]] = (shown(status), content)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_a_mount_answers_as_the_disk_does(everywhere: Path, beside: Path, seed: int) -> None:
    rng = random.Random(seed)
    for step in range(STEPS):
        function = rng.choice(OPERATIONS)
        number = rng.randrange(2**32)
        expected = outcome(function, str(beside), number)
        found = outcome(function, str(everywhere), number)
        assert found == expected, (step, function.__name__)
        if step % 10 == 9:
            assert tree(str(everywhere)) == tree(str(beside)), step


def test_there_are_at_least_thirty_kinds_of_operation() -> None:
    assert len(OPERATIONS) >= 30
