"""Finding "module:callable", and saying what is wrong when there is none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport.errors import ApplicationError
from gaeport.loader import load

SOURCE = """
import json
from os.path import join

TITLE = "a string"

def app(environ, start_response): ...

def make(colour="red", *, size=1):
    def made(environ, start_response): ...
    made.arguments = (colour, size)
    return made

def broken():
    raise ValueError("in the factory")

async def asgi(scope, receive, send): ...

class Asgi:
    async def __call__(self, scope, receive, send): ...

class Site:
    def __call__(self, environ, start_response): ...

site = Site()
asgi_object = Asgi()
_private = Site()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "loader_sample.py").write_text(SOURCE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("loader_"):
            del sys.modules[name]


def refused(reference: str, root: Path) -> str:
    with pytest.raises(ApplicationError) as caught:
        load(reference, root)
    return str(caught.value)


def test_a_callable_is_found_with_the_root_first_in_the_import_path(root: Path) -> None:
    assert load("loader_sample:app", root).__name__ == "app"  # type: ignore[attr-defined]
    assert sys.path[0] == str(root)


def test_an_attribute_of_an_object_is_found(root: Path) -> None:
    assert callable(load("loader_sample:site.__call__", root))


def test_a_factory_is_called_with_its_literal_arguments(root: Path) -> None:
    assert load("loader_sample:make()", root).arguments == ("red", 1)  # type: ignore[attr-defined]
    assert load("loader_sample:make('blue', size=[2])", root).arguments == ("blue", [2])  # type: ignore[attr-defined]


def test_arguments_that_are_not_literals_are_refused(root: Path) -> None:
    assert "arguments must be literals" in refused("loader_sample:make(open('x'))", root)


def test_a_missing_module_is_named_with_the_folder_searched(root: Path) -> None:
    message = refused("loader_nowhere.web:app", root)
    assert "there is no module 'loader_nowhere'" in message
    assert str(root) in message


def test_the_applications_own_import_error_shows_its_traceback_and_none_of_ours(root: Path) -> None:
    (root / "loader_half.py").write_text("import not_installed_anywhere\n")
    message = refused("loader_half:app", root)
    assert "importing loader_half failed" in message
    assert 'loader_half.py", line 1' in message
    assert "ModuleNotFoundError: No module named 'not_installed_anywhere'" in message
    assert "gaeport/loader.py" not in message
    assert "importlib" not in message


def test_a_module_that_leaves_the_interpreter_is_refused(root: Path) -> None:
    (root / "loader_script.py").write_text("import sys\nsys.exit(3)\n")
    assert "SystemExit: 3" in refused("loader_script:app", root)


def test_a_missing_attribute_lists_what_could_be_meant(root: Path) -> None:
    message = refused("loader_sample:application", root)
    assert "has no 'application'; it has app, asgi, asgi_object, broken, make, site" in message


def test_what_cannot_be_called_is_refused(root: Path) -> None:
    assert "is a str, not a WSGI application" in refused("loader_sample:TITLE", root)


def test_a_factory_named_without_parentheses_is_recognised(root: Path) -> None:
    assert 'Then write "loader_sample:broken()"' in refused("loader_sample:broken", root)


def test_a_factory_that_fails_shows_its_traceback(root: Path) -> None:
    message = refused("loader_sample:broken()", root)
    assert "the factory failed" in message
    assert "ValueError: in the factory" in message


@pytest.mark.parametrize("name", ["asgi", "asgi_object"])
def test_an_asgi_application_is_refused_by_name(root: Path, name: str) -> None:
    assert f"loader_sample:{name} is an ASGI application" in refused(f"loader_sample:{name}", root)


def test_a_module_that_names_itself_is_told_so(root: Path) -> None:
    (root / "loader_itself.py").write_text(
        "from pathlib import Path\nfrom gaeport.loader import load\napp = load('loader_itself:app', Path('.'))\n"
    )
    assert "itself is still being imported" in refused("loader_itself:app", root)
