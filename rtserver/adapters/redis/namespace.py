"""One namespace on this node and the others, in the words of ``@socket.io/redis-adapter``.

Rule: local sockets are served at once and whatever Redis does; only then are the others
told. What this node has sent is ignored when it comes back. Who subscribes must answer: the
reference counts its peers, and waits for each of them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import structlog
import trio

from rtserver.adapters.base import Flags, NamespaceView, PendingAnswers, SocketDetails, Target
from rtserver.adapters.memory import MemoryAdapter
from rtserver.adapters.redis import wire
from rtserver.adapters.redis.link import RedisLink, RelayDown
from rtserver.adapters.redis.wire import Channels, RequestType
from rtserver.errors import EncodeError, LimitExceeded, ProtocolError
from rtserver.types import Room

log = structlog.get_logger("rtserver.redis")

# Requests of this node that wait for answers.
MAX_REQUESTS = 10_000
MAX_ID = 64


class Relay(Protocol):
    """What a namespace needs of the adapter that made it."""

    link: RedisLink
    request_timeout: float

    def closed(self, adapter: RedisNamespace) -> None: ...


class _Request:
    """A question to the other nodes: how many have answered, and what."""

    def __init__(self, kind: RequestType) -> None:
        self.kind = kind
        self.answers: list[Any] = []
        self.expected: float = math.inf
        self.event = trio.Event()

    def add(self, answer: Any) -> None:
        self.answers.append(answer)
        self._check()

    def expect(self, count: int) -> None:
        self.expected = count
        self._check()

    def _check(self) -> None:
        if len(self.answers) >= self.expected:
            self.event.set()


class _AckRequest(_Request):
    """A broadcast with acknowledgements: the number of clients from each node, and then their answers."""

    def __init__(self, pending: PendingAnswers) -> None:
        super().__init__(RequestType.BROADCAST)
        self.pending = pending
        self.missing = 0

    def add(self, answer: Any) -> None:
        if isinstance(answer, int) and 0 <= answer <= 1_000_000:
            self.missing += answer
            self.pending.expect(answer)
            super().add(answer)

    def acknowledged(self, values: Sequence[Any]) -> None:
        # Never more than were announced: a node may say what it likes.
        if self.missing > 0:
            self.missing -= 1
            self.pending.answered(values)


class RedisNamespace(MemoryAdapter):
    """The adapter of one namespace."""

    def __init__(self, namespace: NamespaceView, relay: Relay) -> None:
        super().__init__(namespace)
        self._relay = relay
        self._link = relay.link
        self.uid = wire.new_id()
        self.channels = Channels.of(namespace.name, self.uid)
        self._requests: dict[str, _Request] = {}

    # Out.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags) -> None:
        super().broadcast(args, target, flags)
        if not flags.local:
            payload = wire.encode_broadcast(self.uid, self.namespace.name, args, target, flags)
            self._link.publish(self.channels.of_room(target.rooms), payload)

    def broadcast_with_ack(
        self, args: Sequence[Any], target: Target, flags: Flags, answers: PendingAnswers
    ) -> Callable[[], None]:
        if flags.local:
            return super().broadcast_with_ack(args, target, flags, answers)
        request = self._new_id()
        payload = wire.encode_broadcast_request(self.uid, request, self.namespace.name, args, target, flags)
        stop_here = self.ask(args, target, flags, answers)
        asked = self._requests[request] = _AckRequest(answers)
        self._link.publish(self.channels.request, payload)

        async def wait_for_counts() -> None:
            await self._wait(asked)
            answers.all_asked()

        self.namespace.start_task(wait_for_counts)

        def stop() -> None:
            self._requests.pop(request, None)
            stop_here()

        return stop

    async def fetch_sockets(self, target: Target, flags: Flags) -> Sequence[SocketDetails]:
        here = list(await super().fetch_sockets(target, flags))
        if flags.local:
            return here
        answers = await self._ask(RequestType.REMOTE_FETCH, target=target)
        return here + [socket for sockets in answers for socket in sockets]

    async def all_rooms(self) -> AbstractSet[Room]:
        rooms = set(await super().all_rooms())
        return rooms.union(*await self._ask(RequestType.ALL_ROOMS))

    def sockets_join(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        self._tell(RequestType.REMOTE_JOIN, target, flags, rooms=list(rooms))
        super().sockets_join(target, flags, rooms)

    def sockets_leave(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        self._tell(RequestType.REMOTE_LEAVE, target, flags, rooms=list(rooms))
        super().sockets_leave(target, flags, rooms)

    def disconnect_sockets(self, target: Target, flags: Flags, close: bool) -> None:
        self._tell(RequestType.REMOTE_DISCONNECT, target, flags, close=close)
        super().disconnect_sockets(target, flags, close)

    def server_side_emit(self, args: Sequence[Any]) -> None:
        message = wire.encode_request(RequestType.SERVER_SIDE_EMIT, uid=self.uid, data=list(args))
        self._link.publish(self.channels.request, message)

    async def server_side_call(self, args: Sequence[Any]) -> Sequence[Any]:
        return await self._ask(RequestType.SERVER_SIDE_EMIT, data=list(args))

    async def server_count(self) -> int:
        """How many nodes serve this namespace; only this one while Redis does not tell."""
        try:
            with trio.move_on_after(self._relay.request_timeout):
                reply = await self._link.command(b"PUBSUB", b"NUMSUB", self.channels.request)
                return max(1, int(reply[1])) if isinstance(reply, list) and len(reply) == 2 else 1
        except RelayDown:
            return 1
        return 1

    def close(self) -> None:
        super().close()
        self._relay.closed(self)

    def _tell(self, kind: RequestType, target: Target, flags: Flags, **fields: Any) -> None:
        if not flags.local:
            self._link.publish(self.channels.request, wire.encode_request(kind, uid=self.uid, target=target, **fields))

    def _new_id(self) -> str:
        """Raises ``LimitExceeded``."""
        if len(self._requests) >= MAX_REQUESTS:
            raise LimitExceeded(f"{MAX_REQUESTS} requests to other nodes are waiting for answers already")
        return wire.new_id()

    async def _ask(self, kind: RequestType, *, target: Target | None = None, **fields: Any) -> list[Any]:
        """What each of the other nodes answers. Those that are silent are named by number, and not waited for."""
        request = self._new_id()
        asked = self._requests[request] = _Request(kind)
        message = wire.encode_request(kind, uid=self.uid, requestId=request, target=target, **fields)
        try:
            self._link.publish(self.channels.request, message)
            await self._wait(asked)
        finally:
            self._requests.pop(request, None)
        return asked.answers

    async def _wait(self, asked: _Request) -> None:
        """Until every other node has answered, or has had the time to."""
        with trio.move_on_after(self._relay.request_timeout):
            asked.expect(await self.server_count() - 1)
            await asked.event.wait()
            return
        silent = "unknown" if asked.expected == math.inf else int(asked.expected) - len(asked.answers)
        log.warning("nodes_silent", namespace=self.namespace.name, request=asked.kind.name, silent=silent)

    def publish_response(self, payload: bytes) -> None:
        """An answer to a node that has asked."""
        self._link.publish(self.channels.response, payload)

    # In. Raises ``ProtocolError`` for what is not what it should be.

    def received(self, channel: bytes, payload: bytes) -> None:
        """A message on one of this namespace's channels."""
        if channel == self.channels.request:
            self._take_request(wire.decode_message(payload))
        elif channel in (self.channels.response, self.channels.own_response):
            self._take_response(wire.decode_message(payload))
        else:
            self._take_broadcast(channel, payload)

    def _take_broadcast(self, channel: bytes, payload: bytes) -> None:
        room = self.channels.room(channel)
        if room is not None and not self.local_sockets(Target(frozenset((room,)))):
            return
        packet = wire.decode_broadcast(payload, self.namespace.name)
        if packet.uid != self.uid:
            super().broadcast(packet.data, packet.target, packet.flags)

    def _take_request(self, message: Mapping[str, Any]) -> None:
        request = message.get("requestId")
        if message.get("uid") == self.uid or (isinstance(request, str) and request in self._requests):
            return
        match message.get("type"):
            case RequestType.SOCKETS:
                found = self.local_sockets(wire.read_target({"opts": message}))
                self._answer(request, sockets=[socket.id for socket in found])
            case RequestType.ALL_ROOMS:
                own = [socket_id for socket_id in self._sockets if socket_id not in self._rooms]
                self._answer(request, rooms=sorted([*own, *self.local_rooms()]))
            case RequestType.REMOTE_JOIN:
                with contextlib.suppress(LimitExceeded):
                    MemoryAdapter.sockets_join(self, wire.read_target(message), Flags(), wire.read_rooms(message))
                self._answer_old(message)
            case RequestType.REMOTE_LEAVE:
                MemoryAdapter.sockets_leave(self, wire.read_target(message), Flags(), wire.read_rooms(message))
                self._answer_old(message)
            case RequestType.REMOTE_DISCONNECT:
                MemoryAdapter.disconnect_sockets(self, wire.read_target(message), Flags(), message.get("close") is True)
                self._answer_old(message)
            case RequestType.REMOTE_FETCH:
                found = self.local_sockets(wire.read_target(message))
                self._answer(request, sockets=[wire.details_of(socket.details()) for socket in found])
            case RequestType.SERVER_SIDE_EMIT:
                self._take_server_side(message, request)
            case RequestType.BROADCAST:
                self._take_broadcast_request(message, request)
            case _:
                raise ProtocolError("an unknown request")

    def _answer(self, request: Any, **fields: Any) -> None:
        if not isinstance(request, str) or len(request) > MAX_ID:
            raise ProtocolError("a question without an id")
        self._link.publish(self.channels.response, wire.to_json({"requestId": request, **fields}))

    def _answer_old(self, message: Mapping[str, Any]) -> None:
        """Versions before 6 wait for an answer to these too, and are known by the way they name the socket."""
        if "opts" not in message:
            self._answer(message.get("requestId"))

    def _take_server_side(self, message: Mapping[str, Any], request: Any) -> None:
        data = message.get("data")
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise ProtocolError("not an event")
        if request is None:
            self.namespace.on_server_side_event(data, None)
            return
        answered = False

        def answer(value: Any) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._answer(request, type=int(RequestType.SERVER_SIDE_EMIT), data=value)

        self.namespace.on_server_side_event(data, answer)

    def _take_broadcast_request(self, message: Mapping[str, Any], request: Any) -> None:
        data, target, flags = wire.read_packet(message, self.namespace.name)
        if not isinstance(request, str) or len(request) > MAX_ID:
            raise ProtocolError("a question without an id")
        self.ask(data, target, flags, _Forwarded(self, request))

    # Answers.

    def _take_response(self, message: Mapping[str, Any]) -> None:
        request = message.get("requestId")
        asked = self._requests.get(request) if isinstance(request, str) else None
        if asked is None:
            return
        match asked.kind:
            case RequestType.BROADCAST:
                assert isinstance(asked, _AckRequest)
                if message.get("type") == RequestType.BROADCAST_CLIENT_COUNT:
                    asked.add(message.get("clientCount"))
                elif message.get("type") == RequestType.BROADCAST_ACK:
                    asked.acknowledged((message.get("packet"),))
            case RequestType.REMOTE_FETCH:
                asked.add([wire.read_details(one) for one in _list(message, "sockets")])
            case RequestType.ALL_ROOMS:
                asked.add([room for room in _list(message, "rooms") if isinstance(room, str)])
            case RequestType.SERVER_SIDE_EMIT:
                asked.add(message.get("data"))


class _Forwarded:
    """Acknowledgements of sockets here, on their way to the node that has asked for them."""

    def __init__(self, adapter: RedisNamespace, request: str) -> None:
        self._adapter = adapter
        self._request = request

    def expect(self, count: int) -> None:
        fields = {"type": int(RequestType.BROADCAST_CLIENT_COUNT), "requestId": self._request, "clientCount": count}
        self._adapter.publish_response(wire.to_json(fields))

    def answered(self, args: Sequence[Any]) -> None:
        with contextlib.suppress(EncodeError, LimitExceeded):
            self._adapter.publish_response(wire.encode_ack(self._request, args))

    def left(self) -> None:
        """Nobody can be told in this protocol: the node that has asked waits for its own time-out."""

    def all_asked(self) -> None:
        """The count has said it."""


def _list(message: Mapping[str, Any], name: str) -> list[Any]:
    found = message.get(name)
    if not isinstance(found, list):
        raise ProtocolError(f"an answer without {name}")
    return found
