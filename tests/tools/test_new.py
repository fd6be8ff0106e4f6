"""gaeport new: what it makes, what it refuses, what it says."""

import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from gaeport import __version__, cli, settings
from gaeport.devserver import appyaml
from tools.new import compiling, web2py, wheel

SETTINGS = ("app.yaml", "cron.yaml", "gaeport.toml", "index.yaml", "queue.yaml", "requirements.txt", ".gcloudignore")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder that has what makes a web2py tree."""
    files = {
        ".gitmodules": '[submodule "gluon/packages/dal"]\n\tpath = gluon/packages/pydal\n\turl = https://example.com/dal\n',
        "gluon/main.py": "wsgibase = None\n",
        "gluon/packages/pydal/setup.py": "",
        "gluon/packages/yatl/setup.py": "",
        "gluon/packages/rocket3/setup.py": "",
        "applications/welcome/models/db.py": "db = DAL('sqlite://storage.sqlite')\n",
        "applications/welcome/private/auth.key": "sha512:abc",
        "applications/welcome/databases/storage.sqlite": "rows",
        "applications/welcome/static/x.css": "",
        "web2py.py": "print('web2py')\n",
    }
    for name, content in files.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "source"


def new(folder: Path, tree: Path, *options: str) -> int:
    return cli.main(["new", str(folder), "--web2py", str(tree), *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_tree_is_copied_unchanged(tree: Path, tmp_path: Path) -> None:
    before = contents(tree)
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("a repository stays where it is")
    assert new(tmp_path / "site", tree) == 0
    assert contents(tmp_path / "site" / "web2py") == before


def test_everything_that_serving_and_deploying_read_is_there(tree: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert new(site, tree, "--runtime", "python312") == 0
    for name in (*SETTINGS, "main.py", "pytest.ini", "tests/test_app.py", f"vendor/{wheel.file_name()}"):
        assert (site / name).is_file(), name
    loaded = appyaml.load(site)
    assert loaded.runtime == "python312"
    assert loaded.handlers[0].url.fullmatch("/welcome/static/_1.2.3/x.css")
    for name in ("cron.yaml", "index.yaml", "queue.yaml"):
        assert isinstance(yaml.safe_load((site / name).read_text()), dict)
    config = settings.load(site / "gaeport.toml")
    assert config.app == "gaeport.web2py:application('web2py')"
    assert {mount.path for mount in config.mounts} >= {"web2py/applications/*/sessions", "web2py/deposit"}
    assert "sqlite://*" in config.dal.map


def test_statics_are_left_to_web2py_where_it_rewrites_paths(tree: Path, tmp_path: Path) -> None:
    (tree / "routes.py").write_text("routers = {}\n")
    new(tmp_path / "site", tree)
    assert len(appyaml.load(tmp_path / "site").handlers) == 1


def test_nothing_is_ever_overwritten(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "main.py").write_text("mine")
    assert new(site, tree) == 2
    assert "main.py already; new never overwrites" in capsys.readouterr().err
    assert contents(site) == {"main.py": b"mine"}
    (site / "main.py").unlink()
    (site / "notes.txt").write_text("kept")
    assert new(site, tree) == 0
    assert (site / "notes.txt").read_text() == "kept"
    before = contents(site)
    assert new(site, tree) == 2
    assert contents(site) == before


@pytest.mark.parametrize(
    ("folder", "source", "words"),
    [
        ("site", "nowhere", "is no web2py"),
        ("source/site", "source", "choose another folder"),
        ("source/web2py.py/site", "source", "choose another folder"),
        ("file/site", "source", "is a file, not a folder"),
    ],
)
def test_what_cannot_be_is_refused(
    tree: Path, tmp_path: Path, folder: str, source: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    before = contents(tmp_path)
    assert new(tmp_path / folder, tmp_path / source) == 2
    assert words in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("given", [["x"], ["x", "--web2py", "y", "--runtime", "php"], []])
def test_wrong_usage_exits_with_2(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["new", *given])
    assert leaving.value.code == 2


def test_files_that_do_not_compile_are_listed(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "applications" / "welcome" / "controllers").mkdir()
    (tree / "applications" / "welcome" / "controllers" / "old.py").write_text("x = 1\nprint 'hello'\n")
    (tree / "scripts").mkdir()
    for number in range(25):
        (tree / "scripts" / f"old{number:02}.py").write_text("print 'hello'\n")
    running = f"python3{sys.version_info.minor}"
    assert new(tmp_path / "site", tree, "--runtime", running) == 0
    said = capsys.readouterr().out
    assert f"1 files that requests may run do not compile on {running}:" in said
    assert "  web2py/applications/welcome/controllers/old.py: line 2: Missing parentheses" in said
    assert "25 files that no request runs" in said
    assert "web2py/scripts/old19.py" in said
    assert "and 5 more" in said
    assert "were compiled by" not in said
    assert "no password" in said


def test_a_runtime_whose_python_is_not_installed_is_said(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new(tmp_path / "site", tree, "--runtime", "python399")
    assert "python3.99 is not installed: files were compiled by 3." in capsys.readouterr().out


def test_a_command_that_only_looks_like_the_runtimes_python_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python3.98"
    fake.write_text("#!/bin/sh\nexit 127\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.py").write_text("print 'hello'\n")
    done = compiling.compile_all(tmp_path, ["x.py"], "python398")
    assert done.interpreter == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert list(done.failures) == ["x.py"]


def test_missing_submodules_become_requirements(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pydal", "yatl", "rocket3"):
        (tree / "gluon" / "packages" / name / "setup.py").unlink()
    (tree / "gluon" / "packages" / "yatl").rmdir()
    assert web2py.requirements(tree) == ["rocket3", "yatl"]
    new(tmp_path / "site", tree)
    assert "lacks its submodules pydal, rocket3, yatl" in capsys.readouterr().out


def test_the_trees_own_requirements_are_taken_over(tree: Path, tmp_path: Path) -> None:
    lines = ["# comment", "gunicorn", "google-cloud-firestore", "pymysql>=1", "", "-e .", "Pillow"]
    (tree / "requirements.txt").write_text("\n".join(lines))
    (tree / "gluon" / "restricted.py").write_text("import cgitb\n")
    new(tmp_path / "site", tree)
    found = (tmp_path / "site" / "requirements.txt").read_text().splitlines()[1:]
    assert found[:3] == [f"./vendor/{wheel.file_name()}[dal,gunicorn]", found[1], "Pillow"]
    assert found[1].startswith('legacy-cgi>=2.6; python_version >= "3.13"')
    assert found[3:] == ["pymysql>=1"]


def test_the_key_that_passwords_are_made_with_is_uploaded(tree: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    new(site, tree)
    (site / ".gitignore").write_text((site / ".gcloudignore").read_text() + "\n*.key\n")
    (site / ".gitignore").write_text("*.key\n" + (site / ".gcloudignore").read_text())
    names = "\n".join(contents(site))
    done = subprocess.run(
        ["git", "-c", f"core.excludesFile={site / '.gitignore'}", "check-ignore", "--no-index", "--stdin"],
        cwd=_repository(site),
        input=names,
        capture_output=True,
        text=True,
        check=False,
    )
    ignored = set(done.stdout.split())
    assert "web2py/applications/welcome/private/auth.key" not in ignored
    assert "web2py/applications/welcome/models/db.py" not in ignored
    assert f"vendor/{wheel.file_name()}" not in ignored
    assert {"web2py/applications/welcome/databases/storage.sqlite", "tests/test_app.py"} <= ignored


def _repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def test_the_wheel_is_this_gaeport_without_the_tools() -> None:
    data = wheel.build()
    assert data == wheel.build()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        record = archive.read(f"gaeport-{__version__}.dist-info/RECORD").decode()
        for name, digest, size in csv.reader(record.splitlines()):
            if digest:
                content = archive.read(name)
                made = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={made}", len(content)), name
    assert {"gaeport/__init__.py", "gaeport/py.typed", "gaeport/welcome/static/icon.svg"} <= set(names)
    assert not [name for name in names if name.startswith("gaeport_tools") or "__pycache__" in name]


@pytest.mark.long
def test_the_wheel_can_be_installed(tmp_path: Path) -> None:
    path = tmp_path / wheel.file_name()
    path.write_bytes(wheel.build())
    target = tmp_path / "target"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(path)], check=True)
    script = "import gaeport, sys; from gaeport.cli import main; print(gaeport.__file__); main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=target,
        env={"PYTHONPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [str(target / "gaeport" / "__init__.py"), f"gaeport {__version__}"]
