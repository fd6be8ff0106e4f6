"""What gaeport offers to an application's own tests."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.cloud import datastore as google_datastore
from google.cloud import ndb

import gaeport
from gaeport import settings, testing
from gaeport.datastore import wire
from gaeport.errors import MissingExtraError
from gaeport.fs.patching import paths
from gaeport.testing import Datastore


class Book(ndb.Model):
    title = ndb.StringProperty()


def put(store: Datastore, name: str) -> None:
    key = store.client.key("Kind", name)
    store.client.commit([wire.Mutation(upsert=wire.Entity(key=key))])


def kinds(store: Datastore) -> list[str]:
    return [found.entity.key.path[0].name for found in store.client.query(wire.Query(kind=[{"name": "Kind"}]))]


def test_each_datastore_is_fresh_and_empty() -> None:
    for _ in range(2):
        with testing.datastore() as store:
            assert kinds(store) == []
            put(store, "a")
            assert kinds(store) == ["a"]


def test_clear_empties_and_leaves_clients_usable() -> None:
    with testing.datastore() as store:
        google = store.google_client()
        put(store, "a")
        assert len(list(google.query().fetch())) == 1
        store.clear()
        assert kinds(store) == []
        assert list(google.query().fetch()) == []


def test_ndb_runs_on_it() -> None:
    with testing.datastore() as store, store.ndb_context():
        key = Book(title="Emma").put()
        assert key.project() == "test"
        assert Book.query(Book.title == "Emma").get().key == key


def test_google_cloud_datastore_runs_on_it() -> None:
    with testing.datastore(project="shop", namespace="stage") as store:
        client = store.google_client()
        entity = google_datastore.Entity(client.key("Book", "emma"))
        entity["title"] = "Emma"
        with client.transaction():
            client.put(entity)
        assert client.get(entity.key) == entity
        query = client.query(kind="Book")
        query.add_filter(filter=google_datastore.query.PropertyFilter("title", "=", "Emma"))
        assert [found.key for found in query.fetch()] == [entity.key]
        assert entity.key.namespace == "stage"
        assert entity.key.project == "shop"
        client.delete(entity.key)
        assert client.get(entity.key) is None


def test_a_client_made_before_reaches_each_test_s_own_data() -> None:
    with testing.datastore() as store:
        early = store.ndb_client()
    for _ in range(2):
        with testing.datastore(), early.context():
            assert Book.query().count() == 0
            Book(title="Emma").put()
            assert Book.query().count() == 1


def test_code_that_makes_its_own_clients_is_given_a_server() -> None:
    for _ in range(2):
        with testing.datastore(server=True) as store:
            client = google_datastore.Client()
            assert client.project == "test"
            assert list(client.query().fetch()) == []
            client.put(google_datastore.Entity(client.key("Kind", "a")))
            with ndb.Client().context():
                assert [key.id() for key in ndb.Query(kind="Kind").fetch(keys_only=True)] == ["a"]
            assert kinds(store) == ["a"]
        assert "DATASTORE_EMULATOR_HOST" not in os.environ


def test_settings_and_environment_are_restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.configure(root=tmp_path, project="mine", data=":memory:")
    before = settings.in_force()
    monkeypatch.setenv("GAE_ENV", "standard")
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    with testing.datastore() as store:
        assert settings.current().environment == "embedded"
        put(store, "a")
    assert settings.in_force() is before
    variables = ("GAE_ENV", "DATASTORE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
    assert [os.environ[name] for name in variables] == ["standard", "127.0.0.1:1", "mine"]


def test_settings_that_nobody_had_read_are_unread_again() -> None:
    settings.use(None)
    with testing.datastore():
        assert settings.in_force() is not None
    assert settings.in_force() is None


def test_a_fresh_datastore_takes_under_5_ms() -> None:
    def once() -> float:
        start = time.perf_counter()
        with testing.datastore() as store:
            assert store.client.lookup([store.client.key("Kind", "a")]) == [None]
        return time.perf_counter() - start

    once()
    assert min(once() for _ in range(30)) < 0.005


def guestbook(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    folder = Path("uploads") if environ["PATH_INFO"] == "/relative" else settings.current().root / "uploads"
    if environ["REQUEST_METHOD"] == "POST":
        folder.mkdir(exist_ok=True)
        (folder / "note.txt").write_bytes(environ["wsgi.input"].read())
    there = (folder / "note.txt").exists()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(folder / "note.txt").read_bytes() if there else b"nothing"]


@pytest.fixture
def mounted(project: Path) -> Path:
    """A folder with a gaeport.toml that mounts `uploads`."""
    (project / "gaeport.toml").write_text('app = "tests.test_testing:guestbook"\n[[mount]]\npath = "uploads"\n')
    settings.use(None)
    return project


def test_an_application_runs_on_fresh_mounts(mounted: Path) -> None:
    for _ in range(2):
        with testing.app(guestbook) as application:
            assert application.get("/").text == "nothing"
            application.post("/", b"hello")
            assert application.get("/").text == "hello"
        assert not (mounted / "uploads").exists()
        assert not (mounted / ".gaeport").exists()


def test_without_an_argument_it_is_the_application_of_gaeport_toml(mounted: Path) -> None:
    path = list(sys.path)
    with testing.app(extra_environ={"REMOTE_ADDR": "127.0.0.1"}) as application:
        application.post("/", b"hello")
        assert application.get("/").text == "hello"
    assert sys.path == path


def test_mounts_that_were_there_before_come_back(mounted: Path) -> None:
    gaeport.mount("before", name="before")
    with testing.app(guestbook):
        assert [item.root for item in paths.mounts()] == [str(mounted / "uploads")]
    assert [item.root for item in paths.mounts()] == [str(mounted / "before")]
    gaeport.unmount("before")


def test_a_missing_webtest_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webtest", None)
    with pytest.raises(MissingExtraError, match=r"gaeport\[testing\]"), testing.app(guestbook):
        pass


FIXTURES = """
import gaeport.testing
from google.cloud import ndb

class Book(ndb.Model):
    title = ndb.StringProperty()

def test_one(gaeport_ndb):
    assert Book.query().count() == 0
    Book(title="Emma").put()

def test_two(gaeport_ndb):
    assert Book.query().count() == 0
    Book(title="Emma").put()

def test_three(gaeport_datastore):
    assert isinstance(gaeport_datastore, gaeport.testing.Datastore)
    assert gaeport_datastore.google_client().project == "test"

def test_four(gaeport_app):
    gaeport_app.post("/", b"hello")
    assert gaeport_app.get("/").text == "hello"
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pytest_finds_the_fixtures_also_in_parallel(mounted: Path) -> None:
    (mounted / "test_books.py").write_text(FIXTURES)
    ended = run(mounted, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_books.py")
    assert "4 passed" in ended.stdout, ended.stdout + ended.stderr


def test_the_plugin_imports_nothing_that_other_tests_would_pay_for(tmp_path: Path) -> None:
    loaded = "import pytest, sys; before = set(sys.modules); import gaeport.testing.plugin as p; "
    ended = run(tmp_path, "-c", loaded + "print(sorted(set(sys.modules) - before))")
    assert "google" not in ended.stdout
    assert "grpc" not in ended.stdout
    assert "gaeport.settings" not in ended.stdout
