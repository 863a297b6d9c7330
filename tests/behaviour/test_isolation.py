"""A bug above a connection ends that connection, and neither the node nor anybody else on it."""

from __future__ import annotations

from typing import Any

import pytest

from rtserver import Server, Socket
from rtserver.protocol.socketio.json_parser import JSONParser
from tests.behaviour.support import Kind, Record, Serve


class BrokenParser(JSONParser):
    """A parser of somebody else's, with a bug."""

    def decode_text(self, wire: str) -> Any:
        if "trip" in wire:
            raise RuntimeError("a bug")
        return super().decode_text(wire)


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_a_bug_ends_one_connection_and_not_the_node(serve: Serve, kind: Kind, log_output: list[Any]) -> None:
    record = Record()
    io = Server(parser=BrokenParser())

    @io.on("echo")
    def echo(socket: Socket, text: str) -> None:
        socket.emit("echo", text)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(socket.id)

    site = await serve(io)
    other = await site.open(kind)
    await other.join()
    peer = await site.open(kind)
    unlucky = await peer.join()
    if kind == "polling":
        connection = await site.http()
        await connection.send("POST", f"/socket.io/?EIO=4&transport=polling&sid={peer.sid}", b'42["trip"]')
    else:
        await peer.send('42["trip"]')
    assert await record.next() == unlucky
    await other.send('42["echo","alive"]')
    assert await other.receive() == '42["echo","alive"]'
    failures = [line for line in log_output if line["log_level"] == "error"]
    assert [line["event"] for line in failures] == ["connection_failed"]


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_a_bug_in_a_timeout_stops_no_other_timeout(serve: Serve, log_output: list[Any]) -> None:
    class Failing:
        scheduled_at = float("inf")

        def next_deadline(self) -> float | None:
            return 0.0

        def on_deadline(self, now: float) -> None:
            raise RuntimeError("a bug")

    record = Record()
    io = Server(ping_interval=0.01, ping_timeout=0.01)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    site = await serve(io)
    io.engine.deadlines.watch(Failing())
    peer = await site.open_websocket()
    await peer.join()
    assert await record.next() == "ping timeout"
    assert [line["event"] for line in log_output if line["log_level"] == "error"] == ["deadline_failed"]
