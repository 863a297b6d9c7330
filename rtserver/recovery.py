"""``ConnectionStateRecovery``: whether a client that was cut off gets what it has missed, and within which bounds.

Rule: a value that exists is usable. Source: socket.io 4.8, ``connectionStateRecovery``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rtserver.errors import ConfigurationError

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class ConnectionStateRecovery:
    """A socket that comes back in time has its id, rooms and data again, and gets the events that it has missed.

    Args:
        max_disconnection_duration: Seconds for which a socket that was cut off is remembered.
        skip_middlewares: Whether ``connect`` middleware passes over one that comes back: its secret is then all
            that it shows. Node does so unless told otherwise; here whoever comes back is looked at like all others.
        max_packets: Events of all namespaces that are kept for those who may have missed them.
        max_bytes: The same in bytes.
        max_sessions: Sockets that are remembered at a time; beyond them the one that left first is forgotten.

    Raises:
        ConfigurationError: A value cannot be used.
    """

    max_disconnection_duration: float = 120.0
    skip_middlewares: bool = False
    max_packets: int = 10_000
    max_bytes: int = 16 * 2**20
    max_sessions: int = 10_000

    def __post_init__(self) -> None:
        seconds = self.max_disconnection_duration
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
            raise ConfigurationError("max_disconnection_duration", seconds, "seconds above 0")
        if not isinstance(self.skip_middlewares, bool):
            raise ConfigurationError("skip_middlewares", self.skip_middlewares, "True or False")
        for name in ("max_packets", "max_bytes", "max_sessions"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(name, value, "a whole number of at least 1")


def read_recovery(name: str, value: Any) -> ConnectionStateRecovery | None:
    """What a setting says: nothing, yes or no, seconds, a mapping of the fields, or the value itself.

    Raises:
        ConfigurationError: It is none of these.
    """
    match value:
        case ConnectionStateRecovery():
            return value
        case None | False:
            return None
        case True:
            return ConnectionStateRecovery()
        case int() | float():
            return ConnectionStateRecovery(value)
        case Mapping() if set(value) <= {field.name for field in fields(ConnectionStateRecovery)}:
            return ConnectionStateRecovery(**value)
        case str() if value.lower() in (*_ON, *_OFF):
            return read_recovery(name, value.lower() in _ON)
        case str() if value.isascii() and value.isdigit():
            return read_recovery(name, int(value))
        case _:
            raise ConfigurationError(name, value, "True, False, seconds, or a ConnectionStateRecovery")
