"""The application that the scenarios talk to, on this server. See ``reference_server.mjs``."""

from __future__ import annotations

import argparse
import json
import re
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

from rtserver import Ack, AckTimeout, ConnectRefused, MsgpackParser, Namespace, Server, Socket


def build(*, msgpack: bool = False, **options: Any) -> Server:
    io = Server(parser=MsgpackParser() if msgpack else None, cors=["http://app.example"], **options)

    @io.on_connect
    def welcome(socket: Socket) -> None:
        socket.emit("welcome", socket.id)

    @io.on("echo")
    def echo(socket: Socket, *args: Any, ack: Ack) -> None:
        if ack.wanted:
            ack(*args)
        else:
            socket.emit("echo", *args)

    register_rooms(io)
    register_asking(io)
    register_answers(io)
    register_namespaces(io)
    return io


def register_rooms(io: Server) -> None:
    @io.on("join")
    def join(socket: Socket, room: str) -> str:
        socket.join(room)
        return "joined"

    @io.on("leave")
    def leave(socket: Socket, room: str) -> str:
        socket.leave(room)
        return "left"

    @io.on("to-room")
    def to_room(socket: Socket, room: str, text: str) -> str:
        socket.to(room).emit("said", text)
        return "sent"

    @io.on("to-others")
    def to_others(socket: Socket, text: str) -> str:
        socket.broadcast.emit("said", text)
        return "sent"

    @io.on("to-rooms")
    def to_rooms(socket: Socket, rooms: list[str], excluded: list[str], text: str) -> str:
        io.to(*rooms).except_(*excluded).emit("said", text)
        return "sent"


def register_asking(io: Server) -> None:
    @io.on("ask-me")
    async def ask_me(socket: Socket, value: Any) -> Any:
        with trio.fail_after(5):
            return await socket.call("question", value)

    @io.on("ask-me-briefly")
    async def ask_me_briefly(socket: Socket) -> str:
        with trio.move_on_after(0.1):
            await socket.call("question", "silence")
            return "answered"
        return "timeout"

    @io.on("ask-room")
    async def ask_room(socket: Socket, room: str) -> list[Any]:
        with trio.fail_after(5):
            return sorted(await io.to(room).call("question", room))

    @io.on("ask-room-briefly")
    async def ask_room_briefly(socket: Socket, room: str, ack: Ack) -> None:
        try:
            with trio.fail_after(0.2):
                ack(await io.to(room).call("question", "some"))
        except AckTimeout as exc:
            ack("timeout", exc.answers)


def register_answers(io: Server) -> None:
    @io.on("never")
    def never(socket: Socket, ack: Ack) -> None: ...

    @io.on("nothing")
    def nothing(socket: Socket) -> None: ...

    @io.on("big")
    def big(socket: Socket, size: int) -> str:
        return "x" * size

    @io.on("bytes")
    def some_bytes(socket: Socket, size: int) -> dict[str, Any]:
        return {"nested": [b"\7" * size]}

    @io.on("volatile")
    def volatile(socket: Socket) -> str:
        socket.volatile.emit("maybe", 1)
        return "sent"

    @io.on("who")
    def who(socket: Socket) -> dict[str, Any]:
        handshake = socket.handshake
        return {
            "query": handshake.query.get("colour"),
            "header": handshake.headers.get("x-colour"),
            "auth": handshake.auth,
            "transport": socket.transport,
        }

    @io.on("leave-me")
    def leave_me(socket: Socket) -> None:
        socket.disconnect()

    @io.on("close-me")
    def close_me(socket: Socket) -> None:
        socket.disconnect(close=True)

    @io.on("many")
    def many(socket: Socket, count: int) -> str:
        for number in range(count):
            socket.emit("number", number)
        return "sent"


def register_namespaces(io: Server) -> None:
    guarded = io.of("/guarded")

    @guarded.use
    def check(socket: Socket) -> None:
        if socket.handshake.auth.get("token") != "good":
            raise ConnectRefused("not allowed", {"code": 7})

    @guarded.on("echo")
    def echo(socket: Socket, value: Any) -> Any:
        return value

    slow = io.of("/slow")

    @slow.use
    async def think(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()

    @slow.on_connect
    def welcome(socket: Socket) -> None:
        socket.emit("welcome", "slow")

    dynamic = io.of(re.compile(r"^/dyn-\d+$"))

    @dynamic.on_connect
    async def welcome_dynamic(socket: Socket) -> None:
        socket.emit("welcome", socket.namespace.name)

    @dynamic.on("shout")
    def shout(socket: Socket, text: str) -> None:
        namespace: Namespace = socket.namespace
        namespace.emit("said", text)


async def by_front_door(io: Server, port: int) -> None:
    async with trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(io.serve, f"127.0.0.1:{port}")
        announce(addresses[0])


async def by_asgi(io: Server, port: int) -> None:
    app = QuartTrio("interop")
    io.mount(app)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(partial(serve, app, config))
        announce(addresses[0])


def announce(address: str) -> None:
    print(f"port {address.rpartition(':')[2]}", flush=True)  # noqa: T201 - read by the test that started this


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("door", choices=["front", "asgi"])
    parser.add_argument("options")
    arguments = parser.parse_args()
    options = json.loads(arguments.options)
    port = options.pop("port", 0)
    trio.run(by_front_door if arguments.door == "front" else by_asgi, build(**options), port)


if __name__ == "__main__":
    main()
