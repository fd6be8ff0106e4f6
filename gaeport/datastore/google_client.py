"""google.cloud.datastore on gaeport's channel."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc
    from google.cloud import datastore


def make_client(
    channel: "grpc.Channel", host: str, *, project: str, database: str = "", namespace: str = ""
) -> "datastore.Client":
    """Return a google.cloud.datastore.Client whose calls go over a channel. No credentials are looked up.

    Args:
        channel: gaeport's own, `gaeport.datastore.channel()`.
        host: the host and port that the client believes to talk to.
        project: the project of its keys.
        database: the database; "" is the default one.
        namespace: the namespace that its keys and queries have unless they say otherwise.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import datastore
    from google.cloud.datastore_v1.services.datastore.client import DatastoreClient
    from google.cloud.datastore_v1.services.datastore.transports.grpc import DatastoreGrpcTransport

    class Client(datastore.Client):
        """datastore.Client whose stub is given to it rather than made by it."""

        @property
        def _datastore_api(self) -> Any:
            return stub

    stub = DatastoreClient(transport=DatastoreGrpcTransport(host=host, channel=channel))
    # Beside the emulator's variable it refuses credentials, and makes anonymous ones itself.
    emulated = "DATASTORE_EMULATOR_HOST" in os.environ
    credentials = None if emulated else AnonymousCredentials()  # type: ignore[no-untyped-call]  # no types
    return Client(  # type: ignore[no-untyped-call]  # google.auth has no types
        project=project, database=database or None, namespace=namespace or None, credentials=credentials
    )
