"""The words of the sharded ``@socket.io/redis-adapter``: what all newer adapters of the reference say.

Rule: JSON, or msgpack where there are bytes in it. Rooms that were joined by name have a
channel each, which is heard while somebody is in it; everything else goes to everybody.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.adapters.redis import messages, wire
from rtserver.adapters.redis.classic import escape
from rtserver.adapters.redis.messages import Asked, Message, Outgoing, Question
from rtserver.adapters.redis.wire import EVENT, PREFIX
from rtserver.errors import ProtocolError
from rtserver.types import Room

# The reference knows the own rooms of sockets by their length, and gives them no channel.
OWN_ROOM = 20
_UID = re.compile(rb"[0-9a-f]{16}")


class MessageType(IntEnum):
    """Source: ``socket.io-adapter``, ``cluster-adapter``."""

    INITIAL_HEARTBEAT = 1
    HEARTBEAT = 2
    BROADCAST = 3
    SOCKETS_JOIN = 4
    SOCKETS_LEAVE = 5
    DISCONNECT_SOCKETS = 6
    FETCH_SOCKETS = 7
    FETCH_SOCKETS_RESPONSE = 8
    SERVER_SIDE_EMIT = 9
    SERVER_SIDE_EMIT_RESPONSE = 10
    BROADCAST_CLIENT_COUNT = 11
    BROADCAST_ACK = 12
    ADAPTER_CLOSE = 13


_ANSWERS = {
    MessageType.FETCH_SOCKETS_RESPONSE: Question.SOCKETS,
    MessageType.SERVER_SIDE_EMIT_RESPONSE: Question.SERVER_SIDE,
    MessageType.BROADCAST_CLIENT_COUNT: Question.ACKS,
    MessageType.BROADCAST_ACK: Question.ACKS,
}
_OF_HEARTBEATS = (MessageType.INITIAL_HEARTBEAT, MessageType.HEARTBEAT, MessageType.ADAPTER_CLOSE)


class Sharded:
    """One namespace on one node. Implements ``messages.Dialect``.

    Args:
        namespace: Its name.
        uid: The node's name; ``EMITTER`` for whoever is no node.
    """

    lists_rooms = False

    def __init__(self, namespace: str, uid: str | None = None) -> None:
        self.namespace = namespace
        self.uid = secrets.token_hex(8) if uid is None else uid
        self.everybody = PREFIX + b"#" + namespace.encode() + b"#"
        self._own_responses = self.everybody + self.uid.encode() + b"#"
        self.channels: tuple[bytes, ...] = (self.everybody, self._own_responses)
        self.patterns: tuple[bytes, ...] = ()

    # Out.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags, request: str | None = None) -> Outgoing:
        asking = {} if request is None else {"requestId": request}
        options = {**wire.options_of(target), "flags": wire.flags_of(flags)}
        data = {"packet": {"type": EVENT, "data": list(args)}, **asking, "opts": options}
        channel = self.everybody
        if request is None and len(target.rooms) == 1:
            (room,) = target.rooms
            channel = self.room_channel(room) or channel
        return self._message(MessageType.BROADCAST, data, channel, may_hold_bytes=True)

    def join(self, target: Target, rooms: Sequence[Room]) -> Outgoing:
        return self._message(MessageType.SOCKETS_JOIN, {"opts": _options(target), "rooms": list(rooms)})

    def leave(self, target: Target, rooms: Sequence[Room]) -> Outgoing:
        return self._message(MessageType.SOCKETS_LEAVE, {"opts": _options(target), "rooms": list(rooms)})

    def disconnect(self, target: Target, close: bool) -> Outgoing:
        return self._message(MessageType.DISCONNECT_SOCKETS, {"opts": _options(target), "close": close})

    def server_side(self, args: Sequence[Any], request: str | None = None) -> Outgoing:
        asking = {} if request is None else {"requestId": request}
        return self._message(MessageType.SERVER_SIDE_EMIT, {**asking, "packet": list(args)}, may_hold_bytes=True)

    def fetch(self, target: Target, request: str) -> Outgoing:
        return self._message(MessageType.FETCH_SOCKETS, {"opts": _options(target), "requestId": request})

    def list_rooms(self, request: str) -> None:
        """Nobody asks for rooms here: they are those of the sockets."""

    def new_request(self) -> str:
        return secrets.token_hex(8)

    # Answers.

    def found(self, asked: Asked, sockets: Sequence[SocketDetails]) -> Outgoing:
        details = [wire.details_of(socket) for socket in sockets]
        return self._answer(MessageType.FETCH_SOCKETS_RESPONSE, asked, sockets=details)

    def ids(self, asked: Asked, ids: Sequence[str]) -> None:
        """Nobody asks for ids here."""

    def rooms(self, asked: Asked, rooms: Sequence[Room]) -> None:
        """Nobody asks for rooms here."""

    def done(self, asked: Asked) -> None:
        """Nobody waits here until it is done."""

    def told(self, asked: Asked, value: Any) -> Outgoing:
        return self._answer(MessageType.SERVER_SIDE_EMIT_RESPONSE, asked, packet=value)

    def client_count(self, asked: Asked, count: int) -> Outgoing:
        return self._answer(MessageType.BROADCAST_CLIENT_COUNT, asked, clientCount=count)

    def acknowledged(self, asked: Asked, args: Sequence[Any]) -> Outgoing:
        return self._answer(MessageType.BROADCAST_ACK, asked, packet=wire.only(args))

    def _answer(self, kind: MessageType, asked: Asked, **fields: Any) -> Outgoing:
        channel = self.everybody + (asked.uid or "").encode() + b"#"
        return self._message(kind, {"requestId": asked.request, **fields}, channel, may_hold_bytes=True)

    def _message(
        self, kind: MessageType, data: dict[str, Any], channel: bytes | None = None, *, may_hold_bytes: bool = False
    ) -> Outgoing:
        message = {"type": int(kind), "data": data, "uid": self.uid, "nsp": self.namespace}
        packed = may_hold_bytes and wire.holds_bytes(data)
        payload = wire.to_msgpack(message) if packed else wire.to_json(message)
        return Outgoing(self.everybody if channel is None else channel, payload)

    # In.

    def room(self, channel: bytes) -> Room | None:
        if channel == self._own_responses:
            return None
        name = channel[len(self.everybody) : -1]
        return wire.read_room(name) if name else None

    def read(self, channel: bytes, payload: bytes, pending: Mapping[str, Question]) -> Message | None:
        match wire.read_mapping(payload):
            case {"uid": self.uid}:
                return None
            case {"type": kind, "nsp": self.namespace} if kind in _OF_HEARTBEATS:
                return None
            case {"type": int(kind), "uid": str(uid), "nsp": self.namespace, "data": dict(data)}:
                if kind in _ANSWERS:
                    return _read_answer(MessageType(kind), wire.read_id(uid), data, pending)
                return _read_message(kind, wire.read_id(uid), data)
        raise ProtocolError("not a message of the cluster")

    # Which channels there are.

    def room_channel(self, room: Room) -> bytes | None:
        if len(room) == OWN_ROOM:
            return None
        return self.everybody + room.encode("utf-8", "surrogatepass") + b"#"

    def peers(self) -> bytes:
        return escape(self.everybody) + b"?" * 16 + b"#"

    def peer(self, channel: bytes) -> str | None:
        name = channel[len(self.everybody) : -1]
        return name.decode() if _UID.fullmatch(name) else None


def _options(target: Target) -> dict[str, Any]:
    return {**wire.options_of(target), "flags": {}}


def _read_message(kind: int, uid: str, data: dict[Any, Any]) -> Message:
    match kind:
        case MessageType.BROADCAST:
            return _read_broadcast(uid, data)
        case MessageType.SOCKETS_JOIN:
            return messages.Join(wire.read_target(data.get("opts")), wire.read_rooms(data.get("rooms")))
        case MessageType.SOCKETS_LEAVE:
            return messages.Leave(wire.read_target(data.get("opts")), wire.read_rooms(data.get("rooms")))
        case MessageType.DISCONNECT_SOCKETS:
            return messages.Disconnect(wire.read_target(data.get("opts")), data.get("close") is True)
        case MessageType.FETCH_SOCKETS:
            asked = Asked(wire.read_id(data.get("requestId")), uid)
            return messages.FetchSockets(wire.read_target(data.get("opts")), asked)
        case MessageType.SERVER_SIDE_EMIT:
            return messages.ServerSide(wire.read_server_event(data.get("packet")), _asked(uid, data))
    raise ProtocolError("an unknown request")


def _read_broadcast(uid: str, data: dict[Any, Any]) -> Message:
    match data:
        case {"packet": {"type": 2, "data": list(args)}, "opts": dict(options)}:
            target, flags = wire.read_target(options), wire.read_flags(options)
            return messages.Broadcast(wire.read_event(args), target, flags, _asked(uid, data))
    raise ProtocolError("not a broadcast")


def _asked(uid: str, data: Mapping[Any, Any]) -> Asked | None:
    request = data.get("requestId")
    return None if request is None else Asked(wire.read_id(request), uid)


def _read_answer(
    kind: MessageType, uid: str, data: Mapping[Any, Any], pending: Mapping[str, Question]
) -> Message | None:
    request = data.get("requestId")
    if not isinstance(request, str) or request not in pending:
        return None
    if pending[request] is not _ANSWERS[kind]:
        raise ProtocolError("an answer to something else")
    match kind:
        case MessageType.FETCH_SOCKETS_RESPONSE:
            return messages.Found(request, uid, wire.read_sockets(data.get("sockets")))
        case MessageType.SERVER_SIDE_EMIT_RESPONSE:
            return messages.Told(request, uid, data.get("packet"))
        case MessageType.BROADCAST_CLIENT_COUNT:
            return messages.ClientCount(request, uid, wire.read_count(data.get("clientCount")))
        case _:
            return messages.Acknowledged(request, data.get("packet"))
