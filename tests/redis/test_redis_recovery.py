"""A client that was cut off and comes back to another node: all of it, or a new beginning."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel

from rtserver import Handshake, RoomRefused, Server, Socket
from rtserver.adapters.redis import RedisAdapter
from rtserver.client import ClientSocket
from rtserver.core.moving import ASK
from rtserver.core.recoverable import RecoverableSocket
from rtserver.middleware.auth import Auth, User
from rtserver.protocol.socketio.extensions import encode
from rtserver.testing import InProcessServer, open_server
from tests.services.redis import RedisServer

PATIENCE = 10.0
HOPS = 12
# Turns of the scheduler between two words of a node: now and then nothing passes while a socket moves.
PAUSE = 200


def node(url: str, **options: Any) -> Server:
    options.setdefault("connection_state_recovery", True)
    io = Server(adapter=RedisAdapter(url), **options)

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> None:
        await socket.enter(room)

    return io


def side(io: Server, socket: ClientSocket | str) -> RecoverableSocket:
    """The server's side of a client."""
    found = io.sockets[socket if isinstance(socket, str) else str(socket.id)]
    assert isinstance(found, RecoverableSocket)
    return found


async def until_both_hear(nodes: list[Server]) -> None:
    with trio.fail_after(PATIENCE):
        while [await io.adapter.server_count() for io in nodes] != [len(nodes)] * len(nodes):
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def two(url: str, **options: Any) -> AsyncIterator[list[InProcessServer]]:
    nodes = [node(url, **options) for _ in range(2)]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(open_server(io)) for io in nodes]
        await until_both_hear(nodes)
        for io in nodes:
            io.on_server_side("nothing")(lambda: None)
        # What does not come is a failure, and not waited for.
        with trio.fail_after(PATIENCE):
            yield servers
        for io in nodes:
            # Nobody comes back to a test that is over.
            io.disconnect_sockets()


async def settled(*servers: InProcessServer) -> None:
    """What the nodes have said so far has been heard by all of them."""
    for server in servers:
        await server.io.server_side_call("nothing")


async def cut(server: InProcessServer, socket: ClientSocket) -> dict[str, Any]:
    """Cut a client off; what it says when it comes back."""
    pid = side(server.io, socket).pid
    server.drop_connections()
    # What had arrived is received yet.
    await socket.wait_closed()
    return {"pid": pid, "offset": socket._membership._offset}


async def test_a_client_comes_back_to_another_node_and_to_the_first_again(shared_redis: RedisServer) -> None:
    async with two(shared_redis.url) as servers:
        first, second = servers
        async with first.socket() as socket:
            await socket.call("enter", "room")
            side(first.io, socket).data["name"] = "ann"
            socket_id = str(socket.id)
            auth = await cut(first, socket)
        for number, (old, new) in enumerate([(first, second), (second, first)]):
            old.io.to("room").emit("news", [number, "there"])
            new.io.to("room").emit("news", [number, "here"])
            new.io.to(socket_id).emit("binary", b"\x01")
            new.io.to("elsewhere").emit("news", "not for us")
            await settled(old, new)
            async with new.socket(auth=auth) as socket:
                assert socket.id == socket_id
                here = side(new.io, socket)
                assert here.recovered
                assert (here.pid, here.data, here.rooms) == (auth["pid"], {"name": "ann"}, {socket_id, "room"})
                assert {tuple(await socket.receive("news")) for _ in range(2)} == {(number, "there"), (number, "here")}
                assert await socket.receive("binary") == b"\x01"
                old.io.to("room").emit("news", "live")
                assert await socket.receive("news") == "live"
                auth = await cut(new, socket)
            assert not old.io.statistics().recovery.sessions  # type: ignore[union-attr]


async def test_only_the_same_user_gets_a_socket_of_another_node_and_guards_are_asked(shared_redis: RedisServer) -> None:
    def check(handshake: Handshake) -> User:
        return User(str(handshake.auth["token"]))

    async with two(shared_redis.url, middleware=[Auth(check)]) as (first, second):
        refused: set[str] = set()

        @second.io.guard_room
        async def guard(socket: Socket, room: str) -> None:
            if room in refused:
                raise RoomRefused

        async with first.socket(auth={"token": "ann"}) as socket:
            for room in ("room", "staff"):
                await socket.call("enter", room)
            socket_id = socket.id
            auth = await cut(first, socket)
        first.io.to("staff").emit("news", "staff only")
        first.io.to("room").emit("news", "for all")
        refused.add("staff")
        async with second.socket(auth={**auth, "token": "bob"}) as socket:
            assert socket.id != socket_id
            assert not side(second.io, socket).recovered
        async with second.socket(auth={**auth, "token": "ann"}) as socket:
            assert socket.id == socket_id
            assert side(second.io, socket).rooms == {socket_id, "room", "\0user:ann"}
            assert await socket.receive("news") == "for all"


