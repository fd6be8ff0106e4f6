"""The samples that there are: from the data folder, from Cloud Logging, or from this process's memory."""

import os
import threading
import time
from dataclasses import dataclass

from gaeport import settings
from gaeport.settings import Settings
from gaeport.stats import sinks
from gaeport.stats.sample import Sample, decode

_FRESH = 20.0  # seconds that what was read from Cloud Logging is shown again; reading it takes a second or more
_TAIL = 64 * 1024 * 1024  # bytes of the data folder's files that are read, from the end


@dataclass(frozen=True, slots=True)
class Found:
    """What was read.

    Attributes:
        samples: the newest first.
        source: where they come from, in words.
        problem: why there may be more than these, or "".
    """

    samples: list[Sample]
    source: str
    problem: str = ""


def read(hours: int) -> Found:
    """Return the samples of the last hours."""
    config = settings.current()
    since = time.time() - hours * 3600
    if os.environ.get("GAE_ENV") == "standard" or config.environment == "production":
        found = _from_log(config, hours)
    elif config.in_memory:
        found = Found(_decoded(sinks.recent()), "the memory of this process")
    else:
        found = Found(_from_files(config), "the data folder")
    return Found([sample for sample in found.samples if sample.at >= since], found.source, found.problem)


def find(number: str, hours: int) -> Sample | None:
    """Return the sample of an id, or None where it is not there any more."""
    return next((sample for sample in read(hours).samples if sample.id == number), None)


def _decoded(lines: list[bytes]) -> list[Sample]:
    found = [sample for line in lines if (sample := decode(line)) is not None]
    return sorted(found, key=lambda sample: -sample.at)


def _from_files(config: Settings) -> list[Sample]:
    lines: list[bytes] = []
    for path in sinks.files(config):
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _TAIL))
                lines += file.read().splitlines()
        except FileNotFoundError:
            continue  # nothing was recorded yet, or not so much that there are two files
    return _decoded(lines[-config.stats.keep :])


_reading = threading.Lock()
_last: tuple[float, int, Found] | None = None


def _from_log(config: Settings, hours: int) -> Found:
    global _last
    with _reading:
        if _last is not None and _last[1] == hours and time.monotonic() - _last[0] < _FRESH:
            return _last[2]
        from gaeport.stats import cloud

        try:
            samples = cloud.read(config.project, hours)
        except cloud.NotReadable as error:
            return Found(_decoded(sinks.recent()), "this process alone", str(error))
        problem = f"The newest {cloud.MOST:,} are shown; the log has more." if len(samples) == cloud.MOST else ""
        found = Found(samples, "Cloud Logging, all instances together", problem)
        _last = (time.monotonic(), hours, found)
        return found


def _reset() -> None:
    global _last
    _last = None


settings.on_change(_reset)
