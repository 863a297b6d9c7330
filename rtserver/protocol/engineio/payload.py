"""Several packets in one HTTP body. Source: Engine.IO protocol v4, "HTTP long-polling"."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.packet import Packet, PacketType

SEPARATOR = "\x1e"
BINARY = "b"


def decode_payload(body: str, *, max_packets: int) -> list[Packet]:
    """Split a body into packets.

    Args:
        body: Packets joined by ``\\x1e``; binary ones are ``b`` and base64.
        max_packets: More than this many are refused, all of them.

    Raises:
        ProtocolError: A packet is malformed or empty, or there are too many.
    """
    if body.count(SEPARATOR) >= max_packets:
        raise ProtocolError(f"more than {max_packets} packets in a payload")
    return [_decode(part) for part in body.split(SEPARATOR)]


def _decode(part: str) -> Packet:
    if part[:1] != BINARY:
        return Packet.decode(part)
    text = part[1:]
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ProtocolError("invalid base64 in binary packet") from exc
    if base64.b64encode(data).decode() != text:
        # Bits that stand for nothing: two texts for the same bytes.
        raise ProtocolError("invalid base64 in binary packet")
    return Packet(PacketType.MESSAGE, data)


def encode_payload(parts: Iterable[bytes]) -> bytes:
    """Join encoded packets."""
    return b"\x1e".join(parts)
