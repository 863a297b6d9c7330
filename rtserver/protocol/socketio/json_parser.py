"""The default parser: JSON text, with binary as attachments.

Rule: every failure is a ``ProtocolError`` (in) or an ``EncodeError`` (out), whatever
was in the way. Numbers that JSON does not have are refused both ways, because
JavaScript clients drop the connection on them. Source: Socket.IO protocol v5;
socket.io-parser 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.packet import MAX_ID, RESERVED_EVENTS, Packet, PacketType
from rtserver.protocol.socketio.parser import Incomplete
from rtserver.protocol.socketio.rules import check_data, check_event
from rtserver.protocol.socketio.values import (
    UNSENDABLE,
    any_holds_binary,
    check_depth,
    dump,
    extract_binary,
    fill_placeholders,
    holds_binary,
)

_HEAD = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*)(?:,|\Z))?([0-9]*)")
_TYPES = tuple(PacketType)
_BINARY_TYPES = (PacketType.BINARY_EVENT, PacketType.BINARY_ACK)
_ID_DIGITS = 16
_EVENT = PacketType.EVENT

_encode = msgspec.json.Encoder(enc_hook=dump).encode
_decode = msgspec.json.Decoder().decode
_MALFORMED = (msgspec.MsgspecError, UnicodeEncodeError, RecursionError)


class IncompletePacket:
    """A binary packet that waits for its attachments."""

    __slots__ = ("_attachments", "_packet", "missing")

    def __init__(self, packet: Packet, count: int) -> None:
        self._packet = packet
        self._attachments: list[bytes] = []
        self.missing = count

    def add(self, attachment: bytes) -> Packet | None:
        """One more has come; the packet if that was the last one."""
        self._attachments.append(attachment)
        self.missing -= 1
        if self.missing:
            return None
        packet = self._packet
        data = fill_placeholders(packet.data, self._attachments)
        check_data(packet.type, data)
        return Packet(packet.type, packet.nsp, data, packet.id)


class JSONParser:
    """Writes and reads packets as ``socket.io-parser`` does.

    Args:
        max_attachments: Of one packet, either way: official clients drop the connection on more than 10.
        max_depth: Nesting of a packet from a client.
    """

    def __init__(self, max_attachments: int = 10, max_depth: int = 100) -> None:
        self._max_attachments = max_attachments
        self._max_depth = max_depth

    # Out.

    def encode_event(self, nsp: str, args: Sequence[Any], id: int | None = None, *, compress: bool = True) -> Outbound:
        """An event: its name and arguments."""
        head = "" if nsp == "/" else f"{nsp},"
        return self._outbound("2", "5", head if id is None else f"{head}{id}", args, compress)

    def encode_ack(self, nsp: str, args: Sequence[Any], id: int) -> Outbound:
        """An acknowledgement."""
        if nsp == "/" and len(args) == 1 and type(args[0]) is str:
            # Nothing to look for in there.
            return _text_only(b"3%d" % id, args)
        return self._outbound("3", "6", str(id) if nsp == "/" else f"{nsp},{id}", args, True)

    def encode(self, packet: Packet) -> Outbound:
        """Any packet."""
        match packet.type:
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                return self.encode_event(packet.nsp, packet.data, packet.id)
            case PacketType.ACK | PacketType.BINARY_ACK:
                if packet.id is None:
                    raise EncodeError("an acknowledgement without an id")
                return self.encode_ack(packet.nsp, packet.data, packet.id)
            case _:
                head = f"{packet.type:d}" if packet.nsp == "/" else f"{packet.type:d}{packet.nsp},"
                return _bare(head, packet.data)

    def _outbound(self, plain: str, binary: str, head: str, args: Sequence[Any], compress: bool) -> Outbound:
        try:
            if not any_holds_binary(args):
                return Outbound((plain + head).encode() + _encode(args), compress=compress)
            attachments: list[bytes] = []
            data = extract_binary(list(args), attachments)
            if len(attachments) > self._max_attachments:
                raise EncodeError(f"{len(attachments)} attachments, and {self._max_attachments} are allowed")
            return Outbound(
                f"{binary}{len(attachments)}-{head}".encode() + _encode(data), tuple(attachments), compress=compress
            )
        except UNSENDABLE as exc:
            raise _unsendable(exc) from exc

    # In.

    def decode_text(self, wire: str) -> Packet | Incomplete:
        """Read a text message."""
        # Nearly always an event of the main namespace; the general way costs twice as much. Flat, because each call
        # would be a tenth of the whole.
        if wire[:1] != "2":
            return self._decode_any(wire)
        start = wire.find("[")
        ack_id = None
        if start != 1:
            digits = wire[1:start]
            if not (digits.isdigit() and digits.isascii() and 1 < start < _ID_DIGITS):
                return self._decode_any(wire)
            ack_id = int(digits)
        try:
            data = _decode(wire[start:])
        except _MALFORMED as exc:
            raise ProtocolError("malformed JSON") from exc
        if len(wire) > self._max_depth:
            self._check_depth(wire, data)
        if not data or type(data[0]) is not str or data[0] in RESERVED_EVENTS:
            check_event(data)
        return Packet(_EVENT, "/", data, ack_id)

    def _decode_any(self, wire: str) -> Packet | Incomplete:
        head = _HEAD.match(wire)
        if head is None:
            raise ProtocolError(f"unknown packet type {wire[:1]!r}")
        number, count, nsp, digits = head.groups()
        if nsp is not None:
            _check_namespace(nsp)
        kind = _TYPES[int(number)]
        data = self._from_json(wire[head.end() :]) if head.end() < len(wire) else None
        ack_id = _read_id(digits)
        if kind not in _BINARY_TYPES:
            if count is not None:
                raise ProtocolError("attachments of a packet that has none")
            check_data(kind, data)
            return Packet(kind, nsp or "/", data, ack_id)
        attachments = self._read_count(count)
        if type(data) is not list:
            raise ProtocolError("a binary packet holds an array")
        return IncompletePacket(Packet(kind, nsp or "/", data, ack_id), attachments)

    def _read_count(self, count: str | None) -> int:
        if count is None or len(count) > _ID_DIGITS or not 0 < int(count) <= self._max_attachments:
            raise ProtocolError(f"a binary packet has 1 to {self._max_attachments} attachments")
        return int(count)

    def decode_binary(self, wire: bytes) -> Packet:
        """Refuse a binary message that belongs to no packet."""
        raise ProtocolError("binary when none is expected")

    def _from_json(self, text: str) -> Any:
        try:
            data = _decode(text)
        except _MALFORMED as exc:
            raise ProtocolError("malformed JSON") from exc
        if len(text) > self._max_depth and type(data) in (list, dict):
            self._check_depth(text, data)
        return data

    def _check_depth(self, text: str, data: Any) -> None:
        # A text cannot nest deeper than it has brackets.
        if text.count("[") + text.count("{") > self._max_depth:
            check_depth(data, self._max_depth)


def _check_namespace(nsp: str) -> None:
    try:
        nsp.encode()
    except UnicodeEncodeError as exc:
        raise ProtocolError("a namespace with a lone surrogate") from exc


def _read_id(digits: str) -> int | None:
    if not digits:
        return None
    if len(digits) > _ID_DIGITS or int(digits) > MAX_ID:
        raise ProtocolError("acknowledgement id out of range")
    return int(digits)


def _text_only(head: bytes, args: Sequence[Any]) -> Outbound:
    try:
        return Outbound(head + _encode(args))
    except UnicodeEncodeError as exc:
        raise EncodeError(f"cannot be sent as JSON: {exc}") from exc


def _bare(head: str, data: Any) -> Outbound:
    try:
        holds_binary(data)
        return Outbound(head.encode() + (b"" if data is None else _encode(data)))
    except UNSENDABLE as exc:
        raise _unsendable(exc) from exc


def _unsendable(exc: Exception) -> EncodeError:
    return exc if isinstance(exc, EncodeError) else EncodeError(f"cannot be sent as JSON: {exc}")
