"""A file's permission bits bind a process that is not root, as on a disk; asked of both, as another user."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import settings
from gaeport.fs import permissions
from gaeport.fs.datastore.volume import make_volume

NOBODY = 65534

ASKED = """
import json, os, sys
import gaeport

store, mounted, disk = sys.argv[1:]
gaeport.configure(root=os.getcwd(), data=":memory:")
gaeport.mount(mounted, store=store, **({"bucket": "bucket"} if store == "gcs" else {}))


def told(function, *arguments):
    try:
        result = function(*arguments)
    except OSError as error:
        return error.errno, os.path.basename(error.filename)
    if type(result) is int:
        os.close(result)
        return "opened"
    return result


FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC,
         os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_EXCL]


def asked(folder):
    answers = {}
    for mode in range(0, 0o1000, 0o100):
        path = f"{folder}/f{mode:o}"
        with open(path, "wb") as file:
            file.write(b"content")
        os.chmod(path, mode)
        answers[f"{mode:o}"] = [told(os.open, path, flags) for flags in FLAGS]
        answers[f"{mode:o}"] += [told(os.truncate, path, 3), told(os.access, path, 7)]
        answers[f"{mode:o}"] += [told(os.access, path, bits) for bits in range(8)]
        os.chmod(path, 0o600)
        with open(path, "rb") as file:
            answers[f"{mode:o}"].append(file.read().decode())
        os.mkdir(f"{folder}/d{mode:o}", mode)
        answers[f"{mode:o}"] += [told(os.access, f"{folder}/d{mode:o}", bits) for bits in range(8)]
    new = os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT, 0o400)  # a new file's bits are for the next who opens it
    os.write(new, b"written")
    answers["open"] = [told(os.open, f"{folder}/new", os.O_WRONLY), told(os.open, f"{folder}/new", os.O_RDONLY)]
    os.close(new)
    answers["new"] = [told(os.open, f"{folder}/new", os.O_WRONLY), open(f"{folder}/new").read()]
    answers["renamed"] = [os.rename(f"{folder}/new", f"{folder}/f0"), told(os.unlink, f"{folder}/f0")]
    return answers


if os.geteuid() == 0:
    os.mkdir(f"{mounted}/root")
    asked(f"{mounted}/root")  # imports everything: another user may not be able to
    os.setgid(%(nobody)d)
    os.setuid(%(nobody)d)
print(json.dumps([asked(mounted), asked(disk)]))
""" % {"nobody": NOBODY}  # noqa: UP031  # braces are many in it


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may reach; pytest's own are for who runs it."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o777)
        for name in ("mounted", "disk"):
            (Path(made) / name).mkdir()
            (Path(made) / name).chmod(0o777)
        yield Path(made)


@pytest.mark.parametrize("store", ["datastore", "gcs"])
def test_bits_bind_who_is_not_root_as_on_a_disk(store: str, folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", ASKED, store, str(folder / "mounted"), str(folder / "disk")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mounted, disk = json.loads(done.stdout)
    assert mounted == disk
    assert disk["0"][0] == [errno.EACCES, "f0"]
    assert disk["600"][0] == "opened"


def test_root_is_let_in_everywhere() -> None:
    assert permissions.allow(0o100000, os.R_OK | os.W_OK, root=True)
    assert not permissions.allow(0o100666, os.X_OK, root=True)
    assert permissions.allow(0o100001, os.X_OK, root=True)
    assert permissions.allow(0o040000, os.X_OK, root=True)


def test_the_bits_do_not_bind_who_opens_a_volume_itself(project: Path) -> None:
    volume = make_volume(settings.MountSettings(path="uploads", name="uploads"), str(project))
    volume.open(("a",), os.O_WRONLY | os.O_CREAT, 0).close()
    volume.open(("a",), os.O_RDWR).close()
    with pytest.raises(PermissionError, match="Permission denied: 'a'"):
        volume.open(("a",), os.O_RDWR, checked=True)
