"""The application that unmodified clients talk to, on this server; ``application.mjs`` is the same on the reference.

One process serves it in several variants, each a server with other options and a
port of its own. It prints the ports and lives until its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

from rtserver import (
    Ack,
    AckTimeout,
    ConnectRefused,
    Disconnected,
    EventContext,
    EventRefused,
    Handshake,
    Middleware,
    MsgpackParser,
    Proceed,
    Server,
    Socket,
)


def may_come(handshake: Handshake) -> bool:
    return handshake.query.get("ticket") == "valid"


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "msgpack": {"parser": MsgpackParser()},
    "fast": {"ping_interval": 0.3, "ping_timeout": 1},
    "recovering": {"connection_state_recovery": True},
    "polling": {"transports": ["polling"]},
    "websocket": {"transports": ["websocket"]},
    "deflate": {"per_message_deflate": True},
    "cookie": {"cookie": True, "path": "/live/"},
    "refusing": {"allow_request": may_come},
}


class Forbidding(Middleware):
    """Lets every event pass but one."""

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Any:
        if context.event == "forbidden":
            raise EventRefused("forbidden", "not for you")
        return proceed(context)


def build(variant: str, observed: Server | None) -> Server:
    """The application with one variant's options; its departures are told on ``observed``, or on itself."""
    io = Server(cors=["http://app.example"], **VARIANTS[variant])
    io.use(Forbidding())
    register_answers(io)
    register_asking(io)
    register_groups(io)
    register_endings(io, io if observed is None else observed, variant)
    register_namespaces(io)
    return io


def register_answers(io: Server) -> None:
    held: dict[str, Ack] = {}
    attempts: dict[str, int] = {}

    @io.on_connect
    def welcome(socket: Socket) -> None:
        if socket.handshake.auth.get("listen"):
            listen(socket)
        socket.emit("welcome", socket.id)

    def listen(socket: Socket) -> None:
        heard: list[list[Any]] = []
        socket.data["heard"] = heard
        socket.on_any(lambda name, *args: heard.append(["in", name, *args]))
        socket.on_any_outgoing(lambda name, *args: heard.append(["out", name, *args]))

    @io.on("heard")
    def heard(socket: Socket) -> Any:
        return list(socket.data["heard"])

    @io.on("echo")
    def echo(socket: Socket, *args: Any, ack: Ack) -> None:
        if ack.wanted:
            ack(*args)
        else:
            socket.emit("echo", *args)

    @io.on("message")
    def message(socket: Socket, *args: Any) -> None:
        socket.send(*args)

    @io.on("burst")
    def burst(socket: Socket, count: int) -> None:
        for number in range(count):
            socket.emit("tick", number)

    @io.on("measure")
    def measure(socket: Socket, text: str) -> int:
        return len(text)

    @io.on("big")
    def big(socket: Socket, size: int) -> str:
        return "x" * size

    @io.on("attachments")
    def attachments(socket: Socket, count: int) -> None:
        socket.emit("attachments", *({"number": number, "data": bytes([number])} for number in range(count)))

    @io.on("who")
    def who(socket: Socket) -> dict[str, Any]:
        handshake = socket.handshake
        return {
            "auth": handshake.auth,
            "query": handshake.query.get("colour"),
            "header": handshake.headers.get("x-colour"),
            "cookie": handshake.headers.get("cookie"),
            "rooms": sorted(socket.rooms),
            "transport": socket.transport,
        }

    @io.on("hold")
    def hold(socket: Socket, key: str, ack: Ack) -> None:
        held[key] = ack

    @io.on("release")
    def release(socket: Socket, key: str) -> str:
        ack = held.pop(key)
        ack("late")
        ack("later still")
        return "released"

    @io.on("stubborn")
    def stubborn(socket: Socket, key: str, failures: int, ack: Ack) -> None:
        attempts[key] = attempts.get(key, 0) + 1
        if attempts[key] > failures:
            ack(attempts[key])

    @io.on("volatile")
    def volatile(socket: Socket) -> None:
        socket.volatile.emit("maybe")

    @io.on("volatile-between")
    def volatile_between(socket: Socket) -> None:
        socket.emit("first")
        socket.volatile.emit("maybe")
        socket.emit("last")


def register_asking(io: Server) -> None:
    @io.on("ask")
    async def ask(socket: Socket, value: Any) -> Any:
        with trio.fail_after(5):
            return await socket.call("question", value)

    @io.on("ask-briefly")
    async def ask_briefly(socket: Socket) -> str:
        with trio.move_on_after(0.1):
            await socket.call("question", "silence")
            return "answered"
        return "unanswered"

    @io.on("ask-and-tell")
    async def ask_and_tell(socket: Socket, key: str) -> None:
        try:
            with trio.fail_after(1):
                outcome = await socket.call("question", key)
        except (Disconnected, trio.TooSlowError):
            outcome = "unanswered"
        io.of("/watch").emit("told", key, outcome)

    @io.on("ask-everybody-in")
    async def ask_everybody_in(socket: Socket, room: str) -> list[Any]:
        with trio.fail_after(5):
            return sorted(await io.in_(room).call("question", room))

    @io.on("ask-everybody-briefly")
    async def ask_everybody_briefly(socket: Socket, room: str, ack: Ack) -> None:
        try:
            with trio.fail_after(0.2):
                ack("answered", await io.in_(room).call("question", room))
        except AckTimeout as exc:
            ack("unanswered", exc.answers)


