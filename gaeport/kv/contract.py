"""The contract suite: what every backend must do. A test class inherits it and supplies a fixture `kv`.

    class TestMine(KVContract):
        @pytest.fixture
        def kv(self) -> KV: ...

Each test works in whatever the store holds already, under keys of its own.
"""

import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from gaeport.errors import ValueTooLarge
from gaeport.kv.base import KV

_PATIENCE = 10.0  # seconds that a wait for an expiry may take at most


class KVContract:
    """One test a sentence of the contract."""

    def test_a_missing_key_is_none(self, kv: KV) -> None:
        assert kv.get(fresh()) is None
        assert kv.gets(fresh()) is None
        assert kv.get_many([fresh(), fresh()]) == {}
        assert kv.get_many([]) == {}

    def test_what_was_set_is_got(self, kv: KV) -> None:
        key = fresh()
        assert kv.set(key, b"one") is True
        assert kv.get(key) == b"one"
        assert kv.set(key, b"two") is True
        assert kv.get(key) == b"two"

    def test_any_bytes_come_back_as_they_were(self, kv: KV) -> None:
        key = fresh()
        for value in (
            b"",
            b"\0",
            b"\x01x",
            bytes(range(256)),
            b"12 ",
            b" 12",
            b"+1",
            b"-1",
            b"007",
            b"9" * 30,
            b"1\r\n2",
        ):
            assert kv.set(key, value), value
            assert kv.get(key) == value

    def test_get_many_returns_those_that_are_there(self, kv: KV) -> None:
        keys = [fresh() for _ in range(20)]
        for number, key in enumerate(keys[:15]):
            kv.set(key, b"v%d" % number)
        assert kv.get_many([*keys, keys[0]]) == {key: b"v%d" % number for number, key in enumerate(keys[:15])}

    def test_keys_of_any_form_and_length_are_told_apart(self, kv: KV) -> None:
        start = fresh()
        forms = [
            "",
            " ",
            "a b",
            "a\r\nb",
            "\0",
            "é",
            "\ud800",
            "日本",
            "#",
            "#" + "0" * 64,
            "x" * 249,
            "x" * 250,
            "x" * 251,
        ]
        forms += ["x" * 5000, "x" * 4999 + "y", ":", "a:b", "a/b", "%20"]
        for number, form in enumerate(forms):
            assert kv.set(start + form, b"v%d" % number), form
        for number, form in enumerate(forms):
            assert kv.get(start + form) == b"v%d" % number, form
        assert kv.get_many([start + form for form in forms]) == {
            start + form: b"v%d" % number for number, form in enumerate(forms)
        }

    def test_only_str_keys_and_bytes_values_are_taken(self, kv: KV) -> None:
        key = fresh()
        wrong: list[Any] = ["text", 1, None, bytearray(b"x"), memoryview(b"x")]
        for value in wrong:
            refused(TypeError, partial(kv.set, key, value))
            refused(TypeError, partial(kv.add, key, value))
        refused(TypeError, lambda: kv.get(b"key"))  # type: ignore[arg-type]
        assert kv.get(key) is None

    def test_namespaces_are_kept_apart(self, kv: KV) -> None:
        key = fresh()
        one, two, inner = kv.namespace("one"), kv.namespace("two"), kv.namespace("one").namespace("two")
        for number, view in enumerate((kv, one, two, inner)):
            assert view.set(key, b"v%d" % number)
        assert [view.get(key) for view in (kv, one, two, inner)] == [b"v0", b"v1", b"v2", b"v3"]
        assert kv.get("one:" + key) is None
        assert one.delete(key)
        assert [view.get(key) for view in (kv, one, two, inner)] == [b"v0", None, b"v2", b"v3"]

    def test_a_large_value_is_compressed(self, kv: KV) -> None:
        key = fresh()
        value = b"compressible " * 200_000
        assert kv.set(key, value)
        assert kv.get(key) == value

    def test_a_value_of_exactly_the_limit_is_kept(self, kv: KV) -> None:
        key = fresh()
        value = noise(1_000_000)
        assert kv.set(key, value)
        assert kv.get(key) == value

    def test_a_value_over_the_limit_is_refused_by_name(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"old")
        error = refused(ValueTooLarge, lambda: kv.set(key, noise(1_100_000)))
        assert key in str(error)
        assert "1,100,000" in str(error)
        assert "1,000,000" in str(error)
        assert kv.get(key) == b"old"

    def test_add_stores_only_where_nothing_is(self, kv: KV) -> None:
        key = fresh()
        assert kv.add(key, b"first") is True
        assert kv.add(key, b"second") is False
        assert kv.get(key) == b"first"
        kv.delete(key)
        assert kv.add(key, b"third") is True

    def test_of_many_that_add_at_once_one_wins(self, kv: KV) -> None:
        key = fresh()
        won = at_once(12, lambda number: kv.add(key, b"v%d" % number))
        assert sum(won) == 1
        assert kv.get(key) == b"v%d" % won.index(True)

    def test_delete_tells_whether_something_was_there(self, kv: KV) -> None:
        key = fresh()
        assert kv.delete(key) is False
        kv.set(key, b"x")
        assert kv.delete(key) is True
        assert kv.delete(key) is False
        assert kv.get(key) is None

    def test_cas_replaces_what_was_got(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"old")
        item = kv.gets(key)
        assert item is not None
        assert item.value == b"old"
        assert kv.cas(key, b"new", item.token) is True
        assert kv.get(key) == b"new"
        assert kv.cas(key, b"newer", item.token) is False
        assert kv.get(key) == b"new"

    def test_cas_fails_after_any_write_even_of_the_same_value(self, kv: KV) -> None:
        key = fresh()
        for write in (partial(kv.set, key, b"5"), partial(kv.incr, key, 0)):
            kv.set(key, b"5")
            item = kv.gets(key)
            assert item is not None
            assert write() is not None
            assert kv.cas(key, b"6", item.token) is False
            assert kv.get(key) == b"5"

    def test_cas_fails_after_a_delete_and_after_a_new_add(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"old")
        item = kv.gets(key)
        assert item is not None
        kv.delete(key)
        assert kv.cas(key, b"new", item.token) is False
        assert kv.get(key) is None
        kv.add(key, b"old")
        assert kv.cas(key, b"new", item.token) is False
        assert kv.get(key) == b"old"

    def test_cas_with_what_is_no_token_fails(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"old")
        for token in (None, "", b"", b"x", -1.5, object()):
            assert kv.cas(key, b"new", token) is False
        assert kv.get(key) == b"old"

    def test_of_many_that_cas_at_once_one_wins(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"old")
        item = kv.gets(key)
        assert item is not None
        token = item.token
        won = at_once(12, lambda number: kv.cas(key, b"v%d" % number, token))
        assert sum(won) == 1
        assert kv.get(key) == b"v%d" % won.index(True)

    def test_incr_of_a_missing_key_is_none(self, kv: KV) -> None:
        key = fresh()
        assert kv.incr(key) is None
        assert kv.get(key) is None

    def test_incr_counts_up_and_down_but_not_below_zero(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"9")
        assert kv.incr(key) == 10
        assert kv.incr(key, 90) == 100
        assert kv.incr(key, -1) == 99
        assert kv.get(key) == b"99"
        assert kv.incr(key, -1000) == 0
        assert kv.get(key) == b"0"
        assert kv.incr(key, 0) == 0

    def test_incr_with_initial_makes_the_counter(self, kv: KV) -> None:
        key = fresh()
        assert kv.incr(key, 5, initial=10) == 15
        assert kv.incr(key, 5, initial=10) == 20
        assert kv.get(key) == b"20"
        assert kv.incr(fresh(), -1, initial=0) == 0

    def test_incr_knows_counters_to_the_last_digit(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"%d" % (2**63 - 3))
        assert kv.incr(key) == 2**63 - 2
        assert kv.incr(key) == 2**63 - 1
        refused(ValueError, lambda: kv.incr(key))

    def test_incr_of_something_else_is_refused(self, kv: KV) -> None:
        key = fresh()
        for value in (b"", b"x", b"1x", b" 1", b"1 ", b"-1", b"+1", b"01", b"\x00"):
            kv.set(key, value)
            refused(ValueError, lambda: kv.incr(key))
            assert kv.get(key) == value

    def test_no_increment_is_lost(self, kv: KV) -> None:
        key = fresh()

        def count(number: int) -> bool:
            return None not in {kv.incr(key, initial=0) for _ in range(25)}

        assert all(at_once(8, count))
        assert kv.get(key) == b"200"

    def test_an_entry_ends_after_its_ttl(self, kv: KV) -> None:
        keys = [fresh() for _ in range(4)]
        lasting = fresh()
        kv.set(keys[0], b"x", 1)
        kv.add(keys[1], b"x", ttl=0.4)
        assert kv.incr(keys[2], initial=0, ttl=1) == 1
        kv.set(keys[3], b"x")
        item = kv.gets(keys[3])
        assert item is not None
        assert kv.cas(keys[3], b"y", item.token, 1)
        kv.set(lasting, b"x", 3600)
        wait(lambda: not kv.get_many(keys))
        assert kv.get(lasting) == b"x"
        for key in keys:
            assert kv.delete(key) is False
            assert kv.touch(key, 10) is False
            assert kv.incr(key) is None
            assert kv.add(key, b"new") is True

    def test_cas_fails_after_the_end_of_the_entry(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"x", 2)
        item = kv.gets(key)
        assert item is not None
        wait(lambda: kv.get(key) is None)
        assert kv.cas(key, b"y", item.token) is False
        assert kv.get(key) is None

    def test_set_replaces_the_ttl_too(self, kv: KV) -> None:
        key, gone = fresh(), fresh()
        kv.set(key, b"x", 1)
        kv.set(key, b"y")
        kv.set(gone, b"x", 1)
        wait(lambda: kv.get(gone) is None)
        time.sleep(1.1)  # memcached may end one entry up to a second before another
        assert kv.get(key) == b"y"

    def test_touch_changes_the_ttl_and_incr_does_not(self, kv: KV) -> None:
        lasting, ending, counter = fresh(), fresh(), fresh()
        kv.set(lasting, b"x", 2)
        kv.set(ending, b"x", 3600)
        kv.set(counter, b"1", 2)
        assert kv.touch(lasting, None) is True
        assert kv.touch(ending, 1) is True
        assert kv.incr(counter) == 2
        assert kv.touch(fresh(), 1) is False
        wait(lambda: not kv.get_many([ending, counter]))
        time.sleep(1.1)
        assert kv.get(lasting) == b"x"

    def test_no_time_to_live_means_expired_at_once(self, kv: KV) -> None:
        for ttl in (0, -1, -0.5, -1e9):
            key = fresh()
            kv.set(key, b"x")
            assert kv.set(key, b"y", ttl) is True
            assert kv.get(key) is None
            assert kv.add(key, b"y", ttl) is True
            assert kv.get(key) is None
            kv.set(key, b"x")
            assert kv.add(key, b"y", ttl) is False
            item = kv.gets(key)
            assert item is not None
            assert kv.cas(key, b"y", item.token, ttl) is True
            assert kv.get(key) is None
            kv.set(key, b"x")
            assert kv.touch(key, ttl) is True
            assert kv.touch(key, ttl) is False
            assert kv.get(key) is None
            assert kv.incr(key, initial=3, ttl=ttl) == 4
            assert kv.get(key) is None

    def test_a_ttl_of_years_is_no_date(self, kv: KV) -> None:
        key = fresh()
        for ttl in (30 * 86_400, 30 * 86_400 + 1, 400 * 86_400, float("inf")):
            kv.set(key, b"x", ttl)
            assert kv.get(key) == b"x"
            assert kv.touch(key, ttl)
            assert kv.get(key) == b"x"

    def test_a_ttl_that_is_no_number_is_refused(self, kv: KV) -> None:
        refused(ValueError, lambda: kv.set(fresh(), b"x", float("nan")))
        refused(TypeError, lambda: kv.set(fresh(), b"x", "60"))  # type: ignore[arg-type]

    def test_after_close_calls_work_again(self, kv: KV) -> None:
        key = fresh()
        kv.set(key, b"x")
        kv.close()
        assert kv.get(key) == b"x"


def fresh() -> str:
    """Return a key that no other test uses."""
    return uuid.uuid4().hex


def noise(size: int) -> bytes:
    """Return bytes that cannot be compressed, the first of which needs no mark."""
    import random

    return b"n" + random.Random(size).randbytes(size - 1)


def refused(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the exception of `kind` that a call raises; fail when it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def at_once(threads: int, call: Callable[[int], bool]) -> list[bool]:
    """Call from that many threads at once; return the answers."""
    answers = [False] * threads
    start = threading.Barrier(threads)

    def run(number: int) -> None:
        start.wait()
        answers[number] = call(number)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return answers


def wait(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most ten seconds."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not end"
        time.sleep(0.05)
