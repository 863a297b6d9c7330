"""The adapter protocol, and the adapter's view of the sockets of its node.

Rule: this is the second seam upwards. What an adapter stores and calls is here;
``rtserver.core`` implements ``LocalSocket`` and ``NamespaceView``. Membership is
local and immediate; whatever may involve other nodes is async or fire-and-forget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, cast

from rtserver.protocol.engineio.outbound import Outbound
from rtserver.types import Room

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a broadcast addresses.

    Args:
        rooms: Sockets in at least one of these; empty means everybody.
        excluded: But none that is in one of these.
    """

    rooms: frozenset[Room] = frozenset()
    excluded: frozenset[Room] = frozenset()


@dataclass(frozen=True, slots=True)
class Flags:
    """How a broadcast travels.

    Args:
        volatile: Dropped for whoever is not ready to take it now.
        local: Stays on this node.
        compress: May be compressed where compression was negotiated.
    """

    volatile: bool = False
    local: bool = False
    compress: bool = True


@dataclass(frozen=True, slots=True)
class SocketDetails:
    """What is known of a socket, on whatever node it is.

    Args:
        id: The public socket id.
        rooms: The rooms that it is in, its own included.
        data: What the application stored on it, as JSON has it.
        handshake: The handshake as a plain mapping.
        local: Whether it is on this node.
    """

    id: str
    rooms: frozenset[Room]
    data: Mapping[str, Any] = field(default_factory=dict)
    handshake: Mapping[str, Any] = field(default_factory=dict)
    local: bool = True


