"""app.yaml's static handlers, as App Engine's front end serves them."""

import os
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from gaeport.devserver import appyaml
from gaeport.devserver.static import StaticFiles, file_name
from gaeport.errors import ConfigurationError

YAML = r"""
runtime: python313
default_expiration: "1d 2h"
handlers:
- url: /favicon\.ico
  static_files: assets/icon.ico
  upload: assets/icon\.ico
  expiration: "30m"
- url: /docs/
  static_files: assets/index.html
  upload: assets/index\.html
- url: /(.*\.css)
  static_files: assets/\1
  upload: assets/.*\.css
  mime_type: text/x-special
  http_headers:
    X-Frame-Options: DENY
    cache-control: no-store
- url: /static
  static_dir: assets
- url: /app/.*
  script: auto
"""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from the application"]


def client(root: Path, text: str = YAML) -> TestApp:
    (root / "app.yaml").write_text(text)
    return TestApp(StaticFiles(application, appyaml.load(root).handlers, root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "assets" / "deep").mkdir(parents=True)
    for name in ("icon.ico", "index.html", "site.css", "deep/a b.txt", "page.html.gz"):
        (folder / "assets" / name).write_text(f"content of {name}")
    (folder / "main.py").write_text("secret")
    (tmp_path / "outside.css").write_text("secret")
    return folder


def test_a_file_is_served_with_its_type_length_and_caching(root: Path) -> None:
    answer = client(root).get("/static/index.html")
    assert answer.text == "content of index.html"
    assert answer.content_type == "text/html"
    assert answer.headers["Content-Length"] == "21"
    assert answer.headers["Cache-Control"] == "public, max-age=93600"
    assert answer.headers["Last-Modified"].endswith("GMT")


def test_static_files_names_one_file_for_a_pattern(root: Path) -> None:
    app = client(root)
    assert app.get("/favicon.ico").headers["Cache-Control"] == "public, max-age=1800"
    assert app.get("/docs/").text == "content of index.html"
    assert app.get("/site.css").text == "content of site.css"


def test_a_handlers_type_and_headers_replace_the_usual_ones(root: Path) -> None:
    headers = client(root).get("/site.css").headers
    assert headers["Content-Type"] == "text/x-special"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers.getall("Cache-Control") == ["no-store"]


def test_an_encoded_path_finds_its_file(root: Path) -> None:
    assert client(root).get("/static/deep/a%20b.txt").text == "content of deep/a b.txt"


def test_a_compressed_file_is_not_passed_off_as_what_it_holds(root: Path) -> None:
    assert client(root).get("/static/page.html.gz").content_type == "application/octet-stream"


def test_head_has_the_headers_and_no_body(root: Path) -> None:
    answer = client(root).head("/static/index.html")
    assert answer.headers["Content-Length"] == "21"
    assert answer.body == b""


def test_a_client_with_the_present_copy_gets_304(root: Path) -> None:
    app = client(root)
    first = app.get("/static/index.html")
    by_tag = app.get("/static/index.html", headers={"If-None-Match": f'"x", W/{first.headers["ETag"]}'}, status=304)
    assert by_tag.body == b""
    assert by_tag.headers["ETag"] == first.headers["ETag"]
    app.get("/static/index.html", headers={"If-Modified-Since": first.headers["Last-Modified"]}, status=304)


def test_a_changed_file_is_sent_again(root: Path) -> None:
    app = client(root)
    tag = app.get("/static/index.html").headers["ETag"]
    os.utime(root / "assets" / "index.html", (1, 1))
    answer = app.get("/static/index.html", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert app.get("/static/index.html", headers={"If-Modified-Since": formatdate(0, usegmt=True)}).status_code == 200


def test_the_tag_decides_before_the_date(root: Path) -> None:
    headers = {"If-None-Match": '"other"', "If-Modified-Since": formatdate(usegmt=True)}
    assert client(root).get("/static/index.html", headers=headers).status_code == 200


def test_a_date_that_is_none_is_ignored(root: Path) -> None:
    assert client(root).get("/static/index.html", headers={"If-Modified-Since": "yesterday"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../main.py",
        "/static/%2e%2e/main.py",
        "/static/..%5cmain.py",
        "/static//etc/hostname",
        "/static/deep",
        "/static/",
        "/static/none.html",
        "/../outside.css",
        "//etc/passwd.css",
        "/static/a%00b",
        "/static/%ff",
        "/none.css",
    ],
)
def test_what_is_not_a_file_of_the_handler_is_not_found(root: Path, path: str) -> None:
    answer = client(root).request(path, status=404)
    assert "secret" not in answer.text


def test_only_what_upload_matches_is_served(root: Path) -> None:
    text = "handlers:\n- {url: '/(.*)', static_files: 'assets/\\1', upload: 'assets/.*\\.css'}\n"
    app = client(root, text)
    app.get("/site.css", status=200)
    app.get("/index.html", status=404)


def test_a_static_file_cannot_be_posted_to(root: Path) -> None:
    answer = client(root).post("/static/index.html", status=405)
    assert answer.headers["Allow"] == "GET, HEAD"


def test_the_first_handler_that_matches_serves_and_script_is_the_application(root: Path) -> None:
    assert client(root).get("/app/x").text == "from the application"


def test_a_path_that_no_handler_matches_is_not_found_as_in_production(root: Path) -> None:
    assert "url: /.*" in client(root).get("/elsewhere", status=404).text


def test_without_handlers_everything_reaches_the_application(root: Path) -> None:
    assert client(root, "runtime: python313\n").get("/static/index.html").text == "from the application"


def test_app_engines_own_paths_reach_the_application(root: Path) -> None:
    assert client(root).get("/_ah/warmup").text == "from the application"


def test_a_link_between_deployed_files_is_followed(root: Path) -> None:
    (root / "assets" / "again.html").symlink_to("index.html")
    assert client(root).get("/static/again.html").text == "content of index.html"


def test_a_folder_without_app_yaml_has_no_handlers(tmp_path: Path) -> None:
    assert appyaml.load(tmp_path) == appyaml.AppYaml()


def test_variables_are_text_as_the_deploy_client_makes_them(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("env_variables: {A: true, B: 3, C: text, D: }\n")
    assert appyaml.load(tmp_path).env_variables == {"A": "True", "B": "3", "C": "text", "D": ""}


def test_a_static_dirs_own_groups_do_not_shift_its_file_name() -> None:
    handler = appyaml._static({"url": "/(a|b)/files", "static_dir": "files/"}, "static_dir", 0, "")
    assert file_name(handler, "/b/files/x.txt") == "files/x.txt"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "cannot be read"),
        ("- a", "must be a table"),
        ("handlers: {a: 1}", "handlers must be a list"),
        ("env_variables: [1]", "env_variables must be a table"),
        ("handlers: [{script: auto}]", "handler 1: url is missing"),
        ("handlers: [{url: /}]", "needs exactly one of"),
        ("handlers: [{url: /, static_files: x}]", "needs upload"),
        ("handlers: [{url: '(', script: auto}]", "not a regular expression"),
        ("handlers: [{url: /, static_dir: x, expiration: soon}]", "must be written as numbers"),
        ("handlers: [{url: /, static_dir: x, http_headers: 3}]", "http_headers must be a table"),
    ],
)
def test_a_wrong_app_yaml_is_named_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "app.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        appyaml.load(tmp_path)
    assert str(tmp_path / "app.yaml") in str(caught.value)
