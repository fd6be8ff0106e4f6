"""What an object tells of the file that it is: mode, owner, times, a link's target, in its custom metadata.

The keys are those of Google's own tools, so that what one writes the others read: `goog-reserved-…` of `gcloud storage`
and gsutil (--preserve-posix), `gcsfuse_…` of Cloud Storage FUSE. Times are told by both, the latter in nanoseconds.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import overload

from gaeport.blobs.objects import OPERATION, Stored
from gaeport.fs.volume import Attributes

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755  # of what tells none

MTIME, ATIME = "goog-reserved-file-mtime", "goog-reserved-file-atime"  # seconds
MODE, UID, GID = "goog-reserved-posix-mode", "goog-reserved-posix-uid", "goog-reserved-posix-gid"
FUSE_MTIME = "gcsfuse_mtime"  # RFC 3339, UTC, with nanoseconds
LINK = "gcsfuse_symlink_target"
OWN_ATIME, INO = "gaeport-atime", "gaeport-ino"  # nanoseconds; a decimal number
KEYS = {MTIME, ATIME, MODE, UID, GID, FUSE_MTIME, LINK, OWN_ATIME, INO, OPERATION}
FIRST_INO = 1 << 61  # of those that files are given; smaller ones are made from names, and go with the name

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file or directory.

    Attributes:
        kind: "file", "dir" or "link".
        ino: inode number.
        mode: permissions.
        uid, gid: the owner.
        mtime, atime: nanoseconds since 1970; None where they are not told.
        ctime: nanoseconds since 1970.
        size: bytes.
        target: of a link.
    """

    kind: str
    ino: int
    mode: int
    uid: int
    gid: int
    mtime: int | None = None
    atime: int | None = None
    ctime: int = 0
    size: int = 0
    target: str | None = None

    def attributes(self, dev: int) -> Attributes:
        """Return what stat tells."""
        kinds = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}
        size = len(os.fsencode(self.target)) if self.target is not None else self.size
        mtime = self.ctime if self.mtime is None else self.mtime
        return Attributes(
            ino=self.ino,
            mode=kinds[self.kind] | self.mode,
            size=size,
            mtime_ns=mtime,
            atime_ns=mtime if self.atime is None else self.atime,
            ctime_ns=self.ctime,
            dev=dev,
            nlink=2 if self.kind == "dir" else 1,
            uid=self.uid,
            gid=self.gid,
        )


def new_facts(kind: str, ino: int, mode: int, *, mtime: int, target: str | None = None) -> Facts:
    """Return the facts of something that begins now, owned by this process's user."""
    return Facts(kind, ino, stat.S_IMODE(mode), os.getuid(), os.getgid(), mtime, ctime=mtime, target=target)


def facts_of(stored: Stored, ino: int) -> Facts:
    """Return what an object tells.

    Args:
        stored: the object.
        ino: the inode number where it tells none.
    """
    told = stored.metadata
    target = told.get(LINK)
    kind = "link" if target is not None else "dir" if stored.name.endswith("/") else "file"
    usual = {"link": 0o777, "dir": DIRECTORY_MODE}.get(kind, FILE_MODE)
    given = told_ino(stored)
    return Facts(
        kind,
        ino if given is None else given,
        _number(told, MODE, usual, 8) & 0o7777,
        _number(told, UID, os.getuid()),
        _number(told, GID, os.getgid()),
        _mtime(stored),
        _atime(told),
        stored.updated_ns,
        stored.size,
        target,
    )


def told_ino(stored: Stored) -> int | None:
    """Return the inode number that an object tells; None for one whose number is made from its name."""
    found = _number(stored.metadata, INO, 0)
    return found if found >= FIRST_INO else None


def others(stored: Stored | None) -> dict[str, str]:
    """Return the custom metadata that other programs gave an object, which a new content is to have as well."""
    return {key: value for key, value in stored.metadata.items() if key not in KEYS} if stored is not None else {}


