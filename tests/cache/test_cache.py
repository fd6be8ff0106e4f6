"""cache(key, f, time_expire), and what else applications call."""

import functools
import logging
import threading
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from gaeport.cache import Cache, entry
from gaeport.errors import ConfigurationError, UnsupportedType
from gaeport.kv import KV
from gaeport.kv.contract import noise
from gaeport.kv.memory import MemoryBackend
from tests.cache.conftest import Clock


class Maker:
    """Counts how often it creates; fails on demand."""

    def __init__(self, value: Any = None) -> None:
        self.calls = 0
        self.value = value
        self.error: Exception | None = None

    def __call__(self) -> Any:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.calls if self.value is None else self.value


def test_a_value_is_created_once_and_then_served(cache: Cache) -> None:
    make = Maker({"when": date(2024, 2, 29), "tags": ("a", "b"), "ids": {1, 2}})
    assert [cache("key", make, 60) for _ in range(3)] == [make.value] * 3
    assert make.calls == 1


def test_a_value_older_than_time_expire_is_created_anew(cache: Cache, clock: Clock) -> None:
    make = Maker()
    assert cache("key", make, 60) == 1
    clock.now += 59
    assert cache("key", make, 60) == 1
    clock.now += 1
    assert cache("key", make, 60) == 2


def test_each_caller_says_how_old_a_value_it_takes(cache: Cache, clock: Clock) -> None:
    make = Maker()
    cache("key", make, 3600)
    clock.now += 100
    assert cache("key", make, 200) == 1
    assert cache("key", make, None) == 1
    assert cache("key", make, 50) == 2


def test_no_time_expire_is_for_ever(cache: Cache, clock: Clock) -> None:
    make = Maker()
    cache("key", make, None)
    clock.now += 10 * 365 * 86_400
    assert cache("key", make, None) == 1


def test_zero_creates_anew_for_others_to_read(cache: Cache) -> None:
    make = Maker()
    assert [cache("key", make, 0) for _ in range(3)] == [1, 2, 3]
    assert cache("key", make, 60) == 3


def test_no_function_deletes(cache: Cache) -> None:
    make = Maker()
    cache("key", make, 60)
    assert cache("key", None) is None
    assert cache("key", make, 60) == 2


def test_none_is_a_value_too(cache: Cache) -> None:
    calls: list[int] = []
    for _ in range(3):
        assert cache("key", lambda: calls.append(1), 60) is None
    assert len(calls) == 1


def test_ram_and_disk_are_the_shared_cache(cache: Cache) -> None:
    make = Maker()
    assert cache.ram("key", make, 60) == cache.disk("key", make, 60) == cache("key", make, 60) == 1


def test_without_a_function_the_call_is_a_decorator(cache: Cache) -> None:
    make = Maker()

    @cache("key", time_expire=60, cache_model=cache.ram)
    def view() -> Any:
        return make()

    assert (view(), view(), make.calls) == (1, 1, 1)
    assert view.__name__ == "view"


def test_clear_removes_all_or_what_a_regular_expression_matches_from_the_start(cache: Cache) -> None:
    makes = {key: Maker() for key in ("user/1", "user/2", "page/user/1")}

    def read() -> list[int]:
        return [cache(key, make, None) for key, make in makes.items()]

    assert read() == [1, 1, 1]
    cache.clear("user/")
    assert read() == [2, 2, 1]
    assert read() == [2, 2, 1]
    cache.clear(r"user/2|page")
    assert read() == [2, 3, 2]
    cache.clear()
    assert read() == [3, 4, 3]
    for number in range(200):
        cache.clear(f"nothing/{number}")
    assert cache.set("user/3", "x")
    assert cache.get("user/3") == "x"


def test_a_value_whose_creation_began_before_a_clear_is_cleared(cache: Cache) -> None:
    def make() -> str:
        cache.clear("key")
        return "of old data"

    assert cache("key", make, 60) == "of old data"
    assert cache("key", lambda: "new", 60) == "new"


def test_a_store_that_lost_what_was_cleared_brings_nothing_back(cache: Cache, kv: KV) -> None:
    cache("key", lambda: "old", None)
    cache.clear("key")
    kv.namespace("cache").delete("clearings")
    assert cache("key", lambda: "new", None) == "new"


