"""Samples read back from Cloud Logging, where every instance writes them."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from gaeport.stats.sample import Sample
from gaeport.stats.sinks import FIELD

if TYPE_CHECKING:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

MOST = 2_000  # samples that are read; a page of 1,000 takes about a second
_PAGE = 1_000  # entries a call; the API's limit
_TIMEOUT = 20.0  # seconds a call


class NotReadable(Exception):
    """Cloud Logging does not let this application read, or does not answer; the message says what to do."""


def read(project: str, hours: int, client: "LoggingServiceV2Client | None" = None) -> list[Sample]:
    """Return the samples of the last hours, the newest first, at most MOST.

    Args:
        project: the Google Cloud project.
        hours: how far to look back.
        client: by default one with Application Default Credentials.

    Raises:
        NotReadable: permission is missing, or the API does not answer.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    since = datetime.fromtimestamp(time.time() - hours * 3600, UTC)
    request = {
        "resource_names": [f"projects/{project}"],
        "filter": f'logName="projects/{project}/logs/stdout" AND jsonPayload.{FIELD}.id:* '
        f'AND timestamp>="{since:%Y-%m-%dT%H:%M:%SZ}"',
        "order_by": "timestamp desc",
        "page_size": _PAGE,
    }
    found: list[Sample] = []
    try:
        for entry in (client or _client()).list_log_entries(request=request, timeout=_TIMEOUT):
            sample = _sample(entry)
            found += [] if sample is None else [sample]
            if len(found) == MOST:
                break
    except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
        raise NotReadable(
            f"Cloud Logging could not be read ({error}). The application's service account needs the role Logs Viewer "
            "(roles/logging.viewer)."
        ) from error
    return sorted(found, key=lambda sample: -sample.at)


def _client() -> "LoggingServiceV2Client":
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

    return LoggingServiceV2Client()


def _sample(entry: Any) -> Sample | None:
    from google.protobuf.json_format import MessageToDict

    payload = MessageToDict(type(entry).pb(entry).json_payload)
    try:
        return msgspec.convert(_whole(payload.get(FIELD)), Sample)
    except msgspec.ValidationError:
        return None  # written by another release


def _whole(value: Any) -> Any:
    """Return a value with its whole numbers as int: in a log entry's payload all numbers are floats."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
