"""WebSocket as a transport: frames to packets, packets to frames, and the close handshake.

Rule: ``WebSocket`` routes what arrives and is shared by both doors;
``RawWebSocket`` is the one on the loop, whose ``on_readable`` and ``send`` are
the hottest functions of a node. Source: RFC 6455; Engine.IO protocol v4.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from rtserver.config import Config
from rtserver.protocol.websocket.deflate import Agreement, Inflater
from rtserver.protocol.websocket.frames import close_frame, pong_frame
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Receiver, Violation
from rtserver.transports.connection import RECEIVE_SIZE, Connection, Host, Lingering
from rtserver.transports.session import EngineSession
from rtserver.transports.transport import Ending, Sendable, Transport
from rtserver.types import TransportName

NORMAL = 1000
# What may wait for the end of a read before anybody asks whether the peer keeps up.
CORKED_PACKETS, CORKED_BYTES = 64, 65_536

# The attributes that ``WebSocket`` names are slots of its children: a class can
# have only one base with slots of its own, and for ``RawWebSocket`` that is ``Connection``.
_IN_CHILDREN: tuple[str, ...] = ()


class WebSocketHost(Host, Protocol):
    """What a raw WebSocket needs of its node."""

    config: Config


class WebSocket(abc.ABC):
    """What both doors' WebSockets share: who they belong to, and where messages go."""

    __slots__ = _IN_CHILDREN

    session: EngineSession | None
    probing: bool
    held: deque[Item] | None

    @property
    def name(self) -> TransportName:
        return "websocket"

    @property
    @abc.abstractmethod
    def writable(self) -> bool: ...

    def attach(self, session: EngineSession, *, probing: bool) -> None:
        """From now on what arrives goes to ``session``."""
        self.session = session
        self.probing = probing

    def promote(self) -> Transport:
        self.probing = False
        return self

    @abc.abstractmethod
    def send(self, message: Sendable, volatile: bool = False) -> bool: ...

    @abc.abstractmethod
    def end(self, ending: Ending) -> None: ...

    @abc.abstractmethod
    def watch_reading(self, wanted: bool) -> None: ...

    def release_poll(self) -> None:  # noqa: B027 - most transports have nothing to release
        """Nothing to do: only polling has a GET to answer."""

    def retire(self) -> list[Sendable]:
        """A WebSocket is never replaced."""
        return []

    def pause(self) -> None:
        if self.held is None:
            self.held = deque()
            self.watch_reading(False)

    def resume(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            self.take(held)
            if self.held is None:
                self.watch_reading(True)

    def take(self, items: Iterable[Item]) -> None:
        """Route what has arrived, in order; hold it while the session is paused."""
        for item in items:
            if self.held is not None:
                self.held.append(item)
            elif type(item) is str:
                self.take_text(item)
            elif type(item) is bytes:
                self.take_binary(item)
            else:
                self.take_control(item)

    def take_text(self, text: str) -> None:
        if self.session is None:
            return
        if self.probing:
            self.session.take_probe(text)
        else:
            self.session.take_text(text)

    def take_binary(self, data: bytes) -> None:
        if self.session is None:
            return
        if self.probing:
            self.session.probe_lost()
        else:
            self.session.take_binary(data)

    @abc.abstractmethod
    def take_control(self, item: Item) -> None: ...

    def gone(self) -> None:
        """The connection has ended without our doing."""
        session, self.session = self.session, None
        if session is None:
            return
        if self.probing:
            session.probe_lost()
        else:
            session.lost()


class RawWebSocket(Connection, WebSocket):
    """A WebSocket on the loop."""

    __slots__ = ("_closing", "_corked", "_counters", "_receiver", "_window", "held", "probing", "session")

    host: WebSocketHost

    def __init__(self, previous: Connection, host: WebSocketHost, agreement: Agreement | None) -> None:
        super().__init__(host, previous.detach(), previous.peer)
        self._counters = host.counters
        limit = host.config.max_http_buffer_size
        inflater = None if agreement is None else Inflater(agreement, limit)
        self._receiver = Receiver(limit, inflater=inflater)
        self._window = None if agreement is None else agreement.server_max_window_bits
        self._closing = False
        self._corked = False
        self.session: EngineSession | None = None
        self.probing = False
        self.held: deque[Item] | None = None

    @property
    def writable(self) -> bool:
        return (self._queue is None or self._corked) and not self._closing

    def attach(self, session: EngineSession, *, probing: bool) -> None:
        super().attach(session, probing=probing)
        self._open_outlet()

    def promote(self) -> Transport:
        super().promote()
        self._open_outlet()
        return self

    def _open_outlet(self) -> None:
        """Nothing is in the way of a message: whoever sends to many may send straight to the socket."""
        session = self.session
        if session is None or self.probing or session.machine.closed:
            return
        if self._queue is None and self._window is None and not self._closing and not self._broken:
            session.outlet = self.sock.send

    def _close_outlet(self) -> None:
        if self.session is not None and not self.probing:
            self.session.outlet = None

    def broken(self) -> bool:
        self._close_outlet()
        return super().broken()

    def queue_rest(self, data: bytes, sent: int) -> bool:
        self._close_outlet()
        return super().queue_rest(data, sent)

    def on_flushed(self) -> None:
        self._open_outlet()

    def on_readable(self) -> None:
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.lose()
            return
        if not data:
            self.lose()
            return
        self._counters.bytes_in += len(data)
        items = self._receiver.feed(data)
        if len(items) == 1:
            # Nearly every read holds exactly one message. It goes straight up: the
            # way through ``take`` costs three calls more.
            text, session = items[0], self.session
            if (
                type(text) is str
                and text[:1] == "4"
                and session is not None
                and not self.probing
                and self.held is None
                and not session.machine.closed
            ):
                session.handler.on_text(text[1:])
                return
        self._take_together(items)

    def _take_together(self, items: list[Item]) -> None:
        """Take what came in one read; what is sent meanwhile leaves in one write."""
        if self._queue is not None or self._closing:
            self.take(items)
            return
        self._close_outlet()
        self._queue = deque()
        self._corked = True
        for item in items:
            session = self.session
            if (
                type(item) is str
                and item[:1] == "4"
                and session is not None
                and not self.probing
                and self.held is None
                and not session.machine.closed
            ):
                # As in ``on_readable``. This and its like in ``send`` are a twentieth of an echo.
                session.handler.on_text(item[1:])
            else:
                self.take((item,))
        self._uncork()

    def _uncork(self) -> None:
        """Let go of what was kept back. Whoever ends the connection does so first, to see whether the peer takes it."""
        if not self._corked:
            return
        self._corked = False
        queue, self._queue = self._queue, None
        self.queued = 0
        if queue:
            self.write(b"".join(queue))
        self._open_outlet()

    def begin(self, rest: bytes) -> None:
        """Bytes that arrived together with the upgrade request."""
        if rest:
            self.take(self._receiver.feed(rest))

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        if self._queue is None and self._window is None and not self._closing:
            # A broadcast is nothing but this, once for each recipient. A connection
            # that is broken already says so by failing again.
            frames = message.frames
            try:
                sent = self.sock.send(frames)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return self.broken()
            counters = self._counters
            counters.bytes_out += sent
            counters.packets_out += message.count
            return sent == len(frames) or self.queue_rest(frames, sent)
        queue = self._queue
        if (
            self._corked
            and queue is not None
            and self._window is None
            and len(queue) < CORKED_PACKETS
            and self.queued < CORKED_BYTES
            and not (self._closing or self._broken)
        ):
            # An answer to one of several messages of one read.
            queue.append(message.frames)
            self.queued += len(message.frames)
            self._counters.packets_out += message.count
            return True
        return self._send_otherwise(message, volatile)

    def _send_otherwise(self, message: Sendable, volatile: bool) -> bool:
        """Send what has to be compressed, or has to wait behind something."""
        if self._closing or self._broken or (self._queue is not None and not self._may_queue(volatile)):
            return False
        self._counters.packets_out += message.count
        if self._window is None or not message.compress:
            return self.write(message.frames)
        return self.write(message.deflated(self._window))

    def _may_queue(self, volatile: bool) -> bool:
        if volatile and not self._corked:
            return False
        config = self.host.config
        assert self._queue is not None
        if self.queued >= config.max_queue_bytes or len(self._queue) >= config.max_queue_packets:
            if self._corked:
                # All of it can go now; whether the peer takes it shows then.
                self._uncork()
                return self._queue is None or self._may_queue(volatile)
            self._overflow()
            return False
        return True

    def _overflow(self) -> None:
        if self.session is not None:
            self.session.overflow()

    def take_control(self, item: Item) -> None:
        match item:
            case Ping(data):
                if self._closing:
                    return
                if self.queued >= self.host.config.max_queue_bytes:
                    self._overflow()
                else:
                    self.write(pong_frame(data))
            case Close(code, _):
                self._answer_close(code)
            case Violation(code, reason):
                self._violated(code, reason)

    def _answer_close(self, code: int) -> None:
        self._uncork()
        if not self._closing:
            self._closing = True
            self.write(close_frame(NORMAL if code == 1005 else code))
            self.expect_within(self.host.config.close_timeout)
            self.gone()
        self.finish()

    def _violated(self, code: int, reason: str) -> None:
        self._uncork()
        if not self._closing:
            self._closing = True
            self.write(close_frame(code, reason))
            session, self.session = self.session, None
            if session is not None and self.probing:
                session.probe_lost()
            elif session is not None:
                session.fail("transport error")
        if self.closed:
            return
        if self._queue is None:
            Lingering(self)
        else:
            self.close()

    def end(self, ending: Ending) -> None:
        if self._closing or self.closed:
            return
        self._uncork()
        self._closing = True
        self.held = None
        if ending is Ending.DISCARD and self._queue is not None:
            self.close()
            return
        self.write(close_frame(NORMAL))
        self.watch_reading(True)
        self.expect_within(self.host.config.close_timeout)

    def on_lost(self) -> None:
        self._closing = True
        self.gone()

    def on_deadline(self, now: float) -> None:
        self.close()
