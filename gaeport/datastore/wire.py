"""The messages of the Datastore API, google.datastore.v1, built from a table of their fields.

google.cloud.datastore_v1 holds the same messages, but importing it brings the whole client library with it (0.3 s of a
cold start). These classes live in a descriptor pool of their own, so both may be loaded in one process; what they put
on the wire is the same, which a test holds against google.cloud.datastore_v1.

Source of names and numbers: "Cloud Datastore API, package google.datastore.v1" (RPC reference).
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "google.datastore.v1"

_SCALARS = {"string": 9, "bytes": 12, "int32": 5, "int64": 3, "bool": 8, "double": 1}
_TYPE_MESSAGE, _TYPE_ENUM = 11, 14

# One line a field: "number name type [repeated|oneof NAME]"; types of this package are written without the package,
# enums with a leading "enum". A message's line starts at the margin.
_SCHEMA = """
PartitionId
  2 project_id string
  3 database_id string
  4 namespace_id string
Key.PathElement
  1 kind string
  2 id int64 oneof id_type
  3 name string oneof id_type
Key
  1 partition_id PartitionId
  2 path Key.PathElement repeated
ArrayValue
  1 values Value repeated
Value
  11 null_value enum:google.protobuf.NullValue oneof value_type
  1 boolean_value bool oneof value_type
  2 integer_value int64 oneof value_type
  3 double_value double oneof value_type
  10 timestamp_value google.protobuf.Timestamp oneof value_type
  5 key_value Key oneof value_type
  17 string_value string oneof value_type
  18 blob_value bytes oneof value_type
  8 geo_point_value google.type.LatLng oneof value_type
  6 entity_value Entity oneof value_type
  9 array_value ArrayValue oneof value_type
  14 meaning int32
  19 exclude_from_indexes bool
Entity
  1 key Key
  3 properties map:Value
RequestOptions
  3 request_tags string repeated
PropertyMask
  1 paths string repeated
TransactionOptions.ReadWrite
  1 previous_transaction bytes
TransactionOptions.ReadOnly
  1 read_time google.protobuf.Timestamp
TransactionOptions
  1 read_write TransactionOptions.ReadWrite oneof mode
  2 read_only TransactionOptions.ReadOnly oneof mode
ReadOptions
  1 read_consistency enum:ReadConsistency oneof consistency_type
  2 transaction bytes oneof consistency_type
  3 new_transaction TransactionOptions oneof consistency_type
  4 read_time google.protobuf.Timestamp oneof consistency_type
EntityResult
  1 entity Entity
  4 version int64
  6 create_time google.protobuf.Timestamp
  5 update_time google.protobuf.Timestamp
  3 cursor bytes
LookupRequest
  8 project_id string
  9 database_id string
  1 read_options ReadOptions
  3 keys Key repeated
  5 property_mask PropertyMask
  10 request_options RequestOptions
LookupResponse
  1 found EntityResult repeated
  2 missing EntityResult repeated
  3 deferred Key repeated
  5 transaction bytes
  7 read_time google.protobuf.Timestamp
KindExpression
  1 name string
PropertyReference
  2 name string
Projection
  1 property PropertyReference
PropertyOrder
  1 property PropertyReference
  2 direction enum:Direction
Filter
  1 composite_filter CompositeFilter oneof filter_type
  2 property_filter PropertyFilter oneof filter_type
CompositeFilter
  1 op enum:CompositeOperator
  2 filters Filter repeated
PropertyFilter
  1 property PropertyReference
  2 op enum:PropertyOperator
  3 value Value
FindNearest
  1 vector_property PropertyReference
  2 query_vector Value
  3 distance_measure enum:DistanceMeasure
  4 limit google.protobuf.Int32Value
  5 distance_result_property string
  6 distance_threshold google.protobuf.DoubleValue
Query
  2 projection Projection repeated
  3 kind KindExpression repeated
  4 filter Filter
  5 order PropertyOrder repeated
  6 distinct_on PropertyReference repeated
  7 start_cursor bytes
  8 end_cursor bytes
  10 offset int32
  12 limit google.protobuf.Int32Value
  13 find_nearest FindNearest
GqlQueryParameter
  2 value Value oneof parameter_type
  3 cursor bytes oneof parameter_type
