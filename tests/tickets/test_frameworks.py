"""Flask, Django, Bottle and web2py answer exceptions themselves; they become tickets all the same."""

import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bottle
import flask
import pytest
from webtest import TestApp

from gaeport import settings
from gaeport.tickets import TicketMiddleware
from gaeport.tickets.number import parse
from gaeport.tickets.store import TicketStore

PAGE = {"paste.throw_errors": False}


def only_ticket() -> dict[str, Any]:
    (number,) = TicketStore().numbers()
    found = TicketStore().read(number.text)
    assert found is not None
    return found


@pytest.fixture
def flask_app(site: Path) -> flask.Flask:
    app = flask.Flask("shop")

    @app.post("/pay")
    def pay() -> str:
        return str(int(flask.request.form["amount"]))

    return app


def test_flask_reports_and_its_page_is_the_tickets(flask_app: flask.Flask) -> None:
    answer = TestApp(TicketMiddleware(flask_app)).post("/pay", {"amount": "much", "card": "4111"}, status=500)
    found = only_ticket()
    assert answer.text == f"Something went wrong.\nTicket {found['number']}\n"
    assert found["exceptions"][0]["type"] == "ValueError"
    assert found["request"]["form"] == ["amount", "card"]
    assert "4111" not in str(found["request"])


@pytest.mark.parametrize("key", [500, Exception, "InternalServerError"])
def test_flasks_own_error_page_stays(flask_app: flask.Flask, key: Any) -> None:
    from werkzeug.exceptions import InternalServerError

    def page(error: Exception) -> tuple[str, int]:
        return f"sorry {flask.request.environ.get('gaeport.ticket', '')}", 500

    flask_app.register_error_handler(InternalServerError if key == "InternalServerError" else key, page)
    answer = TestApp(TicketMiddleware(flask_app)).post("/pay", {"amount": "much"}, status=500)
    assert answer.text.startswith("sorry")
    if key is Exception:
        assert list(TicketStore().numbers()) == []  # the application has handled it
    else:
        assert parse(answer.text.removeprefix("sorry ")).text == only_ticket()["number"]


def test_a_blueprints_error_page_stays(site: Path) -> None:
    shop = flask.Blueprint("shop", __name__)

    @shop.get("/")
    def view() -> str:
        raise ValueError

    @shop.errorhandler(500)
    def page(error: Exception) -> tuple[str, int]:
        return "the shop is closed", 500

    app = flask.Flask("site")
    app.register_blueprint(shop)
    assert TestApp(TicketMiddleware(app)).get("/", status=500).text == "the shop is closed"
    assert only_ticket()["exceptions"][0]["type"] == "ValueError"


def test_as_text_what_flask_logs_itself_is_not_told_twice(
    flask_app: flask.Flask, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.configure(root=site, tickets={"line": "text"})
    TestApp(TicketMiddleware(flask_app)).post("/pay", {"amount": "much"}, status=500)
    said = capsys.readouterr().err
    assert f"ticket {only_ticket()['number']}: gaeport tickets show" in said
    assert said.count("Traceback") <= 1


def test_flask_in_testing_hands_the_exception_to_the_test(flask_app: flask.Flask) -> None:
    flask_app.testing = True
    with pytest.raises(ValueError, match="much"):
        TestApp(TicketMiddleware(flask_app)).post("/pay", {"amount": "much"})


def test_an_answer_of_500_without_an_exception_is_no_ticket(site: Path) -> None:
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: ("out of order", 500))
    assert TestApp(TicketMiddleware(app)).get("/", status=500).text == "out of order"
    assert list(TicketStore().numbers()) == []


@pytest.fixture
def bottle_app(site: Path) -> bottle.Bottle:
    app = bottle.Bottle()
    app.route("/", callback=lambda: 1 / 0)
    return app


def test_bottle_reports_and_its_page_is_the_tickets(bottle_app: bottle.Bottle) -> None:
    answer = TestApp(TicketMiddleware(bottle_app), lint=False).get("/", expect_errors=True, extra_environ=PAGE)
    found = only_ticket()
    assert answer.text == f"Something went wrong.\nTicket {found['number']}\n"
    assert found["exceptions"][0]["type"] == "ZeroDivisionError"


def test_bottles_own_error_page_stays(bottle_app: bottle.Bottle) -> None:
    bottle_app.error(500)(lambda error: "sorry")
    answer = TestApp(TicketMiddleware(bottle_app), lint=False).get("/", expect_errors=True, extra_environ=PAGE)
    assert answer.text == "sorry"
    assert only_ticket()["exceptions"][0]["type"] == "ZeroDivisionError"


