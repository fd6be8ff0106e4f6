"""What a mount costs the file operations that lead elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path

import gaeport
from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import cpu_nanoseconds, least

BUDGET_NS = 2000.0
_ROUNDS = 25
_BATCHES, _CALLS = 5, 100


def measure(options: Options) -> Section:
    """Time each operation with nothing mounted and with a mount, by turns: mounting exchanges the functions."""
    with application("memory") as root:
        (root / "plain").mkdir()
        (root / "plain" / "file.txt").write_text("content")
        works = _works(root)
        native: dict[str, list[float]] = {name: [] for name in works}
        patched: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(_ROUNDS):
            _time(works, native)
            gaeport.mount("uploads")
            _time(works, patched)
            gaeport.unmount("uploads")
    section = Section(
        "A path outside every mount, one process, processor time, mounted and unmounted by turns, the best of 25",
        ("call", "unpatched, ns", "patched, ns", "difference, ns"),
    )
    for name in works:
        found = least(native[name], patched[name])
        cells = (f"{found.base:.0f}", f"{found.other:.0f}", f"{found.difference:+.0f}")
        section.add(name, *cells, budget=f"≤ {BUDGET_NS:.0f}", kept=found.difference <= BUDGET_NS)
    return section


def _time(works: dict[str, Callable[[], object]], into: dict[str, list[float]]) -> None:
    for name, work in works.items():
        work()
        into[name].append(min(cpu_nanoseconds(work, _CALLS) for _ in range(_BATCHES)))


def _works(root: Path) -> dict[str, Callable[[], object]]:
    absolute, relative = str(root / "plain" / "file.txt"), "plain/file.txt"
    folder = str(root / "plain")

    # The functions are looked up at each call, since mounting exchanges them.
    return {
        "os.stat, absolute": lambda: os.stat(absolute),
        "os.stat, relative": lambda: os.stat(relative),
        "os.path.exists, absolute": lambda: os.path.exists(absolute),
        "os.path.exists, relative": lambda: os.path.exists(relative),
        "open + close, absolute": lambda: open(absolute, "rb").close(),
        "open + close, relative": lambda: open(relative, "rb").close(),
        "os.listdir, absolute": lambda: os.listdir(folder),
        "os.listdir, relative": lambda: os.listdir("plain"),
    }
