"""What every adapter must do, whatever it is made of: one suite, run on each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from rtserver import AckTimeout, LimitExceeded, Server, Socket
from rtserver.adapters.base import AdapterFactory
from rtserver.adapters.memory import MemoryAdapter
from rtserver.adapters.redis import RedisAdapter
from rtserver.client import ClientSocket
from rtserver.testing import open_server
from tests.services.redis import running_redis
from tests.services.redis_clusters import running_cluster

ADAPTERS = ("memory", "redis", "sharded redis", "redis cluster")


def build(adapter: AdapterFactory, **options: Any) -> Server:
    io = Server(adapter=adapter, **options)

    @io.on("join")
    def join(socket: Socket, *rooms: str) -> list[str]:
        socket.join(*rooms)
        return sorted(socket.rooms)

    @io.on("leave")
    def leave(socket: Socket, *rooms: str) -> list[str]:
        socket.leave(*rooms)
        return sorted(socket.rooms)

    @io.on("sync")
    def sync(socket: Socket) -> None: ...

    return io


class Three:
    """A server with three clients: ``a``, ``b`` and ``c``, and what each has heard of ``news``."""

    def __init__(self, io: Server, clients: dict[str, ClientSocket]) -> None:
        self.io = io
        self.clients = clients
        self.heard: dict[str, list[Any]] = {name: [] for name in clients}
        for name, client in clients.items():
            client.on("news", self.heard[name].append)

    def id(self, name: str) -> str:
        socket_id = self.clients[name].id
        assert socket_id is not None
        return socket_id

    def server_side(self, name: str) -> Socket:
        socket: Socket = self.io.sockets[self.id(name)]
        return socket

    async def who_heard(self) -> str:
        """Names of those who have heard something since the last time; each must have heard it once."""
        for client in self.clients.values():
            await client.call("sync")
        names = "".join(name for name, heard in self.heard.items() if heard)
        assert all(len(heard) <= 1 for heard in self.heard.values())
        for heard in self.heard.values():
            heard.clear()
        return names


@asynccontextmanager
async def three_clients(adapter: AdapterFactory, **options: Any) -> AsyncIterator[Three]:
    async with open_server(build(adapter, **options)) as server, AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(server.socket()) for name in "abc"}
        yield Three(server.io, clients)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> AdapterFactory:
    match request.param:
        case "redis":
            return RedisAdapter(request.getfixturevalue("redis_url"), request_timeout=1)
        case "sharded redis":
            return RedisAdapter(request.getfixturevalue("redis_url"), sharded=True, request_timeout=1)
        case "redis cluster":
            return RedisAdapter(request.getfixturevalue("cluster_url"), request_timeout=1)
        case _:
            return MemoryAdapter


async def test_a_socket_is_in_its_own_room_and_in_those_it_joined(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        a = three.clients["a"]
        assert await a.call("join") == [three.id("a")]
        assert await a.call("join", "x", "y") == sorted([three.id("a"), "x", "y"])
        assert await a.call("join", "x") == sorted([three.id("a"), "x", "y"])
        assert await a.call("leave", "x", "never joined") == sorted([three.id("a"), "y"])
        assert three.io.adapter.local_rooms() == {"y": 1}


async def test_broadcasts_reach_whom_they_address_and_each_once(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        io, a, b = three.io, three.clients["a"], three.clients["b"]
        await a.call("join", "x", "y")
        await b.call("join", "y", "z")
        rows: list[tuple[Any, str]] = [
            (io, "abc"),
            (io.to("x"), "a"),
            (io.to("y"), "ab"),
            (io.to("x", "y", "z"), "ab"),
            (io.to("x").to("z"), "ab"),
            (io.to("nobody"), ""),
            (io.except_("x"), "bc"),
            (io.except_("x", "z"), "c"),
            (io.to("y").except_("x"), "b"),
            (io.to("x", "z").except_("y"), ""),
            (io.to(three.id("c")), "c"),
            (io.to(three.id("c"), "x"), "ac"),
            (io.except_(three.id("c")), "ab"),
            (io.local, "abc"),
            (io.local.to("y"), "ab"),
            (io.volatile.to("x"), "a"),
            (three.server_side("a").broadcast, "bc"),
            (three.server_side("a").to("y"), "b"),
            (three.server_side("c").to("y"), "ab"),
            (three.server_side("a").except_("z"), "c"),
            (three.server_side("a").to("y").except_("z"), ""),
            (three.server_side("a").volatile, "a"),
            (three.server_side("a").compress(False), "a"),
        ]
        for operator, expected in rows:
            operator.emit("news", 1)
            assert await three.who_heard() == expected, operator


async def test_an_operator_is_not_changed_by_what_is_made_of_it(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        await three.clients["a"].call("join", "x")
        everybody_in_x = three.io.to("x")
        everybody_in_x.to(three.id("b"))
        everybody_in_x.except_("x")
        everybody_in_x.emit("news", 1)
        assert await three.who_heard() == "a"


async def test_a_room_named_like_a_socket_has_its_owner_and_its_guests(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        own = three.id("a")
        await three.clients["b"].call("join", own)
        three.io.to(own).emit("news", 1)
        assert await three.who_heard() == "ab"
        await three.clients["b"].call("leave", own)
        three.io.to(own).emit("news", 1)
        assert await three.who_heard() == "a"
        await three.clients["a"].call("leave", own)
        three.io.to(own).emit("news", 1)
        assert await three.who_heard() == ""
        await three.clients["a"].call("join", own)
        three.io.to(own).emit("news", 1)
        assert await three.who_heard() == "a"


async def test_a_socket_that_leaves_is_in_no_room(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        await three.clients["a"].call("join", "x", three.id("b"))
        three.clients["a"].disconnect()
        await three.clients["a"].wait_closed()
        await three.clients["b"].call("sync")
        await trio.testing.wait_all_tasks_blocked()
        assert "x" not in await three.io.adapter.all_rooms()
        assert three.io.adapter.local_rooms() in ({}, {three.id("b"): 1})


async def test_sockets_are_found_moved_and_disconnected(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        io = three.io
        three.server_side("a").data["name"] = "ann"
        await three.clients["a"].call("join", "x")
        (found,) = await io.to("x").fetch_sockets()
        assert (found.id, found.data) == (three.id("a"), {"name": "ann"})
        assert set(found.rooms) == {"x", three.id("a")}
        assert found.handshake["address"] == "127.0.0.1"
        assert {socket.id for socket in await io.fetch_sockets()} == {three.id(name) for name in "abc"}
        assert await io.to("nobody").fetch_sockets() == []

        io.to("x").sockets_join("y", "z")
        found.join("w")
        assert await three.clients["a"].call("join") == sorted([three.id("a"), "w", "x", "y", "z"])
        io.to("x").sockets_leave("y")
        found.leave("w")
        assert await three.clients["a"].call("join") == sorted([three.id("a"), "x", "z"])
        found.emit("news", 1)
        assert await three.who_heard() == "a"

        io.to("z").disconnect_sockets()
        assert await three.clients["a"].wait_closed() == "io server disconnect"
        io.except_(three.id("c")).disconnect_sockets(close=True)
        assert await three.clients["b"].wait_closed() == "io server disconnect"
        assert set(io.sockets) == {three.id("c")}


async def test_everybody_acknowledges_or_is_missed(
    adapter: AdapterFactory, autojump_clock: trio.testing.MockClock
) -> None:
    async with three_clients(adapter) as three:
        for name, client in three.clients.items():
            client.on("question", lambda value, name=name: f"{name}{value}")
        assert sorted(await three.io.call("question", 1)) == ["a1", "b1", "c1"]
        assert await three.io.to(three.id("b")).call("question", 2) == ["b2"]
        assert await three.io.to("nobody").call("question", 3) == []
        three.clients["c"].off("question")
        with pytest.raises(AckTimeout) as caught, trio.fail_after(1):
            await three.io.call("question", 4)
        assert sorted(caught.value.answers) == ["a4", "b4"]
        assert caught.value.missing == 1
        assert all(not three.server_side(name).awaits_answer for name in "abc")


async def test_who_leaves_is_not_waited_for(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        for name in "ab":
            three.clients[name].on("question", lambda: "here")
        answers: list[Any] = []

        async def ask() -> None:
            answers.extend(await three.io.call("question"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await three.clients["c"].next_event("question")
            three.clients["c"].disconnect()
        assert answers == ["here", "here"]


async def test_too_many_rooms_are_refused_to_those_who_ask(adapter: AdapterFactory) -> None:
    async with three_clients(adapter, max_rooms=2) as three:
        await three.clients["a"].call("join", "x", "y")
        with pytest.raises(LimitExceeded):
            three.server_side("a").join("z")
        with pytest.raises(LimitExceeded):
            three.io.sockets_join("z")
        assert three.io.adapter.local_rooms() == {"x": 1, "y": 1, "z": 2}


@pytest.mark.parametrize("room", [7, None, b"x"])
async def test_a_room_is_a_string(adapter: AdapterFactory, room: Any) -> None:
    async with three_clients(adapter) as three:
        with pytest.raises(TypeError, match="room"):
            three.io.to(room)
        with pytest.raises(TypeError, match="room"):
            three.server_side("a").join(room)


async def test_a_server_does_not_hear_its_own_server_side_events(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        heard: list[str] = []
        three.io.on_server_side("hello")(heard.append)
        three.io.server_side_emit("hello", "world")
        assert await three.io.server_side_call("hello", "world") == []
        assert heard == []
        assert await three.io.adapter.server_count() == 1


async def test_all_rooms_are_known(adapter: AdapterFactory) -> None:
    async with three_clients(adapter) as three:
        await three.clients["a"].call("join", "x")
        assert await three.io.adapter.all_rooms() == {"x", *(three.id(name) for name in "abc")}