@pytest.mark.parametrize("passes", ["event for the room", "event for all", "change", "nothing"])
@pytest.mark.parametrize("how_often", [1, None])
async def test_what_passes_while_a_socket_moves_is_asked_about_again(
    shared_redis: RedisServer, passes: str, how_often: int | None
) -> None:
    async with two(shared_redis.url) as (first, second):
        async with first.socket() as socket:
            await socket.call("enter", "room")
            auth = await cut(first, socket)
        count = 0

        def meanwhile() -> None:
            # After the question, and before the answer is acted on.
            nonlocal count
            count += 1
            if how_often is not None and count > how_often:
                return
            match passes:
                case "event for the room":
                    second.io.to("room").emit("news", count)
                case "event for all":
                    second.io.emit("news", count)
                case "change":
                    second.io.in_("nobody").sockets_leave("room")

        first.io.main.on_server_side_event = _before(first.io.main.on_server_side_event, meanwhile)  # type: ignore[method-assign]
        async with second.socket(auth=auth) as socket:
            recovered = passes == "nothing" or how_often is not None
            assert side(second.io, socket).recovered is recovered
            if recovered and passes.startswith("event"):
                assert await socket.receive("news") == 1
        await settled(first, second)
        # What was lent and not taken is nobody's any more.
        async with first.socket(auth=auth) as socket:
            assert not side(first.io, socket).recovered


def _before(then: Any, first: Any) -> Any:
    def call(*args: Any) -> Any:
        first()
        return then(*args)

    return call


async def test_a_client_that_changes_nodes_under_load_misses_nothing_unnoticed(shared_redis: RedisServer) -> None:
    """Both nodes talk into its room all the time; as long as it says that it has recovered, each is heard in full."""
    async with two(shared_redis.url) as servers, trio.open_nursery() as nursery:

        async def talk(index: int) -> None:
            for number in itertools.count():
                servers[index].io.to("room").emit("news", index, number)
                for _ in range(PAUSE):
                    await trio.lowlevel.checkpoint()

        heard: list[list[int]] = [[], []]

        def take(index: int, number: int) -> None:
            heard[index].append(number)

        auth: dict[str, Any] = {}
        nursery.start_soon(talk, 0)
        nursery.start_soon(talk, 1)
        hops = recovered = 0
        with trio.fail_after(PATIENCE):
            while hops < HOPS or not recovered:
                server = servers[hops % 2]
                async with server.socket(auth=auth) as socket:
                    if side(server.io, socket).recovered:
                        recovered += 1
                    else:
                        for numbers in heard:
                            numbers.clear()
                    socket.on("news", take)
                    await socket.call("enter", "room")
                    length = sum(map(len, heard))
                    while sum(map(len, heard)) < length + 10:
                        await trio.lowlevel.checkpoint()
                    auth = await cut(server, socket)
                    await settled(*servers)
                for numbers in heard:
                    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
                hops += 1
        nursery.cancel_scope.cancel()


async def test_a_node_that_ends_is_there_for_those_whom_it_lets_go(shared_redis: RedisServer) -> None:
    nodes = [node(shared_redis.url) for _ in range(2)]
    async with open_server(nodes[1]) as second:
        ending = trio.Event()
        ended = trio.Event()
        started: list[tuple[str, ClientSocket]] = []
        joined = trio.Event()

        async def first() -> None:
            async with open_server(nodes[0]) as server, server.socket() as socket:
                await until_both_hear(nodes)
                await socket.call("enter", "room")
                started.append((side(nodes[0], socket).pid, socket))
                joined.set()
                await ending.wait()
                nodes[0].stop()
                await socket.wait_closed()
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await joined.wait()
            ending.set()
            pid, old = started[0]
            with trio.fail_after(PATIENCE):
                await old.wait_closed()
                assert not ended.is_set()
                nodes[1].to("room").emit("news", "while it ended")
                async with second.socket(auth={"pid": pid}) as socket:
                    assert socket.id == old.id
                    assert await socket.receive("news") == "while it ended"
                    before = trio.current_time()
                    await ended.wait()
                    assert trio.current_time() - before < 2


def _answering(answer: Any) -> Any:
    return lambda args, reply: reply(answer)


GARBAGE = [
    None,
    1,
    "",
    "not base64",
    base64.b64encode(b"\xc1").decode(),
    base64.b64encode(encode({"sid": "x"})).decode(),
    base64.b64encode(encode({"sid": "room", "rooms": [], "entered": [], "data": {}, "missed": []})).decode(),
]


@pytest.mark.parametrize("answer", GARBAGE)
async def test_garbage_of_another_node_is_a_new_beginning(shared_redis: RedisServer, answer: Any) -> None:
    async with two(shared_redis.url) as (first, second):
        first.io.main.on_server_side_event = _answering(answer)  # type: ignore[method-assign]
        async with second.socket(auth={"pid": "x" * 20}) as socket:
            assert not side(second.io, socket).recovered


@pytest.mark.parametrize(
    "asked",
    [(), ("x",), ("x", None, None), (1, None, None, "x"), ("x", 1, None, "x"), ("x", None, [], "x"), ("x",) * 5],
)
async def test_garbage_instead_of_a_question_is_answered_with_nothing(
    shared_redis: RedisServer, asked: tuple[Any, ...]
) -> None:
    async with two(shared_redis.url) as (first, second):
        assert await first.io.adapter.server_side_call((ASK, *asked)) == [None]
        assert second.io.statistics().relay.refused == 0  # type: ignore[union-attr]


async def test_a_node_that_does_not_recover_answers_too(shared_redis: RedisServer) -> None:
    nodes = [node(shared_redis.url), node(shared_redis.url, connection_state_recovery=None)]
    async with open_server(nodes[0]) as first, open_server(nodes[1]):
        await until_both_hear(nodes)
        with trio.fail_after(0.9):
            async with first.socket(auth={"pid": "x" * 20}) as socket:
                assert not side(nodes[0], socket).recovered
