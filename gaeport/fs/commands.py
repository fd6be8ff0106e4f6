"""The work of `gaeport fs …`: what it does with its arguments, what it says, and its exit code."""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator

from gaeport import blobs, datastore
from gaeport import settings as _settings
from gaeport.blobs import BlobStore
from gaeport.blobs.folder import FolderStore
from gaeport.commands import FAILED, OK, agreed, printable
from gaeport.commands import say as _print
from gaeport.errors import ConfigurationError
from gaeport.fs import addresses, native
from gaeport.fs.copying import copy, destinations, is_directory, move, remove
from gaeport.fs.datastore import garbage, verification
from gaeport.fs.mounts import mount_all
from gaeport.fs.patching import paths
from gaeport.fs.patching.requests import begin_request, end_request
from gaeport.fs.places import Place
from gaeport.fs.progress import Progress, size
from gaeport.fs.sync_command import Command, Options

PIECE = 1 << 20  # bytes
_DAY = 86_400 * 10**9  # nanoseconds


def gc(*, keep_days: float, dry_run: bool, yes: bool) -> int:
    """Delete content that nothing needs any more. Returns the exit code."""
    short = keep_days < garbage.KEEP_DAYS and not dry_run
    if not _agreed(f"delete dropped content older than {keep_days:g} days", ask=short, yes=yes):
        return FAILED
    with Progress() as progress:
        done = garbage.collect(
            datastore.own_client(),
            stores(),
            keep_days=keep_days,
            dry_run=dry_run,
            report=lambda sofar: progress.tell(f"{sofar.uploads + sofar.garbage:,} records, {sofar.blobs:,} blobs"),
        )
    left = 0 if dry_run else sweep(keep_days)
    if left:
        say(f"{left:,} unfinished blobs of killed processes deleted")
    verb = "would be deleted" if dry_run else "deleted"
    say(
        f"{done.garbage:,} records of dropped content and {done.uploads:,} abandoned uploads, with "
        f"{done.blobs:,} blobs and {done.chunks:,} chunks, {verb}; "
        f"{done.waiting:,} records are younger than {keep_days:g} days"
    )
    if done.leases:
        say(f"{done.leases:,} locks of processes that died {verb}")
    if done.failed:
        _complain(f"{done.failed:,} records are kept, since what they name could not be deleted: {done.problem}")
    return FAILED if done.failed else OK


def sweep(keep_days: float) -> int:
    """Delete what killed processes left in the embedded data folder; Cloud Storage does so itself after a week."""
    before = time.time() - keep_days * 86_400
    return sum(store.sweep(before) for store in stores() if isinstance(store, FolderStore))


def verify() -> int:
    """List the files whose content is gone. Returns the exit code: 1 if there are any."""
    with Progress() as progress:
        done = verification.verify(
            datastore.own_client(),
            stores(),
            lambda sofar: progress.tell(f"{sofar.entries:,} entries, {sofar.pieces:,} blobs and chunks"),
        )
    for missing in done.missing:
        say(f"{missing.path}: gone: {', '.join(missing.sources)}")
    say(f"{done.entries:,} entries, {done.pieces:,} blobs and chunks, {len(done.missing):,} files incomplete")
    return FAILED if done.missing else OK


def stores() -> list[BlobStore]:
    """Return every store that a mount's blobs may lie in: of gaeport.toml, and of mounts made from Python."""
    config = _settings.current()
    mounted = [mount.settings for mount in paths.mounts() if mount.settings is not None]
    places = {
        (item.bucket or config.bucket, item.prefix) for item in (*config.mounts, *mounted) if item.store == "datastore"
    }
    places.add((config.bucket, ""))
    if config.environment == "embedded":
        places = {(None, prefix) for _, prefix in places}  # one folder, whatever the bucket
    found = [blobs.store(bucket, prefix) for bucket, prefix in sorted(places, key=repr)]
    return [store for store in found if store is not None]


def ls(names: list[str], *, long: bool) -> int:
    """List directories; without names, the mounts. Returns the exit code."""

    def listed(found: list[str]) -> int:
        return _each(found, lambda path: _list(path, long, titled=len(found) > 1)) if found else _mounts()

    return _work(names, listed)


def cat(names: list[str]) -> int:
    """Write files to standard output. Returns the exit code."""
    return _work(names, lambda found: _each(found, _cat))


def cp(names: list[str], *, recursive: bool, yes: bool) -> int:
    """Copy all but the last name to the last. Returns the exit code."""
    if not _agreed(f"copy {', '.join(names[:-1])} to {names[-1]}", ask=False, yes=yes):
        return FAILED
    return _work(names, lambda found: _pairs(found, lambda s, t, p: copy(s, t, p, recursive=recursive)))


def mv(names: list[str], *, yes: bool) -> int:
    """Move all but the last name to the last. Returns the exit code."""
    if not _agreed(f"move {', '.join(names[:-1])} to {names[-1]}", ask=_production(), yes=yes):
        return FAILED
    return _work(names, lambda found: _pairs(found, move))


def rm(names: list[str], *, recursive: bool, yes: bool) -> int:
    """Remove. Returns the exit code."""
    if not _agreed(f"remove {', '.join(names)}", ask=_production(), yes=yes):
        return FAILED
    return _work(names, lambda found: _each(found, lambda path: remove(path, recursive=recursive)))


def du(names: list[str], *, exact: bool) -> int:
    """Tell the bytes and the number of files below each name. Returns the exit code."""
    return _work(names, lambda found: _each(found, lambda path: _usage(path, exact)))


