"""How cached values become bytes: gaeport's codec, or pickle by explicit choice."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gaeport import codec
from gaeport.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Serializer:
    """Two functions: value to bytes and back."""

    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


_BY_NAME = {
    "codec": Serializer(codec.dumps, codec.loads),
    # Whoever can write to the store can run code in the application: chosen by name only.
    "pickle": Serializer(lambda value: pickle.dumps(value, pickle.HIGHEST_PROTOCOL), pickle.loads),
}


def named(name: str) -> Serializer:
    """Return a serializer by name. Raises ConfigurationError, naming the valid ones."""
    if name not in _BY_NAME:
        raise ConfigurationError(f"serializer {name!r} is unknown; valid: {', '.join(sorted(_BY_NAME))}")
    return _BY_NAME[name]
