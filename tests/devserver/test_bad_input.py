"""What `gaeport serve` says of settings and data that cannot work; nothing is lost by any of it."""

from pathlib import Path

import pytest

from tests.devserver.serving import run, serving, write_app

APP = """
def app(environ, start_response):
    with open("data/kept", "a") as file:
        file.write("x")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [open("data/kept").read().encode()]
"""
MOUNT = '[[mount]]\npath = "data"\n'


def refusal(folder: Path, *arguments: str, data: str = "") -> str:
    """The one line that serve ends with."""
    done = run(folder, "serve", "--port", "0", *arguments, environment={"GAEPORT_DATA": data} if data else {})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]])
def test_a_damaged_data_file_is_named_and_left_alone(tmp_path: Path, arguments: list[str]) -> None:
    folder = write_app(tmp_path / "app", APP, toml=MOUNT)
    with serving(folder) as served:
        assert served.get("/").text == "x"
    file = folder / ".gaeport" / "datastore.sqlite3"
    whole = file.read_bytes()
    damaged = b"\xff" * 4096 + whole[4096:]
    file.write_bytes(damaged)
    words = refusal(folder, *arguments)
    assert f"{file} is damaged" in words
    assert "Restore a copy" in words
    assert file.read_bytes() == damaged
    file.write_bytes(whole)
    with serving(folder) as served:
        assert served.get("/").text == "xx"


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP, toml=MOUNT)
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file/data" in refusal(folder, data=f"{tmp_path}/file/data")


def test_a_mount_over_a_file_is_refused(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP, toml='[[mount]]\npath = "shop.py"\n')
    before = (folder / "shop.py").read_text()
    assert "shop.py cannot be mounted: it is a file, not a directory" in refusal(folder)
    assert (folder / "shop.py").read_text() == before


@pytest.mark.parametrize("second", ["data/inner", "data/../data/.", "."])
def test_mounts_over_each_other_are_refused(tmp_path: Path, second: str) -> None:
    folder = write_app(tmp_path / "app", APP, toml=f'{MOUNT}[[mount]]\npath = "{second}"\nname = "second"\n')
    words = refusal(folder)
    assert "cannot be mounted" in words or "is mounted already" in words


def test_a_missing_application_module_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP, toml=MOUNT)
    assert f"there is no module 'shup'; looked in {folder}" in refusal(folder, "--app", "shup:app")


def test_a_wrong_key_is_named_with_the_file_and_the_valid_ones(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP, toml="mounts = 3\n")
    words = refusal(folder)
    assert f"{folder}/gaeport.toml: unknown key 'mounts'; valid: app, bucket" in words


def test_several_workers_on_memory_are_refused(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP, toml=MOUNT)
    assert "belongs to one process" in refusal(folder, "--workers", "2", data=":memory:")
