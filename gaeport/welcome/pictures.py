"""The uploaded pictures: files in a folder, written and read with plain `open()`."""

import os
import re
import secrets
from typing import BinaryIO

from gaeport import settings

MAX_PICTURE = 5 * 1024 * 1024  # bytes
_COPY = 65_536  # bytes at a time

# A file's type is told by its first bytes, not by what the browser says.
_SIGNATURES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"GIF8[79]a"), ".gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
)
CONTENT_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_NAME = re.compile(r"[0-9a-f]{32}(\.png|\.jpg|\.gif|\.webp)")


class PictureRefused(ValueError):
    """The upload is no picture that the guest book takes; the message is for whoever sent it."""


def folder() -> str:
    """Return the uploads folder; gaeport.toml mounts it."""
    return os.path.join(settings.current().root, "uploads")


def save(upload: BinaryIO, size: int) -> str:
    """Store an uploaded file and return the name it got.

    Args:
        upload: the content, from its beginning.
        size: its length in bytes.

    Raises:
        PictureRefused: it is too large or no picture.
        OSError: it cannot be stored.
    """
    if size > MAX_PICTURE:
        raise PictureRefused(f"The picture is too large: at most {MAX_PICTURE // 1024**2} MB, please.")
    head = upload.read(16)
    suffix = next((suffix for signature, suffix in _SIGNATURES if signature.match(head)), None)
    if suffix is None:
        raise PictureRefused("That file is not a PNG, JPEG, GIF or WebP picture.")
    name = secrets.token_hex(16) + suffix
    with _create(os.path.join(folder(), name)) as file:
        file.write(head)
        while piece := upload.read(_COPY):
            file.write(piece)
    return name


def _create(path: str) -> BinaryIO:
    try:
        return open(path, "wb")
    except FileNotFoundError:  # the first upload into a folder that is not mounted and was never made
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "wb")


def open_picture(name: str) -> tuple[BinaryIO, str]:
    """Open a stored picture; returns the file and its content type.

    Raises:
        FileNotFoundError: there is none, or the name is not one that `save` gives (so no name leads out of the folder).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise FileNotFoundError(name)
    return open(os.path.join(folder(), name), "rb"), CONTENT_TYPES[match[1]]


def uploaded_between(earliest: float, latest: float) -> list[str]:
    """Return the names of the pictures last written in a span of time, in seconds since 1970."""
    try:
        with os.scandir(folder()) as entries:
            found = [entry.name for entry in entries if earliest <= entry.stat().st_mtime <= latest]
    except FileNotFoundError:  # nobody has uploaded any yet
        return []
    return [name for name in found if _NAME.fullmatch(name)]


def remove(name: str) -> None:
    """Delete a stored picture; a missing one is no error."""
    try:
        os.remove(os.path.join(folder(), name))
    except FileNotFoundError:
        pass
