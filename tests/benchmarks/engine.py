"""The embedded engine beside Google's Firestore emulator, and beside itself with a second writer."""

import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaeport import datastore
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare, nanoseconds, python

START_BUDGET = 0.3  # seconds
_ROUNDS, _CALLS = 31, 20
_WARM = 200  # calls until the emulator's virtual machine has compiled what matters
_ALL = _WARM + _ROUNDS * _CALLS
_KIND, _AT_ONCE = 100_000, 500  # entities of the kind that is queried, and of each commit that fills it
_QUERY_BUDGET = 1 / 4
_PUTS = 2000  # of each process, for the two writers

Work = Callable[[], object]


def measure(options: Options) -> Section:
    """Time get and put by turns on the engine (on disk) and the emulator, the start, and two writers."""
    section = Section(
        "The embedded engine, on disk, by turns with the Firestore emulator",
        ("", "engine, µs", "emulator, µs", "engine / emulator"),
    )
    with application("disk") as root:
        embedded = datastore.client()
        remote = _remote(options.emulator, embedded) if options.emulator else None
        for name, make, budget in _OPERATIONS:
            _compare(section, name, make, budget, embedded, remote)
        _compare_queries(section, embedded, remote)
        _add_start(section)
        _add_writers(section, root)
    return section


def _get(client: Client) -> Work:
    key = client.key("Bench", uuid.uuid4().hex)
    client.commit([wire.Mutation(upsert=_entity(key, indexed=False))])
    return lambda: client.lookup([key])


def _put(client: Client, count: int, *, indexed: bool) -> Work:
    """Return what puts one of `count` new entities, made beforehand, each time it is called."""
    keys = (client.key("Bench", uuid.uuid4().hex) for _ in range(count))
    waiting = [wire.Mutation(upsert=_entity(key, indexed=indexed)) for key in keys]
    return lambda: client.commit([waiting.pop()])


_OPERATIONS: tuple[tuple[str, Callable[[Client], Work], float], ...] = (
    ("get", _get, 1 / 8),
    ("put, nothing indexed", lambda client: _put(client, _ALL, indexed=False), 1 / 8),
    ("put, 5 indexed properties", lambda client: _put(client, _ALL, indexed=True), 1 / 3),
)


def _entity(key: Any, *, indexed: bool) -> Any:
    entity = wire.Entity(key=key)
    for number in range(5):
        value = entity.properties[f"property{number}"]
        value.string_value = uuid.uuid4().hex
        value.exclude_from_indexes = not indexed
    return entity


def _remote(host: str, like: Client) -> Client:
    import grpc

    from gaeport.datastore.transport import GrpcTransport

    return Client(GrpcTransport(grpc.insecure_channel(host)), project=like.project, namespace=like.namespace)


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


def _fill(client: Client) -> None:
    """Put a kind of _KIND entities with an indexed number each."""
    for start in range(0, _KIND, _AT_ONCE):
        made = [wire.Entity(key=client.key("Big", start + n + 1)) for n in range(_AT_ONCE)]
        for n, entity in enumerate(made, start):
            entity.properties["number"].integer_value = n % 1000
        client.commit([wire.Mutation(upsert=entity) for entity in made])


def _query(client: Client, *, selective: bool) -> Work:
    query = wire.Query()
    query.kind.add(name="Big")
    query.limit.value = 20
    if selective:
        query.filter.property_filter.property.name = "number"
        query.filter.property_filter.op = wire.EQUAL
        query.filter.property_filter.value.integer_value = 7
    return lambda: list(client.query(query))


def _compare_queries(section: Section, embedded: Client, remote: Client | None) -> None:
    if remote is None:
        return
    for client in (embedded, remote):
        _fill(client)
    for name, selective in (("20 of a kind", False), ("20 that a filter finds", True)):
        works = [_query(client, selective=selective) for client in (remote, embedded)]
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
from tests.benchmarks.engine import _put
work = _put(datastore.client(), {_PUTS} + 1, indexed=False)
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
    section.add("puts a second, two writer processes", f"{two:.0f} /s", "", f"{two / one:.2f} of one writer's")


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
