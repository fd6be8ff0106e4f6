"""explain_options: the plan, and what a run cost."""

from typing import Any

import pytest

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.errors import Unimplemented
from tests.datastore.build import OPERATORS, entity, value


def explained(client: Client, query: Any, *, analyze: bool) -> Any:
    request = wire.RunQueryRequest(project_id=client.project, query=query)
    request.explain_options.analyze = analyze
    return client.transport.call("RunQuery", request)


def indexes(response: Any) -> list[tuple[str, str]]:
    used = response.explain_metrics.plan_summary.indexes_used
    return [(item.fields["query_scope"].string_value, item.fields["properties"].string_value) for item in used]


def filtered(name: str, op: str, content: Any, order: str = "") -> Any:
    query = wire.Query(kind=[{"name": "K"}])
    leaf = query.filter.property_filter
    leaf.property.name, leaf.op = name, OPERATORS[op]
    leaf.value.CopyFrom(value(content))
    if order:
        query.order.add(direction=wire.DESCENDING).property.name = order
    return query


@pytest.fixture
def filled(local: Client) -> Client:
    local.commit([wire.Mutation(upsert=entity(local.key("K", n), n=n)) for n in range(1, 6)])
    return local


def test_a_plan_alone_runs_nothing(filled: Client) -> None:
    response = explained(filled, wire.Query(kind=[{"name": "K"}]), analyze=False)
    assert indexes(response) == [("Collection group", "(__name__ ASC)")]
    assert not response.batch.entity_results
    assert not response.explain_metrics.HasField("execution_stats")
    assert response.batch.more_results == wire.NO_MORE_RESULTS


def test_the_plan_names_the_index_of_each_alternative(filled: Client) -> None:
    def plan(query: Any) -> list[tuple[str, str]]:
        return indexes(explained(filled, query, analyze=False))

    assert plan(filtered("n", ">", 1)) == [("Collection group", "(n ASC, __name__ ASC)")]
    assert plan(filtered("a", "=", 1, "n")) == [("Collection group", "(a ASC, n DESC, __name__ DESC)")]
    assert plan(filtered("n", "in", [1, 2])) == [("Collection group", "(n ASC, __name__ ASC)")] * 2
    ancestor = filled.key("P", 1)
    assert plan(filtered("__key__", "ancestor", ancestor)) == [("Collection group", "(__name__ ASC)")]
    assert plan(filtered("__key__", "ancestor", ancestor, "n")) == [("Includes ancestors", "(n DESC, __name__ DESC)")]


def test_a_run_says_what_it_cost(filled: Client) -> None:
    response = explained(filled, filtered("n", ">", 2), analyze=True)
    stats = response.explain_metrics.execution_stats
    assert len(response.batch.entity_results) == stats.results_returned == stats.read_operations == 3
    assert stats.execution_duration.nanos > 0
    assert stats.debug_stats.fields["documents_scanned"].string_value == "3"
    keys = wire.Query(kind=[{"name": "K"}], projection=[{"property": {"name": "__key__"}}])
    stats = explained(filled, keys, analyze=True).explain_metrics.execution_stats
    assert (stats.results_returned, stats.read_operations) == (5, 1)


def test_an_aggregation_says_what_it_cost(filled: Client) -> None:
    request = wire.RunAggregationQueryRequest(project_id=filled.project)
    request.aggregation_query.nested_query.kind.add(name="K")
    request.aggregation_query.aggregations.add().sum.property.name = "n"
    request.explain_options.analyze = True
    response = filled.transport.call("RunAggregationQuery", request)
    assert indexes(response) == [("Collection group", "(n ASC, __name__ ASC)")]
    stats = response.explain_metrics.execution_stats
    assert (stats.results_returned, stats.read_operations) == (1, 1)
    assert stats.debug_stats.fields["index_entries_scanned"].string_value == "5"


def test_metadata_is_not_explained(filled: Client) -> None:
    with pytest.raises(Unimplemented):
        explained(filled, wire.Query(kind=[{"name": "__kind__"}]), analyze=False)
