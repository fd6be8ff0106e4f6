"""A Datastore that refuses what production refuses for want of a composite index.

The embedded engine answers any query; production answers one only if an index in index.yaml, or a merge of several,
serves it. This transport stands before the engine and refuses the others, with production's status and words.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from gaeport.datastore import index_entries, wire
from gaeport.datastore.index_yaml import render
from gaeport.datastore.indexes import Index, missing
from gaeport.datastore.transport import Transport
from gaeport.errors import FailedPrecondition

# Production's words, as users of Datastore quote them in public reports.
_MESSAGE = "no matching index found. recommended index is:\n"


class RequireIndexes:
    """Refuses queries that lack a composite index, and entities that have too many entries in one."""

    def __init__(self, inner: Transport, indexes: Iterable[Index]) -> None:
        """Stand before another transport.

        Args:
            inner: answers what is not refused.
            indexes: the composite indexes that exist, as `index_yaml.load` gives them.
        """
        self._inner = inner
        by_kind: defaultdict[str, list[Index]] = defaultdict(list)
        for index in indexes:
            by_kind[index.kind].append(index)
        self._by_kind = dict(by_kind)

    def call(self, method: str, request: Any) -> Any:
        """Answer one request, or refuse it.

        Raises:
            FailedPrecondition: a query lacks its index; the message ends with the entries to add to index.yaml.
            InvalidArgument: an entity has over 20,000 index entries, or 2 MiB of them in composite indexes.
            DatastoreError: whatever the inner transport raises.
        """
        if method in ("RunQuery", "RunAggregationQuery"):
            return self._run(method, request)
        if method == "Commit":
            self._check_entries(request)
        return self._inner.call(method, request)

    def _run(self, method: str, request: Any) -> Any:
        if request.WhichOneof("query_type") == "gql_query":
            response = self._inner.call(method, request)  # the answer says what the words mean
            self._refuse(self._missing(response.query))
            return response
        query = request.query if method == "RunQuery" else request.aggregation_query
        lacking = self._missing(query)
        if lacking:
            self._inner.call(method, _nothing_of(request))  # a query that is wrong in itself is refused as such
        self._refuse(lacking)
        return self._inner.call(method, request)

    def _missing(self, query: Any) -> tuple[Index, ...]:
        nested = query.nested_query if query.DESCRIPTOR.name == "AggregationQuery" else query
        kind = nested.kind[0].name if nested.kind else ""
        return missing(self._by_kind.get(kind, ()), query)

    def _refuse(self, lacking: tuple[Index, ...]) -> None:
        if lacking:
            raise FailedPrecondition(_MESSAGE + render(lacking))

    def _check_entries(self, request: Any) -> None:
        """Refuse entities as the request spells them: what a property mask leaves out is not looked up."""
        for mutation in request.mutations:
            operation = mutation.WhichOneof("operation")
            if operation in (None, "delete"):
                continue
            entity = getattr(mutation, operation)
            kind = entity.key.path[-1].kind if entity.key.path else ""
            if kind in self._by_kind:
                index_entries.check(self._by_kind[kind], entity, request.project_id, request.database_id)


def _nothing_of(request: Any) -> Any:
    """Return the request for none of a query's results: it is checked, and reads nothing."""
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("read_options")
    query = copy.query if isinstance(copy, wire.RunQueryRequest) else copy.aggregation_query.nested_query
    query.limit.value = 0
    query.offset = 0
    return copy