GqlQuery
  1 query_string string
  2 allow_literals bool
  5 named_bindings map:GqlQueryParameter
  4 positional_bindings GqlQueryParameter repeated
AggregationQuery.Aggregation.Count
  1 up_to google.protobuf.Int64Value
AggregationQuery.Aggregation.Sum
  1 property PropertyReference
AggregationQuery.Aggregation.Avg
  1 property PropertyReference
AggregationQuery.Aggregation
  1 count AggregationQuery.Aggregation.Count oneof operator
  2 sum AggregationQuery.Aggregation.Sum oneof operator
  3 avg AggregationQuery.Aggregation.Avg oneof operator
  7 alias string
AggregationQuery
  1 nested_query Query oneof query_type
  3 aggregations AggregationQuery.Aggregation repeated
ExplainOptions
  1 analyze bool
PlanSummary
  1 indexes_used google.protobuf.Struct repeated
ExecutionStats
  1 results_returned int64
  3 execution_duration google.protobuf.Duration
  4 read_operations int64
  5 debug_stats google.protobuf.Struct
ExplainMetrics
  1 plan_summary PlanSummary
  2 execution_stats ExecutionStats
RunQueryRequest
  8 project_id string
  9 database_id string
  2 partition_id PartitionId
  1 read_options ReadOptions
  3 query Query oneof query_type
  7 gql_query GqlQuery oneof query_type
  10 property_mask PropertyMask
  12 explain_options ExplainOptions
  13 request_options RequestOptions
QueryResultBatch
  6 skipped_results int32
  3 skipped_cursor bytes
  1 entity_result_type enum:ResultType
  2 entity_results EntityResult repeated
  4 end_cursor bytes
  5 more_results enum:MoreResultsType
  7 snapshot_version int64
  8 read_time google.protobuf.Timestamp
RunQueryResponse
  1 batch QueryResultBatch
  2 query Query
  5 transaction bytes
  9 explain_metrics ExplainMetrics
RunAggregationQueryRequest
  8 project_id string
  9 database_id string
  2 partition_id PartitionId
  1 read_options ReadOptions
  3 aggregation_query AggregationQuery oneof query_type
  7 gql_query GqlQuery oneof query_type
  11 explain_options ExplainOptions
  12 request_options RequestOptions
AggregationResult
  2 aggregate_properties map:Value
AggregationResultBatch
  1 aggregation_results AggregationResult repeated
  2 more_results enum:MoreResultsType
  3 read_time google.protobuf.Timestamp
RunAggregationQueryResponse
  1 batch AggregationResultBatch
  2 query AggregationQuery
  5 transaction bytes
  9 explain_metrics ExplainMetrics
BeginTransactionRequest
  8 project_id string
  9 database_id string
  10 transaction_options TransactionOptions
  11 request_options RequestOptions
BeginTransactionResponse
  1 transaction bytes
RollbackRequest
  8 project_id string
  9 database_id string
  1 transaction bytes
  10 request_options RequestOptions
RollbackResponse
PropertyTransform
  1 property string
  2 set_to_server_value enum:ServerValue oneof transform_type
  3 increment Value oneof transform_type
  4 maximum Value oneof transform_type
  5 minimum Value oneof transform_type
  6 append_missing_elements ArrayValue oneof transform_type
  7 remove_all_from_array ArrayValue oneof transform_type
Mutation
  4 insert Entity oneof operation
  5 update Entity oneof operation
  6 upsert Entity oneof operation
  7 delete Key oneof operation
  8 base_version int64 oneof conflict_detection_strategy
  11 update_time google.protobuf.Timestamp oneof conflict_detection_strategy
  10 conflict_resolution_strategy enum:ConflictResolutionStrategy
  9 property_mask PropertyMask
  12 property_transforms PropertyTransform repeated
MutationResult
  3 key Key
  4 version int64
  7 create_time google.protobuf.Timestamp
  6 update_time google.protobuf.Timestamp
  5 conflict_detected bool
  8 transform_results Value repeated
CommitRequest
  8 project_id string
  9 database_id string
  5 mode enum:CommitMode
  1 transaction bytes oneof transaction_selector
  10 single_use_transaction TransactionOptions oneof transaction_selector
  6 mutations Mutation repeated
  11 request_options RequestOptions
CommitResponse
  3 mutation_results MutationResult repeated
  4 index_updates int32
  8 commit_time google.protobuf.Timestamp
