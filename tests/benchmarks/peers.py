"""gaeport's files beside gcsfs, cloudpathlib and smart_open: the same work on the same storage server."""

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import gaeport
from gaeport.errors import ConfigurationError
from tests.benchmarks import proxy
from tests.benchmarks.contenders import BUCKET, INSTALL, Contender, Gaeport, missing, peers, settled
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.server import served

FILES, SIZE = 200, 2048  # small files, and bytes of each
MOVED = 100  # files in the renamed folder
APPENDS = 10
LARGE = 64 << 20  # bytes
ROUNDS = 3  # after one that only warms up

DATASTORE, OBJECTS = "gaeport", 'gaeport, store="gcs"'

Work = Callable[[Contender, Path], object]


class Spent(NamedTuple):
    """What one contender needed for one line: seconds and calls."""

    seconds: float
    calls: int


def measure(options: Options) -> Section:
    """Let each contender do every line by turns."""
    store = "the Firestore emulator" if options.emulator else "gaeport datastore (no emulator)"
    section = Section(
        f"The same work beside others, one storage server; gaeport's entities on {store}", ("work, ms and calls",)
    )
    with application("disk") as root, datastore_server(options, root) as host, _storage(root) as url:
        os.environ["STORAGE_EMULATOR_HOST"] = url
        try:
            found = _in_environment(host, url)
        finally:
            del os.environ["STORAGE_EMULATOR_HOST"]
    titles = list(dict.fromkeys(title for title, _ in found))
    section.columns = ("work: ms, calls", *titles)
    for line, _ in LINES:
        section.add(line, *(_cell(found[title, line]) for title in titles))
    _add_notes(section, titles)
    return section


def _in_environment(host: str, url: str) -> dict[tuple[str, str], list[Spent]]:
    found: dict[tuple[str, str], list[Spent]] = {}
    with application("emulator", host) as root:
        (root / "large").write_bytes(os.urandom(LARGE))
        (root / "out").mkdir()
        mounts = _mounted()
        for number in range(ROUNDS + 1):
            ours = [Gaeport(title, root / mount / f"round{number}") for title, mount in mounts.items()]
            for contender in (*ours, *peers(f"round{number}", url)):
                for line, spent in _all_lines(contender, root, url):
                    if number:
                        found.setdefault((contender.title, line), []).extend(spent)
    return found


def _mounted() -> dict[str, str]:
    """Mount a folder of each kind that this release has; returns the folders by the contenders' titles."""
    gaeport.mount("uploads", name=f"bench-{os.getpid()}", bucket=BUCKET, prefix="gaeport/")
    mounts = {DATASTORE: "uploads"}
    with suppress(ConfigurationError):  # told in a note
        gaeport.mount("objects", store="gcs", bucket=BUCKET, prefix="objects/")
        mounts[OBJECTS] = "objects"
    return mounts


def _all_lines(contender: Contender, root: Path, url: str) -> Iterator[tuple[str, list[Spent]]]:
    for line, work in LINES:
        contender.refresh()
        before, start = _requests(url), time.perf_counter()
        try:
            calls = settled(lambda work=work: work(contender, root))  # type: ignore[misc]
        except NotImplementedError:
            yield line, []
            continue
        seconds = time.perf_counter() - start
        yield line, [Spent(seconds, calls + _requests(url) - before)]


def _cell(spent: list[Spent]) -> str:
    if not spent:
        return "-"
    seconds = statistics.median(one.seconds for one in spent)
    return f"{seconds * 1000:.0f}, {max(one.calls for one in spent):,}"


def _add_notes(section: Section, titles: list[str]) -> None:
    if missing():
        section.notes.append(f"Left out: {', '.join(missing())}; {INSTALL} gets them.")
    if OBJECTS not in titles:
        section.notes.append(f"Left out: {OBJECTS}, which this release does not have.")
    section.notes.append(
        "Calls are requests to the storage server, counted at a proxy before it, and calls to Datastore, counted at "
        "the channel. Each line begins without anything remembered. A dash: there is no such function."
    )
    section.notes.append(
        "An append by gcsfs and smart_open reads the whole and writes it anew; two at once lose one. So does "
        "cloudpathlib's. A folder's rename takes the others a call or more for each file, and is not atomic."
    )


# The lines


def _write(contender: Contender, root: Path) -> None:
    for number in range(FILES):
        contender.write(f"files/{number}", number.to_bytes(8, "big") * (SIZE // 8))


def _read(contender: Contender, root: Path) -> None:
    for number in range(FILES):
        if contender.read(f"files/{number}") != number.to_bytes(8, "big") * (SIZE // 8):
            raise RuntimeError(f"{contender.title} read something else")


def _stat(contender: Contender, root: Path) -> None:
    if {contender.size(f"files/{number}") for number in range(FILES)} != {SIZE}:
        raise RuntimeError(f"{contender.title} told a wrong size")


def _list(contender: Contender, root: Path) -> None:
    if len(contender.list("files")) != FILES:
        raise RuntimeError(f"{contender.title} listed something else")


def _append(contender: Contender, root: Path) -> None:
    for _ in range(APPENDS):
        contender.append("files/0", b"one more line of a hundred bytes".ljust(100))


def _rename(contender: Contender, root: Path) -> None:
    contender.rename("files/0", "files/renamed")


def _fill(contender: Contender, root: Path) -> None:
    for number in range(MOVED):
        contender.write(f"folder/{number}", b"x" * SIZE)


def _rename_folder(contender: Contender, root: Path) -> None:
    contender.rename_folder("folder", "moved")


def _copy_in(contender: Contender, root: Path) -> None:
    contender.copy_in(root / "large", "large")


def _copy_out(contender: Contender, root: Path) -> None:
    target = root / "out" / contender.title
    contender.copy_out("large", target)
    if target.stat().st_size != LARGE:
        raise RuntimeError(f"{contender.title} copied something else")
    target.unlink()


def _remove(contender: Contender, root: Path) -> None:
    contender.remove_all()


LINES: tuple[tuple[str, Work], ...] = (
    (f"write {FILES} files of {SIZE} bytes", _write),
    (f"read {FILES} files", _read),
    (f"stat {FILES} files", _stat),
    ("list their folder", _list),
    (f"append to a file, {APPENDS} times", _append),
    ("rename a file", _rename),
    (f"write a folder of {MOVED} files", _fill),
    ("rename that folder", _rename_folder),
    (f"copy {LARGE >> 20} MiB in", _copy_in),
    (f"copy {LARGE >> 20} MiB out", _copy_out),
    (f"delete all {FILES + MOVED + 1} files", _remove),
)


# Servers


@contextmanager
def datastore_server(options: Options, root: Path) -> Iterator[str]:
    """Yield "host:port" of the emulator, or of `gaeport datastore` where there is none."""
    if options.emulator:
        yield options.emulator
    else:
        with served(root / "served") as host:
            yield host


@contextmanager
def _storage(root: Path) -> Iterator[str]:
    """Run a storage server with a proxy before it; yields the proxy's URL."""
    from tests.emulators import cloud_storage, free_port, make_bucket

    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.proxy", f"http://127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            with cloud_storage(root / "storage.log", port, url) as direct:
                make_bucket(direct, BUCKET)
                yield url
        finally:
            process.terminate()


def _requests(url: str) -> int:
    with urllib.request.urlopen(f"{url}{proxy.CALLS}", timeout=10) as answer:
        return int(answer.read())
