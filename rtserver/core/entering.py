"""Rooms that clients ask for: who lets them in, and who asks again later.

Rule: fails closed. Whoever leaves, or is taken out, while somebody thinks about the request
is not put in afterwards. What the server joins by itself is not looked at here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import structlog
import trio

from rtserver.core.pipeline import EnterContext
from rtserver.core.rooms import PRIVATE, is_socket_id
from rtserver.errors import Disconnected, LimitExceeded, RoomRefused
from rtserver.types import Room

if TYPE_CHECKING:
    from rtserver.core.socket import Socket

log = structlog.get_logger("rtserver.rooms")

# Who has not said by then that a client may stay in its rooms has said no.
AGAIN_WITHIN = 10.0


class _Request:
    """A room is being asked for; ``withdrawn`` once it has been left in the meantime."""

    __slots__ = ("withdrawn",)

    def __init__(self) -> None:
        self.withdrawn = False


class Entries:
    """The rooms that a client has asked for.

    Attributes:
        rooms: Those that it was let into.
    """

    __slots__ = ("_asking", "rooms")

    def __init__(self) -> None:
        self.rooms: set[Room] = set()
        self._asking: dict[_Request, Room] = {}

    def ask(self, room: Room) -> _Request:
        request = _Request()
        self._asking[request] = room
        return request

    def answered(self, request: _Request) -> None:
        del self._asking[request]

    def left(self, room: Room) -> None:
        """The socket is not, or not to be, in ``room``."""
        self.rooms.discard(room)
        for request, asked in self._asking.items():
            if asked == room:
                request.withdrawn = True


async def enter(socket: Socket, room: Room) -> None:
    """Do what ``Socket.enter`` says."""
    if not isinstance(room, str) or room.startswith(PRIVATE):
        raise RoomRefused
    if room != socket.id and (is_socket_id(room) or room in socket.namespace.sockets):
        raise RoomRefused
    entries = socket.entries
    if entries is None:
        entries = socket.entries = Entries()
    request = entries.ask(room)
    try:
        await _allow(socket, room)
    finally:
        entries.answered(request)
    if not socket.connected:
        raise Disconnected("the socket disconnected before it entered the room")
    if request.withdrawn:
        raise RoomRefused
    try:
        socket.join(room)
    except LimitExceeded as exc:
        # The client has chosen the room, so this is nobody's bug.
        raise RoomRefused(str(exc), code="too_many_rooms") from exc
    entries.rooms.add(room)


async def ask_again(socket: Socket) -> bool:
    """Do what ``Socket.ask_again`` says. Returns whether all who were asked could say something."""
    sure = True
    deadline = trio.current_time() + AGAIN_WITHIN
    for room in sorted(socket.entries.rooms) if socket.entries is not None else ():
        try:
            with trio.fail_at(deadline):
                await _allow(socket, room)
        except RoomRefused:
            socket.leave(room)
        except Exception:
            log.exception("room_check_failed", namespace=socket.namespace.name)
            socket.leave(room)
            sure = False
    return sure


async def _allow(socket: Socket, room: Room) -> None:
    """Raises ``RoomRefused`` unless middleware and the guard allow it."""
    verdict = socket.namespace.registry.enter_chain(EnterContext(socket, room))
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict is False:
        raise RoomRefused
