"""What samples say together."""

import pytest

from gaeport.stats import analysis
from tests.stats.build import LINES, make


def test_totals_a_route_the_one_that_took_most_time_first() -> None:
    samples = [make(seconds=0.1 * number, route="/slow", status=500 if number == 1 else 200) for number in range(1, 21)]
    samples += [make(1, seconds=0.001, route="/quick")] * 2
    slow, quick = analysis.routes(samples)
    assert (slow.route, slow.requests, slow.errors) == ("/slow", 20, 1)
    assert slow.mean == pytest.approx(1.05)
    assert slow.slow == pytest.approx(2.0)
    assert (quick.requests, quick.calls) == (2, 1.0)
    assert quick.price == pytest.approx(6e-7)


def test_random_paths_do_not_make_a_table_without_end() -> None:
    totals = analysis.routes(make(0, route=f"/r{number}") for number in range(1_500))
    assert len(totals) == 1_001
    assert [row.requests for row in totals if row.route == analysis.OTHERS] == [500]


def test_the_slowest_and_the_dearest() -> None:
    samples = [make(calls, seconds=10.0 - calls) for calls in range(5)]
    assert [sample.calls for sample in analysis.slowest(samples, 2)] == [0, 1]
    assert [sample.calls for sample in analysis.dearest(samples, 9)] == [4, 3, 2, 1]


def test_a_line_that_repeats_a_call_is_a_pattern() -> None:
    few, many, most = make(analysis.REPEATED - 1), make(10, line=1), make(30, line=1, route="/all")
    (found,) = analysis.patterns([few, many, most])
    assert (found.line, found.name, found.kind) == (LINES[1], "Lookup", "Order")
    assert (found.times, found.requests, found.route, found.sample) == (30, 2, "/all", most.id)
    assert found.seconds == pytest.approx(20 * 0.0015)
    assert found.price == pytest.approx(20 * 6e-7)


def test_different_calls_of_one_line_are_no_pattern() -> None:
    kept = [call for number in range(3) for call in make(3, kind=f"Kind{number}").kept]
    assert analysis.patterns([make(9, kept=kept)]) == []


def test_nothing_says_nothing() -> None:
    assert analysis.routes([]) == []
    assert analysis.patterns([]) == []
    assert analysis.slowest([], 5) == []
