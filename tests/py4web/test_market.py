"""py4web's scaffold with its auth on Datastore, the file system read-only, in two processes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from webtest import Form, TestApp, TestResponse

from tests.py4web.conftest import PASSWORD

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("py4web")]

Visitor = Callable[[], TestApp]
PICTURE = bytes(range(256)) * 40


def form_with(page: TestResponse, field: str) -> Form:
    return next(form for form in page.forms.values() if field in form.fields)


def register(user: TestApp, email: str) -> None:
    form = form_with(user.get("/market/auth/register"), "email")
    form["username"], form["email"], form["first_name"], form["last_name"] = email.split("@")[0], email, "Ada", "Byron"
    form["password"] = form["password_again"] = "Enough-3ntropy-For-Everyone!"
    assert form.submit().status_int == 303


def log_in(user: TestApp, email: str, password: str = "Enough-3ntropy-For-Everyone!") -> None:
    form = form_with(user.get("/market/auth/login"), "password")
    form["email"], form["password"] = email, password
    form.submit()


@pytest.fixture
def member(visitor: Visitor, request: pytest.FixtureRequest) -> TestApp:
    """A browser whose user has registered and is logged in."""
    user, email = visitor(), f"{request.node.name.encode().hex()[:40]}@example.com"
    register(user, email)
    log_in(user, email)
    return user


def test_a_visitor_registers_logs_in_and_out(visitor: Visitor) -> None:
    user = visitor()
    register(user, "ada@example.com")
    log_in(user, "ada@example.com", "wrong")
    assert "nobody" in user.get("/market/index").text
    log_in(user, "ada@example.com")
    assert all("Ada" in user.get("/market/index").text for _ in range(6))
    user.get("/market/auth/logout")
    assert "nobody" in user.get("/market/index").text


def test_the_grid_adds_uploads_shows_edits_and_deletes(member: TestApp, project: Path) -> None:
    form = form_with(member.get("/market/items?mode=new"), "tags")
    fields = [(key, form[key].value) for key in ("_formname", "_formkey")]
    fields += [("name", "lamp"), ("tags", "zinc"), ("tags", "amber")]
    member.post("/market/items?mode=new", fields, upload_files=[("picture", "photo.png", PICTURE)])
    name, tags, picture = member.get("/market/tagged/amber").text.split(":")
    assert (name, tags) == ("lamp", "zinc+amber")
    assert {member.get(f"/market/download/{picture}").body for _ in range(6)} == {PICTURE}
    assert not Path(project, "apps/market/uploads").exists()
    page = member.get("/market/items")
    number = re.search(r"mode=edit&(?:amp;)?id=(\d+)", page.text)
    assert number is not None
    assert "lamp" in page.text
    form = form_with(member.get(f"/market/items?mode=edit&id={number[1]}"), "name")
    form["name"], form["tags"] = "lantern", '["zinc", "brass"]'  # as its script fills it in
    form.submit()
    assert member.get("/market/tagged/brass").text == f"lantern:zinc+brass:{picture}"
    member.post(f"/market/items?mode=delete&id={number[1]}")
    assert "lantern" not in member.get("/market/items").text


def test_both_processes_answer(visitor: Visitor) -> None:
    user = visitor()
    assert len({user.get("/market/process").text for _ in range(40)}) == 2


def test_an_error_ticket_is_in_the_dashboard(visitor: Visitor) -> None:
    answer = visitor().get("/market/broken", status=500)
    ticket = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", answer.text)
    assert ticket is not None
    admin = visitor()
    assert admin.post_json("/_dashboard/login", {"password": "wrong"}).json["user"] is False
    assert admin.post_json("/_dashboard/login", {"password": PASSWORD}).json["user"] is True
    assert any(row["uuid"] == ticket[0] for row in admin.get("/_dashboard/tickets").json["payload"])
    assert "division by zero" in admin.get(f"/_dashboard/ticket/{ticket[0]}").text


def test_a_write_outside_the_mounts_is_refused(visitor: Visitor, project: Path) -> None:
    visitor().get("/market/write", status=500)
    assert not Path(project, "apps/market/static/new.txt").exists()
