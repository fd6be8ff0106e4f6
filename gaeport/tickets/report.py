"""A ticket as Error Reporting reads it, and as the line on standard output.

Source: "Format error messages in Cloud Logging" (ReportedErrorEvent), Error Reporting documentation.
"""

from collections.abc import Mapping
from typing import Any

from gaeport.tickets.records import Record, stack_trace

_TYPE = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"


def payload_of(record: Record) -> dict[str, Any]:
    """Return the content of a ticket's log entry."""
    context: dict[str, Any] = {}
    request = record.get("request")
    if request:
        headers = request["headers"]
        context["httpRequest"] = {
            "method": request["method"],
            "url": request["url"],
            "userAgent": headers.get("User-Agent", ""),
            "referrer": headers.get("Referer", ""),
            "responseStatusCode": 500,
            "remoteIp": request["remote"],
        }
    if record.get("user"):
        context["user"] = record["user"]
    location = _location(record)
    if location:
        context["reportLocation"] = location
    return {
        "message": f"{record['title']} [ticket {record['number']}]",
        "@type": _TYPE,
        "stack_trace": stack_trace(record),
        "serviceContext": {"service": record["service"], "version": record["version"]},
        "context": context,
        "ticket": record,
    }


def fields_of(record: Record) -> dict[str, Any]:
    """Return the standard fields of a ticket's line, as google-cloud-logging names and orders them."""
    request: Mapping[str, Any] = record.get("request") or {}
    headers = request.get("headers", {})
    http_request = (
        {
            "requestMethod": request["method"],
            "requestUrl": request["url"],
            "userAgent": headers.get("User-Agent", ""),
            "protocol": request["protocol"],
            "status": 500,
            "remoteIp": request["remote"],
        }
        if request
        else {}
    )
    location = _location(record)
    return {
        "severity": "ERROR",
        "logging.googleapis.com/labels": {"python_logger": "gaeport.tickets", "ticket": record["number"]},
        "logging.googleapis.com/trace": record.get("trace", ""),
        "logging.googleapis.com/spanId": record.get("span", ""),
        "logging.googleapis.com/trace_sampled": bool(record.get("sampled", False)),
        "logging.googleapis.com/sourceLocation": {
            "line": location["lineNumber"],
            "file": location["filePath"],
            "function": location["functionName"],
        }
        if location
        else {},
        "httpRequest": http_request,
    }


def _location(record: Record) -> dict[str, Any]:
    """Return where the application's innermost frame is."""
    every = record["exceptions"][0]["frames"] if record["exceptions"] else []
    own = [frame for frame in every if frame["application"]]
    if not every:
        return {}
    frame = (own or every)[-1]
    return {"filePath": frame["file"], "lineNumber": frame["line"], "functionName": frame["function"]}
