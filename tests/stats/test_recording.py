"""Which requests are recorded, what of them, and where it is written."""

import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from gaeport import kv, settings, wsgi
from gaeport.datastore import client as connect
from gaeport.datastore import ndb_client, wire
from gaeport.stats import reading, recording
from gaeport.stats.sample import Sample
from tests.stats.build import make

Start = Callable[..., Any]


def configure(folder: Path, data: str = settings.MEMORY, **more: Any) -> None:
    settings.configure(root=folder, data=data, **more)


def lookup(name: str) -> None:
    here = connect()
    here.lookup([here.key("Note", name)])


def serve(app: Callable[..., Any], path: str = "/", **more: Any) -> Any:
    return TestApp(wsgi.wrap(app)).get(path, expect_errors=True, **more)


def calling(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """An application whose page makes three calls, two of them from one line."""
    for name in ("a", "b"):
        lookup(name)
    here = connect()
    mutation = wire.Mutation()
    mutation.upsert.key.CopyFrom(here.key("Note", "c"))
    here.commit([mutation])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def samples() -> list[Sample]:
    return reading.read(1).samples


def test_a_request_is_recorded_with_each_call(tmp_path: Path) -> None:
    configure(tmp_path)
    serve(calling, "/notes/17?token=secret")
    (sample,) = samples()
    assert (sample.method, sample.path, sample.route, sample.status) == ("GET", "/notes/17", "/notes/*", 200)
    assert "secret" not in str(sample)
    assert [call.name for call in sample.kept] == ["Lookup", "Lookup", "Commit"]
    assert {call.kind for call in sample.kept} == {"Note"}
    assert sample.calls == 3
    assert sample.price == pytest.approx((2 * 0.06 + 0.18) / 100_000)
    for call in sample.kept:
        assert call.number == 1
        assert call.sent > 10
        assert 0 <= call.start <= sample.seconds * 1000
        assert 0 < call.ms <= sample.seconds * 1000
        assert not call.failed
    first, second, third = (sample.line_of(call) for call in sample.kept)
    assert first == second
    assert first is not None
    assert third is not None
    assert first[0].endswith("test_recording.py")
    assert (first[2], third[2]) == ("lookup", "calling")


def test_calls_through_ndb_name_the_applications_line(tmp_path: Path) -> None:
    from google.cloud import ndb

    # NDB knows the models of a process by their kinds: the example has a Note.
    class Remark(ndb.Model):  # type: ignore[misc]
        text = ndb.StringProperty()

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        with ndb_client().context():
            Remark(text="x").put()
            assert Remark.query(Remark.text == "x").get() is not None
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    for latency in (0.0, 1.0):  # with latency, calls are made in other threads
        configure(tmp_path, latency_ms=latency)
        serve(app)
        (sample,) = samples()
        assert sample.calls >= 2
        for call in sample.kept:
            line = sample.line_of(call)
            assert line is not None
            assert line[0].endswith("test_recording.py")
            assert call.kind == "Remark"


def test_calls_over_grpc_name_the_applications_line() -> None:
    from gaeport import meter, testing

    with testing.datastore(server=True) as store, meter.trace() as trace:
        lookup("a")
        list(store.google_client().query(kind="Note").fetch())
    assert [(call.name, call.about.kind) for call in trace.kept] == [("Lookup", "Note"), ("RunQuery", "Note")]
    names = [call.places[0][0].co_name for call in trace.kept]
    assert names == ["lookup", "test_calls_over_grpc_name_the_applications_line"]
    assert all(call.about.sent > 10 and call.seconds > 0 for call in trace.kept)


def test_samples_in_memory_take_so_much_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaeport.stats import sinks

    configure(tmp_path)
    monkeypatch.setattr(sinks, "_MOST_BYTES", 5_000)
    for _ in range(100):
        sinks.write(make())
    assert 1 < len(samples()) < 20
    assert sum(len(line) for line in sinks.recent()) <= 5_000


def test_key_value_stores_and_blobs_are_recorded(tmp_path: Path) -> None:
    from gaeport.blobs.memory import MemoryStore

    configure(tmp_path)
    cache, blobs = kv.connect("memory://", namespace="shop"), MemoryStore()

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        cache.set("key", b"12345")
        cache.get_many(["key", "other"])
        writer = blobs.create("name")
        writer.write(b"123")
        writer.close()
        blobs.read("name", 0, 10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    serve(app)
    (sample,) = samples()
    found = [(call.service, call.name, call.number, call.sent >= 3, call.received >= 3) for call in sample.kept]
    assert found == [
        ("kv", "kv.set", 1, True, False),
        ("kv", "kv.get_many", 2, False, True),
        ("storage", "WriteBlob", 1, True, False),
        ("storage", "ReadBlob", 1, False, True),
    ]
    assert sample.kept[0].kind == "shop"
    assert sample.price == pytest.approx(0.54 / 100_000)


def test_prices_are_settings(tmp_path: Path) -> None:
    configure(tmp_path, prices={"datastore_read": 1000.0, "datastore_write": 0.0})
    serve(calling)
    assert samples()[0].price == pytest.approx(0.02)


def test_calls_made_while_the_answer_is_sent_count_and_those_after_it_do_not(tmp_path: Path) -> None:
    configure(tmp_path)

    class Body:
        def __iter__(self) -> Any:
            for name in ("a", "b"):
                lookup(name)
                yield name.encode()

        def close(self) -> None:
            lookup("c")

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body()

    serve(app)
    lookup("outside")
    assert [sample.calls for sample in samples()] == [3]


def test_a_request_that_the_server_never_closes_does_not_count_the_next_ones_calls(tmp_path: Path) -> None:
    configure(tmp_path)

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"a", b"b", b"c"])

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/abandoned"}
    abandoned = wsgi.wrap(app)(environ, lambda *_: None)
    serve(calling)
    assert [sample.calls for sample in samples()] == [3]
    for part in abandoned:
        assert part
    assert sorted(sample.calls for sample in samples()) == [0, 3]


