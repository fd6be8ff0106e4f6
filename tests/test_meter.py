"""Counting calls and pricing them."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaeport import meter


def test_nested_blocks_count_each_call_once_each() -> None:
    with meter.measure() as outer:
        meter.record("Lookup", 0.5, datastore__read=2)
        with meter.measure() as inner:
            meter.record("Commit", 0.25, datastore__write=1, datastore__delete=0)
    assert outer.calls == {"Lookup": 1, "Commit": 1}
    assert inner.calls == {"Commit": 1}
    assert inner.units == {"datastore.write": 1}
    assert (outer.total_calls, outer.seconds) == (2, 0.75)


def test_nothing_is_counted_outside_a_block() -> None:
    with meter.measure() as counted:
        pass
    meter.record("Lookup", 1.0, datastore__read=1)
    assert counted.total_calls == 0


def test_the_price_is_that_of_the_price_list() -> None:
    with meter.measure() as counted:
        meter.record("RunQuery", 0.0, datastore__read=100_000)
        meter.record("Commit", 0.0, datastore__write=100_000, datastore__delete=100_000)
        meter.record("write", 0.0, storage__class_a=1_000, storage__class_b=1_000)
    assert counted.price == pytest.approx(0.06 + 0.18 + 0.02 + 0.005 + 0.0004)


def test_a_trace_keeps_each_call_with_the_line_that_made_it() -> None:
    with meter.trace() as trace:
        meter.record("Lookup", 0.001, about=lambda: meter.About("Note", 2, 10, 20), datastore__read=2)
        meter.record("kv.get", 0.002, failed=True)
    first, second = trace.kept
    assert (first.name, first.service, first.about.kind, first.about.number) == ("Lookup", "datastore", "Note", 2)
    assert first.price == pytest.approx(2 * 0.06 / 100_000)
    assert first.start >= trace.began - 0.001
    code, line = first.places[0]
    assert code.co_name == "test_a_trace_keeps_each_call_with_the_line_that_made_it"
    assert second.places[0][1] == line + 1
    assert (second.service, second.failed, second.price) == ("kv", True, 0)


def test_what_a_call_was_about_is_asked_only_where_calls_are_kept() -> None:
    def fail() -> meter.About:
        raise AssertionError("asked")

    meter.record("Lookup", 0.0, about=fail)
    with meter.measure() as counted:
        meter.record("Lookup", 0.0, about=fail)
    assert counted.total_calls == 1


def test_a_trace_keeps_so_many_calls_and_counts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "MAX_CALLS", 5)
    with meter.trace() as trace:
        for _ in range(8):
            meter.record("Lookup", 0.0)
    assert (len(trace.kept), trace.total_calls) == (5, 8)


def test_calls_of_another_thread_have_the_line_that_sent_them_there() -> None:
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with meter.trace() as trace, ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        context.run(meter.pin)
        pool.submit(context.run, meter.record, "Lookup", 0.0).result()
        meter.record("Lookup", 0.0)
    sent, direct = trace.kept
    assert sent.places[0][0] is direct.places[0][0]
    assert direct.places[0][1] == sent.places[0][1] + 2


def test_services_by_the_names_of_their_calls() -> None:
    names = ("Lookup", "kv.get_many", "WriteBlob", "WriteLogEntries", "CreateTask")
    assert [meter.service_of(name) for name in names] == ["datastore", "kv", "storage", "logging", "tasks"]


def test_without_application_code_the_innermost_line_of_a_package_is_named(tmp_path: Path) -> None:
    for name, body in (("outer", "    inner.work(f)\n"), ("inner", "    f()\n")):
        folder = tmp_path / "site-packages" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(f"def work(f, inner=None):\n{body}")
    loaded = {}
    for name in ("outer", "inner"):
        path = tmp_path / "site-packages" / name / "__init__.py"
        namespace: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        loaded[name] = SimpleNamespace(work=namespace["work"])
    found: list[tuple[str, int]] = []

    def called() -> None:
        found.extend((code.co_filename, line) for code, line in meter.places())

    meter._RANKS[called.__code__.co_filename] = meter._OTHER
    try:
        thread = threading.Thread(target=loaded["outer"].work, args=(called, loaded["inner"]))  # below no test runner
        thread.start()
        thread.join()
    finally:
        del meter._RANKS[called.__code__.co_filename]
    assert found == [(str(tmp_path / "site-packages" / "inner" / "__init__.py"), 2)]
