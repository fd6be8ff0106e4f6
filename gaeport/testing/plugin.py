"""Fixtures for pytest, which finds them by gaeport's entry point. Loading this costs nothing but this file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from webtest import TestApp

    from gaeport.testing import Datastore


@pytest.fixture
def gaeport_datastore() -> "Iterator[Datastore]":
    """A fresh empty Datastore; see `gaeport.testing.datastore`."""
    from gaeport.testing import datastore

    with datastore() as made:
        yield made


@pytest.fixture
def gaeport_ndb(gaeport_datastore: "Datastore") -> "Iterator[Datastore]":
    """A fresh empty Datastore, and an ndb context around the test."""
    with gaeport_datastore.ndb_context():
        yield gaeport_datastore


@pytest.fixture
def gaeport_app() -> "Iterator[TestApp]":
    """WebTest's TestApp around gaeport.toml's application on fresh data; see `gaeport.testing.app`."""
    from gaeport.testing import app

    with app() as made:
        yield made