class Gathered(list[T]):
    """What nodes have answered, and who has not.

    Attributes:
        silent: How many nodes have not answered in time.
        silent_nodes: Which ones, by the names that adapters have for nodes; all that may be, when
            some have answered without saying theirs.
    """

    __slots__ = ("silent", "silent_nodes")

    def __init__(
        self, answers: Iterable[T] = (), *, silent: int = 0, silent_nodes: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(answers)
        self.silent = silent
        self.silent_nodes = silent_nodes


class Watch:
    """What passes through an adapter for as long as somebody looks.

    Attributes:
        rooms: Those that events were for.
        missed_any: Whether something else has happened that concerns sockets: an event for everybody, a change of
            rooms, a disconnect; or whether something may have passed unseen.
    """

    __slots__ = ("missed_any", "rooms")

    def __init__(self) -> None:
        self.rooms: set[Room] = set()
        self.missed_any = False

    def sent(self, rooms: frozenset[Room]) -> None:
        """An event was for these; for everybody if there are none."""
        self.rooms.update(rooms)
        self.missed_any = self.missed_any or not rooms


class LocalSocket(Protocol):
    """A connected socket of this node, as an adapter sees it.

    ``memberships`` belongs to the adapter: the rooms joined, without the own one;
    None for none, because most sockets are in no other room.
    """

    id: str
    memberships: set[Room] | None

    def deliver(self, message: Outbound, volatile: bool, args: Sequence[Any]) -> None:
        """Send a broadcast's message to the client. ``args`` is what it was made of."""

    def details(self) -> SocketDetails: ...

    def disconnect(self, close: bool = False) -> None: ...

    def join(self, *rooms: Room) -> None:
        """Raises ``LimitExceeded`` when it would be in too many."""

    def leave(self, *rooms: Room) -> None: ...

    def expect_ack(self, ack_id: int, on_answer: AckListener) -> None:
        """Call ``on_answer`` once with the acknowledgement to ``ack_id``, or with None if the socket leaves first."""

    def forget_ack(self, ack_id: int) -> None: ...


AckListener = Callable[[Sequence[Any] | None], None]


class NamespaceView(Protocol):
    """A namespace, as its adapter sees it."""

    name: str

    @property
    def event(self) -> Callable[[Sequence[Any], Target, Flags], Outbound]:
        """Makes an event ready for sending, and keeps it for those who may miss it."""

    def question(self, args: Sequence[Any], ack_id: int, compress: bool) -> Outbound:
        """Make an event that wants to be acknowledged ready for sending."""

    def deliver(self, sockets: Iterable[Any], message: Outbound, volatile: bool, args: Sequence[Any]) -> None:
        """Send a broadcast's message to sockets of this node. ``args`` is what it was made of."""

    def next_ack_id(self) -> int: ...

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run ``task`` beside the handlers. Raises ``RuntimeError`` when the server does not run."""

    def on_server_side_event(self, args: Sequence[Any], answer: Callable[[Any], None] | None) -> None:
        """Another node has sent a server-side event; ``answer`` if it wants one."""


class PendingAnswers(Protocol):
    """The acknowledgements of one broadcast, as they come in."""

    def expect(self, count: int) -> None:
        """``count`` more clients have been asked."""

    def answered(self, args: Sequence[Any]) -> None:
        """A client has acknowledged."""

    def left(self) -> None:
        """A client that was asked has gone away."""

    def all_asked(self) -> None:
        """Nobody else will be asked."""


class Adapter(Protocol):
    """Rooms of one namespace, and the way to its sockets on every node.

    Attributes:
        ordered: Whether there may be other nodes, and all of them hear all that is for any room in one order.
    """

    @property
    def ordered(self) -> bool: ...

    def watch(self) -> AbstractContextManager[Watch]:
        """Look at what passes."""

    # Membership: local and immediate.

    def add(self, socket: LocalSocket) -> None:
        """A socket has connected; it is in its own room from now on."""

    def remove(self, socket: LocalSocket) -> None:
        """A socket is gone, and out of every room."""

    def suspend(self, socket: LocalSocket) -> None:
        """A socket was cut off and may come back: it counts as gone, and gets what is sent to its rooms."""

    def join(self, socket: LocalSocket, room: Room) -> None: ...

    def leave(self, socket: LocalSocket, room: Room) -> None: ...

    def rooms_of(self, socket: LocalSocket) -> AbstractSet[Room]:
        """The rooms of a local socket, its own included."""

    def local_rooms(self) -> Mapping[Room, int]:
        """The rooms of this node that were joined by name, with their sizes."""

    def local_sockets(self, target: Target) -> Sequence[LocalSocket]:
        """The sockets of this node that ``target`` addresses, each once."""

    # Everything else may reach other nodes.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags) -> None: ...

    def broadcast_with_ack(
        self, args: Sequence[Any], target: Target, flags: Flags, answers: PendingAnswers
    ) -> Callable[[], None]:
        """Broadcast and collect acknowledgements into ``answers``; returns what stops the collecting."""

    async def fetch_sockets(self, target: Target, flags: Flags) -> Gathered[SocketDetails]: ...

    async def all_rooms(self) -> AbstractSet[Room]:
        """The rooms of every node, own rooms of sockets included."""

    def sockets_join(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        """Raises ``LimitExceeded`` when a local socket would be in too many; the others have joined."""

    def sockets_leave(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None: ...

    def disconnect_sockets(self, target: Target, flags: Flags, close: bool) -> None: ...

    def server_side_emit(self, args: Sequence[Any]) -> None:
        """Send an event to the other nodes, never to this one."""

    async def server_side_call(self, args: Sequence[Any]) -> Gathered[Any]:
        """The same, and wait for what each of them answers."""

    async def server_count(self) -> int:
        """How many nodes serve this namespace."""

    def close(self) -> None:
        """The namespace is gone."""


AdapterFactory = Callable[[NamespaceView], Adapter]


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """The way to other nodes: what an adapter's factory counts that has one.

    Args:
        state: How well this node hears the others: ``starting``, ``healthy`` or ``degraded``.
        published: Messages handed over to it.
        received: Messages from it.
        lost: Messages that were given up while it was away.
        refused: Messages from it that were not what they should be.
        connects: Connections made.
        backlog: Messages that wait to be sent.
    """

    state: Literal["starting", "healthy", "degraded"]
    published: int
    received: int
    lost: int
    refused: int
    connects: int
    backlog: int


def relay_of(factory: AdapterFactory) -> RelayStatistics | None:
    """What an adapter's factory counts of the way to other nodes; None if it has none."""
    statistics = getattr(factory, "statistics", None)
    return None if statistics is None else cast(RelayStatistics, statistics())
