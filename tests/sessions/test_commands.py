"""`gaeport sessions …`."""

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gaeport import cli, settings
from gaeport.commands import age
from gaeport.sessions.keys import StoredKeys
from gaeport.sessions.session import Session
from gaeport.sessions.stores import Store, connect
from gaeport.settings import SessionSettings


@pytest.fixture
def store(project: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A folder with three sessions: of user 7, new and old, and of nobody, expired."""
    (project / "gaeport.toml").write_text('[sessions]\nuser_key = "user_id"\n')
    settings.use(settings.load(project / "gaeport.toml"))
    options = settings.current().sessions
    assert options is not None
    store = connect(options)
    begin(store, options, time.time(), user_id=7)
    begin(store, options, time.time() - 50_000, user_id=7)
    begin(store, options, time.time() - 100_000)
    return store


def begin(store: Store, options: SessionSettings, now: float, **values: Any) -> None:
    session = Session(store, options, None, lambda: now)
    session.update(values, a=1)
    session.save()


def left() -> int:
    return len(list(connect(SessionSettings()).every()))


def test_purge_removes_what_has_expired(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sessions", "purge"]) == 0
    assert capsys.readouterr().out == "1 of 3 sessions removed\n"
    assert left() == 2


@pytest.mark.parametrize(
    ("options", "remaining"),
    [
        (["--older-than", "12h"], 1),
        (["--older-than", "30d"], 2),
        (["--user", "7"], 1),
        (["--user", "8"], 3),
        (["--all"], 0),
    ],
)
def test_purge_removes_others_by_choice(store: Store, options: list[str], remaining: int) -> None:
    assert cli.main(["sessions", "purge", *options, "--yes"]) == 0
    assert left() == remaining


def test_purge_shows_how_far_it_is(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaeport.sessions.purge._BATCH", 2)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert cli.main(["sessions", "purge", "--all", "--yes"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "\r2 seen, 2 removed\r3 seen, 3 removed\r3 seen, 3 removed\n"
    assert captured.out.endswith("3 of 3 sessions removed\n")


@pytest.mark.parametrize("emulator", ["firestore_emulator", "datastore_emulator"])
def test_another_projects_sessions_are_listed_ended_and_purged(
    emulator: str,
    request: pytest.FixtureRequest,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(emulator))
    (project / "gaeport.toml").write_text('[sessions]\nuser_key = "user_id"\n')
    stage = f"stage{random.randrange(10**12)}"
    for where, name in (("shop-1234", stage), ("shop-1234", f"{stage}-other"), ("other-1234", stage)):
        config = replace(settings.load(project / "gaeport.toml"), project=where, namespace=name)
        settings.use(config)
        assert config.sessions is not None
        for age_ in (0, 100, 100_000):
            begin(connect(config.sessions), config.sessions, time.time() - age_, user_id=7)

    def command(*arguments: str, where: str = "shop-1234", name: str = stage) -> str:
        settings.use(settings.load(project / "gaeport.toml"))
        assert cli.main(["--project", where, "--namespace", name, "sessions", *arguments]) == 0
        return capsys.readouterr().out

    assert command("purge") == "1 of 3 sessions removed\n"
    target = f"emulator, project shop-1234, database (default), namespace gaeport.{stage}"
    assert command("revoke", "--user", "7", "--yes") == f"{target}: end 2 sessions\n2 sessions ended\n"
    assert command("purge", "--all", "--yes").endswith("0 of 0 sessions removed\n")
    assert command("list", name=f"{stage}-other").endswith("3 sessions\n")
    assert command("list", where="other-1234").endswith("3 sessions\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["purge", "--all"],
        ["purge", "--user", "7"],
        ["purge", "--older-than", "1s"],
        ["revoke", "--user", "7"],
        ["rotate-key", "--at-once"],
    ],
)
def test_what_ends_sessions_asks_first(
    store: Store, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert cli.main(["sessions", *arguments]) == 2
    captured = capsys.readouterr()
    assert "embedded data in" in captured.out
    assert "--yes" in captured.err
    assert left() == 3


def test_list_shows_names_users_and_times_but_no_ids(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sessions", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 sessions"
    assert sum("expired" in line for line in lines) == 1
    assert cli.main(["sessions", "list", "--user", "7"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 sessions"


def test_revoke_ends_what_list_shows(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["sessions", "list", "--user", "7"])
    name = capsys.readouterr().out.split()[0]
    assert cli.main(["sessions", "revoke", name, "--yes"]) == 0
    assert "1 sessions ended" in capsys.readouterr().out
    assert cli.main(["sessions", "revoke", "--user", "7", "--yes"]) == 0
    assert left() == 1
    assert cli.main(["sessions", "revoke", name, "--yes"]) == 1


@pytest.mark.parametrize("arguments", [[], ["--user", "7", "abcdef0123"], ["abc"], ["not-a-name"]])
def test_revoke_says_what_it_needs(store: Store, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sessions", "revoke", *arguments, "--yes"]) == 2
    assert "gaeport sessions list" in capsys.readouterr().err


def test_rotate_key_adds_a_key(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = StoredKeys().signing()
    assert cli.main(["sessions", "rotate-key"]) == 0
    assert "cookies signed before count for 2,592,000 s more" in capsys.readouterr().out
    assert StoredKeys().find(before.name) is not None
    assert cli.main(["sessions", "rotate-key", "--at-once", "--yes"]) == 0
    assert StoredKeys().find(before.name) is None


def test_rotate_key_leaves_keys_of_the_settings_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAEPORT_SESSION_KEYS", "k" * 32)
    assert cli.main(["sessions", "rotate-key"]) == 2
    assert "GAEPORT_SESSION_KEYS" in capsys.readouterr().err


def test_a_store_that_cannot_list_says_which_can(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "gaeport.toml").write_text('[sessions]\nstore = "cookie"\n')
    settings.use(settings.load(project / "gaeport.toml"))
    assert cli.main(["sessions", "purge"]) == 2
    assert "rotate-key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("90s", 90), ("1w", 604_800)]
)
def test_ages_are_read(text: str, seconds: float) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y"])
def test_a_wrong_age_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["sessions", "purge", f"--older-than={text}"])
    assert leaving.value.code == 2
    assert "write e.g. 30d" in capsys.readouterr().err
