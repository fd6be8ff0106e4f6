"""Volumes on every backend, and transports that fail in the ways that matter."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaeport.blobs import BlobStore
from gaeport.datastore.client import Client
from gaeport.datastore.transport import GrpcTransport, Transport
from gaeport.errors import Unavailable
from gaeport.fs.datastore.storage import Storage
from gaeport.fs.datastore.tree import Tree
from gaeport.fs.datastore.volume import DatastoreVolume
from gaeport.fs.volume import Volume

PROJECT = "gaeport-test"


def make(
    transport: Transport, root: Path, *, name: str = "data", blobs: BlobStore | None = None, address: str = ""
) -> DatastoreVolume:
    """Return a volume as one process of an application has it; several on one transport are several instances."""

    def connect() -> Client:
        return Client(transport, project=PROJECT, namespace="gaeport")

    tree = Tree(connect, name, str(root), overlay=True)
    return DatastoreVolume(connect, tree, Storage(connect, blobs, 65536, address))


def over_grpc(host: str) -> GrpcTransport:
    """Return a transport to an emulator."""
    import grpc

    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return GrpcTransport(grpc.insecure_channel(host, options=options))


class Died(BaseException):
    """Stands for the death of the process: nothing of the operation runs on after it."""


class Interrupted:
    """A transport that stops for good at the n-th Commit, before or after it is applied."""

    def __init__(self, inner: Transport, at: int, *, applied: bool) -> None:
        self.inner, self.at, self.applied, self.commits = inner, at, applied, 0

    def call(self, method: str, request: Any) -> Any:
        if method != "Commit":
            return self.inner.call(method, request)
        self.commits += 1
        if self.commits == self.at and not self.applied:
            raise Died
        response = self.inner.call(method, request)
        if self.commits >= self.at:
            raise Died
        return response


class LosesAnswers:
    """A transport whose chosen Commits answer UNAVAILABLE although they were applied (or before they were)."""

    def __init__(self, inner: Transport, chosen: Callable[[int], bool], *, applied: bool = True) -> None:
        self.inner, self.chosen, self.applied, self.commits = inner, chosen, applied, 0

    def call(self, method: str, request: Any) -> Any:
        if method != "Commit":
            return self.inner.call(method, request)
        self.commits += 1
        lose = self.chosen(self.commits)
        if lose and not self.applied:
            raise Unavailable("connection reset before the request was sent")
        response = self.inner.call(method, request)
        if lose:
            raise Unavailable("connection reset before the answer came")
        return response


def put(volume: Volume, path: str, data: bytes, flags: int = os.O_WRONLY | os.O_CREAT | os.O_TRUNC) -> None:
    """Write a file as `open(path, "wb")` does."""
    handle = volume.open(split(path), flags, 0o644)
    handle.pwrite(data, 0)
    handle.close()


def append(volume: Volume, path: str, data: bytes) -> None:
    """Write at a file's end as `open(path, "ab")` does."""
    handle = volume.open(split(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    handle.append(data)
    handle.close()


def get(volume: Volume, path: str) -> bytes:
    """Return a file's content."""
    handle = volume.open(split(path), os.O_RDONLY)
    try:
        return handle.pread(handle.size, 0)
    finally:
        handle.close()


def names(volume: Volume, path: str = "") -> list[str]:
    """Return the names in a directory, sorted."""
    return sorted(name for name, _ in volume.scandir(split(path)))


def split(path: str) -> tuple[str, ...]:
    """Return a path as the tuple of its parts."""
    return tuple(part for part in path.split("/") if part)
