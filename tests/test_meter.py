"""Counting calls and pricing them."""

import pytest

from gaeport import meter


def test_nested_blocks_count_each_call_once_each() -> None:
    with meter.measure() as outer:
        meter.record("Lookup", 0.5, datastore__read=2)
        with meter.measure() as inner:
            meter.record("Commit", 0.25, datastore__write=1, datastore__delete=0)
    assert outer.calls == {"Lookup": 1, "Commit": 1}
    assert inner.calls == {"Commit": 1}
    assert inner.units == {"datastore.write": 1}
    assert (outer.total_calls, outer.seconds) == (2, 0.75)


def test_nothing_is_counted_outside_a_block() -> None:
    with meter.measure() as counted:
        pass
    meter.record("Lookup", 1.0, datastore__read=1)
    assert counted.total_calls == 0


def test_the_price_is_that_of_the_price_list() -> None:
    with meter.measure() as counted:
        meter.record("RunQuery", 0.0, datastore__read=100_000)
        meter.record("Commit", 0.0, datastore__write=100_000, datastore__delete=100_000)
        meter.record("write", 0.0, storage__class_a=1_000, storage__class_b=1_000)
    assert counted.price == pytest.approx(0.06 + 0.18 + 0.02 + 0.005 + 0.0004)
