"""Who does the same work on the same storage server: gaeport, gcsfs, cloudpathlib, smart_open.

Each does what its documentation shows for the job. All of them work below a folder of their own; a name is a path in
that folder. `missing` tells which packages are not installed, and how to get them.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from gaeport import meter
from gaeport.fs.patching import paths

BUCKET = "bench"
INSTALL = "pip install gcsfs 'cloudpathlib[gs]' 'smart_open[gcs]' (the extra `bench`)"


class Contender(Protocol):
    """One of those who do the work. What it cannot do raises NotImplementedError."""

    title: str

    def refresh(self) -> None:
        """Forget what was read, as another instance would not know it."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size, by stat."""
        ...

    def list(self, name: str) -> list[str]:
        """Return the names in a folder."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add to a file."""
        ...

    def rename(self, name: str, target: str) -> None:
        """Move a file."""
        ...

    def rename_folder(self, name: str, target: str) -> None:
        """Move a folder with everything in it."""
        ...

    def copy_in(self, source: Path, name: str) -> None:
        """Copy a large file of the disk to a name."""
        ...

    def copy_out(self, name: str, target: Path) -> None:
        """Copy a large file to the disk."""
        ...

    def remove_all(self) -> None:
        """Delete everything below the folder."""
        ...


class Gaeport:
    """Plain functions of Python in a mount."""

    def __init__(self, title: str, folder: Path) -> None:
        self.title = title
        self._folder = folder
        folder.mkdir(parents=True)
        self._made: set[Path] = {folder}

    def refresh(self) -> None:
        pass  # it remembers no content

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with open(path, "wb") as file:
            file.write(data)

    def read(self, name: str) -> bytes:
        with open(self._folder / name, "rb") as file:
            return file.read()

    def size(self, name: str) -> int:
        return os.stat(self._folder / name).st_size

    def list(self, name: str) -> list[str]:
        return os.listdir(self._folder / name)

    def append(self, name: str, data: bytes) -> None:
        with open(self._folder / name, "ab") as file:
            file.write(data)

    def rename(self, name: str, target: str) -> None:
        os.rename(self._folder / name, self._folder / target)

    rename_folder = rename

    def copy_in(self, source: Path, name: str) -> None:
        shutil.copyfile(source, self._path(name))

    def copy_out(self, name: str, target: Path) -> None:
        shutil.copyfile(self._folder / name, target)

    def remove_all(self) -> None:
        shutil.rmtree(self._folder)
        self._made.clear()

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if path.parent not in self._made:  # objects need no folder; an application makes it once
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return path


class Gcsfs:
    """gcsfs by its file system object."""

    title = "gcsfs"

    def __init__(self, folder: str, endpoint: str) -> None:
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it else asks a server that is not there
        self._files = import_module("gcsfs").GCSFileSystem(token="anon", endpoint_url=endpoint, project="bench")
        self._folder = f"{BUCKET}/{folder}"

    def refresh(self) -> None:
        self._files.invalidate_cache()

    def write(self, name: str, data: bytes) -> None:
        with self._files.open(f"{self._folder}/{name}", "wb") as file:
            file.write(data)

    def read(self, name: str) -> bytes:
        with self._files.open(f"{self._folder}/{name}", "rb") as file:
            return bytes(file.read())

    def size(self, name: str) -> int:
        return int(self._files.info(f"{self._folder}/{name}")["size"])

    def list(self, name: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self._files.ls(f"{self._folder}/{name}", detail=False)]

    def append(self, name: str, data: bytes) -> None:
        path = f"{self._folder}/{name}"  # open(…, "ab") would replace the content, and says so
        self._files.pipe_file(path, self._files.cat_file(path) + data)

    def rename(self, name: str, target: str) -> None:
        self._files.mv_file(f"{self._folder}/{name}", f"{self._folder}/{target}")

    def rename_folder(self, name: str, target: str) -> None:
        self._files.mv(f"{self._folder}/{name}", f"{self._folder}/{target}", recursive=True)

    def copy_in(self, source: Path, name: str) -> None:
        self._files.put_file(str(source), f"{self._folder}/{name}")

    def copy_out(self, name: str, target: Path) -> None:
        self._files.get_file(f"{self._folder}/{name}", str(target))

    def remove_all(self) -> None:
        self._files.rm(self._folder, recursive=True)


