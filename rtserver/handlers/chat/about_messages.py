"""Events about messages.

Rule: a message that was sent again is told to the room again: whoever stored it first may
have died before. Clients know it by its number.
"""

from __future__ import annotations

from rtserver import RoomRefused, Socket
from rtserver.handlers.chat import events
from rtserver.handlers.chat.messages import Messages
from rtserver.handlers.chat.sockets import Audience, ref_of, room_key, user_id


def register(audience: Audience, messages: Messages) -> None:
    """Serve messages, how far they were read, and who writes one."""
    chat = audience.namespace
    chat.emits(*events.ABOUT_MESSAGES)

    @chat.on(events.POST)
    async def post(socket: Socket, draft: events.Draft) -> events.Message:
        message = await messages.post(user_id(socket), draft)
        socket.to(room_key(draft.room)).emit(events.POSTED, message)
        return message

    @chat.on(events.EDIT)
    async def edit(socket: Socket, wanted: events.Edit) -> events.Message:
        message = await messages.edit(user_id(socket), wanted)
        socket.to(room_key(wanted.room)).emit(events.EDITED, message)
        return message

    @chat.on(events.DELETE)
    async def delete(socket: Socket, ref: events.MessageRef) -> events.Message:
        message = await messages.delete(user_id(socket), ref)
        socket.to(room_key(ref.room)).emit(events.DELETED, message)
        return message

    @chat.on(events.HISTORY)
    async def history(socket: Socket, query: events.HistoryQuery) -> events.HistoryPage:
        return await messages.history(user_id(socket), query)

    @chat.on(events.READ)
    async def read(socket: Socket, ref: events.MessageRef) -> events.ReadState:
        state = await messages.mark_read(user_id(socket), ref)
        audience.user(user_id(socket)).except_(socket.id).emit(events.WAS_READ, state)
        return state

    @chat.on(events.TYPING_IN)
    def typing(socket: Socket, wanted: events.TypingIn) -> None:
        key = room_key(wanted.room)
        if key not in socket.rooms:
            raise RoomRefused
        socket.to(key).volatile.emit(events.TYPING, events.Typing(wanted.room, ref_of(socket), wanted.typing))
