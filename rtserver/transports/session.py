"""One Engine.IO session: its state machine, its transport and the one who listens to it.

Rule: this is the seam upwards. A layer above implements ``SessionHandler`` and
calls ``send``, ``close``, ``pause`` and ``resume``; it never sees a transport.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import trio

from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.protocol.engineio.session import (
    MessageReceived,
    PacketDue,
    PollReleased,
    ProbeDue,
    Session,
    SessionClosed,
    SessionEvent,
    Upgraded,
    UpgradeFailed,
)
from rtserver.transports.request import Request
from rtserver.transports.transport import NOBODY, PING, PROBE_ANSWER, Control, Ending, Probe, Sendable, Transport
from rtserver.types import DisconnectReason, TransportName

# How long a session that the server closed waits for the poll that tells the
# client. Source: engine.io, ``closeTimeout`` of its polling transport.
TELL_WITHIN = 30.0
# How long a close waits for an upgrade that is under way.
UPGRADE_WITHIN = 1.0


class SessionHandler(Protocol):
    """What a session tells the layer above. Nothing here may await.

    ``deadline`` is a time that the layer wants to be woken at through
    ``on_deadline``; it shares the session's place in the heap.
    """

    deadline: float | None

    def on_text(self, data: str) -> None: ...

    def on_binary(self, data: bytes) -> None: ...

    def on_close(self, reason: DisconnectReason) -> None: ...

    def on_deadline(self, now: float) -> None: ...


class Registry(Protocol):
    """Where sessions are kept: the engine."""

    slow_consumers: int

    def forget(self, session: EngineSession) -> None: ...

    def watch(self, session: EngineSession) -> None: ...


class EngineSession:
    """One client, whatever transport it is on.

    Attributes:
        sid: The Engine.IO session id: whoever knows it can speak for the client.
        request: The handshake.
        handler: The layer above; set by the engine right after construction.
        paused: Whether the layer above has asked not to get more messages.
        outlet: Takes frames and returns how many bytes of them have gone, or raises ``OSError``; None whenever a
            message has to go through ``send``.
        binding: Asked whether a request that knows the sid may use the session; None for any.
    """

    __slots__ = (
        "_closing",
        "_doomed",
        "_told_by",
        "binding",
        "engine",
        "handler",
        "machine",
        "opened_at",
        "outlet",
        "paused",
        "probe",
        "request",
        "scheduled_at",
        "sid",
        "transport",
    )

    handler: SessionHandler
    transport: Transport

    def __init__(self, engine: Registry, sid: str, machine: Session, request: Request, now: float) -> None:
        self.engine = engine
        self.sid = sid
        self.machine = machine
        self.request = request
        self.opened_at = now
        self.paused = False
        self.outlet: Callable[[bytes], int] | None = None
        self.binding: Callable[[Request], bool] | None = None
        self.probe: Probe | None = None
        self.scheduled_at = math.inf
        self._told_by: float | None = None
        self._doomed = False
        self._closing: DisconnectReason | None = None

    @property
    def closed(self) -> bool:
        """Whether it is over, or about to be."""
        return self.machine.closed or self._closing is not None

    @property
    def transport_name(self) -> TransportName:
        return self.transport.name

    def deadline_changed(self) -> None:
        """The handler's ``deadline`` may have become earlier."""
        self.engine.watch(self)

    # Down: what the layer above calls.

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        """Hand a message to the transport; False when it was dropped."""
        return self.transport.send(message, volatile)

    def close(self, reason: DisconnectReason = "forced close", *, discard: bool = False) -> None:
        """End the session from our side.

        Args:
            reason: What the handler's ``on_close`` gets.
            discard: Drop what is queued instead of sending it first.
        """
        if discard:
            self._end(self.machine.close(reason), Ending.DISCARD)
        elif self.machine.upgrading:
            # The client may have stopped polling already, and would never hear of it.
            self._closing = reason
            self.machine.hurry_upgrade(by=trio.current_time() + UPGRADE_WITHIN)
            self.engine.watch(self)
        else:
            self._end(self.machine.close(reason), Ending.FLUSH)

    def _close_now(self) -> None:
        reason, self._closing = self._closing, None
        if reason is not None:
            self._end(self.machine.close(reason), Ending.FLUSH)

    def pause(self) -> None:
        """Deliver no more messages: the client is pushed back by its transport."""
        if not self.paused:
            self.paused = True
            self.transport.pause()

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.transport.resume()

    # Up: what transports call.

    def take_text(self, text: str) -> None:
        """A text packet has arrived on the session's own transport."""
        if text[:1] == "4":
            # Messages go past the state machine: they change nothing in it, and
            # the round trip through it costs more than the rest of this call.
            if not self.closed:
                self.handler.on_text(text[1:])
            return
        try:
            packet = Packet.decode(text)
        except ProtocolError:
            self.fail("parse error")
            return
        ending = Ending.LEFT if packet.type is PacketType.CLOSE else Ending.DISCARD
        self._end(self.machine.receive(packet, now=trio.current_time()), ending)
        # With a time-out longer than the interval, a pong brings the next deadline forward.
        self.engine.watch(self)

    def take_binary(self, data: bytes) -> None:
        """A binary message has arrived on the session's own transport."""
        if not self.closed:
            self.handler.on_binary(data)

    def take_probe(self, text: str) -> None:
        """A text packet has arrived on the probing WebSocket."""
        try:
            packet = Packet.decode(text)
        except ProtocolError:
            self.probe_lost()
            return
        self._end(self.machine.receive_probe(packet, now=trio.current_time()), Ending.DISCARD)

    def begin_probe(self, probe: Probe) -> bool:
        """A WebSocket with this session's sid asks to take over; False if it may not."""
        now = trio.current_time()
        if not self.machine.begin_upgrade(now=now):
            return False
        self.probe = probe
        self.engine.watch(self)
        return True

    def probe_lost(self) -> None:
        """The probing WebSocket is gone or has misbehaved. Polling lives on."""
        self._end(self.machine.probe_lost(), Ending.DISCARD)

    def lost(self) -> None:
        """The transport's connection is gone."""
        self._end(self.machine.close("transport close"), Ending.LEFT)

    def fail(self, reason: DisconnectReason) -> None:
        """The transport cannot go on."""
        self._end(self.machine.close(reason), Ending.DISCARD)

    def overflow(self) -> None:
        """The client does not keep up with what it is sent.

        The end comes by the clock's task and not here: whoever sends may be in
        the middle of a broadcast, and the handlers of a disconnect run user code.
        """
        if not self._doomed and not self.machine.closed:
            self._doomed = True
            self.engine.slow_consumers += 1
            self.engine.watch(self)

    def told(self) -> None:
        """Polling: the client knows that the session is over."""
        self._told_by = None
        self.engine.forget(self)
        self.transport = NOBODY[self.transport.name]

    # Time.

    def next_deadline(self) -> float | None:
        if self.machine.closed:
            return self._told_by
        if self._doomed:
            return -math.inf
        when = self.machine.next_deadline()
        asked = self.handler.deadline
        if asked is not None and (when is None or asked < when):
            return asked
        return when

    def on_deadline(self, now: float) -> None:
        if self.machine.closed:
            self.transport.end(Ending.DISCARD)
            self.told()
            return
        if self._doomed:
            self.fail("transport error")
            return
        asked = self.handler.deadline
        if asked is not None and asked <= now:
            self.handler.on_deadline(now)
        when = self.machine.next_deadline()
        if when is None or when > now:
            return
        if self.paused and not self.machine.upgrading:
            self._end(self.machine.hold(now=now), Ending.DISCARD)
        else:
            self._end(self.machine.on_deadline(now=now), Ending.DISCARD)

    # What the state machine says.

    def _end(self, events: list[SessionEvent], ending: Ending) -> None:
        for event in events:
            match event:
                case PacketDue(packet):
                    self.transport.send(PING if packet.type is PacketType.PING else Control(packet))
                case MessageReceived(data):
                    if isinstance(data, str):
                        self.handler.on_text(data)
                    else:
                        self.handler.on_binary(data)
                case ProbeDue():
                    if self.probe is not None:
                        self.probe.send(PROBE_ANSWER)
                case PollReleased():
                    self.transport.release_poll()
                case Upgraded():
                    self._upgrade()
                    self._close_now()
                case UpgradeFailed():
                    probe, self.probe = self.probe, None
                    if probe is not None:
                        probe.end(Ending.DISCARD)
                    self._close_now()
                case SessionClosed(reason):
                    self._close(reason, ending)

    def _upgrade(self) -> None:
        assert self.probe is not None
        waiting = self.transport.retire()
        self.transport, self.probe = self.probe.promote(), None
        if self.paused:
            self.transport.pause()
        for message in waiting:
            self.transport.send(message)

    def _close(self, reason: DisconnectReason, ending: Ending) -> None:
        if self.probe is not None:
            probe, self.probe = self.probe, None
            probe.end(Ending.DISCARD)
        self.outlet = None
        transport = self.transport
        if ending is Ending.FLUSH and transport.name == "polling":
            self._told_by = trio.current_time() + TELL_WITHIN
            self.engine.watch(self)
        else:
            self.engine.forget(self)
            self.transport = NOBODY[transport.name]
        handler, self.handler = self.handler, NOBODY[transport.name]
        transport.end(ending)
        handler.on_close(reason)
