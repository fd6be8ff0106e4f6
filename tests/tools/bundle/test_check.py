"""Mistakes in what would be uploaded are named before the upload."""

import json
from pathlib import Path

import pytest

from gaeport import cli, settings
from tools.bundle.check import MAX_FILE, check

MAIN = "import gaeport\n\napp = gaeport.wrap('shop.web:app')\n"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\n"  # in two pieces: this file is no secret


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound application."""
    (tmp_path / "gaeport.toml").write_text('app = "shop.web:app"\n')
    (tmp_path / "app.yaml").write_text("runtime: python313\n")
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "web.py").write_text("from .pages import page\n\n\ndef app(environ, start):\n    return []\n")
    (tmp_path / "shop" / "pages.py").write_text("page = 1\n")
    (tmp_path / ".gcloudignore").write_text(".git\n.gaeport/\n")
    return tmp_path


def found(root: Path) -> list[tuple[str, str | None, int | None]]:
    """Return what the check says, without the words."""
    config = settings.load(root / "gaeport.toml")
    return [(finding.code, finding.file, finding.line) for finding in check(root, config)]


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_sound_folder_has_no_findings(root: Path) -> None:
    assert found(root) == []


def test_no_ignore_file(root: Path) -> None:
    (root / ".gcloudignore").unlink()
    assert found(root) == [("bundle.no-ignore-file", None, None)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (".env", "A=1\n", None),
        ("keys/server.pem", "x", None),
        ("id_rsa", "x", None),
        ("notes.txt", f"a\n{KEY}", 2),
        ("account.json", '{\n "type": "service_account"}', 2),
        ("shop/conf.py", 'K = "AIza' + "x" * 35 + '"\n', 1),
        ("shop/aws.py", 'K = "AKIA' + "A" * 16 + '"\n', 1),
    ],
)
def test_a_secret(root: Path, name: str, content: str, line: int | None) -> None:
    write(root / name, content)
    assert found(root) == [("bundle.secret", name, line)]


def test_an_example_and_what_stays_home_are_no_secrets(root: Path) -> None:
    write(root / ".env.example", "A=\n")
    write(root / "secret" / "a.pem", "x")
    write(root / "picture.bin", b"\0" + KEY.encode())
    write(root / "w/private/auth.key", "sha512:1")
    write(root / ".gcloudignore", "/secret/\n")
    assert found(root) == []


def test_a_file_over_the_limit(root: Path) -> None:
    with (root / "film.mp4").open("wb") as file:
        file.truncate(MAX_FILE)
    assert found(root) == []
    with (root / "film.mp4").open("ab") as file:
        file.write(b"x")
    assert found(root) == [("bundle.large-file", "film.mp4", None)]


def test_more_files_than_a_version_takes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bundle.check.MAX_FILES", 8)
    assert found(root) == []
    write(root / "one_more.txt", "")
    assert found(root) == [("bundle.files", None, None)]


def test_a_virtual_environment(root: Path) -> None:
    write(root / "myenv/pyvenv.cfg", "")
    write(root / "myenv/lib/a.py", "")
    assert found(root) == [("bundle.environment", "myenv", None)]


def test_the_data_of_local_runs(root: Path) -> None:
    write(root / ".gaeport/datastore.sqlite3", "")
    write(root / ".gcloudignore", ".git\n")
    assert found(root) == [("bundle.data", ".gaeport", None)]


def test_a_link_to_nothing_and_one_in_a_circle(root: Path) -> None:
    (root / "gone").symlink_to("nowhere")
    assert found(root) == [("bundle.link", "gone", None)]
    (root / "shop" / "round").symlink_to(root)
    assert [code for code, _, _ in found(root)] == ["bundle.link"]


@pytest.mark.parametrize(
    ("ignored", "path"),
    [("pages.py", "shop/pages.py"), ("requirements.txt", "requirements.txt"), ("/main.py", "main.py")],
)
def test_what_the_application_needs_stays_home(root: Path, ignored: str, path: str) -> None:
    write(root / ".gcloudignore", f"{ignored}\n")
    assert found(root) == [("bundle.missing", path, None)]


def test_an_import_that_may_fail_is_a_warning_and_one_for_type_checkers_nothing(root: Path) -> None:
    write(root / "shop/pages.py", "page = 1\ntry:\n    import extra\nexcept ImportError:\n    extra = None\n")
    write(root / "shop/__init__.py", "import typing\nif typing.TYPE_CHECKING:\n    import stubs\n")
    write(root / "extra.py", "")
    write(root / "stubs.py", "")
    write(root / ".gcloudignore", "extra.py\nstubs.py\n")
    (finding,) = check(root, settings.load(root / "gaeport.toml"))
    assert (finding.code, finding.file, finding.severity) == ("bundle.missing", "extra.py", "warning")
    assert "shop/pages.py:3" in finding.message


def test_an_exception_inside_a_folder_that_is_left_out(root: Path) -> None:
    write(root / "data/keep.txt", "")
    write(root / ".gcloudignore", "/data/\n!/data/keep.txt\n")
    assert found(root) == [("bundle.lost-exception", ".gcloudignore", 2)]
    write(root / ".gcloudignore", "/data/*\n!/data/keep.txt\n")
    assert found(root) == []


def test_an_included_file_that_is_missing(root: Path) -> None:
    write(root / ".gcloudignore", "#!include:.gitignore\n")
    assert found(root) == [("bundle.ignore-file", ".gcloudignore", None)]


def test_skip_files_with_python_3_even_in_a_comment(root: Path) -> None:
    write(root / "app.yaml", "runtime: python313\n# no skip_files here\n")
    assert found(root) == [("bundle.skip-files", "app.yaml", 2)]
    write(root / "app.yaml", "runtime: python27\nskip_files: [a]\n")
    assert found(root) == [("bundle.skip-files", "app.yaml", 2)]


def test_a_git_remote_with_a_password(root: Path) -> None:
    config = '[core]\n\tbare = false\n[remote "origin"]\n\turl = https://me:{}@git.example/x.git\n\tfetch = +a:b\n'
    write(root / ".git/config", config.format("hunter2"))
    (finding,) = check(root, settings.load(root / "gaeport.toml"))
    assert finding.code == "bundle.remote"
    assert "git.example" in finding.message
    assert "hunter2" not in finding.message + finding.fix
    write(root / ".git/config", config.replace("me:{}@", ""))
    assert found(root) == []


def test_the_command_prints_for_people_and_machines(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert cli.main(["bundle", "check"]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    write(root / ".env", "A=1\n")
    assert cli.main(["bundle", "check"]) == 1
    assert "error: .env: its name is that of a secret (.env)" in capsys.readouterr().out
    assert cli.main(["bundle", "check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["file"] == ".env"


def test_the_list_names_each_file_and_why_the_others_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    write(root / ".gaeport/a/b", "12345")
    assert cli.main(["bundle", "list"]) == 0
    out = capsys.readouterr().out
    assert "  shop/web.py\n" in out
    assert ".gaeport/ (1 files)    .gaeport/  .gcloudignore:2\n" in out
    assert cli.main(["bundle", "list", "--json"]) == 0
    entries = {entry["path"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["shop/web.py"]["goes"]
    assert entries[".gaeport"]["why"] == {"pattern": ".gaeport/", "file": ".gcloudignore", "line": 2}
