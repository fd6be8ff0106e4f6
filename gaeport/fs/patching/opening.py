"""What stands in for `open` (`io.open`, `_io.open`) and `io.FileIO`."""

import os
from typing import Any

from gaeport.fs import native, opened
from gaeport.fs.patching import calls, descriptors, files, importing, paths
from gaeport.fs.places import Place


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file, in a mount or not. See the standard library's `open` for the arguments and errors."""
    if opener is not None:
        return files.open_descriptor(file, mode, buffering, encoding, errors, newline, closefd, opener)
    try:
        place = paths.locate(file)
    except OSError:
        files.check_arguments(mode, buffering, encoding, errors, newline)  # goes before the path
        raise
    if not isinstance(place, Place):
        return native.open(place or file, mode, buffering, encoding, errors, newline, closefd)
    if isinstance(file, int):
        return files.open_descriptor(file, mode, buffering, encoding, errors, newline, closefd)
    return files.open_place(place, mode, buffering, encoding, errors, newline, closefd)


def open_code(path: str) -> Any:
    """Open a file for import: of the disk (the original goes through `_io.open`), or of a mount that allows it."""
    place = paths.locate(path)
    if isinstance(place, Place) and importing.allows(place):
        return files.open_place(place, "rb")
    return native.open(path, "rb")


class _FileIOType(type):
    """Makes `io.FileIO(path)` return whichever raw file fits, and every raw file an instance of `io.FileIO`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is FileIO:
            return open_raw(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        if cls is FileIO:
            return isinstance(instance, native.FileIO | files.RawFile)
        return super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if cls is FileIO:
            return issubclass(subclass, native.FileIO | files.RawFile)
        return super().__subclasscheck__(subclass)


class FileIO(descriptors.DescriptorFile, metaclass=_FileIOType):  # type: ignore[metaclass]  # its metaclass is plain type
    """Stands in for `io.FileIO`, also as a base class: a mounted file is opened by a descriptor then."""

    def __init__(self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> None:
        place = paths.locate(file) if opener is None and not isinstance(file, int) else None
        super().__init__(file, mode, closefd, _open_descriptor if isinstance(place, Place) else opener)


FileIO.__module__ = "_io"  # where pickle and others look for it


def _open_descriptor(path: Any, flags: int) -> int:
    return calls.open(path, flags, 0o666)


def open_raw(file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> Any:
    """Open a file unbuffered, as `io.FileIO` does."""
    place = paths.locate(file) if opener is None else None
    if opener is not None or (isinstance(place, Place) and isinstance(file, int)):
        return descriptors.DescriptorFile(file, mode, closefd, opener)
    if not isinstance(place, Place):
        return native.FileIO(place or file, mode, closefd)
    if "t" in mode or not set(mode) & set("rwax"):
        raise ValueError(f"invalid mode: {mode}")
    if not closefd:
        raise ValueError("Cannot use closefd=False with file name")
    kind, flags, _ = files.parse_mode(mode)
    raw = files.RawFile(place, files.open_handle(place, flags, 0o666), kind, flags)
    if flags & (os.O_WRONLY | os.O_RDWR):
        opened.note(files.Opened(raw, raw, truncating=kind in "wx"))
    return raw