def register_groups(io: Server) -> None:
    @io.on("join")
    def join(socket: Socket, *rooms: str) -> list[str]:
        socket.join(*rooms)
        return sorted(socket.rooms)

    @io.on("leave")
    def leave(socket: Socket, room: str) -> list[str]:
        socket.leave(room)
        return sorted(socket.rooms)

    @io.on("tell")
    def tell(socket: Socket, rooms: list[str], excepted: list[str], text: str) -> None:
        io.to(*rooms).except_(*excepted).emit("said", text)

    @io.on("tell-others")
    def tell_others(socket: Socket, rooms: list[str], excepted: list[str], text: str) -> None:
        socket.to(*rooms).except_(*excepted).emit("said", text)

    @io.on("tell-in-every-way")
    def tell_in_every_way(socket: Socket, room: str) -> None:
        io.in_(room).compress(False).emit("said", "uncompressed")
        io.local.to(room).emit("said", "local")
        socket.broadcast.to(room).emit("said", "others")
        io.to(room).send("sent")

    @io.on("remember")
    def remember(socket: Socket, value: Any) -> None:
        socket.data["value"] = value

    @io.on("find")
    async def find(socket: Socket, room: str) -> list[Any]:
        return sorted([found.id, found.data.get("value")] for found in await io.in_(room).fetch_sockets())

    @io.on("gather")
    def gather(socket: Socket, room: str, into: str) -> None:
        io.in_(room).sockets_join(into)

    @io.on("scatter")
    def scatter(socket: Socket, room: str, out_of: str) -> None:
        io.in_(room).sockets_leave(out_of)

    @io.on("dismiss")
    def dismiss(socket: Socket, room: str, close: bool) -> None:
        io.in_(room).except_(socket.id).disconnect_sockets(close)

    @io.on("count")
    async def count(socket: Socket) -> int:
        return len(await io.fetch_sockets())


def register_endings(io: Server, observed: Server, variant: str) -> None:
    watch = observed.of("/watch")

    @io.on_disconnecting
    def leaving(socket: Socket, reason: str) -> None:
        socket.data["rooms"] = sorted(socket.rooms)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        watch.emit("gone", socket.id, reason, socket.data["rooms"], sorted(socket.rooms), variant)

    @io.on("kick")
    def kick(socket: Socket, close: bool) -> None:
        socket.emit("goodbye")
        socket.disconnect(close)


def register_namespaces(io: Server) -> None:
    guarded = io.of("/guarded")

    @guarded.use
    async def check(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        match socket.handshake.auth.get("token"):
            case "good":
                socket.emit("hint", "before")
            case "bad":
                raise ConnectRefused("not allowed", {"code": 7})
            case _:
                raise ConnectRefused("who are you?")

    @guarded.on_connect
    def admitted(socket: Socket) -> None:
        socket.emit("hint", "after")

    @guarded.on("who")
    def who(socket: Socket) -> Any:
        return {"auth": socket.handshake.auth, "query": socket.handshake.query.get("colour")}

    rooms = io.of(re.compile(r"^/room-\d+$"))

    @rooms.on("shout")
    def shout(socket: Socket, text: str) -> None:
        socket.namespace.emit("heard", text)

    @rooms.on("shout-everywhere")
    def shout_everywhere(socket: Socket, text: str) -> None:
        rooms.emit("heard", text)

    def owns(name: str, auth: Mapping[str, Any]) -> bool:
        return name == f"/private-{auth.get('owner')}"

    @io.of(owns).on_connect
    def welcome(socket: Socket) -> None:
        socket.emit("welcome", socket.namespace.name)


async def by_front_door(io: Server, port: int, nursery: trio.Nursery) -> str:
    addresses: list[str] = await nursery.start(io.serve, f"127.0.0.1:{port}")
    return addresses[0]


async def by_asgi(io: Server, port: int, nursery: trio.Nursery) -> str:
    app = QuartTrio("interop")
    io.mount(app)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    addresses: list[str] = await nursery.start(partial(serve, app, config, shutdown_trigger=trio.sleep_forever))
    return addresses[0]


async def end_of_input() -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        while await stream.receive_some():
            pass


async def run(door: str, ports: Mapping[str, int]) -> None:
    listen = by_front_door if door == "front" else by_asgi
    bound: dict[str, int] = {}
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            observed: Server | None = None
            for variant, port in ports.items():
                io = build(variant, observed)
                observed = observed or io
                bound[variant] = int((await listen(io, port, nursery)).rpartition(":")[2])
            print("ports", json.dumps(bound), flush=True)  # noqa: T201 - read by the test that started this
            nursery.start_soon(terminate_after, nursery.cancel_scope, end_of_input)
            nursery.start_soon(terminate_after, nursery.cancel_scope, signals.__anext__)


async def terminate_after(scope: trio.CancelScope, wait: Any) -> None:
    await wait()
    scope.cancel()


if __name__ == "__main__":
    trio.run(run, sys.argv[1], json.loads(sys.argv[2]))