def changed(facts: Facts, fields: Mapping[str, int]) -> Facts:
    """Return facts with some of them set; with another owner, a file loses the bits that let it run as its owner."""
    if facts.kind == "file" and fields.keys() <= {"uid", "gid"}:
        gone = stat.S_ISUID | (stat.S_ISGID if facts.mode & stat.S_IXGRP else 0)
        facts = replace(facts, mode=facts.mode & ~gone)
    return replace(facts, **fields)  # type: ignore[arg-type]  # the names are those of whole numbers


def told(facts: Facts, fields: Mapping[str, int]) -> dict[str, str]:
    """Return the metadata that tell facts of which `fields` were set, also where they are the usual ones again."""
    found = metadata_of(facts) | {MODE: f"{facts.mode:o}"}
    if "uid" in fields or "gid" in fields:
        found |= {UID: str(facts.uid), GID: str(facts.gid)}
    return found


def metadata_of(facts: Facts) -> dict[str, str]:
    """Return the custom metadata that tells these facts, as far as they are not the usual ones."""
    told = {INO: str(facts.ino)} if facts.ino >= FIRST_INO else {}
    usual = {"link": 0o777, "dir": DIRECTORY_MODE}.get(facts.kind, FILE_MODE)
    if facts.mode != usual:
        told[MODE] = f"{facts.mode:o}"
    if facts.target is not None:
        told[LINK] = facts.target
    if facts.mtime is not None:
        told |= times(mtime=facts.mtime)
    if facts.atime is not None:
        told |= times(atime=facts.atime)
    if (facts.uid, facts.gid) != (os.getuid(), os.getgid()):
        told |= {UID: str(facts.uid), GID: str(facts.gid)}
    return told


def times(*, mtime: int | None = None, atime: int | None = None) -> dict[str, str]:
    """Return the metadata that tells times, given in nanoseconds."""
    told: dict[str, str] = {}
    if mtime is not None:
        told |= {MTIME: str(mtime // _SECOND), FUSE_MTIME: _rfc3339(mtime)}
    if atime is not None:
        told |= {ATIME: str(atime // _SECOND), OWN_ATIME: str(atime)}
    return told


def _mtime(stored: Stored) -> int:
    """Return the time of modification: gcsfuse's, unless a tool that knows only seconds has told another."""
    precise = _parsed(stored.metadata.get(FUSE_MTIME, ""))
    seconds = _number(stored.metadata, MTIME, None)
    if precise is not None and seconds in (None, precise // _SECOND):
        return precise
    return seconds * _SECOND if seconds is not None else stored.created_ns


def _atime(told: Mapping[str, str]) -> int | None:
    precise, seconds = _number(told, OWN_ATIME, None), _number(told, ATIME, None)
    if precise is not None and seconds in (None, precise // _SECOND):
        return precise
    return seconds * _SECOND if seconds is not None else None


@overload
def _number(told: Mapping[str, str], key: str, otherwise: int, base: int = 10) -> int: ...
@overload
def _number(told: Mapping[str, str], key: str, otherwise: None, base: int = 10) -> int | None: ...
def _number(told: Mapping[str, str], key: str, otherwise: int | None, base: int = 10) -> int | None:
    """Return a number of the metadata; what anybody may have written there is not trusted to be one."""
    try:
        return int(told[key], base)
    except (KeyError, ValueError):
        return otherwise


def _rfc3339(ns: int) -> str:
    """Return a time as text; "" outside the years 1 to 9999, which then is told in seconds only."""
    seconds, rest = divmod(ns, _SECOND)
    try:
        moment = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return ""
    return f"{moment}.{rest:09d}Z"


def _parsed(text: str) -> int | None:
    whole, _, rest = text.removesuffix("Z").partition(".")
    try:
        moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(seconds=1) * _SECOND + int(rest[:9].ljust(9, "0") if rest else 0)
    except ValueError:
        return None
