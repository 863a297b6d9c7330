"""The words of ``@socket.io/redis-adapter`` 8.3 and ``@socket.io/redis-emitter``, without I/O.

Rule: written byte for byte as the reference writes, with one addition that it passes over:
answers carry the name of the node that gives them, so that it can be said who was silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.adapters.redis import messages, wire
from rtserver.adapters.redis.messages import Asked, Message, Outgoing, Question
from rtserver.adapters.redis.wire import EMITTER, EVENT, PREFIX
from rtserver.errors import ProtocolError
from rtserver.types import Room


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


class Classic:
    """One namespace on one node. Implements ``messages.Dialect``.

    Args:
        namespace: Its name.
        uid: The node's name; ``EMITTER`` for whoever is no node.
    """

    lists_rooms = True

    def __init__(self, namespace: str, uid: str | None = None) -> None:
        self.namespace = namespace
        self.uid = wire.new_id() if uid is None else uid
        name = namespace.encode()
        self._broadcasts = PREFIX + b"#" + name + b"#"
        self.everybody = PREFIX + b"-request#" + name + b"#"
        self._responses = PREFIX + b"-response#" + name + b"#"
        self._own_responses = self._responses + self.uid.encode() + b"#"
        self.channels: tuple[bytes, ...] = (self.everybody, self._responses, self._own_responses)
        self.patterns: tuple[bytes, ...] = (escape(self._broadcasts) + b"*",)
        # The emitter is nobody: what it asks for, every node does.
        self._signature = {} if uid == EMITTER else {"uid": self.uid}

    # Out.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags, request: str | None = None) -> Outgoing:
        packet = {"type": EVENT, "data": list(args), "nsp": self.namespace}
        options = {**wire.options_of(target), "flags": wire.flags_of(flags)}
        if request is None:
            return Outgoing(self._channel_of(target.rooms), wire.to_msgpack([self.uid, packet, options]))
        asking = {"uid": self.uid, "requestId": request, "type": int(RequestType.BROADCAST)}
        return Outgoing(self.everybody, wire.to_msgpack({**asking, "packet": packet, "opts": options}))

    def join(self, target: Target, rooms: Sequence[Room]) -> Outgoing:
        return self._order(RequestType.REMOTE_JOIN, target, rooms=list(rooms))

    def leave(self, target: Target, rooms: Sequence[Room]) -> Outgoing:
        return self._order(RequestType.REMOTE_LEAVE, target, rooms=list(rooms))

    def disconnect(self, target: Target, close: bool) -> Outgoing:
        return self._order(RequestType.REMOTE_DISCONNECT, target, close=close)

    def server_side(self, args: Sequence[Any], request: str | None = None) -> Outgoing:
        asking = {} if request is None else {"requestId": request}
        return self._request({"uid": self.uid, **asking, "type": RequestType.SERVER_SIDE_EMIT, "data": list(args)})

    def fetch(self, target: Target, request: str) -> Outgoing:
        asking = {"uid": self.uid, "requestId": request, "type": RequestType.REMOTE_FETCH}
        return self._request({**asking, "opts": wire.options_of(target)})

    def list_rooms(self, request: str) -> Outgoing:
        return self._request({"uid": self.uid, "requestId": request, "type": RequestType.ALL_ROOMS})

    def new_request(self) -> str:
        return wire.new_id()

    def _order(self, kind: RequestType, target: Target, **fields: Any) -> Outgoing:
        return self._request({**self._signature, "type": kind, "opts": wire.options_of(target), **fields})

    def _request(self, message: dict[str, Any]) -> Outgoing:
        return Outgoing(self.everybody, wire.to_json(message))

    def _channel_of(self, rooms: frozenset[Room]) -> bytes:
        """A single room is part of the channel, so that nodes without it need not look."""
        if len(rooms) != 1:
            return self._broadcasts
        (room,) = rooms
        return self._broadcasts + room.encode("utf-8", "surrogatepass") + b"#"

    # Answers.

    def found(self, asked: Asked, sockets: Sequence[SocketDetails]) -> Outgoing:
        return self._answer(asked, sockets=[wire.details_of(socket) for socket in sockets], uid=self.uid)

    def ids(self, asked: Asked, ids: Sequence[str]) -> Outgoing:
        return self._answer(asked, sockets=list(ids), uid=self.uid)

    def rooms(self, asked: Asked, rooms: Sequence[Room]) -> Outgoing:
        return self._answer(asked, rooms=list(rooms), uid=self.uid)

    def told(self, asked: Asked, value: Any) -> Outgoing:
        message = {"type": RequestType.SERVER_SIDE_EMIT, "requestId": asked.request, "data": value, "uid": self.uid}
        return Outgoing(self._responses, wire.to_json(message))

    def done(self, asked: Asked) -> Outgoing:
        return self._answer(asked)

    def client_count(self, asked: Asked, count: int) -> Outgoing:
        kind = RequestType.BROADCAST_CLIENT_COUNT
        message = {"type": kind, "requestId": asked.request, "clientCount": count, "uid": self.uid}
        return Outgoing(self._responses, wire.to_json(message))

    def acknowledged(self, asked: Asked, args: Sequence[Any]) -> Outgoing:
        message = {"type": int(RequestType.BROADCAST_ACK), "requestId": asked.request, "packet": wire.only(args)}
        return Outgoing(self._responses, wire.to_msgpack(message))

    def _answer(self, asked: Asked, **fields: Any) -> Outgoing:
        return Outgoing(self._responses, wire.to_json({"requestId": asked.request, **fields}))

    # In.

    def room(self, channel: bytes) -> Room | None:
        if not channel.startswith(self._broadcasts):
            return None
        name = channel[len(self._broadcasts) : -1]
        return wire.read_room(name) if name else None

    def read(self, channel: bytes, payload: bytes, pending: Mapping[str, Question]) -> Message | None:
        if channel == self.everybody:
            return self._read_request(wire.read_mapping(payload), pending)
        if channel in (self._responses, self._own_responses):
            return _read_answer(wire.read_mapping(payload), pending)
        return self._read_broadcast(wire.read_msgpack(payload))

    def _read_broadcast(self, message: Any) -> Message | None:
        match message:
            case [str(uid), {"type": 2, "data": list(data), "nsp": self.namespace}, dict(options)]:
                if uid == self.uid:
                    return None
                target, flags = wire.read_target(options), wire.read_flags(options)
                return messages.Broadcast(wire.read_event(data), target, flags)
        raise ProtocolError("not a broadcast")

    def _read_request(self, message: Mapping[str, Any], pending: Mapping[str, Question]) -> Message | None:
        request = message.get("requestId")
        if message.get("uid") == self.uid or (isinstance(request, str) and request in pending):
            return None
        match message.get("type"):
            case RequestType.SOCKETS:
                return messages.ListIds(wire.read_target(message), _asked(message))
            case RequestType.ALL_ROOMS:
                return messages.ListRooms(_asked(message))
            case RequestType.REMOTE_JOIN:
                return messages.Join(_target(message), _rooms(message), _asked_of_old(message))
            case RequestType.REMOTE_LEAVE:
                return messages.Leave(_target(message), _rooms(message), _asked_of_old(message))
            case RequestType.REMOTE_DISCONNECT:
                return messages.Disconnect(_target(message), message.get("close") is True, _asked_of_old(message))
            case RequestType.REMOTE_FETCH:
                return messages.FetchSockets(_target(message), _asked(message))
            case RequestType.SERVER_SIDE_EMIT:
                args = wire.read_server_event(message.get("data"))
                return messages.ServerSide(args, None if request is None else _asked(message))
            case RequestType.BROADCAST:
                return self._read_question(message)
        raise ProtocolError("an unknown request")

    def _read_question(self, message: Mapping[str, Any]) -> Message:
        match message:
            case {"packet": {"type": 2, "data": list(data), "nsp": self.namespace}, "opts": dict(options)}:
                target, flags = wire.read_target(options), wire.read_flags(options)
                return messages.Broadcast(wire.read_event(data), target, flags, _asked(message))
        raise ProtocolError("not a broadcast")

    # Which channels there are.

    def room_channel(self, room: Room) -> None:
        """The pattern has them all."""

    def peers(self) -> bytes:
        return escape(self._responses) + b"?*#"

    def peer(self, channel: bytes) -> str | None:
        name = channel[len(self._responses) : -1]
        return name.decode() if name.isalnum() and len(name) <= wire.MAX_ID else None


def escape(name: bytes) -> bytes:
    """``name`` in a pattern: characters that Redis would interpret stand for themselves."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]\\" else bytes((byte,)) for byte in name)


