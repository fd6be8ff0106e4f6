"""Structured lines: google-cloud-logging's own, letter by letter; long ones split without loss."""

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaeport.tickets import context
from gaeport.tickets.line import MAX_LINE, Formatter, joined, split, written
from tests.tickets.failing import caught, simple, with_cause


@pytest.fixture(scope="module")
def theirs() -> logging.Handler:
    """google-cloud-logging's handler, the oracle."""
    import google.cloud.logging_v2
    from google.cloud.logging_v2.handlers import StructuredLogHandler

    google.cloud.logging_v2._instrumentation_emitted = True
    return StructuredLogHandler(stream=io.StringIO(), project_id="shop", labels={"stage": "test"})


def record(message: object = "hello", *args: object, **more: Any) -> logging.LogRecord:
    error = more.pop("error", None)
    info = (type(error), error, error.__traceback__) if error is not None else None
    level = more.pop("level", logging.INFO)
    made = logging.LogRecord("shop.web", level, "/srv/web.py", 12, message, args, info, func="view")
    made.__dict__.update(more)
    return made


CORPUS: list[dict[str, Any]] = [
    {},
    {"message": "with %s and %d", "args": ("words", 3)},
    {"message": ""},
    {"message": "None"},
    {"message": None},
    {"message": 'quotes " and \\ and \n lines \t tabs'},
    {"message": "Grüße, 你好 🙂"},
    {"message": {"a": 1, "b": [1, 2, {"c": None}]}},
    {"message": {"a": 1, "severity": "no", "time": "no", "httpRequest": {}, "message": "in it"}},
    {"message": {}},
    {"message": '{"json": "text", "n": 1.5}'},
    {"message": '{"not": json'},
    {"message": "[1, 2]"},
    {"message": "x", "json_fields": {"order": 7, "items": ["a"]}},
    {"message": {"a": 1}, "json_fields": {"a": 2, "b": 3}},
    {"message": '{"a": 1}', "json_fields": {"b": 3}},
    {"message": None, "json_fields": {"b": 3}},
    {"message": "x", "json_fields": "not a mapping"},
    {"message": "x", "labels": {"shop": "1", "stage": "other"}},
    {"message": "x", "trace": "projects/p/traces/t", "span_id": "s", "trace_sampled": True},
    {"message": "x", "trace": "", "span_id": ""},
    {"message": "x", "http_request": {"requestUrl": "http://h/", "status": 404}},
    {"message": "x", "http_request": None},
    {"message": "x", "source_location": {"file": "a.py", "line": 1}},
    {"message": "x", "source_location": None},
    *({"message": "x", "level": level} for level in (logging.DEBUG, logging.WARNING, logging.ERROR, logging.CRITICAL)),
]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: str(case)[:60])
def test_a_line_is_google_cloud_loggings_own(case: dict[str, Any], theirs: logging.Handler) -> None:
    fields = {**case}
    arguments = fields.pop("args", ())
    made = record(fields.pop("message", "hello"), *arguments, **fields)
    other = logging.makeLogRecord(made.__dict__)
    theirs.filter(other)
    assert Formatter("shop", {"stage": "test"}).format(made) == theirs.format(other)


@pytest.mark.parametrize("fail", [simple, with_cause])
def test_a_traceback_is_written_as_google_cloud_logging_writes_it(fail: Any, theirs: logging.Handler) -> None:
    made = record("failed", error=caught(fail), level=logging.ERROR)
    other = logging.makeLogRecord(made.__dict__)
    theirs.filter(other)
    assert Formatter("shop", {"stage": "test"}).format(made) == theirs.format(other)


TRACES: list[dict[str, str]] = [
    {},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1"},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/18446744073709551615;o=0"},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/notanumber"},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000"},
    {"X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000;o=1"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"},
    {"traceparent": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
    {"traceparent": "nonsense", "X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/9;o=1"},
    {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Cloud-Trace-Context": "105445aa7843bc8bf206b12000100000/1;o=1",
    },
]


@pytest.mark.parametrize("headers", TRACES, ids=str)
@pytest.mark.parametrize("url", ["/", "/a/b?page=2&sort=name", "/with%20blank?x=1"])
def test_a_requests_line_is_google_cloud_loggings_own(
    headers: dict[str, str], url: str, theirs: logging.Handler
) -> None:
    from flask import Flask

    made = record("in a request")
    with Flask("shop").test_request_context(url, headers={"User-Agent": "curl/8", **headers}, method="POST") as pushed:
        context.begin(pushed.request.environ)
        other = logging.makeLogRecord(made.__dict__)
        theirs.filter(other)
        assert Formatter("shop", {"stage": "test"}).format(made) == theirs.format(other)


def test_a_trace_that_is_no_trace_is_left_out() -> None:
    context.begin({"HTTP_X_CLOUD_TRACE_CONTEXT": '"},{"severity":"ERROR', "HTTP_TRACEPARENT": "00-\n-\n-01"})
    assert json.loads(Formatter("shop").format(record()))["logging.googleapis.com/trace"] == ""


def test_a_traceback_that_a_ticket_has_told_is_not_told_again() -> None:
    error = caught(simple)
    error.__gaeport_ticket__ = "K7QF2B-3M2XAB-9TZQ"  # type: ignore[attr-defined]
    line = json.loads(Formatter("shop").format(record("Exception on /", error=error)))
    assert line["message"] == "Exception on / (ticket K7QF2B-3M2XAB-9TZQ)"


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", float("nan"), "\ud800"])
def test_what_is_not_json_is_told_as_text(value: object) -> None:
    line = Formatter("shop").format(record({"value": value}))
    assert "value" in json.loads(line)
    line.encode()


def test_a_cycle_ends() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert "self" in json.loads(Formatter("shop").format(record(endless)))


@pytest.mark.parametrize("letter", ["x", "ä", '"', "\n", "🙂", "\x00"])
def test_a_long_message_becomes_several_lines_under_the_limit(letter: str) -> None:
    lines = Formatter("shop").lines(record(letter * 600_000, level=logging.ERROR))
    assert len(lines) > 1
    assert all(len(line.encode()) < 256_000 for line in lines)
    assert joined(lines) == [{"message": letter * 600_000}]
    severities = [json.loads(line)["severity"] for line in lines]
    assert severities == ["ERROR", *["DEBUG"] * (len(lines) - 1)]  # reported once
    labels = {json.dumps(json.loads(line)["logging.googleapis.com/labels"]) for line in lines}
    assert len(labels) == 1


def test_a_message_under_the_limit_is_one_line() -> None:
    assert len(Formatter("shop").lines(record("x" * (MAX_LINE - 1_000)))) == 1


def test_lines_of_several_entries_are_joined_in_any_order() -> None:
    first, second = {"message": "a" * 300_000}, {"message": "b", "many": list(range(90_000))}
    lines = [*split(first, {}), *split(second, {}), "not json", "[]", written({"message": "short"}, {})]
    found = joined(reversed(lines))
    assert sorted(entry["message"][:5] for entry in found) == ["aaaaa", "b", "short"]
    assert second in found
    assert joined(lines[:1]) == []


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=50))
def test_any_text_survives_being_split(part: str) -> None:
    lines = split({"message": part * 9_000}, {"severity": "INFO"})
    assert all(len(line.encode("utf-8", "surrogatepass")) < 256_000 for line in lines)
    assert joined(lines) == [{"message": part * 9_000}]
