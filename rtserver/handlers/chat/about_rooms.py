"""Events about rooms and who is in them."""

from __future__ import annotations

from rtserver import Socket
from rtserver.handlers.chat import events
from rtserver.handlers.chat.invitations import Invitations
from rtserver.handlers.chat.members import Members
from rtserver.handlers.chat.rooms import Rooms
from rtserver.handlers.chat.sockets import Audience, room_key, user_id


def register(audience: Audience, rooms: Rooms, members: Members, invitations: Invitations) -> None:
    """Serve rooms, members and invitations."""
    audience.namespace.emits(*events.ABOUT_ROOMS)
    _register_rooms(audience, rooms)
    _register_leaving(audience, rooms)
    _register_members(audience, members)
    _register_invitations(audience, invitations)


def _register_rooms(audience: Audience, rooms: Rooms) -> None:
    chat = audience.namespace

    @chat.on(events.ROOMS)
    async def public(socket: Socket, query: events.RoomQuery) -> events.RoomPage:
        return await rooms.public(query)

    @chat.on(events.CREATE)
    async def create(socket: Socket, wanted: events.NewRoom) -> events.RoomState:
        made = await rooms.create(user_id(socket), wanted)
        await _enter(audience, socket, made.state)
        return made.state

    @chat.on(events.JOIN)
    async def join(socket: Socket, ref: events.RoomRef) -> events.RoomState:
        joined = await rooms.join(user_id(socket), ref.room)
        if joined.new:
            audience.room(ref.room).emit(events.JOINED, joined.member)
        await _enter(audience, socket, joined.state)
        return joined.state


async def _enter(audience: Audience, socket: Socket, state: events.RoomState) -> None:
    """The user is a member: this socket enters as clients do, and the others are put beside it."""
    await socket.enter(room_key(state.room.id))
    audience.add(user_id(socket), state.room.id)
    audience.user(user_id(socket)).except_(socket.id).emit(events.ROOM_OPENED, state)


def _register_leaving(audience: Audience, rooms: Rooms) -> None:
    chat = audience.namespace

    @chat.on(events.LEAVE)
    async def leave(socket: Socket, ref: events.RoomRef) -> events.Done:
        user = user_id(socket)
        departed = await rooms.leave(user, ref.room)
        audience.user(user).except_(socket.id).emit(events.ROOM_GONE, events.RoomGone(ref.room, "left"))
        audience.drop(user, ref.room)
        if departed.heir is not None:
            audience.room(ref.room).emit(events.ROLE_CHANGED, departed.heir)
        audience.room(ref.room).emit(events.LEFT, events.Left(ref.room, departed.user))
        _uninvite(audience, ref.room, departed.uninvited)
        return events.Done()

    @chat.on(events.CLOSE)
    async def close(socket: Socket, ref: events.RoomRef) -> events.Done:
        uninvited = await rooms.close(user_id(socket), ref.room)
        audience.room(ref.room).except_(socket.id).emit(events.ROOM_GONE, events.RoomGone(ref.room, "closed"))
        audience.drop_all(ref.room)
        _uninvite(audience, ref.room, uninvited)
        return events.Done()


def _uninvite(audience: Audience, room_id: str, users: tuple[str, ...]) -> None:
    for user in users:
        audience.user(user).emit(events.UNINVITED, events.RoomRef(room_id))


def _register_members(audience: Audience, members: Members) -> None:
    chat = audience.namespace

    @chat.on(events.MEMBERS)
    async def page(socket: Socket, query: events.MemberQuery) -> events.MemberPage:
        return await members.page(user_id(socket), query)

    @chat.on(events.REMOVE)
    async def remove(socket: Socket, ref: events.MemberRef) -> events.Done:
        removed = await members.remove(user_id(socket), ref)
        audience.user(removed.id).emit(events.ROOM_GONE, events.RoomGone(ref.room, "removed"))
        audience.drop(removed.id, ref.room)
        audience.room(ref.room).emit(events.LEFT, events.Left(ref.room, removed))
        return events.Done()

    @chat.on(events.SET_ROLE)
    async def set_role(socket: Socket, wanted: events.NewRole) -> events.Member:
        changed = await members.set_role(user_id(socket), wanted)
        for member in changed:
            audience.room(wanted.room).emit(events.ROLE_CHANGED, member)
        return changed[0]


def _register_invitations(audience: Audience, invitations: Invitations) -> None:
    chat = audience.namespace

    @chat.on(events.INVITE)
    async def invite(socket: Socket, wanted: events.InviteByName) -> events.UserRef:
        invited, invitation = await invitations.invite(user_id(socket), wanted)
        audience.user(invited.id).emit(events.INVITED, invitation)
        return invited

    @chat.on(events.DECLINE)
    async def decline(socket: Socket, ref: events.RoomRef) -> events.Done:
        await invitations.decline(user_id(socket), ref.room)
        audience.user(user_id(socket)).except_(socket.id).emit(events.UNINVITED, ref)
        return events.Done()
