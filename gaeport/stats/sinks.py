"""Where samples are written: Cloud Logging on App Engine, the data folder elsewhere, memory where nothing is kept."""

import json
import os
import sys
import threading
from collections import deque
from functools import cache
from pathlib import Path

from gaeport import settings
from gaeport.settings import Settings
from gaeport.stats.sample import Sample, encode

FIELD = "gaeport_stats"  # of the log entry
_IN_MEMORY = 1_000  # samples of this process
_MOST_BYTES = 8_000_000  # that they take
_LINE = 200_000  # bytes; Cloud Logging takes 256 KB an entry, fields of its own included
_FOLDER, _CURRENT, _FORMER = "stats", "samples.jsonl", "samples.former.jsonl"
_CHECK = 64  # samples between looks at the file's size

_lock = threading.Lock()


class _Recent:
    """The last samples of this process, within bounds of number and size."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._size = 0

    def append(self, line: bytes) -> None:
        """Keep a sample, and let go of the oldest ones where there is no room."""
        with _lock:
            self._lines.append(line)
            self._size += len(line)
            while self._size > _MOST_BYTES or len(self._lines) > _IN_MEMORY:
                self._size -= len(self._lines.popleft())

    def lines(self) -> list[bytes]:
        """Return the samples, the oldest first."""
        with _lock:
            return list(self._lines)

    def clear(self) -> None:
        """Let go of all."""
        with _lock:
            self._lines.clear()
            self._size = 0


_recent = _Recent()


class _Log:
    """Samples as structured lines on standard output, which App Engine carries to Cloud Logging."""

    def __init__(self, config: Settings) -> None:
        self._project = config.project

    def write(self, line: bytes, sample: Sample) -> None:
        """Write a sample; one with too many calls for an entry without the last of them."""
        while len(line) > _LINE:
            sample = _halved(sample)
            line = encode(sample)
        fields = {"severity": "INFO", "message": _message(sample)}
        if sample.trace:
            fields["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{sample.trace}"
        text = f'{json.dumps(fields)[:-1]}, "{FIELD}": {line.decode()}}}\n'
        sys.stdout.write(text)  # one call, so that lines of several threads do not mix
        sys.stdout.flush()


class _Folder:
    """Samples as lines of a file in the data folder, which all processes append to; the older half ends in time."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._bytes = keep * 1_000  # about what `keep` samples have; each file may hold all of them
        self._written = 0
        self._file = -1

    def write(self, line: bytes, sample: Sample) -> None:
        """Append a sample: one write, so that lines of several processes do not mix."""
        with _lock:
            if self._file < 0 or self._written % _CHECK == 0:
                self._open()
            self._written += 1
            os.write(self._file, line + b"\n")

    def close(self) -> None:
        """Close the file."""
        with _lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        """Open the file as it is now; another process may have begun a new one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _CURRENT
        if path.exists() and path.stat().st_size > self._bytes:
            path.replace(self._folder / _FORMER)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write(sample: Sample) -> None:
    """Write a sample where the settings in force say. Raises OSError."""
    line = encode(sample)
    sink = _sink()
    if not isinstance(sink, _Folder):
        _recent.append(line)
    if sink is not None:
        sink.write(line, sample)


def recent() -> list[bytes]:
    """Return this process's samples, the oldest first, where they do not go to the data folder."""
    return _recent.lines()


def files(config: Settings) -> list[Path]:
    """Return the files that samples lie in, the older first; they need not exist."""
    folder = config.data_path / _FOLDER
    return [folder / _FORMER, folder / _CURRENT]


@cache
def _sink() -> "_Log | _Folder | None":
    config = settings.current()
    if os.environ.get("GAE_ENV") == "standard":
        return _Log(config)
    if config.in_memory:
        return None
    return _Folder(config.data_path / _FOLDER, config.stats.keep)


def _message(sample: Sample) -> str:
    took = f"{sample.seconds * 1000:.0f} ms, ${sample.price:.7f}"
    return f"stats: {sample.method} {sample.route} {sample.status}: {sample.calls} calls, {took}"


def _halved(sample: Sample) -> Sample:
    import msgspec

    return msgspec.structs.replace(sample, kept=sample.kept[: len(sample.kept) // 2])


def _reset() -> None:
    sink = _sink() if _sink.cache_info().currsize else None
    _sink.cache_clear()
    if isinstance(sink, _Folder):
        sink.close()
    _recent.clear()


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held the old one
    _sink.cache_clear()


settings.on_change(_reset)
os.register_at_fork(after_in_child=_forget_in_child)
