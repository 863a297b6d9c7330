"""What a broadcast and everything else sends to one client arrives whole and in order, however slowly it reads."""

from __future__ import annotations

import json

import pytest
import trio

from rtserver import Server
from tests.behaviour.support import Kind, Serve

LARGE = "x" * 40_000


async def test_broadcasts_that_do_not_fit_are_finished_in_order(serve: Serve, kind: Kind) -> None:
    io = Server(max_queue_bytes=100_000_000, max_queue_packets=10_000)
    site = await serve(io)
    peers = [await site.open(kind), await site.open(kind)]
    for peer in peers:
        await peer.join()
    # More than the kernel takes from somebody who does not read, in between what is for one alone.
    (first, *_) = io.sockets.values()
    for number in range(300):
        io.emit("news", number, LARGE)
        first.emit("own", number)
    await trio.lowlevel.checkpoint()
    heard: list[list[str]] = []
    for peer, each in zip(peers, (2, 1), strict=True):
        heard.append([str(await peer.receive()) for _ in range(300 * each)])
    assert [json.loads(text[2:])[:2] for text in heard[0]] == [
        [name, number] for number in range(300) for name in ("news", "own")
    ]
    assert [json.loads(text[2:]) for text in heard[1]] == [["news", number, LARGE] for number in range(300)]


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_what_goes_straight_to_a_socket_is_counted(serve: Serve, kind: Kind) -> None:
    io = Server()
    site = await serve(io)
    peers = [await site.open(kind) for _ in range(3)]
    for peer in peers:
        await peer.join()
    before = io.statistics()
    io.emit("news", LARGE)
    for peer in peers:
        assert await peer.receive() == f'42["news","{LARGE}"]'
    after = io.statistics()
    assert after.engine.packets_out - before.engine.packets_out == 3
    assert before.node is not None
    assert after.node is not None
    assert after.node.bytes_out - before.node.bytes_out > 3 * len(LARGE)


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_who_has_gone_without_a_word_costs_the_others_nothing(serve: Serve) -> None:
    io = Server()
    site = await serve(io)
    leaving, staying = await site.open("websocket"), await site.open("websocket")
    await leaving.join()
    await staying.join()
    await leaving.vanish()
    for number in range(100):
        io.emit("news", number)
    assert [await staying.receive() for _ in range(100)] == [f'42["news",{number}]' for number in range(100)]
