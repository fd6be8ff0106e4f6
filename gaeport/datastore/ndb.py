"""google.cloud.ndb on gaeport's channel."""

from typing import TYPE_CHECKING, Any

from gaeport import settings

if TYPE_CHECKING:
    import grpc
    from google.cloud import ndb


def make_client(channel: "grpc.Channel", host: str) -> "ndb.Client":
    """Return a google.cloud.ndb.Client whose calls go over a channel.

    Project, database and namespace are those of the settings. Only in production are credentials looked up.

    Args:
        channel: gaeport's own, `gaeport.datastore.channel()`.
        host: the host and port that the client believes to talk to.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import ndb
    from google.cloud.datastore_v1.services.datastore.transports.grpc import DatastoreGrpcTransport

    config = settings.current()

    class Client(ndb.Client):  # type: ignore[misc]  # shipped without types
        """ndb.Client, made without a channel of its own."""

        def __init__(self) -> None:
            # ndb's own constructor looks for credentials and opens a secure channel, neither of which is wanted here.
            self.project = config.project
            self.namespace = config.namespace or None
            self.database = config.database or None
            self.host = host
            self.secure = config.environment == "production"
            self.client_info = ndb.client._CLIENT_INFO
            self._client_options = None
            self._credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]  # google.auth has no types
            self.stub: Any = DatastoreGrpcTransport(host=self.host, channel=channel, client_info=self.client_info)

    return Client()