def test_an_exception_is_a_500(tmp_path: Path) -> None:
    configure(tmp_path, tickets={"line": "off", "entity": False})

    def app(environ: dict[str, Any], start_response: Start) -> Any:
        lookup("a")
        raise ZeroDivisionError

    try:
        serve(app)
    except ZeroDivisionError:
        pass
    assert [(sample.status, sample.calls) for sample in samples()] == [(500, 1)]


def test_a_refused_call_is_marked(tmp_path: Path) -> None:
    from gaeport.errors import DatastoreError

    configure(tmp_path)

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        here = connect()
        mutation = wire.Mutation()
        mutation.update.key.CopyFrom(here.key("Note", "missing"))
        with pytest.raises(DatastoreError):
            here.commit([mutation])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    serve(app)
    assert [call.failed for call in samples()[0].kept] == [True]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/notes", "/notes"),
        ("/notes/12345/edit", "/notes/*/edit"),
        ("/u/550e8400-e29b-41d4-a716-446655440000", "/u/*"),
        ("/k/ag1zfnNob3AxMjM0NTY3OHIL", "/k/*"),
        ("/articles/a-long-title-without-any-number", "/articles/a-long-title-without-any-number"),
        ("/caf%C3%A9", "/café"),
    ],
)
def test_requests_are_grouped_by_route(tmp_path: Path, path: str, route: str) -> None:
    configure(tmp_path)
    serve(calling, path)
    assert samples()[0].route == route


def test_flasks_and_bottles_patterns_and_the_applications_own_word_are_routes(tmp_path: Path) -> None:
    import bottle
    import flask

    configure(tmp_path)
    shop = flask.Flask("shop")
    shop.add_url_rule("/<name>/books", view_func=lambda name: name)
    serve(shop, "/jane/books")
    library = bottle.Bottle()
    library.route("/<name>/films", callback=lambda name: name)
    serve(library, "/jane/films")

    def own(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        environ["gaeport.route"] = "poems"
        return calling(environ, start_response)

    serve(own, "/anything")
    assert {sample.route for sample in samples()} == {"/<name>/books", "/<name>/films", "poems"}


def test_a_share_of_the_requests_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, stats={"sample": 0.25})
    monkeypatch.setattr(recording, "_random", random.Random(1))
    site = TestApp(wsgi.wrap(calling))
    for _ in range(80):
        site.get("/")
    assert 10 <= len(samples()) <= 30
    assert {sample.share for sample in samples()} == {0.25}


@pytest.mark.parametrize("stats", [{"sample": 0.0}, {"sample": 0}])
def test_none_is_recorded_by_choice(tmp_path: Path, stats: dict[str, Any]) -> None:
    configure(tmp_path, stats=stats)
    serve(calling)
    assert samples() == []


def test_a_minute_has_at_most_so_many_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, stats={"per_minute": 3})
    now = 600.0
    monkeypatch.setattr(recording, "_allowance", recording._Allowance())
    monkeypatch.setattr(recording.time, "monotonic", lambda: now)
    for _ in range(5):
        serve(calling)
    assert len(samples()) == 3
    now += 60
    serve(calling)
    assert len(samples()) == 4


def test_many_requests_at_once_are_told_apart(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    configure(tmp_path)

    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        for number in range(int(environ["PATH_INFO"][1:])):
            lookup(str(number))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    wrapped = wsgi.wrap(app)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda count: TestApp(wrapped).get(f"/{count}"), list(range(6)) * 4))
    assert sorted(sample.calls for sample in samples()) == sorted(list(range(6)) * 4)
    assert all(sample.path == f"/{sample.calls}" for sample in samples())


