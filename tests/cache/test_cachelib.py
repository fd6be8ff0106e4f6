"""cachelib's contract, and Flask-Caching on it."""

from datetime import timedelta
from typing import Any

import flask
import pytest
from cachelib import SimpleCache
from flask_caching import Cache as FlaskCache
from webtest import TestApp

from gaeport.cache import Cache
from gaeport.cache.cachelib import GaeportCache
from gaeport.kv import KV
from tests.cache.conftest import Clock


@pytest.fixture(params=["gaeport", "cachelib's own"])
def any_cache(request: pytest.FixtureRequest, kv: KV) -> Any:
    """What holds for cachelib's own simplest cache holds for this one."""
    return GaeportCache(kv) if request.param == "gaeport" else SimpleCache()


def test_set_get_and_delete(any_cache: Any) -> None:
    assert any_cache.get("key") is None
    assert any_cache.set("key", {"a": [1, 2]}) is True
    assert any_cache.get("key") == {"a": [1, 2]}
    assert any_cache.delete("key") is True
    assert any_cache.delete("key") is False
    assert any_cache.get("key") is None


def test_many_at_once(any_cache: Any) -> None:
    assert any_cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
    assert any_cache.get_many("a", "x", "b") == [1, None, 2]
    assert any_cache.get_dict("a", "x") == {"a": 1, "x": None}
    assert any_cache.delete_many("a", "x") == ["a", "x"]
    assert any_cache.get_many("a", "b") == [None, 2]


def test_add_and_has(any_cache: Any) -> None:
    assert any_cache.has("key") is False
    assert any_cache.add("key", 1) is True
    assert any_cache.add("key", 2) is False
    assert any_cache.get("key") == 1
    assert any_cache.has("key") is True


def test_inc_and_dec(any_cache: Any) -> None:
    assert any_cache.inc("n", 2) == 2
    assert any_cache.inc("n") == 3
    assert any_cache.dec("n", 5) == -2
    assert any_cache.get("n") == -2
    assert any_cache.dec("other") == -1


def test_clear_removes_everything(any_cache: Any) -> None:
    any_cache.set_many({"a": 1, "b": 2})
    assert any_cache.clear() is True
    assert any_cache.get_many("a", "b") == [None, None]


def test_timeouts(kv: KV, clock: Clock) -> None:
    cache = GaeportCache(kv, default_timeout=10)
    cache.set("default", 1)
    cache.set("short", 1, timeout=5)
    cache.set("delta", 1, timeout=timedelta(seconds=20))
    cache.set("ever", 1, timeout=0)
    living = []
    for _ in range(4):
        living.append([key for key in ("short", "default", "delta", "ever") if cache.has(key)])
        clock.now += 6
    assert living == [
        ["short", "default", "delta", "ever"],
        ["default", "delta", "ever"],
        ["delta", "ever"],
        ["delta", "ever"],
    ]
    clock.now += 86_400 * 1000
    assert cache.get("ever") == 1


def test_a_time_of_less_than_a_second_is_not_for_ever(kv: KV, clock: Clock) -> None:
    cache = GaeportCache(kv, default_timeout=timedelta(milliseconds=500))
    cache.set("default", 1)
    cache.set("short", 1, timeout=timedelta(milliseconds=200))
    clock.now += 1.1
    assert cache.get_many("default", "short") == [None, None]


def test_a_time_that_is_none_is_refused(any_cache: Any) -> None:
    with pytest.raises(TypeError, match="timeout"):
        any_cache.set("key", 1, timeout="60")


def test_clear_leaves_others_alone(kv: KV) -> None:
    one, two, cache = GaeportCache(kv, namespace="one"), GaeportCache(kv, namespace="two"), Cache(kv)
    for store in (one, two, cache):
        store.set("key", 1)
    one.clear()
    assert [store.get("key") for store in (one, two, cache)] == [None, 1, 1]


def test_flask_caching_runs_on_it_unchanged() -> None:
    app = flask.Flask(__name__)
    options = {"url": "memory://flask-caching-of-this-test", "namespace": "shop"}
    app.config.update(CACHE_TYPE="gaeport.cache.cachelib.GaeportCache", CACHE_OPTIONS=options)
    cache = FlaskCache(app)
    calls: list[int] = []

    @app.get("/")
    @cache.cached(timeout=60, query_string=True)
    def index() -> str:
        calls.append(1)
        return f"page {len(calls)}"

    @cache.memoize(60)
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    browser = TestApp(app)
    assert [browser.get("/").text for _ in range(3)] == ["page 1"] * 3
    assert browser.get("/?a=1").text == "page 2"
    with app.app_context():
        assert [double(4), double(4), double(5)] == [8, 8, 10]
        cache.delete_memoized(double)
        assert double(4) == 8
        cache.clear()
    assert calls == [1, 1, 4, 5, 4]
    assert browser.get("/").text == "page 6"
