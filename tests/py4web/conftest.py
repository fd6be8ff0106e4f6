"""py4web from its package: the scaffold with tables of our own, and the dashboard, served by two processes."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import py4web
import pytest
from webtest import TestApp

from tests.devserver.serving import Served, serving
from tests.web2py.browser import browser

HERE = Path(__file__).parent
ASSETS = Path(py4web.__file__).parent / "assets"
PASSWORD = "the secret of the dashboard"

SETTINGS = """
app = "py4web.core:wsgi(apps_folder='apps', password_file='password.txt', dashboard_mode='full')"

[dal.map]
"sqlite://*" = "datastore:///{namespace}-{app}?ids=time&buffer=request"

[[mount]]
path = "apps/.service"

[[mount]]
path = "apps/*/databases"

[[mount]]
path = "apps/*/uploads"
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application's folder, as docs/py4web.md describes it."""
    from pydal.validators import CRYPT

    folder = tmp_path_factory.mktemp("py4web")
    for asset, name in (("_scaffold", "market"), ("_dashboard", "_dashboard")):
        target = folder / "apps" / name
        target.mkdir(parents=True)
        with zipfile.ZipFile(ASSETS / f"py4web.app.{asset}.zip") as archive:
            archive.extractall(target)
    (folder / "apps" / "__init__.py").touch()
    shutil.copytree(HERE / "market", folder / "apps" / "market", dirs_exist_ok=True)
    (folder / "password.txt").write_text(str(CRYPT()(PASSWORD)[0]))
    (folder / "gaeport.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="session")
def site(project: Path) -> Iterator[Served]:
    """The project, served by two processes."""
    with serving(project, "--workers", "2") as served:
        yield served


@pytest.fixture
def visitor(site: Served) -> Callable[[], TestApp]:
    """Makes browsers with cookies of their own."""
    return lambda: browser(site.url)
