"""`gaeport serve`, as a user runs it."""

import os
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.devserver.serving import Answer, run, serving, write_app

APP = """
import json, os, tempfile, time
from pathlib import Path
from urllib.parse import parse_qs

def app(environ, start_response):
    action = environ["PATH_INFO"].strip("/") or "hello"
    try:
        body = globals()["do_" + action](environ)
    except OSError as error:
        body = f"{type(error).__name__} {error}"
    body = body.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

def do_hello(environ):
    return "hello"

def do_pid(environ):
    return str(os.getpid())

def do_environ(environ):
    return json.dumps({**os.environ, **{k: str(v) for k, v in environ.items()}})

def do_upload(environ):
    with open("uploads/list.txt", "a") as file:
        file.write("line\\n")
    return Path("uploads/list.txt").read_text()

def do_outside(environ):
    with open("other/list.txt", "w") as file:
        file.write("lost")

def do_temporary(environ):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("kept a while")
        file.seek(0)
        return file.read()

def do_slow(environ):
    print("slow begins", flush=True)
    time.sleep(1.5)
    return "slow but whole"

def do_fail(environ):
    raise ValueError("the application's own mistake")
"""
MOUNT = '[[mount]]\npath = "uploads"\n'


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = write_app(tmp_path / "app", APP, toml=MOUNT)
    (folder / "other").mkdir()
    return folder


def test_a_request_is_answered_and_gets_a_line_with_its_calls_and_their_price(app: Path) -> None:
    with serving(app) as served:
        assert served.get("/?q=1").text == "hello"
        line = served.wait_for(r"^GET /\?q=1 ")
        assert line.string.split()[2:] == ["200", line.string.split()[3], "ms", "0", "calls", "$0.0000000"]
        assert served.get("/upload").text == "line\n"
        found = served.wait_for(r"^GET /upload 200 \d+ ms (\d+) calls \$(0\.\d{7})$")
        assert int(found[1]) > 0
        assert float(found[2]) > 0


def test_what_is_written_in_a_mount_stays_out_of_the_folder_and_outlives_the_server(app: Path) -> None:
    with serving(app) as served:
        served.get("/upload")
    assert not (app / "uploads").exists()
    with serving(app) as served:
        assert served.get("/upload").text == "line\nline\n"


def test_a_write_outside_the_mounts_is_refused_with_the_line_that_would_allow_it(app: Path) -> None:
    with serving(app) as served:
        answer = served.get("/outside").text
    assert "[Errno 30] Read-only file system" in answer
    assert 'add to gaeport.toml:\n[[mount]]\npath = "other"\nrefused: ' in answer
    assert "'other/list.txt'" in answer


def test_the_temporary_folder_can_be_written(app: Path) -> None:
    with serving(app) as served:
        assert served.get("/temporary").text == "kept a while"


def test_the_application_is_imported_under_the_same_rules(tmp_path: Path) -> None:
    source = "open('state.txt', 'w')\n"
    write_app(tmp_path, source)
    done = run(tmp_path, "serve", "--port", "0")
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert '[[mount]]\npath = "data"' in done.stderr


def test_app_engines_variables_are_set_and_gae_env_is_not(app: Path) -> None:
    (app / "app.yaml").write_text("runtime: python314\nservice: shop\nenv_variables:\n  COLOUR: red\n  SIZE: 3\n")
    with serving(app, environment={"SIZE": "from the shell"}) as served:
        seen = served.get("/environ", {"X-Appengine-Cron": "true", "X_Appengine_QueueName": "q"}).text
    assert '"GAE_SERVICE": "shop"' in seen
    assert '"GAE_RUNTIME": "python314"' in seen
    assert f'"PORT": "{served.url.rsplit(":", 1)[1]}"' in seen
    assert '"COLOUR": "red"' in seen
    assert '"SIZE": "from the shell"' in seen
    assert "GAE_ENV" not in seen
    assert "APPENGINE" not in seen


def test_the_warm_up_request_is_answered(app: Path) -> None:
    source = "def app(environ, start):\n    start('404 Not Found', [])\n    return [b'?']\n"
    write_app(app, source)
    with serving(app) as served:
        assert served.get("/_ah/warmup").status == 200
        assert served.get("/elsewhere").status == 404


def test_an_exception_of_the_application_is_a_500_and_the_server_goes_on(app: Path) -> None:
    with serving(app) as served:
        assert served.get("/fail").status == 500
        served.wait_for("the application's own mistake")
        served.wait_for(r"^GET /fail 500 ")
        assert served.get("/").status == 200


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (signal.SIGTERM, []),
        (signal.SIGTERM, ["--workers", "2"]),
        (signal.SIGTERM, ["--server", "gunicorn"]),  # its SIGINT is a quick stop, which cuts requests off
        (signal.SIGINT, []),
        (signal.SIGINT, ["--workers", "2"]),
    ],
)
def test_a_signal_stops_it_after_the_running_request(app: Path, number: int, arguments: list[str]) -> None:
    with serving(app, *arguments) as served:
        answers: list[Answer] = []
        client = threading.Thread(target=lambda: answers.append(served.get("/slow")))
        client.start()
        served.wait_for("slow begins")
        assert served.stop(number) == 0
        client.join()
    assert answers[0].text == "slow but whole"
    assert "Traceback" not in served.output


