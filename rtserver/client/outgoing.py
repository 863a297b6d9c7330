"""What waits to be sent over one connection.

Rule: bounded in packets and in bytes. A message is taken whole or refused; one
message may pass the bound in bytes, so that no size is impossible to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from rtserver.client.polling import wire_size
from rtserver.client.transport import Batch, Wire
from rtserver.errors import LimitExceeded


class Outgoing:
    """A queue of packets.

    Args:
        max_packets: No message is taken that would make it longer.
        max_bytes: No message is taken while it holds as much.
    """

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._wires: deque[tuple[Wire, int]] = deque()
        self._bytes = 0
        self._in_flight = False
        self._filled = trio.lowlevel.ParkingLot()
        self._emptied = trio.lowlevel.ParkingLot()

    def put(self, wires: Sequence[Wire]) -> None:
        """Queue the packets of one message.

        Raises:
            LimitExceeded: The queue is full.
        """
        if len(self._wires) + len(wires) > self._max_packets or self._bytes >= self._max_bytes:
            raise LimitExceeded(f"{len(self._wires)} packets ({self._bytes} bytes) wait to be sent already")
        for wire in wires:
            self.put_control(wire)

    def put_control(self, wire: Wire) -> None:
        """Queue a packet of the engine's own, full or not."""
        size = wire_size(wire) + 1
        self._wires.append((wire, size))
        self._bytes += size
        self._filled.unpark_all()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        while not self._wires:
            await self._filled.park()

    def take(self, batch: Batch) -> list[Wire]:
        """The next packets, one at least. Tell ``sent`` when they are out."""
        taken: list[Wire] = []
        room = batch.max_bytes
        while self._wires and len(taken) < batch.max_packets:
            wire, size = self._wires[0]
            if taken and size > room:
                break
            self._wires.popleft()
            self._bytes -= size
            room -= size
            taken.append(wire)
        self._in_flight = True
        return taken

    def sent(self) -> None:
        """What was taken is out."""
        self._in_flight = False
        if not self._wires:
            self._emptied.unpark_all()

    def abandon(self) -> None:
        """Nothing will be sent any more."""
        self._wires.clear()
        self._bytes = 0
        self.sent()

    async def drained(self) -> None:
        """Wait until everything is out, or abandoned."""
        while self._wires or self._in_flight:
            await self._emptied.park()