DJANGO = """
import sys
from pathlib import Path
from django.conf import settings

settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x" * 50, LOGGING_CONFIG=None,
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [str(Path.cwd())]}])
import django
django.setup()
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def view(request):
    raise LookupError(request.POST["name"])

def own_page(request):
    return HttpResponse("own " + request.environ["gaeport.ticket"], status=500)

urlpatterns = [path("", view)]
if "handler" in sys.argv:
    handler500 = own_page

import gaeport
from gaeport import settings
from gaeport.tickets import TicketMiddleware
from gaeport.tickets.store import TicketStore
from webtest import TestApp

gaeport.configure(tickets={"line": "off", "wait_ms": 10_000})
answer = TestApp(TicketMiddleware(get_wsgi_application())).post(
    "/", {"name": "ann"}, expect_errors=True, extra_environ={"paste.throw_errors": False})
(number,) = TicketStore().numbers()
record = TicketStore().read(number.text)
assert record["exceptions"][0]["type"] == "LookupError", record
assert record["request"]["form"] == ["name"], record
print(answer.status_int, answer.text.replace(number.text, "NUMBER").strip())
"""


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", "500 Something went wrong.\nTicket NUMBER"),
        ("handler", "500 own NUMBER"),
        ("template", "500 the project's page"),
    ],
)
def test_django_reports_and_its_own_pages_stay(tmp_path: Path, argument: str, expected: str) -> None:
    pytest.importorskip("django")
    if argument == "template":
        (tmp_path / "500.html").write_text("the project's page")
    (tmp_path / "site.py").write_text(textwrap.dedent(DJANGO))
    command = [sys.executable, "-W", "ignore", str(tmp_path / "site.py"), argument]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr


@pytest.fixture
def web2py(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for web2py's gluon.restricted: its RestrictedError is raised in place of the application's."""
    module = ModuleType("gluon.restricted")

    class RestrictedError(Exception):
        logged: list[str] = []  # noqa: RUF012 (shared, as web2py's own)

        def log(self, request: Any) -> str:
            self.logged.append(request.uuid)
            return str(request.uuid)

    module.RestrictedError = RestrictedError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gluon.restricted", module)
    return module


def test_web2py_reports_what_its_own_tickets_tell(site: Path, web2py: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            try:
                exec(compile("total = 1\ntotal / 0", "applications/shop/controllers/default.py", "exec"), {})
            except ZeroDivisionError:
                raise web2py.RestrictedError("controller") from None
        except web2py.RestrictedError as error:
            error.__context__ = error.__context__ or None
            number = error.log(SimpleNamespace(uuid="shop/127.0.0.1.2026-11-22"))
        start_response("500 INTERNAL SERVER ERROR", [("Content-Type", "text/plain")])
        return [f"Ticket issued: {number}".encode()]

    wrapped = TicketMiddleware(app)
    TicketMiddleware(app)  # connecting twice is connecting once
    answer = TestApp(wrapped).get("/", status=500)
    assert answer.text == "Ticket issued: shop/127.0.0.1.2026-11-22"  # web2py's page stays
    assert web2py.RestrictedError.logged == ["shop/127.0.0.1.2026-11-22"]
    found = only_ticket()
    assert found["exceptions"][0]["type"] == "ZeroDivisionError"
    assert found["exceptions"][0]["frames"][-1]["file"] == "applications/shop/controllers/default.py"
    assert found["labels"] == {"web2py": "shop/127.0.0.1.2026-11-22"}


@pytest.mark.parametrize("own", ["its-own-uuid", None])
def test_py4web_reports_what_its_own_tickets_tell(site: Path, monkeypatch: pytest.MonkeyPatch, own: str | None) -> None:
    module = ModuleType("py4web.core")

    class ErrorLogger:
        def log(self, app_name: str, error_snapshot: Any) -> str | None:
            return own

    module.ErrorLogger = ErrorLogger  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "py4web.core", module)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            raise LookupError("no such book")
        except LookupError:
            shown = ErrorLogger().log("library", {}) or "unknown"
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [shown.encode()]

    wrapped = TicketMiddleware(app)
    TicketMiddleware(app)  # connecting twice is connecting once
    answer = TestApp(wrapped).get("/", status=500)
    found = only_ticket()
    assert found["exceptions"][0]["type"] == "LookupError"
    assert found["labels"] == {"py4web": "library"}
    assert answer.text == (own or found["number"])
