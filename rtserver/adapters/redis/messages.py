"""What nodes say to one another, whatever the words on the wire.

Rule: plain values only. A dialect (``classic``, ``sharded``) reads bytes into these and
writes bytes out of their parts; ``namespace`` acts on them and sees no bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.types import Room


class Question(enum.Enum):
    """What a request asks for."""

    ACKS = "acknowledgements"
    SOCKETS = "sockets"
    ROOMS = "rooms"
    SERVER_SIDE = "server-side answers"


class Asked(NamedTuple):
    """Where an answer goes: the request's id and, if the dialect tells, the node that asks."""

    request: str
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An event for clients; with ``asked`` their acknowledgements are wanted."""

    args: Sequence[Any]
    target: Target
    flags: Flags
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Sockets are to join rooms; ``asked`` by versions that wait until it is done."""

    target: Target
    rooms: Sequence[Room]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Sockets are to leave rooms; ``asked`` as for ``Join``."""

    target: Target
    rooms: Sequence[Room]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Sockets are to go; ``asked`` as for ``Join``."""

    target: Target
    close: bool
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class FetchSockets:
    """Who is there?"""

    target: Target
    asked: Asked


@dataclass(frozen=True, slots=True)
class ListIds:
    """Whose ids are there? Asked by older versions."""

    target: Target
    asked: Asked


@dataclass(frozen=True, slots=True)
class ListRooms:
    """Which rooms are there?"""

    asked: Asked


@dataclass(frozen=True, slots=True)
class ServerSide:
    """An event for the servers; with ``asked`` it wants an answer."""

    args: Sequence[Any]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: sockets."""

    request: str
    uid: str | None
    sockets: Sequence[SocketDetails]


@dataclass(frozen=True, slots=True)
class Rooms:
    """An answer: rooms."""

    request: str
    uid: str | None
    rooms: Sequence[Room]


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: what a server's handler has returned."""

    request: str
    uid: str | None
    value: Any


@dataclass(frozen=True, slots=True)
class ClientCount:
    """An answer: how many clients of a node have been asked for acknowledgements."""

    request: str
    uid: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An answer: one client's acknowledgement."""

    request: str
    value: Any


Message: TypeAlias = (
    Broadcast
    | Join
    | Leave
    | Disconnect
    | FetchSockets
    | ListIds
    | ListRooms
    | ServerSide
    | Found
    | Rooms
    | Told
    | ClientCount
    | Acknowledged
)


class Outgoing(NamedTuple):
    """A message on its way."""

    channel: bytes
    payload: bytes


class Words(Protocol):
    """Makes the dialect of a namespace."""

    def __call__(self, namespace: str, uid: str | None = None) -> Dialect: ...


class Dialect(Protocol):
    """The words of one adapter of the reference, for one namespace and node.

    Attributes:
        uid: The node's name, one for each namespace.
        everybody: The channel that every node of the namespace hears.
        channels: The channels to hear, ``everybody`` included.
        patterns: The patterns to hear.
        lists_rooms: Whether nodes can be asked for their rooms; else these are known from the sockets.
    """

    uid: str
    everybody: bytes
    channels: tuple[bytes, ...]
    patterns: tuple[bytes, ...]
    lists_rooms: bool

    # Out. All raise ``EncodeError`` for what has no form on the wire.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags, request: str | None = None) -> Outgoing: ...

    def join(self, target: Target, rooms: Sequence[Room]) -> Outgoing: ...

    def leave(self, target: Target, rooms: Sequence[Room]) -> Outgoing: ...

    def disconnect(self, target: Target, close: bool) -> Outgoing: ...

    def server_side(self, args: Sequence[Any], request: str | None = None) -> Outgoing: ...

    def fetch(self, target: Target, request: str) -> Outgoing: ...

    def list_rooms(self, request: str) -> Outgoing | None: ...

    def new_request(self) -> str:
        """A request's id."""

    # Answers. None to what nobody asks for in these words.

    def found(self, asked: Asked, sockets: Sequence[SocketDetails]) -> Outgoing: ...

    def ids(self, asked: Asked, ids: Sequence[str]) -> Outgoing | None: ...

    def rooms(self, asked: Asked, rooms: Sequence[Room]) -> Outgoing | None: ...

    def told(self, asked: Asked, value: Any) -> Outgoing: ...

    def done(self, asked: Asked) -> Outgoing | None: ...

    def client_count(self, asked: Asked, count: int) -> Outgoing: ...

    def acknowledged(self, asked: Asked, args: Sequence[Any]) -> Outgoing: ...

    # In.

    def room(self, channel: bytes) -> Room | None:
        """The room that everything in ``channel`` is for, if it is for one."""

    def read(self, channel: bytes, payload: bytes, pending: Mapping[str, Question]) -> Message | None:
        """What somebody else has said; None if it was this node, or is of no interest.

        Args:
            channel: Where it was published.
            payload: What was.
            pending: What this node waits for, by request.

        Raises:
            ProtocolError: It is not what it should be.
        """

    # Which channels there are.

    def room_channel(self, room: Room) -> bytes | None:
        """The channel to be heard while somebody is in ``room``, if it has one to itself."""

    def peers(self) -> bytes:
        """The pattern of the channels that each node has to itself."""

    def peer(self, channel: bytes) -> str | None:
        """The node that has ``channel`` to itself."""
