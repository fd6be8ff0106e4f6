"""One list becomes .gcloudignore, or skip_files."""

from pathlib import Path

import pytest
import yaml

from gaeport import cli
from gaeport.errors import ConfigurationError
from gaeport.settings import BundleSettings
from tests.tools.bundle.test_patterns import by_expressions, going
from tools.bundle.generate import generate, patterns

OWN = BundleSettings(ignore=("/notes/", "*.psd"), keep=("/notes/read me.psd", "seed.sqlite3"))


def written(root: Path, bundle: BundleSettings) -> str:
    """Generate, write, and return the one file's text."""
    ((path, text),) = generate(root, bundle).items()
    path.write_text(text)
    return text


def test_the_defaults_keep_home_what_nobody_wants_uploaded(tmp_path: Path) -> None:
    text = written(tmp_path, BundleSettings())
    stay = (".env", ".env.local", "venv/bin/python", "tests/test_a.py", "a/__pycache__/b", "server.key", ".git/config")
    stay += ("w/applications/admin/models/x.py", "w/applications/shop/sessions/1", ".gaeport/data.sqlite3")
    go = ("main.py", ".env.example", "w/applications/shop/private/auth.key", "w/applications/welcome/models/db.py")
    assert going(text, *stay, *go) == list(go)


def test_gaeport_toml_adds_and_takes_back() -> None:
    text = "".join(f"{pattern.text}\n" for pattern in patterns(OWN))
    assert going(text, "notes/a", "a.psd", "seed.sqlite3", "b.sqlite3", "main.py") == ["seed.sqlite3", "main.py"]
    alone = patterns(BundleSettings(ignore=("x",), defaults=False))
    assert [pattern.text for pattern in alone] == ["x"]


def test_lines_outside_the_block_stay_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".gcloudignore").write_text("# mine\nmine/\n")
    first = written(tmp_path, OWN)
    assert first.endswith("# mine\nmine/\n")
    assert written(tmp_path, OWN) == first
    changed = written(tmp_path, BundleSettings())
    assert changed.endswith("# mine\nmine/\n")
    assert "*.psd" not in changed


APP_YAML = """\
runtime: python27   # the old one
skip_files:
- ^x$

# how it scales
automatic_scaling:
  max_instances: 2
"""


def test_app_yaml_of_python_27_gets_expressions_and_keeps_everything_else(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APP_YAML)
    text = written(tmp_path, OWN)
    assert text.startswith("runtime: python27   # the old one\nskip_files:\n- '")
    assert text.endswith("\n\n# how it scales\nautomatic_scaling:\n  max_instances: 2\n")
    assert written(tmp_path, OWN) == text
    tree = tmp_path / "tree"
    for name in ("notes/a", "venv/b", "main.py", "x.psd", "seed.sqlite3", ".env", "private/auth.key", "b.key"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    assert by_expressions(tree, yaml.safe_load(text)["skip_files"]) == ["main.py", "private/auth.key", "seed.sqlite3"]


def test_skip_files_beside_a_gcloudignore_are_refused(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APP_YAML)
    (tmp_path / ".gcloudignore").touch()
    with pytest.raises(ConfigurationError, match="remove one of them"):
        generate(tmp_path, OWN)


def test_the_command_writes_once_and_its_check_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaeport.toml").write_text('[bundle]\nignore = ["/notes/"]\n')
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bundle", "generate", "--check"]) == 1
    assert not (tmp_path / ".gcloudignore").exists()
    assert cli.main(["bundle", "generate"]) == 0
    assert "/notes/\n" in (tmp_path / ".gcloudignore").read_text()
    assert cli.main(["bundle", "generate", "--check"]) == 0
    assert "nothing to change" in capsys.readouterr().out
