"""Which store `gaeport.blobs.store` gives in each environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from gaeport import blobs, settings
from gaeport.blobs.cloud import CloudStore
from gaeport.blobs.folder import FolderStore
from tests.blobs.test_contract import put


def _store(bucket: str | None, prefix: str = "") -> blobs.BlobStore:
    found = blobs.store(bucket, prefix)
    assert found is not None
    return found


def test_embedded_blobs_lie_in_the_data_folder(tmp_path: Path) -> None:
    settings.configure(root=tmp_path)
    put(_store("a-bucket", "p/"), "a", b"x")
    assert _store(None, "p/").read("a", 0, 1) == b"x"
    assert [file.read_bytes() for file in (tmp_path / ".gaeport" / "blobs").rglob("*") if file.is_file()] == [b"x"]


def test_in_memory_all_stores_share_their_blobs_until_the_settings_change() -> None:
    settings.configure(data=":memory:")
    put(_store(None), "a", b"x")
    assert _store("another").exists("a")
    settings.configure(data=":memory:")
    assert not _store(None).exists("a")


def test_full_synchronisation_reaches_the_folder(tmp_path: Path) -> None:
    settings.configure(root=tmp_path, synchronous="full")
    store = blobs.store(None)
    assert isinstance(store, FolderStore)
    assert store._sync


def test_production_has_the_bucket_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.configure(data=":memory:")
    monkeypatch.setenv("GAE_ENV", "standard")
    assert isinstance(blobs.store("pictures"), CloudStore)
    assert blobs.store(None) is None


def test_a_rehearsal_on_an_emulator_never_reaches_the_real_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.configure(data=":memory:")
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    assert blobs.store("pictures") is None
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    assert isinstance(blobs.store("pictures"), CloudStore)


def test_making_any_store_imports_nothing_of_googles() -> None:
    code = (
        "import os, sys\nfrom gaeport import blobs\nblobs.store('pictures')\n"
        "os.environ['GAE_ENV'] = 'standard'\nblobs.store('pictures')\n"
        "sys.exit(any(name.split('.')[0] in ('google', 'grpc', 'requests') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
