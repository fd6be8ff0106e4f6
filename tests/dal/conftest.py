"""A fresh Datastore, and databases that are closed after the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gaeport import settings
from gaeport.dal import DAL


@pytest.fixture
def connect(tmp_path: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a database; `datastore://` on a Datastore of this test's own."""
    settings.configure(data=":memory:", root=str(tmp_path))
    opened: list[Any] = []

    def open_(uri: str = "datastore://", **options: Any) -> Any:
        opened.append(DAL(uri, **options))
        return opened[-1]

    yield open_
    for db in opened:
        db.close()


@pytest.fixture
def db(connect: Callable[..., Any]) -> Any:
    """Return a database on Datastore."""
    return connect()
