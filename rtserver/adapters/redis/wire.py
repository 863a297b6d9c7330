"""The messages of ``@socket.io/redis-adapter`` 8.3, without I/O.

Rule: what comes from Redis is hostile until it has been read here: a message of an unknown
type or shape is a ``ProtocolError``, and never anything else. JavaScript has one kind of
number, so rooms may be numbers and are read as texts.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.socketio import extensions
from rtserver.protocol.socketio.packet import RESERVED_EVENTS
from rtserver.protocol.socketio.values import UNSENDABLE, dump
from rtserver.types import Room

PREFIX = b"socket.io"
EMITTER = "emitter"
EVENT = 2
MAX_ROOMS = 10_000
_MALFORMED = (msgspec.MsgspecError, RecursionError, TypeError, ValueError, UnicodeDecodeError)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class RequestType(IntEnum):
    """What a node asks of the others, and how they answer."""

    SOCKETS = 0
    ALL_ROOMS = 1
    REMOTE_JOIN = 2
    REMOTE_LEAVE = 3
    REMOTE_DISCONNECT = 4
    REMOTE_FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    BROADCAST_CLIENT_COUNT = 8
    BROADCAST_ACK = 9


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one namespace and node."""

    broadcast: bytes
    request: bytes
    response: bytes
    own_response: bytes

    @classmethod
    def of(cls, namespace: str, uid: str) -> Channels:
        name = namespace.encode()
        response = PREFIX + b"-response#" + name + b"#"
        return cls(
            PREFIX + b"#" + name + b"#",
            PREFIX + b"-request#" + name + b"#",
            response,
            response + uid.encode() + b"#",
        )

    @property
    def pattern(self) -> bytes:
        """What ``PSUBSCRIBE`` takes for every room: characters that it would interpret are escaped."""
        escaped = b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]\\" else bytes((byte,)) for byte in self.broadcast)
        return escaped + b"*"

    def of_room(self, rooms: frozenset[Room]) -> bytes:
        """Where a broadcast goes: a single room is part of the channel, so that nodes without it need not look."""
        if len(rooms) != 1:
            return self.broadcast
        (room,) = rooms
        return self.broadcast + room.encode("utf-8", "surrogatepass") + b"#"

    def room(self, channel: bytes) -> str | None:
        """The room in a broadcast's channel, if it has one."""
        rest = channel[len(self.broadcast) : -1]
        return rest.decode("utf-8", "surrogatepass") if rest else None


@dataclass(frozen=True, slots=True)
class Packet:
    """A broadcast from elsewhere."""

    uid: str
    data: Sequence[Any]
    target: Target
    flags: Flags


def new_id() -> str:
    """Six letters or digits, as the reference names nodes and requests."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


# Out.


def encode_broadcast(uid: str, namespace: str, args: Sequence[Any], target: Target, flags: Flags) -> bytes:
    """A broadcast.

    Raises:
        EncodeError: An argument has no msgpack form.
    """
    packet = {"type": EVENT, "data": list(args), "nsp": namespace}
    return _pack([uid, packet, {**_options(target), "flags": _flags(flags)}])


def encode_broadcast_request(
    uid: str, request: str, namespace: str, args: Sequence[Any], target: Target, flags: Flags
) -> bytes:
    """A broadcast that wants acknowledgements.

    Raises:
        EncodeError: An argument has no msgpack form.
    """
    packet = {"type": EVENT, "data": list(args), "nsp": namespace}
    options = {**_options(target), "flags": _flags(flags)}
    kind = int(RequestType.BROADCAST)
    return _pack({"uid": uid, "requestId": request, "type": kind, "packet": packet, "opts": options})


def encode_request(kind: RequestType, *, target: Target | None = None, **fields: Any) -> bytes:
    """Any other request. Fields that are None are left out.

    Raises:
        EncodeError: A field has no JSON form.
    """
    options = {} if target is None else {"opts": _options(target)}
    given = {name: value for name, value in fields.items() if value is not None}
    order: dict[str, Any] = {name: given.pop(name) for name in ("uid", "requestId") if name in given}
    return to_json({**order, "type": int(kind), **options, **given})


def to_json(value: Mapping[str, Any]) -> bytes:
    """Raises ``EncodeError``."""
    try:
        return msgspec.json.encode(value, enc_hook=dump)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent to other nodes: {exc}") from exc


def encode_ack(request: str, values: Sequence[Any]) -> bytes:
    """A client's acknowledgement, for the node that has asked."""
    packet = values[0] if len(values) == 1 else list(values)
    return _pack({"type": int(RequestType.BROADCAST_ACK), "requestId": request, "packet": packet})


