"""Samples read back from Cloud Logging, over gRPC, from a stand-in for its server."""

import json
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from gaeport import settings
from gaeport.stats import cloud, reading, sinks
from gaeport.stats.sample import Sample, encode
from tests.stats.build import make


@dataclass
class Log:
    """What the server holds, and how it answers."""

    samples: list[Sample] = field(default_factory=list)
    refusal: grpc.StatusCode | None = None
    requests: list[Any] = field(default_factory=list)
    client: Any = None

    def answer(self, request: Any, context: grpc.ServicerContext) -> Any:
        from google.cloud.logging_v2.types import ListLogEntriesResponse

        self.requests.append(request)
        if self.refusal is not None:
            context.abort(self.refusal, "no")
        start = int(request.page_token or 0)
        part = self.samples[start : start + request.page_size]
        more = str(start + len(part)) if start + len(part) < len(self.samples) else ""
        entries = [{"json_payload": {sinks.FIELD: json.loads(encode(sample))}} for sample in part]
        return ListLogEntriesResponse(entries=[*entries, {"json_payload": {"other": 1}}], next_page_token=more)


@pytest.fixture
def log() -> Iterator[Log]:
    from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
    from google.cloud.logging_v2.services.logging_service_v2.transports import LoggingServiceV2GrpcTransport
    from google.cloud.logging_v2.types import ListLogEntriesRequest, ListLogEntriesResponse

    found = Log()
    handler = grpc.unary_unary_rpc_method_handler(
        found.answer,
        request_deserializer=ListLogEntriesRequest.deserialize,
        response_serializer=ListLogEntriesResponse.serialize,
    )
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = "google.logging.v2.LoggingServiceV2"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"ListLogEntries": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        found.client = LoggingServiceV2Client(transport=LoggingServiceV2GrpcTransport(channel=channel))
        yield found
    server.stop(None).wait()


def test_samples_come_back_as_they_were_written(log: Log) -> None:
    log.samples = [make(3, at=time.time() - number) for number in range(5)]
    assert cloud.read("shop", 24, log.client) == log.samples
    (request,) = log.requests
    assert list(request.resource_names) == ["projects/shop"]
    assert request.filter.startswith('logName="projects/shop/logs/stdout" AND jsonPayload.gaeport_stats.id:* AND ')
    assert request.order_by == "timestamp desc"


def test_reading_ends_at_a_bound(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "MOST", 20)
    monkeypatch.setattr(cloud, "_PAGE", 10)
    log.samples = [make(1) for _ in range(50)]
    assert len(cloud.read("shop", 1, log.client)) == 20
    assert len(log.requests) == 2


def test_a_refusal_says_which_role_is_missing(log: Log) -> None:
    log.refusal = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(cloud.NotReadable, match=r"roles/logging\.viewer"):
        cloud.read("shop", 1, log.client)


@pytest.fixture
def production(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("GAE_ENV", "standard")
    settings.configure(root=tmp_path, project="shop", stats={"sample": 1.0})
    monkeypatch.setattr(cloud, "_client", lambda: log.client)
    return log


def test_in_production_all_instances_are_seen_together(production: Log) -> None:
    production.samples = [make(instance=f"instance-{number}") for number in range(3)]
    found = reading.read(1)
    assert {sample.instance for sample in found.samples} == {"instance-0", "instance-1", "instance-2"}
    assert found.source == "Cloud Logging, all instances together"
    assert reading.find(production.samples[1].id, 1) == production.samples[1]
    assert len(production.requests) == 1  # the same answer for a while: reading a log is slow


def test_without_permission_this_process_shows_its_own(production: Log, capsys: pytest.CaptureFixture[str]) -> None:
    production.refusal = grpc.StatusCode.PERMISSION_DENIED
    sinks.write(make(instance="mine"))
    found = reading.read(1)
    assert [sample.instance for sample in found.samples] == ["mine"]
    assert "roles/logging.viewer" in found.problem