AllocateIdsRequest
  8 project_id string
  9 database_id string
  1 keys Key repeated
  10 request_options RequestOptions
AllocateIdsResponse
  1 keys Key repeated
ReserveIdsRequest
  8 project_id string
  9 database_id string
  1 keys Key repeated
  10 request_options RequestOptions
ReserveIdsResponse
"""

# Enum values are read and written as plain numbers; the names of those that gaeport uses are below as constants.
_ENUMS = {
    "ReadConsistency": ("READ_CONSISTENCY_UNSPECIFIED", "STRONG", "EVENTUAL"),
    "Direction": ("DIRECTION_UNSPECIFIED", "ASCENDING", "DESCENDING"),
    "CompositeOperator": ("OPERATOR_UNSPECIFIED", "AND", "OR"),
    "PropertyOperator": ("PROPERTY_OPERATOR_UNSPECIFIED",),
    "DistanceMeasure": ("DISTANCE_MEASURE_UNSPECIFIED", "EUCLIDEAN", "COSINE", "DOT_PRODUCT"),
    "ResultType": ("RESULT_TYPE_UNSPECIFIED", "FULL", "PROJECTION", "KEY_ONLY"),
    "MoreResultsType": ("MORE_RESULTS_TYPE_UNSPECIFIED",),
    "ServerValue": ("SERVER_VALUE_UNSPECIFIED", "REQUEST_TIME"),
    "ConflictResolutionStrategy": ("STRATEGY_UNSPECIFIED",),
    "CommitMode": ("MODE_UNSPECIFIED", "TRANSACTIONAL", "NON_TRANSACTIONAL"),
}

ASCENDING, DESCENDING = 1, 2
AND, OR = 1, 2
LESS_THAN, LESS_THAN_OR_EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL, EQUAL = 1, 2, 3, 4, 5
IN, NOT_EQUAL, HAS_ANCESTOR, NOT_IN = 6, 9, 11, 13
FULL, PROJECTION, KEY_ONLY = 1, 2, 3
NOT_FINISHED, NO_MORE_RESULTS, MORE_RESULTS_AFTER_LIMIT, MORE_RESULTS_AFTER_CURSOR = 1, 3, 2, 4
SERVER_VALUE, FAIL = 1, 3
TRANSACTIONAL, NON_TRANSACTIONAL = 1, 2

METHODS = (
    "Lookup",
    "RunQuery",
    "RunAggregationQuery",
    "BeginTransaction",
    "Commit",
    "Rollback",
    "AllocateIds",
    "ReserveIds",
)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


class _Builder:
    """Turns the table into one FileDescriptorProto."""

    def __init__(self) -> None:
        self.file = descriptor_pb2.FileDescriptorProto(
            name="gaeport/datastore.proto",
            package=PACKAGE,
            syntax="proto3",
            dependency=[
                "google/protobuf/timestamp.proto",
                "google/protobuf/struct.proto",
                "google/protobuf/wrappers.proto",
                "google/protobuf/duration.proto",
                "gaeport/latlng.proto",
            ],
        )
        self._messages: dict[str, Any] = {}

    def build(self) -> descriptor_pb2.FileDescriptorProto:
        message: Any = None
        for line in _SCHEMA.strip().splitlines():
            if line.startswith("  "):
                self._add_field(message, line.split())
            else:
                message = self._message(line.strip())
        for name, values in _ENUMS.items():
            enum = self.file.enum_type.add(name=name)
            for number, value in enumerate(values):
                enum.value.add(name=f"{name}_{value}", number=number)
        return self.file

    def _message(self, name: str) -> Any:
        if name not in self._messages:
            outer, _, inner = name.rpartition(".")
            container = self._message(outer).nested_type if outer else self.file.message_type
            self._messages[name] = container.add(name=inner)
        return self._messages[name]

    def _add_field(self, message: Any, words: list[str]) -> None:
        number, name, type_name, *label = words
        repeated = label == ["repeated"] or type_name.startswith("map:")
        field = message.field.add(name=name, number=int(number), label=3 if repeated else 1)
        if type_name in _SCALARS:
            field.type = _SCALARS[type_name]
        elif type_name.startswith("enum:"):
            field.type, field.type_name = _TYPE_ENUM, self._full(type_name.removeprefix("enum:"))
        elif type_name.startswith("map:"):
            field.type, field.type_name = _TYPE_MESSAGE, self._map_entry(message, name, type_name.removeprefix("map:"))
        else:
            field.type, field.type_name = _TYPE_MESSAGE, self._full(type_name)
        if label[:1] == ["oneof"]:
            field.oneof_index = self._oneof(message, label[1])

    def _full(self, name: str) -> str:
        return f".{name}" if name.startswith("google.") else f".{PACKAGE}.{name}"

    def _oneof(self, message: Any, name: str) -> int:
        names = [decl.name for decl in message.oneof_decl]
        if name not in names:
            message.oneof_decl.add(name=name)
            names.append(name)
        return names.index(name)

    def _map_entry(self, message: Any, field: str, value: str) -> str:
        entry = message.nested_type.add(name=f"{_camel(field)}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=_SCALARS["string"])
        entry.field.add(name="value", number=2, label=1, type=_TYPE_MESSAGE, type_name=self._full(value))
        path = next(name for name, known in self._messages.items() if known is message)
        return f".{PACKAGE}.{path}.{entry.name}"


def _lat_lng() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="gaeport/latlng.proto", package="google.type", syntax="proto3")
    message = file.message_type.add(name="LatLng")
    for number, name in enumerate(("latitude", "longitude"), 1):
        message.field.add(name=name, number=number, label=1, type=_SCALARS["double"])
    return file


def _make_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, struct_pb2, wrappers_pb2, duration_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_lat_lng().SerializeToString())
    pool.AddSerializedFile(_Builder().build().SerializeToString())
    return pool


_pool = _make_pool()


def _class(name: str) -> Any:
    return GetMessageClass(_pool.FindMessageTypeByName(name if name.startswith("google.") else f"{PACKAGE}.{name}"))


# The classes are typed as Any: protobuf makes them at run time, and mypy cannot see their fields.
Timestamp: Any = _class("google.protobuf.Timestamp")
LatLng: Any = _class("google.type.LatLng")
PartitionId: Any = _class("PartitionId")
Key: Any = _class("Key")
PathElement: Any = _class("Key.PathElement")
Value: Any = _class("Value")
ArrayValue: Any = _class("ArrayValue")
Entity: Any = _class("Entity")
EntityResult: Any = _class("EntityResult")
PropertyMask: Any = _class("PropertyMask")
ReadOptions: Any = _class("ReadOptions")
TransactionOptions: Any = _class("TransactionOptions")
Query: Any = _class("Query")
Filter: Any = _class("Filter")
PropertyFilter: Any = _class("PropertyFilter")
PropertyOrder: Any = _class("PropertyOrder")
GqlQuery: Any = _class("GqlQuery")
AggregationQuery: Any = _class("AggregationQuery")
QueryResultBatch: Any = _class("QueryResultBatch")
Mutation: Any = _class("Mutation")
MutationResult: Any = _class("MutationResult")
LookupRequest: Any = _class("LookupRequest")
LookupResponse: Any = _class("LookupResponse")
RunQueryRequest: Any = _class("RunQueryRequest")
RunQueryResponse: Any = _class("RunQueryResponse")
RunAggregationQueryRequest: Any = _class("RunAggregationQueryRequest")
RunAggregationQueryResponse: Any = _class("RunAggregationQueryResponse")
BeginTransactionRequest: Any = _class("BeginTransactionRequest")
BeginTransactionResponse: Any = _class("BeginTransactionResponse")
CommitRequest: Any = _class("CommitRequest")
CommitResponse: Any = _class("CommitResponse")
RollbackRequest: Any = _class("RollbackRequest")
RollbackResponse: Any = _class("RollbackResponse")
AllocateIdsRequest: Any = _class("AllocateIdsRequest")
AllocateIdsResponse: Any = _class("AllocateIdsResponse")
ReserveIdsRequest: Any = _class("ReserveIdsRequest")
ReserveIdsResponse: Any = _class("ReserveIdsResponse")


def request_class(method: str) -> type[Message]:
    """Return the request class of an API method, such as "Lookup"."""
    return _class(f"{method}Request")  # type: ignore[no-any-return]  # made at run time


def response_class(method: str) -> type[Message]:
    """Return the response class of an API method, such as "Lookup"."""
    return _class(f"{method}Response")  # type: ignore[no-any-return]  # made at run time
