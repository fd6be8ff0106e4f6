"""An application on SQLite and file sessions, unchanged on Datastore and mounts, in two processes."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from webtest import TestApp, TestResponse

from tests.devserver.serving import Served
from tests.web2py.conftest import form_with, log_in, register

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("web2py")]

Visitor = Callable[[], TestApp]
PICTURE = bytes(range(256)) * 40
NEW, ITEMS = "/shop/default/items/new/item", "/shop/default/items"


def add_item(user: TestApp, name: str, tags: list[str], price: str = "9.90", picture: bytes = b"") -> TestResponse:
    """Fill in the grid's form for a new row; a list has one field an entry, as the browser's widget sends it."""
    form = form_with(user.get(NEW), "tags")
    hidden = [(key, form[key].value) for key in ("_formkey", "_formname")]
    fields = [("name", name), ("price", price), *(("tags", tag) for tag in tags), *hidden]
    files = [("picture", "photo.png", picture)] if picture else [("picture", "", b"")]
    return user.post(NEW, fields, upload_files=files)


def rows_of(grid: TestResponse) -> list[str]:
    return [row.get_text(" ", strip=True) for row in grid.html.select(".web2py_table tbody tr")]


def test_a_visitor_registers_logs_out_and_in_again(visitor: Visitor) -> None:
    user = visitor()
    register(user, "shop", "ada@example.com")
    assert user.get("/shop/default/index").text == "visit 1 by Ada"
    user.get("/shop/default/user/logout")
    assert user.get("/shop/default/index").text.endswith("by nobody")
    assert not log_in(user, "shop", "ada@example.com", "wrong")
    assert log_in(user, "shop", "ada@example.com")
    assert user.get("/shop/default/index").text.endswith("by Ada")


def test_an_address_registers_once(visitor: Visitor) -> None:
    register(visitor(), "shop", "once@example.com")
    form = form_with(visitor().get("/shop/default/user/register"), "first_name")
    form["first_name"], form["last_name"], form["email"] = "A", "B", "once@example.com"
    form["password"] = form["password_two"] = "Pa55word!"
    answer = form.submit()
    assert answer.status_int == 200
    assert answer.html.select_one("#email__error").get_text() == "This email already has an account"


def test_a_file_session_is_the_same_in_both_processes(site: Served, visitor: Visitor) -> None:
    user = visitor()
    processes = {user.get("/shop/default/process").text for _ in range(40)}
    assert len(processes) == 2
    assert [user.get("/shop/default/index").text for _ in range(6)] == [f"visit {n} by nobody" for n in range(1, 7)]


def test_the_grid_adds_shows_sorts_searches_edits_and_deletes(member: TestApp) -> None:
    for name, price in (("lamp", "30.00"), ("apple", "0.50"), ("zebra", "999.99")):
        assert add_item(member, name, ["grid", name], price).status_int == 303
    found = rows_of(member.get(f"{ITEMS}?keywords=item.tags+contains+%22grid%22&order=item.name"))
    assert [row.split()[1] for row in found] == ["apple", "lamp", "zebra"]
    found = rows_of(member.get(f"{ITEMS}?keywords=item.tags+contains+%22grid%22&order=~item.price"))
    assert [row.split()[1] for row in found] == ["zebra", "lamp", "apple"]
    page = member.get(f"{ITEMS}?keywords=item.name+%3D+%22lamp%22")
    number = re.search(r"items/edit/item/(\d+)", page.text)
    assert number is not None
    form = form_with(member.get(f"{ITEMS}/edit/item/{number[1]}"), "price")
    form["price"] = "31.25"
    assert form.submit().status_int == 303
    assert "lamp:grid+lamp:31.25:Ada" in member.get("/shop/default/tagged/lamp").text
    form = form_with(member.get(f"{ITEMS}/edit/item/{number[1]}"), "price")
    form["delete_this_record"] = "on"
    form.submit()
    assert member.get("/shop/default/tagged/lamp").text == ""


def test_the_grid_exports_csv(member: TestApp) -> None:
    add_item(member, "exported", ["csv"])
    answer = member.get(f"{ITEMS}?_export_type=csv&keywords=item.tags+contains+%22csv%22")
    assert "exported,csv,,9.90,Ada Byron" in answer.text


def test_a_list_keeps_its_order_and_is_found_by_one_of_it(member: TestApp) -> None:
    assert add_item(member, "listed", ["zinc", "amber", "zinc-2"]).status_int == 303
    assert member.get("/shop/default/tagged/amber").text == "listed:zinc+amber+zinc-2:9.90:Ada"


def test_an_upload_is_downloaded_by_the_other_process(member: TestApp, project: Path) -> None:
    assert add_item(member, "with a picture", ["upload"], picture=PICTURE).status_int == 303
    page = member.get(f"{ITEMS}?keywords=item.tags+contains+%22upload%22")
    name = re.search(r"item\.picture\.[\w.]+", page.text)
    assert name is not None
    answers = [member.get(f"/shop/default/download/{name[0]}") for _ in range(8)]
    assert {answer.body for answer in answers} == {PICTURE}
    assert answers[0].content_type == "image/png"
    assert not list(Path(project, "web2py/applications/shop").glob("uploads/*"))


def test_the_cache_is_shared_by_both_processes(site: Served, visitor: Visitor) -> None:
    user = visitor()
    assert len({user.get("/shop/default/counted").text for _ in range(20)}) == 1


def test_an_exception_gives_a_ticket(visitor: Visitor) -> None:
    answer = visitor().get("/shop/default/broken", status=500)
    assert re.search(r"/admin/default/ticket/shop/[\w.-]+", answer.text)


def test_what_a_failed_request_wrote_is_undone(member: TestApp) -> None:
    member.get("/shop/default/lost", status=500)
    assert member.get("/shop/default/tagged/lost").text == ""


def test_a_write_outside_the_mounts_is_refused(visitor: Visitor, project: Path) -> None:
    visitor().get("/shop/default/write", status=500)
    assert not Path(project, "web2py/applications/shop/static/new.txt").exists()


def test_nothing_is_written_to_the_tree(site: Served, visitor: Visitor, project: Path) -> None:
    visitor().get("/shop/default/index")
    shop = Path(project, "web2py/applications/shop")
    assert not {entry.name for entry in shop.iterdir()} & {"databases", "errors", "sessions", "cache", "uploads"}
