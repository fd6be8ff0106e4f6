"""Variables as text: bounded in time, depth and size, whatever their repr does."""

import threading
import time
from collections import OrderedDict, defaultdict
from typing import Any

import pytest

from gaeport.tickets.redaction import Secrets
from gaeport.tickets.values import Limits, describe, shown


def described(value: object, name: str = "value", limits: Limits | None = None) -> str:
    return describe([{name: value}], limits or Limits(), Secrets())[0][name]


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        1.5,
        True,
        2j,
        "text",
        b"bytes",
        (),
        (1,),
        (1, 2),
        [],
        [1, [2]],
        {},
        {"a": 1},
        set(),
        {1},
        frozenset({2}),
    ],
)
def test_plain_values_are_shown_as_their_repr(value: object) -> None:
    assert shown(value) == repr(value)


def test_dictionaries_of_other_classes_name_theirs() -> None:
    assert shown(OrderedDict(a=1)) == "OrderedDict({'a': 1})"
    assert shown(defaultdict(int, a=1)) == "defaultdict({'a': 1})"


def test_long_containers_and_texts_are_cut() -> None:
    assert shown(list(range(1_000))).endswith(", 19, … (1,000 in all)]")
    assert "(500 in all)" in shown({number: number for number in range(500)})
    assert len(described("x" * 10**7)) < 500


def test_deep_and_endless_containers_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert shown(endless) == "[[[[[…]]]]]"
    nested: dict[str, Any] = {}
    for _ in range(1_000):
        nested = {"a": nested}
    assert len(shown(nested)) < 100


def test_a_wide_and_deep_value_has_a_bounded_text() -> None:
    value: Any = "x" * 100
    for _ in range(4):
        value = [value] * 20
    started = time.monotonic()
    assert len(shown(value)) < 5_000
    assert time.monotonic() - started < 5


def test_what_a_repr_raises_is_told() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert shown([Broken()]).endswith("Broken, whose repr raised RuntimeError>]")


def test_a_repr_that_does_not_end_costs_its_time_and_no_more() -> None:
    release = threading.Event()

    class Endless:
        def __repr__(self) -> str:
            release.wait(60)
            return "late"

    started = time.monotonic()
    try:
        found = describe([{"first": 1, "endless": Endless(), "last": 2}], Limits(seconds=0.2), Secrets())[0]
        assert time.monotonic() - started < 10
        assert found["first"] == "1"
        assert "no time left" in found["endless"]
        assert "no time left" in found["last"]
    finally:
        release.set()


def test_threads_that_are_stuck_are_bounded_and_come_back() -> None:
    release = threading.Event()
    begun = threading.Semaphore(0)

    class Endless:
        def __repr__(self) -> str:
            begun.release()
            release.wait(60)
            return "late"

    def running() -> int:
        return sum(thread.name == "gaeport-ticket-values" for thread in threading.enumerate())

    try:
        for _ in range(6):
            described(Endless(), limits=Limits(seconds=0.05))
        assert running() <= 3
        assert "no time left" in described(1)
    finally:
        release.set()
    for thread in threading.enumerate():
        if thread.name == "gaeport-ticket-values":
            thread.join(30)
    assert described(1) == "1"


def test_database_queries_are_not_asked_for_their_content() -> None:
    class QuerySet:
        def __repr__(self) -> str:
            raise AssertionError("asked")

    assert shown(QuerySet()).endswith("QuerySet, not asked for its content>")


def test_values_under_secret_names_are_hidden_at_every_depth() -> None:
    assert described("hunter22", "user_password") == "[redacted]"
    assert "hunter22" not in described({"a": [{"api_key": "hunter22"}]})
    assert "geheim99" not in described({"kennwort": "geheim99"}, limits=Limits(secret_names=("Kennwort",)))


def test_at_most_so_many_variables_of_a_frame_are_shown() -> None:
    frame = {f"v{number}": number for number in range(1_000)}
    assert len(describe([frame], Limits(variables=40), Secrets())[0]) == 40


def test_dunder_names_are_left_out() -> None:
    assert describe([{"__builtins__": {}, "a": 1}], Limits(), Secrets()) == [{"a": "1"}]
