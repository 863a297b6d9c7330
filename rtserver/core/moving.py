"""A socket that was cut off and comes back to another node: that node asks for it, and gets all of it.

Rule: exact, or not at all. A connection to Redis delivers in one order to all who hear it. So what the first node had
heard when it let go of the socket, and what the second one hears once it has it, meet without a gap, unless something
that concerns the socket passes in between: then nobody can say on which side of the question it was, and the client
begins afresh. Whoever asks has to know the user; what comes from other nodes is looked at.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio

from rtserver.core.entering import Entries
from rtserver.core.recoverable import RecoverableSocket
from rtserver.core.rooms import is_socket_id
from rtserver.entropy import random_id
from rtserver.errors import LimitExceeded, ProtocolError
from rtserver.protocol.socketio.extensions import decode, encode
from rtserver.protocol.socketio.packet import Packet
from rtserver.protocol.socketio.parser import Parser
from rtserver.protocol.socketio.values import UNSENDABLE

if TYPE_CHECKING:
    from rtserver.core.client import Client
    from rtserver.core.namespace import Namespace
    from rtserver.core.recovery import Recovery
    from rtserver.core.window import Kept

ASK = "rtserver:recover"
TAKEN = "rtserver:recovered"
# Seconds that the other nodes have to say whether they know a socket.
ASK_WITHIN = 1.0
# Seconds between two questions, so that a crowd in a busy room leaves the nodes some time.
ASK_AGAIN = 0.01

Text = Annotated[str, msgspec.Meta(max_length=256)]


class MovedEvent(msgspec.Struct, frozen=True):
    """An event that was missed, and the rooms that it was for."""

    args: Annotated[list[Any], msgspec.Meta(min_length=1)]
    rooms: list[str]


class MovedSocket(msgspec.Struct, frozen=True):
    """A socket on its way to another node."""

    sid: Text
    rooms: list[str]
    entered: list[str]
    data: dict[str, Any]
    missed: list[MovedEvent]


# On the node that has it.


def give(recovery: Recovery, namespace: Namespace, asked: Sequence[Any]) -> str | None:
    """Lend a socket to another node that asks for it; None if there is none for this user, or not all of it.

    Args:
        recovery: What this node remembers.
        namespace: Where it was.
        asked: Its pid, the offset that its client has received last, the user who has come, and who asks.
    """
    match asked:
        case [str(pid), str() | None as offset, str() | int() | None as user, str(asking)]:
            socket = recovery.find(namespace, pid, asking)
        case _:
            return None
    start = recovery.read_offset(offset)
    if socket is None or start is None or not socket.is_of(user) or (user is None and socket.user is not None):
        return None
    socket.lose_connection()
    missed = recovery.missed(socket, start, set()) if recovery.remembers(socket) else None
    if missed is None:
        return None
    try:
        moved = encode(_moved(socket, missed, namespace.parser))
    except (*UNSENDABLE, ProtocolError):
        # It can go on here only.
        return None
    socket.lent_to = asking
    return base64.b64encode(moved).decode("ascii")


def taken(recovery: Recovery, namespace: Namespace, told: Sequence[Any]) -> None:
    """Let go of a socket: the node that it was lent to has it."""
    match told:
        case [str(pid), str(asking)]:
            socket = recovery.find(namespace, pid, asking)
            if socket is not None and socket.lent_to == asking:
                recovery.forget(socket)


def _moved(socket: RecoverableSocket, missed: Sequence[Kept], parser: Parser) -> dict[str, Any]:
    return {
        "sid": socket.id,
        "rooms": sorted(socket.memberships or ()),
        "entered": sorted(socket.entries.rooms) if socket.entries is not None else [],
        "data": socket.data,
        "missed": [{"args": _args(kept, parser), "rooms": sorted(kept.rooms)} for kept in missed],
    }


def _args(kept: Kept, parser: Parser) -> list[Any]:
    """An event's name and arguments, without the offset that it has had here."""
    message = kept.message
    assert message is not None
    if message.text is None:
        packet: Any = parser.decode_binary(message.attachments[0])
    else:
        packet = parser.decode_text(message.text.decode())
        for attachment in () if isinstance(packet, Packet) else message.attachments:
            packet = packet.add(attachment)
    args: list[Any] = packet.data[:-1]
    return args


# On the node that its client has come to.


async def fetch(
    recovery: Recovery, namespace: Namespace, client: Client, asked: tuple[str, str | None, Any]
) -> RecoverableSocket | None:
    """Ask the other nodes for a socket; None if none has it, or nobody can say that it is whole.

    Returns:
        It, remembered on this node from now on.
    """
    if not isinstance(asked[2], str | int | None):
        return None
    asking = random_id(12)
    with trio.move_on_after(ASK_WITHIN):
        while True:
            with namespace.adapter.watch() as watch:
                moved = await _ask(namespace, (*asked, asking))
                if moved is None or moved.sid in namespace.sockets:
                    return None
                if not watch.missed_any and watch.rooms.isdisjoint({*moved.rooms, moved.sid}):
                    socket = _adopt(recovery, namespace, client, asked, moved)
                    namespace.adapter.server_side_emit((TAKEN, asked[0], asking))
                    return socket
            await trio.sleep(ASK_AGAIN)
    return None


async def _ask(namespace: Namespace, asked: Sequence[Any]) -> MovedSocket | None:
    try:
        answers = await namespace.adapter.server_side_call((ASK, *asked))
    except LimitExceeded:
        return None
    return next((found for answer in answers if (found := _read(answer)) is not None), None)


def _read(answer: Any) -> MovedSocket | None:
    """What another node has given, if it makes sense."""
    if not isinstance(answer, str):
        return None
    try:
        moved = msgspec.convert(decode(base64.b64decode(answer, validate=True)), MovedSocket)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    return moved if is_socket_id(moved.sid) and all(isinstance(one.args[0], str) for one in moved.missed) else None


def _adopt(
    recovery: Recovery,
    namespace: Namespace,
    client: Client,
    asked: tuple[str, str | None, Any],
    moved: MovedSocket,
) -> RecoverableSocket:
    socket = RecoverableSocket(namespace, client, {}, recovery)
    socket.id, socket.pid = moved.sid, asked[0]
    socket.data.update(moved.data)
    socket.belongs_to(asked[2])
    if moved.entered:
        socket.entries = Entries()
        socket.entries.rooms.update(moved.entered)
    for room in moved.rooms:
        namespace.adapter.join(socket, room)
    recovery.remember(socket)
    for one in moved.missed:
        recovery.keep_for(socket, one.args, frozenset(one.rooms))
    return socket
