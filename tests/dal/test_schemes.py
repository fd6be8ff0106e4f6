"""Which connection strings open Datastore: web2py's old schemes, and those that [dal] map names."""

import re
from pathlib import Path
from typing import Any

import pytest

from gaeport import settings
from gaeport.dal import DAL, DatastoreAdapter, Field
from gaeport.dal.schemes import translate
from gaeport.errors import ConfigurationError

MAP = {"sqlite://*": "datastore:///{namespace}-{app}?ids=time"}
WEB2PY = "?ids=time&buffer=request"


def configure(mapping: dict[str, str] | None = None, namespace: str = "") -> None:
    settings.configure(data=":memory:", namespace=namespace, dal={"map": mapping or {}})


@pytest.mark.parametrize(
    ("uri", "meaning"),
    [
        ("gae", f"datastore:///{WEB2PY}"),
        ("google:datastore", f"datastore:///{WEB2PY}"),
        ("google:datastore://shop", f"datastore:///shop{WEB2PY}"),
        ("google:datastore+ndb", f"datastore:///{WEB2PY}"),
        ("google:datastore+ndb://shop", f"datastore:///shop{WEB2PY}"),
        ("firestore", f"datastore://{WEB2PY}"),
        ("firestore://id=other", f"datastore://other{WEB2PY}"),
    ],
)
def test_the_old_schemes_open_datastore(uri: str, meaning: str) -> None:
    configure()
    db = DAL(uri)
    assert isinstance(db._adapter, DatastoreAdapter)
    assert db._adapter.uri == meaning
    if "other" not in uri:
        db.define_table("t", Field("name"))
        first, second = db.t.insert(name="a"), db.t.insert(name="b")
        assert first < second
        db.rollback()
        assert db(db.t).isempty()
    db.close()


def test_other_databases_stay_what_they_are() -> None:
    configure(MAP)
    for uri in ("sqlite:memory", "postgres://localhost/shop", "mysql://localhost/shop", "datastore://"):
        assert translate(uri) is None


def test_a_pattern_sends_sqlite_to_each_applications_namespace(tmp_path: Path) -> None:
    configure(MAP, namespace="staging")
    for app in ("shop", "blog"):
        db = DAL("sqlite://storage.sqlite", folder=str(tmp_path / "applications" / app / "databases"))
        db.define_table("t", Field("app"))
        assert db(db.t).isempty()
        db.t.insert(app=app)
        db.commit()
        assert db._adapter.address.namespace == f"staging-{app}"
        db.close()
    assert not list(tmp_path.iterdir())


def test_without_the_map_sqlite_is_sqlite(tmp_path: Path) -> None:
    configure()
    db = DAL("sqlite://storage.sqlite", folder=str(tmp_path))
    assert not isinstance(db._adapter, DatastoreAdapter)
    db.close()


@pytest.mark.parametrize(
    ("folder", "namespace", "meaning"),
    [
        ("/srv/web2py/applications/shop/databases", "", "datastore:///shop?ids=time"),
        ("apps/_scaffold/databases", "", "datastore:///_scaffold?ids=time"),
        ("/srv/data", "live", "datastore:///live-data?ids=time"),
        ("/srv/söme/databases", "live", "datastore:///live?ids=time"),
        ("/", "", "datastore:///?ids=time"),
    ],
)
def test_the_application_is_the_one_that_the_folder_belongs_to(
    folder: str | None, namespace: str, meaning: str
) -> None:
    configure(MAP, namespace)
    assert translate("sqlite://x.sqlite", folder) == meaning


def test_web2py_says_the_folder_beforehand(tmp_path: Path) -> None:
    configure(MAP)
    DAL.set_folder(str(tmp_path / "applications" / "shop" / "databases"))
    assert translate("sqlite://x.sqlite") == "datastore:///shop?ids=time"


def test_the_first_pattern_that_fits_counts() -> None:
    configure(
        {"sqlite://cache*": "datastore:///cache", "sqlite://*": "datastore:///all", "firestore": "datastore:///f"}
    )
    found = [translate(uri) for uri in ("sqlite://cache.db", "sqlite://x.db", "firestore")]
    assert found == ["datastore:///cache", "datastore:///all", "datastore:///f"]


def test_an_unknown_placeholder_is_named() -> None:
    configure({"sqlite://*": "datastore:///{application}"})
    with pytest.raises(ConfigurationError, match=re.escape("'application'; there are: app, namespace")):
        translate("sqlite://x.db")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"map": "sqlite"}, "map must be a table"),
        ({"map": {"sqlite://*": "postgres://x"}}, "must be a connection string that begins with datastore://"),
        ({"map": {"sqlite://*": 5}}, "must be a connection string"),
        ({"maps": {}}, "unknown key 'maps'; valid: map"),
        ("sqlite", "dal must be written as a [dal] table"),
    ],
)
def test_a_wrong_table_is_refused(table: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        settings.configure(data=":memory:", dal=table)
