"""Large files copied into a mount and out of it: speed, and memory over what the process had before."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import gaeport
from tests.benchmarks import memory
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import python

MEMORY_BUDGET = 64 * memory.MIB
_PIECE = 1 << 20  # bytes of one read in the loop

_PROGRAM = "import sys; from tests.benchmarks import copies; copies.run({way!r}, {size})"


def measure(options: Options) -> Section:
    """Copy by shutil and by a loop over open(), in and out, each in a fresh process."""
    size = options.copy_bytes
    section = Section(
        f"Copies of {size >> 20} MiB, embedded on disk, each pair in a fresh process",
        ("copy", "MB/s", "extra peak memory, MiB"),
    )
    for way in WAYS:
        for direction, seconds, extra in json.loads(python(_PROGRAM.format(way=way, size=size), folder=ROOT)):
            section.add(
                f"{direction}, {way}",
                f"{size / 1e6 / seconds:.0f}",
                f"{extra / memory.MIB:.0f}",
                budget=f"≤ {MEMORY_BUDGET >> 20} MiB",
                kept=extra <= MEMORY_BUDGET,
            )
    return section


def run(way: str, size: int) -> None:
    """Copy in and out and print [direction, seconds, extra bytes] of each as JSON (in a process of its own)."""
    copy = WAYS[way]
    with application("disk") as root:
        _make(root / "source", size)
        gaeport.mount("uploads")
        (root / "uploads" / "first").write_bytes(b"")
        copy(root / "uploads" / "first", root / "warm")
        found = [
            ("in", *_measured(copy, root / "source", root / "uploads" / "large")),
            ("out", *_measured(copy, root / "uploads" / "large", root / "target")),
        ]
        if not _same(root / "source", root / "target"):
            raise RuntimeError("the copy differs")
    print(json.dumps(found))  # noqa: T201  # read by the process that started this one


def _measured(copy: Callable[[Path, Path], object], source: Path, target: Path) -> tuple[float, int]:
    memory.reset_peak()
    before = memory.peak()
    start = time.perf_counter()
    copy(source, target)
    return time.perf_counter() - start, memory.peak() - before


def _loop(source: Path, target: Path) -> None:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while data := reader.read(_PIECE):
            writer.write(data)


WAYS: dict[str, Callable[[Path, Path], object]] = {"shutil.copyfile": shutil.copyfile, "open() loop": _loop}


def _make(path: Path, size: int) -> None:
    piece = bytes(range(256)) * (_PIECE // 256)
    with open(path, "wb") as file:
        file.writelines(number.to_bytes(8, "big") + piece[8:] for number in range(size // _PIECE))


def _same(one: Path, other: Path) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        while True:
            data = first.read(_PIECE)
            if data != second.read(_PIECE):
                return False
            if not data:
                return True
