"""Users on several nodes that reach one another through Redis."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import jwt
import pytest
import trio

from rtserver import Server, Socket
from rtserver.adapters.redis import RedisAdapter
from rtserver.client import ClientSocket
from rtserver.middleware.auth import JWTAuth
from rtserver.testing import open_server
from rtserver.testing.server import InProcessServer
from tests.services.redis import RedisServer, running_redis

SECRET = "a secret of more than thirty-two characters"
PATIENCE = 5.0


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def auth(user: str) -> dict[str, str]:
    return {"token": jwt.encode({"sub": user, "exp": int(time.time()) + 300}, SECRET, "HS256")}


def build(url: str) -> Server:
    io = Server(adapter=RedisAdapter(url), middleware=[JWTAuth(SECRET)])
    for namespace in (io.main, io.of(re.compile("^/room-"))):

        @namespace.on("enter")
        async def enter(socket: Socket, room: str) -> str:
            await socket.enter(room)
            return socket.id

    return io


@asynccontextmanager
async def two_nodes(url: str) -> AsyncIterator[tuple[InProcessServer, InProcessServer]]:
    async with open_server(build(url)) as one, open_server(build(url)) as two:
        with trio.fail_after(PATIENCE):
            while await one.io.adapter.server_count() < 2:
                await trio.lowlevel.checkpoint()
        yield one, two


async def gone(socket: ClientSocket) -> str:
    with trio.fail_after(PATIENCE):
        return await socket.wait_closed()


async def test_a_user_is_ended_on_every_node_and_in_every_namespace(redis_server: RedisServer) -> None:
    async with (
        two_nodes(redis_server.url) as (one, two),
        one.socket(auth=auth("ann")) as here,
        two.socket(auth=auth("ann")) as there,
        # A namespace that clients have brought about on the other node alone.
        two.socket("/room-7", auth=auth("ann")) as apart,
        two.socket("/room-7", auth=auth("bob")) as other,
    ):
        assert "/room-7" not in one.io.namespaces
        await one.io.disconnect_user("ann")
        for socket in (here, there, apart):
            assert await gone(socket) == "io server disconnect"
        assert await other.call("enter", "hall")


async def test_a_room_is_revoked_on_every_node(redis_server: RedisServer) -> None:
    async with (
        two_nodes(redis_server.url) as (one, two),
        two.socket(auth=auth("ann")) as there,
        two.socket("/room-7", auth=auth("ann")) as apart,
        two.socket(auth=auth("bob")) as other,
    ):
        for socket in (there, apart, other):
            await socket.call("enter", "hall")
        one.io.revoke("ann", "hall")
        main, room = two.io.main, two.io.of("/room-7")
        with trio.fail_after(PATIENCE):
            while main.adapter.local_rooms()["hall"] != 1 or "hall" in room.adapter.local_rooms():
                await trio.lowlevel.checkpoint()


async def test_the_own_room_of_a_socket_on_another_node_is_not_entered(redis_server: RedisServer) -> None:
    async with (
        two_nodes(redis_server.url) as (one, two),
        one.socket(auth=auth("eve")) as eve,
        two.socket(auth=auth("ann")) as ann,
    ):
        assert (await eve.call("enter", ann.id))["error"]["code"] == "room_refused"
        assert await eve.call("enter", "hall") == eve.id


async def test_what_other_nodes_say_of_users_is_looked_at(redis_server: RedisServer) -> None:
    async with two_nodes(redis_server.url) as (one, two), two.socket(auth=auth("ann")) as ann:
        for args in ((7,), (None,), (["ann"],), (), ("ann", "hall", "more")):
            one.io.server_side_emit("rtserver:disconnect_user", *args)
            one.io.server_side_emit("rtserver:revoke", *args)
        await one.io.disconnect_user("nobody")
        assert await ann.call("enter", "hall") == ann.id
