"""Logging in and out: guessing, forging, replaying."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gaeport import meter, settings, wsgi
from gaeport.console import attempts, logins, passwords, signing
from gaeport.datastore import own_client, wire
from gaeport.errors import ConfigurationError, Unavailable
from tests.console.conftest import PASSWORD, Visitor, cheapen, hashed


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheapen(monkeypatch)


def test_who_has_not_logged_in_sees_the_form_and_then_the_page(visitor: Visitor) -> None:
    answer = visitor.get("/_gaeport/stats?hours=1&route=%2Fa%26b")
    assert answer.status_int == 303
    form = visitor.get(answer.headers["Location"])
    after = re.search(r'name="next" value="([^"]*)"', form.text)
    assert after is not None
    assert after[1] == "/_gaeport/stats?hours=1&amp;route=%2Fa%26b"
    assert "gaeport-local" not in form.text  # nothing about the application before the password
    answer = visitor.log_in(after="/_gaeport/stats?hours=1")
    assert (answer.status_int, answer.headers["Location"]) == (303, "/_gaeport/stats?hours=1")
    assert "Log out" in visitor.get("/_gaeport/stats?hours=1").text


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD.upper(), PASSWORD + " ", "x" * 5000, "\udcff"])
def test_a_wrong_password_is_refused(visitor: Visitor, password: str) -> None:
    page = visitor.get("/_gaeport/login")
    fields = {"csrf": visitor.token(page), "password": password.encode("utf-8", "replace").decode()}
    answer = visitor.post("/_gaeport/login", fields)
    assert answer.status_int == 403
    assert 'role="alert"' in answer.text
    assert "not the password" in answer.text
    assert visitor.get().status_int == 303


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "javascript:alert(1)",
        "/_gaeport/../elsewhere",
        "/_gaeport//evil.example",
        "/elsewhere",
        "/_gaeport/\r\nSet-Cookie: a=b",
        "_gaeport/",
        "",
    ],
)
def test_the_login_leads_to_the_consoles_own_pages_only(visitor: Visitor, address: str) -> None:
    answer = visitor.log_in(after=address)
    assert answer.status_int == 303
    assert answer.headers["Location"] == "/_gaeport/"
    assert not any("a=b" in value for value in answer.headers.getall("Set-Cookie"))


def test_cookies_are_bound_to_this_host_under_https(app: wsgi.Application) -> None:
    https = {"wsgi.url_scheme": "https", "HTTP_HOST": "shop.example", "REMOTE_ADDR": "203.0.113.9"}
    answer = Visitor(app, **https).log_in()
    assert answer.status_int == 303
    cookies = answer.headers.getall("Set-Cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.startswith("__Host-gaeport-console-")
        assert "; Path=/; HttpOnly; SameSite=Lax; Secure" in cookie
        assert "Domain" not in cookie


def test_guessing_ends_after_ten_tries_and_the_right_password_does_not_help_then(visitor: Visitor) -> None:
    for _ in range(attempts.EACH):
        assert visitor.log_in("wrong").status_int == 403
    answer = visitor.log_in()
    assert answer.status_int == 429
    assert 0 < int(answer.headers["Retry-After"]) <= attempts.WINDOW + 1
    assert visitor.get().status_int == 303


def test_the_log_says_who_tried_and_who_got_in(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gaeport.console")
    visitor.log_in("wrong secret")
    visitor.log_in()
    said = [record.getMessage() for record in caplog.records if record.name == "gaeport.console"]
    assert said == [
        "a wrong password for the console, from 127.0.0.1",
        "somebody logged in to the console, from 127.0.0.1",
    ]


def test_tries_at_the_same_moment_are_counted_each(config: settings.Settings) -> None:
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: attempts.allow("203.0.113.9", ""), range(40)))
    assert waits.count(0) <= attempts.EACH


def test_many_addresses_together_have_an_allowance_too(config: settings.Settings) -> None:
    waits = [attempts.allow(f"203.0.113.{number}", "") for number in range(attempts.ALL + 5)]
    assert waits.count(0) == attempts.ALL
    assert all(waits[attempts.ALL :])


def test_the_allowance_comes_back_with_time(config: settings.Settings) -> None:
    now = 1_000_000.0
    for _ in range(attempts.EACH):
        assert attempts.allow("a", "", lambda: now) == 0
    assert attempts.allow("a", "", lambda: now) > 0
    assert attempts.allow("a", "", lambda: now + attempts.WINDOW + 1) == 0


def test_guessers_do_not_lock_out_a_browser_that_has_logged_in_before(app: wsgi.Application) -> None:
    known = Visitor(app)
    known.log_in()
    known.post("/_gaeport/logout", {"csrf": known.token(known.get())})
    for number in range(attempts.ALL):
        attempts.allow(f"203.0.113.{number}", "")
    assert Visitor(app).log_in().status_int == 429
    assert known.log_in().status_int == 303


def test_a_known_browser_has_its_own_limit_and_a_forged_name_none(app: wsgi.Application) -> None:
    known = Visitor(app)
    known.log_in()
    known.post("/_gaeport/logout", {"csrf": known.token(known.get())})
    for _ in range(attempts.EACH):
        assert known.log_in("wrong").status_int == 403
    assert known.log_in().status_int == 429
    forged = Visitor(app)
    forged.site.set_cookie("gaeport-console-device", "0" * 32 + "." + "0" * 51)
    for _ in range(attempts.EACH):
        forged.log_in("wrong")
    assert forged.log_in().status_int == 429


def test_knowing_the_password_forgets_the_wrong_tries(visitor: Visitor) -> None:
    for _ in range(attempts.EACH - 1):
        visitor.log_in("wrong")
    assert visitor.log_in().status_int == 303
    visitor.site.reset()
    for _ in range(attempts.EACH):
        assert visitor.log_in("wrong").status_int == 403


def test_without_datastore_nobody_may_try(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visitor.get("/_gaeport/login")

    def fail(*_: Any) -> int:
        raise Unavailable("no answer")

    monkeypatch.setattr(attempts, "allow", fail)
    answer = visitor.post("/_gaeport/login", {"csrf": visitor.token(page), "password": PASSWORD})
    assert answer.status_int == 503
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("token", ["", "x", "0" * 51, "é" * 51])
def test_the_login_form_needs_its_token(visitor: Visitor, token: str) -> None:
    visitor.get("/_gaeport/login")
    answer = visitor.post("/_gaeport/login", {"csrf": token, "password": PASSWORD})
    assert answer.status_int == 403
    assert visitor.get().status_int == 303


def test_the_login_form_of_another_browser_does_not_count(app: wsgi.Application) -> None:
    attacker, victim = Visitor(app), Visitor(app)
    token = attacker.token(attacker.get("/_gaeport/login"))
    victim.get("/_gaeport/login")
    assert victim.post("/_gaeport/login", {"csrf": token, "password": PASSWORD}).status_int == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_forms_from_other_sites_are_refused_even_with_a_token(app: wsgi.Application, headers: dict[str, str]) -> None:
    visitor, admin = Visitor(app), Visitor(app)
    page = visitor.get("/_gaeport/login")
    fields = {"csrf": visitor.token(page), "password": PASSWORD}
    assert visitor.post("/_gaeport/login", fields, headers=headers).status_int == 403
    admin.log_in()
    token = admin.token(admin.get())
    assert admin.post("/_gaeport/logout", {"csrf": token}, headers=headers).status_int == 403
    assert admin.get().status_int == 200


@pytest.mark.parametrize("path", ["logout", "stats", "", "tickets", "nothing"])
@pytest.mark.parametrize("token", [None, "", "0" * 51])
def test_every_form_needs_the_logins_own_token(app: wsgi.Application, path: str, token: str | None) -> None:
    admin = Visitor(app)
    admin.log_in()
    fields = {} if token is None else {"csrf": token}
    assert admin.post(f"/_gaeport/{path}", fields).status_int == 403
    other = Visitor(app)
    other.log_in()
    stolen = other.token(other.get())
    assert admin.post(f"/_gaeport/{path}", {"csrf": stolen}).status_int == 403
    assert admin.get().status_int == 200


def test_a_form_is_not_taken_from_the_query_or_as_json(admin: Visitor) -> None:
    token = admin.token(admin.get())
    assert admin.post(f"/_gaeport/logout?csrf={token}", {}).status_int == 403
    answer = admin.site.post_json("/_gaeport/logout", {"csrf": token}, expect_errors=True)
    assert answer.status_int == 415
    assert admin.post("/_gaeport/logout", {"csrf": token, "more": "x" * 70_000}).status_int == 413
    assert admin.post("/_gaeport/logout", {f"f{number}": "" for number in range(1_500)}).status_int == 400
    assert admin.get("/_gaeport/?" + "&".join(f"f{number}" for number in range(1_500))).status_int == 200
    assert admin.get().status_int == 200


def test_nothing_is_done_by_get(admin: Visitor) -> None:
    assert admin.get("/_gaeport/logout").status_int == 404
    assert admin.get().status_int == 200
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert admin.site.request("/_gaeport/", method=method, expect_errors=True).status_int == 405


def test_logging_out_ends_copies_of_the_cookie_too(admin: Visitor) -> None:
    copied = dict(admin.site.cookies)
    answer = admin.post("/_gaeport/logout", {"csrf": admin.token(admin.get())})
    assert answer.headers["Location"] == "/_gaeport/login"
    for name, value in copied.items():
        admin.site.set_cookie(name, value)
    assert admin.get().status_int == 303


@pytest.mark.parametrize("change", ["token", "time", "signature", "purpose"])
def test_a_forged_login_costs_no_call_and_counts_for_nothing(admin: Visitor, change: str) -> None:
    token, seen, signature = admin.site.cookies["gaeport-console-login"].split(".")
    forged = {
        "token": f"{'0' * 32}.{seen}.{signature}",
        "time": f"{token}.{int(seen) + 1}.{signature}",
        "signature": f"{token}.{seen}.{signature[:8]}{'0' * 43}",
        "purpose": f"{token}.{seen}.{signing.sign('device', f'{token}.{seen}')}",
    }[change]
    admin.site.set_cookie("gaeport-console-login", forged)
    with meter.measure() as calls:
        assert admin.get().status_int == 303
    assert calls.total_calls == 0


def test_a_login_ends_when_it_is_idle_and_in_any_case(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    config = settings.current().console
    monkeypatch.setattr(logins.time, "time", lambda: now + config.idle - 10)
    renewed = admin.get()
    assert renewed.status_int == 200
    assert "gaeport-console-login=" in renewed.headers["Set-Cookie"]
    monkeypatch.setattr(logins.time, "time", lambda: now + 2 * config.idle - 30)
    assert admin.get().status_int == 200
    monkeypatch.setattr(logins.time, "time", lambda: now + 3 * config.idle)
    assert admin.get().status_int == 303
    for passed in range(0, config.lifetime + 1, config.idle - 60):
        monkeypatch.setattr(logins.time, "time", lambda passed=passed: now + passed)
        admin.get()
    monkeypatch.setattr(logins.time, "time", lambda: now + config.lifetime + 1)
    assert admin.get().status_int == 303


def test_another_password_ends_every_login(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings.current()
    other = replace(config.console, password_hash=passwords.make_hash("another password"))
    assert admin.get().status_int == 200
    # Not by settings.use(), which would also end the data in memory.
    monkeypatch.setattr(settings, "_current", replace(config, console=other))
    assert admin.get().status_int == 303


def test_ended_logins_are_cleared_away(admin: Visitor, app: wsgi.Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def stored() -> int:
        query = wire.Query()
        query.kind.add().name = logins.KIND
        return len(list(own_client().query(query)))

    assert stored() == 1
    now = time.time()
    monkeypatch.setattr(logins.time, "time", lambda: now + settings.current().console.lifetime + 5)
    Visitor(app).log_in()
    assert stored() == 1


def test_only_a_hash_of_the_logins_token_is_stored(admin: Visitor) -> None:
    query = wire.Query()
    query.kind.add().name = logins.KIND
    token = admin.site.cookies["gaeport-console-login"].partition(".")[0]
    for found in own_client().query(query):
        assert token.encode() not in found.entity.SerializeToString()


def test_a_hash_is_salted_and_a_short_password_refused() -> None:
    assert passwords.make_hash(PASSWORD) != hashed()
    for wrong in ("short", "", "x" * 1001):
        with pytest.raises(ValueError, match="characters"):
            passwords.make_hash(wrong)


def test_a_real_hash_has_the_cost_that_owasp_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    made = passwords.make_hash(PASSWORD)
    assert made.startswith("$scrypt$ln=15,r=8,p=3$")
    assert passwords.matches(PASSWORD, made)


def test_the_same_letters_match_however_a_keyboard_sends_them() -> None:
    assert passwords.matches("cafe\u0301 au lait", passwords.make_hash("caf\u00e9 au lait"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain password",
        "$scrypt$ln=15,r=8,p=3$AAAA$BBBB",
        f"$scrypt$ln=30,r=8,p=3${'A' * 22}${'A' * 43}",  # would take more memory than there is
    ],
)
def test_what_is_no_hash_is_refused_by_the_settings(text: str, tmp_path: Any) -> None:
    assert not passwords.matches(PASSWORD, text)
    if text:
        with pytest.raises(ConfigurationError, match="gaeport console password"):
            settings.configure(root=tmp_path, console={"password_hash": text})


@pytest.mark.parametrize("prefix", ["//evil.example", "/\\evil.example", "/https://evil.example", "///"])
def test_a_prefix_never_leads_to_another_host(app: wsgi.Application, prefix: str) -> None:
    visitor = Visitor(app, SCRIPT_NAME=prefix)
    location = visitor.get().headers["Location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


def test_the_application_may_lie_under_a_prefix(app: wsgi.Application) -> None:
    visitor = Visitor(app, SCRIPT_NAME="/shop")
    assert visitor.get().headers["Location"] == "/shop/_gaeport/login?next=%2Fshop%2F_gaeport%2F"
    assert visitor.log_in(after="/shop/_gaeport/stats").headers["Location"] == "/shop/_gaeport/stats"
    visitor.site.reset()
    assert visitor.log_in(after="/_gaeport/").headers["Location"] == "/shop/_gaeport/"
