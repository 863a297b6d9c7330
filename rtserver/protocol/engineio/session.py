"""The life of one Engine.IO session, as a state machine without I/O.

Rule: nothing here reads a clock or a socket. Time comes in as ``now``, packets
come in through ``receive`` and ``receive_probe``, and what has to be done goes
out as events. A closed session stays silent. Source: Engine.IO protocol v4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.types import DisconnectReason, TransportName


# The only event of every day, and quicker to make than a frozen dataclass.
class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """The client has sent a message."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class PacketDue:
    """Send this packet on the session's transport."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """Send this packet on the probing WebSocket."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class PollReleased:
    """Answer the waiting GET with NOOP: the client wants to leave polling."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The probing WebSocket is the session's transport from now on."""


@dataclass(frozen=True, slots=True)
class UpgradeFailed:
    """Close the probing WebSocket; polling lives on."""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The session is over. Comes once."""

    reason: DisconnectReason


SessionEvent: TypeAlias = (
    MessageReceived | PacketDue | ProbeDue | PollReleased | Upgraded | UpgradeFailed | SessionClosed
)

PING = Packet(PacketType.PING)
PROBE_ANSWER = Packet(PacketType.PONG, "probe")


class Session:
    """One session.

    Args:
        now: In seconds, of whatever clock the caller uses throughout.
        transport: What the client came by.
        ping_interval: Seconds between a pong and the next ping.
        ping_timeout: Seconds that a pong may take.
        upgrade_timeout: Seconds that an upgrade may take.

    Attributes:
        transport: What the session is on now.
        closed: Whether it is over.
        upgrading: Whether a WebSocket is probing.
    """

    __slots__ = (
        "_ping_at",
        "_ping_interval",
        "_ping_timeout",
        "_pong_by",
        "_probed",
        "_upgrade_by",
        "_upgrade_timeout",
        "closed",
        "transport",
    )

    def __init__(
        self,
        *,
        now: float,
        transport: TransportName,
        ping_interval: float,
        ping_timeout: float,
        upgrade_timeout: float,
    ) -> None:
        self.transport = transport
        self.closed = False
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._upgrade_timeout = upgrade_timeout
        self._ping_at = now + ping_interval
        self._pong_by: float | None = None
        self._upgrade_by: float | None = None
        self._probed = False

    @property
    def upgrading(self) -> bool:
        return self._upgrade_by is not None

    def receive(self, packet: Packet, *, now: float) -> list[SessionEvent]:
        """A packet has come on the session's transport."""
        if self.closed:
            return []
        match packet.type:
            case PacketType.MESSAGE:
                return [MessageReceived(packet.data)]
            case PacketType.PONG:
                self._ping_at, self._pong_by = now + self._ping_interval, None
                return []
            case PacketType.CLOSE:
                return self.close("transport close")
            case PacketType.PING:
                # In this version of the protocol only servers ping.
                return self.close("transport error")
            case _:
                return self.close("parse error")

    def begin_upgrade(self, *, now: float) -> bool:
        """A WebSocket asks to take over; False if it may not."""
        if self.closed or self.upgrading or self.transport == "websocket":
            return False
        self._upgrade_by = now + self._upgrade_timeout
        self._probed = False
        return True

    def receive_probe(self, packet: Packet, *, now: float) -> list[SessionEvent]:
        """A packet has come on the probing WebSocket: ``2probe``, then ``5``, and nothing else."""
        if self.closed or not self.upgrading:
            return []
        if not self._probed and packet == Packet(PacketType.PING, "probe"):
            self._probed = True
            return [ProbeDue(PROBE_ANSWER), PollReleased()]
        if self._probed and packet.type is PacketType.UPGRADE:
            self._upgrade_by = None
            self.transport = "websocket"
            return [Upgraded()]
        return self.probe_lost()

    def probe_lost(self) -> list[SessionEvent]:
        """The probing WebSocket is gone, or is to go."""
        if self.closed or not self.upgrading:
            return []
        self._upgrade_by = None
        return [UpgradeFailed()]

    def hurry_upgrade(self, *, by: float) -> None:
        """An upgrade that is under way has to be over at ``by``, if it was allowed to take longer."""
        if self._upgrade_by is not None:
            self._upgrade_by = min(self._upgrade_by, by)

    def close(self, reason: DisconnectReason) -> list[SessionEvent]:
        """End the session."""
        if self.closed:
            return []
        self.closed = True
        self._upgrade_by = None
        return [SessionClosed(reason)]

    def next_deadline(self) -> float | None:
        """When ``on_deadline`` wants to run next, in seconds of ``now``; None once closed."""
        if self.closed:
            return None
        beat = self._ping_at if self._pong_by is None else self._pong_by
        return beat if self._upgrade_by is None else min(beat, self._upgrade_by)

    def on_deadline(self, *, now: float) -> list[SessionEvent]:
        """Do what is due at ``now``: nothing, if this is too early."""
        if self.closed:
            return []
        events: list[SessionEvent] = []
        if self._upgrade_by is not None and now >= self._upgrade_by:
            events += self.probe_lost()
        if self._pong_by is not None:
            return events + self.close("ping timeout") if now >= self._pong_by else events
        if now >= self._ping_at:
            self._pong_by = now + self._ping_timeout
            events.append(PacketDue(PING))
        return events

    def hold(self, *, now: float) -> list[SessionEvent]:
        """Like ``on_deadline``, while the owner is not reading: a pong cannot be seen, so none is missed.

        The client is pinged again, because it gives up a server that does not ping.
        """
        if self.closed or self._pong_by is None or now < self._pong_by:
            return self.on_deadline(now=now)
        self._pong_by = now + self._ping_timeout
        return [PacketDue(PING)]
