"""Importing Python modules from mounts that say `import = true`.

Without that, modules are imported from the disk only: what somebody uploaded must not run. With it, the names in a
mounted directory are looked up at each import, so that a module can be imported right after it was written, and no
byte code is kept.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module, machinery
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any

from gaeport import settings
from gaeport.fs.patching import paths
from gaeport.fs.places import Mount, Place

_EXTENSIONS: tuple[Any, list[str]] = (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES)
_ON_DISK: tuple[tuple[Any, list[str]], ...] = (
    _EXTENSIONS,
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
_roots: tuple[str, ...] = ()


def refresh(mounts: Iterable[Mount]) -> None:
    """Let Python import from those mounts that allow it, and from no other."""
    global _roots
    allowed = [mount for mount in mounts if mount.settings is not None and mount.settings.import_]
    roots = tuple(sorted({root for mount in allowed for root in (mount.root, mount.spelled)}))
    if roots == _roots:
        return
    if roots:
        _load_store()
    concerned = (*_roots, *roots)
    _roots = roots
    for path in list(sys.path_importer_cache):
        if _meets(path, concerned):
            sys.path_importer_cache.pop(path, None)
    if roots and path_hook not in sys.path_hooks:
        sys.path_hooks.insert(0, path_hook)
    elif not roots and path_hook in sys.path_hooks:
        sys.path_hooks.remove(path_hook)


def _load_store() -> None:
    """Import what the store imports when it is first used: an import must not need the store that it is a part of."""
    if settings.current().environment == "embedded":
        names = ["gaeport.datastore.engine"]
    else:
        names = ["grpc", "google.auth.transport.grpc", "google.auth.transport.requests", "gaeport.datastore.inprocess"]
    for name in names:
        import_module(name)


def allows(place: Place) -> bool:
    """Whether code may be imported from a place."""
    return place.mount.settings is not None and place.mount.settings.import_


def path_hook(path: str) -> "Finder":
    """Return what finds modules in a directory of `sys.path` or of a package.

    The store is not asked: the hook may be called by an import that the store itself needs.

    Raises:
        ImportError: the directory is neither in a mount that allows imports nor above one.
    """
    if not isinstance(path, str) or path.endswith(".py") or not _meets(path, _roots):
        raise ImportError("not a directory in or above a mount with import = true", path=path)
    return Finder(path)


def _meets(path: str, roots: Sequence[str]) -> bool:
    absolute = (paths.absolute(path or ".") or "").rstrip("/") + "/"
    return any(absolute.startswith(f"{root}/") or f"{root}/".startswith(absolute) for root in roots)


class Finder:
    """Finds the modules in one directory that is in a mount, or above one.

    Args:
        path: the directory.
    """

    def __init__(self, path: str) -> None:
        self.path = path or "."
        self._disk = FileFinder(self.path, *_ON_DISK)
        self._extensions = FileFinder(self.path, _EXTENSIONS)  # C code can only be loaded from the disk

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return where a module is, or None."""
        base = os.path.join(self.path, fullname.rpartition(".")[2])
        place = paths.locate(base)
        if not isinstance(place, Place):
            return self._disk.find_spec(fullname, target)
        if not allows(place):  # a folder that only leads to mounts
            return _folder(fullname, base) if place.mount.settings is None and _is(base, stat.S_ISDIR) else None
        found = _stored(fullname, base) or self._extensions.find_spec(fullname, target)
        return found if found is not None and (found.loader is not None or _is(base, stat.S_ISDIR)) else None

    def invalidate_caches(self) -> None:
        """Forget what was seen on the disk; of mounts nothing is remembered."""
        self._disk.invalidate_caches()
        self._extensions.invalidate_caches()

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Yield the name of each module, and whether it is a package (for `pkgutil`)."""
        try:
            with os.scandir(self.path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            name, ending = os.path.splitext(entry.name)
            package = entry.is_dir() and _is(os.path.join(entry.path, "__init__.py"), stat.S_ISREG)
            if (package or (ending == ".py" and entry.is_file())) and name.isidentifier() and name != "__init__":
                yield prefix + name, package


class Loader(SourceFileLoader):
    """Loads a module from a mount. Byte code is neither read nor written."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code, compiled from its present source."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def get_data(self, path: str) -> bytes:
        """Return a file's content. Raises OSError."""
        with open(path, "rb") as file:
            return file.read()

    def path_stats(self, path: str) -> dict[str, Any]:
        """Return a file's time and size. Raises OSError."""
        found = os.stat(path)
        return {"mtime": found.st_mtime, "size": found.st_size}

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def _stored(fullname: str, base: str) -> ModuleSpec | None:
    folder = _is(base, stat.S_ISDIR)
    init = os.path.join(base, "__init__.py")
    if folder and _is(init, stat.S_ISREG):
        return spec_from_file_location(fullname, init, loader=Loader(fullname, init), submodule_search_locations=[base])
    path = f"{base}.py"
    if _is(path, stat.S_ISREG):
        return spec_from_file_location(fullname, path, loader=Loader(fullname, path))
    return _folder(fullname, base) if folder else None


def _folder(fullname: str, base: str) -> ModuleSpec:
    """Return a part of a namespace package."""
    spec = ModuleSpec(fullname, None)
    spec.submodule_search_locations = [base]
    return spec


def _is(path: str, kind: Any) -> bool:
    try:
        return bool(kind(os.stat(path).st_mode))
    except (OSError, ImportError):  # the latter where the store itself is being imported: that comes from the disk
        return False
