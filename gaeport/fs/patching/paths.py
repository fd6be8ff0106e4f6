"""Finds out whether a path leads into a mount, at next to no cost for the others.

`locate` is on the way of every file operation of the process. A path outside every mount costs three or four searches
in a string: the working directory is remembered, so that the spellings which could lead into a mount (absolute, and
relative to it) are known beforehand, and only they, and paths with "..", "." or "//" in them, are taken apart.
A symbolic link outside that leads into a mount is not followed (asking the disk would cost 7 to 10 µs a call),
except that a mount also answers to the spelling it was given when that differs from its real path.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterable

from gaeport.errors import file_error
from gaeport.fs import native
from gaeport.fs.patching import ancestors, descriptors
from gaeport.fs.places import Mount, Naming, Place
from gaeport.fs.volume import Path

MAX_NAME = 255  # bytes of one file name, as on Linux
MAX_PATH = 4095  # bytes of a whole path, as on Linux
MAX_LINKS = 40  # symbolic links followed in one path, as on Linux

Located = Place | str | bytes | None

_lock = threading.RLock()
_mounts: tuple[Mount, ...] = ()
_roots: tuple[tuple[str, Mount], ...] = ()
_starts: tuple[str, ...] = ()  # the roots' paths
_ancestors: frozenset[str] = frozenset()
_ancestor_names: frozenset[str] = frozenset()
_hidden: dict[str, dict[str, Mount]] = {}  # mounts that the disk does not show in their parent: by parent, by name
_prefixes: tuple[str, ...] = ()
_cwd = "/"
_virtual = False  # whether the working directory is in a mount: the process itself may stand elsewhere


def mounts() -> tuple[Mount, ...]:
    """Return everything that is mounted."""
    return _mounts


def mounted_in(folder: str) -> list[Mount]:
    """Return what is mounted at a directory or below it; a directory that is itself a link is followed."""
    place = locate(folder)
    if isinstance(place, Place) and place.mount.settings is not None and place.parts:
        return []  # mounts are not nested
    real = os.path.realpath(folder).rstrip("/")
    return [mount for mount in _mounts if f"{mount.root}/".startswith(f"{real}/")]


def set_mounts(found: Iterable[Mount]) -> None:
    """Replace the table of mounts."""
    global _mounts, _roots, _starts, _ancestors, _ancestor_names, _hidden
    with _lock:
        _mounts = tuple(found)
        pairs = {spelling: mount for mount in reversed(_mounts) for spelling in (mount.spelled, mount.root)}
        above = {folder: on_disk(folder) for path in pairs for folder in parents(path)}
        pairs |= {mount.root: mount for mount in ancestors.missing(pairs, above)}
        _roots = tuple(sorted(pairs.items(), key=lambda pair: len(pair[0]), reverse=True))
        _starts = tuple(root for root, _ in _roots)
        _ancestors = frozenset(above)
        _ancestor_names = frozenset(os.path.basename(path) for path in above) | {"", ".", ".."}
        _hidden = {}
        for root, mount in pairs.items():
            if above.get(os.path.dirname(root)) and not on_disk(root):
                _hidden.setdefault(os.path.dirname(root), {})[os.path.basename(root)] = mount
        _rebuild()


def parents(path: str) -> list[str]:
    """Return the directories above an absolute path, nearest first."""
    found = []
    while path != "/":
        path = os.path.dirname(path)
        found.append(path)
    return found


def working_directory() -> str | None:
    """Return the working directory when it is inside a mount, else None (the system knows it)."""
    return _cwd if _virtual else None


def set_working_directory(path: str, *, virtual: bool) -> None:
    """Remember where relative paths start.

    Args:
        path: the absolute path.
        virtual: whether it is inside a mount.
    """
    global _cwd, _virtual
    with _lock:
        _cwd, _virtual = path, virtual
        _rebuild()


def refresh_working_directory() -> None:
    """Ask the system where relative paths start."""
    try:
        path = native.getcwd()
    except OSError:  # removed under us; no relative path can lead anywhere
        path = "/\0"
    set_working_directory(path, virtual=False)


def _rebuild() -> None:
    global _prefixes
    if not _roots:
        _prefixes = ()
        return
    roots = [root for root, _ in _roots]
    if _virtual or any(_cwd == root or _cwd.startswith(f"{root}/") for root in roots):
        _prefixes = ("",)  # every relative path may lead into the mount; absolute ones are few there
        return
    lead = _cwd if _cwd.endswith("/") else f"{_cwd}/"
    _prefixes = (*roots, *(root[len(lead) :] for root in roots if root.startswith(lead)), ".")


def locate(path: object, dir_fd: int | None = None) -> Located:
    """Find out where a path leads.

    Args:
        path: as the caller gave it to a function of `os`: str, bytes, PathLike or a descriptor.
        dir_fd: the directory that a relative path starts from, instead of the working directory.

    Returns:
        A Place when it leads into a mount; None when it does not; and a str or bytes when it does not but has to be
        spelled so for the system to find it.

    Raises:
        OSError: ENAMETOOLONG, ELOOP, or what stands in the way of a "..".
    """
    if path.__class__ is not str:
        return _locate_other(path, dir_fd)
    if dir_fd is not None:
        return _locate_at(path, path, dir_fd)
    if path.startswith(_prefixes) or "/.." in path or "/./" in path or "//" in path:
        return _resolve(path, path)
    return None


def _locate_other(path: object, dir_fd: int | None) -> Located:
    if isinstance(path, int):
        description = descriptors.lookup(path)
        return description.place if description is not None else None
    try:
        spelled: str | bytes = os.fspath(path)  # type: ignore[call-overload]
    except TypeError:
        return None  # the system's own function says what is wrong
    text = spelled if isinstance(spelled, str) else os.fsdecode(spelled)
    if dir_fd is not None:
        return _locate_at(text, spelled, dir_fd)
    found = None
    if text.startswith(_prefixes) or "/.." in text or "/./" in text or "//" in text:
        found = _resolve(text, spelled)
    return found or spelled  # saves the system's own function from asking a PathLike again


def _locate_at(path: str, spelled: str | bytes, dir_fd: object) -> Located:
    if not isinstance(dir_fd, int):
        return None  # the system's own function says what is wrong
    if path.startswith("/"):
        return _resolve(path, spelled)
    with Naming(spelled):
        base = descriptors.directory_of(dir_fd)
    if base is None or not path:
        return None
    absolute, ours = base
    return _resolve(f"{absolute}/{path}", spelled, rewritten=ours)


def _resolve(path: str, spelled: str | bytes, *, rewritten: bool = False, links: int = 0) -> Located:
    if not path or "\0" in path:
        return None  # the system's own function says what is wrong
    if not path.startswith("/"):
        rewritten = _virtual
        path = f"{_cwd}/{path}"
    clean = normal(path)
    if clean.startswith(_starts):
        for root, mount in _roots:
            if clean.startswith(root) and (len(clean) == len(root) or clean[len(root)] == "/"):
                return _place(mount, root, clean[len(root) + 1 :], path, spelled, links)
    if rewritten or ("/.." in path and _passes_mount(path)):
        return f"{clean}/" if path.endswith("/") else clean
    return None


def _passes_mount(path: str) -> bool:
    """Whether the spelling goes into a mount (and out again), where the disk may have no directory to leave."""
    return any(f"{start}/" in path for start in _starts)


def normal(path: str) -> str:
    """Return an absolute path without "..", "." and doubled slashes."""
    clean = os.path.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


def _place(mount: Mount, root: str, rest: str, path: str, spelled: str | bytes, links: int) -> Located:
    parts: Path = tuple(rest.split("/")) if rest else ()
    if len(rest) * 4 > MAX_NAME and _too_long(parts, spelled):
        raise file_error(errno.ENAMETOOLONG, spelled)
    if "/.." in path:
        moved = _pass_dots(mount, root, path, spelled, links)
        if moved is not None:
            return moved
    dotted = path.endswith(("/.", "/.."))
    return Place(mount, parts, spelled, directory=dotted or path.endswith("/"), dotted=dotted)


def _too_long(parts: Path, spelled: str | bytes) -> bool:
    return any(len(os.fsencode(part)) > MAX_NAME for part in parts) or len(os.fsencode(spelled)) > MAX_PATH


def _pass_dots(mount: Mount, root: str, path: str, spelled: str | bytes, links: int) -> Located:
    """Check what each ".." leaves, which must be a directory; where it is a link, start again from its target."""
    walked = ""
    names = [name for name in path.split("/") if name and name != "."]
    for position, name in enumerate(names):
        if name != "..":
            walked = f"{walked}/{name}"
            continue
        inside = walked[len(root) + 1 :] if walked.startswith(f"{root}/") else ""
        if inside:
            target = _left_behind(Place(mount, tuple(inside.split("/")), spelled))
            if target is not None:
                if links >= MAX_LINKS:
                    raise file_error(errno.ELOOP, spelled)
                start = target if target.startswith("/") else f"{os.path.dirname(walked)}/{target}"
                rest = "/".join(names[position:])
                return _resolve(f"{start}/{rest}", spelled, rewritten=True, links=links + 1)
        walked = os.path.dirname(walked)
    return None


def _left_behind(place: Place) -> str | None:
    found = place.attributes(follow=False)
    if stat.S_ISLNK(found.mode):
        return place.volume.readlink(place.parts)
    if not stat.S_ISDIR(found.mode):
        raise place.error(errno.ENOTDIR)
    return None


def absolute(path: object) -> str | None:
    """Return the clean absolute path of what is not a descriptor, or None."""
    try:
        text = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        return None
    return normal(text if text.startswith("/") else f"{_cwd}/{text}") if text else None


def ancestor(path: object, dir_fd: int | None = None) -> str | None:
    """Return the absolute path if `path` is a directory of the disk above a mount, else None."""
    if isinstance(path, str) and path.rpartition("/")[2] not in _ancestor_names:
        return None
    found = absolute(path)
    if dir_fd is not None and found is not None:
        base = descriptors.directory_of(dir_fd)
        if base is None:
            return None
        found = normal(f"{base[0]}/{os.fsdecode(os.fspath(path))}")  # type: ignore[call-overload]
    return found if found in _ancestors else None


def mounted_below(path: object) -> dict[str, Mount]:
    """Return the mounts directly in a directory of the disk that the disk itself does not show, by name."""
    if not _hidden or (isinstance(path, str) and path.rpartition("/")[2] not in _ancestor_names):
        return {}
    found = absolute(path) if not isinstance(path, int) else (descriptors.directory_of(path) or ("",))[0]
    return _hidden.get(found or "", {})


def on_disk(path: str) -> bool:
    """Whether the disk has something of that name, whatever is mounted over it."""
    try:
        native.lstat(path)
    except OSError:
        return False
    return True


refresh_working_directory()
