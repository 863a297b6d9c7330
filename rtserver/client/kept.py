"""What an application has said while its socket was away, until it can be sent.

Rule: bounded like the queue of a connection.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtserver.client.polling import wire_size
from rtserver.client.transport import Wire
from rtserver.errors import LimitExceeded


class KeptMessages:
    """Messages in the order they were said.

    Args:
        max_packets: No message is taken that would make it longer.
        max_bytes: No message is taken while it holds as much.
    """

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._messages: list[tuple[Sequence[Wire], int | None]] = []
        self._packets = 0
        self._bytes = 0

    def put(self, wires: Sequence[Wire], ack_id: int | None) -> None:
        """Keep a message.

        Raises:
            LimitExceeded: There are too many.
        """
        if self._packets + len(wires) > self._max_packets or self._bytes >= self._max_bytes:
            raise LimitExceeded(f"{self._packets} packets wait for the connection already")
        self._messages.append((wires, ack_id))
        self._packets += len(wires)
        self._bytes += sum(map(wire_size, wires))

    def forget(self, ack_id: int) -> None:
        """Nobody waits for the answer to that message: it need not be sent."""
        for index, (wires, waiting) in enumerate(self._messages):
            if waiting == ack_id:
                del self._messages[index]
                self._packets -= len(wires)
                self._bytes -= sum(map(wire_size, wires))
                return

    def ack_ids(self) -> set[int]:
        """The ids whose answers are not lost, because nobody was asked yet."""
        return {ack_id for _, ack_id in self._messages if ack_id is not None}

    def take_all(self) -> list[Sequence[Wire]]:
        """All of them; there are none afterwards."""
        messages, self._messages = self._messages, []
        self._packets = self._bytes = 0
        return [wires for wires, _ in messages]
