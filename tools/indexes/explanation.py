"""What one query needs, in words."""

from collections.abc import Sequence
from typing import Any

from gaeport.datastore import index_yaml, wire
from gaeport.datastore.gql import parse_aggregation_query, parse_query
from gaeport.datastore.indexes import Index, minimal, missing, needed, serves
from gaeport.errors import ConfigurationError, InvalidArgument

from .entries import Entry
from .wording import index_text, query_text


def explain(gql: str, entries: Sequence[Entry]) -> str:
    """Return which composite index a query needs and whether index.yaml has it.

    Args:
        gql: the query; literals may stand in it, and bindings without values.
        entries: index.yaml's.

    Raises:
        ConfigurationError: it is no GQL query.
    """
    query = _parsed(gql)
    best = needed(query)
    if not best:
        return f"{query_text(query)}\nneeds no composite index: the built-in indexes of its properties serve it.\n"
    present = [entry.index for entry in entries]
    lines = [query_text(query), "needs a composite index; the best one is", *_listed(best)]
    if serves(present, query):
        lines += [f"{index_yaml.FILE_NAME} serves it, with:", *_used(present, query)]
    else:
        lines += [f"{index_yaml.FILE_NAME} lacks it. Add:", *_listed(missing(present, query))]
        small = minimal(present, query)
        if _size(small) < _size(missing(present, query)):
            lines += ["or, smaller and slower to read, for a merge with those that are there:", *_listed(small)]
    return "".join(f"{line}\n" for line in lines)


def _used(present: Sequence[Index], query: Any) -> list[str]:
    """Return the indexes without which the query would not be served."""
    kept = list(present)
    for index in sorted(present, key=lambda index: -len(index.properties)):
        others = [other for other in kept if other != index]
        if serves(others, query):
            kept = others
    return [f"  {index_text(index)}" for index in kept]


def _listed(indexes: Sequence[Index]) -> list[str]:
    return [f"  {line}" for line in index_yaml.render(indexes).splitlines()]


def _size(indexes: Sequence[Index]) -> int:
    return sum(len(index.properties) + index.ancestor for index in indexes)


def _parsed(gql: str) -> Any:
    message = wire.GqlQuery(query_string=gql, allow_literals=True)
    partition = wire.PartitionId(project_id="p")
    errors = []
    for parse in (parse_query, parse_aggregation_query):
        try:
            return parse(message, partition)
        except InvalidArgument as error:
            errors.append(str(error))
    raise ConfigurationError(f"{gql}: {errors['COUNT' in gql.upper() or 'SUM' in gql.upper() or 'AVG' in gql.upper()]}")
