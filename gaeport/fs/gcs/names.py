"""Names of files as names of objects, and which cannot be."""

import errno
import mimetypes
from hashlib import blake2b

from gaeport.errors import file_error
from gaeport.fs.volume import Path

NAME_MAX = 255  # bytes of a file name, as on Linux
OBJECT_MAX = 1024  # bytes of an object's whole name ("Cloud Storage: object names")
WELL_KNOWN = ".well-known/acme-challenge/"  # what no object's name may begin with, by the same page


class Names:
    """The names of one mount's objects.

    Args:
        bucket: what the objects lie in.
        prefix: before every name; "" or ending in a slash.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix

    def can_be(self, path: Path) -> bool:
        """Tell whether an object may have this name, its length aside: others are never there."""
        try:
            self.of(path)
        except OSError as error:
            return error.errno == errno.ENAMETOOLONG
        return True

    def of(self, path: Path) -> str:
        """Return the name of a file's object.

        Raises:
            OSError: ENAMETOOLONG, over 255 bytes for a part or 1,024 for the object's name; EILSEQ, not UTF-8; EINVAL,
                a line break, or a name that Cloud Storage keeps for itself.
        """
        name = self.prefix + "/".join(path)
        self._check(name, path)
        return name

    def below(self, path: Path) -> str:
        """Return what the names of the objects in a directory begin with; also the name of its placeholder."""
        return f"{self.of(path)}/" if path else self.prefix

    def ino(self, path: Path) -> int:
        """Return the inode number of what tells none: the same on every instance."""
        digest = blake2b(f"{self.bucket}\0{self.prefix}{'/'.join(path)}".encode("utf-8", "surrogateescape"))
        return int.from_bytes(digest.digest()[:8]) & (1 << 60) - 1 | 1 << 60

    def _check(self, name: str, path: Path) -> None:
        spelled = "/".join(path)
        try:
            size = len(name.encode())
            longest = max((len(part.encode()) for part in path), default=0)
        except UnicodeEncodeError:
            raise file_error(errno.EILSEQ, spelled, "an object's name is UTF-8") from None
        if longest > NAME_MAX:
            raise file_error(errno.ENAMETOOLONG, spelled)
        if size + 1 > OBJECT_MAX:  # a directory has a slash more
            note = f"the object's name has {size:,} bytes, with {self.prefix!r} before it; the limit is {OBJECT_MAX:,}"
            raise file_error(errno.ENAMETOOLONG, spelled, note)
        if "\n" in name or "\r" in name:
            raise file_error(errno.EINVAL, spelled, "an object's name has no line breaks")
        if name.startswith(WELL_KNOWN) or name in (".", ".."):
            raise file_error(errno.EINVAL, spelled, "Cloud Storage keeps this name for itself")


def content_type(name: str) -> str:
    """Return what browsers are to take a file for, by its name."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    if encoding is not None:  # a .tar.gz is to be downloaded as it is
        return f"application/{encoding if encoding in ('gzip', 'zstd') else 'x-' + encoding}"
    return kind or "application/octet-stream"
