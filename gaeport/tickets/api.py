"""Tickets sent to Cloud Logging's API, through google-cloud-logging's generated client."""

import os
import threading
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.tickets.line import fits, split
from gaeport.tickets.records import Record
from gaeport.tickets.report import payload_of

if TYPE_CHECKING:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

TIMEOUT = 10.0  # seconds for one call; it runs in the background, no request waits for it
_MAX_ENTRIES = 5_000_000  # bytes in a call; the limit is 10 MB

_lock = threading.Lock()
_client: "LoggingServiceV2Client | None" = None


def send(records: list[Record]) -> None:
    """Write tickets to the log that `[tickets] log_name` names. Sending the same again writes nothing twice.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: the service refuses, or does not answer in time.
        google.auth.exceptions.GoogleAuthError: there are no credentials.
    """
    import json

    batch: list[Any] = []
    size = 0
    for record in records:
        for entry in entries(record):
            length = len(json.dumps(entry["jsonPayload"]))
            if batch and size + length > _MAX_ENTRIES:
                _write(batch)
                batch, size = [], 0
            batch.append(entry)
            size += length
    if batch:
        _write(batch)


def entries(record: Record) -> list[dict[str, Any]]:
    """Return a ticket as LogEntry objects in JSON form; several where it has more than 256 KB."""
    config = settings.current()
    payload = payload_of(record)
    lines = split(payload, {})
    payloads = [payload] if len(lines) == 1 and fits(lines[0]) else _parsed(lines)
    return [
        {
            "logName": f"projects/{config.project}/logs/{config.tickets.log_name}",
            "resource": _resource(record),
            "timestamp": _rfc3339(record["time"]),
            "severity": "ERROR" if index == 0 else "DEBUG",
            "insertId": f"{record['number']}-{index}",
            "labels": {"python_logger": "gaeport.tickets", "ticket": record["number"]},
            "trace": record.get("trace", ""),
            "spanId": record.get("span", ""),
            "jsonPayload": part,
        }
        for index, part in enumerate(payloads)
    ]


def connect(client: "LoggingServiceV2Client | None") -> None:
    """Use this client from now on; None makes one by Application Default Credentials when it is needed."""
    global _client
    with _lock:
        _client = client


def _parsed(lines: list[str]) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in lines]


def _write(batch: list[dict[str, Any]]) -> None:
    from google.cloud.logging_v2.types import LogEntry, WriteLogEntriesRequest

    messages = [LogEntry.from_json(_dumped(entry)) for entry in batch]
    request = WriteLogEntriesRequest(entries=messages, partial_success=False)
    _connected().write_log_entries(request=request, timeout=TIMEOUT, retry=None)


def _dumped(entry: dict[str, Any]) -> str:
    import json

    return json.dumps(entry)


def _connected() -> "LoggingServiceV2Client":
    global _client
    with _lock:
        if _client is None:
            from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

            _client = LoggingServiceV2Client()
        return _client


def _resource(record: Record) -> dict[str, Any]:
    if os.environ.get("GAE_ENV") != "standard":
        return {"type": "global", "labels": {"project_id": record["project"]}}
    labels = {"project_id": record["project"], "module_id": record["service"], "version_id": record["version"]}
    return {"type": "gae_app", "labels": labels}


def _rfc3339(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _forget() -> None:
    # A child must not use its parent's gRPC threads; other settings have another project.
    global _client, _lock
    _lock = threading.Lock()
    _client = None


settings.on_change(lambda: connect(None))
os.register_at_fork(after_in_child=_forget)
