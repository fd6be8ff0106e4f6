"""web2py's own welcome and admin, untouched: Datastore because GAE_APPLICATION is set, sessions in it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from tests.devserver.serving import Served, serving
from tests.servers import free_port
from tests.web2py.browser import browser
from tests.web2py.conftest import PASSWORD, form_with, log_in, register, set_admin_password

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("web2py")]

Visitor = Callable[[], TestApp]


def test_welcome_registers_logs_in_and_keeps_its_sessions_in_datastore(visitor: Visitor) -> None:
    user = visitor()
    register(user, "welcome", "grace@example.com")
    assert re.match(r'"?\d+:', user.cookies["session_id_welcome"])
    assert "Welcome" in user.get("/welcome/default/index").text
    for _ in range(6):
        assert "profile" in user.get("/welcome/default/user/profile").request.path
    user.get("/welcome/default/user/logout")
    assert user.get("/welcome/default/user/profile").status_int == 303
    assert log_in(user, "welcome", "grace@example.com")


def test_a_user_of_one_application_is_none_of_another(visitor: Visitor) -> None:
    register(visitor(), "welcome", "alone@example.com")
    assert not log_in(visitor(), "shop", "alone@example.com")


def test_admin_is_disabled_without_a_password(visitor: Visitor) -> None:
    assert "admin disabled" in visitor().get("/admin/default/index").text


@pytest.fixture(scope="module")
def administered(project: Path) -> Iterator[Served]:
    """The project with a password for the admin, served on the port that the password is for."""
    port = free_port()
    set_admin_password(project, port)
    with serving(project, "--workers", "2", "--port", str(port)) as served:
        yield served


@pytest.fixture
def admin(administered: Served) -> TestApp:
    """A browser that is logged in as the administrator."""
    user = browser(administered.url)
    form = form_with(user.get("/admin/default/index"), "password")
    form["password"] = PASSWORD
    assert form.submit().status_int == 303
    return user


def test_a_wrong_password_does_not_open_admin(administered: Served) -> None:
    user = browser(administered.url)
    form = form_with(user.get("/admin/default/index"), "password")
    form["password"] = "wrong"
    form.submit()
    assert user.get("/admin/default/site").status_int == 303


def test_admin_shows_an_error_ticket(admin: TestApp, administered: Served) -> None:
    answer = browser(administered.url).get("/shop/default/broken", status=500)
    link = re.search(r"/admin/default/ticket/shop/[\w.-]+", answer.text)
    assert link is not None
    page = admin.get(link[0])
    assert "ZeroDivisionError" in page.text
    assert "return 1 / price" in page.html.get_text()
    listed = admin.get("/admin/default/errors/shop")
    assert "ZeroDivisionError" in listed.text


def test_admin_lists_the_applications(admin: TestApp) -> None:
    page = admin.get("/admin/default/site")
    for name in ("shop", "welcome"):
        assert f"/admin/default/design/{name}" in page.text


def test_appadmin_selects_inserts_and_edits(admin: TestApp) -> None:
    page = admin.get("/shop/appadmin/index")
    assert "db.item" in page.text
    form = form_with(admin.get("/shop/appadmin/insert/db/auth_group"), "role")
    form["role"], form["description"] = "buyers", "they buy"
    form.submit()
    found = admin.get("/shop/appadmin/select/db?query=db.auth_group.role%3D%3D%22buyers%22")
    assert "they buy" in found.text
    number = re.search(r"/shop/appadmin/update/db/auth_group/(\d+)", found.text)
    assert number is not None
    form = form_with(admin.get(f"/shop/appadmin/update/db/auth_group/{number[1]}"), "description")
    form["description"] = "they buy more"
    form.submit()
    found = admin.get("/shop/appadmin/select/db?query=db.auth_group.id%3E0")
    assert "they buy more" in found.text