def details_of(details: SocketDetails) -> dict[str, Any]:
    """A socket as ``fetchSockets`` tells of it."""
    return {
        "id": details.id,
        "handshake": dict(details.handshake),
        "rooms": sorted(details.rooms),
        "data": dict(details.data),
    }


def _pack(value: Any) -> bytes:
    try:
        return extensions.encode(value)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent to other nodes: {exc}") from exc


def _options(target: Target) -> dict[str, Any]:
    return {"rooms": sorted(target.rooms), "except": sorted(target.excluded)}


def _flags(flags: Flags) -> dict[str, bool]:
    said = {} if flags.compress else {"compress": False}
    return {**said, "volatile": True} if flags.volatile else said


# In.


def decode_broadcast(payload: bytes, namespace: str) -> Packet:
    """Raises ``ProtocolError``."""
    match _unpack(payload):
        case [str(uid), {"type": 2, "data": list(data), "nsp": str(nsp)}, dict(options)] if nsp == namespace:
            return Packet(uid, _event(data), _target(options), _read_flags(options))
    raise ProtocolError("not a broadcast")


def decode_message(payload: bytes) -> dict[str, Any]:
    """A request or a response: JSON, or msgpack.

    Raises:
        ProtocolError: It is neither, or not a mapping.
    """
    try:
        message = msgspec.json.decode(payload) if payload[:1] == b"{" else extensions.decode(payload)
    except _MALFORMED as exc:
        raise ProtocolError("neither JSON nor msgpack") from exc
    if not isinstance(message, dict):
        raise ProtocolError("not a mapping")
    return message


def read_packet(message: Mapping[str, Any], namespace: str) -> tuple[Sequence[Any], Target, Flags]:
    """What a request for a broadcast with acknowledgements asks for. Raises ``ProtocolError``."""
    match message:
        case {"packet": {"type": 2, "data": list(data), "nsp": str(nsp)}, "opts": dict(options)} if nsp == namespace:
            return _event(data), _target(options), _read_flags(options)
    raise ProtocolError("not a broadcast")


def read_target(message: Mapping[str, Any]) -> Target:
    """Whom a request is about. Raises ``ProtocolError``."""
    options = message.get("opts")
    if isinstance(options, dict):
        return _target(options)
    sid = message.get("sid")
    if isinstance(sid, str):
        # As versions before 6 wrote it.
        return Target(frozenset((sid,)))
    raise ProtocolError("a request about nobody")


def read_rooms(message: Mapping[str, Any]) -> list[Room]:
    """The rooms to join or leave. Raises ``ProtocolError``."""
    rooms = message.get("rooms", [message["room"]] if "room" in message else None)
    return _rooms(rooms)


def read_details(value: Any) -> SocketDetails:
    """A socket of another node. Raises ``ProtocolError``."""
    match value:
        case {"id": str(socket_id), "rooms": list(rooms)}:
            data, handshake = value.get("data"), value.get("handshake")
            return SocketDetails(
                socket_id,
                frozenset(_rooms(rooms)),
                data if isinstance(data, dict) else {},
                handshake if isinstance(handshake, dict) else {},
                local=False,
            )
    raise ProtocolError("not a socket")


def _unpack(payload: bytes) -> Any:
    try:
        return extensions.decode(payload)
    except _MALFORMED as exc:
        raise ProtocolError("not msgpack") from exc


def _event(data: list[Any]) -> list[Any]:
    name = data[0] if data else None
    if isinstance(name, int) and not isinstance(name, bool):
        return [str(name), *data[1:]]
    if not isinstance(name, str) or name in RESERVED_EVENTS:
        raise ProtocolError("not an event that may be sent")
    return data


def _target(options: Mapping[Any, Any]) -> Target:
    return Target(frozenset(_rooms(options.get("rooms", []))), frozenset(_rooms(options.get("except", []))))


def _read_flags(options: Mapping[Any, Any]) -> Flags:
    flags = options.get("flags")
    if not isinstance(flags, dict):
        return Flags()
    return Flags(volatile=flags.get("volatile") is True, compress=flags.get("compress") is not False)


def _rooms(given: Any) -> list[Room]:
    if not isinstance(given, list) or len(given) > MAX_ROOMS:
        raise ProtocolError("not a list of rooms")
    rooms = [str(room) if isinstance(room, int) and not isinstance(room, bool) else room for room in given]
    if not all(isinstance(room, str) for room in rooms):
        raise ProtocolError("not a list of rooms")
    return rooms
