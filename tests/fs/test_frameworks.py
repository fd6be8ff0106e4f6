"""What web frameworks and caches do with files, on a mounted folder and on one of the disk."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import django_settings

PROBES: dict[str, Callable[[str], Any]] = {}


def probe(function: Callable[[str], Any]) -> Callable[[str], Any]:
    """Run a function on both folders; what it returns must be the same."""
    PROBES[function.__name__] = function
    return function


@probe
def django_storage(root: str) -> Any:
    pytest.importorskip("django")
    django_settings.configure()
    from django.core.files.base import ContentFile
    from django.core.files.storage import FileSystemStorage

    storage = FileSystemStorage(f"{root}/media", file_permissions_mode=0o640)
    names = [storage.save("a/b.txt", ContentFile(content)) for content in (b"hello", b"again")]
    with storage.open(names[1]) as opened:
        found: list[Any] = [opened.read(), storage.size(names[0]), oct(os.stat(storage.path(names[0])).st_mode)]
    storage.delete(names[0])
    return found, names[0], names[1] != names[0], storage.exists(names[0]), len(storage.listdir("a")[1])


@probe
def django_file_cache(root: str) -> Any:
    pytest.importorskip("django")
    from django.core.cache.backends.filebased import FileBasedCache

    cache = FileBasedCache(f"{root}/cache", {"MAX_ENTRIES": 50})
    for number in range(10):
        cache.set(str(number), number)
    return cache.get("9"), cache.touch("9"), cache.delete("9"), cache.get("9"), cache.get_many(["1", "2"])


@probe
def flask_uploads_and_downloads(root: str) -> Any:
    flask = pytest.importorskip("flask")
    os.makedirs(f"{root}/static")
    Path(root, "static/s.css").write_text("css")
    app = flask.Flask("probe", static_folder=f"{root}/static")
    app.add_url_rule(
        "/up", "up", view_func=lambda: flask.request.files["f"].save(f"{root}/up") or "saved", methods=["POST"]
    )
    app.add_url_rule("/down", "down", view_func=lambda: flask.send_file(f"{root}/up", "image/png", conditional=True))
    app.add_url_rule("/in/<path:name>", "in", view_func=lambda name: flask.send_from_directory(root, name))
    client, content = app.test_client(), bytes(range(256)) * 1500
    answers = [client.post("/up", data={"f": (io.BytesIO(content), "x.png")}), client.get("/down")]
    answers += [client.get("/down", headers={"Range": "bytes=10-19"}), client.get("/in/up"), client.get("/in/../up")]
    answers += [client.get("/down", headers={"If-None-Match": answers[1].headers["ETag"]}), client.get("/static/s.css")]
    found = [(answer.status_code, hash(answer.data)) for answer in answers]
    for answer in answers:
        answer.close()
    return found


@probe
def bottle_static_files(root: str) -> Any:
    bottle = pytest.importorskip("bottle")
    bottle.request.bind({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()})
    bottle.FileUpload(io.BytesIO(b"uploaded"), "f", "n.txt").save(f"{root}/n.txt")
    answer = bottle.static_file("n.txt", root=root)
    with answer.body as body:
        return (
            answer.status_code,
            body.read(),
            answer.headers["Content-Length"],
            bottle.static_file("x", root).status_code,
        )


@probe
def jinja_templates_and_their_byte_code(root: str) -> Any:
    jinja2 = pytest.importorskip("jinja2")
    os.makedirs(f"{root}/templates")
    os.makedirs(f"{root}/code")
    page = Path(root, "templates/t.html")
    page.write_text("{{ 1 + 1 }}")
    found = []
    for _ in range(2):
        code = jinja2.FileSystemBytecodeCache(f"{root}/code")
        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(f"{root}/templates"), bytecode_cache=code, autoescape=True
        )
        found.append(pages.get_template("t.html").render())
    page.write_text("changed")
    os.utime(page, (1, 1))
    return found, pages.get_template("t.html").render(), pages.list_templates(), len(os.listdir(f"{root}/code")) > 0


@probe
def cachelib_in_files(root: str) -> Any:
    cachelib = pytest.importorskip("cachelib")
    cache = cachelib.FileSystemCache(f"{root}/cache", threshold=50)
    for number in range(12):
        cache.set(str(number), number)
    return cache.get("11"), cache.add("11", 1), cache.inc("11"), cache.has("11"), cache.delete("1"), cache.get("1")


@probe
def beaker_in_files(root: str) -> Any:
    pytest.importorskip("beaker")
    from beaker.cache import CacheManager
    from beaker.util import parse_cache_config_options

    options = {"cache.type": "file", "cache.data_dir": f"{root}/data", "cache.lock_dir": f"{root}/locks"}
    cache = CacheManager(**parse_cache_config_options(options)).get_cache("probe", expire=60)
    return cache.get("k", createfunc=lambda: 42), cache.get("k", createfunc=lambda: 43)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PROBES)
def test_it_does_what_it_does_on_the_disk(everywhere: Path, beside: Path, name: str) -> None:
    assert PROBES[name](str(everywhere)) == PROBES[name](str(beside))
