"""Large content as immutable blobs: Cloud Storage objects, or files in the embedded data folder."""

from gaeport.blobs.base import BlobStore, BlobWriter
from gaeport.blobs.connection import store

__all__ = ["BlobStore", "BlobWriter", "store"]
