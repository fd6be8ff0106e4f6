"""`gaeport datastore` as a process of its own beside Google's Firestore emulator: the same client, over gRPC."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gaeport import datastore
from gaeport.datastore.client import Client
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare, nanoseconds
from tests.benchmarks.workloads import Work, fill, get, over_grpc, put, query

_BUDGET = 1.0  # no slower
_ROUNDS, _CALLS = 41, 20
_WARM = 1000  # calls; the emulator's virtual machine goes on compiling for about as long
_ALL = _WARM + _ROUNDS * _CALLS
_KIND, _ENTITIES = "Served", 2000  # the kind that is queried

_OPERATIONS: tuple[tuple[str, Callable[[Client], Work], int], ...] = (
    ("get", get, _WARM),
    ("put, nothing indexed", lambda client: put(client, _ALL, indexed=False), _WARM),
    ("put, 5 indexed properties", lambda client: put(client, _ALL, indexed=True), _WARM),
    (f"query of 20 of a kind of {_ENTITIES:,}", lambda client: query(client, _KIND, selective=False), 100),
    ("query of 2 that a filter finds", lambda client: query(client, _KIND, selective=True), 100),
)


def measure(options: Options) -> Section:
    """Time calls by turns on the server (its data on disk) and the emulator (in memory)."""
    section = Section(
        "gaeport datastore over gRPC, data on disk, by turns with the Firestore emulator",
        ("", "gaeport, µs", "emulator, µs", "gaeport / emulator"),
    )
    if not options.emulator:
        section.notes.append("Not measured without the emulator.")
        return section
    with application("disk") as root, served(root / "served") as host:
        clients = [over_grpc(address, datastore.client()) for address in (options.emulator, host)]
        for client in clients:
            fill(client, _KIND, _ENTITIES)
        for name, make, warm in _OPERATIONS:
            works = [make(client) for client in clients]
            for work in works:
                nanoseconds(work, warm)
            found = compare(*works, rounds=_ROUNDS, calls=_CALLS)
            times = (f"{found.other / 1000:.0f}", f"{found.base / 1000:.0f}", f"{found.ratio:.2f}")
            section.add(name, *times, budget=f"≤ {_BUDGET:.1f}", kept=found.ratio <= _BUDGET)
    return section


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `gaeport datastore`; yields its "host:port"."""
    command = [sys.executable, "-m", "gaeport", "datastore", "--port", "0", "--data", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()
