"""Middleware hears of every session that begins and ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from rtserver import Middleware, Server
from rtserver.core.client import Client
from tests.behaviour.support import Kind, Record, Serve


class Watching(Middleware):
    def __init__(self) -> None:
        self.record = Record()

    def opened(self, client: Client) -> None:
        self.record.add(("opened", client.address, client))

    def closed(self, client: Client, reason: Any) -> None:
        self.record.add((reason, client.broke_protocol, client))


class Broken(Middleware):
    def opened(self, client: Client) -> None:
        raise RuntimeError("opened")

    def closed(self, client: Client, reason: Any) -> None:
        raise RuntimeError("closed")


async def test_each_session_is_opened_once_and_closed_once(serve: Serve, kind: Kind) -> None:
    watching = Watching()
    site = await serve(Server(middleware=[watching]))
    peer = await site.open(kind)
    await peer.join()
    opened, address, client = await watching.record.next()
    assert (opened, address) == ("opened", "127.0.0.1")
    assert next(iter(site.io.sockets.values())).client is client
    await peer.send("41", "1")
    reason, broke, closed = await watching.record.next()
    assert (reason, broke, closed) == ("transport close", False, client)
    assert watching.record.empty


@pytest.mark.parametrize(
    "wires",
    [
        ["4garbage"],
        ["9"],
        ['42["connect"]'],
        ["40", "40"],
        ["43/nowhere,1[]"],
        ["40/chat,", '451-/chat,["x",{"_placeholder":true,"num":0}]', "4text"],
    ],
)
async def test_who_has_broken_the_protocol_is_told_apart(serve: Serve, kind: Kind, wires: list[str]) -> None:
    watching = Watching()
    io = Server(middleware=[watching])
    io.of("/chat")
    site = await serve(io)
    peer = await site.open(kind)
    _, _, client = await watching.record.next()
    with trio.fail_after(5):
        await peer.send(*wires)
        await peer.rest()
    _, broke, closed = await watching.record.next()
    assert (broke, closed) == (True, client)


async def test_middleware_that_fails_to_listen_stops_nobody(serve: Serve, log_output: list[Any]) -> None:
    watching = Watching()
    site = await serve(Server(middleware=[Broken(), watching]))
    peer = await site.open("websocket")
    await peer.join()
    await watching.record.next()
    await peer.vanish()
    assert (await watching.record.next())[0] == "transport close"
    failed = [line["hook"] for line in log_output if line["event"] == "middleware_failed"]
    assert failed == ["opened", "closed"]
