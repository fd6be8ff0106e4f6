"""What makes two directories differ: found by listing both, directory by directory, and nothing read of files but where
contents are to be compared."""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b

from gaeport.errors import file_error
from gaeport.fs.datastore.bulk import batches
from gaeport.fs.datastore.bulk_directories import Wanted
from gaeport.fs.syncing.sides import SMALL, Failure, Item, Job, Side
from gaeport.fs.volume import Path
from gaeport.fs.workers import Workers


@dataclass(slots=True)
class Differences:
    """What must be done so that the target is as the source.

    Attributes:
        jobs: files and links to be copied.
        undecided: files and links of the same size, and whether mode and time are equal too; contents decide.
        attributes: files whose modes or times alone differ, with those of the source.
        made: directories that are missing.
        assigned: directories whose modes or times differ, or will when what is in them was changed.
        extra: names that the target has and the source has not, with their kinds.
        blocked: names whose kinds do not go together: a directory where the other has a file, or a device in the
            target; with the target's kind.
        skipped: names in the source that are neither file, directory nor link.
        failures: what could not be listed or read.
        equal: files and links that are equal.
        files, size: files and links in the source, and their bytes.
        directories: in the source.
        listed: names in the target.
    """

    jobs: list[Job] = field(default_factory=list)
    undecided: list[tuple[Job, bool]] = field(default_factory=list)
    attributes: list[tuple[Path, Item]] = field(default_factory=list)
    made: list[Wanted] = field(default_factory=list)
    assigned: list[Wanted] = field(default_factory=list)
    extra: list[tuple[Path, str]] = field(default_factory=list)
    blocked: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    equal: int = 0
    files: int = 0
    size: int = 0
    directories: int = 0
    listed: int = 0

    def include(self, other: "Differences") -> None:
        """Add what was found elsewhere."""
        for name in ("jobs", "undecided", "attributes", "made", "assigned", "extra", "blocked", "skipped", "failures"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("equal", "files", "size", "directories", "listed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def none(self) -> bool:
        """Whether nothing differs but names that only the target has."""
        return not (self.jobs or self.attributes or self.made or self.assigned or self.blocked or self.failures)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How to compare.

    Attributes:
        checksum: whether contents decide, instead of sizes and times.
        delete: whether names that only the target has are to go, so that their directories' times change.
        everything: whether files count as different whatever they are.
        excluded: patterns of names (or, with a slash, of paths) that are left alone on both sides; one that ends in a
            slash fits directories only.
    """

    checksum: bool = False
    delete: bool = False
    everything: bool = False
    excluded: Sequence[str] = ()

    def leaves_out(self, path: Path, kind: str) -> bool:
        """Tell whether a pattern fits a path."""
        for pattern in self.excluded:
            if pattern.endswith("/") and kind != "dir":
                continue
            plain = pattern.rstrip("/")
            if fnmatchcase("/".join(path) if "/" in plain else path[-1], plain.lstrip("/")):
                return True
        return False


class Comparer:
    """Compares two directories.

    Args:
        source: what should be.
        target: what is; None where it does not exist.
        how: by what.
        workers: who looks.
        report: is told what was found so far, now and then.
    """

    def __init__(
        self,
        source: Side,
        target: Side | None,
        how: Comparison,
        workers: Workers,
        report: Callable[[Differences], object],
    ) -> None:
        self._source = source
        self._target = target
        self._how = how
        self._workers = workers
        self._report = report

    def run(self) -> Differences:
        """Compare everything.

        Raises:
            OSError: one of the two directories itself cannot be listed.
        """
        found = Differences()
        level: list[tuple[Path, Item | None, bool]] = [((), None, self._target is not None)]
        while level:
            below: list[tuple[Path, Item | None, bool]] = []
            for part, deeper in self._workers.each(self._directory, level):
                found.include(part)
                below += deeper
                self._report(found)
            level = below
        if self._how.checksum:
            self._compare_contents(found)
        found.made.sort(key=lambda item: len(item.path))
        found.assigned.sort(key=lambda item: -len(item.path))
        return found

    def _directory(
        self, task: tuple[Path, Item | None, bool]
    ) -> tuple[Differences, list[tuple[Path, Item | None, bool]]]:
        """Compare one directory.

        Args:
            task: its path, what the source's listing tells of it (None for the top), and whether the target has it.

        Returns:
            What differs, and the directories below it as further tasks.
        """
        path, item, present = task
        found = Differences(directories=1)
        try:
            here = self._listed(self._source, path)
            there = self._listed(self._target, path) if present and self._target is not None else {}
        except OSError as error:
            if not path:
                raise
            found.failures.append((path, error))
            return found, []
        found.listed = len(there)
        deeper: list[tuple[Path, Item | None, bool]] = []
        for name in sorted(here):
            self._name((*path, name), here[name], there.get(name), found, deeper)
        for name in sorted(there.keys() - here.keys()):
            found.extra += self._extra((*path, name), there[name].kind, found)
        if item is not None and self._touches(found, path):
            found.assigned.append(_wanted(path, item))
        return found, deeper

    def _listed(self, side: Side, path: Path) -> dict[str, Item]:
        found = side.scan(path)
        if not self._how.excluded:
            return found
        return {name: item for name, item in found.items() if not self._how.leaves_out((*path, name), item.kind)}

    def _extra(self, path: Path, kind: str, found: Differences) -> list[tuple[Path, str]]:
        """Return what is to go where only the target has a name: not the excluded names in a directory, nor what holds
        them."""
        if kind != "dir" or not (self._how.delete and self._how.excluded):
            return [(path, kind)]
        try:
            return self._removable(path)[0]
        except OSError as error:
            found.failures.append((path, error))
            return []

    def _removable(self, path: Path) -> tuple[list[tuple[Path, str]], bool]:
        """Return what may be removed of a directory of the target, and whether that is all of it."""
        assert self._target is not None
        whole = True
        parts: list[tuple[Path, str]] = []
        for name, item in sorted(self._target.scan(path).items()):
            below = (*path, name)
            if self._how.leaves_out(below, item.kind):
                whole = False
            elif item.kind == "dir":
                inner, complete = self._removable(below)
                whole, parts = whole and complete, parts + inner
            else:
                parts.append((below, item.kind))
        return ([(path, "dir")], True) if whole else (parts, False)

    def _holds_excluded(self, path: Path, kind: str, found: Differences) -> bool:
        """Tell, and note as a failure, whether a directory in a file's way must stay for what is excluded in it."""
        if self._extra(path, kind, found) == [(path, kind)]:
            return False
        assert self._target is not None
        spelled = self._target.spelled(path)
        found.failures.append((path, file_error(errno.ENOTEMPTY, spelled, "excluded names in it are in the way")))
        return True

    def _touches(self, found: Differences, path: Path) -> bool:
        """Tell whether a directory's own time changes by what is done in it."""
        return bool(found.jobs or found.made or found.blocked or (self._how.delete and found.extra))

    def _name(
        self,
        path: Path,
        item: Item,
        former: Item | None,
        found: Differences,
        deeper: list[tuple[Path, Item | None, bool]],
    ) -> None:
        if item.kind == "other":
            found.skipped.append(path)
            return
        kind = former.kind if former is not None else ""
        if former is not None and (kind == "other" or (item.kind == "dir") != (kind == "dir")):
            if self._how.delete and self._holds_excluded(path, kind, found):
                return
            found.blocked.append((path, kind))
            if not self._how.delete:
                return
            kind, former = "", None
        if item.kind == "dir":
            if former is None:
                found.made.append(_wanted(path, item))
            if former is None or (former.mode, former.mtime_ns) != (item.mode, item.mtime_ns):
                found.assigned.append(_wanted(path, item))
                deeper.append((path, None, former is not None))  # set once
            else:
                deeper.append((path, item, True))
            return
        found.files, found.size = found.files + 1, found.size + item.size
        self._file(path, item, former, found)

    def _file(self, path: Path, item: Item, former: Item | None, found: Differences) -> None:
        if former is None or self._how.everything or (former.kind, former.size) != (item.kind, item.size):
            found.jobs.append(Job(path, item, former.kind if former is not None else ""))
        elif self._how.checksum:
            found.undecided.append((Job(path, item, former.kind), _alike(item, former)))
        elif item.mtime_ns != former.mtime_ns:
            found.jobs.append(Job(path, item, former.kind))
        elif not _alike(item, former):
            found.attributes.append((path, item))
        else:
            found.equal += 1

    # Contents

    def _compare_contents(self, found: Differences) -> None:
        """Decide by content about the files that could be equal."""
        alike = {job.path: equal for job, equal in found.undecided}
        asked = [job for job, _ in found.undecided]
        found.undecided = []
        for jobs, answers in self._workers.each(self._contents, content_batches(asked)):
            for job, (one, other) in zip(jobs, answers, strict=True):
                _decide(job, one, other, alike[job.path], found)
            self._report(found)

    def _contents(self, jobs: list[Job]) -> tuple[list[Job], list[tuple[bytes | OSError, bytes | OSError]]]:
        assert self._target is not None
        return jobs, list(zip(digests(self._source, jobs), digests(self._target, jobs), strict=True))


def _decide(job: Job, one: bytes | OSError, other: bytes | OSError, alike: bool, found: Differences) -> None:
    if isinstance(one, OSError) or isinstance(other, OSError):
        found.failures += [(job.path, answer) for answer in (one, other) if isinstance(answer, OSError)]
    elif one != other:
        found.jobs.append(job)
    elif not alike:
        found.attributes.append((job.path, job.item))
    else:
        found.equal += 1


def content_batches(jobs: Sequence[Job]) -> Iterable[list[Job]]:
    """Yield jobs in batches whose small files are read together; large files come alone."""
    small = [job for job in jobs if job.item.size <= SMALL]
    yield from batches(small, [job.item.size for job in small])
    for job in jobs:
        if job.item.size > SMALL:
            yield [job]


def digests(side: Side, jobs: Sequence[Job]) -> list[bytes | OSError]:
    """Return a digest of each file's (or link's) content."""
    small = [job.path for job in jobs if job.item.kind == "file" and job.item.size <= SMALL]
    read = dict(zip(small, side.read(small), strict=True))
    found: list[bytes | OSError] = []
    for job in jobs:
        answer = read.get(job.path)
        if isinstance(answer, OSError):
            found.append(answer)
        elif answer is not None:
            found.append(blake2b(answer[1]).digest())
        else:
            found.append(_digest(side, job))
    return found


def _digest(side: Side, job: Job) -> bytes | OSError:
    try:
        if job.item.kind == "link":
            return blake2b(side.readlink(job.path)).digest()
        made = blake2b()
        for piece in side.pieces(job.path, side.status(job.path)):
            made.update(piece)
        return made.digest()
    except OSError as error:
        return error


def _wanted(path: Path, item: Item) -> Wanted:
    return Wanted(path, item.mode, item.atime_ns, item.mtime_ns)


def _alike(item: Item, other: Item) -> bool:
    """Tell whether mode and time are equal; a link's mode means nothing."""
    return item.mtime_ns == other.mtime_ns and (item.kind == "link" or item.mode == other.mode)