def test_clear_refuses_a_wrong_expression(cache: Cache) -> None:
    import re

    with pytest.raises(re.error):
        cache.clear("(")


def test_numbers_are_added_to_atomically(cache: Cache) -> None:
    threads = [threading.Thread(target=lambda: [cache.incr("n") for _ in range(50)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("n") == 300
    assert cache("n", lambda: 0, None) == 300
    assert cache.increment("n", -300) == 0
    cache.set("text", "x")
    with pytest.raises(TypeError):
        cache.incr("text")


def test_get_set_add_and_delete(cache: Cache, clock: Clock) -> None:
    assert cache.get("key", "nothing") == "nothing"
    assert cache.set("key", "x", 60)
    assert cache.add("key", "y", 60) is False
    assert cache.get("key") == "x"
    clock.now += 60
    assert cache.get("key") is None
    assert cache.delete("other") is False
    assert cache.set("key", "z")
    assert cache.delete("key") is True
    assert cache.add("key", "w") is True


def test_memoize_tells_arguments_apart_and_their_spelling_not(cache: Cache) -> None:
    calls: list[object] = []

    @cache.memoize(60)
    def area(width: int, height: int = 2, *more: int, unit: str = "m") -> tuple[int, str]:
        calls.append((width, height, more, unit))
        return width * height, unit

    for _ in range(2):
        assert area(1) == area(1, 2) == area(width=1, height=2, unit="m") == (2, "m")
        assert area(1, 3) == (3, "m")
        assert area(1, unit="ft") == (2, "ft")
    assert len(calls) == 3
    forget: Callable[..., bool] = area.forget  # type: ignore[attr-defined]
    assert forget(1) is True
    area(1)
    assert len(calls) == 4


def test_memoize_names_an_argument_that_makes_no_key(cache: Cache) -> None:
    @cache.memoize(60)
    def read(what: object) -> int:
        return 1

    with pytest.raises(UnsupportedType, match=r"arguments of memo:.*read"):
        read(object())


def test_memoize_by_a_key_of_ones_own(cache: Cache) -> None:
    class Shop:
        def __init__(self, number: int) -> None:
            self.number = number
            self.calls = 0

        @cache.memoize(60, key=lambda self, day: f"{self.number}/{day}")
        def sales(self, day: str) -> int:
            self.calls += 1
            return self.number

    one, two = Shop(1), Shop(2)
    assert [one.sales("mon"), two.sales("mon"), one.sales("mon")] == [1, 2, 1]
    assert (one.calls, two.calls) == (1, 1)


def test_a_creator_that_fails_leaves_the_old_value_and_a_line_in_the_log(
    cache: Cache, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    make = Maker()
    assert cache("key", make, 60) == 1
    clock.now += 61
    make.error = OSError("the database is away")
    assert [cache("key", make, 60) for _ in range(5)] == [1] * 5
    assert make.calls == 2  # nobody tries again for five seconds
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("gaeport.cache", logging.ERROR)
    assert "creating 'key' failed; serving the value of 61 s ago" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is make.error
    clock.now += 6
    make.error = None
    assert cache("key", make, 60) == 3


def test_a_creator_that_fails_with_nothing_to_serve_raises(cache: Cache) -> None:
    make = Maker()
    make.error = OSError("away")
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            cache("key", make, 60)
    assert make.calls == 2
    make.error = None
    assert cache("key", make, 60) == 3


def test_while_one_creates_the_others_get_the_old_value(kv: KV, clock: Clock) -> None:
    here, there = Cache(kv), Cache(kv)  # two processes
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go.wait(10)
        return "new"

    here("key", lambda: "old", 60)
    clock.now += 61
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(here("key", slow, 60)))
    thread.start()
    assert begun.wait(10)
    never = Maker()
    assert here("key", never, 60) == "old"
    assert there("key", never, 60) == "old"
    assert never.calls == 0
    go.set()
    thread.join()
    assert results == ["new"]
    assert there("key", never, 60) == "new"
    assert there.statistics.stale == 1


def test_a_creator_that_died_is_replaced_when_its_lease_ends(kv: KV, clock: Clock) -> None:
    cache = Cache(kv, lease=30)
    cache("key", lambda: "old", 60)
    kv.namespace("cache").add("lease:key", b"of a dead process", 30)
    clock.now += 61
    make = Maker()
    kv.namespace("cache").set("lease:key", b"of a dead process", 30)
    assert cache("key", make, 60) == "old"
    clock.now += 31
    assert cache("key", make, 60) == 1


def test_who_waits_for_another_process_too_long_creates_itself(kv: KV) -> None:
    cache = Cache(kv, wait=0.05)
    kv.namespace("cache").add("lease:key", b"of another process", 30)
    assert cache("key", lambda: "mine", 60) == "mine"


def test_a_value_is_made_anew_early_the_likelier_the_slower_it_is(
    cache: Cache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = entry.Entry(b"", 0, clock.now, 2.0, None, b"")
    clock.now += 55
    monkeypatch.setattr(entry._random, "random", lambda: 0.9)  # 2 s * -ln(0.1) = 4.6 s before the end
    assert not made.is_due(60)
    clock.now += 0.5
    assert made.is_due(60)
    assert not made.is_due(None)


def test_early_creation_that_fails_serves_the_value_that_is_still_good(
    cache: Cache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    cache("key", make, 60)
    monkeypatch.setattr(entry.Entry, "is_due", lambda self, expire: True)
    make.error = OSError("away")
    assert cache("key", make, 60) == 1
    assert make.calls == 2


def test_a_type_that_is_not_kept_is_refused_by_name(cache: Cache) -> None:
    with pytest.raises(UnsupportedType, match=r"builtins\.object"):
        cache("key", lambda: [object()], 60)


def test_pickle_is_there_by_choice(kv: KV) -> None:
    cache = Cache(kv, serializer="pickle")
    assert cache("key", lambda: 1j, 60) == cache("key", lambda: 1j, 60) == 1j
    with pytest.raises(ConfigurationError, match="valid: codec, pickle"):
        Cache(kv, serializer="json")


def test_a_value_too_large_is_served_and_not_kept(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    value = noise(1_200_000)
    assert cache("key", lambda: value, 60) == value
    assert "not cached" in caplog.text
    assert cache.get("key") is None


def test_without_its_store_the_cache_creates_and_does_not_fail() -> None:
    from gaeport.kv import connect

    cache = Cache(connect("memcached://127.0.0.1:1"))  # nothing listens there
    make = Maker()
    assert [cache("key", make, 60) for _ in range(3)] == [1, 2, 3]
    assert cache.set("key", 1) is False
    assert cache.get("key", "nothing") == "nothing"
    assert cache.add("key", 1) is False
    assert cache.delete("key") is False
    assert cache.clear() is False
    assert cache("key", make, 0) == 4
    assert cache.statistics.unavailable > 0


def test_values_damaged_or_of_another_program_are_misses(cache: Cache, kv: KV) -> None:
    store = kv.namespace("cache")
    cache("key", lambda: 1, 60)
    for damage in (b"", b"\xc1", b"text", b"\x93\x01\x02\x03"):
        store.set("entry:key", damage)
        assert cache("key", lambda: 2, 60) == 2
    store.set("clearings", b"damage")
    assert cache("key", lambda: 3, 60) == 3
    assert cache("key", lambda: 4, 60) == 3


def test_statistics_count(cache: Cache, clock: Clock) -> None:
    make = Maker()
    for _ in range(4):
        cache("key", make, 60)
    clock.now += 61
    make.error = OSError()
    cache("key", make, 60)
    counted = cache.statistics
    assert (counted.hits, counted.misses, counted.stale, counted.creations, counted.failures) == (3, 2, 1, 1, 1)
    assert counted.hit_ratio == pytest.approx(4 / 6)
    assert counted.seconds >= 0


def test_a_hit_costs_one_call(cache: Cache) -> None:
    from gaeport import meter

    cache("key", lambda: 1, 60)
    with meter.measure() as measured:
        cache("key", lambda: 1, 60)
    assert measured.calls == {"kv.get_many": 1}


def test_a_cache_that_evicts_everything_still_answers() -> None:
    cache = Cache(KV(MemoryBackend(limit=1)))
    assert [cache("key", functools.partial(str, 5), 60) for _ in range(3)] == ["5"] * 3
