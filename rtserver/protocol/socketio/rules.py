"""What the packets of each type may hold, whichever parser they came by.

Source: Socket.IO protocol v5, "Packet encoding"; socket.io-parser 4.2, ``isPayloadValid``.
"""

from __future__ import annotations

from typing import Any

from rtserver.errors import ProtocolError
from rtserver.protocol.socketio.packet import RESERVED_EVENTS, PacketType


def check_event(data: Any) -> None:
    """Raises ``ProtocolError`` unless ``data`` is the name and the arguments of an event."""
    if type(data) is not list or not data:
        raise ProtocolError("an event is a non-empty array")
    name = data[0]
    if type(name) is str:
        if name in RESERVED_EVENTS:
            raise ProtocolError("reserved event name")
    elif type(name) is not int and type(name) is not float:
        raise ProtocolError("an event's name is a string or a number")


def check_data(kind: PacketType, data: Any) -> None:
    """Raises ``ProtocolError`` unless ``data`` is what packets of ``kind`` hold."""
    match kind:
        case PacketType.EVENT | PacketType.BINARY_EVENT:
            check_event(data)
        case PacketType.ACK | PacketType.BINARY_ACK:
            if type(data) is not list:
                raise ProtocolError("an acknowledgement is an array")
        case PacketType.CONNECT:
            if data is not None and type(data) is not dict:
                raise ProtocolError("a connect packet holds an object or nothing")
        case PacketType.CONNECT_ERROR:
            if type(data) is not dict and type(data) is not str:
                raise ProtocolError("a connect error holds an object")
        case _:
            if data is not None:
                raise ProtocolError("a disconnect packet holds nothing")
