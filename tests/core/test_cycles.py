"""What a client took is free when it has left, without the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import trio

from rtserver import Server, Socket
from rtserver.client import open_socket
from rtserver.types import TransportName

SEVERAL = 20


def ours() -> Counter[str]:
    names = (f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects())
    return Counter(name for name in names if name.startswith(("rtserver.core.", "rtserver.transports.")))


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_sessions_leave_no_cycles(transports: list[TransportName]) -> None:
    io = Server()
    left = trio.Event()
    count = 0

    @io.on("wait")
    async def wait(socket: Socket) -> None:
        socket.join("room")
        await trio.lowlevel.checkpoint()

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        nonlocal count
        count += 1
        if count > SEVERAL:
            left.set()

    async def come_and_go(address: str) -> None:
        async with open_socket(f"http://{address}", transports=transports) as socket:
            await socket.call("wait")

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(io.serve, "127.0.0.1:0")
        await come_and_go(address)
        gc.collect()
        gc.disable()
        try:
            before = ours()
            for _ in range(SEVERAL):
                await come_and_go(address)
            with trio.fail_after(5):
                await left.wait()
                while io.engine.sessions or io.statistics().node.connections:  # type: ignore[union-attr]
                    await trio.lowlevel.checkpoint()
            # The heap drops entries of the dead lazily, up to a bound of its own.
            io.engine.deadlines.fire(float("inf"))
            grown = {name: more for name, more in (ours() - before).items() if more >= SEVERAL // 2}
        finally:
            gc.enable()
        assert grown == {}
        nursery.cancel_scope.cancel()
