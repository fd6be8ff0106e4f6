"""What a release of another format reads, writes and rewrites."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gaeport
from gaeport import cli, formats, settings
from gaeport.datastore import own_client, wire
from gaeport.errors import ConfigurationError
from gaeport.sessions.record import Record
from gaeport.sessions.stores import connect
from gaeport.tickets.store import TicketStore
from tools.new.finish import with_format


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An application's folder, in force."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gaeport.toml").write_text('[sessions]\nstore = "datastore"\n')
    yield tmp_path
    settings.use(None)


def release(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Be the release that has this newest format."""
    monkeypatch.setattr(formats, "NEWEST", number)
    monkeypatch.setattr(formats, "OLDEST", max(1, number - 1))


def start(root: Path, number: int) -> None:
    """Put the folder's gaeport.toml in force, as an application with this default format does."""
    text = (root / "gaeport.toml").read_text()
    (root / "gaeport.toml").write_text(text if "format" in text else with_format(text, number))
    settings.use(settings.load(root / "gaeport.toml"))


def write() -> tuple[str, str]:
    """Keep a file, one with two names, a session and a ticket; returns the session's and the ticket's names."""
    gaeport.mount("data")
    try:
        for name in ("a", "b"):
            Path(f"data/{name}").write_text("text")
        Path("data/c").hardlink_to("data/b")
    finally:
        gaeport.unmount("data")
    token = connect(settings.current().sessions).insert(Record(1e9, 1e9, 3600)).token
    TicketStore().write([{"number": "AAAAAA-20260101-000000-AAAA", "title": "x", "time": 1.8e9, "exceptions": []}])
    return token, "AAAAAA-20260101-000000-AAAA"


def stored() -> dict[str, set[int]]:
    """Return the formats that the entities of each kind have."""
    found: dict[str, set[int]] = {}
    for kind in ("Entry", "Inode", "Session", "Ticket"):
        query: Any = wire.Query()
        query.kind.add(name=kind)
        found[kind] = {one.entity.properties["format"].integer_value for one in own_client().query(query)}
    return found


def every(number: int) -> dict[str, set[int]]:
    return {kind: {number} for kind in ("Entry", "Inode", "Session", "Ticket")}


def upgrade(*options: str) -> int:
    """Run `gaeport upgrade` as a process of its own does, which reads gaeport.toml anew."""
    settings.use(None)
    return cli.main(["upgrade", *options])


def test_the_former_format_is_written_until_the_settings_say_otherwise(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(root, 1)
    write()
    release(monkeypatch, 2)
    gaeport.mount("data")
    with open("data/a", "a") as file:
        file.write(" and more")
    assert Path("data/a").read_text() == "text and more"
    gaeport.unmount("data")
    assert stored() == every(1)


def test_an_upgrade_is_finished_in_two_steps(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(root, 1)
    token, number = write()
    release(monkeypatch, 2)
    assert upgrade("--finish", "--check") == 1
    assert upgrade("--finish") == 0
    assert "Deploy it." in capsys.readouterr().out
    assert (root / "gaeport.toml").read_text() == 'format = 2\n\n[sessions]\nstore = "datastore"\n'
    assert stored() == every(1)
    assert upgrade("--finish", "--check") == 1
    assert upgrade("--finish") == 0
    assert stored() == every(2)
    assert "7 of 7 entities were in format 1" in capsys.readouterr().out
    assert upgrade("--finish", "--check") == 0
    start(root, 2)
    gaeport.mount("data")
    assert (Path("data/a").read_text(), Path("data/c").stat().st_nlink) == ("text", 2)
    gaeport.unmount("data")
    assert connect(settings.current().sessions).load(token) is not None
    ticket = TicketStore().read(number)
    assert ticket is not None
    assert ticket["format"] == 2


def test_a_release_that_is_two_formats_ahead_says_which_one_is_missing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(root, 1)
    write()
    release(monkeypatch, 3)
    (root / "gaeport.toml").write_text("format = 3\n")
    start(root, 3)
    gaeport.mount("data")
    with pytest.raises(OSError, match="has format 1, this release reads 2 and 3: finish the upgrade"):
        Path("data/a").read_text()
    gaeport.unmount("data")


def test_a_format_that_this_release_does_not_write_is_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"format = 2: this release of gaeport writes 1 to 1"):
        settings.configure(root=root, format=2)


def test_with_one_format_there_is_nothing_to_finish(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade("--finish") == 0
    assert "nothing to finish" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "format = 2\n\n"),
        ('app = "a:b"\n', 'app = "a:b"\nformat = 2\n'),
        (
            'app = "a:b"  # a\n\n[[mount]]\npath = "x"\n',
            'app = "a:b"  # a\nformat = 2\n\n[[mount]]\npath = "x"\n',
        ),
        ("format = 1 # kept\n[tickets]\n", "format = 2 # kept\n[tickets]\n"),
    ],
)
def test_the_setting_is_put_in_place_and_the_rest_stays(before: str, after: str) -> None:
    assert with_format(before, 2) == after
