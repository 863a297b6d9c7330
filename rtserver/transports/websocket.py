"""WebSocket as a transport: frames to packets, packets to frames, and the close handshake.

Rule: ``WebSocket`` routes what arrives and is shared by both doors;
``RawWebSocket`` is the one on the loop, whose ``on_readable`` and ``send`` are
the hottest functions of a node. Source: RFC 6455; Engine.IO protocol v4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from rtserver.config import Config
from rtserver.protocol.websocket.deflate import Agreement, Inflater
from rtserver.protocol.websocket.frames import close_frame, pong_frame
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Receiver, Violation
from rtserver.transports.connection import RECEIVE_SIZE, Connection, Host, Lingering
from rtserver.transports.session import Ending, EngineSession, Sendable, Transport
from rtserver.types import TransportName

NORMAL = 1000

# The attributes that ``WebSocket`` names are slots of its children: a class can
# have only one base with slots of its own, and for ``RawWebSocket`` that is ``Connection``.
_IN_CHILDREN: tuple[str, ...] = ()


class WebSocketHost(Host, Protocol):
    """What a raw WebSocket needs of its node."""

    config: Config
    packets_out: int


class WebSocket:
    """What both doors' WebSockets share: who they belong to, and where messages go."""

    __slots__ = _IN_CHILDREN

    session: EngineSession | None
    probing: bool
    held: deque[Item] | None

    @property
    def name(self) -> TransportName:
        return "websocket"

    @property
    def writable(self) -> bool:
        raise NotImplementedError

    def attach(self, session: EngineSession, *, probing: bool) -> None:
        """From now on what arrives goes to ``session``."""
        self.session = session
        self.probing = probing

    def promote(self) -> Transport:
        self.probing = False
        return self

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        raise NotImplementedError

    def end(self, ending: Ending) -> None:
        raise NotImplementedError

    def watch_reading(self, wanted: bool) -> None:
        raise NotImplementedError

    def release_poll(self) -> None:
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

    def take_control(self, item: Item) -> None:
        raise NotImplementedError

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

    __slots__ = ("_closing", "_receiver", "_window", "held", "probing", "session")

    host: WebSocketHost

    def __init__(self, previous: Connection, host: WebSocketHost, agreement: Agreement | None) -> None:
        super().__init__(host, previous.detach(), previous.peer)
        limit = host.config.max_http_buffer_size
        inflater = None if agreement is None else Inflater(agreement, limit)
        self._receiver = Receiver(limit, inflater=inflater)
        self._window = None if agreement is None else agreement.server_max_window_bits
        self._closing = False
        self.session: EngineSession | None = None
        self.probing = False
        self.held: deque[Item] | None = None

    @property
    def writable(self) -> bool:
        return self._queue is None and not self._closing

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
        self.host.bytes_in += len(data)
        items = self._receiver.feed(data)
        if len(items) == 1 and type(items[0]) is str and self.held is None:
            # Nearly every read holds exactly one text message.
            self.take_text(items[0])
        else:
            self.take(items)

    def begin(self, rest: bytes) -> None:
        """Bytes that arrived together with the upgrade request."""
        if rest:
            self.take(self._receiver.feed(rest))

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        if self._closing:
            return False
        host = self.host
        if self._queue is not None:
            if volatile:
                return False
            config = host.config
            if self.queued >= config.max_queue_bytes or len(self._queue) >= config.max_queue_packets:
                self._overflow()
                return False
        host.packets_out += message.count
        if self._window is None or not message.compress:
            return self.write(message.frames)
        return self.write(message.deflated(self._window))

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
        if not self._closing:
            self._closing = True
            self.write(close_frame(NORMAL if code == 1005 else code))
            self.expect_within(self.host.config.close_timeout)
            self.gone()
        self.finish()

    def _violated(self, code: int, reason: str) -> None:
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
