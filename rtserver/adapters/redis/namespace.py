"""One namespace on this node and the others.

Rule: local sockets are served at once and whatever Redis does. What this node has sent is
ignored when it comes back. Who subscribes must answer: the reference counts its peers, and
waits for each of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from rtserver.adapters.base import (
    Flags,
    Gathered,
    LocalSocket,
    NamespaceView,
    PendingAnswers,
    SocketDetails,
    Target,
    Watch,
)
from rtserver.adapters.memory import MemoryAdapter
from rtserver.adapters.redis import messages
from rtserver.adapters.redis.link import check_size
from rtserver.adapters.redis.messages import Asked, Dialect, Message, Outgoing, Question
from rtserver.adapters.redis.replies import Link, LinkState
from rtserver.adapters.redis.requests import AckRequest, Request, Requests
from rtserver.errors import EncodeError, LimitExceeded
from rtserver.types import Room


class Relay(Protocol):
    """What a namespace needs of the adapter that made it."""

    link: Link
    request_timeout: float

    def heard(self, adapter: RedisNamespace, channel: bytes) -> None:
        """A channel is to be heard from now on."""

    def unheard(self, channel: bytes) -> None:
        """And no more."""

    def closed(self, adapter: RedisNamespace) -> None: ...


class RedisNamespace(MemoryAdapter):
    """The adapter of one namespace.

    Attributes:
        dialect: The words that it speaks.
    """

    def __init__(self, namespace: NamespaceView, relay: Relay, dialect: Dialect) -> None:
        super().__init__(namespace)
        self._relay = relay
        self._link = relay.link
        self.dialect = dialect
        self._requests = Requests(namespace.name, dialect, relay.link, relay.request_timeout)

    @property
    def uid(self) -> str:
        """The name by which the other nodes know this one."""
        return self.dialect.uid

    # Membership: where rooms have channels to themselves, those of this node's rooms are heard.

    def join(self, socket: LocalSocket, room: Room) -> None:
        known = room in self._rooms
        super().join(socket, room)
        if not known and room in self._rooms and (channel := self.dialect.room_channel(room)) is not None:
            self._relay.heard(self, channel)

    def _drop(self, socket: LocalSocket, room: Room) -> None:
        known = room in self._rooms
        super()._drop(socket, room)
        if known and room not in self._rooms and (channel := self.dialect.room_channel(room)) is not None:
            self._relay.unheard(channel)

    # For those who look at what passes.

    @property
    def ordered(self) -> bool:
        # Where rooms have channels, what is for a room is heard only once its channel is.
        return self.dialect.room_channel("room") is None

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watch]:
        connects = self._link.connects
        with super().watch() as watch:
            watch.missed_any = self._link.state is not LinkState.HEALTHY
            yield watch
            watch.missed_any = watch.missed_any or self._link.connects != connects

    # Out.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags) -> None:
        outgoing = None if flags.local else self.dialect.broadcast(args, target, flags)
        if outgoing is not None:
            # What is too large for the others is refused before anybody has it.
            check_size(outgoing.payload)
        message = self.namespace.event(args, target, flags)
        self._say(outgoing)
        self.deliver(message, args, target, flags)

    def broadcast_with_ack(
        self, args: Sequence[Any], target: Target, flags: Flags, answers: PendingAnswers
    ) -> Callable[[], None]:
        if flags.local:
            return super().broadcast_with_ack(args, target, flags, answers)
        asked = AckRequest(answers)
        request = self._requests.open(asked)
        try:
            outgoing = self.dialect.broadcast(args, target, flags, request)
            stop_here = self.ask(args, target, flags, answers)
            self._say(outgoing)
        except BaseException:
            self._requests.close(request)
            raise

        async def wait_for_counts() -> None:
            await self._requests.wait(asked)
            answers.all_asked()

        self.namespace.start_task(wait_for_counts)

        def stop() -> None:
            self._requests.close(request)
            stop_here()

        return stop

    async def fetch_sockets(self, target: Target, flags: Flags) -> Gathered[SocketDetails]:
        here = await super().fetch_sockets(target, flags)
        if flags.local:
            return here
        answers = await self._ask(Question.SOCKETS, lambda request: self.dialect.fetch(target, request))
        found = [socket for sockets in answers for socket in sockets]
        return Gathered([*here, *found], silent=answers.silent, silent_nodes=answers.silent_nodes)

    async def all_rooms(self) -> AbstractSet[Room]:
        rooms = set(await super().all_rooms())
        if not self.dialect.lists_rooms:
            return rooms.union(*(socket.rooms for socket in await self.fetch_sockets(Target(), Flags())))
        return rooms.union(*await self._ask(Question.ROOMS, self.dialect.list_rooms))

    def sockets_join(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        if not flags.local:
            self._say(self.dialect.join(target, rooms))
        super().sockets_join(target, flags, rooms)

    def sockets_leave(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        if not flags.local:
            self._say(self.dialect.leave(target, rooms))
        super().sockets_leave(target, flags, rooms)

    def disconnect_sockets(self, target: Target, flags: Flags, close: bool) -> None:
        if not flags.local:
            self._say(self.dialect.disconnect(target, close))
        super().disconnect_sockets(target, flags, close)

    def server_side_emit(self, args: Sequence[Any]) -> None:
        self._say(self.dialect.server_side(args))

    async def server_side_call(self, args: Sequence[Any]) -> Gathered[Any]:
        return await self._ask(Question.SERVER_SIDE, lambda request: self.dialect.server_side(args, request))

    async def server_count(self) -> int:
        """How many nodes serve this namespace; only this one while Redis does not tell."""
        return await self._requests.server_count()

    def close(self) -> None:
        super().close()
        self._relay.closed(self)

    async def _ask(self, kind: Question, say: Callable[[str], Outgoing | None]) -> Gathered[Any]:
        """What each of the other nodes answers. Those that are silent are named, and not waited for."""
        asked = Request(kind)
        request = self._requests.open(asked)
        try:
            self._say(say(request))
            return await self._requests.wait(asked)
        finally:
            self._requests.close(request)

    def _say(self, outgoing: Outgoing | None) -> None:
        if outgoing is not None:
            self._link.publish(outgoing.channel, outgoing.payload)

    # In.

    def received(self, channel: bytes, payload: bytes) -> None:
        """A message on one of this namespace's channels.

        Raises:
            ProtocolError: It is not what it should be.
            EncodeError: It, or the answer to it, has no form on the wire.
        """
        room = self.dialect.room(channel)
        if room is not None and not any(True for _ in self._members(room)):
            for watch in self._watches:
                watch.rooms.add(room)
            return
        message = self.dialect.read(channel, payload, self._requests.kinds)
        if message is not None:
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case messages.Broadcast(args, target, flags, None):
                super().broadcast(args, target, flags)
            case messages.Broadcast(args, target, flags, Asked() as asked):
                with contextlib.suppress(LimitExceeded):
                    self.ask(args, target, flags, _Forwarded(self, asked))
            case messages.Join(target, rooms, old):
                with contextlib.suppress(LimitExceeded):
                    super().sockets_join(target, Flags(), rooms)
                self._confirm(old)
            case messages.Leave(target, rooms, old):
                super().sockets_leave(target, Flags(), rooms)
                self._confirm(old)
            case messages.Disconnect(target, close, old):
                super().disconnect_sockets(target, Flags(), close)
                self._confirm(old)
            case messages.FetchSockets(target, asked):
                self._say(self.dialect.found(asked, [socket.details() for socket in self.local_sockets(target)]))
            case messages.ListIds(target, asked):
                self._say(self.dialect.ids(asked, [socket.id for socket in self.local_sockets(target)]))
            case messages.ListRooms(asked):
                own = [socket_id for socket_id in self._sockets if socket_id not in self._rooms]
                self._say(self.dialect.rooms(asked, sorted([*own, *self.local_rooms()])))
            case messages.ServerSide(args, asked):
                self.namespace.on_server_side_event(args, None if asked is None else self._answer_once(asked))
            case messages.Found(request, uid, sockets):
                self._answered(request, uid, sockets)
            case messages.Rooms(request, uid, rooms):
                self._answered(request, uid, rooms)
            case messages.Told(request, uid, value):
                self._answered(request, uid, value)
            case messages.ClientCount(request, uid, count):
                if isinstance(asking := self._requests.get(request), AckRequest):
                    asking.counted(count, uid)
            case messages.Acknowledged(request, value):
                if isinstance(asking := self._requests.get(request), AckRequest):
                    asking.acknowledged(value)

    def _confirm(self, asked: Asked | None) -> None:
        if asked is not None:
            self._say(self.dialect.done(asked))

    def _answer_once(self, asked: Asked) -> Callable[[Any], None]:
        answered = False

        def answer(value: Any) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._say(self.dialect.told(asked, value))

        return answer

    def _answered(self, request: str, uid: str | None, answer: Any) -> None:
        if (asking := self._requests.get(request)) is not None:
            asking.add(answer, uid)

    def answer(self, outgoing: Outgoing) -> None:
        """Tell a node that has asked."""
        self._say(outgoing)


class _Forwarded:
    """Acknowledgements of sockets here, on their way to the node that has asked for them."""

    def __init__(self, adapter: RedisNamespace, asked: Asked) -> None:
        self._adapter = adapter
        self._asked = asked

    def expect(self, count: int) -> None:
        self._adapter.answer(self._adapter.dialect.client_count(self._asked, count))

    def answered(self, args: Sequence[Any]) -> None:
        with contextlib.suppress(EncodeError, LimitExceeded):
            self._adapter.answer(self._adapter.dialect.acknowledged(self._asked, args))

    def left(self) -> None:
        """Nobody can be told in this protocol: the node that has asked waits for its own time-out."""

    def all_asked(self) -> None:
        """The count has said it."""
