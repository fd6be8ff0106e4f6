"""The embedded engine beside Google's Firestore emulator, and beside itself with a second writer."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gaeport import datastore
from gaeport.datastore.client import Client
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare, nanoseconds, python
from tests.benchmarks.workloads import Work, fill, get, over_grpc, put, query

START_BUDGET = 0.3  # seconds
_WRITERS_BUDGET = 0.8  # of one writer's puts a second
_NDB_BUDGET = 500_000  # nanoseconds
_ROUNDS, _CALLS = 31, 20
_WARM = 200  # calls until the emulator's virtual machine has compiled what matters
_ALL = _WARM + _ROUNDS * _CALLS
_KIND = 100_000  # entities of the kind that is queried
_QUERY_BUDGET = 1 / 4
_PUTS = 2000  # of each process, for the two writers


def measure(options: Options) -> Section:
    """Time get and put by turns on the engine (on disk) and the emulator, the start, and two writers."""
    section = Section(
        "The embedded engine, on disk, by turns with the Firestore emulator",
        ("", "engine, µs", "emulator, µs", "engine / emulator"),
    )
    with application("disk") as root:
        embedded = datastore.client()
        remote = over_grpc(options.emulator, embedded) if options.emulator else None
        for name, make, budget in _OPERATIONS:
            _compare(section, name, make, budget, embedded, remote)
        _compare_queries(section, embedded, remote)
        _add_ndb(section)
        _add_start(section)
        _add_writers(section, root)
    return section


_OPERATIONS: tuple[tuple[str, Callable[[Client], Work], float], ...] = (
    ("get", get, 1 / 8),
    ("put, nothing indexed", lambda client: put(client, _ALL, indexed=False), 1 / 8),
    ("put, 5 indexed properties", lambda client: put(client, _ALL, indexed=True), 1 / 3),
)


def _compare(
    section: Section,
    name: str,
    make: Callable[[Client], Work],
    budget: float,
    embedded: Client,
    remote: Client | None,
) -> None:
    work = make(embedded)
    if remote is None:
        alone = statistics.median(nanoseconds(work, _CALLS) for _ in range(_ROUNDS))
        section.add(name, f"{alone / 1000:.0f}", "not installed", "", budget=f"≤ 1/{1 / budget:.0f}")
        return
    other = make(remote)
    nanoseconds(other, _WARM)
    found = compare(other, work, rounds=_ROUNDS, calls=_CALLS)
    times = (f"{found.other / 1000:.0f}", f"{found.base / 1000:.0f}")
    section.add(name, *times, f"1/{1 / found.ratio:.1f}", budget=f"≤ 1/{1 / budget:.0f}", kept=found.ratio <= budget)


def _compare_queries(section: Section, embedded: Client, remote: Client | None) -> None:
    if remote is None:
        return
    for client in (embedded, remote):
        fill(client, "Big", _KIND)
    for name, selective in (("20 of a kind", False), ("20 that a filter finds", True)):
        works = [query(client, "Big", selective=selective) for client in (remote, embedded)]
        # Few rounds: the emulator takes up to a second for each.
        found = compare(works[0], works[1], rounds=5, calls=2)
        section.add(
            f"query of {name}, {_KIND:,} entities",
            f"{found.other / 1000:.0f}",
            f"{found.base / 1000:.0f}",
            f"1/{1 / found.ratio:.1f}",
            budget=f"≤ 1/{1 / _QUERY_BUDGET:.0f}",
            kept=found.ratio <= _QUERY_BUDGET,
        )


def _add_ndb(section: Section) -> None:
    from google.cloud import ndb

    class BenchNdb(ndb.Model):  # type: ignore[misc]  # ndb has no types
        text = ndb.TextProperty()

    with datastore.ndb_client().context(cache_policy=False):
        key = BenchNdb(text="x").put()
        found = min(nanoseconds(key.get, _CALLS) for _ in range(_ROUNDS))  # what disturbs only adds
    section.add(
        f"get by google-cloud-ndb, in the process, best of {_ROUNDS}",
        f"{found / 1000:.0f}",
        "",
        "",
        budget=f"≤ {_NDB_BUDGET / 1000:.0f} µs",
        kept=found <= _NDB_BUDGET,
    )


_START = """
import gaeport
client = gaeport.datastore.client()
print(client.lookup([client.key("Bench", "none")]))
"""


def _add_start(section: Section) -> None:
    seconds = []
    for number in range(8):
        start = time.perf_counter()
        python(_START, PYTHONPATH=str(ROOT), GAEPORT_DATA=f"start{number}")  # an empty folder each time
        seconds.append(time.perf_counter() - start)
    found = min(seconds)  # what disturbs only adds
    section.add(
        "start to first answer, interpreter and new data folder included, best of 8",
        f"{found * 1e6:.0f}",
        "",
        "",
        budget=f"≤ {START_BUDGET * 1e6:.0f} µs",
        kept=found <= START_BUDGET,
    )


_WRITER = f"""
import sys
from gaeport import datastore
from tests.benchmarks.workloads import put
work = put(datastore.client(), {_PUTS} + 1, indexed=False)
work()
print("ready", flush=True)
sys.stdin.readline()
for _ in range({_PUTS}):
    work()
"""


def _add_writers(section: Section, root: Path) -> None:
    """Two processes that write into one folder at once, beside one."""
    one, two = (statistics.median(_puts_a_second(root, count) for _ in range(3)) for count in (1, 2))
    section.add("puts a second, one writer process", f"{one:.0f} /s", "", "")
    section.add(
        "puts a second, two writer processes",
        f"{two:.0f} /s",
        "",
        f"{two / one:.2f} of one writer's",
        budget=f"≥ {_WRITERS_BUDGET}",
        kept=two / one >= _WRITERS_BUDGET,
    )


def _puts_a_second(root: Path, count: int) -> float:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER],
            cwd=ROOT,
            env={"PATH": "", "GAEPORT_DATA": str(root / "writers")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for writer in writers:
        assert writer.stdout is not None
        if writer.stdout.readline() != "ready\n":
            raise RuntimeError("a writer process did not start")
    start = time.perf_counter()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    codes = [writer.wait() for writer in writers]
    seconds = time.perf_counter() - start
    for writer in writers:
        writer.communicate()
    if any(codes):
        raise RuntimeError(f"the writer processes ended with {codes}")
    return count * _PUTS / seconds
