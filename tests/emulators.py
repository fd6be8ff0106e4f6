"""Fixtures with real servers: Google's two Datastore emulators and a Cloud Storage server.

`firestore_emulator` and `datastore_emulator` are "127.0.0.1:PORT", as DATASTORE_EMULATOR_HOST wants it. Their tests are
marked `emulator`. Without the Cloud SDK they are skipped, except when GAEPORT_REQUIRE_SERVERS=1.
"""

import os
from collections.abc import Iterator

import pytest

from gaeport.devserver.emulator import Emulator, Kind
from gaeport.errors import ConfigurationError

FIXTURES = ("firestore_emulator", "datastore_emulator")


def required() -> bool:
    """Tell whether a missing server is a failure."""
    return os.environ.get("GAEPORT_REQUIRE_SERVERS") == "1"


def _running(kind: Kind) -> Iterator[str]:
    emulator = Emulator(kind)
    try:
        emulator.start()
    except ConfigurationError as error:
        if required():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    with emulator:
        yield emulator.host


@pytest.fixture(scope="session")
def firestore_emulator() -> Iterator[str]:
    """The address of a Firestore emulator in Datastore mode, shared by all tests of one process."""
    yield from _running("firestore")


@pytest.fixture(scope="session")
def datastore_emulator() -> Iterator[str]:
    """The address of a Datastore emulator, shared by all tests of one process."""
    yield from _running("datastore")
