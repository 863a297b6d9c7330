"""What the engine asks of a transport.

Rule: a transport carries packets and knows nothing of heartbeats, upgrades or
namespaces. Whatever ends it is a ``TransportLost``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from rtserver.protocol.engineio.packet import Packet
from rtserver.types import TransportName

Wire: TypeAlias = str | bytes
"""A packet as a WebSocket carries it: text with its type in front, or a bare binary message."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How much a transport takes at once, at least one packet always."""

    max_packets: int
    max_bytes: int


class Transport(Protocol):
    """An open transport."""

    @property
    def name(self) -> TransportName: ...

    @property
    def batch(self) -> Batch: ...

    def opened(self, sid: str, max_payload: int | None) -> None:
        """The handshake is done: what follows belongs to session ``sid``."""

    async def receive(self) -> list[Packet]:
        """The next packets, in order.

        Raises:
            TransportLost: There will be no more.
            ProtocolError: They are malformed.
        """

    async def send(self, wires: Sequence[Wire]) -> None:
        """Send packets, no more than ``batch``. Returns when they are out.

        Raises:
            TransportLost: They cannot be sent.
        """

    async def close(self) -> None:
        """Tell the server that this is the end, if it can still be told."""


class Dial(Protocol):
    """Opens a transport for a new session (``sid`` is None), or for one that is to be upgraded."""

    def __call__(self, name: TransportName, sid: str | None) -> AbstractAsyncContextManager[Transport]:
        """Leaving the context closes the transport, without a word.

        Raises:
            TransportLost: The server is not there or refuses.
        """
