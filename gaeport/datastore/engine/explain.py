"""What explain_options ask for: which index serves a query, and what running it cost.

Source: "Analyze query execution with Query Explain"; the form is what google-cloud-datastore's own system tests expect.
"""

from typing import Any

from gaeport.datastore.engine.plan import KEY, Plan

_ENTRIES_PER_READ = 1000  # index entries that an aggregation scans for one billed read


def fill_plan(metrics: Any, plan: Plan) -> None:
    """Name the index for each alternative of the filter in an ExplainMetrics."""
    orders = [(order.name, order.descending) for order in plan.orders]
    for alternative in plan.alternatives:
        ordered = {name for name, _ in orders}
        equal = sorted(
            name for name, condition in alternative.properties.items() if condition.equal and name not in ordered
        )
        parts = [(name, False) for name in equal] + orders
        # An index on ancestors is a composite one; the built-in index of the kind serves ancestors by key.
        composite = alternative.ancestor is not None and len(parts) > 1
        index = metrics.plan_summary.indexes_used.add()
        index.fields["query_scope"].string_value = "Includes ancestors" if composite else "Collection group"
        index.fields["properties"].string_value = f"({', '.join(_part(*part) for part in parts)})"


def _part(name: str, descending: bool) -> str:
    return f"{'__name__' if name == KEY else name} {'DESC' if descending else 'ASC'}"


def fill_stats(metrics: Any, *, results: int, scanned: int, documents: int, seconds: float) -> None:
    """Say in an ExplainMetrics what a run cost.

    Args:
        metrics: the message.
        results: entities, projections, keys or aggregation results returned.
        scanned: index entries read.
        documents: entities read; 0 where the index was enough.
        seconds: how long it took.
    """
    stats = metrics.execution_stats
    stats.results_returned = results
    stats.read_operations = reads = max(1, documents or -(-scanned // _ENTRIES_PER_READ))
    stats.execution_duration.seconds, rest = divmod(round(seconds * 1e9), 1_000_000_000)
    stats.execution_duration.nanos = rest
    stats.debug_stats.fields["index_entries_scanned"].string_value = str(scanned)
    stats.debug_stats.fields["documents_scanned"].string_value = str(documents)
    billing = stats.debug_stats.fields["billing_details"].struct_value
    billing.fields["documents_billable"].string_value = str(documents)
    billing.fields["min_query_cost"].string_value = str(reads - documents if documents == 0 else 0)
