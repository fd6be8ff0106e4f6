"""The work of `gaeport fs sync`: what it does with its arguments, what it says, and its exit code."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gaeport import meter
from gaeport.errors import ConfigurationError
from gaeport.fs.copying import inside, is_directory
from gaeport.fs.progress import Progress, size
from gaeport.fs.syncing.comparing import Comparer, Comparison, Differences
from gaeport.fs.syncing.estimates import estimate
from gaeport.fs.syncing.located import side_of
from gaeport.fs.syncing.running import Done, Sync, changed_meanwhile
from gaeport.fs.syncing.sides import Failure
from gaeport.fs.volume import Path
from gaeport.fs.workers import Workers
from gaeport.meter import Meter

OK, FAILED = 0, 1
SHOWN = 20  # messages of one sort


@dataclass(frozen=True, slots=True)
class Options:
    """How to sync.

    Attributes:
        checksum: whether contents decide, instead of sizes and times.
        delete: whether what only the target has is removed.
        dry_run: whether to tell only.
        excluded: patterns of names that are left alone.
        verify: whether both are compared again at the end.
    """

    checksum: bool = False
    delete: bool = False
    dry_run: bool = False
    excluded: Sequence[str] = ()
    verify: bool = True


class Command:
    """One call of the command.

    Args:
        source, target: directories, as the user spells them.
        options: how.
        say, complain: write a line to standard output or error.
        agreed: asks before what cannot be undone; takes what is to be done and whether to ask.
    """

    def __init__(
        self,
        source: str,
        target: str,
        *,
        options: Options,
        say: Callable[[str], object],
        complain: Callable[[str], object],
        agreed: Callable[[str, bool], bool],
    ) -> None:
        self._options = options
        self._say, self._complain, self._agreed = say, complain, agreed
        self._names = source, target
        check(source, target)
        self._source, self._target = side_of(source), side_of(target, target=not options.dry_run)
        for name, side in ((source, self._source), (target, self._target)):
            if side.store == "log":
                raise ConfigurationError(f"sync: {name} keeps no files: what is written there becomes log entries")
        self._exists = is_directory(target)
        how = Comparison(options.checksum, options.delete, excluded=options.excluded)
        self._how = how

    def run(self) -> int:
        """Sync. Returns the exit code. Raises OSError when the target refuses everything."""
        began = time.monotonic()
        with meter.measure() as counted, Workers() as workers, Progress() as progress:
            wanted = self._compare(workers, progress, exists=self._exists)
            progress.clear()
            self._tell_plan(wanted, counted)
            sys.stdout.flush()  # to be read before the work, in a log too
            if self._options.dry_run:
                return self._list(wanted)
            removed = len(wanted.extra) + len(wanted.blocked) if self._options.delete else 0
            what = f"sync {self._names[0]} to {self._names[1]}" + (f", removing {removed:,} names" if removed else "")
            if not self._agreed(what, bool(removed)):
                return FAILED
            done = self._copy(wanted, workers, progress)
            self._tell_done(done)
            told = {path for path, _ in (*wanted.failures, *done.failures)}
            differs = self._verify(wanted, told, workers, progress) if self._options.verify else False
        costs = f", {in_words(counted)}" if counted.total_calls else ""
        self._say(f"in all {time.monotonic() - began:.1f} s{costs}")
        troubled = bool(done.failures or wanted.failures or wanted.skipped or self._blocked(wanted))
        return FAILED if troubled or differs else OK

    # Steps

    def _compare(self, workers: Workers, progress: Progress, *, exists: bool, verb: str = "compared") -> Differences:
        def report(found: Differences) -> None:
            progress.tell(f"{found.files:,} files in {found.directories:,} directories {verb}")

        target = self._target if exists else None
        return Comparer(self._source, target, self._how, workers, report).run()

    def _copy(self, wanted: Differences, workers: Workers, progress: Progress) -> Done:
        total = max(1, sum(job.item.size for job in wanted.jobs)), max(1, len(wanted.jobs))

        def report(done: Done) -> None:
            part = (done.size / total[0] + done.files / total[1]) / 2
            progress.tell(f"{done.files:,} of {len(wanted.jobs):,} files, {size(done.size)}", part)

        if not self._exists:
            os.makedirs(self._names[1], exist_ok=True)
        done = Sync(self._source, self._target, workers, report).run(wanted, delete=self._options.delete)
        progress.clear()
        return done

    def _verify(self, wanted: Differences, told: set[Path], workers: Workers, progress: Progress) -> bool:
        """Compare again and tell the result, but for names that were told already. Returns whether they differ."""
        found = self._compare(workers, progress, exists=True, verb="verified")
        progress.clear()
        by = "contents, sizes and times" if self._options.checksum else "sizes and times"
        differing = [job.path for job in found.jobs] + [path for path, _ in found.attributes]
        differing += [item.path for item in (*found.made, *found.assigned)]
        if self._options.delete:
            differing += [path for path, _ in (*found.extra, *found.blocked)]
        differing = list(dict.fromkeys(differing))
        changed = set(changed_meanwhile(self._source, wanted.jobs, found)) if differing else set()
        news = [path for path in differing if path not in told]
        for path in news[:SHOWN]:
            why = "changed in the source meanwhile" if path in changed else "differs"
            self._complain(f"{self._target.spelled(path)}: {why}")
        self._rest(len(news))
        self._failures(found.failures)
        if not differing and not found.failures:
            self._say(f"verified by {by}: {found.equal:,} files in {found.directories:,} directories are equal")
            return False
        self._say(f"verified by {by}: {len(differing):,} names differ; run the sync again")
        return True

    def _blocked(self, wanted: Differences) -> list[tuple[Path, str]]:
        return [] if self._options.delete else wanted.blocked

    # Words

    def _tell_plan(self, wanted: Differences, spent: Meter) -> None:
        options = self._options
        costs = estimate(
            wanted,
            self._source,
            self._target,
            delete=options.delete,
            checksum=options.checksum,
            verify=options.verify,
        )
        costs.include(spent)  # the comparison, so that the last line's sum can be held against this
        total = sum(job.item.size for job in wanted.jobs)
        parts = [f"{len(wanted.jobs):,} files to copy ({size(total)})", f"{wanted.equal:,} equal"]
        parts += [f"{len(wanted.made):,} directories to make"] if wanted.made else []
        parts += [f"{len(wanted.attributes):,} modes or times to set"] if wanted.attributes else []
        extra = len(wanted.extra)
        parts += [f"{extra:,} names {'to remove' if options.delete else 'only in the target'}"] if extra else []
        self._say(", ".join(parts))
        if costs.total_calls:
            self._say(f"it will take about {in_words(costs)}")
        self._tell_obstacles(wanted)

    def _tell_obstacles(self, wanted: Differences) -> None:
        for path in wanted.skipped[:SHOWN]:
            self._complain(f"{self._source.spelled(path)}: neither file, directory nor link; not copied")
        self._rest(len(wanted.skipped))
        blocked = self._blocked(wanted)
        for path, kind in blocked[:SHOWN]:
            what = {"dir": "directory", "other": "device"}.get(kind, kind)
            self._complain(f"{self._target.spelled(path)}: a {what} is in the way; --delete removes it")
        self._rest(len(blocked))
        self._failures(wanted.failures)

    def _tell_done(self, done: Done) -> None:
        removed = f", {done.removed:,} names removed" if done.removed else ""
        self._say(f"{done.files:,} files copied ({size(done.size)}){removed}")
        self._failures(done.failures)

    def _list(self, wanted: Differences) -> int:
        for item in wanted.made:
            self._say(f"make    {self._target.spelled(item.path)}/")
        for job in wanted.jobs:
            self._say(f"{'replace' if job.former else 'copy   '} {self._target.spelled(job.path)}")
        for path, _ in wanted.attributes:
            self._say(f"set     {self._target.spelled(path)}")
        if self._options.delete:
            for path, kind in (*wanted.blocked, *wanted.extra):
                self._say(f"remove  {self._target.spelled(path)}{'/' if kind == 'dir' else ''}")
        return FAILED if wanted.failures else OK

    def _failures(self, failures: Sequence[Failure]) -> None:
        for path, error in failures[:SHOWN]:
            self._complain(f"{os.fsdecode(error.filename or self._target.spelled(path))}: {error.strerror or error}")
        self._rest(len(failures))

    def _rest(self, count: int) -> None:
        if count > SHOWN:
            self._complain(f"… and {count - SHOWN:,} more")


def check(source: str, target: str) -> None:
    """Refuse what cannot be synced.

    Raises:
        ConfigurationError: the message says what is wrong.
    """
    if not os.path.lexists(source):
        raise ConfigurationError(f"sync: {source}: there is no such directory")
    if not is_directory(source):
        raise ConfigurationError(f"sync: {source} is no directory; cp copies files")
    exists = is_directory(target)
    if not exists and os.path.lexists(target):
        raise ConfigurationError(f"sync: {target} is a file; the target of a sync is a directory")
    if not exists and not is_directory(os.path.dirname(os.path.abspath(target))):
        raise ConfigurationError(f"sync: {os.path.dirname(target) or '.'}: there is no such directory")
    if exists and os.path.samefile(source, target):
        raise ConfigurationError(f"sync: {source} and {target} are the same directory")
    for outer, inner in ((source, target), (target, source)):
        if inside(inner, outer):
            raise ConfigurationError(f"sync: {inner} lies in {outer}; sync directories that are beside each other")


def in_words(counted: Meter) -> str:
    """Return calls, operations and price for people to read."""
    units = counted.units
    words = {
        "datastore.read": "reads",
        "datastore.write": "writes",
        "datastore.delete": "deletes",
        "storage.class_a": "object writes",
        "storage.class_b": "object reads",
    }
    operations = [f"{units[unit]:,} {word}" for unit, word in words.items() if units.get(unit)]
    price = f"{counted.price:.2f}" if counted.price >= 0.1 else f"{counted.price:.4f}"
    return f"{counted.total_calls:,} calls ({', '.join(operations)}), ${price} in production"
