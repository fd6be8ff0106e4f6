"""The same error has the same fingerprint, wherever its lines have moved; another error has another."""

import textwrap
from pathlib import Path
from typing import Any

from gaeport import settings
from gaeport.tickets.fingerprint import fingerprint, is_application
from gaeport.tickets.number import group_of
from tests.tickets import failing
from tests.tickets.failing import caught


def error_of(folder: Path, source: str) -> BaseException:
    """Return what the function `view` of a module raises."""
    path = folder / "views.py"
    path.write_text(textwrap.dedent(source))
    namespace: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return caught(namespace["view"])


SOURCE = """
def view():
    return int("x")
"""


def test_line_numbers_and_messages_do_not_count(tmp_path: Path) -> None:
    moved = "\n\n# a comment\n" + SOURCE.replace('"x"', '"another"')
    assert fingerprint(error_of(tmp_path, SOURCE)) == fingerprint(error_of(tmp_path, moved))


def test_type_and_function_count(tmp_path: Path) -> None:
    other_type = SOURCE.replace('int("x")', "[][1]")
    other_function = SOURCE.replace("view", "inner") + "\ndef view():\n    return inner()\n"
    found = {fingerprint(error_of(tmp_path, source)) for source in (SOURCE, other_type, other_function)}
    assert len(found) == 3


def test_the_same_application_in_another_folder_has_the_same_errors(tmp_path: Path) -> None:
    found = set()
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        settings.configure(root=folder)
        found.add(fingerprint(error_of(folder, SOURCE)))
    assert len(found) == 1


def test_the_depth_of_a_recursion_does_not_count() -> None:
    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise ValueError

    assert fingerprint(caught(lambda: fail(3))) == fingerprint(caught(lambda: fail(90)))


def test_causes_and_members_count() -> None:
    ways = (failing.simple, failing.with_cause, failing.with_context, failing.group)
    found = {fingerprint(caught(fail)) for fail in ways}
    assert len(found) == 4


def test_an_exception_that_was_never_raised_has_a_fingerprint() -> None:
    assert len(fingerprint(ValueError("x"))) == 64
    assert fingerprint(ValueError("x")) == fingerprint(ValueError("y")) != fingerprint(KeyError("x"))


def test_python_and_packages_and_gaeport_are_not_the_application() -> None:
    import json

    import pytest

    import gaeport.wsgi

    assert is_application(__file__)
    assert is_application("<string>")
    assert not is_application(json.__file__)
    assert not is_application(str(pytest.__file__))
    assert not is_application(gaeport.wsgi.__file__)
    assert not is_application("<frozen importlib._bootstrap>")
    assert not is_application("/srv/web2py/gluon/main.py")
    assert is_application("/srv/web2py/applications/shop/controllers/default.py")


def test_a_group_is_six_characters_of_the_fingerprint() -> None:
    assert group_of("0" * 64) == "000000"
    assert group_of("f" * 64) == "ZZZZZZ"
