"""What carries a session's packets, what it carries, and how it ends.

Rule: a transport knows one session and nothing above it. Who implements these
protocols: ``polling``, and ``websocket`` for both doors.
"""

from __future__ import annotations

import enum
from typing import Protocol, TypeAlias

from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.types import DisconnectReason, TransportName


class Control:
    """An Engine.IO packet without a message, ready for either transport."""

    __slots__ = ("_text", "compress", "count", "frames")

    def __init__(self, packet: Packet) -> None:
        text = packet.encode()
        assert isinstance(text, str)
        self._text = text
        self.frames = bytes((0x81, len(text))) + text.encode()
        self.count = 1
        self.compress = False

    def parts(self) -> tuple[bytes, ...]:
        return (self._text.encode(),)

    def packets(self) -> list[str | bytes]:
        return [self._text]

    def deflated(self, window_bits: int) -> bytes:
        return self.frames


Sendable: TypeAlias = Outbound | Control

PING = Control(Packet(PacketType.PING))
PROBE_ANSWER = Control(Packet(PacketType.PONG, "probe"))


class Ending(enum.Enum):
    """How a transport is to end."""

    FLUSH = enum.auto()
    """Everything queued goes out first, then the client is told."""
    DISCARD = enum.auto()
    """The client is told if that costs no waiting; what is queued is dropped."""
    LEFT = enum.auto()
    """The client has said goodbye itself."""


class Transport(Protocol):
    """Carries packets to and from one client."""

    @property
    def name(self) -> TransportName: ...

    @property
    def writable(self) -> bool:
        """Whether what is sent now leaves now."""

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        """Send or queue; False when it was dropped. A queue past its bound ends the session."""

    def end(self, ending: Ending) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def release_poll(self) -> None:
        """Polling only: answer the waiting GET now."""

    def retire(self) -> list[Sendable]:
        """Polling only: another transport takes over; give back what is still queued."""


class Probe(Protocol):
    """A WebSocket that wants to become a session's transport."""

    def send(self, message: Sendable, volatile: bool = False) -> bool: ...

    def promote(self) -> Transport:
        """It has become the transport."""

    def end(self, ending: Ending) -> None: ...


class Nobody:
    """Takes the place of the handler and the transport of a session that is over.

    A session, its transport and its handler know one another. Letting go of both
    leaves no cycle, so that what a client took is free as soon as it has left, and
    not only when the garbage collector comes by.
    """

    deadline: float | None = None
    writable = False

    def __init__(self, name: TransportName) -> None:
        self.name = name

    def on_text(self, data: str) -> None: ...

    def on_binary(self, data: bytes) -> None: ...

    def on_close(self, reason: DisconnectReason) -> None: ...

    def on_deadline(self, now: float) -> None: ...

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        return False

    def end(self, ending: Ending) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def release_poll(self) -> None: ...

    def retire(self) -> list[Sendable]:
        return []


NOBODY: dict[TransportName, Nobody] = {"polling": Nobody("polling"), "websocket": Nobody("websocket")}
