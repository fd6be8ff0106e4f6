"""What a ticket records: chain, notes, groups, source lines, variables; Python's own traceback is the oracle."""

import json
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.settings import TicketSettings
from gaeport.tickets import context
from gaeport.tickets.fingerprint import fingerprint
from gaeport.tickets.records import Record, build, stack_trace, title
from tests.tickets import failing
from tests.tickets.failing import caught

NUMBER = "K7QF2B-3M2XAB-9TZQ"


def record_of(error: BaseException, **options: object) -> Record:
    made = build(error, NUMBER, fingerprint(error), context.current(), TicketSettings(**options))  # type: ignore[arg-type]
    json.dumps(made)
    return made


def without_carets(text: str) -> str:
    lines = (line for line in text.splitlines() if not re.fullmatch(r"\s*[~^]+\s*", line))
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize(
    "fail", [failing.simple, failing.with_cause, failing.with_context, failing.with_notes, failing.elsewhere]
)
def test_the_stack_trace_is_pythons_own_but_for_the_marks_under_lines(fail: Callable[[], None]) -> None:
    error = caught(fail)
    expected = "".join(traceback.format_exception(error))
    assert without_carets(stack_trace(record_of(error))) == without_carets(expected)


def test_the_chain_says_how_each_exception_goes_back_to_the_next() -> None:
    found = record_of(caught(failing.with_cause))["exceptions"]
    assert [(link["how"], link["type"]) for link in found] == [("", "ValueError"), ("cause", "KeyError")]
    found = record_of(caught(failing.with_context))["exceptions"]
    assert [(link["how"], link["type"]) for link in found] == [("", "ValueError"), ("context", "KeyError")]


def test_a_group_is_recorded_with_its_members_and_their_causes() -> None:
    found = record_of(caught(failing.group))["exceptions"]
    kinds = [(link["how"], link["type"]) for link in found]
    assert kinds == [
        ("", "ExceptionGroup"),
        ("member", "KeyError"),
        ("member", "ValueError"),
        ("cause", "KeyError"),
    ]


def test_an_exception_that_goes_back_to_itself_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert len(record_of(first)["exceptions"]) == 2


def test_notes_are_recorded() -> None:
    assert record_of(caught(failing.with_notes))["exceptions"][0]["notes"] == ["first note", "second note"]


def test_notes_that_are_not_a_list_of_texts_are_left_out() -> None:
    error = ValueError("odd")
    error.__notes__ = 7  # type: ignore[assignment]
    assert record_of(error)["exceptions"][0]["notes"] == []


def test_a_frame_has_its_source_lines_and_variables() -> None:
    frame = record_of(caught(failing.simple))["exceptions"][0]["frames"][-1]
    assert frame["function"] == "simple"
    assert dict(frame["source"])[frame["line"]].strip() == 'basket["pears"]'
    assert frame["locals"] == {"basket": "{'apples': 3}"}


def test_variables_are_left_out_where_the_settings_say_so() -> None:
    frame = record_of(caught(failing.simple), locals=False)["exceptions"][0]["frames"][-1]
    assert frame["locals"] == {}


def test_a_recursion_keeps_its_ends_and_says_what_was_left_out() -> None:
    frames = record_of(caught(failing.deep))["exceptions"][0]["frames"]
    assert len(frames) == 40
    assert [frame["left_out"] for frame in frames if frame.get("left_out")] == [frames[10]["left_out"]]
    assert frames[10]["left_out"] > 100


def test_a_recursion_behind_an_error_leaves_the_errors_own_variables() -> None:
    def fail() -> None:
        wanted = "seen"
        try:
            failing.deep()
        except RecursionError as error:
            raise ValueError(len(wanted)) from error

    first = record_of(caught(fail))["exceptions"][0]
    assert first["frames"][-1]["locals"]["wanted"] == "'seen'"


def test_an_exception_whose_text_fails_is_recorded_all_the_same() -> None:
    found = record_of(caught(failing.unprintable))
    assert "RuntimeError" in found["exceptions"][0]["message"]


def test_a_syntax_error_shows_the_line_that_it_is_about() -> None:
    error = caught(lambda: compile("if True\n  pass", "views/index.html", "exec"))
    assert 'File "views/index.html", line 1' in record_of(error)["exceptions"][0]["message"]


def test_text_that_cannot_be_encoded_is_escaped() -> None:
    found = record_of(ValueError("name \udcff"))
    assert found["exceptions"][0]["message"] == r"name \udcff"


def test_a_long_message_is_cut() -> None:
    message = record_of(ValueError("x y " * 10_000))["exceptions"][0]["message"]
    assert len(message) < 5_000
    assert message.endswith("(40,000 characters)")


def test_the_title_names_the_applications_innermost_function() -> None:
    settings.configure(root=Path(__file__).parents[2])
    assert title(caught(failing.simple)) == "KeyError: 'pears' (tests/tickets/failing.py, in simple)"


def test_the_request_is_described_with_its_trace() -> None:
    settings.configure(project="shop")
    context.begin(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/pay/\xe4",
            "QUERY_STRING": "page=2&token=abc123",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8080",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.7",
            "HTTP_USER_AGENT": "curl/8",
            "HTTP_COOKIE": "session=0123456789",
            "HTTP_X_CLOUD_TRACE_CONTEXT": "105445aa7843bc8bf206b12000100000/1;o=1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "wsgi.url_scheme": "http",
            "bottle.request.forms": {"card": "4111111111111111"},
            "REMOTE_USER": "ann",
        }
    )
    found = record_of(ValueError("x"))
    assert found["request"] == {
        "method": "POST",
        "url": "http://localhost:8080/pay/%E4?page=2&token=[redacted]",
        "protocol": "HTTP/1.1",
        "remote": "192.0.2.7",
        "headers": {
            "User-Agent": "curl/8",
            "Cookie": "[redacted]",
            "X-Cloud-Trace-Context": "[redacted]/1;o=1",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        "form": ["card"],
    }
    assert found["trace"] == "projects/shop/traces/105445aa7843bc8bf206b12000100000"
    assert found["span"] == "0000000000000001"
    assert found["user"] == "ann"


def test_a_query_of_very_many_fields_is_no_obstacle() -> None:
    context.begin({"QUERY_STRING": "&".join(["token=abcdefg"] * 5_000), "PATH_INFO": "/"})
    assert "abcdefg" not in json.dumps(record_of(ValueError("x")))


def test_a_password_that_is_a_word_does_not_hide_the_names_of_functions() -> None:
    def checkout(password: str) -> None:
        raise ValueError(f"not {password}")

    found = record_of(caught(lambda: checkout("checkout")))["exceptions"][0]
    assert found["message"] == "not [redacted]"
    assert found["frames"][-1]["function"].endswith("checkout")


def test_a_secret_is_found_again_as_urls_and_reprs_write_it() -> None:
    sent = "geheim & süß".encode().decode("latin-1")
    context.begin({"PATH_INFO": f"/reset/{sent}", "HTTP_X_API_KEY": sent})
    error = ValueError(repr("geheim & süß"))
    assert "geheim" not in json.dumps(record_of(error))


def test_nobody_is_the_user_because_a_header_says_so() -> None:
    context.begin({"HTTP_X_APPENGINE_USER_EMAIL": "root@example.org", "HTTP_X_APPENGINE_USER_ID": "1"})
    assert record_of(ValueError("x"))["user"] == ""
