"""The page of statistics: what it shows, and that it shows it as text."""

import html
import time
from pathlib import Path

import pytest

from gaeport import settings, wsgi
from gaeport.stats import sinks
from tests.console.conftest import Visitor, answering, hashed
from tests.stats.build import make

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture
def admin(tmp_path: Path) -> Visitor:
    """Somebody who has logged in; what the console itself is asked is not recorded."""
    settings.configure(root=tmp_path, data=settings.MEMORY, console={"password_hash": hashed()})
    found = Visitor(wsgi.wrap(answering))
    assert found.log_in().status_int == 303
    return found


def test_without_requests_it_says_what_to_do(admin: Visitor) -> None:
    page = admin.get("/_ah/stats")
    assert page.status_int == 200
    assert "No requests recorded" in page.text
    assert "Every request is recorded" in page.text


def test_a_request_of_the_application_shows_up(admin: Visitor) -> None:
    assert admin.get("/orders/17").text == "the application"
    page = admin.get("/_ah/stats")
    assert "/orders/*" in page.text
    assert "GET /orders/17" in page.click(description="GET /orders/17", index=0).text


def test_both_addresses_show_the_same(admin: Visitor) -> None:
    sinks.write(make())
    assert admin.get("/_ah/stats").text == admin.get("/_gaeport/stats").text
    assert "/_ah/stats" not in admin.get("/_ah/stats").text


def test_a_requests_timeline_has_a_bar_a_call_and_names_repeated_lines(admin: Visitor) -> None:
    sample = make(12, line=1)
    sinks.write(sample)
    overview = admin.get("/_ah/stats").text
    assert "shop/orders.py:57" in overview
    page = admin.get(f"/_ah/stats/{sample.id}").text
    assert page.count("<rect") == 12
    assert "made Lookup Order 12 times" in page
    assert "12 times" in page
    assert "$0.0000072" in page


def test_filters_and_pages(admin: Visitor) -> None:
    for number in range(120):
        sinks.write(make(1, route="/a" if number % 2 else "/b", path=f"/p{number}", at=time.time() - number))
    sinks.write(make(1, route="/old", at=time.time() - 2 * 3600))
    page = admin.get("/_ah/stats?hours=1")
    assert "120 requests" in page.text
    assert "/old" not in page.text
    assert "/old" in admin.get("/_ah/stats?hours=24").text
    only = admin.get("/_ah/stats?hours=1&route=/a").text
    assert "60 requests" in only
    assert ">/b<" not in only
    second = page.click(description="Next")
    assert "GET /p60" in second.text
    assert second.click(description="Previous").status_int == 200
    for odd in ("hours=7", "hours=x", "from=-1", "from=99999999999999", "from=%F0%9F%98%80", "route=%00"):
        assert admin.get(f"/_ah/stats?{odd}").status_int == 200


def test_what_visitors_send_is_shown_as_text(admin: Visitor) -> None:
    sample = make(
        8,
        kind=EVIL,
        route=EVIL,
        path=EVIL,
        method=EVIL,
        instance=EVIL,
        version=EVIL,
        trace=EVIL,
        lines=[(EVIL, 1, EVIL)] * 3,
    )
    sinks.write(sample)
    paths = ("/_ah/stats", f"/_ah/stats/{sample.id}", "/_ah/stats?route=%3Cscript%3Ex", "/_gaeport/%3Cscript%3E")
    for path in paths:
        page = admin.get(path).text
        assert "<script" not in page
        assert "<img src=x" not in page
    shown = admin.get(f"/_ah/stats/{sample.id}").text
    assert "{{7*7}}" in shown
    assert html.escape(EVIL).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in shown


def test_an_unknown_request_is_not_found(admin: Visitor) -> None:
    for number in ("0" * 16, "..", "%00", "a/b"):
        answer = admin.get(f"/_ah/stats/{number}")
        assert answer.status_int == 404
        assert "make room for new ones" in answer.text


def test_a_fault_of_a_page_is_told_and_logged(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gaeport.stats import reading

    def fail(hours: int) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(reading, "read", fail)
    answer = admin.get("/_ah/stats")
    assert answer.status_int == 500
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text


def test_the_overview_shows_settings_and_no_secret(admin: Visitor) -> None:
    page = admin.get("/_gaeport/").text
    assert "gaeport-local" in page
    assert "No mounts" in page
    assert "scrypt" not in page
