"""The file operations whose calls have a budget, as an application writes them; tests/test_budgets.py holds them."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gaeport import fs, meter
from gaeport.datastore import wire

LISTED = 7  # files in the listed directory
REMOVED_FILES, REMOVED_DIRECTORIES = 24, 3  # in the removed tree
LARGE = 3 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: as the table prints it.
        budget: Datastore calls at most (docs/benchmarks.md); for a listing, of which the Lookup that finds the
            directory is no part, queries at most.
        prepare: makes what the operation needs, in the mounted folder; not counted.
        act: the operation itself; counted.
        only: the call that the budget is for; "" for all.
        missed: why the budget is not kept yet; "" where it is.
    """

    name: str
    budget: int
    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    only: str = ""
    missed: str = ""

    def spent(self, calls: dict[str, int]) -> int:
        """Return how much of the budget these calls are."""
        return calls.get(self.only, 0) if self.only else sum(calls.values())


def counted(operation: Operation, mount: Path) -> dict[str, int]:
    """Run an operation once in a folder of its own in the mount, and return its calls by name."""
    folder = mount / operation.name.replace("/", "-").replace(" ", "_")
    folder.mkdir()
    operation.prepare(folder)
    _settle(folder)
    with meter.measure() as counts:
        operation.act(folder)
    return {name: count for name, count in counts.calls.items() if name in wire.METHODS}  # blobs come on top


def _settle(folder: Path) -> None:
    """Write the directory times that wait, which else a timer does during the counting; look at the folder."""
    for mount in fs.paths.mounts():
        mount.volume.commit_all()
    folder.stat()


def _file(folder: Path) -> None:
    (folder / "file").write_bytes(b"some content")


def _files(folder: Path) -> None:
    for number in range(LISTED):
        (folder / f"file{number}").write_bytes(b"x")


def _tree(folder: Path) -> None:
    directories = [folder / "tree", *(folder / "tree" / f"sub{n}" for n in range(REMOVED_DIRECTORIES - 1))]
    for directory in directories:
        directory.mkdir()
    for number in range(REMOVED_FILES):
        (directories[number % REMOVED_DIRECTORIES] / f"file{number}").write_bytes(b"x")


def _full_directory(folder: Path) -> None:
    (folder / "old").mkdir()
    _files(folder / "old")


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


def _nothing(folder: Path) -> None:
    pass


_REMOVAL = REMOVED_DIRECTORIES + 1 + 4 * REMOVED_DIRECTORIES  # Σ⌈nᵢ/300⌉ + ⌈n/500⌉ + 4d

OPERATIONS = (
    Operation("os.stat", 1, _file, lambda folder: os.stat(folder / "file")),
    Operation("os.path.exists, there", 1, _file, lambda folder: os.path.exists(folder / "file")),
    Operation("os.path.exists, not there", 1, _nothing, lambda folder: os.path.exists(folder / "file")),
    Operation("os.path.getsize", 1, _file, lambda folder: os.path.getsize(folder / "file")),
    Operation("open and read, small", 1, _file, lambda folder: _read(folder / "file")),
    Operation("write a new small file", 2, _nothing, lambda folder: _write(folder / "file", "wb")),
    Operation("replace a small file", 2, _file, lambda folder: _write(folder / "file", "wb")),
    Operation("append, small", 2, _file, lambda folder: _write(folder / "file", "ab")),
    Operation("exclusive create", 3, _nothing, lambda folder: _write(folder / "file", "xb")),
    Operation(f"write {LARGE >> 20} MiB", 3, _nothing, lambda folder: _write(folder / "file", "wb", bytes(LARGE))),
    Operation(f"os.listdir of {LISTED}", 1, _files, lambda folder: os.listdir(folder), "RunQuery"),
    Operation(f"os.scandir of {LISTED}, stat of each", 1, _files, _scan, "RunQuery"),
    Operation("os.mkdir", 2, _nothing, lambda folder: os.mkdir(folder / "made")),
    Operation("os.rename of a file", 2, _file, lambda folder: os.rename(folder / "file", folder / "other")),
    Operation("os.rename of a directory", 2, _full_directory, lambda folder: os.rename(folder / "old", folder / "new")),
    Operation("os.unlink", 2, _file, lambda folder: os.unlink(folder / "file")),
    Operation("os.rmdir", 4, lambda folder: os.mkdir(folder / "made"), lambda folder: os.rmdir(folder / "made")),
    Operation(
        f"shutil.rmtree, {REMOVED_FILES} files in {REMOVED_DIRECTORIES} directories",
        _REMOVAL,
        _tree,
        lambda folder: shutil.rmtree(folder / "tree"),
    ),
)
