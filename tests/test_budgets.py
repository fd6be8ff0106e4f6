"""The budgets that do not depend on the machine: Datastore calls of each file operation."""

from pathlib import Path

import pytest

import gaeport
from tests.benchmarks.operations import OPERATIONS, Operation, counted


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_operation_takes_no_more_calls_than_its_budget(
    operation: Operation, project: Path, request: pytest.FixtureRequest
) -> None:
    if operation.missed:
        request.applymarker(pytest.mark.xfail(reason=operation.missed, strict=True))
    gaeport.mount("uploads")
    (project / "uploads" / "first").write_bytes(b"")  # makes the mount's root, which later operations find there
    calls = counted(operation, project / "uploads")
    assert operation.spent(calls) <= operation.budget, calls
