"""URLs of stores."""

import sys

import pytest

from gaeport.errors import ConfigurationError, MissingExtraError
from gaeport.kv import connect


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://x", "unknown scheme 'mysql'; valid: memory://, memcached://"),
        ("memory://?size=3", "unknown option size"),
        ("memory://?limit=many", "invalid literal"),
        ("memcached://", "is not host:port"),
        ("memcached://host:port", "server 'host:port' is not host:port"),
        ("memcached://host:1?timeout=soon", "could not convert"),
        ("memory://?namespace=a:b", "namespace 'a:b' must be"),
        ("redis://host?ssl_nonsense=1", "redis-py refuses an option"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_valid(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect(url)
    assert message in str(raised.value)


def test_a_message_does_not_show_the_password() -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect("redis://user:secret@host/0?nonsense=1")
    assert "secret" not in str(raised.value)
    assert "redis://host/0" in str(raised.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("memcached://host", "pymemcache", "memcached"),
        ("redis://host", "redis", "redis"),
        ("appengine://", "google.appengine.api", "appengine"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"gaeport\[{extra}\]"):
        connect(url)


def test_nothing_is_called_before_the_first_use() -> None:
    for url in ("memcached://192.0.2.1", "redis://192.0.2.1", "rediss://192.0.2.1?ssl_cert_reqs=none"):
        kv = connect(url, timeout=0.05)
        assert kv.available
        assert kv.health()[0].failed_calls == 0


def test_options_may_stand_in_the_url() -> None:
    store = connect("memory://options-of-this-test")
    store.namespace("shop").set("key", b"x")
    assert connect("memory://options-of-this-test?namespace=shop").get("key") == b"x"
    assert connect("memory://options-of-this-test", namespace="shop").get("key") == b"x"
