"""What the ``/admin`` namespace says and hears."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rtserver import event

PAGE_SIZE = 100

Text = Annotated[str, msgspec.Meta(max_length=256)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=PAGE_SIZE)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
NodeState = Literal["starting", "ready", "draining", "full"]
RelayState = Literal["none", "healthy", "degraded"]


class NamespaceReport(msgspec.Struct, frozen=True):
    """What a node has of one namespace. ``events`` counts those received since the start."""

    name: str
    sockets: int
    rooms: int
    events: int


class NodeReport(msgspec.Struct, frozen=True):
    """One node at one moment. Counters count since its start.

    Args:
        id: Of the process; a node that is restarted has another one.
        name: Host and process id, for people.
        state: Whether it takes new clients.
        uptime: Seconds.
        polling: Sessions by long-polling.
        websocket: Sessions by WebSocket.
        opened: Sessions, counted.
        packets_in: Events received, counted.
        packets_out: Engine.IO packets sent, counted.
        bytes_in: Read from sockets, counted.
        bytes_out: Written to sockets, counted.
        slow_consumers: Sessions closed because they did not keep up, counted.
        loop_delay: By how much the loop was late, in seconds.
        memory: Resident, in bytes; 0 where the system does not tell.
        relay: Whether it hears the other nodes.
        namespaces: Static ones each; all dynamic ones together under ``(dynamic)``.
    """

    id: str
    name: str
    state: NodeState
    uptime: float
    polling: int
    websocket: int
    opened: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    slow_consumers: int
    loop_delay: float
    memory: int
    relay: RelayState
    namespaces: list[NamespaceReport]


class ClusterReport(msgspec.Struct, frozen=True):
    """Every node that has reported of late. ``at`` is in milliseconds since the epoch."""

    at: int
    nodes: list[NodeReport]


class SocketsQuery(msgspec.Struct, frozen=True):
    """A page of sockets whose id, user, address or rooms contain ``search``."""

    namespace: Text
    search: Text = ""
    offset: Offset = 0
    size: PageSize = 50


class SocketSummary(msgspec.Struct, frozen=True):
    """One socket, on whatever node. ``since`` is in milliseconds since the epoch."""

    id: str
    user: str | None
    address: str
    since: int
    rooms: list[str]


class SocketsPage(msgspec.Struct, frozen=True):
    """Some of ``total`` sockets. ``silent`` nodes did not answer in time."""

    total: int
    sockets: list[SocketSummary]
    silent: int = 0


class RoomsQuery(msgspec.Struct, frozen=True):
    """A page of rooms whose names contain ``search``, largest first."""

    namespace: Text
    search: Text = ""
    offset: Offset = 0
    size: PageSize = 50


class RoomSummary(msgspec.Struct, frozen=True):
    """A room, and how many sockets are in it on all nodes."""

    name: str
    sockets: int


class RoomsPage(msgspec.Struct, frozen=True):
    """Some of ``total`` rooms."""

    total: int
    rooms: list[RoomSummary]


class SocketRef(msgspec.Struct, frozen=True):
    """A socket of a namespace."""

    namespace: Text
    id: Text


class UserRef(msgspec.Struct, frozen=True):
    """A user, wherever they are connected."""

    id: Text


class NodeRef(msgspec.Struct, frozen=True):
    """A node, by the id in its report."""

    id: Text


class Done(msgspec.Struct, frozen=True):
    """It has been passed on to the nodes."""

    done: bool = True


class SocketEvent(msgspec.Struct, frozen=True):
    """An event of a watched socket. ``args`` is JSON, cut where it is long; ``at`` in milliseconds."""

    namespace: str
    id: str
    direction: Literal["in", "out"]
    event: str
    args: str
    at: int


REPORT = event("cluster:report", ClusterReport)
SOCKET_EVENT = event("cluster:socket_event", SocketEvent)
SOCKETS = event("cluster:sockets", SocketsQuery, ack=SocketsPage)
ROOMS = event("cluster:rooms", RoomsQuery, ack=RoomsPage)
WATCH = event("cluster:watch", SocketRef, ack=Done)
UNWATCH = event("cluster:unwatch", SocketRef, ack=Done)
DISCONNECT_SOCKET = event("cluster:disconnect_socket", SocketRef, ack=Done)
DISCONNECT_USER = event("cluster:disconnect_user", UserRef, ack=Done)
DRAIN = event("cluster:drain", NodeRef, ack=Done)
