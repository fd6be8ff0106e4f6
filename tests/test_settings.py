"""gaeport.toml and the environment: what is read, and what is refused with which words."""

from pathlib import Path

import pytest

from gaeport import settings
from gaeport.cache import Cache
from gaeport.errors import ConfigurationError


def written(folder: Path, text: str) -> Path:
    path = folder / "gaeport.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.load(settings.find(tmp_path))
    assert (found.source, found.root, found.app, found.mounts) == (None, tmp_path, None, ())
    assert found.data_path == tmp_path / ".gaeport"


def test_the_file_is_found_in_a_folder_above(tmp_path: Path) -> None:
    path = written(tmp_path, 'app = "shop.web:app"')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert settings.find(below) == path
    assert settings.load(path).root == tmp_path


def test_a_variable_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "")
    monkeypatch.setenv("GAEPORT_CONFIG", str(path))
    assert settings.find(Path("/")) == path


def test_everything_that_can_be_set_is_read(tmp_path: Path) -> None:
    found = settings.load(
        written(
            tmp_path,
            """
            app = "shop.web:make(debug=True)"
            project = "shop"
            database = "eu"
            namespace = "stage.1"
            bucket = "shop-files"
            data = "state"
            synchronous = "full"
            [[mount]]
            path = "uploads/"
            [[mount]]
            path = "cache"
            name = "tmp"
            store = "datastore"
            bucket = "other"
            prefix = "c/"
            overlay = false
            inline_limit = 0
            """,
        )
    )
    assert (found.project, found.database, found.namespace, found.bucket) == ("shop", "eu", "stage.1", "shop-files")
    assert found.own_namespace == "gaeport.stage.1"
    assert found.data_path == tmp_path / "state"
    assert found.mounts[0] == settings.MountSettings(path="uploads", name="uploads")
    assert found.mounts[1] == settings.MountSettings("cache", "tmp", "datastore", "other", "c/", False, 0)


