"""Replaces Python's file functions by those that know the mounts, and puts them back. The only module that does.

A function is replaced wherever it is bound: in `os`, `posix`, `builtins`, `io` and `_io`, and in every loaded module
and class that took a reference of its own earlier (`from os import open`, `bltn_open = open`, a default argument).
Imports are the exception: importlib keeps a copy of the unpatched `posix`, and `io.open_code` reads from the disk only,
so that code is never imported from a mount (what was uploaded must not run). Code that the application ships in a
mounted folder is imported as it was shipped.
"""

import builtins
import functools
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from gaeport.fs import native, opened
from gaeport.fs.patching import (
    calls,
    compiling,
    descriptor_calls,
    files,
    forking,
    guards,
    listing,
    locking,
    opening,
    paths,
    programs,
    requests,
    trees,
)
from gaeport.fs.patching.descriptor_calls import commit_everything as commit_everything
from gaeport.fs.places import Mount

_SETS = ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks")
_OWN = "gaeport.fs."

_lock = threading.RLock()
_installed = False
_changed_classes: list[tuple[type, str, Any, Any]] = []  # class, name, original, replacement
_importer_os: Any = None
_importer_io: Any = None


def is_installed() -> bool:
    """Whether the functions are replaced now."""
    return _installed


def install() -> None:
    """Replace the functions everywhere. A second call does nothing."""
    global _installed
    with _lock:
        if _installed:
            return
        pairs = replacements()
        _separate_importer()
        for name in _SETS:
            functions: set[Any] = getattr(os, name, set())
            functions.update([new for old, new in pairs if _is_in(old, functions)])
        files.umask.refresh()
        paths.refresh_working_directory()
        _exchange({id(old): new for old, new in pairs})
        _installed = True
        opened.name_commits(before_fork=_before_fork, after_fork=forking.after, at_end=_at_exit)


def uninstall() -> None:
    """Put every function back where it was, also in modules loaded since. A second call does nothing."""
    global _installed
    with _lock:
        if not _installed:
            return
        pairs = replacements()
        _restore_classes()
        _exchange({id(new): old for old, new in pairs})
        for name in _SETS:
            getattr(os, name, set()).difference_update([new for _, new in pairs])
        _rejoin_importer()
        _installed = False


_pairs: list[tuple[Any, Any]] = []


def replacements() -> list[tuple[Any, Any]]:
    """Return the replaced objects with what stands in for them; the same objects on every call."""
    if not _pairs:
        for name, original in native.os_functions.items():
            owner = next(module for module in (calls, descriptor_calls, listing) if name in module.__dict__)
            _pairs.append((original, _unbound(getattr(owner, name), original)))
        _pairs.append((native.DirEntry, listing.DirEntry))
        _pairs.append((builtins.open, _unbound(opening.open, builtins.open)))
        _pairs.append((io.open_code, _unbound(opening.open_code, io.open_code)))
        _pairs.append((io.FileIO, opening.FileIO))
        _pairs.append((guards.native_mmap, guards.MemoryMap))
        _pairs.append((guards.native_dbm_open, guards.dbm_open))
        _pairs.append((trees.native_rmtree, trees.rmtree))
        _pairs.append((compiling.native_compile, compiling.compile))
        _pairs.extend((original, _unbound(function, original)) for original, function in locking.replacements())
        _pairs.extend((original, _unbound(function, original)) for original, function in programs.replacements())
        _pairs.extend(_sqlite())
    return _pairs


def _sqlite() -> Iterator[tuple[Any, Any]]:
    try:
        import _sqlite3  # without the package around it, which costs more
    except ImportError:
        return
    yield (
        _sqlite3.connect,
        _unbound(guards.guarded_connect(_sqlite3.connect, _sqlite3.OperationalError), _sqlite3.connect),
    )


class Function(functools.partial[Any]):
    """A function that, like a built-in one, does not become a method where a class binds it (`read = open`)."""

    def __get__(self, instance: object, owner: type | None = None) -> "Function":
        return self

    def __reduce__(self) -> Any:
        name: str = self.__dict__["__name__"]
        return name  # pickled by its name, as the original is: other processes need not know of mounts


