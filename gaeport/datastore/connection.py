"""The one connection of this process to its Datastore, made when first used and again after a fork or new settings."""

import os
import threading
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.datastore.client import Client
from gaeport.datastore.transport import GrpcTransport, MeteredTransport, Transport
from gaeport.errors import ConfigurationError

if TYPE_CHECKING:
    import grpc
    from google.cloud import ndb

_ENDPOINT = "datastore.googleapis.com:443"
_SCOPES = ["https://www.googleapis.com/auth/datastore"]
# A listing of 300 large inline files exceeds gRPC's default of 4 MiB a message.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Else a new channel waits where a former one to the same port failed: an emulator that was started again seems down.
_BY_ITSELF = ("grpc.use_local_subchannel_pool", 1)

_lock = threading.RLock()
_transport: Transport | None = None
_channel: "grpc.Channel | None" = None
_engine: Any = None
_own: Client | None = None


class _Present:
    """Passes each call to the connection as it is at that moment."""

    def call(self, method: str, request: Any) -> Any:
        return transport().call(method, request)


def transport() -> Transport:
    """Return this environment's transport, counted by the meter.

    Raises:
        ConfigurationError: `require_indexes` is set, and index.yaml is wrong.
    """
    global _transport
    with _lock:
        if _transport is None:
            config = settings.current()
            inner: Transport = _embedded(config) if config.environment == "embedded" else GrpcTransport(channel())
            # Over gRPC the channel's own interceptor counts, so that NDB's calls are counted too.
            metered = config.environment == "embedded"
            _transport = MeteredTransport(inner, config.latency_ms) if metered else inner
        return _transport


def _embedded(config: settings.Settings) -> Transport:
    found: Transport = engine()
    if not config.require_indexes:
        return found
    from gaeport.datastore import index_yaml
    from gaeport.datastore.require_indexes import RequireIndexes

    return RequireIndexes(found, index_yaml.load(config.root / index_yaml.FILE_NAME))


def client() -> Client:
    """Return the thin client on the application's own namespace."""
    config = settings.current()
    return Client(transport(), project=config.project, database=config.database, namespace=config.namespace)


def own_client() -> Client:
    """Return the thin client on the namespace of gaeport's own entities."""
    global _own
    found = _own
    if found is None:
        with _lock:
            config = settings.current()
            names = {"project": config.project, "database": config.database, "namespace": config.own_namespace}
            _own = found = Client(transport(), **names)
    return found


def engine() -> Any:
    """Return the embedded engine of this process.

    Raises:
        ConfigurationError: the environment is not the embedded one.
        DataLoss: the data file is damaged.
    """
    global _engine
    with _lock:
        config = settings.current()
        if config.environment != "embedded":
            raise ConfigurationError(f"the {config.environment} environment has no embedded Datastore")
        if _engine is None:
            from gaeport.datastore.engine import Engine

            folder = None if config.in_memory else config.data_path
            _engine = Engine(folder, synchronous=config.synchronous)
        return _engine


def channel() -> "grpc.Channel":
    """Return the grpc.Channel of this environment; in-process when embedded.

    Any Datastore client that takes a channel runs on it. All calls through it are counted by `gaeport.meter`.
    """
    global _channel
    with _lock:
        if _channel is None:
            # Not a module called channel: it would hide the public function of that name.
            from gaeport.datastore.inprocess import InProcessChannel, metered

            config = settings.current()
            if config.environment == "embedded":
                transport()
                _channel = InProcessChannel(_Present(), concurrent=config.latency_ms > 0)
            else:
                _channel = metered(_remote_channel(), config.latency_ms)
        return _channel


def _remote_channel() -> "grpc.Channel":
    import grpc

    if settings.current().environment == "emulator":
        return grpc.insecure_channel(host(), options=[*_OPTIONS, _BY_ITSELF])
    import google.auth
    import google.auth.transport.grpc
    import google.auth.transport.requests

    credentials, _ = google.auth.default(scopes=_SCOPES)
    request = google.auth.transport.requests.Request()
    authorized: Any = google.auth.transport.grpc.secure_authorized_channel
    made: grpc.Channel = authorized(credentials, request, _ENDPOINT, options=_OPTIONS)
    return made


def host() -> str:
    """Return "host:port" of the server that `channel()` reaches; production's own where there is none to name."""
    if settings.current().environment == "emulator":
        return os.environ["DATASTORE_EMULATOR_HOST"].removeprefix("http://")
    return _ENDPOINT


def ndb_client() -> "ndb.Client":
    """Return a google.cloud.ndb.Client whose calls go over `channel()`."""
    from gaeport.datastore.ndb import make_client

    return make_client(channel(), host())


def check() -> None:
    """Open the embedded store, so that a damaged or unwritable one is told before anything is served.

    Raises:
        ConfigurationError: `require_indexes` is set, and index.yaml is wrong.
        DataLoss: the data file is damaged or not gaeport's.
        DatastoreError: the folder cannot be written.
    """
    if settings.current().environment == "embedded":
        transport()


def reset() -> None:
    """Drop the connection; the next use makes it anew. Data in memory is lost, data on disk is not.

    A client that was made on the in-process channel keeps working, on whatever the connection is then: applications
    make their clients once, at import, and tests change the settings after that.
    """
    global _transport, _channel, _engine, _own
    with _lock:
        if _channel is not None and _engine is None:  # a real one; the in-process channel stays open
            _channel.close()
        if _engine is not None:
            _engine.close()
        _transport = _channel = _engine = _own = None


def _forget_in_child() -> None:
    # A child must not use (nor close) its parent's SQLite handles and gRPC threads.
    global _transport, _channel, _engine, _own, _lock
    _lock = threading.RLock()
    if _engine is not None:
        _engine.after_fork_in_child()
    _transport = _channel = _own = None


settings.on_change(reset)
os.register_at_fork(after_in_child=_forget_in_child)
