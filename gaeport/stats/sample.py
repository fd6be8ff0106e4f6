"""One recorded request, as it is written and read."""

import msgspec

from gaeport.meter import service_of

Line = tuple[str, int, str]  # file relative to the application's folder, line number, function


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One call of a request.

    Attributes:
        name: such as "Lookup" or "kv.get".
        kind: the kind of entity, the bucket, the namespace of keys.
        start: milliseconds after the request's beginning.
        ms: how long the answer took, in milliseconds.
        number: entities, keys or entries.
        sent: bytes.
        received: bytes.
        price: US dollars.
        lines: indexes into the sample's `lines`, innermost first.
        failed: whether there was no answer, or a refusal.
    """

    name: str
    kind: str
    start: float
    ms: float
    number: int
    sent: int
    received: int
    price: float
    lines: tuple[int, ...]
    failed: bool = False

    @property
    def service(self) -> str:
        """Which service was called: "datastore", "storage", "kv", "logging" or "tasks"."""
        return service_of(self.name)


class Sample(msgspec.Struct, frozen=True):
    """One recorded request.

    Attributes:
        id: 16 hexadecimal digits.
        at: when it began, in seconds since 1970.
        method: the HTTP method.
        route: what requests are grouped by: the framework's pattern, or the path with its numbers left out.
        path: the path, without the query, which may hold secrets.
        status: the answer's; 500 where the application raised an exception.
        seconds: from the request's beginning to the end of the answer.
        calls: how many calls it made.
        waited: seconds that the calls took together.
        price: US dollars for all calls.
        kept: the calls, at most `gaeport.meter.MAX_CALLS`.
        lines: the lines of code that calls refer to.
        instance: the App Engine instance, or the process.
        version: the App Engine service and version.
        trace: the request's trace, by which its log lines are found.
        share: the share of requests that is recorded.
    """

    id: str
    at: float
    method: str
    route: str
    path: str
    status: int
    seconds: float
    calls: int
    waited: float
    price: float
    kept: list[Call] = []
    lines: list[Line] = []
    instance: str = ""
    version: str = ""
    trace: str = ""
    share: float = 1.0

    def line_of(self, call: Call) -> Line | None:
        """Return the line of code that made a call, or None where it is not known."""
        return self.lines[call.lines[0]] if call.lines and call.lines[0] < len(self.lines) else None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Sample)


def encode(sample: Sample) -> bytes:
    """Return a sample as one line of JSON, without its end."""
    return _encoder.encode(sample)


def decode(line: bytes) -> Sample | None:
    """Return the sample that a line holds, or None where it holds none (cut off, or of another release)."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
