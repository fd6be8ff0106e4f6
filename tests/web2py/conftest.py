"""web2py as its users have it: a tree, with applications of our own in it, made into a project by `gaeport new`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webtest import Form, TestApp, TestResponse

from tests.devserver.serving import Served, run, serving
from tests.servers import Server
from tests.web2py.browser import browser

HERE = Path(__file__).parent
PASSWORD = "the secret of the admin"

NO_TREE = (
    "web2py is on no package index: GAEPORT_WEB2PY names its tree (git clone --recursive "
    "https://github.com/web2py/web2py)"
)


@pytest.fixture(scope="session")
def tree() -> Path:
    """web2py's tree, as its repository has it."""
    named = os.environ.get("GAEPORT_WEB2PY")
    if not named:
        pytest.skip(NO_TREE)
    return Path(named)


@pytest.fixture(scope="session")
def project(tree: Path, memcached_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `gaeport new` makes of the tree with the applications `shop` and `kept` in it."""
    source = tmp_path_factory.mktemp("source") / "web2py"
    shutil.copytree(tree, source, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    for name in ("shop", "kept"):
        app = source / "applications" / name
        shutil.copytree(source / "applications" / "welcome", app, ignore=shutil.ignore_patterns("models"))
        shutil.copytree(HERE / name, app, dirs_exist_ok=True)
        model = app / "models" / "db.py"
        model.write_text(model.read_text().replace("memcached://MEMCACHED", memcached_server.url))
    folder = tmp_path_factory.mktemp("project") / "site"
    done = run(source, "new", str(folder), "--web2py", str(source))
    assert done.returncode == 0, done.stderr
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


@pytest.fixture
def member(visitor: Callable[[], TestApp], request: pytest.FixtureRequest) -> TestApp:
    """A browser whose user has registered with the shop and is logged in."""
    user = visitor()
    register(user, "shop", f"{request.node.name.encode().hex()[:40]}@example.com")
    return user


def form_with(page: TestResponse, field: str) -> Form:
    """Return the form of a page that has a field of that name."""
    return next(form for form in page.forms.values() if field in form.fields)


def register(user: TestApp, app: str, email: str, password: str = "Pa55word!") -> None:
    """Register as a visitor does; web2py logs the new user in."""
    form = form_with(user.get(f"/{app}/default/user/register"), "first_name")
    form["first_name"], form["last_name"], form["email"] = "Ada", "Byron", email
    form["password"] = form["password_two"] = password
    answer = form.submit()
    assert answer.status_int == 303, answer.text


def log_in(user: TestApp, app: str, email: str, password: str = "Pa55word!") -> bool:
    """Log in as a visitor does; tell whether it succeeded."""
    form = form_with(user.get(f"/{app}/default/user/login"), "password")
    form["email"], form["password"] = email, password
    form.submit()
    return "logout" in user.get(f"/{app}/default/user/profile", status="*").text


def set_admin_password(project: Path, port: int) -> None:
    """Do what docs/web2py.md says."""
    code = f"from gluon.main import save_password; save_password({PASSWORD!r}, {port})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=project / "web2py", check=True)
