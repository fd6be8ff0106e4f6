"""gaeport new for each framework: what it makes passes its own test, the check, and serves."""

import os
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

from gaeport import cli, settings
from tests.devserver.serving import serving
from tools.check.everything import check
from tools.new import wheel
from tools.new.upgrade import upgrade

KINDS = ["--flask", "--bottle", "--django", "--py4web", "--wsgi"]
Capture = pytest.CaptureFixture[str]


def new(folder: Path, *options: str) -> int:
    return cli.main(["new", str(folder), *options])


def environment() -> dict[str, str]:
    """Return this process's environment without what tests set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GAEPORT_", "PYTEST_"))}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_passes_the_check_and_its_own_test(tmp_path: Path, kind: str) -> None:
    assert new(tmp_path / "site", kind) == 0
    assert [finding for finding in check(tmp_path / "site") if finding.severity != "note"] == []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=tmp_path / "site", env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_files_are_what_the_deployment_reads(tmp_path: Path) -> None:
    assert new(tmp_path / "site", "--flask", "--runtime", "python312") == 0
    app = yaml.safe_load((tmp_path / "site" / "app.yaml").read_text())
    assert (app["runtime"], app["entrypoint"].split()[-1]) == ("python312", "main:app")
    requirements = (tmp_path / "site" / "requirements.txt").read_text()
    assert f"./vendor/{wheel.file_name()}[gunicorn]\nflask>=3.1,<4\n" in requirements
    assert (tmp_path / "site" / "vendor" / wheel.file_name()).read_bytes() == wheel.build()
    config = settings.load(tmp_path / "site" / "gaeport.toml")
    assert config.app == "shop.web:app"
    assert [mount.path for mount in config.mounts] == ["uploads"]
    assert "/tests/" in (tmp_path / "site" / ".gcloudignore").read_text()


@pytest.mark.parametrize("kind", ["--flask", "--django"])
def test_it_is_served_by_two_workers_and_keeps_what_was_written(tmp_path: Path, kind: str) -> None:
    assert new(tmp_path, kind) == 0
    with serving(tmp_path, "--workers", "2") as served:
        url = served.url
        page = urllib.request.urlopen(url).read().decode()
        assert "<h1>Notes</h1>" in page
        if kind == "--flask":
            urllib.request.urlopen(url, urlencode({"note": "a <b>"}).encode()).read()
            assert {"<li>a &lt;b&gt;</li>" in urllib.request.urlopen(url).read().decode() for _ in range(6)} == {True}
    assert not (tmp_path / "uploads").exists()


EXISTING = {
    "flask": ("app/__init__.py", "from flask import Flask\n\napplication = Flask(__name__)\n", "app:application"),
    "bottle": ("web.py", "import bottle\n\nroot = bottle.Bottle()\n", "web:root"),
    "django": (
        "site1/wsgi.py",
        "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n",
        "site1.wsgi:application",
    ),
}


@pytest.mark.parametrize("kind", EXISTING)
def test_an_application_that_is_there_is_found_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    name, code, application = EXISTING[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(code)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text("from flask import Flask\nother = Flask('x')\n")
    assert new(tmp_path, f"--{kind}") == 0
    assert tomllib.loads((tmp_path / "gaeport.toml").read_text())["app"] == application
    assert (tmp_path / name).read_text() == code
    assert not (tmp_path / "shop").exists()


def test_files_that_are_there_stay_and_what_they_lack_is_told(tmp_path: Path, capsys: Capture) -> None:
    files = {
        "main.py": "from flask import Flask\napp = Flask(__name__)\n",
        "requirements.txt": "Flask==3.1\n",
        "app.yaml": "runtime: python313\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert new(tmp_path, "--flask") == 0
    assert {name: (tmp_path / name).read_text() for name in files} == files
    out = capsys.readouterr().out
    assert "kept app.yaml, which was there" in out
    assert f"  ./vendor/{wheel.file_name()}[gunicorn]\n" in out
    assert "flask>=" not in out
    assert "gunicorn --bind :$PORT --workers 2 --threads 8 --timeout 0 wsgi_main:app" in out
    assert "gaeport.wrap" in (tmp_path / "wsgi_main.py").read_text()


def test_a_callable_by_name_also_one_that_makes_the_application(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def create_app(): ...\n")
    assert new(tmp_path, "--wsgi", "shop:create_app()") == 0
    assert settings.load(tmp_path / "gaeport.toml").app == "shop:create_app()"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--flask"], "none that makes a Flask application"),
        (["--wsgi", "shop"], "must be module:callable"),
    ],
)
def test_what_cannot_be_found_is_asked_for_and_nothing_is_written(
    tmp_path: Path, capsys: Capture, options: list[str], words: str
) -> None:
    (tmp_path / "shop.py").write_text("x = 1\n")
    assert new(tmp_path, *options) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["shop.py"]


def test_one_kind_has_to_be_said(tmp_path: Path) -> None:
    for options in ([], ["--flask", "--django"]):
        with pytest.raises(SystemExit):
            new(tmp_path / "site", *options)


def test_an_upgrade_swaps_the_wheel_and_leaves_the_rest(tmp_path: Path, capsys: Capture) -> None:
    assert new(tmp_path, "--flask") == 0
    old = tmp_path / "vendor" / "gaeport-0.0.9-py3-none-any.whl"
    (tmp_path / "vendor" / wheel.file_name()).rename(old)
    requirements = tmp_path / "requirements.txt"
    now = requirements.read_text()
    requirements.write_text(now.replace(wheel.file_name(), old.name))
    assert len(upgrade(tmp_path, check=True)) == 3
    assert old.exists()
    upgrade(tmp_path, check=False)
    assert requirements.read_text() == now
    assert [path.name for path in (tmp_path / "vendor").iterdir()] == [wheel.file_name()]
    assert upgrade(tmp_path, check=False) == []


def test_an_upgrade_needs_a_wheel_to_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gaeport.toml").touch()
    assert cli.main(["upgrade"]) == 2
    assert "names no wheel of gaeport" in capsys.readouterr().err