def test_too_many_calls_are_warned_of_with_the_line_that_made_one_too_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for share in (1.0, 0.0):
        caplog.clear()
        configure(tmp_path, limits={"calls_per_request": 2}, stats={"sample": share})
        with caplog.at_level(logging.WARNING, "gaeport.stats"):
            serve(calling, "/notes%0aforged")
        (record,) = (record for record in caplog.records if record.name == "gaeport.stats")
        text = record.getMessage()
        assert text.startswith("GET /notes\\nforged made 3 calls (2 Lookup, 1 Commit); [limits] calls_per_request is 2")
        assert "test_recording.py" in text
        assert text.endswith("in calling")


def test_as_many_calls_as_allowed_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for limit in (3, 0):
        configure(tmp_path, limits={"calls_per_request": limit})
        with caplog.at_level(logging.WARNING, "gaeport.stats"):
            serve(calling)
    assert not [record for record in caplog.records if record.name == "gaeport.stats"]


def test_processes_share_the_data_folders_samples(tmp_path: Path) -> None:
    script = """
import sys
from gaeport import settings
from tests.stats.test_recording import calling, configure, serve
configure(sys.argv[1], data=".gaeport")
for _ in range(50):
    serve(calling, "/" + "x" * 300)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command) as first, subprocess.Popen(command) as second:
        assert (first.wait(), second.wait()) == (0, 0)
    configure(tmp_path, data=".gaeport")
    serve(calling)
    found = samples()
    assert len(found) == 101
    assert len({sample.instance for sample in found}) == 3
    assert [sample.at for sample in found] == sorted((sample.at for sample in found), reverse=True)


def test_the_data_folder_keeps_so_many_and_no_more(tmp_path: Path) -> None:
    configure(tmp_path, data=".gaeport", stats={"keep": 100, "per_minute": 10_000})
    site = TestApp(wsgi.wrap(calling))
    for _ in range(500):
        site.get("/")
    assert len(samples()) == 100
    files = list((tmp_path / ".gaeport" / "stats").iterdir())
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 100 * 1000 * 2 + 128 * 1000


def test_lines_that_were_cut_off_or_of_another_release_are_left_out(tmp_path: Path) -> None:
    configure(tmp_path, data=".gaeport")
    serve(calling)
    file = tmp_path / ".gaeport" / "stats" / "samples.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-30] + b'\n{"id": 5}\nnot json\n\xff\n' + whole)
    assert len(samples()) == 1


def test_a_request_does_not_fail_where_samples_cannot_be_written(tmp_path: Path) -> None:
    configure(tmp_path, data=".gaeport")
    (tmp_path / ".gaeport").mkdir()
    (tmp_path / ".gaeport" / "stats").write_text("in the way")
    assert serve(calling).text == "done"


def test_on_app_engine_a_sample_is_one_structured_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    monkeypatch.setenv("GAE_ENV", "standard")
    monkeypatch.setenv("GAE_INSTANCE", "instance-7")
    monkeypatch.setenv("GAE_SERVICE", "default")
    monkeypatch.setenv("GAE_VERSION", "v3")
    configure(tmp_path, project="shop", stats={"sample": 1.0})
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    serve(app, "/a%0ab", headers={"X-Cloud-Trace-Context": f"{trace}/123;o=1"})
    (line,) = (line for line in capsys.readouterr().out.split("\n") if "gaeport_stats" in line)
    entry = json.loads(line)
    assert entry["severity"] == "INFO"
    assert entry["message"].startswith("stats: GET ")
    assert entry["logging.googleapis.com/trace"] == f"projects/shop/traces/{trace}"
    sample = entry["gaeport_stats"]
    assert (sample["instance"], sample["version"]) == ("instance-7", "default v3")
    assert (sample["calls"], sample["status"], sample["route"]) == (0, 200, "/a\nb")


def test_in_production_one_request_in_a_hundred_is_recorded_unless_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAE_ENV", "standard")
    configure(tmp_path)
    assert recording._plan().share == 0.01


def test_a_sample_too_long_for_an_entry_is_written_without_its_last_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gaeport.stats import sinks

    monkeypatch.setenv("GAE_ENV", "standard")
    configure(tmp_path)
    sinks.write(make(calls=1000, kind="K" * 900))
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) < 250_000
    assert json.loads(line)["gaeport_stats"]["calls"] == 1000


def test_other_settings_begin_with_a_whole_minute(tmp_path: Path) -> None:
    configure(tmp_path, stats={"per_minute": 1})
    for _ in range(3):
        serve(calling)
    configure(tmp_path, stats={"per_minute": 2})
    serve(calling)
    assert len(samples()) == 1


@pytest.mark.parametrize("header", ["x" * 32 + "/1", "../../etc", "<script>", "4bf9", ""])
def test_a_trace_is_taken_only_where_it_can_be_one(tmp_path: Path, header: str) -> None:
    configure(tmp_path)
    serve(calling, headers={"X-Cloud-Trace-Context": header})
    assert samples()[0].trace in ("", "x" * 32)


def test_nothing_is_imported_of_google_to_record(tmp_path: Path) -> None:
    script = "import sys, gaeport.stats.recording; print(any(name.startswith('google') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"
