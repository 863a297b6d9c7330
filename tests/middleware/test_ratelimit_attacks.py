"""Who floods a server is refused, then cut off; everybody else is served as ever, and nothing of it stays."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import trio

from rtserver import Server, Socket
from rtserver.middleware.connection_limits import ConnectionLimits
from rtserver.middleware.log import ConnectionLog
from rtserver.middleware.metrics import Metrics
from rtserver.middleware.ratelimit import RateLimit
from rtserver.middleware.validation import Validation
from tests.behaviour.support import Kind, Peer, Serve, Site

EVENTS, BATCH = 2_000, 40


def build() -> tuple[Server, RateLimit, ConnectionLimits]:
    # Time stands still, so that a slow machine is as strict as a fast one.
    rates = RateLimit({"say": "50/s"}, abuse="200/min", unknown="20/min", invalid="10/hour", clock=lambda: 1_000.0)
    connections = ConnectionLimits(per_address=50)
    watching = [ConnectionLog(), Metrics()]
    io = Server(middleware=[*watching, connections, rates, Validation(max_size=10_000)])

    @io.on("say")
    def say(socket: Socket, text: str) -> str:
        return text

    @io.on("work")
    async def work(socket: Socket, text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    return io, rates, connections


async def served(peers: list[Peer]) -> None:
    for peer in peers:
        await peer.send('427["work","x"]')
        assert await peer.receive() == '437["x"]'


async def bystanders(site: Site) -> list[Peer]:
    peers: list[Peer] = [await site.open("polling"), await site.open("websocket")]
    for peer in peers:
        await peer.join()
    return peers


async def ends(peer: Peer) -> None:
    """The server has ended the session, whatever came before."""
    try:
        with trio.fail_after(10):
            await peer.rest()
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
        return


@pytest.mark.parametrize(
    "wire",
    ['42["say","x"]', '421["say","x"]', '42["made up"]', '421["work","x"]', '421["say",' + "[" * 50 + "]" * 50 + "]"],
)
async def test_a_flood_of_events_ends_the_one_who_sends_them(
    serve: Serve, kind: Kind, wire: str, log_output: list[Any]
) -> None:
    io, rates, connections = build()
    site = await serve(io)
    others = await bystanders(site)
    flooder = await site.open(kind)
    await flooder.join()
    session = io.engine.sessions[flooder.sid]
    for _ in range(EVENTS // BATCH):
        if session.closed:
            break
        with contextlib.suppress(trio.BrokenResourceError):
            await flooder.send(*[wire] * BATCH)
        await served(others)
    assert session.closed
    assert len(io.sockets) == len(io.clients) == 2
    assert connections._addresses == {"127.0.0.1": 2}
    assert rates.refused > 0
    await served(others)
    lines = [line for line in log_output if line["log_level"] != "info"]
    assert len(lines) < 20
    assert not [line for line in lines if line["log_level"] in ("error", "critical") or "exc_info" in line]


@pytest.mark.parametrize("wire", ["4garbage", '42["connect"]', "43/nowhere,1[]", "9"])
async def test_who_sends_garbage_again_and_again_is_kept_out_and_nobody_else(
    serve: Serve, kind: Kind, wire: str, log_output: list[Any]
) -> None:
    io, _, connections = build()
    site = await serve(io)
    others = await bystanders(site)
    with trio.fail_after(10):
        for _ in range(10):
            peer = await site.open(kind)
            await peer.send(wire)
            await ends(peer)
    answer = await site.get("EIO=4&transport=polling")
    assert answer.status == 429
    assert answer.header("retry-after") is not None
    await served(others)
    assert connections._addresses == {"127.0.0.1": 2}
    assert not [line for line in log_output if line["log_level"] in ("error", "critical")]
