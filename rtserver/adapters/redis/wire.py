"""What the messages of all adapters of the reference are made of, without I/O.

Rule: what comes from Redis is hostile until it has been read here: a message of an unknown
type or shape is a ``ProtocolError``, and never anything else. JavaScript has one kind of
number, so rooms may be numbers and are read as texts.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.socketio import extensions
from rtserver.protocol.socketio.packet import RESERVED_EVENTS
from rtserver.protocol.socketio.values import UNSENDABLE, dump, holds_binary
from rtserver.types import Room

PREFIX = b"socket.io"
# The name of everybody who is no node.
EMITTER = "emitter"
EVENT = 2
MAX_ROOMS = 10_000
MAX_CLIENTS = 1_000_000
# Of ids of requests and names of nodes.
MAX_ID = 64
_MALFORMED = (msgspec.MsgspecError, RecursionError, TypeError, ValueError)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def new_id() -> str:
    """Six letters or digits, as the classic adapter names nodes and requests."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


# Out.


def to_json(value: Mapping[str, Any]) -> bytes:
    """Raises ``EncodeError``."""
    try:
        return msgspec.json.encode(value, enc_hook=dump)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent to other nodes: {exc}") from exc


def to_msgpack(value: Any) -> bytes:
    """Raises ``EncodeError``."""
    try:
        return extensions.encode(value)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent to other nodes: {exc}") from exc


def holds_bytes(value: Any) -> bool:
    """Whether JSON is not enough. Raises ``EncodeError``, for Infinity and NaN too, which every node would refuse."""
    try:
        return holds_binary(value)
    except UNSENDABLE as exc:
        raise EncodeError(f"cannot be sent to other nodes: {exc}") from exc


def options_of(target: Target) -> dict[str, Any]:
    """Whom a message is about."""
    return {"rooms": sorted(target.rooms), "except": sorted(target.excluded)}


def flags_of(flags: Flags) -> dict[str, bool]:
    """How a broadcast travels; ``local`` never does."""
    said = {} if flags.compress else {"compress": False}
    return {**said, "volatile": True} if flags.volatile else said


def details_of(details: SocketDetails) -> dict[str, Any]:
    """A socket as ``fetchSockets`` tells of it."""
    return {
        "id": details.id,
        "handshake": dict(details.handshake),
        "rooms": sorted(details.rooms),
        "data": dict(details.data),
    }


def only(args: Sequence[Any]) -> Any:
    """An acknowledgement as it travels, as one value: the reference passes no more on."""
    match len(args):
        case 0:
            return None
        case 1:
            return args[0]
        case _:
            return list(args)


# In. All raise ``ProtocolError``.


def read_mapping(payload: bytes) -> dict[str, Any]:
    """A message in JSON or msgpack; the first byte tells which."""
    try:
        message = msgspec.json.decode(payload) if payload[:1] == b"{" else extensions.decode(payload)
    except _MALFORMED as exc:
        raise ProtocolError("neither JSON nor msgpack") from exc
    if not isinstance(message, dict):
        raise ProtocolError("not a mapping")
    return message


def read_msgpack(payload: bytes) -> Any:
    """A message in msgpack."""
    try:
        return extensions.decode(payload)
    except _MALFORMED as exc:
        raise ProtocolError("not msgpack") from exc


def read_id(value: Any) -> str:
    """A request's id, or a node's name."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise ProtocolError("a question or an answer without an id")
    return value


def read_uid(value: Any) -> str | None:
    """The name that an answer may carry."""
    return value if isinstance(value, str) and len(value) <= MAX_ID else None


def read_event(data: Sequence[Any]) -> Sequence[Any]:
    """The arguments of an event that may be sent."""
    name = data[0] if data else None
    if isinstance(name, int) and not isinstance(name, bool):
        return [str(name), *data[1:]]
    if not isinstance(name, str) or name in RESERVED_EVENTS:
        raise ProtocolError("not an event that may be sent")
    return data


def read_server_event(data: Any) -> Sequence[Any]:
    """The arguments of an event between servers, which may have any name."""
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise ProtocolError("not an event")
    return data


def read_target(options: Any) -> Target:
    """Whom a message is about."""
    if not isinstance(options, dict):
        raise ProtocolError("a request about nobody")
    rooms = read_rooms(options.get("rooms", []))
    return Target(frozenset(rooms), frozenset(read_rooms(options.get("except", []))))


def read_flags(options: Mapping[Any, Any]) -> Flags:
    """How a broadcast travels."""
    flags = options.get("flags")
    if not isinstance(flags, dict):
        return Flags()
    return Flags(volatile=flags.get("volatile") is True, compress=flags.get("compress") is not False)


def read_room(name: bytes) -> Room:
    """The room in a channel's name."""
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as exc:
        raise ProtocolError("not the name of a room") from exc


def read_rooms(given: Any) -> list[Room]:
    """A list of rooms."""
    if not isinstance(given, list) or len(given) > MAX_ROOMS:
        raise ProtocolError("not a list of rooms")
    rooms = [str(room) if isinstance(room, int) and not isinstance(room, bool) else room for room in given]
    if not all(isinstance(room, str) for room in rooms):
        raise ProtocolError("not a list of rooms")
    return rooms


def read_sockets(given: Any) -> list[SocketDetails]:
    """The sockets of another node."""
    if not isinstance(given, list):
        raise ProtocolError("an answer without sockets")
    return [_read_details(one) for one in given]


def read_count(given: Any) -> int:
    """How many clients of another node have been asked."""
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= MAX_CLIENTS:
        raise ProtocolError("not a number of clients")
    return given


def _read_details(value: Any) -> SocketDetails:
    match value:
        case {"id": str(socket_id), "rooms": list(rooms)}:
            data, handshake = value.get("data"), value.get("handshake")
            return SocketDetails(
                socket_id,
                frozenset(read_rooms(rooms)),
                data if isinstance(data, dict) else {},
                handshake if isinstance(handshake, dict) else {},
                local=False,
            )
    raise ProtocolError("not a socket")
