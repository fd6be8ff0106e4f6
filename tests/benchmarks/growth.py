"""What the embedded engine costs when there is much in it: time of a get, and memory of the process."""

import random
from collections.abc import Callable
from pathlib import Path

from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from tests.benchmarks.memory import LINUX, MIB
from tests.benchmarks.options import ROOT, Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare, nanoseconds, python
from tests.benchmarks.workloads import fill

_FEW = 1000  # entities that the larger number is compared with
_GET_BUDGET = 1.5
_MEMORY_BUDGET = 8 * MIB
_ROUNDS, _CALLS = 41, 100


def measure(options: Options) -> Section:
    """Compare a folder of many entities with one of few."""
    section = Section(
        "The embedded engine on disk, few entities beside many", ("", f"{_FEW:,}", f"{options.entities:,}", "")
    )
    with application("disk") as root:
        folders = [(root / "few", _FEW), (root / "many", options.entities)]
        for folder, count in folders:
            _fill(folder, count)
        _add_get(section, folders)
        if LINUX:
            _add_memory(section, folders)
    return section


def _fill(folder: Path, count: int) -> None:
    engine = Engine(folder)
    fill(Client(engine, project="bench"), "Kind", count)
    engine.close()


def _add_get(section: Section, folders: list[tuple[Path, int]]) -> None:
    engines = [Engine(folder) for folder, _ in folders]
    works = [_get(Client(engine, project="bench"), count) for engine, (_, count) in zip(engines, folders, strict=True)]
    for work in works:
        nanoseconds(work, 500)
    found = compare(*works, rounds=_ROUNDS, calls=_CALLS)
    times = (f"{found.base / 1000:.0f} µs", f"{found.other / 1000:.0f} µs", f"{found.ratio:.2f}")
    section.add("get of a random one", *times, budget=f"≤ {_GET_BUDGET}", kept=found.ratio <= _GET_BUDGET)
    for engine in engines:
        engine.close()


def _get(client: Client, count: int) -> Callable[[], object]:
    chance = random.Random(1)
    return lambda: client.lookup([client.key("Kind", chance.randrange(count) + 1)])


# Gets, puts, two queries and a count; prints the most bytes that were resident.
_USE = """
import random, sys
from pathlib import Path
from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from tests.benchmarks.memory import peak
from tests.benchmarks.workloads import put, query
count = int(sys.argv[2])
engine = Engine(Path(sys.argv[1]))
client = Client(engine, project="bench")
for _ in range(3000):
    client.lookup([client.key("Kind", random.randrange(count) + 1)])
work = put(client, 500, indexed=True)
for _ in range(500):
    work()
for selective in (False, True):
    query(client, "Kind", selective=selective)()
request = wire.RunAggregationQueryRequest(project_id="bench")
request.aggregation_query.nested_query.kind.add(name="Kind")
request.aggregation_query.aggregations.add().count.SetInParent()
engine.call("RunAggregationQuery", request)
print(peak())
"""


def _add_memory(section: Section, folders: list[tuple[Path, int]]) -> None:
    few, many = (
        min(int(python(_USE, str(folder), str(count), PYTHONPATH=str(ROOT))) for _ in range(3))
        for folder, count in folders
    )
    section.add(
        "resident memory of a process that uses it",
        f"{few / MIB:.1f} MiB",
        f"{many / MIB:.1f} MiB",
        f"{(many - few) / MIB:+.1f} MiB",
        budget=f"≤ +{_MEMORY_BUDGET // MIB} MiB",
        kept=many - few <= _MEMORY_BUDGET,
    )
