"""Large content as immutable blobs: Cloud Storage objects, or files in the embedded data folder."""

from gaeport.blobs.base import BlobStore, BlobWriter
from gaeport.blobs.connection import address, at, store

__all__ = ["BlobStore", "BlobWriter", "address", "at", "store"]