def _unbound(function: Any, original: Any) -> Any:
    made = functools.update_wrapper(Function(function), function)
    made.__module__ = original.__module__
    return made


def _is_in(function: Any, functions: set[Any]) -> bool:
    return function in functions


def _exchange(mapping: dict[int, Any]) -> None:
    """Put mapping[id(x)] in the place of every x that a loaded module, one of its classes or a default binds."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_OWN):
            continue
        try:
            namespace = object.__getattribute__(module, "__dict__")  # a lazy module stays unloaded
        except AttributeError:
            continue
        if isinstance(namespace, dict):
            _exchange_names(name, namespace, mapping)


def _exchange_names(module: str, namespace: dict[str, Any], mapping: dict[int, Any]) -> None:
    # A few tens of thousands of names pass here while an application starts: the tests are ordered by what they cost.
    # type(), not __class__ nor isinstance: a lazy object (Django's settings) would be evaluated by those.
    found = []
    for key, value in list(namespace.items()):
        if id(value) in mapping:
            found.append((key, value))
        elif type(value) is FunctionType:
            if value.__defaults__ is not None or value.__kwdefaults__ is not None:
                _exchange_defaults(value, mapping)
        elif issubclass(type(value), type) and value.__module__ == module:
            _exchange_members(value, mapping)
    for key, value in found:
        namespace[key] = mapping[id(value)]


def _exchange_members(owner: type, mapping: dict[int, Any]) -> None:
    found = []
    for key, value in owner.__dict__.items():
        kind = type(value)
        if kind is FunctionType:
            if value.__defaults__ is not None or value.__kwdefaults__ is not None:
                _exchange_defaults(value, mapping)
        elif id(value.__func__ if kind is staticmethod else value) in mapping:
            found.append((key, value))
    for key, value in found:
        _exchange_member(owner, key, value, mapping)


def _exchange_member(owner: type, key: str, value: Any, mapping: dict[int, Any]) -> None:
    new = mapping[id(value.__func__ if value.__class__ is staticmethod else value)]
    replacement = staticmethod(new) if value.__class__ is staticmethod else new
    if _set_member(owner, key, replacement):
        _changed_classes.append((owner, key, value, replacement))


def _set_member(owner: type, key: str, value: Any) -> bool:
    try:
        setattr(owner, key, value)
    except (AttributeError, TypeError):  # a class of C code, or one that refuses
        return False
    return True


def _exchange_defaults(function: Any, mapping: dict[int, Any]) -> None:
    defaults = function.__defaults__
    if defaults and not mapping.keys().isdisjoint(map(id, defaults)):
        function.__defaults__ = tuple(mapping.get(id(value), value) for value in defaults)
    named = function.__kwdefaults__
    if named and not mapping.keys().isdisjoint(map(id, named.values())):
        function.__kwdefaults__ = {key: mapping.get(id(value), value) for key, value in named.items()}


def _restore_classes() -> None:
    for owner, key, original, replacement in reversed(_changed_classes):
        if owner.__dict__.get(key) is replacement:
            _set_member(owner, key, original)
    _changed_classes.clear()


def _separate_importer() -> None:
    """Give importlib a `posix` and an `_io` of its own, unpatched (but for `open_code`, which would lead back)."""
    global _importer_os, _importer_io
    importer: Any = sys.modules["_frozen_importlib_external"]
    _importer_os, _importer_io = importer._os, importer._io
    importer._os, importer._io = _copied(_importer_os), _copied(_importer_io)
    importer._io.open_code = opening.open_code


def _copied(module: ModuleType) -> Any:
    copy = ModuleType(module.__name__)
    copy.__dict__.update(module.__dict__)
    return copy


def _rejoin_importer() -> None:
    importer: Any = sys.modules["_frozen_importlib_external"]
    importer._os, importer._io = _importer_os, _importer_io


def _before_fork() -> None:
    forking.before(commit_everything)


def _at_exit() -> None:
    requests.settle_all()
    commit_everything()
    release_locks()


def release_locks(mounts: Iterable[Mount] | None = None) -> None:
    """Give back every lock of a mounted file that this process holds, or of those in some mounts."""
    for mount in paths.mounts() if mounts is None else mounts:
        leases = getattr(mount.volume, "leases", None)
        if leases is not None:
            leases.release_all()
