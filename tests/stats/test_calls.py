"""gaeport.testing.assert_calls: a test holds a piece of an application to a number of calls and a price."""

from collections.abc import Iterator
from typing import Any

import pytest

from gaeport import testing
from gaeport.datastore import wire


@pytest.fixture
def client() -> Iterator[Any]:
    with testing.datastore() as store:
        yield store.client


def put(client: Any, name: str) -> None:
    mutation = wire.Mutation()
    mutation.upsert.key.CopyFrom(client.key("Note", name))
    client.commit([mutation])


def get(client: Any, name: str) -> None:
    client.lookup([client.key("Note", name)])


def test_a_block_that_calls_as_expected_passes(client: Any) -> None:
    with testing.assert_calls({"Lookup": 1, "Commit": 1}, price=0.0000024, repeated=1) as calls:
        get(client, "a")
        put(client, "a")
    assert calls.total_calls == 2
    with testing.assert_calls(0):
        pass


def test_other_calls_than_expected_fail_naming_the_line_of_code(client: Any) -> None:
    def both() -> None:
        with testing.assert_calls({"Lookup": 1}):
            get(client, "a")
            put(client, "a")

    with pytest.raises(AssertionError) as failure:
        both()
    text = str(failure.value)
    assert text.startswith("expected 1 Lookup; there were 1 Lookup, 1 Commit")
    assert "1 Commit Note" in text
    assert "test_calls.py:" in text
    assert "in put" in text


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"at_most": 1}, "expected at most 1 calls, there were 2"),
        ({"expected": 3}, "expected 3 calls, there were 2"),
        ({"price": 0.000001}, "expected at most $0.000001000, the calls cost $0.000001200"),
        ({"repeated": 1}, "made Lookup Note 2 times"),
    ],
)
def test_more_or_dearer_calls_fail(client: Any, expected: dict[str, Any], message: str) -> None:
    def two() -> None:
        with testing.assert_calls(**expected):
            for name in ("a", "b"):
                get(client, name)

    with pytest.raises(AssertionError) as failure:
        two()
    assert message in str(failure.value)


def test_the_blocks_own_exception_is_not_hidden(client: Any) -> None:
    with pytest.raises(ZeroDivisionError), testing.assert_calls(5):
        raise ZeroDivisionError


def test_expecting_nothing_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="needs something to expect"), testing.assert_calls():
        pass


def test_a_route_of_an_application_is_held_to_its_calls() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        from gaeport.datastore import client as connect

        here = connect()
        for number in range(3):
            get(here, str(number))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    with testing.app(app) as site:
        with testing.assert_calls({"Lookup": 3}):
            site.get("/")
        with pytest.raises(AssertionError, match="made Lookup Note 3 times"), testing.assert_calls(repeated=2):
            site.get("/")
