"""Replacing Python's functions, putting them back, and what it costs."""

import builtins
import importlib
import inspect
import io
import os
import posix
import subprocess
import sys
import textwrap
import time
import timeit
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaeport.fs import native
from gaeport.fs.patching import calls, patch
from tests.fs.memory_volume import MemoryVolume

EARLY = """
from os import open as os_open, stat
from io import open as io_open
from posix import unlink
import os

bare = open

class Early:
    scan = staticmethod(os.scandir)
    direct = open
    def method(self, opener=open, *, remover=os.remove):
        return opener, remover

def function(path, reader=open):
    with reader(path) as file:
        return file.read()
"""


@pytest.fixture
def early(application: Path) -> Iterator[types.ModuleType]:
    """A module that took references before the functions are replaced."""
    module = types.ModuleType("early_module")
    sys.modules["early_module"] = module
    exec(EARLY, module.__dict__)
    yield module
    del sys.modules["early_module"]


def snapshot() -> dict[tuple[str, str], int]:
    modules = (os, posix, io, builtins, sys.modules["_io"], sys.modules["tempfile"], sys.modules["shutil"])
    return {(module.__name__, key): id(value) for module in modules for key, value in list(vars(module).items())}


def test_uninstalling_restores_every_object_exactly(early: types.ModuleType) -> None:
    import bz2
    import shutil
    import tarfile
    import tempfile

    before = snapshot(), dict(vars(early)), dict(vars(early.Early)), early.function.__defaults__
    sets = [set(getattr(os, name)) for name in patch._SETS]
    closer = tempfile._TemporaryFileCloser
    remover = closer.cleanup if hasattr(closer, "cleanup") else closer.close
    early_before = bz2._builtin_open, tarfile.bltn_open, remover.__defaults__
    assert native.unlink in early_before[2]
    patch.install()
    try:
        assert snapshot() != before[0]
        assert shutil.os.stat.func is calls.stat
        assert os.unlink in remover.__defaults__
    finally:
        patch.uninstall()
    assert snapshot() == before[0]
    assert dict(vars(early)) == before[1]
    assert dict(vars(early.Early)) == before[2]
    assert vars(early.Early)["scan"] is before[2]["scan"]
    assert early.function.__defaults__ == before[3]
    assert [set(getattr(os, name)) for name in patch._SETS] == sets
    assert (bz2._builtin_open, tarfile.bltn_open, remover.__defaults__) == early_before


def test_references_taken_early_reach_the_mount(early: types.ModuleType, mounted: Path) -> None:
    (mounted / "x").write_text("found")
    with early.io_open(mounted / "x") as file:
        assert file.read() == "found"
    assert early.function(mounted / "x") == "found"
    assert early.stat(mounted / "x").st_size == 5
    assert early.Early().direct is open
    assert [entry.name for entry in early.Early().scan(mounted)] == ["x"]
    assert early.Early().method() == (open, os.remove)
    os.close(early.os_open(mounted / "x", os.O_RDONLY))
    early.unlink(mounted / "x")
    assert os.listdir(mounted) == []


def test_modules_loaded_while_installed_are_put_back_too(application: Path) -> None:
    patch.install()
    module = types.ModuleType("late_module")
    sys.modules["late_module"] = module
    try:
        exec("from os import stat, open as os_open\nkeep = open\nclass Late:\n    read = open", module.__dict__)
        assert module.keep is open
        assert module.Late().read(__file__, "rb").close() is None, "it is no method, as open is none"
    finally:
        patch.uninstall()
        del sys.modules["late_module"]
    assert module.stat is native.stat
    assert module.os_open is native.os_open
    assert module.keep is native.open
    assert vars(module.Late)["read"] is native.open


def test_the_functions_keep_names_and_arguments() -> None:
    for original, replacement in patch.replacements():
        if isinstance(replacement, type):
            continue
        assert replacement.__name__ == original.__name__
        try:
            expected = inspect.signature(original)
        except ValueError:
            continue
        found = inspect.signature(replacement)
        shape = [(p.name, p.kind) for p in found.parameters.values()]
        if shape and shape[-1][1] is inspect.Parameter.VAR_KEYWORD:
            continue
        assert shape == [(p.name, p.kind) for p in expected.parameters.values()], original


def test_code_is_not_imported_from_a_mount(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mounted / "evil.py").write_text("raise AssertionError('it ran')")
    (mounted / "evil_package").mkdir()
    (mounted / "evil_package" / "__init__.py").write_text("raise AssertionError('it ran')")
    monkeypatch.syspath_prepend(str(mounted))
    for name in ("evil", "evil_package"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
    with pytest.raises(FileNotFoundError):
        io.open_code(str(mounted / "evil.py")).close()


def test_shipped_code_in_a_mounted_folder_is_imported_from_the_disk(
    application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaeport.fs import mounts

    folder = application / "plugins"
    folder.mkdir()
    (folder / "shipped_plugin.py").write_text("answer = 42")
    volume = MemoryVolume(str(folder))
    mounts.attach(str(folder), volume)
    (folder / "shipped_plugin.py").write_text("answer = 'uploaded'")
    monkeypatch.syspath_prepend(str(folder))
    try:
        assert importlib.import_module("shipped_plugin").answer == 42
    finally:
        sys.modules.pop("shipped_plugin", None)
    assert list(volume.root.children) == ["shipped_plugin.py"], "no bytecode is written into the mount"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_commits_what_is_open_when_it_ends_and_before_it_forks(tmp_path: Path) -> None:
    script = f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parents[3])!r})
        from gaeport import settings
        settings.configure(root={str(tmp_path)!r}, data=":memory:")
        from gaeport.fs import mounts
        from tests.fs.memory_volume import MemoryVolume
        import atexit
        volume = MemoryVolume({str(tmp_path / "m")!r})
        atexit.register(lambda: print(volume.root.children["log"].committed, flush=True))
        mounts.attach({str(tmp_path / "m")!r}, volume)
        fd = os.open({str(tmp_path / "m" / "fd")!r}, os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"before the fork")
        if os.fork() == 0:
            print(volume.root.children["fd"].committed, flush=True)
            os._exit(0)
        os.wait()
        log = open({str(tmp_path / "m" / "log")!r}, "a")
        log.write("never flushed")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "b'before the fork'\nb'never flushed'\n"
    assert done.stderr == ""


def cost(function: Callable[[], object]) -> float:
    """Seconds of this thread's own time, undisturbed."""
    return min(timeit.repeat(function, number=300, repeat=15, timer=time.thread_time)) / 300


@pytest.mark.parametrize("name", ["stat", "open", "exists", "listdir"])
def test_a_path_outside_every_mount_costs_at_most_two_microseconds_more(mounted: Path, beside: Path, name: str) -> None:
    path = str(beside / "file")
    (beside / "file").write_text("x")
    folder = str(beside)

    def exists(function: Callable[[str], object]) -> bool:
        try:
            function(path)
        except OSError:
            return False
        return True

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "stat": (lambda: native.stat(path), lambda: os.stat(path)),
        "exists": (lambda: exists(native.stat), lambda: exists(os.stat)),
        "open": (lambda: native.open(path, "rb", 0).close(), lambda: open(path, "rb", 0).close()),
        "listdir": (lambda: native.listdir(folder), lambda: os.listdir(folder)),
    }
    plain, patched = pairs[name]
    extra = min(cost(patched) - cost(plain) for _ in range(3))
    print(f"{name}: {extra * 1e9:.0f} ns more")  # noqa: T201
    assert extra < 2e-6
