"""The plain types that every layer speaks: rooms, transports, the reasons of an ending, and secrets."""

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


class Secret:
    """A text that no log, error or debugger shows by accident.

    Args:
        text: What ``reveal`` gives back.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