def test_sessions_are_none_without_their_table_and_have_defaults_with_it(tmp_path: Path) -> None:
    assert settings.load(written(tmp_path, "")).sessions is None
    assert settings.load(written(tmp_path, "[sessions]")).sessions == settings.SessionSettings()
    found = settings.load(
        written(
            tmp_path,
            f"""
            [sessions]
            store = "memcache+datastore"
            url = "memcached://10.0.0.3"
            cookie = "sid"
            samesite = "Strict"
            secure = true
            idle = 60
            lifetime = 0
            cache_ttl = 5
            keys = ["{"k" * 32}"]
            user_key = "user_id"
            """,
        )
    )
    assert found.sessions == settings.SessionSettings(
        "memcache+datastore", "memcached://10.0.0.3", "sid", "Strict", True, 60, 0, 5, ("k" * 32,), "user_id"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('ap = "x:y"', ["gaeport.toml", "unknown key 'ap'", "app", "bucket", "mount"]),
        ("app = 3", ["gaeport.toml", "app = 3", '"module:callable"']),
        ('app = "shop.web"', ["app = 'shop.web'", '"module:callable"']),
        ('namespace = "a b"', ["namespace = 'a b'", "92"]),
        ('synchronous = "off"', ['synchronous = "off"', "full, normal"]),
        ('require_indexes = "yes"', ["require_indexes = 'yes'", "true or false"]),
        ('[[mount]]\nname = "x"', ["[[mount]] number 1", "path is missing"]),
        ('[[mount]]\npath = "u"\nstor = "gcs"', ["[[mount]] number 1", "unknown key 'stor'", "store"]),
        ('[[mount]]\npath = "u"\nstore = "tape"', ["[[mount]] number 1", 'store = "tape"', "datastore"]),
        ('[[mount]]\npath = "u"\ninline_limit = "8"', ["[[mount]] number 1", "inline_limit = '8'", "whole number"]),
        ('[[mount]]\npath = "u"\ninline_limit = true', ["inline_limit = True", "whole number"]),
        ('[[mount]]\npath = "u"\ninline_limit = 2000000', ["inline_limit = 2000000", "917,504"]),
        ('[[mount]]\npath = "u"\noverlay = 1', ["overlay = 1", "true or false"]),
        ('[[mount]]\npath = "u"\nbucket = "gs://pictures/"', ['bucket = "gs://pictures/"', 'bucket = "pictures"']),
        ('[[mount]]\npath = "u"\nbucket = "pictures/a"', ["no name of a bucket", "prefix"]),
        ('[[mount]]\npath = "u"\nstore = "gcs"\nprefix = "/m/"', ["must not begin with a slash", 'prefix = "m/"']),
        ('[[mount]]\npath = "u"\nstore = "gcs"\nprefix = "m"', ['prefix = "m"', 'prefix = "media/"']),
        ('[[mount]]\npath = "u"\nstore = "gcs"\nprefix = "m//n/"', ['prefix = "m//n/"', 'prefix = "media/"']),
        ('[[mount]]\npath = "u"\nstore = "gcs"\nimport = true', ["import = true", "bucket"]),
        ('[[mount]]\npath = "u"\nstore = "gcs"\ninline_limit = 9', ["inline_limit", "no meaning"]),
        ('[[mount]]\npath = "a/*"\nstore = "gcs"', ["a pattern", "one prefix"]),
        ('[[mount]]\npath = "u"\n[[mount]]\npath = "u/"', ["two [[mount]]s", "'u'"]),
        ('mount = "uploads"', ["[[mount]] tables"]),
        ('cache = "redis"', ["[cache] table"]),
        ('[cache]\nuri = "redis://x"', ["[cache]", "unknown key 'uri'", "url"]),
        ("[cache]\nurl = 1", ["[cache]", "url = 1", "a string"]),
        ('sessions = "redis"', ["[sessions] table"]),
        ('[sessions]\nstor = "redis"', ["[sessions]", "unknown key 'stor'", "cache_ttl, cookie"]),
        ('[sessions]\nstore = "tape"', ["[sessions]", 'store = "tape"', "memcache+datastore"]),
        ('[sessions]\nstore = "redis"', ["[sessions]", "needs url", "redis://"]),
        ("[sessions]\nidle = true", ["[sessions]", "idle = True", "seconds"]),
        ('[sessions]\nkeys = ["x"]', ["[sessions]", "at least 32 characters", "secrets.token_hex"]),
        ("app = ", ["gaeport.toml", "is not TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings.load(written(tmp_path, text))
    for word in words:
        assert word in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml: cannot be read"):
        settings.load(tmp_path / "missing.toml")


def test_the_environment_fills_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-the-environment")
    monkeypatch.setenv("GAEPORT_DATA", ":memory:")
    found = settings.load(written(tmp_path, 'data = "state"'))
    assert found.project == "from-the-environment"
    assert found.in_memory
    with pytest.raises(ConfigurationError, match="no folder"):
        _ = found.data_path


@pytest.mark.parametrize(
    ("variables", "environment"),
    [
        ({}, "embedded"),
        ({"DATASTORE_EMULATOR_HOST": "127.0.0.1:1"}, "emulator"),
        ({"GAE_ENV": "standard"}, "production"),
        ({"GAE_ENV": "standard", "DATASTORE_EMULATOR_HOST": "127.0.0.1:1"}, "production"),
    ],
)
def test_the_environment_is_chosen_by_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], environment: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert settings.Settings(root=tmp_path).environment == environment


def test_configure_replaces_the_file(tmp_path: Path) -> None:
    found = settings.configure(root=tmp_path, data=":memory:", mounts=[{"path": "uploads"}], latency_ms=2)
    assert settings.current() is found
    assert (found.in_memory, found.mounts[0].path, found.latency_ms) == (True, "uploads", 2.0)
    with pytest.raises(ConfigurationError, match=r"configure\(\): unknown key 'dat'"):
        settings.configure(root=tmp_path, dat=":memory:")


def test_the_cache_is_the_one_that_the_file_names(tmp_path: Path) -> None:
    found = settings.load(written(tmp_path, '[cache]\nurl = "appengine://"'))
    assert found.cache.url == "appengine://"
    assert found.uses_bundled_apis
    assert settings.load(written(tmp_path, "")).cache.url == "memory://"


@pytest.mark.parametrize(("place", "bundled"), [("standard", True), (None, False)])
def test_sessions_before_datastore_use_the_bundled_memcache_on_app_engine(
    place: str | None, bundled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place is not None:
        monkeypatch.setenv("GAE_ENV", place)
    found = settings.load(written(tmp_path, '[sessions]\nstore = "memcache+datastore"'))
    assert found.uses_bundled_apis is bundled
    assert not settings.load(written(tmp_path, '[sessions]\nstore = "datastore"')).uses_bundled_apis


def test_a_cache_without_a_url_takes_it_from_the_settings(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, cache={"url": "tape://"})
    with pytest.raises(ConfigurationError, match="tape"):
        Cache()
    settings.configure(root=tmp_path)
    assert Cache()("key", lambda: 3, 60) == 3


def test_settings_cannot_be_changed_in_place(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        settings.Settings(root=tmp_path).app = "x:y"  # type: ignore[misc]  # that it is refused is the test
