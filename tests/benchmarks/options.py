"""What a run was asked for, and what every section needs to begin."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gaeport import settings

# What would point a measurement at the developer's own project, data or servers.
_VARIABLES = (
    "CLOUDSDK_CORE_PROJECT",
    "DATASTORE_DATASET",
    "DATASTORE_EMULATOR_HOST",
    "DATASTORE_PROJECT_ID",
    "GAEPORT_CONFIG",
    "GAEPORT_DATA",
    "GAE_ENV",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "STORAGE_EMULATOR_HOST",
)

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for.

    Attributes:
        emulator: "host:port" of a Firestore emulator in Datastore mode, or "" for none.
        copy_bytes: the size of the file that the copies copy.
        entities: how many make a large Datastore.
        files: how many are synced.
        folder_files: how many make a large folder.
    """

    emulator: str
    copy_bytes: int
    entities: int
    files: int = 20_000
    folder_files: int = 100_000


def forget_variables() -> None:
    """Take the variables that choose an environment away from this process and its children."""
    for name in _VARIABLES:
        os.environ.pop(name, None)


@contextmanager
def application(backend: str, emulator: str = "") -> Iterator[Path]:
    """Put settings in force, with an empty folder as working directory; everything is put back afterwards.

    Args:
        backend: "memory", "disk" or "emulator".
        emulator: the emulator's "host:port".

    Yields:
        The folder.
    """
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="gaeport-bench-") as folder:
        root = Path(folder).resolve()
        os.chdir(root)
        if backend == "emulator":
            os.environ["DATASTORE_EMULATOR_HOST"] = emulator
        settings.configure(root=root, data=settings.MEMORY if backend == "memory" else ".gaeport")
        try:
            yield root
        finally:
            settings.configure(root=root, data=settings.MEMORY)  # drops mounts and connections
            os.environ.pop("DATASTORE_EMULATOR_HOST", None)
            os.chdir(before)
