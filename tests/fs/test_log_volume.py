"""store = "log": lines written to files become log entries."""

import json
import logging
import logging.handlers
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import webtest

import gaeport
from gaeport import meter, settings
from gaeport.fs import begin_request, end_request
from gaeport.fs.log_volume import MAX_MESSAGE, entries, severity_of
from gaeport.settings import TicketSettings


@pytest.fixture
def logs(application: Path) -> Path:
    gaeport.mount(application / "logs", store="log")
    return application / "logs"


def logged(capture: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capture.readouterr().out.splitlines()]


def test_each_line_becomes_an_entry_without_a_call(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with meter.measure() as usage, open(logs / "app.log", "a") as file:
        file.write("first\nWARNING: second\nhalf")
        file.flush()
        file.write(" and whole\n")
    found = logged(capfd)
    assert [entry["message"] for entry in found] == ["first", "WARNING: second", "half and whole"]
    assert [entry["severity"] for entry in found] == ["DEFAULT", "WARNING", "DEFAULT"]
    assert found[0]["logging.googleapis.com/labels"] == {"file": "logs/app.log"}
    assert usage.total_calls == 0


def test_handlers_of_logging_write_records_with_their_tracebacks(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = logging.handlers.RotatingFileHandler(logs / "app.log", maxBytes=10, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info("started")
    try:
        raise ValueError("wrong")
    except ValueError:
        logger.exception("failed")
    logger.critical("last")
    handler.close()
    found = logged(capfd)
    assert [entry["severity"] for entry in found] == ["INFO", "ERROR", "CRITICAL"]
    assert found[1]["message"].endswith("ValueError: wrong")
    assert "Traceback" in found[1]["message"]


def test_the_end_of_a_request_logs_what_python_buffers(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    request = begin_request()
    file = open(logs / "app.log", "a")  # noqa: SIM115  # left open on purpose
    file.write("buffered")
    end_request(request)
    assert [entry["message"] for entry in logged(capfd)] == ["buffered"]
    file.close()


def test_descriptors_and_redirected_output_are_logged(
    logs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = os.open(logs / "raw.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"by descriptor\n")
    os.close(fd)
    with open(logs / "out.log", "a") as file:
        monkeypatch.setattr(sys, "stdout", file)
        sys.stdout.write("printed\n")
        monkeypatch.undo()
    assert [entry["message"] for entry in logged(capfd)] == ["by descriptor", "printed"]


def test_files_are_empty_and_can_be_renamed_and_removed(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert os.listdir(logs) == []
    (logs / "old").mkdir()
    (logs / "app.log").write_text("line\n")
    assert (logs / "app.log").read_text() == ""
    assert (logs / "app.log").stat().st_size == 0
    os.replace(logs / "app.log", logs / "old" / "app.1.log")
    assert os.listdir(logs) == ["old"]
    with pytest.raises(OSError, match="not empty"):
        (logs / "old").rmdir()
    (logs / "old" / "app.1.log").unlink()
    (logs / "old").rmdir()
    with pytest.raises(FileNotFoundError):
        open(logs / "app.log")  # noqa: SIM115  # it is not opened
    with pytest.raises(FileNotFoundError):
        open(logs / "no" / "app.log", "w")  # noqa: SIM115  # it is not opened
    with pytest.raises(IsADirectoryError):
        open(logs, "w")  # noqa: SIM115  # it is not opened
    assert len(logged(capfd)) == 1


def test_directories_that_were_deployed_are_there(application: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (application / "logs" / "deep").mkdir(parents=True)
    gaeport.mount(application / "logs", store="log")
    (application / "logs" / "deep" / "app.log").write_text("x\n")
    assert logged(capfd)[0]["logging.googleapis.com/labels"] == {"file": "logs/deep/app.log"}


def test_a_long_message_becomes_several_entries(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (logs / "app.log").write_text("x" * (MAX_MESSAGE + 10) + "\n")
    assert [len(entry["message"]) for entry in logged(capfd)] == [MAX_MESSAGE, 10]


def test_lines_are_grouped_and_severities_found() -> None:
    text = "a\n  more of a\n\nb\nTraceback (most recent call last):\n  File\nE: x\n\nThe above exception was\n\nc"
    assert list(entries(text))[:2] == ["a\n  more of a", "b\nTraceback (most recent call last):\n  File\nE: x"]
    assert severity_of("2026-01-01 warn: x") == "WARNING"
    assert severity_of("information") == "DEFAULT"
    assert severity_of("x\nTraceback (most recent call last):") == "ERROR"


@pytest.mark.parametrize("tickets", [True, False])
def test_entries_carry_the_trace_of_the_request_that_wrote_them(
    logs: Path, capfd: pytest.CaptureFixture[str], tickets: bool
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with open(logs / "app.log", "a") as file:
            file.write("answering\n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"answered"]

    config = replace(settings.current(), project="example", tickets=TicketSettings(enabled=tickets))
    settings.use(config)
    gaeport.mount(logs, store="log")
    client = webtest.TestApp(gaeport.wrap(app))
    client.get("/", headers={"X-Cloud-Trace-Context": f"{'a' * 32}/17;o=1"})
    client.get("/")
    first, second = (entry for entry in logged(capfd) if entry["message"] == "answering")
    assert first["logging.googleapis.com/trace"] == f"projects/example/traces/{'a' * 32}"
    assert first["logging.googleapis.com/spanId"] == f"{17:016x}"
    assert first["logging.googleapis.com/trace_sampled"] is True
    assert "logging.googleapis.com/trace" not in second
