"""Two instances take turns: what either of them did the other sees, as two programs do on one folder of the disk.

Nothing stays open from one operation to the next. GAEPORT_SEQUENCES=n tries n sequences, GAEPORT_SEED is the first.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaeport.blobs.object_cloud import CloudObjects
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import MemoryObjects
from gaeport.blobs.objects import ObjectStore
from gaeport.fs import mounts
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests import storage_server

SEQUENCES = int(os.environ.get("GAEPORT_SEQUENCES", "12"))
SEED = int(os.environ.get("GAEPORT_SEED", "1"))
STEPS = 40
NAMES = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/f", "l", "l/a", "f%2F", "ä #?*[]", "f.png"]
MODES = ["rb", "r+b", "wb", "ab", "xb", "a+b", "w+b"]


def write(folder: str, rng: random.Random) -> Any:
    with open(f"{folder}/{rng.choice(NAMES)}", rng.choice(MODES)) as file:
        for _ in range(rng.randrange(4)):
            step = rng.choice(["write", "read", "seek", "truncate", "flush"])
            if step == "write":
                file.write(rng.randbytes(rng.randrange(30)))
            elif step == "read":
                if "+" in file.mode or "r" in file.mode:
                    file.read(rng.randrange(20))
            elif step == "seek":
                file.seek(rng.randrange(30))
            elif step == "truncate" and file.mode != "rb":
                file.truncate(rng.randrange(40))
            elif step == "flush":
                file.flush()
        return file.tell()


def read(folder: str, rng: random.Random) -> Any:
    return Path(folder, rng.choice(NAMES)).read_bytes()


def unlink(folder: str, rng: random.Random) -> Any:
    os.unlink(f"{folder}/{rng.choice(NAMES)}")


def rename(folder: str, rng: random.Random) -> Any:
    os.replace(f"{folder}/{rng.choice(NAMES)}", f"{folder}/{rng.choice(NAMES)}")


def mkdir(folder: str, rng: random.Random) -> Any:
    os.mkdir(f"{folder}/{rng.choice(NAMES)}")


def rmdir(folder: str, rng: random.Random) -> Any:
    os.rmdir(f"{folder}/{rng.choice(NAMES)}")


def symlink(folder: str, rng: random.Random) -> Any:
    os.symlink(rng.choice(["d", "a", "../a", "e/f", "nowhere", "l"]), f"{folder}/{rng.choice(NAMES)}")


def chmod(folder: str, rng: random.Random) -> Any:
    os.chmod(f"{folder}/{rng.choice(NAMES)}", 0o600 | rng.randrange(64))


def utime(folder: str, rng: random.Random) -> Any:
    os.utime(f"{folder}/{rng.choice(NAMES)}", ns=(rng.randrange(10**17), rng.randrange(10**17)))


def truncate(folder: str, rng: random.Random) -> Any:
    os.truncate(f"{folder}/{rng.choice(NAMES)}", rng.randrange(50))


def rmtree(folder: str, rng: random.Random) -> Any:
    shutil.rmtree(f"{folder}/{rng.choice(NAMES)}")


def copy(folder: str, rng: random.Random) -> Any:
    shutil.copy2(f"{folder}/{rng.choice(NAMES)}", f"{folder}/{rng.choice(NAMES)}")


def list_it(folder: str, rng: random.Random) -> Any:
    return sorted(os.listdir(f"{folder}/{rng.choice(NAMES)}"))


def stat_it(folder: str, rng: random.Random) -> Any:
    found = os.stat(f"{folder}/{rng.choice(NAMES)}")
    return found.st_mode, found.st_size if found.st_mode & 0o100000 else 0


OPERATIONS: list[Callable[[str, random.Random], Any]] = [
    *[write] * 6,
    *[rename] * 4,
    *[mkdir] * 2,
    *(read, unlink, rmdir, symlink, chmod, utime, truncate, rmtree, copy, list_it, stat_it),
]


def outcome(operation: Callable[[str, random.Random], Any], folder: str, seed: int) -> Any:
    try:
        return operation(folder, random.Random(seed))
    except shutil.Error as error:
        return "shutil.Error", str(error).replace(folder, "")
    except OSError as error:
        return type(error).__name__, error.errno


def tree(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        set_time = status.st_mtime_ns if status.st_mtime_ns < 10**17 and path.is_file() else 0
        found[str(path)[len(folder) :]] = (oct(status.st_mode), set_time, content)
    return found


@pytest.fixture(params=["memory", "folder", "losing server"])
def objects(
    request: pytest.FixtureRequest, application: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjects()
    elif request.param == "folder":
        yield FolderObjects(tmp_path / "pictures")
    else:
        yield from losing(monkeypatch)


def losing(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    rng = random.Random(SEED)
    with storage_server.in_use(monkeypatch, 0.001) as bucket:
        bucket.lose = lambda call: rng.random() < 0.2
        yield CloudObjects(bucket.name)


def test_two_instances_see_what_two_programs_see(application: Path, objects: ObjectStore) -> None:
    folders = [application / "first", application / "other"]
    for folder in folders:
        folder.mkdir()
        volume = GcsVolume(Tree(objects, Names("pictures", "media/"), str(folder), overlay=True))
        mounts.attach(str(folder), volume)
    for seed in range(SEED, SEED + SEQUENCES):
        play(seed, str(application / "disk"), [str(folder) for folder in folders])


def play(seed: int, real: str, ours: list[str]) -> None:
    rng, done = random.Random(seed), [f"seed {seed}"]
    for folder in (real, ours[0]):
        os.makedirs(f"{folder}/s/d/e")
        for name in ("a", "d/a", "d/e/f"):
            Path(folder, "s", name).write_bytes(name.encode())
    for _ in range(STEPS):
        operation, number, folder = rng.choice(OPERATIONS), rng.randrange(2**32), rng.choice(ours)
        expected, found = (outcome(operation, f"{where}/s", number) for where in (real, folder))
        done.append(f"{folder[-5:]} {operation.__name__} {number}: {expected}"[:300])
        assert found == expected, "\n".join(done)
    for folder in ours:
        assert tree(f"{folder}/s") == tree(f"{real}/s"), "\n".join(done)
    shutil.rmtree(f"{real}/s")
    shutil.rmtree(f"{rng.choice(ours)}/s")
    for folder in ours:
        with pytest.raises(FileNotFoundError) as caught:
            os.listdir(f"{folder}/s")
        assert caught.value.errno == errno.ENOENT
