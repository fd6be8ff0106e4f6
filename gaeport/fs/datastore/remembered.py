"""What a mount with `attr_ttl` remembers of the store for that many seconds: entries, their absence, and the content
of small files beside one that is read after their directory was listed.

What this process changes is forgotten at once. What another instance changes shows when the time is over.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gaeport.datastore.client import Client, Found
from gaeport.fs.datastore.entries import unescape

MOST = 20_000  # answers
BESIDE = 64  # files read along with one
SMALL = 32 << 10  # bytes; larger files are not read along
READ_ALONG = 1 << 20  # bytes read along at once
CONTENT = 8 << 20  # bytes of content kept
INODES = "inodes"  # in the place of a directory: the question for an Inode

Pair = tuple[str, str]  # a directory's identity and a file name; "" is the directory's time


class Answer(NamedTuple):
    """What the store said. `whole`: with the content, `size` bytes."""

    until: float
    found: Found | None
    whole: bool
    size: int


class Remembered:
    """The memory of one mount.

    Args:
        seconds: how long an answer counts.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.RLock()
        self._answers: OrderedDict[Pair, Answer] = OrderedDict()
        self._listed: OrderedDict[str, tuple[float, Sequence[tuple[str, int]], dict[str, int]]] = OrderedDict()
        self._content = 0
        self._changes = 0

    def fill(self, wanted: set[Pair], answers: dict[Pair, Found | None]) -> None:
        """Move from `wanted` to `answers` what is known."""
        now = time.monotonic()
        for pair in list(wanted):
            known = self._answers.get(pair)
            if known is not None and known.until > now:
                answers[pair] = known.found
                wanted.discard(pair)

    def is_whole(self, pair: Pair) -> bool:
        """Whether a file's content is known."""
        known = self._answers.get(pair)
        return known is not None and known.whole and known.until > time.monotonic()

    def begin(self) -> tuple[float, int]:
        """Return what `keep` wants of the moment at which the store is asked."""
        return time.monotonic(), self._changes

    def keep(self, began: tuple[float, int], answers: Iterable[tuple[Pair, Found | None]], *, whole: bool) -> None:
        """Remember answers, unless this process changed something since they were asked for."""
        with self._lock:
            if began[1] != self._changes:
                return
            for pair, found in answers:
                self._drop(pair)
                size = found.entity.ByteSize() if whole and found is not None else 0
                if size <= 2 * SMALL:
                    self._answers[pair] = Answer(began[0] + self.seconds, found, whole and found is not None, size)
                    self._content += size
            while len(self._answers) > MOST or self._content > CONTENT:
                self._drop(next(iter(self._answers)))

    def keep_listing(self, began: tuple[float, int], directory: str, sizes: Sequence[tuple[str, int]]) -> None:
        """Remember that a directory was listed: its files, in that order, with their sizes in bytes."""
        with self._lock:
            places = {name: number for number, (name, _) in enumerate(sizes)}
            self._listed[directory] = (began[0] + self.seconds, sizes, places)
            while len(self._listed) > 100:  # directories; a bound on memory, not a tuned number
                self._listed.popitem(last=False)

    def beside(self, pair: Pair) -> set[Pair]:
        """Return what to read along with a file: those that were listed after it, as far as they are small."""
        listing = self._listed.get(pair[0])
        if listing is None or listing[0] <= time.monotonic() or pair[1] not in listing[2]:
            return set()
        start = listing[2][pair[1]] + 1
        found, room = set(), READ_ALONG
        for name, size in listing[1][start : start + BESIDE]:
            room -= size
            if room < 0:
                break
            found.add((pair[0], name))
        return found

    def forget(self, mutations: Iterable[Any]) -> None:
        """Forget what mutations change."""
        with self._lock:
            self._changes += 1
            for mutation in mutations:
                pair = _pair(mutation)
                if pair is not None:
                    self._drop(pair)

    def _drop(self, pair: Pair) -> None:
        known = self._answers.pop(pair, None)
        if known is not None:
            self._content -= known.size


def _pair(mutation: Any) -> Pair | None:
    kind = mutation.WhichOneof("operation")
    path = (mutation.delete if kind == "delete" else getattr(mutation, kind).key).path
    if path[0].kind == "Inode" and len(path) == 1:
        return INODES, str(path[0].id)
    if path[0].kind != "Dir" or len(path) < 2:
        return None
    return path[0].name, unescape(path[1].name) if path[1].kind == "Entry" else ""


class WatchedClient(Client):
    """A client whose commits are forgotten where they were remembered."""

    remembered: Remembered

    def commit(self, mutations: Sequence[Any]) -> list[Any]:
        """Apply mutations; see `Client.commit`."""
        self.remembered.forget(mutations)
        try:
            return super().commit(mutations)
        finally:
            self.remembered.forget(mutations)


def watching(connect: Callable[[], Client], remembered: Remembered) -> Callable[[], Client]:
    """Return what gives clients as `connect` does, with `remembered` told of their commits."""

    def watched() -> Client:
        inner = connect()
        made = WatchedClient(inner.transport, project=inner.project, database=inner.database, namespace=inner.namespace)
        made.remembered = remembered
        return made

    return watched
