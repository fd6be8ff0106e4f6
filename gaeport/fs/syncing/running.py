"""Makes one directory as another is: what differs is copied, many small files at a time, and what is there stays.

Nothing is remembered between two runs. A run that was killed left whole files only; the next finds them equal.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from gaeport.fs.datastore.bulk import FILES, Whole, batches
from gaeport.fs.syncing.comparing import Differences
from gaeport.fs.syncing.sides import GENERAL, Failure, Item, Job, Side, noting, same
from gaeport.fs.volume import Path
from gaeport.fs.workers import Workers

T = TypeVar("T")


@dataclass(slots=True)
class Done:
    """What a run has done so far.

    Attributes:
        files, size: files and links copied, and their bytes.
        removed: names that were removed (a directory counts once).
        failures: what could not be copied or removed.
    """

    files: int = 0
    size: int = 0
    removed: int = 0
    failures: list[Failure] = field(default_factory=list)


class Unreadable(Exception):
    """The source of a copy could not be read.

    Attributes:
        error: why.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Sync:
    """One run.

    Args:
        source, target: the two directories; the target exists.
        workers: who copies.
        report: is told what is done so far, now and then.
        times: whether copies get the originals' times; else those of now.
    """

    def __init__(
        self, source: Side, target: Side, workers: Workers, report: Callable[[Done], object], *, times: bool = True
    ) -> None:
        self._source = source
        self._target = target
        self._workers = workers
        self._report = report
        self._times = times
        self._stopped = threading.Event()

    def run(self, wanted: Differences, *, delete: bool = False) -> Done:
        """Do what is wanted.

        Args:
            wanted: what a comparison found.
            delete: whether names that the source has not are removed, unless something failed before.

        Raises:
            OSError: the target refuses everything: it is full, read-only, or does not answer.
        """
        done = Done()
        try:
            if delete:
                self._remove(wanted.blocked, done)
            done.failures += self._target.make_directories(wanted.made)
            self._copy(wanted.jobs, done)
            for _, failures in self._workers.each(self._assign_files, _portions(wanted.attributes)):
                done.failures += failures
            if delete and not (done.failures or wanted.failures):
                self._remove(wanted.extra, done)
            self._target.settle()
            missing = {path for path, _ in done.failures}
            done.failures += self._target.assign_directories([d for d in wanted.assigned if d.path not in missing])
        except BaseException:
            self._stopped.set()
            raise
        return done

    # Copying

    def _copy(self, jobs: Sequence[Job], done: Done) -> None:
        for copied, failures in self._workers.each(self._copy_batch, self._batches(jobs)):
            lost = {path for path, _ in failures}
            done.files += len(copied) - len(lost)
            done.size += sum(job.item.size for job in copied if job.path not in lost)
            done.failures += failures
            self._report(done)

    def _batches(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Yield jobs that are done together: small files by the hundreds, large ones alone, links by the hundreds."""
        small = [job for job in jobs if job.item.kind == "file" and job.item.size <= self._target.small]
        yield from batches(small, [job.item.size for job in small])
        yield from _portions([job for job in jobs if job.item.kind == "link"])
        for job in jobs:
            if job.item.kind == "file" and job.item.size > self._target.small:
                yield [job]

    def _copy_batch(self, jobs: list[Job]) -> tuple[list[Job], list[Failure]]:
        if self._stopped.is_set():
            return [], []
        if len(jobs) == 1 and jobs[0].item.kind == "file" and jobs[0].item.size > self._target.small:
            return jobs, self._copy_large(jobs[0])
        if jobs[0].item.kind == "link":
            answers: list[tuple[Item, bytes] | OSError] = [self._link(job) for job in jobs]
        else:
            answers = self._source.read([job.path for job in jobs])
        failures, files = [], []
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, OSError):
                failures.append((job.path, answer))
            else:
                files.append(self._whole(job, *answer))
        if files:
            failures += self._target.write(files, {job.path: job.former for job in jobs})
        return jobs, failures

    def _link(self, job: Job) -> tuple[Item, bytes] | OSError:
        try:
            return job.item, self._source.readlink(job.path)
        except OSError as error:
            return error

    def _copy_large(self, job: Job) -> list[Failure]:
        try:
            item = self._source.status(job.path)
        except OSError as error:
            return [(job.path, error)]
        try:
            dated = Job(job.path, self._dated(item), job.former)
            self._target.write_pieces(dated, self._pieces(job.path, item))
        except Unreadable as error:
            return [(job.path, error.error)]
        except OSError as error:
            if error.errno in GENERAL:
                raise
            return [(job.path, error)]
        return []

    def _whole(self, job: Job, item: Item, content: bytes) -> Whole:
        link, dated = job.item.kind == "link", self._dated(item)
        return Whole(job.path, content, item.mode, dated.atime_ns, dated.mtime_ns, link=link, new=not job.former)

    def _dated(self, item: Item) -> Item:
        now = time.time_ns()
        return item if self._times else item._replace(mtime_ns=now, atime_ns=now)

    def _pieces(self, path: Path, item: Item) -> Iterator[bytes]:
        try:
            for piece in self._source.pieces(path, item):
                if self._stopped.is_set():
                    raise Unreadable(InterruptedError())
                yield piece
        except OSError as error:
            raise Unreadable(error) from error

    def _assign_files(self, wanted: list[tuple[Path, Item]]) -> tuple[int, list[Failure]]:
        failures: list[Failure] = []
        for path, item in wanted:
            with noting(failures, path):
                self._target.assign_file(path, item)
        return len(wanted), failures

    # Removing

    def _remove(self, names: Sequence[tuple[Path, str]], done: Done) -> None:
        files = [path for path, kind in names if kind != "dir"]
        for removed, failures in self._workers.each(self._remove_batch, _portions(files)):
            done.removed += removed - len(failures)
            done.failures += failures
            self._report(done)
        for path in [path for path, kind in names if kind == "dir"]:
            with noting(done.failures, path):
                self._target.remove_tree(path)
                done.removed += 1
            self._report(done)

    def _remove_batch(self, paths: list[Path]) -> tuple[int, list[Failure]]:
        return (len(paths), self._target.remove(paths)) if not self._stopped.is_set() else (0, [])


def changed_meanwhile(source: Side, jobs: Sequence[Job], found: Differences) -> list[Path]:
    """Return which of the files that still differ after a run have changed in the source since they were listed."""
    before = {job.path: job.item for job in jobs}
    return [job.path for job in found.jobs if job.path not in before or not same(before[job.path], job.item)]


def _portions(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while portion := list(islice(rest, FILES)):
        yield portion
