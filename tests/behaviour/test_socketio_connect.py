from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import trio

from rtserver import ConnectRefused, Server, Socket
from tests.behaviour.support import Kind, Peer, Record, Serve


def echoing(record: Record | None = None) -> Server:
    io = Server()

    @io.on("echo")
    def echo(socket: Socket, *args: object) -> None:
        socket.emit("echo", *args)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        if record is not None:
            record.add(reason)

    return io


async def lives_on(peer: Peer) -> None:
    await peer.send('42["echo",1]')
    assert await peer.receive() == '42["echo",1]'


@pytest.mark.parametrize("packet", ["40", "40{}", '40{"token":"abc"}', "40/,", '40/,{"token":"abc"}'])
async def test_a_connect_is_answered_with_exactly_a_sid(serve: Serve, kind: Kind, packet: str) -> None:
    site = await serve(echoing())
    peer = await site.open(kind)
    await peer.send(packet)
    answer = await peer.receive()
    assert isinstance(answer, str)
    assert re.fullmatch(r'40\{"sid":"[A-Za-z0-9_-]{20}"\}', answer)
    await lives_on(peer)


async def test_the_socket_id_is_not_the_engines_sid(serve: Serve, kind: Kind) -> None:
    site = await serve(echoing())
    peer = await site.open(kind)
    socket_id = await peer.join()
    assert socket_id != peer.sid
    assert list(site.io.sockets) == [socket_id]


@pytest.mark.parametrize("packet", ["40/nope,", "40/nope", '40/nope,{"token":1}'])
async def test_an_unknown_namespace_is_invalid_and_the_connection_stays(serve: Serve, kind: Kind, packet: str) -> None:
    site = await serve(echoing())
    peer = await site.open(kind)
    await peer.send(packet)
    assert await peer.receive() == '44/nope,{"message":"Invalid namespace"}'
    await peer.join()
    await lives_on(peer)


async def test_one_connection_carries_several_namespaces(serve: Serve, kind: Kind) -> None:
    io = echoing()
    chat = io.of("/chat")

    @chat.on("who")
    def who(socket: Socket) -> str:
        return socket.namespace.name

    site = await serve(io)
    peer = await site.open(kind)
    first = await peer.join("/chat")
    second = await peer.join()
    assert first != second
    await peer.send('42/chat,7["who"]', '42["echo",1]')
    assert await peer.receive() == '43/chat,7["/chat"]'
    assert await peer.receive() == '42["echo",1]'


async def test_leaving_a_namespace_leaves_the_others_alone(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = echoing(record)
    chat = io.of("/chat")

    @chat.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(f"/chat {reason}")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.join("/chat")
    await peer.send("41/chat,")
    assert await record.next() == "/chat client namespace disconnect"
    await lives_on(peer)
    await peer.join("/chat")
    await peer.send("41")
    assert await record.next() == "client namespace disconnect"
    assert list(io.sockets) == []
    assert len(chat.sockets) == 1


async def test_auth_reaches_the_middleware_of_its_namespace(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = echoing()

    @io.use
    def look(socket: Socket) -> None:
        record.add(dict(socket.handshake.auth))

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join(auth='{"token":"abc","n":[1,{"a":null}]}')
    assert await record.next() == {"token": "abc", "n": [1, {"a": None}]}


# Refusals.


def plain(socket: Socket) -> None:
    auth: Mapping[str, object] = socket.handshake.auth
    if auth.get("token") != "abc":
        raise ConnectRefused("not you", {"code": 7}) if "token" in auth else ConnectRefused("who are you?")


async def later(socket: Socket) -> None:
    await trio.lowlevel.checkpoint()
    plain(socket)


@pytest.mark.parametrize("check", [plain, later])
async def test_a_refusal_carries_its_message_and_data_and_the_connection_stays(
    serve: Serve, kind: Kind, check: object
) -> None:
    record = Record()
    io = echoing(record)
    io.use(check)  # type: ignore[arg-type]

    @io.on_connect
    def connected(socket: Socket) -> None:
        record.add("connected")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40")
    assert await peer.receive() == '44{"message":"who are you?"}'
    await peer.send('40{"token":"x"}')
    assert await peer.receive() == '44{"message":"not you","data":{"code":7}}'
    assert record.empty
    await peer.join(auth='{"token":"abc"}')
    assert await record.next() == "connected"
    await lives_on(peer)


async def test_middleware_that_fails_refuses_and_says_nothing(serve: Serve, kind: Kind) -> None:
    io = echoing()
    chat = io.of("/chat")

    @chat.use
    def broken(socket: Socket) -> None:
        raise RuntimeError("secret")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40/chat,")
    assert await peer.receive() == '44/chat,{"message":"internal error"}'
    assert len(chat.sockets) == 0
    await peer.join()


@pytest.mark.parametrize("waits", [False, True])
async def test_what_middleware_emits_is_sent_before_the_connect_reply(serve: Serve, kind: Kind, waits: bool) -> None:
    io = Server()

    def greet(socket: Socket) -> None:
        socket.emit("session", "s1")
        socket.emit("session", "s2")

    async def greet_later(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        greet(socket)
        await trio.lowlevel.checkpoint()

    io.use(greet_later if waits else greet)

    @io.on_connect
    def connected(socket: Socket) -> None:
        socket.emit("welcome")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40")
    packets = [await peer.receive() for _ in range(4)]
    assert packets[:2] == ['42["session","s1"]', '42["session","s2"]']
    assert str(packets[2]).startswith('40{"sid":"')
    assert packets[3] == '42["welcome"]'


async def test_rooms_joined_by_middleware_are_left_when_it_refuses(serve: Serve, kind: Kind) -> None:
    io = Server()

    @io.use
    async def check(socket: Socket) -> None:
        socket.join("lobby")
        await trio.lowlevel.checkpoint()
        raise ConnectRefused("full")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40")
    assert await peer.receive() == '44{"message":"full"}'
    assert io.main.statistics().rooms == 0


# Out of turn.


@pytest.mark.parametrize("packet", ['42["echo"]', '420["echo"]', "41", "430[]", '42/chat,["echo"]', "41/nope,", "44{}"])
async def test_a_packet_before_connect_closes_the_connection(serve: Serve, kind: Kind, packet: str) -> None:
    record = Record()
    io = echoing(record)
    io.of("/chat")
    site = await serve(io)
    peer = await site.open(kind)
    await peer.send(packet)
    assert await peer.rest() == []
    assert len(io.clients) == 0
    assert record.empty


async def test_an_event_for_a_namespace_that_was_not_joined_ends_the_others(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = echoing(record)
    io.of("/chat")
    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42/chat,["echo"]')
    assert await record.next() == "forced server close"
    assert await peer.rest() == []


async def test_connecting_twice_closes_the_connection(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("40")
    assert await record.next() == "forced server close"
    assert await peer.rest() == []


async def test_connecting_twice_while_middleware_thinks_closes_the_connection(serve: Serve, kind: Kind) -> None:
    io = echoing()
    asked, answer = trio.Event(), trio.Event()

    @io.use
    async def wait(socket: Socket) -> None:
        asked.set()
        await answer.wait()

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40")
    await asked.wait()
    await peer.send("40")
    assert await peer.rest() == []
    answer.set()
    assert list(io.sockets) == []
