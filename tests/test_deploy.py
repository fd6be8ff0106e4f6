"""What `gcloud app deploy` reads: values that App Engine refuses too late or not at all, and what is uploaded."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaeport import settings
from tests.emulators import required

ROOT = Path(__file__).parent.parent

NEEDED = {
    "app.yaml",
    "gaeport.toml",
    "main.py",
    "requirements.txt",
    "gaeport/__init__.py",
    "gaeport/welcome/static/welcome.css",
    "gaeport/welcome/templates/home.html",
}
UNWANTED = {
    ".coverage",
    ".env",
    ".env.local",
    ".git/config",
    ".gitignore",
    ".gaeport/datastore.sqlite3",
    ".mypy_cache/x",
    ".pytest_cache/x",
    ".venv/bin/python",
    "Makefile",
    "README.md",
    "__pycache__/main.cpython-313.pyc",
    "build/x",
    "dist/x.whl",
    "docs/files.md",
    "env/x",
    "gaeport.egg-info/PKG-INFO",
    "gaeport/__pycache__/x.pyc",
    "node_modules/x/y.js",
    "pyproject.toml",
    "server.log",
    "tests/x.py",
    "tools/x.py",
    "uploads/x.png",
    "venv/bin/python",
}


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files that gcloud would upload from a copy of this tree in which everything unwanted exists."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        missing = "gcloud tells what is uploaded; to get it: https://cloud.google.com/sdk/docs/install"
        if required():
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("deploy")
    copy = folder / "app"
    unneeded = ".git .venv venv .gaeport __pycache__ .*_cache .hypothesis build dist *.egg-info"
    ignored = shutil.ignore_patterns(*unneeded.split())
    shutil.copytree(ROOT, copy, ignore=ignored)
    for name in UNWANTED:
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "CLOUDSDK_CONFIG": str(folder / "config"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [gcloud, "meta", "list-files-for-upload", "."]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")) - {""}


def test_what_the_application_needs_is_uploaded(uploaded: set[str]) -> None:
    assert uploaded >= NEEDED


def test_tests_tools_data_secrets_and_environments_stay_at_home(uploaded: set[str]) -> None:
    assert uploaded & UNWANTED == set()
    assert not [name for name in uploaded if name.startswith(("tests/", "tools/", "docs/", ".git"))]


def test_the_upload_is_far_below_app_engines_limits(uploaded: set[str]) -> None:
    assert len(uploaded) < 500  # 10,000 are allowed


def test_app_yaml_has_only_what_the_deploy_client_takes_for_python_3() -> None:
    text, table = (ROOT / "app.yaml").read_text("utf-8"), load("app.yaml")
    assert "skip_files" not in text  # refused even in a comment
    assert re.fullmatch(r"python3(1[3-9]|[2-9]\d)", table["runtime"])
    assert not table.keys() & {"application", "version", "threadsafe", "libraries", "api_version", "builtins"}
    assert len(table["handlers"]) < 100


def test_app_yamls_entrypoint_serves_main_on_the_given_port() -> None:
    table = load("app.yaml")
    assert "main:app" in table["entrypoint"]
    assert "$PORT" in table["entrypoint"]
    requirements = (ROOT / "requirements.txt").read_text("utf-8")
    assert re.search(rf"^{table['entrypoint'].split()[0]}\b", requirements, re.MULTILINE)


def test_static_handlers_name_folders_that_exist_and_the_last_handler_takes_the_rest() -> None:
    handlers = load("app.yaml")["handlers"]
    for handler in handlers:
        assert len(handler.keys() & {"script", "static_dir", "static_files"}) == 1
        assert handler.get("script", "auto") == "auto"
        if "static_dir" in handler:
            assert (ROOT / handler["static_dir"]).is_dir()
    assert handlers[-1]["url"] == "/.*"


def test_every_index_has_properties_with_names_that_are_strings() -> None:
    for index in load("index.yaml")["indexes"]:
        assert index["properties"]
        for column in index["properties"]:
            assert isinstance(column["name"], str)  # an unquoted y is a boolean
            assert column.get("direction", "asc") in ("asc", "desc")


def test_queues_keep_to_the_limits_that_are_checked_after_the_release() -> None:
    queues = load("queue.yaml")["queue"]
    assert "default" in [queue["name"] for queue in queues]
    for queue in queues:
        number, unit = queue["rate"].split("/")
        assert 0 < float(number) <= {"s": 500, "m": 30_000}[unit]
        assert 0 < queue["bucket_size"] <= 500


def test_every_cron_job_is_answered_by_the_application() -> None:
    from webtest import TestApp

    import gaeport
    from gaeport.welcome import app

    settings.configure(root=ROOT, data=":memory:")
    browser = TestApp(gaeport.wrap(app))
    for job in load("cron.yaml")["cron"]:
        assert job["url"].startswith("/")
        assert job["schedule"]
        assert job.get("retry_parameters", {}).get("job_retry_limit", 0) <= 5
        answer = browser.get(job["url"], headers={"X-Appengine-Cron": "true"})
        assert answer.status_int == 200


def test_gaeport_toml_is_valid_and_its_mounts_are_not_uploaded_as_files() -> None:
    text = (ROOT / "gaeport.toml").read_text("utf-8")
    parsed = settings.parse(tomllib.loads(text), root=ROOT, place="gaeport.toml")
    assert parsed.app == "gaeport.welcome:app"
    ignored = (ROOT / ".gcloudignore").read_text("utf-8").split()
    assert all(f"/{mount.path}/" in ignored for mount in parsed.mounts)
