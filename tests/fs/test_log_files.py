"""Log files in a mount: opened once, written by every request."""

import logging
from pathlib import Path

from gaeport import settings
from gaeport.fs import begin_request, end_request
from gaeport.fs.datastore.volume import make_volume
from tests.fs.volumes import get


def elsewhere(name: str) -> bytes:
    """What another instance reads."""
    return get(make_volume(settings.MountSettings(path="uploads", name="uploads"), "/nonexistent"), name)


def test_what_a_request_logs_is_committed_at_its_end(application: Path) -> None:
    import gaeport

    gaeport.mount(application / "uploads")
    handler = logging.FileHandler(application / "uploads" / "app.log")
    handler.emit(logging.makeLogRecord({"msg": "started"}))
    for number in range(2):
        request = begin_request()
        handler.emit(logging.makeLogRecord({"msg": f"request {number}"}))
        end_request(request, failed=number == 1)
        assert elsewhere("app.log").splitlines()[-1] == b"request %d" % number
    handler.close()
    assert elsewhere("app.log") == b"started\nrequest 0\nrequest 1\n"


def test_a_log_opened_by_a_request_is_committed_by_later_ones_too(application: Path) -> None:
    import gaeport

    gaeport.mount(application / "uploads")
    handler = logging.FileHandler(application / "uploads" / "app.log", delay=True)
    for number in range(3):
        request = begin_request()
        handler.emit(logging.makeLogRecord({"msg": f"request {number}"}))
        end_request(request)
        assert len(elsewhere("app.log").splitlines()) == number + 1
    handler.close()