def test_ctrl_c_stops_all_processes_of_the_terminal_at_once(app: Path) -> None:
    with serving(app, "--workers", "2") as served:
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.end() == 0
    assert "Traceback" not in served.output


@pytest.mark.parametrize("server", ["waitress", "gunicorn"])
def test_a_killed_worker_is_replaced_and_nothing_is_lost(app: Path, server: str) -> None:
    with serving(app, "--workers", "2", "--server", server) as served:
        served.get("/upload")
        for _ in range(2):
            pid = int(served.get("/pid").text)
            assert pid != served.process.pid
            os.kill(pid, signal.SIGKILL)
            served.wait_for(f"{pid}.* (killed by|was sent) SIGKILL")
        assert served.get("/upload").text == "line\nline\n"
        assert served.stop() == 0


def test_workers_end_when_their_parent_is_killed(app: Path) -> None:
    with serving(app, "--workers", "2") as served:
        served.process.kill()
        served.end()  # returns when the last process that holds its output has gone


def test_a_port_in_use_is_one_clear_line(app: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(app, "serve", "--port", port)
    assert done.returncode == 2
    assert done.stderr == f"gaeport: port {port} of 127.0.0.1 is in use; choose another with --port\n"
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"], ["--server", "gunicorn"]])
def test_an_application_that_cannot_be_loaded_ends_it_with_the_reason(app: Path, arguments: list[str]) -> None:
    done = run(app, "serve", "--port", "0", "--app", "shop:shop", *arguments)
    assert done.returncode == 2
    assert done.stderr.count("gaeport: the application 'shop:shop'") == 1
    assert "has no 'shop'; it has app" in done.stderr
    assert "Traceback" not in done.stderr
    assert "serving on" not in done.stdout


def test_reload_serves_the_changed_source_and_waits_out_a_broken_one(app: Path) -> None:
    source = (app / "shop.py").read_text()
    with serving(app, "--reload") as served:
        assert served.get("/").text == "hello"
        (app / "shop.py").write_text("(")
        served.wait_for("shop.py changed")
        served.wait_for("was never closed")
        served.wait_for("waiting for a change")
        (app / "shop.py").write_text(source.replace('return "hello"', 'return "hello again"'))
        served.wait_until_ready()
        assert served.get("/").text == "hello again"
        assert served.stop() == 0


def test_reload_reads_a_changed_gaeport_toml(app: Path) -> None:
    with serving(app, "--reload") as served:
        (app / "gaeport.toml").write_text('app = "shop:app"\n[[mount]]\npath = "other"\n')
        served.wait_until_ready()
        assert served.get("/outside").status == 500  # it returns None: the write itself went through
        assert "[Errno 30]" in served.get("/upload").text or "[Errno 2]" in served.get("/upload").text
    assert not list((app / "other").iterdir())


def test_latency_is_added_to_each_call(app: Path) -> None:
    with serving(app, "--latency", "40") as served:
        served.get("/upload")
        found = served.wait_for(r"^GET /upload 200 (\d+) ms (\d+) calls")
    assert int(found[1]) >= 40 * int(found[2])


def test_mains_application_is_served_where_gaeport_toml_names_none(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'from main.py']\n"
    )
    with serving(tmp_path) as served:
        assert served.get("/").text == "from main.py"


def test_in_memory_data_leaves_nothing_behind(app: Path) -> None:
    before = sorted(path.name for path in app.rglob("*"))
    with serving(app, environment={"GAEPORT_DATA": ":memory:"}) as served:
        assert served.get("/upload").text == "line\n"
    assert sorted(path.name for path in app.rglob("*")) == before


def test_a_settings_file_elsewhere_is_found_from_any_folder(app: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    environment = {"GAEPORT_CONFIG": "../app/gaeport.toml"}
    with serving(tmp_path / "elsewhere", environment=environment) as served:
        assert served.get("/upload").text == "line\n"


@pytest.mark.emulator
@pytest.mark.parametrize("kind", ["firestore", "datastore"])
def test_googles_own_emulator_is_started_used_and_stopped(app: Path, kind: str) -> None:
    with serving(app, "--emulator", kind, "--workers", "2") as served:
        found = re.search(r"data in the emulator at (\S+):(\d+)", served.output)
        assert found
        assert served.get("/upload").text == "line\n"
        os.kill(int(served.get("/pid").text), signal.SIGKILL)
        assert served.get("/upload").text == "line\nline\n"
        assert served.stop() == 0
    assert not list((app / ".gaeport").glob("*.sqlite3*"))  # statistics are kept there, data is not
    with socket.socket() as probe:
        assert probe.connect_ex((found[1], int(found[2]))) != 0
