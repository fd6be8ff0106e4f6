"""A folder of very many files beside one of ten: only its listing may take longer."""

import math
import os
import time
from pathlib import Path
from typing import Any

import gaeport
from gaeport import datastore, meter
from gaeport.datastore.client import BATCH
from gaeport.datastore.mutations import insert
from gaeport.fs.datastore import entries
from gaeport.fs.patching import paths
from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import Work, compare, cpu_nanoseconds, nanoseconds

FEW = 10  # files in the small folder
_RATIO_BUDGET = 1.25
_AT_ONCE = 400  # entries of one commit
_ON_EMULATOR = 10_000  # files there: it answers a query whole, and ends one of 100,000 with UNKNOWN
_ROUNDS, _CALLS = 31, 10


def measure(options: Options) -> Section:
    """Do the same in both folders by turns, on the embedded engine and, where there is one, on the emulator."""
    many = options.folder_files
    section = Section(
        f"A folder of {many:,} files beside one of {FEW}",
        ("operation", "store, many", f"of {FEW}", "of many", "ratio", "calls"),
    )
    stores = [("disk", f"embedded, {many:,}", many)]
    if options.emulator:
        fewer = min(many, _ON_EMULATOR)
        stores.append(("emulator", f"emulator, {fewer:,}", fewer))
    for backend, title, filled in stores:
        with application(backend, options.emulator) as root:
            gaeport.mount("uploads", name=f"bench-{os.getpid()}")
            folders = [root / "uploads" / "few", root / "uploads" / "many"]
            for folder, count in zip(folders, (FEW, filled), strict=True):
                folder.mkdir()
                _fill(folder, count)
            _Measurement(section, title, folders, in_process=backend == "disk").run()
    section.notes.append(
        "Each pair by turns; calls are those of either folder. Embedded times are processor times. The folders were "
        "filled by commits of the entries that open() writes."
    )
    return section


def _fill(folder: Path, count: int) -> None:
    """Put entries as creating files of a few bytes does, many in a commit."""
    client = datastore.own_client()
    volume: Any = paths.mounts()[0].volume
    directory = volume.tree.resolve((folder.name,)).entry.dir
    for start in range(0, count, _AT_ONCE):
        made = [_entry(client, directory, f"file{n}") for n in range(start, min(start + _AT_ONCE, count))]
        client.commit([insert(entity) for entity in made])


def _entry(client: Any, directory: str, name: str) -> Any:
    entry = entries.new_entry("file", 0o644, ops=entries.new_nonce(), inline=b"content")
    return entries.encode(entries.entry_key(client, directory, name), entry)


class _Measurement:
    """The lines of one store."""

    def __init__(self, section: Section, title: str, folders: list[Path], *, in_process: bool) -> None:
        self._section = section
        self._title = title
        self._folders = folders
        self._clock = cpu_nanoseconds if in_process else nanoseconds
        self._number = 0

    def run(self) -> None:
        self._settle()
        self._compare("one stat", [_stat(folder) for folder in self._folders])
        self._listing()
        self._compare("one create", [self._create(folder) for folder in self._folders])
        self._settle()
        self._compare("rename of the folder", [_rename(folder) for folder in self._folders])

    def _settle(self) -> None:
        """Write the directory times that wait, which else a timer does during the measuring."""
        for mount in paths.mounts():
            mount.volume.commit_all()

    def _compare(self, name: str, works: list[Work]) -> None:
        for work in works:
            nanoseconds(work, 50)
        calls = [_calls(work) for work in works]
        found = compare(works[0], works[1], rounds=_ROUNDS, calls=_CALLS, clock=self._clock)
        times = (f"{t / 1000:.0f} µs" for t in (found.base, found.other))
        budget = f"≤ {_RATIO_BUDGET}, calls equal"
        kept = found.ratio <= _RATIO_BUDGET and calls[0] == calls[1]
        shown = " and ".join(str(count) for count in dict.fromkeys(calls))
        self._section.add(name, self._title, *times, f"{found.ratio:.2f}", shown, budget=budget, kept=kept)

    def _create(self, folder: Path) -> Work:
        def work() -> None:
            self._number += 1
            with open(folder / f"new{self._number}", "wb") as file:
                file.write(b"content")

        return work

    def _listing(self) -> None:
        """List each with the attributes; the number of files is known from the listing itself."""
        times, counts, calls = [], [], []
        for folder in self._folders:
            start = time.perf_counter()
            with meter.measure() as counted, os.scandir(folder) as found:
                counts.append(sum(1 for entry in found if entry.stat().st_size >= 0))
            times.append(time.perf_counter() - start)
            calls.append(counted.total_calls)
        most = [1 + math.ceil(count / BATCH) for count in counts]
        shown = [f"{seconds * 1000:.1f} ms of {count:,}" for seconds, count in zip(times, counts, strict=True)]
        self._section.add(
            "listing with attributes",
            self._title,
            *shown,
            "",
            f"{calls[0]} and {calls[1]}",
            budget=f"1 + ⌈n/{BATCH}⌉ calls",
            kept=all(spent <= allowed for spent, allowed in zip(calls, most, strict=True)),
        )


def _stat(folder: Path) -> Work:
    path = str(folder / "file5")
    return lambda: os.stat(path)


def _rename(folder: Path) -> Work:
    """Return what renames the folder, and at the next call back."""
    names = [str(folder), f"{folder}-renamed"]

    def work() -> None:
        os.rename(*names)
        names.reverse()

    return work


def _calls(work: Work) -> int:
    with meter.measure() as counted:
        work()
    return counted.total_calls
