"""A mount whose path is a pattern is one mount for each directory that it fits."""

from pathlib import Path

import pytest

from gaeport import settings
from gaeport.errors import ConfigurationError
from gaeport.fs import mount_all
from gaeport.fs.patterns import expanded
from gaeport.settings import MountSettings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("blog", "shop", ".hidden", "__pycache__"):
        (tmp_path / "applications" / name).mkdir(parents=True)
    (tmp_path / "applications" / "__init__.py").touch()
    return tmp_path


def paths(root: Path, path: str, name: str = "") -> list[tuple[str, str]]:
    return [(item.path, item.name) for item in expanded(MountSettings(path, name or path), str(root))]


def test_a_path_without_signs_is_itself(root: Path) -> None:
    assert paths(root, "uploads") == [("uploads", "uploads")]


def test_what_comes_after_the_sign_need_not_exist(root: Path) -> None:
    found = paths(root, "applications/*/uploads")
    assert found == [(f"applications/{app}/uploads",) * 2 for app in ("blog", "shop")]


def test_each_sign_is_looked_for(root: Path) -> None:
    (root / "applications" / "shop" / "data-1").mkdir()
    (root / "applications" / "shop" / "data-2").mkdir()
    assert [path for path, _ in paths(root, "applications/*/data-?")] == [
        "applications/shop/data-1",
        "applications/shop/data-2",
    ]
    assert [path for path, _ in paths(root, "applications/[a-c]*/files")] == ["applications/blog/files"]


def test_a_pattern_that_fits_nothing_mounts_nothing(root: Path) -> None:
    assert paths(root, "nowhere/*/uploads") == []


def test_names_take_what_the_signs_stand_for(root: Path) -> None:
    assert paths(root, "applications/s*/uploads", "up-*") == [("applications/shop/uploads", "up-shop")]


def test_a_name_with_too_few_stars_is_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match="must have 1 \\*"):
        paths(root, "applications/*/uploads", "uploads")


def test_the_mounts_of_gaeport_toml_may_be_patterns(root: Path) -> None:
    settings.configure(root=root, data=":memory:", mounts=[{"path": "applications/*/uploads"}])
    mount_all()
    for app in ("blog", "shop"):
        Path(root, "applications", app, "uploads", "x.txt").write_text(app)
    assert Path(root, "applications/blog/uploads/x.txt").read_text() == "blog"
    with pytest.raises(FileNotFoundError):
        Path(root, "applications/.hidden/uploads/x.txt").write_text("")
    settings.configure(data=":memory:")
    assert not Path(root, "applications/blog/uploads").exists()
