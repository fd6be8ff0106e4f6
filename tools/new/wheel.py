"""The wheel of the gaeport that runs: on no package index, it travels with the application."""

import base64
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import gaeport
from gaeport.errors import ConfigurationError

_NAME = "gaeport"
_TAG = "py3-none-any"
_KEPT = ("METADATA", "entry_points.txt", "top_level.txt")
_TIME = (1980, 1, 1, 0, 0, 0)  # the same gaeport gives the same bytes


def file_name() -> str:
    """Return the wheel's file name."""
    return f"{_NAME}-{gaeport.__version__}-{_TAG}.whl"


def build() -> bytes:
    """Return the wheel of the running package, as it is installed or lies in a checkout.

    The deploy-time tools are left out: they are never uploaded. Source of the form: "Binary distribution format",
    Python Packaging User Guide.

    Raises:
        ConfigurationError: the package is not installed, so that what it needs is not known.
    """
    package = Path(gaeport.__file__).parent
    contents = {
        f"{_NAME}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    contents |= _metadata()
    return _packed(contents, f"{_NAME}-{gaeport.__version__}.dist-info")


def _metadata() -> dict[str, bytes]:
    # Beside a checkout's code may lie a build's left-overs, which are found first and have no METADATA.
    installed = [found for found in metadata.distributions(name=_NAME) if found.read_text("METADATA")]
    if not installed:
        raise ConfigurationError("this gaeport is not installed: pip install it (or, in a checkout, pip install -e .)")
    folder = f"{_NAME}-{gaeport.__version__}.dist-info"
    found = {f"{folder}/{name}": text.encode() for name in _KEPT if (text := installed[0].read_text(name)) is not None}
    found[f"{folder}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    return found


def _packed(contents: dict[str, bytes], folder: str) -> bytes:
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in contents.items())
    contents = contents | {f"{folder}/RECORD": f"{record}{folder}/RECORD,,\n".encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