class Cloudpathlib:
    """cloudpathlib by its paths; a fresh client has an empty cache."""

    title = "cloudpathlib"

    def __init__(self, folder: str) -> None:
        self._name = folder
        self.refresh()

    def refresh(self) -> None:
        self._client = import_module("cloudpathlib").GSClient(storage_client=_storage_client())
        self._folder: Any = self._client.CloudPath(f"gs://{BUCKET}/{self._name}")

    def write(self, name: str, data: bytes) -> None:
        (self._folder / name).write_bytes(data)

    def read(self, name: str) -> bytes:
        return bytes((self._folder / name).read_bytes())

    def size(self, name: str) -> int:
        return int((self._folder / name).stat().st_size)

    def list(self, name: str) -> list[str]:
        return [path.name for path in (self._folder / name).iterdir()]

    def append(self, name: str, data: bytes) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(data)

    def rename(self, name: str, target: str) -> None:
        (self._folder / name).rename(self._folder / target)

    def rename_folder(self, name: str, target: str) -> None:
        for path in (self._folder / name).iterdir():  # "rename/replace the files recursively", it says itself
            path.rename(self._folder / target / path.name)

    def copy_in(self, source: Path, name: str) -> None:
        (self._folder / name).upload_from(source)

    def copy_out(self, name: str, target: Path) -> None:
        (self._folder / name).download_to(target)

    def remove_all(self) -> None:
        self._folder.rmtree()


class SmartOpen:
    """smart_open, which has files to read and to write, and nothing else."""

    title = "smart_open"

    def __init__(self, folder: str) -> None:
        self._open = import_module("smart_open").open
        self._folder = f"gs://{BUCKET}/{folder}"
        self._options = {"client": _storage_client()}

    def refresh(self) -> None:
        pass  # it remembers nothing

    def write(self, name: str, data: bytes) -> None:
        with self._opened(name, "wb") as file:
            file.write(data)

    def read(self, name: str) -> bytes:
        with self._opened(name, "rb") as file:
            return bytes(file.read())

    def append(self, name: str, data: bytes) -> None:
        self.write(name, self.read(name) + data)  # its mode "ab" is refused

    def copy_in(self, source: Path, name: str) -> None:
        with open(source, "rb") as reader, self._opened(name, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)

    def copy_out(self, name: str, target: Path) -> None:
        with self._opened(name, "rb") as reader, open(target, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)

    def size(self, name: str) -> int:
        raise NotImplementedError

    def list(self, name: str) -> list[str]:
        raise NotImplementedError

    def rename(self, name: str, target: str) -> None:
        raise NotImplementedError

    rename_folder = rename

    def remove_all(self) -> None:
        raise NotImplementedError

    def _opened(self, name: str, mode: str) -> Any:
        return self._open(f"{self._folder}/{name}", mode, transport_params=self._options)


def _storage_client() -> Any:
    credentials = import_module("google.auth.credentials").AnonymousCredentials()
    return import_module("google.cloud.storage").Client(project="bench", credentials=credentials)


_PEERS: tuple[tuple[str, Callable[[str, str], Any]], ...] = (
    ("gcsfs", Gcsfs),
    ("cloudpathlib", lambda folder, endpoint: Cloudpathlib(folder)),
    ("smart_open", lambda folder, endpoint: SmartOpen(folder)),
)


def peers(folder: str, endpoint: str) -> Iterable[Contender]:
    """Yield those that are installed.

    Args:
        folder: the folder in the bucket, before which each puts its own name.
        endpoint: the storage server's URL, which STORAGE_EMULATOR_HOST names too.
    """
    for package, make in _PEERS:
        if find_spec(package) is not None:
            yield make(f"{package}/{folder}", endpoint)


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return [package for package, _ in _PEERS if find_spec(package) is None]


def settled(work: Callable[[], object]) -> int:
    """Do some work, write the directories' times that wait, and return the Datastore calls of both."""
    with meter.measure() as counts:
        work()
        for mount in paths.mounts():
            mount.volume.commit_all()
    return sum(number for name, number in counts.calls.items() if not name.endswith("Blob"))
