"""Large files copied into a mount and out of it: speed, and memory over what the process had before.

Each pair runs in a fresh process, whose memory is read from outside, in the system's own books.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gaeport
from tests.benchmarks import memory
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section

MEMORY_BUDGET = 64 * memory.MIB
BUCKET = "copies"
_PIECE = 1 << 20  # bytes of one read in the loop

_PROGRAM = "import sys; from tests.benchmarks import copies; copies.run(*sys.argv[1:])"


def measure(options: Options) -> Section:
    """Copy by shutil and by a loop over open(), in and out, to a folder of blobs and to a Cloud Storage server."""
    section = Section(
        f"Copies of {options.copy_bytes >> 20} MiB, each pair in a fresh process",
        ("copy", "content in", "MB/s", "extra peak memory, MiB"),
    )
    for way in WAYS:
        _add(section, way, "a folder (embedded)", options, {})
    with _servers(options) as variables:
        for way in WAYS:
            _add(section, way, "a storage server", options, variables)
    if not memory.LINUX:
        section.notes.append("Memory is not measured on this system.")
    section.notes.append(
        "Memory is the peak of the copying process over what it had before the first, after small copies of the same "
        "kind. The storage server runs on the same machine."
    )
    return section


def _add(section: Section, way: str, content: str, options: Options, variables: dict[str, str]) -> None:
    size = options.copy_bytes
    for direction, seconds, extra in _copied(way, size, variables):
        kept = None if extra is None else extra <= MEMORY_BUDGET
        shown = "" if extra is None else f"{extra / memory.MIB:.0f}"
        speed = f"{size / 1e6 / seconds:.0f}"
        budget = f"≤ {MEMORY_BUDGET >> 20} MiB"
        section.add(f"{direction}, {way}", content, speed, shown, budget=budget, kept=kept)


def _copied(way: str, size: int, variables: dict[str, str]) -> Iterator[tuple[str, float, int | None]]:
    """Let a process copy in and out; yields direction, seconds and extra bytes of each."""
    command = [sys.executable, "-c", _PROGRAM, way, str(size)]
    environment = os.environ | variables
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = 0
        for direction in ("in", "out"):
            _expect("ready", process.stdout.readline())
            before = min(_begin(process.pid), before) or _begin(process.pid)
            process.stdin.write("go\n")
            process.stdin.flush()
            word, _, seconds = process.stdout.readline().partition(" ")
            _expect("copied", word)
            yield direction, float(seconds), memory.peak_of(process.pid) - before if before else None
        _expect("same", process.stdout.readline())


def _begin(pid: int) -> int:
    """Let a process's peak begin anew, and return it: what is resident now. 0: it cannot be told here."""
    if not memory.LINUX:
        return 0
    memory.reset_peak_of(pid)
    return memory.peak_of(pid)


def _expect(wanted: str, found: str) -> None:
    if found.strip() != wanted:
        raise RuntimeError(f"the copying process said {found!r} instead of {wanted!r}")


def run(way: str, size: str) -> None:
    """Copy in and out, each when a line comes on the standard input (in a process of its own)."""
    copy = WAYS[way]
    host = os.environ.get("DATASTORE_EMULATOR_HOST", "")
    with application("emulator" if host else "disk", host) as root:
        _make(root / "source", int(size))
        gaeport.mount("uploads", name=f"copies-{os.getpid()}", bucket=BUCKET)
        (root / "warm").write_bytes(bytes(_PIECE))
        copy(root / "warm", root / "uploads" / "warm")
        copy(root / "uploads" / "warm", root / "warm")
        _when_told(lambda: copy(root / "source", root / "uploads" / "large"))
        _when_told(lambda: copy(root / "uploads" / "large", root / "target"))
        _say("same" if _same(root / "source", root / "target") else "different")
        (root / "uploads" / "large").unlink()


def _when_told(work: Callable[[], object]) -> None:
    _say("ready")
    sys.stdin.readline()
    start = time.perf_counter()
    work()
    _say(f"copied {time.perf_counter() - start}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def _servers(options: Options) -> Iterator[dict[str, str]]:
    """Run a Datastore (where there is no emulator) and a storage server; yields the variables that name them."""
    from tests.benchmarks.peers import datastore_server
    from tests.emulators import cloud_storage, make_bucket

    with application("disk") as root, datastore_server(options, root) as host:
        objects = root / "objects"
        objects.mkdir()
        with cloud_storage(root / "storage.log", folder=objects) as url:
            make_bucket(url, BUCKET)
            yield {"DATASTORE_EMULATOR_HOST": host, "STORAGE_EMULATOR_HOST": url}


def _loop(source: Path, target: Path) -> None:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while data := reader.read(_PIECE):
            writer.write(data)


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "shutil.copyfile": lambda source, target: shutil.copyfile(source, target),
    "open() loop": _loop,
}


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
