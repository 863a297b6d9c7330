"""The hook on entering rooms, for middleware of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from rtserver import EnterContext, Middleware, Proceed, RoomRefused, Server, Socket
from rtserver.testing import open_server


class Plain(Middleware):
    def enter(self, context: EnterContext, proceed: Proceed[EnterContext]) -> Any:
        if context.room.startswith("no"):
            raise RoomRefused("not that one")
        return proceed(context)


class Waiting(Middleware):
    async def enter(self, context: EnterContext, proceed: Proceed[EnterContext]) -> Any:
        if context.room.startswith("no"):
            raise RoomRefused("not that one")
        return await proceed(context)


@pytest.mark.parametrize("guarded", ["plain", "async", "without a guard"])
@pytest.mark.parametrize("middleware", [[Plain()], [Waiting()], [Plain(), Waiting()], [Waiting(), Plain()]])
async def test_middleware_and_the_guard_are_both_asked(middleware: list[Middleware], guarded: str) -> None:
    io = Server(middleware=middleware)
    asked: list[str] = []

    def guard(socket: Socket, room: str) -> bool:
        asked.append(room)
        return room != "guarded"

    async def guard_later(socket: Socket, room: str) -> bool:
        return guard(socket, room)

    if guarded != "without a guard":
        io.guard_room(guard if guarded == "plain" else guard_later)

    @io.on("enter")
    async def enter(socket: Socket, room: str) -> bool:
        await socket.enter(room)
        return room in socket.rooms

    async with open_server(io) as server, server.socket() as client:
        assert await client.call("enter", "yes") is True
        assert (await client.call("enter", "no"))["error"]["message"] == "not that one"
        answer = await client.call("enter", "guarded")
        if guarded == "without a guard":
            assert answer is True
        else:
            assert answer["error"]["code"] == "room_refused"
            assert asked == ["yes", "guarded"]


async def test_a_room_that_the_server_joins_is_asked_about_by_nobody() -> None:
    io = Server(middleware=[Waiting()])

    @io.on_connect
    def welcome(socket: Socket) -> None:
        socket.join("no room of clients")

    async with open_server(io) as server, server.socket():
        (socket,) = io.sockets.values()
        await socket.ask_again()
        assert "no room of clients" in socket.rooms
