"""What the file functions add to the raw calls that they make, on the same transport."""

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gaeport
from gaeport import datastore
from gaeport.datastore.client import Client
from gaeport.datastore.mutations import insert, update, upsert
from gaeport.fs.datastore import entries
from gaeport.fs.patching import paths
from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import Comparison, compare, cpu_nanoseconds, nanoseconds

CONTENT = b"x" * 1000
READ_BUDGET, WRITE_BUDGET = 1.3, 1.5
_WITHOUT_CONTENT = (*entries.METADATA, "extents")  # what opening for a rewrite reads

Work = Callable[[], object]


def measure(options: Options) -> Section:
    """Compare stat, a small read and small writes with the Lookup and Commit that they make."""
    section = Section(
        "File operations over the raw calls of the same keys and mask, by turns",
        ("operation", "store", "raw, µs", "file, µs", "added, µs", "ratio"),
    )
    stores = [("memory", "embedded, memory"), ("disk", "embedded, disk")]
    if options.emulator:
        stores.append(("emulator", "Firestore emulator"))
    results: dict[str, list[tuple[str, Comparison]]] = {}
    for backend, title in stores:
        with application(backend, options.emulator) as root:
            for name, found in _Measurement(root, slow=backend == "emulator").run():
                results.setdefault(name, []).append((title, found))
    for name, found_on in results.items():
        budget = READ_BUDGET if name in _READS else WRITE_BUDGET
        for title, found in found_on:
            times = (f"{t / 1000:.0f}" for t in (found.base, found.other, found.difference))
            section.add(name, title, *times, f"{found.ratio:.2f}", budget=f"≤ {budget}", kept=found.ratio <= budget)
    section.notes.append(
        "The raw side sends messages that were built before; the file side builds and takes apart its own. "
        "An embedded call has no way to go, so there the ratio, of processor times, shows what Python costs."
    )
    return section


_READS = ("os.stat", "open, read, close")


class _Measurement:
    """The four comparisons in one mounted folder, two levels deep."""

    def __init__(self, root: Path, *, slow: bool) -> None:
        gaeport.mount("uploads", name=f"bench-{random.getrandbits(64):x}")  # the emulator keeps what others wrote
        self._folder = root / "uploads" / "album"
        self._folder.mkdir()
        self._file = str(self._folder / "picture")
        _write(self._file)
        self._client = datastore.own_client()
        self._rounds, self._calls = (31, 10) if slow else (31, 40)
        self._clock = nanoseconds if slow else cpu_nanoseconds
        self._warm = 100 if slow else 5  # the emulator's virtual machine compiles what it does often
        self._number = 0

    def run(self) -> list[tuple[str, Comparison]]:
        path = self._file
        for mount in paths.mounts():
            mount.volume.commit_all()  # the directories' times, which else a timer writes meanwhile
        keys = self._keys("picture")
        return [
            ("os.stat", self._compare(_lookup(self._client, keys, entries.METADATA), lambda: os.stat(path))),
            ("open, read, close", self._compare(_lookup(self._client, keys, ()), lambda: _read(path))),
            ("replace 1,000 bytes", self._compare(self._raw_replace(), lambda: _write(path))),
            ("create with 1,000 bytes", self._compare(self._raw_create(), self._create)),
        ]

    def _compare(self, raw: Work, file: Work) -> Comparison:
        for work in (raw, file):
            nanoseconds(work, self._warm)
        return compare(raw, file, rounds=self._rounds, calls=self._calls, clock=self._clock)

    def _keys(self, name: str) -> list[Any]:
        volume: Any = paths.mounts()[0].volume
        top = volume.tree.root.id
        album = volume.tree.resolve(("album",)).entry.dir
        return [entries.entry_key(self._client, top, "album"), entries.entry_key(self._client, album, name)]

    def _entity(self, key: Any) -> Any:
        nonces = entries.new_nonce() * entries.KEPT_NONCES
        return entries.encode(key, entries.new_entry("file", 0o644, ops=nonces, inline=CONTENT))

    def _raw_replace(self) -> Work:
        keys = self._keys("raw")
        client, entity = self._client, self._entity(keys[-1])
        client.commit([upsert(entity)])

        def work() -> None:
            found = client.lookup(keys, mask=_WITHOUT_CONTENT)[-1]
            assert found is not None
            entity.properties["mtime"].integer_value = time.time_ns()  # an update that changes nothing costs less
            client.commit([update(entity, found.version)])

        return work

    def _raw_create(self) -> Work:
        client = self._client
        directory = self._keys("")[-1].path[0].name
        guard = update(entries.constant(entries.guard_key(client, directory)))
        above = self._keys("")[0]
        waiting = [
            insertion
            for number in range(self._calls * self._rounds + self._warm)
            for insertion in [insert(self._entity(entries.entry_key(client, directory, f"raw{number}")))]
        ]

        def work() -> None:
            insertion = waiting.pop()
            client.lookup([above, insertion.insert.key], mask=_WITHOUT_CONTENT)
            client.commit([insertion, guard])

        return work

    def _create(self) -> None:
        self._number += 1
        _write(f"{self._folder}/new{self._number}")


def _lookup(client: Client, keys: Sequence[Any], mask: Sequence[str]) -> Work:
    return lambda: client.lookup(keys, mask=mask)


def _write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(CONTENT)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
