"""`gaeport console password`."""

import io

import pytest

from gaeport import cli
from gaeport.console import command, passwords
from tests.console.conftest import PASSWORD, cheapen


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheapen(monkeypatch)


def test_the_hash_goes_to_standard_output_and_what_to_do_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert cli.main(["console", "password", "--stdin"]) == 0
    said = capsys.readouterr()
    assert passwords.matches(PASSWORD, said.out.strip())
    assert f'password_hash = "{said.out.strip()}"' in said.err
    assert PASSWORD not in said.out + said.err


def test_it_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [PASSWORD, PASSWORD, PASSWORD, "another password"]
    monkeypatch.setattr(command.getpass, "getpass", lambda prompt: answers.pop(0))
    assert cli.main(["console", "password"]) == 0
    assert cli.main(["console", "password"]) == 1
    assert "differ" in capsys.readouterr().err


def test_a_short_one_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short"))
    assert cli.main(["console", "password", "--stdin"]) == 1
    assert "use 12 to 1,000" in capsys.readouterr().err