def _read_answer(message: Mapping[str, Any], pending: Mapping[str, Question]) -> Message | None:
    request, uid = message.get("requestId"), wire.read_uid(message.get("uid"))
    if not isinstance(request, str) or request not in pending:
        return None
    match pending[request]:
        case Question.SOCKETS:
            return messages.Found(request, uid, wire.read_sockets(message.get("sockets")))
        case Question.ROOMS:
            return messages.Rooms(request, uid, wire.read_rooms(message.get("rooms")))
        case Question.SERVER_SIDE:
            return messages.Told(request, uid, message.get("data"))
        case Question.ACKS:
            match message.get("type"):
                case RequestType.BROADCAST_CLIENT_COUNT:
                    return messages.ClientCount(request, uid, wire.read_count(message.get("clientCount")))
                case RequestType.BROADCAST_ACK:
                    return messages.Acknowledged(request, message.get("packet"))
    raise ProtocolError("an answer to something else")


def _asked(message: Mapping[str, Any]) -> Asked:
    return Asked(wire.read_id(message.get("requestId")))


def _asked_of_old(message: Mapping[str, Any]) -> Asked | None:
    """Versions before 6 wait for an answer, and are known by the way they name the socket."""
    return None if "opts" in message else _asked(message)


def _target(message: Mapping[str, Any]) -> Target:
    sid = message.get("sid")
    if "opts" not in message and isinstance(sid, str):
        return Target(frozenset((sid,)))
    return wire.read_target(message.get("opts"))


def _rooms(message: Mapping[str, Any]) -> list[Room]:
    return wire.read_rooms(message.get("rooms", [message["room"]] if "room" in message else None))
