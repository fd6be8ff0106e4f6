"""The guest book as its visitors see it, in memory and in a data folder, through the same wrapper as in production."""

import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from webtest import TestApp, Upload

import gaeport
from gaeport import settings
from gaeport.fs import mounts
from gaeport.welcome import app as guest_book
from gaeport.welcome import guestbook, pictures

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0" + b"j" * 1000
GIF = b"GIF89a" + b"g" * 1000
WEBP = b"RIFF\0\0\0\0WEBPVP8 " + b"w" * 1000
NOTE = {"author": "Ann", "message": "Hello", "tags": ""}


@pytest.fixture(params=["memory", "folder"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestApp]:
    data = ":memory:" if request.param == "memory" else "data"
    settings.configure(root=tmp_path, data=data, mounts=[{"path": "uploads"}])
    yield TestApp(gaeport.wrap(guest_book))
    mounts.unmount_all()


def sign(site: TestApp, *, picture: bytes | None = None, name: str = "picture.png", **fields: str) -> object:
    """Send the form as a browser does, and return the page that follows."""
    values: dict[str, object] = {**NOTE, **fields}
    if picture is not None:
        values["picture"] = Upload(name, picture)
    return site.post("/", values, status=303, content_type="multipart/form-data").follow()


def shown_pictures(page: object) -> list[str]:
    return re.findall(r'<img src="(/pictures/[^"]+)"', page.text)  # type: ignore[attr-defined]


def test_an_empty_book_says_so(site: TestApp) -> None:
    assert "No notes yet" in site.get("/")


def test_a_note_is_shown_after_signing(site: TestApp) -> None:
    page = sign(site, author="Ann Lee", message="Good morning", tags="#Sun tea")
    for text in ("Ann Lee", "Good morning", ">sun</a>", ">tea</a>", "Thank you"):
        assert text in page  # type: ignore[operator]
    assert "Thank you" not in site.get("/")


def test_the_newest_note_comes_first(site: TestApp) -> None:
    for text in ("first", "second", "third"):
        sign(site, message=text)
    shown = re.findall(r'class="message">(\w+)<', site.get("/").text)
    assert shown == ["third", "second", "first"]


def test_a_tag_shows_its_notes_only(site: TestApp) -> None:
    sign(site, message="about tea", tags="tea")
    sign(site, message="about both", tags="tea coffee")
    sign(site, message="about coffee", tags="coffee")
    page = site.get("/").click("tea", index=0)
    assert re.findall(r'class="message">([\w ]+)<', page.text) == ["about both", "about tea"]
    assert 'aria-current="true">tea<' in page
    assert "No note has the tag" in site.get("/?tag=milk")


@pytest.mark.parametrize("tag", ["", "tea"])
def test_older_notes_are_a_page_further(site: TestApp, tag: str) -> None:
    for number in range(guestbook.PAGE_SIZE + 2):
        sign(site, message=f"number {number}", tags="tea")
    first = site.get("/", {"tag": tag} if tag else {})
    assert len(re.findall("<article", first.text)) == guestbook.PAGE_SIZE
    second = first.click("Older notes")
    assert re.findall(r'class="message">([\w ]+)<', second.text) == ["number 1", "number 0"]
    assert "Older notes" not in second


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
    ids=["png", "jpeg", "gif", "webp"],
)
def test_a_picture_comes_back_as_it_was_sent(site: TestApp, content: bytes, kind: str) -> None:
    (url,) = shown_pictures(sign(site, picture=content, name="whatever.exe"))
    answer = site.get(url)
    assert (answer.body, answer.content_type) == (content, kind)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in answer.headers["Cache-Control"]
    assert site.head(url).body == b""


def test_a_picture_lands_in_the_mount_and_not_on_the_disk(site: TestApp, tmp_path: Path) -> None:
    sign(site, picture=PNG)
    assert len(os.listdir(tmp_path / "uploads")) == 1
    mounts.unmount_all()
    assert not (tmp_path / "uploads").exists()


def test_a_large_picture_survives(site: TestApp) -> None:
    content = PNG[:8] + os.urandom(2_000_000)
    (url,) = shown_pictures(sign(site, picture=content))
    assert site.get(url).body == content


def test_what_is_typed_is_never_markup(site: TestApp) -> None:
    attack = "<script>alert(1)</script>\"'&"
    page = sign(site, author=attack, message=attack, tags="x", picture=PNG)
    assert "<script" not in page.text  # type: ignore[attr-defined]
    assert "&lt;script&gt;alert(1)" in page  # type: ignore[operator]
    assert "<script" not in site.get("/", {"tag": attack})
    refused = site.post("/", {**NOTE, "author": attack * 9, "message": "</textarea>" + attack}, status=422)
    assert "<script" not in refused
    assert "script-src" not in refused.headers["Content-Security-Policy"]
    assert refused.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_refused_form_keeps_what_was_typed_and_says_what_is_wrong(site: TestApp) -> None:
    page = site.post("/", {"author": "", "message": "kept & safe", "tags": "a b c d e f"}, status=422)
    assert "kept &amp; safe" in page
    assert 'id="author-problem">Please tell us your name.' in page
    assert 'aria-describedby="tags-problem"' in page
    assert "No notes yet" in page


