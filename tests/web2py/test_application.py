"""gaeport.web2py: what stands between web2py and App Engine, shown on a hand-made tree."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gaeport import fs, settings, web2py
from gaeport.errors import ConfigurationError

MAIN = """
import json, locale, os, sys
locale.setlocale(locale.LC_CTYPE, "C")
import pydal, chosen
from gluon.settings import global_settings

def wsgibase(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps({
        "pydal": pydal.__file__, "chosen": chosen.__file__, "folder": os.getcwd(), "path": os.environ["web2py_path"],
        "handler": global_settings.web2py_runtime_handler, "apps": sorted(global_settings.app_folders),
    }).encode()]
"""
FILES = {
    "gluon/__init__.py": "import os, sys\n"
    "sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'packages', 'pydal'))\nimport pydal\n",
    "gluon/main.py": MAIN,
    "gluon/restricted.py": "DEFAULT_SAFE_GLOBALS = {}\nclass TicketStorage: pass\n"
    "class RestrictedError(Exception):\n    def log(self, request): pass\n",
    "gluon/settings.py": "import os\nclass S: pass\nglobal_settings = S()\nglobal_settings.app_folders = set()\n"
    "global_settings.applications_parent = os.environ['web2py_path']\n",
    "gluon/packages/pydal/pydal/__init__.py": "raise ImportError('the tree has its own, which must not be taken')\n",
    "site-packages/chosen.py": "",
    "applications/shop/models/db.py": "",
    "applications/__init__.py": "",
}
SCRIPT = """
import json, locale, os, sys
locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
import gaeport
from gaeport.dal import schemes
app = gaeport.wrap("gaeport.web2py:application('web2py')")
body = b"".join(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *rest: None))
print(json.dumps({**json.loads(body), "locale": locale.setlocale(locale.LC_CTYPE)}))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "web2py" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "web2py"


def test_the_tree_runs_in_its_folder_with_the_pinned_pydal(tree: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    environment = {**os.environ, "GAEPORT_DATA": ":memory:"}
    done = subprocess.run(command, cwd=tree.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["pydal"].startswith(str(tree))
    assert told["chosen"] == str(tree / "site-packages" / "chosen.py")
    assert told["folder"] == told["path"] == str(tree)
    assert told["handler"] is True
    assert told["apps"] == [str(tree / "applications" / "shop")]
    assert told["locale"] == "C.UTF-8"


@pytest.mark.parametrize("missing", ["gluon/main.py", "gluon/settings.py"])
def test_a_tree_that_cannot_be_imported_is_named(tree: Path, missing: str) -> None:
    (tree / missing).unlink()
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tree.parent, capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert ("is no web2py" in done.stderr) == (missing == "gluon/main.py")


def answered(app: web2py.Application, **environ: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Send one request, and return what web2py saw of it and the pieces of its answer."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), **environ}
    body = app(environ, lambda *rest: None)
    pieces = list(body)
    close = getattr(body, "close", None)
    if close is not None:
        close()
    return environ, pieces


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
    start_response("200 OK", [])
    return [b""]


@pytest.mark.parametrize(("proto", "port"), [("https", "443"), ("http", "80")])
def test_on_app_engine_the_front_end_says_who_the_visitor_is(
    tree: Path, monkeypatch: pytest.MonkeyPatch, proto: str, port: str
) -> None:
    monkeypatch.setenv("GAE_ENV", "standard")
    seen, _ = answered(
        web2py.Application(echo, tree),
        REMOTE_ADDR="127.0.0.1",
        SERVER_PORT="8081",
        HTTP_X_FORWARDED_FOR="127.0.0.1, 203.0.113.9",
        HTTP_X_FORWARDED_PROTO=proto,
        HTTP_X_APPENGINE_USER_IP="203.0.113.9",
    )
    assert seen["REMOTE_ADDR"] == seen["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"
    assert seen["SERVER_PORT"] == port


def test_elsewhere_addresses_stay_as_the_server_has_them(tree: Path) -> None:
    given = {"REMOTE_ADDR": "127.0.0.1", "SERVER_PORT": "8080", "HTTP_X_APPENGINE_USER_IP": "203.0.113.9"}
    seen, _ = answered(web2py.Application(echo, tree), **given)
    assert {name: seen[name] for name in given} == given


def test_text_in_a_body_becomes_bytes_and_the_body_is_closed(tree: Path) -> None:
    class Body:
        closed = False

        def __iter__(self) -> Any:
            return iter(["ä", b"b"])

        def close(self) -> None:
            self.closed = True

    body = Body()
    _, pieces = answered(web2py.Application(lambda *rest: body, tree))
    assert pieces == ["ä".encode(), b"b"]
    assert body.closed


def test_a_missing_key_is_made_once_by_the_first_request(tree: Path) -> None:
    settings.configure(root=tree.parent, data=":memory:", mounts=[{"path": "web2py/applications/*/private"}])
    fs.mount_all()
    key = tree / "applications" / "shop" / "private" / "auth.key"
    apps = [web2py.Application(echo, tree) for _ in range(3)]
    assert not key.exists()
    for app in apps:
        answered(app)
    made = key.read_text()
    assert made.startswith("sha512:")
    key.unlink()
    answered(apps[0])
    assert not key.exists()


def test_a_key_that_was_deployed_counts(tree: Path) -> None:
    shipped = tree / "applications" / "shop" / "private" / "auth.key"
    shipped.parent.mkdir()
    shipped.write_text("sha512:shipped")
    settings.configure(root=tree.parent, data=":memory:", mounts=[{"path": "web2py/applications/*/private"}])
    fs.mount_all()
    answered(web2py.Application(echo, tree))
    assert shipped.read_text() == "sha512:shipped"


def test_without_a_mount_no_key_is_made(tree: Path) -> None:
    answered(web2py.Application(echo, tree))
    assert not (tree / "applications" / "shop" / "private").exists()


def test_a_folder_that_is_no_web2py_is_refused(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, data=":memory:")
    with pytest.raises(ConfigurationError, match=r"is no web2py: it has no gluon/main\.py"):
        web2py.application("web2py")
