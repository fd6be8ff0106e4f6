"""`main.app`, what App Engine serves, under WebTest: embedded and in memory, without network, gcloud or credentials."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from webtest import TestApp, Upload

from gaeport import settings

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 1000

# Refuses every connection and every program, then uses the application as a visitor does.
_ALONE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
from webtest import TestApp, Upload
import main
site = TestApp(main.app)
page = site.post("/", {"author": "Ann", "message": "Alone", "picture": Upload("a.png", b"\\x89PNG\\r\\n\\x1a\\n..")})
assert "Alone" in page.follow()
"""


@pytest.fixture(params=["memory", "folder"])
def main(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("GAEPORT_DATA", ":memory:" if request.param == "memory" else str(tmp_path / "data"))
    monkeypatch.setattr(settings, "_current", None)  # as in a new process
    sys.modules.pop("main", None)
    yield importlib.import_module("main")
    sys.modules.pop("main", None)


def test_the_welcome_page_is_served(main: ModuleType) -> None:
    page = TestApp(main.app).get("/")
    assert "Guest book" in page
    assert page.content_type == "text/html"


def test_a_note_with_a_picture_is_stored_and_the_checkout_stays_as_it_was(main: ModuleType) -> None:
    before = sorted(path.name for path in ROOT.iterdir())
    site = TestApp(main.app)
    page = site.post("/", {"author": "Ann", "message": "Hi", "tags": "sun", "picture": Upload("a.png", PNG)}).follow()
    picture = page.text.split('<img src="/pictures/')[1]
    assert site.get("/pictures/" + picture.partition('"')[0]).body == PNG
    assert "Hi" in site.get("/?tag=sun")
    assert sorted(path.name for path in ROOT.iterdir()) == before


def test_warm_up_is_answered(main: ModuleType) -> None:
    assert TestApp(main.app).get("/_ah/warmup").status_int == 200


def test_neither_network_nor_programs_nor_credentials_are_needed(tmp_path: Path) -> None:
    environment = {"GAEPORT_DATA": ":memory:", "HOME": str(tmp_path), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _ALONE]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
