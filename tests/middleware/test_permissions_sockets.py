"""What clients may do, through real sockets on both transports."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import trio
import trio.testing

from rtserver import Disconnected, Server, Socket
from rtserver.core.rooms import is_socket_id, new_socket_id, user_room
from rtserver.middleware import Permissions, allow, deny
from rtserver.middleware.auth import JWTAuth
from rtserver.testing import open_server
from tests.behaviour.support import Kind, Peer, Serve

SECRET = "a secret of more than thirty-two characters"
ROOM_REFUSED = {"error": {"code": "room_refused", "message": "room refused"}}
FORBIDDEN = {"error": {"code": "forbidden", "message": "not allowed"}}
RULES = [
    allow("enter", "room:staff", scopes=["staff"]),
    deny("enter", "room:staff"),
    allow("enter", ["room:*", "user:{user}"]),
    deny("event", "purge"),
    allow("event"),
    allow("emit", ["room:*", user_room("*")]),
]

both_transports = pytest.mark.parametrize("kind", ["polling", "websocket"])


def token(user: str = "ann", scope: str = "chat") -> str:
    return jwt.encode({"sub": user, "scope": scope, "exp": int(time.time()) + 300}, SECRET, "HS256")


def auth(user: str = "ann", scope: str = "chat") -> dict[str, str]:
    return {"token": token(user, scope)}


def build(permissions: Permissions | None = None, **options: Any) -> Server:
    io = Server(middleware=[JWTAuth(SECRET, refusal_delay=0), permissions or Permissions(RULES)], **options)

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> list[str]:
        await socket.enter(room)
        return sorted(socket.rooms)

    @io.on("say")
    def say(socket: Socket, room: str, text: str) -> str:
        socket.to(room).emit("said", text)
        return "said"

    @io.on("shout")
    def shout(socket: Socket, text: str) -> None:
        socket.broadcast.emit("said", text)

    @io.on("purge")
    def purge(socket: Socket) -> str:
        return "purged"

    return io


class Caller:
    """A peer that asks, and keeps what else it hears."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.heard: list[Any] = []
        self._next = 0

    async def call(self, *event: Any) -> Any:
        self._next += 1
        await self.peer.send(f"42{self._next}{json.dumps(event)}")
        while True:
            packet = await self.peer.receive()
            assert isinstance(packet, str)
            if packet.startswith(f"43{self._next}["):
                (answer,) = json.loads(packet.removeprefix(f"43{self._next}")) or [None]
                return answer
            self.heard.append(json.loads(packet.removeprefix("42")))


async def join(site: Any, kind: Kind, user: str = "ann", scope: str = "chat") -> Caller:
    peer = await site.open(kind)
    await peer.join(auth=json.dumps(auth(user, scope)))
    return Caller(peer)


@both_transports
async def test_a_room_without_permission_has_no_member_and_no_history(
    serve: Serve, kind: Kind, log_output: list[Any]
) -> None:
    io = build()
    site = await serve(io)
    ann, boss = await join(site, kind), await join(site, kind, "boss", "staff")
    assert "room:staff" in await boss.call("enter", "room:staff")
    for room in ("room:staff", "user:bob", "hall", "", "\0user:ann", user_room("boss")):
        assert await ann.call("enter", room) == ROOM_REFUSED
    assert io.adapter.local_rooms()["room:staff"] == 1
    assert await boss.call("say", "room:staff", "secret") == "said"
    assert "room:open" in await ann.call("enter", "room:open")
    assert ann.heard == []
    assert [line["log_level"] for line in log_output if line["event"] == "permission_refused"] == ["warning"]
    assert [line for line in log_output if line["log_level"] == "error"] == []


@both_transports
async def test_an_event_without_permission_never_reaches_its_handler(serve: Serve, kind: Kind) -> None:
    site = await serve(build())
    ann = await join(site, kind)
    assert await ann.call("purge") == FORBIDDEN
    assert (await ann.call("nothing"))["error"]["code"] == "unknown_event"


@both_transports
async def test_events_that_no_rule_speaks_of_are_all_refused_alike(serve: Serve, kind: Kind) -> None:
    site = await serve(build(Permissions([allow("event", "enter"), allow("enter")])))
    ann = await join(site, kind)
    assert await ann.call("purge") == FORBIDDEN
    assert await ann.call("nothing") == FORBIDDEN
    assert "expires_at" in await ann.call("auth:refresh", auth())


