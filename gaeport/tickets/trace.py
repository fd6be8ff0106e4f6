"""The trace of a request, by which Cloud Logging groups the lines that belong to it.

Sources: "Trace Context" (W3C), header traceparent; "Trace context", Cloud Trace documentation, X-Cloud-Trace-Context.
"""

import re
from dataclasses import dataclass
from typing import Any

_TRACEPARENT = re.compile(
    r"\s?(?!ff)[a-f\d]{2}-(?!0{32})([a-f\d]{32})-(?!0{16})([a-f\d]{16})-([a-f\d]{2})(-.*)?\s?", re.ASCII
)
_CLOUD_TRACE = re.compile(r"([\w-]{1,64})?(?:/([\w-]{1,32}))?(?:;?o=(\d))?", re.ASCII)
_MAX_SPAN = 2**64


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request belongs.

    Attributes:
        id: the trace's id, 32 hexadecimal digits; "" where the request carries none.
        span: the span's id, 16 hexadecimal digits, or "".
        sampled: whether Cloud Trace keeps this trace.
    """

    id: str = ""
    span: str = ""
    sampled: bool = False

    def name(self, project: str) -> str:
        """Return the trace's full name, "projects/P/traces/T", or ""."""
        return f"projects/{project}/traces/{self.id}" if self.id else ""


def trace_of(environ: dict[str, Any]) -> Trace:
    """Return the trace that a request's headers name: traceparent first, as google-cloud-logging does.

    Args:
        environ: a WSGI environment.
    """
    header = environ.get("HTTP_TRACEPARENT")
    if header:
        found = _TRACEPARENT.fullmatch(header)
        if found:
            return Trace(found[1], found[2], bool(int(found[3], 16) & 1))
    header = environ.get("HTTP_X_CLOUD_TRACE_CONTEXT")
    if header:
        match = _CLOUD_TRACE.match(header)
        if match and match[1]:
            return Trace(match[1], _span(match[2]), match[3] == "1")
    return Trace()


def _span(text: str | None) -> str:
    """Return a span's decimal id as Cloud Logging writes it."""
    try:
        number = int(text or "")
    except ValueError:
        return ""
    return f"{number:016x}" if 0 < number < _MAX_SPAN else ""
