"""Logging in where Datastore is Google's: the emulators answer conflicts as production does, in their two ways."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gaeport import settings, wsgi
from gaeport.console import attempts
from tests.console.conftest import Visitor, answering, hashed
from tests.stats.test_recording import calling


@pytest.fixture(params=["firestore_emulator", "datastore_emulator"])
def app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wsgi.Application:
    """The application on an emulator, in a project of its own."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", request.getfixturevalue(request.param))
    project = f"console-{tmp_path.name[-1]}-{abs(hash(tmp_path)) % 10**8}"
    settings.configure(root=tmp_path, project=project, data=".gaeport", console={"password_hash": hashed()})
    return wsgi.wrap(answering)


def test_logging_in_and_out(app: wsgi.Application) -> None:
    admin = Visitor(app)
    assert admin.log_in("wrong").status_int == 403
    assert admin.log_in().status_int == 303
    assert "Overview" in admin.get().text
    copied = dict(admin.site.cookies)
    admin.post("/_gaeport/logout", {"csrf": admin.token(admin.get())})
    for name, value in copied.items():
        admin.site.set_cookie(name, value)
    assert admin.get().status_int == 303


def test_tries_at_the_same_moment_are_counted_each(app: wsgi.Application) -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: attempts.allow("203.0.113.9", ""), range(24)))
    assert waits.count(0) <= attempts.EACH
    assert any(waits)


def test_calls_over_a_real_channel_are_recorded_with_their_line(app: wsgi.Application) -> None:
    assert Visitor(wsgi.wrap(calling)).get("/notes").text == "done"
    admin = Visitor(app)
    admin.log_in()
    page = admin.get("/_ah/stats").text
    assert "GET /notes" in page
    found = admin.get("/_ah/stats").click(description="GET /notes", index=0).text
    assert "test_recording.py" in found
    assert "Lookup" in found
    assert "Commit" in found