@both_transports
async def test_what_is_emitted_for_a_client_goes_only_where_it_may(serve: Serve, kind: Kind) -> None:
    io = build()
    site = await serve(io)
    ann, bob = await join(site, kind), await join(site, kind, "bob")
    await bob.call("enter", "room:open")
    io.sockets_join("hall")
    assert await ann.call("say", "hall", "hello") == FORBIDDEN
    assert await ann.call("shout", "hello") == FORBIDDEN
    assert await ann.call("say", "room:open", "hello") == "said"
    assert await ann.call("say", user_room("bob"), "psst") == "said"
    # The server's own word is nobody's permission.
    io.to("hall").emit("said", "closing")
    await bob.call("enter", "room:open")
    assert bob.heard == [["said", "hello"], ["said", "psst"], ["said", "closing"]]


@both_transports
async def test_another_token_is_asked_about_the_rooms_of_the_first(serve: Serve, kind: Kind) -> None:
    io = build()
    site = await serve(io)
    boss = await join(site, kind, "boss", "staff")
    await boss.call("enter", "room:staff")
    await boss.call("enter", "room:open")
    io.sockets_join("joined by the server")
    answer = await boss.call("auth:refresh", auth("boss", "chat"))
    assert "expires_at" in answer
    rooms = io.adapter.local_rooms()
    assert "room:staff" not in rooms
    assert rooms["room:open"] == rooms["joined by the server"] == 1
    assert await boss.call("enter", "room:staff") == ROOM_REFUSED
    await boss.call("auth:refresh", auth("boss", "staff"))
    assert "room:staff" in await boss.call("enter", "room:staff")


@both_transports
async def test_the_own_room_of_another_socket_is_not_entered(serve: Serve, kind: Kind) -> None:
    io = build(Permissions([allow("event"), allow("enter")]))
    site = await serve(io)
    ann, bob = await join(site, kind), await join(site, kind, "bob")
    ids = {socket.user.id: socket.id for socket in io.sockets.values()}
    assert await ann.call("enter", ids["bob"]) == ROOM_REFUSED
    assert ids["ann"] in await ann.call("enter", ids["ann"])
    await bob.peer.vanish()
    while ids["bob"] in io.sockets:
        await trio.lowlevel.checkpoint()
    # It may come back, and on another node it may never have been here.
    assert await ann.call("enter", ids["bob"]) == ROOM_REFUSED
    assert await ann.call("enter", new_socket_id()) == ROOM_REFUSED


@pytest.mark.parametrize("name", ["general-announcement", "", "x" * 20, "A" * 20, "é" * 20, "=" * 20, "a" * 19 + "="])
def test_a_room_that_somebody_has_named_is_no_socket(name: str) -> None:
    # Twenty times "A" is twelve bytes of nothing, whose sum is not nothing.
    assert not is_socket_id(name)
    assert is_socket_id(new_socket_id())


# Whoever thinks for long.


