"""A store that stops answering in the middle of a commit, and answers again later: nothing is lost, nothing doubled."""

import errno
import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.engine import Engine
from gaeport.errors import Unavailable
from tests.fs.volumes import get, make, put

BEFORE, AFTER = "before the commit", "after the commit"


class Outage:
    """A transport that stops answering at the next Commit, before or after it is applied, until it is told to go on."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.begins = ""
        self.lasts = False

    def call(self, method: str, request: Any) -> Any:
        if self.lasts:
            raise Unavailable("no route to host")
        if method != "Commit" or not self.begins:
            return self.inner.call(method, request)
        begins, self.begins, self.lasts = self.begins, "", True
        if begins == AFTER:
            self.inner.call(method, request)
        raise Unavailable("connection reset")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(import_module("gaeport.datastore.client"), "backoff", lambda *_: None)
    found = Engine(None, synchronous="normal")
    yield found
    found.close()


def refused(work: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
        work()
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_what_was_appended_before_an_outage_is_there_once(engine: Engine, tmp_path: Path, begins: str) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "log", b"1")
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"2")
    store.begins = begins
    refused(handle.sync)
    store.lasts = False
    handle.close()
    assert get(other, "log") == b"12"


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_what_was_appended_during_an_outage_comes_after_that(engine: Engine, tmp_path: Path, begins: str) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "log", b"1")
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"2")
    store.begins = begins
    refused(handle.sync)
    handle.append(b"3")
    refused(handle.sync)
    store.lasts = False
    late = other.open(("log",), os.O_WRONLY | os.O_APPEND)
    late.append(b"x")
    late.close()
    handle.append(b"4")
    handle.close()
    assert get(other, "log") == {BEFORE: b"1x234", AFTER: b"12x34"}[begins]


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_ranges_written_around_an_outage_are_all_there(engine: Engine, tmp_path: Path, begins: str) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "a", b"0123456789")
    handle = volume.open(("a",), os.O_RDWR)
    handle.pwrite(b"AB", 0)
    store.begins = begins
    refused(handle.sync)
    handle.pwrite(b"CD", 4)
    store.lasts = False
    handle.close()
    assert get(other, "a") == b"AB23CD6789"


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_a_file_created_in_an_outage_is_there_once_it_is_over(engine: Engine, tmp_path: Path, begins: str) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "first", b"")
    handle = volume.open(("new",), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    handle.append(b"1")
    store.begins = begins
    refused(handle.sync)
    handle.append(b"2")
    store.lasts = False
    handle.close()
    assert get(other, "new") == b"12"


def test_a_file_that_moved_on_after_an_outage_is_followed(engine: Engine, tmp_path: Path) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "a", b"1")
    handle = volume.open(("a",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"2")
    store.begins = AFTER
    refused(handle.sync)
    store.lasts = False
    other.rename(("a",), ("b",))
    put(other, "a", b"another")
    handle.append(b"3")
    handle.close()
    assert get(other, "b") == b"123"
    assert get(other, "a") == b"another"


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_a_signal_handler_that_ends_a_commit_leaves_it_to_be_finished(
    engine: Engine, tmp_path: Path, begins: str
) -> None:
    """As a worker's timeout does: it raises wherever the worker is."""

    class Interrupts(Outage):
        def call(self, method: str, request: Any) -> Any:
            try:
                return super().call(method, request)
            except Unavailable:
                self.lasts = False
                raise KeyboardInterrupt from None

    store = Interrupts(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "log", b"1")
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    handle.append(b"2")
    store.begins = begins
    with pytest.raises(KeyboardInterrupt):
        handle.sync()
    handle.append(b"3")
    handle.close()
    assert get(other, "log") == b"123"


@pytest.mark.parametrize("begins", [BEFORE, AFTER])
def test_large_content_survives_an_outage_at_its_commit(engine: Engine, tmp_path: Path, begins: str) -> None:
    store = Outage(engine)
    volume, other = make(store, tmp_path), make(engine, tmp_path)
    put(other, "log", b"1")
    handle = volume.open(("log",), os.O_WRONLY | os.O_APPEND)
    large = bytes(range(256)) * 36_000  # stored in pieces while it is written
    handle.append(large)
    store.begins = begins
    refused(handle.sync)
    store.lasts = False
    handle.append(b"2")
    handle.close()
    assert get(other, "log") == b"1" + large + b"2"
    left = wire.Query()
    left.kind.add(name="Upload")
    assert list(other.connect().query(left)) == []
