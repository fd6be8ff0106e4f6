"""Modules in mounts: imported where the mount says so, refused elsewhere."""

import importlib
import inspect
import io
import linecache
import os
import pkgutil
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import gaeport
from gaeport import settings
from gaeport.errors import ConfigurationError
from gaeport.fs import mounts
from gaeport.fs.patching import importing


@pytest.fixture(autouse=True)
def _import_state() -> Iterator[None]:
    """Put back what importing changes."""
    path, loaded, hooks = list(sys.path), set(sys.modules), list(sys.path_hooks)
    yield
    sys.path[:] = path
    mounts.unmount_all()
    assert sys.path_hooks == hooks
    for name in set(sys.modules) - loaded:
        if name.startswith("stored_"):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def code(application: Path) -> Path:
    """A mount that modules are imported from, on sys.path."""
    gaeport.mount(application / "code", import_=True)
    sys.path.insert(0, str(application / "code"))
    return application / "code"


def test_a_module_is_imported_right_after_it_was_written(code: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("stored_one")
    (code / "stored_one.py").write_text("def answer():\n    return 42\n")
    module = importlib.import_module("stored_one")
    assert module.answer() == 42
    assert module.__file__ == str(code / "stored_one.py")
    assert inspect.getsource(module.answer) == "def answer():\n    return 42\n"
    assert linecache.getline(module.__file__, 2) == "    return 42\n"
    assert os.listdir(code) == ["stored_one.py"], "no byte code is written"


def test_a_changed_module_is_reloaded(code: Path) -> None:
    (code / "stored_changing.py").write_text("value = 1")
    module = importlib.import_module("stored_changing")
    (code / "stored_changing.py").write_text("value = 2")  # the same size, in the same second
    assert importlib.reload(module).value == 2


def test_packages_and_namespaces_are_imported(code: Path) -> None:
    (code / "stored_package" / "inner").mkdir(parents=True)
    (code / "stored_package" / "__init__.py").write_text("from .inner import module")
    (code / "stored_package" / "inner" / "module.py").write_text("name = __name__")
    package = importlib.import_module("stored_package")
    assert package.module.name == "stored_package.inner.module"
    assert package.inner.__file__ is None
    assert [(found.name, found.ispkg) for found in pkgutil.iter_modules([str(code)])] == [("stored_package", True)]
    (code / "stored_package" / "late.py").write_text("")
    importlib.import_module("stored_package.late")


def test_an_error_in_a_module_names_its_file_and_line(code: Path) -> None:
    (code / "stored_broken.py").write_text("x = 1\nx +\n")
    with pytest.raises(SyntaxError) as failure:
        importlib.import_module("stored_broken")
    assert (failure.value.filename, failure.value.lineno) == (str(code / "stored_broken.py"), 2)


def test_scripts_are_run_and_read_as_code(code: Path) -> None:
    (code / "script.py").write_text("result = __name__")
    assert runpy.run_path(str(code / "script.py"))["result"] == "<run_path>"
    with io.open_code(str(code / "script.py")) as file:
        assert file.read() == b"result = __name__"


def test_a_mount_below_a_package_of_the_disk_is_found(application: Path) -> None:
    (application / "stored_applications").mkdir()
    (application / "stored_applications" / "__init__.py").write_text("")
    sys.path.insert(0, str(application))
    importlib.import_module("stored_applications")  # its folder's finder is remembered now
    gaeport.mount(application / "stored_applications" / "site" / "modules", import_=True)
    (application / "stored_applications" / "site" / "modules" / "tool.py").write_text("value = 1")
    assert importlib.import_module("stored_applications.site.modules.tool").value == 1


def test_other_mounts_are_not_imported_from(application: Path) -> None:
    gaeport.mount(application / "code", import_=True)
    gaeport.mount(application / "uploads")
    (application / "uploads" / "stored_evil.py").write_text("raise SystemExit")
    sys.path.insert(0, str(application / "uploads"))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("stored_evil")
    with pytest.raises(FileNotFoundError):
        io.open_code(str(application / "uploads" / "stored_evil.py"))  # noqa: SIM115  # it is not opened
    with pytest.raises(FileNotFoundError):
        runpy.run_path(str(application / "uploads" / "stored_evil.py"))


def test_deployed_modules_are_imported_until_they_are_replaced_or_removed(application: Path) -> None:
    (application / "code").mkdir()
    for name in ("stored_a", "stored_b"):
        (application / "code" / f"{name}.py").write_text("value = 'deployed'")
    gaeport.mount(application / "code", import_=True)
    sys.path.insert(0, str(application / "code"))
    module = importlib.import_module("stored_a")
    assert module.value == "deployed"
    (application / "code" / "stored_a.py").write_text("value = 'written'")
    assert importlib.reload(module).value == "written"
    (application / "code" / "stored_b.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("stored_b")


def test_after_unmount_the_disk_counts_again(code: Path) -> None:
    (code / "stored_gone.py").write_text("")
    importlib.import_module("stored_gone")
    gaeport.unmount(code)
    assert importing.path_hook not in sys.path_hooks
    del sys.modules["stored_gone"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("stored_gone")


def test_gaeport_toml_says_import(tmp_path: Path) -> None:
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "code"\nimport = true\n')
    assert settings.load(tmp_path / "gaeport.toml").mounts[0].import_
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "code"\nimport = "yes"\n')
    with pytest.raises(ConfigurationError, match="import = 'yes' must be true or false"):
        settings.load(tmp_path / "gaeport.toml")
    (tmp_path / "gaeport.toml").write_text('[[mount]]\npath = "code"\nimport_ = true\n')
    with pytest.raises(ConfigurationError, match=r"unknown key 'import_'; valid: .*import,"):
        settings.load(tmp_path / "gaeport.toml")


def test_the_first_thing_that_a_process_does_is_an_import_from_a_mount(tmp_path: Path) -> None:
    body = f"""
        import sys
        import gaeport
        gaeport.configure(root={str(tmp_path)!r}, data="store")
        gaeport.mount("code", import_=True)
        sys.path.insert(0, {str(tmp_path / "code")!r})
        if len(sys.argv) > 1:
            open("code/stored_first.py", "w").write("value = 1")
        import stored_first
        print(stored_first.value)
    """
    for argument in ("write", None):
        command = [sys.executable, "-c", textwrap.dedent(body), *([argument] if argument else [])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("1\n", "")