class Slow:
    """Asks nobody until it is told to answer."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.answer = trio.Event()
        self.ended: list[str] = []

    async def ask(self, user: Any, action: str, name: str) -> bool:
        if action == "event":
            return True
        self.asked.set()
        await self.answer.wait()
        return True

    def serve(self) -> Server:
        io = Server(middleware=[JWTAuth(SECRET, refusal_delay=0), Permissions([], ask=self.ask)])

        @io.on("enter")
        async def enter(socket: Socket, room: str) -> None:
            try:
                await socket.enter(room)
            except Disconnected:
                self.ended.append("disconnected")
                raise

        return io


@both_transports
async def test_a_client_that_leaves_while_it_is_asked_about_becomes_no_member(
    serve: Serve, kind: Kind, log_output: list[Any]
) -> None:
    slow = Slow()
    io = slow.serve()
    site = await serve(io)
    ann = await join(site, kind)
    await ann.peer.send('42["enter","room"]')
    await slow.asked.wait()
    await ann.peer.vanish()
    while io.sockets:
        await trio.lowlevel.checkpoint()
    slow.answer.set()
    while not slow.ended:
        await trio.lowlevel.checkpoint()
    assert io.adapter.local_rooms() == {}
    assert [line for line in log_output if line["log_level"] == "error"] == []


@both_transports
async def test_a_room_that_is_revoked_while_it_is_asked_about_is_not_entered(serve: Serve, kind: Kind) -> None:
    slow = Slow()
    io = slow.serve()
    site = await serve(io)
    ann = await join(site, kind)
    await ann.peer.send('421["enter","room"]')
    await slow.asked.wait()
    io.revoke("ann", "room")
    slow.answer.set()
    assert json.loads(str(await ann.peer.receive()).removeprefix("431")) == [ROOM_REFUSED]
    assert "room" not in io.adapter.local_rooms()
    # It is not for ever: whoever is asked now may allow it.
    assert await ann.call("enter", "room") is None
    assert io.adapter.local_rooms()["room"] == 1


async def test_who_does_not_say_that_a_client_may_stay_has_said_no(
    autojump_clock: trio.testing.MockClock, log_output: list[Any]
) -> None:
    hanging = False

    async def ask(user: Any, action: str, name: str) -> bool:
        if hanging and name == "slow":
            await trio.sleep_forever()
        if hanging and name == "broken":
            raise RuntimeError("the database is away")
        return True

    io = build(Permissions([], ask=ask))
    async with open_server(io) as server, server.socket(auth=auth()) as client:
        for room in ("slow", "broken", "open"):
            await client.call("enter", room)
        hanging = True
        await client.call("auth:refresh", auth())
        rooms = io.adapter.local_rooms()
        assert "open" in rooms
        assert not {"slow", "broken"} & set(rooms)
    assert len([line for line in log_output if line["event"] == "room_check_failed"]) == 2


# The function that is asked.

Ask = Callable[[Any, str, str], "bool | Awaitable[bool | None] | None"]


def plain(user: Any, action: str, name: str) -> bool | None:
    return True if name in ("enter", "say", "room:one") else None


async def waiting(user: Any, action: str, name: str) -> bool | None:
    await trio.lowlevel.checkpoint()
    return plain(user, action, name)


@pytest.mark.parametrize("ask", [plain, waiting])
async def test_a_function_decides_where_no_rule_does(ask: Ask) -> None:
    rules = [deny("emit", "room:two"), allow("emit", "room:three")]
    async with open_server(build(Permissions(rules, ask=ask))) as server, server.socket(auth=auth()) as client:
        assert "room:one" in await client.call("enter", "room:one")
        assert await client.call("enter", "room:two") == ROOM_REFUSED
        assert await client.call("purge") == FORBIDDEN
        assert await client.call("nothing") == FORBIDDEN
        # Sending never waits, so that a function that does is not asked about it.
        assert await client.call("say", "room:one", "x") == ("said" if ask is plain else FORBIDDEN)
        assert await client.call("say", "room:two", "x") == FORBIDDEN
        assert await client.call("say", "room:three", "x") == "said"


@pytest.mark.parametrize("given", [None, 0, 1, "yes", [True]])
async def test_only_true_allows(given: Any) -> None:
    permissions = Permissions([allow("event", "enter")], ask=lambda user, action, name: given)
    async with open_server(build(permissions)) as server, server.socket(auth=auth()) as client:
        assert await client.call("enter", "room") == ROOM_REFUSED
        assert await client.call("purge") == FORBIDDEN
        assert permissions.refused == 2


async def test_a_function_that_fails_lets_nobody_in_and_tells_nothing() -> None:
    def ask(user: Any, action: str, name: str) -> bool:
        raise RuntimeError("password=secret")

    io = build(Permissions([allow("event", "enter")], ask=ask))
    async with open_server(io) as server, server.socket(auth=auth()) as client:
        internal = {"error": {"code": "internal", "message": "internal error"}}
        assert await client.call("enter", "room") == internal
        assert await client.call("purge") == internal
        assert "room" not in io.adapter.local_rooms()


async def test_the_guard_of_the_namespace_is_asked_too() -> None:
    io = build()
    asked: list[str] = []

    @io.guard_room
    def guard(socket: Socket, room: str) -> bool:
        asked.append(room)
        return room != "room:guarded"

    async with open_server(io) as server, server.socket(auth=auth()) as client:
        assert await client.call("enter", "room:guarded") == ROOM_REFUSED
        assert "room:open" in await client.call("enter", "room:open")
        assert await client.call("enter", "hall") == ROOM_REFUSED
        assert asked == ["room:guarded", "room:open"]
