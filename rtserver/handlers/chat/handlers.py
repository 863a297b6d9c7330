"""The ``/chat`` namespace.

Rule: handlers only join services with sockets: what may be done is decided by a service, in
the transaction that does it, and only then is anybody told.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtserver import Server, Socket
from rtserver.handlers.chat import about_messages, about_rooms
from rtserver.handlers.chat.events import OPEN, ChatState
from rtserver.handlers.chat.invitations import Invitations
from rtserver.handlers.chat.members import Members
from rtserver.handlers.chat.messages import Messages
from rtserver.handlers.chat.rooms import Rooms
from rtserver.handlers.chat.sockets import Attendance, Audience, room_key, room_of_key, user_id
from rtserver.handlers.storage.database import Database, Unavailable

NAMESPACE = "/chat"


@dataclass(frozen=True, slots=True)
class ChatServices:
    """What the handlers ask."""

    rooms: Rooms
    members: Members
    invitations: Invitations
    messages: Messages

    @classmethod
    def of(cls, database: Database) -> ChatServices:
        return cls(Rooms(database), Members(database), Invitations(database), Messages(database))


def register(io: Server, services: ChatServices, attendance: Attendance) -> None:
    """Serve the chat in ``/chat``.

    Args:
        io: The server; authentication must have set ``socket.user``.
        services: Rooms, members, invitations and messages.
        attendance: Is told of who has opened the chat, and of every change of a membership.
    """
    chat = io.of(NAMESPACE)
    audience = Audience(chat, attendance)
    about_rooms.register(audience, services.rooms, services.members, services.invitations)
    about_messages.register(audience, services.messages)

    @chat.guard_room
    async def may_enter(socket: Socket, room: str) -> bool:
        room_id = room_of_key(room)
        try:
            return room_id is not None and await services.rooms.is_member(user_id(socket), room_id)
        except Unavailable:
            # Asked again about a room that the socket is in: what was decided holds while nobody can be asked.
            if room in socket.rooms:
                return True
            raise

    @chat.on_connect
    def back(socket: Socket) -> None:
        if socket.recovered:
            # It has its rooms again, so it need not ask for them.
            audience.opened(socket)

    @chat.on(OPEN)
    async def open_chat(socket: Socket) -> ChatState:
        # In the rooms first, and then what is in them: nothing falls between.
        joined = await services.rooms.ids_of(user_id(socket))
        socket.join(*map(room_key, joined))
        state = await services.rooms.state(user_id(socket))
        # A membership may have ended meanwhile.
        socket.leave(*map(room_key, set(joined).difference(one.room.id for one in state.rooms)))
        audience.opened(socket)
        return state
