"""The broadcast operator: whom to address, how, and what to do with them.

Rule: an operator is an immutable value; each step returns another one. It sends
through the namespace's adapter and holds nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rtserver.adapters.base import Flags, Gathered, SocketDetails, Target
from rtserver.core.acks import BroadcastAnswers
from rtserver.core.pipeline import EmitContext
from rtserver.events import RESERVED, Event
from rtserver.types import Room

if TYPE_CHECKING:
    from rtserver.core.namespace import Namespace
    from rtserver.core.socket import Socket

P = TypeVar("P")
A = TypeVar("A")


def event_name(event: Event[Any, Any] | str) -> str:
    """The name of an event that is about to be sent.

    Raises:
        ValueError: It is reserved.
        TypeError: It is no name.
    """
    name = event.name if isinstance(event, Event) else event
    if not isinstance(name, str):
        raise TypeError(f"an event is a string or an Event, not {name!r}")
    if name in RESERVED:
        raise ValueError(f"event {name!r} is reserved")
    return name


@dataclass(frozen=True, slots=True)
class RemoteSocket:
    """A socket that ``fetch_sockets`` has found, on whatever node it is.

    What it does, it does through the cluster: ``disconnect`` and the like return at once.
    """

    namespace: Namespace
    details: SocketDetails

    @property
    def id(self) -> str:
        return self.details.id

    @property
    def rooms(self) -> frozenset[Room]:
        return self.details.rooms

    @property
    def data(self) -> Any:
        return self.details.data

    @property
    def handshake(self) -> Any:
        return self.details.handshake

    def _operator(self) -> Broadcast:
        return Broadcast(self.namespace, Target(frozenset((self.id,))))

    def emit(self, event: str, /, *args: Any) -> None:
        self._operator().emit(event, *args)

    def join(self, *rooms: Room) -> None:
        self._operator().sockets_join(*rooms)

    def leave(self, *rooms: Room) -> None:
        self._operator().sockets_leave(*rooms)

    def disconnect(self, close: bool = False) -> None:
        self._operator().disconnect_sockets(close)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Sockets of a namespace, and how to reach them; ``sender`` is the socket that sends, if it is one."""

    namespace: Namespace
    target: Target = field(default_factory=Target)
    flags: Flags = field(default_factory=Flags)
    sender: Socket | None = None

    # Whom.

    def to(self, *rooms: Room) -> Broadcast:
        """Those in at least one of the rooms named so far."""
        return replace(self, target=replace(self.target, rooms=self.target.rooms.union(_rooms(rooms))))

    in_ = to

    def except_(self, *rooms: Room) -> Broadcast:
        """But nobody who is in one of these rooms."""
        return replace(self, target=replace(self.target, excluded=self.target.excluded.union(_rooms(rooms))))

    # How.

    @property
    def volatile(self) -> Broadcast:
        """Only to those who can take it now."""
        return replace(self, flags=replace(self.flags, volatile=True))

    @property
    def local(self) -> Broadcast:
        """Only to those on this node."""
        return replace(self, flags=replace(self.flags, local=True))

    def compress(self, wanted: bool) -> Broadcast:
        """With or without compression, where it was negotiated."""
        return replace(self, flags=replace(self.flags, compress=wanted))

    # What.

    @overload
    def emit(self, event: Event[None, Any], /) -> None: ...
    @overload
    def emit(self, event: Event[P, Any], payload: P, /) -> None: ...
    @overload
    def emit(self, event: str, /, *args: Any) -> None: ...
    def emit(self, event: Event[Any, Any] | str, /, *args: Any) -> None:
        """Send an event to all of them. Returns at once.

        Raises:
            EncodeError: An argument has no JSON form.
            ValueError: The name is reserved.
        """
        self.namespace.adapter.broadcast(self._through_hooks(event, args), self.target, self.flags)

    def send(self, *args: Any) -> None:
        """``emit("message", *args)``."""
        self.emit("message", *args)

    @overload
    async def call(self, event: Event[None, A], /) -> list[A]: ...
    @overload
    async def call(self, event: Event[P, A], payload: P, /) -> list[A]: ...
    @overload
    async def call(self, event: str, /, *args: Any) -> list[Any]: ...
    async def call(self, event: Event[Any, Any] | str, /, *args: Any) -> list[Any]:
        """Send an event and wait until all of them have acknowledged it.

        There is no time-out argument: put the call into ``with trio.fail_after(5):``.

        Returns:
            The acknowledgements, in the order of arrival. A client that leaves is not waited for.

        Raises:
            AckTimeout: The deadline around the call passes; ``answers`` holds those that came.
            LimitExceeded: More than ``max_pending_acks`` are being waited for from one of them.
        """
        answers = BroadcastAnswers()
        packet = self._through_hooks(event, args)
        stop = self.namespace.adapter.broadcast_with_ack(packet, self.target, self.flags, answers)
        try:
            return await answers.wait()
        finally:
            stop()

    def _through_hooks(self, event: Event[Any, Any] | str, args: Sequence[Any]) -> Sequence[Any]:
        name = event_name(event)
        chain = self.namespace.registry.emit_chain
        if chain is None:
            return (name, *args)
        context = chain(EmitContext(self.namespace, name, args, target=self.target, sender=self.sender))
        return (context.event, *context.args)

    # The sockets themselves.

    async def fetch_sockets(self) -> Gathered[RemoteSocket]:
        """Find them, on every node.

        Returns:
            Those of the nodes that have answered in time; ``silent`` is the number of the others.
        """
        found = await self.namespace.adapter.fetch_sockets(self.target, self.flags)
        sockets = (RemoteSocket(self.namespace, details) for details in found)
        return Gathered(sockets, silent=found.silent, silent_nodes=found.silent_nodes)

    def sockets_join(self, *rooms: Room) -> None:
        """Put all of them into rooms."""
        self.namespace.adapter.sockets_join(self.target, self.flags, _rooms(rooms))

    def sockets_leave(self, *rooms: Room) -> None:
        """Take all of them out of rooms."""
        self.namespace.adapter.sockets_leave(self.target, self.flags, _rooms(rooms))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect all of them from the namespace, or with ``close`` from the server."""
        self.namespace.adapter.disconnect_sockets(self.target, self.flags, close)


def _rooms(rooms: Sequence[Room]) -> Sequence[Room]:
    for room in rooms:
        if not isinstance(room, str):
            raise TypeError(f"a room is a string, not {room!r}")
    return rooms
