"""The budgets that do not depend on the machine: Datastore calls of each file operation, on each kind of Datastore."""

import random
from pathlib import Path

import pytest

import gaeport
from gaeport import settings
from tests.benchmarks.operations import OPERATIONS, Operation, counted


@pytest.fixture
def mounted(project: Path) -> Path:
    """A mounted folder whose root is stored already."""
    return _mounted(project)


@pytest.fixture
def mounted_on_emulator(firestore_emulator: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same on Google's emulator, without a bucket."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    settings.configure(root=project)
    return _mounted(project)


def _mounted(project: Path) -> Path:
    gaeport.mount("uploads", name=f"budgets-{random.getrandbits(64):x}")  # the emulator keeps what others wrote
    (project / "uploads" / "first").write_bytes(b"")  # makes the mount's root, which later operations find there
    return project / "uploads"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_operation_takes_no_more_calls_than_its_budget(
    operation: Operation, mounted: Path, request: pytest.FixtureRequest
) -> None:
    if operation.missed:
        request.applymarker(pytest.mark.xfail(reason=operation.missed, strict=True))
    calls = counted(operation, mounted)
    assert operation.spent(calls) <= operation.budget, calls


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_operation_takes_no_more_calls_on_the_emulator(operation: Operation, mounted_on_emulator: Path) -> None:
    calls = counted(operation, mounted_on_emulator)
    assert operation.spent(calls) <= operation.budget + operation.chunks, calls
