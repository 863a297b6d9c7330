"""The plain types that every layer speaks: rooms, transports and the reasons of an ending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Room: TypeAlias = str
"""The name of a room. A socket's own id is the room that only it is in."""

TransportName: TypeAlias = Literal["polling", "websocket"]

DisconnectReason: TypeAlias = Literal[
    "server namespace disconnect",
    "client namespace disconnect",
    "server shutting down",
    "ping timeout",
    "transport close",
    "transport error",
    "parse error",
    "forced close",
    "forced server close",
]
"""The nine reasons that Socket.IO clients and servers know. Source: socket.io 4.8, "disconnect" event."""

Json: TypeAlias = Any
"""What a JSON text can hold, with ``bytes`` anywhere where Socket.IO carries binary."""

Auth: TypeAlias = Mapping[str, Any]
"""What a client sent as ``auth`` with its CONNECT packet."""
