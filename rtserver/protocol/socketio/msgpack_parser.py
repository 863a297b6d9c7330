"""The msgpack parser: a whole packet as one binary message.

Rule: absent keys are left out, never nil. NaN and the infinities pass: msgpack has
them, and so have the clients. Source: socket.io-msgpack-parser 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.extensions import decode, encode
from rtserver.protocol.socketio.packet import MAX_ID, Packet, PacketType
from rtserver.protocol.socketio.rules import check_data
from rtserver.protocol.socketio.values import UNSENDABLE, check_depth

_KINDS = tuple(PacketType)[:5]
_PLAIN = {PacketType.BINARY_EVENT: PacketType.EVENT, PacketType.BINARY_ACK: PacketType.ACK}


class MsgpackParser:
    """Writes and reads packets as ``socket.io-msgpack-parser`` does.

    Args:
        max_depth: Nesting of a packet from a client.
    """

    def __init__(self, max_depth: int = 100) -> None:
        self._max_depth = max_depth

    def encode_event(self, nsp: str, args: Sequence[Any], id: int | None = None, *, compress: bool = True) -> Outbound:
        """An event: its name and arguments."""
        return _outbound(PacketType.EVENT, nsp, args, id, compress)

    def encode_ack(self, nsp: str, args: Sequence[Any], id: int) -> Outbound:
        """An acknowledgement."""
        return _outbound(PacketType.ACK, nsp, args, id, True)

    def encode(self, packet: Packet) -> Outbound:
        """Any packet."""
        return _outbound(_PLAIN.get(packet.type, packet.type), packet.nsp, packet.data, packet.id, True)

    def decode_text(self, wire: str) -> Packet:
        """Refuse a text message: this parser has none."""
        raise ProtocolError("text where msgpack is spoken")

    def decode_binary(self, wire: bytes) -> Packet:
        """Read a binary message."""
        try:
            packet = decode(wire)
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as exc:
            raise ProtocolError("malformed msgpack") from exc
        if type(packet) is not dict:
            raise ProtocolError("a packet is a map")
        # The map of the packet itself is not the sender's nesting.
        if len(wire) > self._max_depth:
            check_depth(packet, self._max_depth + 1)
        number, nsp, ack_id = packet.get("type"), packet.get("nsp"), packet.get("id")
        if type(number) is not int or not 0 <= number < len(_KINDS):
            raise ProtocolError("unknown packet type")
        if type(nsp) is not str or not nsp.startswith("/"):
            raise ProtocolError("a namespace begins with a slash")
        if ack_id is not None and (type(ack_id) is not int or not 0 <= ack_id <= MAX_ID):
            raise ProtocolError("acknowledgement id out of range")
        kind = _KINDS[number]
        check_data(kind, packet.get("data"))
        return Packet(kind, nsp, packet.get("data"), ack_id)


def _outbound(kind: PacketType, nsp: str, data: Any, id: int | None, compress: bool) -> Outbound:
    packet: dict[str, Any] = {"type": int(kind), "nsp": nsp}
    if data is not None:
        packet["data"] = data
    if id is not None:
        packet["id"] = id
    try:
        return Outbound(None, (encode(packet),), compress=compress)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent as msgpack: {exc}") from exc
