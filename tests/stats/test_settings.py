"""The tables [stats], [limits] and [prices] of gaeport.toml."""

from pathlib import Path
from typing import Any

import pytest

from gaeport import meter, settings
from gaeport.errors import ConfigurationError


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"stats": {"sample": 1.5}}, "sample = 1.5 must be from 0.0"),
        ({"stats": {"sample": -0.1}}, "sample = -0.1 must be from 0.0"),
        ({"stats": {"sample": "all"}}, "sample = 'all' must be a number"),
        ({"stats": {"keep": 0}}, "keep = 0 must be at least 1"),
        ({"stats": {"per_minute": 0}}, "per_minute = 0 must be at least 1"),
        ({"stats": {"rate": 1}}, "unknown key 'rate'; valid: keep, per_minute, sample"),
        ({"stats": 1}, r"must be written as a \[stats\] table"),
        ({"limits": {"calls_per_request": -1}}, "calls_per_request = -1 must be 0"),
        ({"limits": {"calls": 1}}, "unknown key 'calls'; valid: calls_per_request"),
        ({"prices": {"datastore_read": -0.06}}, "datastore_read = -0.06 must be 0 or more"),
        ({"prices": {"datastore_read": float("inf")}}, "datastore_read = inf must be 0 or more"),
        ({"prices": {"datastore_read": float("nan")}}, "datastore_read = nan must be 0 or more"),
        ({"prices": {"reads": 1.0}}, "unknown key 'reads'"),
        ({"console": {"idle": 0}}, "idle = 0 must be at least 1 second"),
        ({"console": {"password": "x"}}, "unknown key 'password'"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_valid(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings.configure(root=tmp_path, **table)


def test_prices_are_for_a_hundred_thousand_operations(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, prices={"datastore_read": 0.03, "logging_gib": 1.0})
    assert meter.price_of({"datastore.read": 100_000}) == pytest.approx(0.03)
    assert meter.price_of({"logging.byte": 2**30}) == pytest.approx(1.0)
    assert meter.price_of({"datastore.write": 100_000}) == pytest.approx(0.18)
    settings.configure(root=tmp_path)
    assert meter.price_of({"datastore.read": 100_000}) == pytest.approx(0.06)


def test_every_unit_that_is_counted_has_a_price() -> None:
    counted = {"datastore.read", "datastore.write", "datastore.delete", "storage.class_a", "storage.class_b"}
    assert counted <= set(meter.PRICES)
