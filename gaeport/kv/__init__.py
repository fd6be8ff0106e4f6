"""Key-value stores with expiry under one contract: memory, memcached, Redis, App Engine's bundled memcache."""

from gaeport.kv.base import KV, Item
from gaeport.kv.connection import connect
from gaeport.kv.health import ServerHealth

__all__ = ["KV", "Item", "ServerHealth", "connect"]
