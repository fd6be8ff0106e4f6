"""The file operations whose calls have a budget, as an application writes them; tests/test_budgets.py holds them."""

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gaeport import meter
from gaeport.datastore import wire
from gaeport.datastore.client import BATCH
from gaeport.fs.datastore.removals import BATCH as REMOVED_AT_ONCE
from gaeport.fs.datastore.storage import CHUNK, LEAST_NAMES, SPILL, WITH_COMMIT
from gaeport.fs.patching import paths

FEW, MANY = 7, 650  # files in a listed directory
MOVED = 1000  # files in a moved directory
REMOVED_FILES, REMOVED_DIRECTORIES = (24, 1300), (3, 4)  # in each removed tree
LARGE, VERY_LARGE = 3 << 20, 40 << 20  # bytes
PIECE = 1 << 20  # bytes of one write


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: as the table prints it.
        budget: Datastore calls at most (docs/benchmarks.md).
        prepare: makes what the operation needs, in the mounted folder; not counted.
        act: the operation itself; counted.
        shown: the budget as the table prints it, where it is more than the number.
        chunks: commits that come on top where chunk entities stand in for blobs.
        missed: why the budget is not kept yet; "" where it is.
    """

    name: str
    budget: int
    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    shown: str = ""
    chunks: int = 0
    missed: str = ""

    def spent(self, calls: dict[str, int]) -> int:
        """Return how much of the budget these calls are: those of Datastore."""
        return sum(count for name, count in calls.items() if name in wire.METHODS)


def counted(operation: Operation, mount: Path) -> dict[str, int]:
    """Run an operation once in a folder of its own in the mount, and return its calls by name, blobs included."""
    folder = mount / operation.name.replace("/", "-").replace(" ", "_")
    folder.mkdir()
    operation.prepare(folder)
    _settle(folder)
    with meter.measure() as counts:
        operation.act(folder)
    return dict(counts.calls)


def _settle(folder: Path) -> None:
    """Write the directory times that wait, which else a timer does during the counting; look at the folder."""
    for mount in paths.mounts():
        mount.volume.commit_all()
    folder.stat()


def _file(folder: Path) -> None:
    (folder / "file").write_bytes(b"some content")


def _two_files(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(b"x")


def _large_file(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(LARGE))


def _beside(folder: Path) -> None:
    (folder.parent.parent / "plain").mkdir()


def _files(number: int) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        for n in range(number):
            (folder / f"file{n}").write_bytes(b"x")

    return prepare


def _tree(files: int, directories: int) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        made = [folder / "tree", *(folder / "tree" / f"sub{n}" for n in range(directories - 1))]
        for directory in made:
            directory.mkdir()
        for number in range(files):
            (made[number % directories] / f"file{number}").write_bytes(b"x")

    return prepare


def _full_directory(number: int) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        (folder / "old").mkdir()
        (folder / "parent").mkdir()
        _files(number)(folder / "old")

    return prepare


def _write(path: Path, mode: str, data: bytes = b"new content") -> None:
    with open(path, mode) as file:
        file.write(data)


def _read(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _scan(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()


def _outside(folder: Path) -> None:
    """Use what lies beside the mount, in the same real folder."""
    plain = folder.parent.parent / "plain"
    (plain / "file").write_bytes(b"x")
    os.stat(plain / "file")
    os.listdir(plain)
    os.rename(plain / "file", plain / "other")
    shutil.rmtree(plain)


def _nothing(folder: Path) -> None:
    pass


def _listing(name: str, number: int, act: Callable[[Path], object]) -> Operation:
    queries = math.ceil(number / BATCH)
    budget = f"≤ 1 Lookup + ⌈n/{BATCH}⌉ = {1 + queries}"
    return Operation(name.format(number), 1 + queries, _files(number), act, budget)


def _removal(files: int, directories: int) -> Operation:
    """Removing n files in d directories: at most Σ⌈nᵢ/300⌉ queries + ⌈n/500⌉ + 4d calls."""
    in_each = [len(range(number, files, directories)) for number in range(directories)]
    queries = sum(math.ceil(count / BATCH) for count in in_each)
    return Operation(
        f"shutil.rmtree, {files} files in {directories} directories",
        queries + math.ceil(files / REMOVED_AT_ONCE) + 4 * directories,
        _tree(files, directories),
        lambda folder: shutil.rmtree(folder / "tree"),
    )


def _to_other_parent(folder: Path) -> None:
    os.rename(folder / "old", folder / "parent" / "new")


def _large(size: int) -> Operation:
    return Operation(
        f"write {size >> 20} MiB",
        3,
        _nothing,
        lambda folder: _stream(folder / "file", size),
        "≤ 3 + blobs",
        _chunk_commits(size),
    )


def _chunk_commits(size: int) -> int:
    """Return how many commits of chunks stand in for the blobs of a stream; each doubling of their names is one."""
    whole, rest = divmod(size, SPILL)
    doublings = math.ceil(math.log2(max(1, size / CHUNK / LEAST_NAMES)))
    return whole * math.ceil(SPILL / WITH_COMMIT) + math.ceil(rest / WITH_COMMIT) + doublings


def _stream(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.writelines(bytes(PIECE) for _ in range(size // PIECE))


OPERATIONS = (
    Operation("os.stat", 1, _file, lambda folder: os.stat(folder / "file")),
    Operation("os.path.exists, there", 1, _file, lambda folder: os.path.exists(folder / "file")),
    Operation("os.path.exists, not there", 1, _nothing, lambda folder: os.path.exists(folder / "file")),
    Operation("os.path.isfile", 1, _file, lambda folder: os.path.isfile(folder / "file")),
    Operation("os.path.getsize", 1, _file, lambda folder: os.path.getsize(folder / "file")),
    Operation("open and read, small", 1, _file, lambda folder: _read(folder / "file")),
    Operation("write a new small file", 2, _nothing, lambda folder: _write(folder / "file", "wb")),
    Operation("replace a small file", 2, _file, lambda folder: _write(folder / "file", "wb")),
    Operation("append, small", 2, _file, lambda folder: _write(folder / "file", "ab")),
    Operation("append, small, to 3 MiB", 2, _large_file, lambda folder: _write(folder / "file", "ab")),
    Operation("exclusive create", 3, _nothing, lambda folder: _write(folder / "file", "xb")),
    _large(LARGE),
    _large(VERY_LARGE),
    _listing("os.listdir of {}", FEW, lambda folder: os.listdir(folder)),
    _listing("os.listdir of {}", MANY, lambda folder: os.listdir(folder)),
    _listing("os.scandir of {}, stat of each", FEW, _scan),
    _listing("os.scandir of {}, stat of each", MANY, _scan),
    Operation("os.mkdir", 2, _nothing, lambda folder: os.mkdir(folder / "made")),
    Operation("os.rename of a file", 2, _file, lambda folder: os.rename(folder / "file", folder / "other")),
    Operation("os.replace of a file by another", 2, _two_files, lambda folder: os.replace(folder / "a", folder / "b")),
    Operation(
        f"os.rename of a directory of {FEW}",
        2,
        _full_directory(FEW),
        lambda folder: os.rename(folder / "old", folder / "new"),
    ),
    Operation(
        f"os.rename of a directory of {MOVED}",
        2,
        _full_directory(MOVED),
        lambda folder: os.rename(folder / "old", folder / "new"),
    ),
    Operation(f"os.rename of a directory of {MOVED} to another parent", 2, _full_directory(MOVED), _to_other_parent),
    Operation("os.unlink", 2, _file, lambda folder: os.unlink(folder / "file")),
    Operation("os.rmdir", 4, lambda folder: os.mkdir(folder / "made"), lambda folder: os.rmdir(folder / "made")),
    *(_removal(files, directories) for files, directories in zip(REMOVED_FILES, REMOVED_DIRECTORIES, strict=True)),
    Operation("write, stat, list, rename, rmtree outside every mount", 0, _beside, _outside),
)