@pytest.mark.parametrize("content", [b"<svg onload=alert(1)>", b"MZ\x90\0", b"x", b"\x89PNX\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(site: TestApp, content: bytes, tmp_path: Path) -> None:
    fields = {**NOTE, "picture": Upload("fake.png", content, "image/png")}
    page = site.post("/", fields, status=422, content_type="multipart/form-data")
    assert 'id="picture-problem">That file is not a PNG' in page
    assert pictures.uploaded_between(0, time.time() + 60) == []


def test_a_picture_over_the_limit_is_refused_kindly(site: TestApp) -> None:
    fields = {**NOTE, "picture": Upload("big.png", PNG[:8] + bytes(pictures.MAX_PICTURE))}
    page = site.post("/", fields, status=422, content_type="multipart/form-data")
    assert "at most 5 MB" in page


def test_a_request_over_the_limit_is_read_to_its_end_and_refused_kindly(site: TestApp) -> None:
    fields = {**NOTE, "picture": Upload("huge.png", PNG[:8] + bytes(7_000_000))}
    page = site.post("/", fields, status=413, content_type="multipart/form-data")
    assert "at most 5 MB" in page


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data"),
        (b"{}", "application/json"),
        (b"author=" + b"\xff", "application/x-www-form-urlencoded"),
    ],
)
def test_a_damaged_form_is_refused_with_a_page(site: TestApp, body: bytes, content_type: str) -> None:
    answer = site.post("/", body, headers={"Content-Type": content_type}, status="4*")
    assert answer.status_int in (400, 422)
    assert "</html>" in answer


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
)
def test_a_form_from_another_site_is_refused(site: TestApp, headers: dict[str, str]) -> None:
    assert "another site" in site.post("/", NOTE, headers=headers, status=403)
    assert "No notes yet" in site.get("/")


def test_a_form_from_this_site_is_taken(site: TestApp) -> None:
    site.post("/", NOTE, headers={"Origin": "http://localhost", "Host": "localhost"}, status=303)
    site.post("/", NOTE, headers={"Sec-Fetch-Site": "same-origin"}, status=303)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/pictures/",
        "/pictures/x.png",
        "/pictures/..%2f..%2fmain.py",
        "/pictures/%2e%2e/%2e%2e/etc/passwd",
        f"/pictures/{'0' * 32}.png",
        f"/pictures/{'0' * 32}.png%00",
        "/static/../application.py",
        "/static/nothing.css",
        "/?before=yesterday",
        "/?before=99999999999999999999",
    ],
)
def test_other_addresses_are_not_found(site: TestApp, path: str) -> None:
    assert "Back to the guest book" in site.get(path, status=404)


def test_other_methods_are_refused(site: TestApp) -> None:
    site.delete("/", status=405)
    site.post("/static/welcome.css", status=405)


def test_style_and_icon_are_served_without_app_yaml(site: TestApp) -> None:
    assert site.get("/static/welcome.css").content_type == "text/css"
    assert site.get("/static/icon.svg").content_type == "image/svg+xml"


def test_everything_a_page_loads_comes_from_the_site_and_exists(site: TestApp) -> None:
    page = sign(site, picture=PNG)
    urls = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))  # type: ignore[attr-defined]
    assert {"/static/welcome.css", "/static/icon.svg"} <= urls
    for url in urls:
        assert url.startswith("/")
        site.get(url.replace("&amp;", "&"))


def test_every_field_has_a_label(site: TestApp) -> None:
    page = site.get("/").text
    fields = re.findall(r'<(?:input|textarea) id="(\w+)"', page)
    assert sorted(fields) == sorted(re.findall(r'<label for="(\w+)"', page)) == ["author", "message", "picture", "tags"]


def test_warm_up_answers(site: TestApp) -> None:
    assert site.get("/_ah/warmup").body == b"warm\n"


def test_a_failed_store_leaves_no_picture_and_shows_a_page(site: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(guestbook, "add", fail)
    fields = {**NOTE, "picture": Upload("a.png", PNG)}
    page = site.post("/", fields, status=500, content_type="multipart/form-data")
    assert "Something went wrong" in page
    assert "on fire" not in page
    assert pictures.uploaded_between(0, time.time() + 60) == []


def test_a_folder_that_refuses_the_picture_is_said_at_its_field(site: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(upload: io.BytesIO, size: int) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(pictures, "save", refuse)
    fields = {**NOTE, "picture": Upload("a.png", PNG)}
    page = site.post("/", fields, status=422, content_type="multipart/form-data")
    assert 'id="picture-problem">The picture could not be stored' in page


def test_the_sweep_removes_old_pictures_without_a_note(site: TestApp, tmp_path: Path) -> None:
    (kept,) = shown_pictures(sign(site, picture=PNG))
    lost, young = ("1" * 32 + ".png", "2" * 32 + ".png")
    for name in (lost, young):
        (tmp_path / "uploads" / name).write_bytes(PNG)
    two_days_ago = time.time() - 2 * 86_400
    for name in (lost, kept.rpartition("/")[2]):
        os.utime(tmp_path / "uploads" / name, (two_days_ago, two_days_ago))
    answer = site.get("/tasks/sweep", headers={"X-Appengine-Cron": "true"})
    assert answer.body == b"1 removed\n"
    assert sorted(os.listdir(tmp_path / "uploads")) == sorted([young, kept.rpartition("/")[2]])


def test_only_the_scheduler_sweeps(site: TestApp) -> None:
    site.get("/tasks/sweep", status=403)