def sync(source: str, target: str, options: Options, *, yes: bool) -> int:
    """Make one directory as another is. Returns the exit code: 0 when they are equal afterwards.

    Raises:
        ConfigurationError: the two do not go together; the message says why.
    """

    def agreed(what: str, removes: bool) -> bool:
        return _agreed(what, ask=removes and _production(), yes=yes)

    def synced(found: list[str]) -> int:
        return Command(*found, options=options, say=say, complain=_complain, agreed=agreed).run()

    return _work([source, target], synced)


def shadowed(names: list[str]) -> int:
    """List written files that hide a newer deployed one; 1 if there are any."""
    hidden: list[str] = []

    def look(found: list[str]) -> int:
        mounts = found or [mount.spelled for mount in paths.mounts()]
        with Progress() as progress:
            return _each(mounts, lambda path: hidden.extend(_shadowed(path, progress)))

    code = _work(names, look)
    say(f"{len(hidden):,} written files hide a newer deployed one")
    return FAILED if hidden else code


def _work(names: list[str], do: Callable[[list[str]], int]) -> int:
    """Do something with paths, the mounts in place, and commit what it wrote.

    Raises:
        ConfigurationError: a name names no mount, or with --project no path leads into one.
    """
    mount_all(_settings.current())
    names = [addresses.path_of(name) for name in names]
    if names and _production() and not any(isinstance(paths.locate(name), Place) for name in names):
        raise ConfigurationError(f"fs: {', '.join(names)}: not in a mount; the mounts are: {addresses.known()}")
    token, failed = begin_request(), True
    try:
        code = do(names)
        failed = False
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        _complain(_reason(error))
        return FAILED
    finally:
        end_request(token, failed)
    return code


def _each(names: list[str], do: Callable[[str], object]) -> int:
    """Do something with each path; an error is told and the others go on."""
    code = OK
    for name in names:
        try:
            do(name)
        except BrokenPipeError:
            raise
        except OSError as error:
            _complain(_reason(error))
            code = FAILED
    return code


def _pairs(names: list[str], do: Callable[[str, str, Progress], object]) -> int:
    pairs = dict(destinations(names[:-1], names[-1]))
    with Progress() as progress:
        return _each(list(pairs), lambda source: do(source, pairs[source], progress))


def _mounts() -> int:
    if not paths.mounts():
        _complain("there are no mounts: [[mount]] in gaeport.toml makes them")
    for mount in paths.mounts():
        name = mount.settings.name if mount.settings is not None else ""
        say(f"{mount.spelled}  ({name})")
    return OK


def _list(path: str, long: bool, *, titled: bool) -> None:
    if not is_directory(path):
        status = os.lstat(path)
        say(_line(path, status, path) if long else path)
        return
    if titled:
        say(f"{path}:")
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        say(_line(entry.name, entry.stat(follow_symlinks=False), entry.path) if long else entry.name)


def _line(name: str, status: os.stat_result, path: str) -> str:
    shown = f"{name} -> {os.readlink(path)}" if stat.S_ISLNK(status.st_mode) else name
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.st_mtime))
    owner = f"{status.st_uid:>5} {status.st_gid:>5}"
    return f"{stat.filemode(status.st_mode)} {status.st_nlink:>3} {owner} {status.st_size:>13} {moment} {shown}"


def _cat(path: str) -> None:
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _usage(path: str, exact: bool) -> None:
    total = count = 0
    with Progress() as progress:
        for status in _statuses(path):
            if not stat.S_ISDIR(status.st_mode):
                total, count = total + status.st_size, count + 1
            progress.tell(f"{count:,} files, {size(total)}")
    say(f"{total if exact else size(total):>12}  {count:>9,} files  {path}")


def _statuses(path: str) -> Iterator[os.stat_result]:
    status = os.lstat(path)
    yield status
    if stat.S_ISDIR(status.st_mode):
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _statuses(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False)


def _shadowed(path: str, progress: Progress) -> list[str]:
    """Return what is shadowed below a path, and tell each."""
    found = []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            progress.tell(entry.path)
            if entry.is_dir(follow_symlinks=False):
                found += _shadowed(entry.path, progress)
            elif entry.is_file(follow_symlinks=False) and (note := _hidden(entry)):
                say(f"{entry.path}: {note}")
                found.append(entry.path)
    return found


def _hidden(entry: "os.DirEntry[str]") -> str:
    """Return in words what newer deployed file an entry hides; "" for none."""
    try:
        deployed = native.lstat(entry.path)
    except OSError:
        return ""
    written = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(deployed.st_mode) or deployed.st_mtime_ns <= written.st_mtime_ns:
        return ""
    days = (deployed.st_mtime_ns - written.st_mtime_ns) / _DAY
    return f"written {written.st_size:,} bytes, deployed {deployed.st_size:,} bytes {days:,.1f} days later"


def _agreed(what: str, *, ask: bool, yes: bool) -> bool:
    """Ask where that is due. What is said goes to stderr: a command's output may be a file's content."""
    return agreed(what, ask=ask, yes=yes, tell=_complain)


def _production() -> bool:
    return _settings.current().environment == "production"


def _reason(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{' -> '.join(names)}: {error.strerror or error}" if names else error.strerror or str(error)


def say(text: str) -> None:
    """Print one line, whatever is in the names that it tells: a newline in one would look like two names."""
    _print(printable(text))


def _complain(text: str) -> None:
    sys.stderr.write(f"gaeport fs: {printable(text)}\n")
